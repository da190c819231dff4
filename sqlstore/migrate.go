package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// schemaVersion is the version of the tables that this package works with, the number of the last migration.
const schemaVersion = 1

// ErrSchema is returned by New and Open where the tables are of a newer version of this package.
var ErrSchema = errors.New("sqlstore: the tables of the database are of a newer version")

// prepare brings the tables up to date.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.keepLog(ctx); err != nil {
		return fmt.Errorf("sqlstore: %w", err)
	}
	version, err := s.version(ctx)
	if err == nil && version >= schemaVersion {
		return s.checkTables(ctx, version)
	}
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("sqlstore: bringing the tables up to date: %w", s.explained(ctx, err))
	}
	if version, err = s.version(ctx); err != nil {
		return fmt.Errorf("sqlstore: %w", s.explained(ctx, err))
	}
	return s.checkTables(ctx, version)
}

// checkTables says what is wrong with the tables when the store is opened, and not in an answer.
func (s *Store) checkTables(ctx context.Context, version int64) error {
	if version > schemaVersion {
		return fmt.Errorf("%w: %d, and this program knows %d", ErrSchema, version, schemaVersion)
	}
	var none int
	if err := s.db.QueryRowContext(ctx, s.sql.Tables).Scan(&none); err != nil {
		return fmt.Errorf("sqlstore: a table is missing or can't be read: %w", s.explained(ctx, err))
	}
	return nil
}

func (s *Store) version(ctx context.Context) (version int64, err error) {
	return version, s.db.QueryRowContext(ctx, s.sql.Version).Scan(&version)
}

// keepLog gives a SQLite file a write-ahead log, a setting that the file keeps: readers and the writer then do not wait for
// each other.
func (s *Store) keepLog(ctx context.Context) error {
	if !s.dialect.oneWriter {
		return nil
	}
	return s.repeat(ctx, func(ctx context.Context) error {
		var mode string
		err := s.db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		if err == nil && mode != "wal" {
			err = fmt.Errorf("the database can't have a write-ahead log, and is in the mode %q: it has to be a file", mode)
		}
		return err
	})
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := s.migrationFiles()
	if err != nil {
		return err
	}
	locker, err := s.locker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(s.dialect.goose, s.db, files, goose.WithTableName(s.options.Prefix+"migrations"),
		goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// migrationFiles are those of the dialect, for tables with the prefix.
func (s *Store) migrationFiles() (fs.FS, error) {
	folder := path.Join("migrations", strings.ToLower(s.dialect.name))
	names, err := fs.Glob(migrations, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{}
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[path.Base(name)] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(text), "{prefix}", s.options.Prefix))}
	}
	return files, nil
}

// locker lets one process migrate at a time. PostgreSQL gives a lock back when the process is killed.
func (s *Store) locker() (lock.SessionLocker, error) {
	if !s.dialect.oneWriter {
		return lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	}
	return &lease{table: s.options.Prefix + "lock", transient: s.dialect.transient}, nil
}

// lease is a lock in a table of SQLite. It runs out, so that a process that is killed does not keep it.
type lease struct {
	table     string
	transient func(error) bool
	until     int64
}

// leaseTime is longer than any migration takes.
const leaseTime = time.Minute

// SessionLock waits until no other process has the lock.
func (l *lease) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for {
		taken, err := l.take(ctx, conn)
		if taken || err != nil && !l.transient(err) {
			return err
		}
		select {
		case <-time.After(10*time.Millisecond + rand.N(40*time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lease) take(ctx context.Context, conn *sql.Conn) (bool, error) {
	if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS `+l.table+` (id INTEGER PRIMARY KEY, until INTEGER NOT NULL)`); err != nil {
		return false, err
	}
	now := time.Now()
	until := now.Add(leaseTime).UnixNano()
	result, err := conn.ExecContext(ctx, `INSERT INTO `+l.table+` (id, until) VALUES (1, ?1)
		ON CONFLICT (id) DO UPDATE SET until = excluded.until WHERE until < ?2`, until, now.UnixNano())
	if err != nil {
		return false, err
	}
	l.until = until
	taken, err := result.RowsAffected()
	return taken > 0, err
}

// SessionUnlock gives the lock to the next process.
func (l *lease) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `DELETE FROM `+l.table+` WHERE id = 1 AND until = ?1`, l.until)
	return err
}
