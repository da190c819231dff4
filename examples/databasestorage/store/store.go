// Package store is a complete fosite storage in a database, for any number of servers at
// once: registered clients, initial access tokens, codes, tokens, pushed requests and
// identifiers of client assertions.
//
// It is written for SQLite, and is there to be copied. Every change is one conditional statement, or a
// transaction that has the write lock from its beginning. So if several servers change the same
// record at once, one of them succeeds.
//
// For another database, change the data source, the names of a few functions, and the error codes
// that mean "try again" (isBusy). Where several writers run at once, the INSERT of CreateClient needs
// ON CONFLICT DO NOTHING, and the choice of CreateClientEvicting needs FOR UPDATE SKIP LOCKED. Where
// the database stores times less exactly than Go, cut the times of cursors and filters in the same
// way.
package store

import (
	"context"
	"database/sql"
	_ "embed" // for the schema
	"errors"
	"fmt"
	"math"
	"net/url"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

//go:embed schema.sql
var schema string

// Store is a storage in one database file.
type Store struct {
	db      *sql.DB
	static  sync.Map // of identifier to fosite.Client: static clients
	options Options
}

var (
	_ fosite.Storage                     = (*Store)(nil)
	_ fosite.PARStorage                  = (*Store)(nil)
	_ oauth2.CoreStorage                 = (*Store)(nil)
	_ oauth2.TokenRevocationStorage      = (*Store)(nil)
	_ pkce.PKCERequestStorage            = (*Store)(nil)
	_ openid.OpenIDConnectRequestStorage = (*Store)(nil)

	_ dcr.ClientStorage             = (*Store)(nil)
	_ dcr.UseRecorder               = (*Store)(nil)
	_ dcr.GrantRevoker              = (*Store)(nil)
	_ dcr.ExpiredDeleter            = (*Store)(nil)
	_ dcr.ClientEvicter             = (*Store)(nil)
	_ dcr.ClientLister              = (*Store)(nil)
	_ dcr.InitialAccessTokenStorage = (*Store)(nil)
)

// Options configures a Store. The zero value means the defaults.
type Options struct {
	// MaxClients is how many registered clients there may be; default 1,000,000.
	MaxClients int64
	// NewSession returns an empty session of the type that the server uses. fosite gives
	// none where it reads a pushed request, or a session that it only revokes.
	// Default *openid.DefaultSession.
	NewSession func() fosite.Session
	// Patience is how long a write waits for other writers; default 10 seconds. After that
	// it returns dcr.ErrUnavailable, and the client may try again.
	Patience time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// withDefaults returns the options with the defaults filled in.
func (o Options) withDefaults() Options {
	if o.MaxClients == 0 {
		o.MaxClients = 1_000_000
	}
	if o.NewSession == nil {
		o.NewSession = func() fosite.Session { return openid.NewDefaultSession() }
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// connections is how many connections one process has. Reads run at the same time, writes one
// after the other.
const connections = 8

// Open opens a database file. It creates the file and its tables where they are missing.
func Open(ctx context.Context, file string, options Options) (*Store, error) {
	options = options.withDefaults()
	db, err := sql.Open("sqlite", Source(file, options.Patience))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	s := &Store{db: db, options: options}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// Source returns the data source name of a file. With it a transaction takes the write lock at
// its beginning: SQLite may refuse it to a transaction that has read before.
func Source(file string, patience time.Duration) string {
	source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds())},
	}.Encode()}
	return source.String()
}

// prepare creates the tables that are missing.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.keepLog(ctx); err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	})
}

// keepLog gives the file a write-ahead log, a setting that the file keeps: readers and the
// writer then do not wait for each other. The change needs the file alone and, unlike other
// statements, does not wait for it. So where servers start at once, an empty transaction waits for
// the others, and the change is tried again.
func (s *Store) keepLog(ctx context.Context) error {
	for end := time.Now().Add(s.options.Patience); ; {
		_, err := s.exec(ctx, `PRAGMA journal_mode = WAL`)
		if !errors.Is(err, dcr.ErrUnavailable) || time.Now().After(end) {
			return err
		}
		if err := s.write(ctx, func(*sql.Tx) error { return nil }); err != nil {
			return err
		}
	}
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// exec runs one statement and returns how many rows it has changed.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, explained(ctx, err)
	}
	return result.RowsAffected()
}

// exists reports whether a query has a row.
func (s *Store) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var one int
	err := s.db.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, explained(ctx, err)
}

// write runs statements in one transaction, which is rolled back on an error.
func (s *Store) write(ctx context.Context, statements func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explained(ctx, err)
	}
	if err := statements(tx); err != nil {
		_ = tx.Rollback()
		return explained(ctx, err)
	}
	return explained(ctx, tx.Commit())
}

// explained turns an error of the database into one that the contracts of dcr and fosite name.
func explained(ctx context.Context, err error) error {
	var refusal *sqlite.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, sql.ErrNoRows):
		return fosite.ErrNotFound
	case errors.As(err, &refusal) && isBusy(refusal.Code()):
		return fmt.Errorf("%w: %w", dcr.ErrUnavailable, err)
	}
	return err
}

// isBusy reports whether a code of SQLite means that another connection has the lock. The low byte
// of a code is the error, the rest is the detail.
func isBusy(code int) bool {
	return code&0xff == sqlite3.SQLITE_BUSY || code&0xff == sqlite3.SQLITE_LOCKED
}

// The times that fit into a column. Times beyond are stored as these.
var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

// nanoseconds returns the value of a time column.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(earliest):
		return math.MinInt64
	case t.After(latest):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// orNull returns the value of a time column that is NULL for the zero time.
func orNull(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: nanoseconds(t), Valid: !t.IsZero()}
}

// fromColumn returns the time of such a column.
func fromColumn(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.Unix(0, n.Int64).UTC()
}
