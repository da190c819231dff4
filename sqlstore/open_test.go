package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// migratingEnv names the database of a process that only opens a store, and is no test.
const migratingEnv = "DCR_TEST_MIGRATING"

// TestMigratingProcess is such a process. In an ordinary run there is nothing to do.
func TestMigratingProcess(t *testing.T) {
	source := os.Getenv(migratingEnv)
	if source == "" {
		return
	}
	d := databases[0]
	if source[0] != '/' {
		d = databases[1]
	}
	id := fmt.Sprint("process ", os.Getpid())
	require.NoError(t, d.open(t, source, sqlstore.Options{}).CreateClient(t.Context(), &dcr.Client{ID: id, Version: 1}))
}

// TestProcessesMigrate: processes that start at once on an empty database, of which one is killed in the middle.
func TestProcessesMigrate(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-22/processes", func(t *testing.T) {
			source := d.create(t)
			processes := make([]*exec.Cmd, 8)
			for i := range processes {
				processes[i] = exec.Command(os.Args[0], "-test.run=^TestMigratingProcess$")
				processes[i].Env = append(os.Environ(), migratingEnv+"="+source)
				require.NoError(t, processes[i].Start())
			}
			time.Sleep(20 * time.Millisecond)
			require.NoError(t, processes[0].Process.Kill())
			_ = processes[0].Wait()
			for _, process := range processes[1:] {
				require.NoError(t, process.Wait())
			}
			number, err := d.open(t, source, sqlstore.Options{}).CountClients(t.Context(), dcr.ClientFilter{}, 100)
			require.NoError(t, err)
			require.GreaterOrEqual(t, number, 7)
		})
	})
}

// TestKilledMigration: a process that is killed with the lock, or half-way through the tables, keeps nobody from working.
func TestKilledMigration(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-22/killed", func(t *testing.T) {
			source := d.create(t)
			db := d.raw(t, source)
			if d.dialect == sqlstore.SQLite { // PostgreSQL ends the lock with the session
				d.exec(t, db, `CREATE TABLE dcr_lock (id INTEGER PRIMARY KEY, until INTEGER NOT NULL)`)
				d.exec(t, db, fmt.Sprintf(`INSERT INTO dcr_lock VALUES (1, %d)`, time.Now().Add(300*time.Millisecond).UnixNano()))
			} else {
				conn, err := db.Conn(t.Context())
				require.NoError(t, err)
				_, err = conn.ExecContext(t.Context(), `SELECT pg_advisory_lock(4097083626)`)
				require.NoError(t, err)
				time.AfterFunc(300*time.Millisecond, func() { _ = conn.Close(); _ = db.Close() })
			}
			begin := time.Now()
			s := d.open(t, source, sqlstore.Options{})
			require.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond, "it waited for the lock")
			require.NoError(t, s.CreateClient(t.Context(), &dcr.Client{ID: "client", Version: 1}))
		})
	})
}

// raw opens the database itself.
func (d database) raw(t testing.TB, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(map[string]string{"sqlite": "sqlite", "postgresql": "pgx"}[d.name], source)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (d database) exec(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), statement, args...)
	require.NoError(t, err)
}

// TestSchema: tables of a newer version, and tables that are missing, are said when the store is opened.
func TestSchema(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-23/version", func(t *testing.T) { requireVersion(t, d) })
	})
}

func requireVersion(t *testing.T, d database) {
	t.Helper()
	source := d.create(t)
	d.open(t, source, sqlstore.Options{})
	db := d.raw(t, source)
	again, err := sqlstore.New(t.Context(), db, d.dialect, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, db.PingContext(t.Context()), "the database is the application's to close")
	d.exec(t, db, `INSERT INTO dcr_migrations (version_id, is_applied) VALUES (2, true)`)
	_, err = sqlstore.New(t.Context(), db, d.dialect, sqlstore.Options{})
	require.ErrorIs(t, err, sqlstore.ErrSchema)
	require.ErrorContains(t, err, "2, and this program knows 1")
	d.exec(t, db, `DELETE FROM dcr_migrations WHERE version_id = 2`)
	d.exec(t, db, `DROP TABLE dcr_assertions`)
	_, err = sqlstore.New(t.Context(), db, d.dialect, sqlstore.Options{})
	require.ErrorContains(t, err, "a table is missing")
}

// TestPrefixes: two stores in one database see nothing of each other.
func TestPrefixes(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-29/prefixes", func(t *testing.T) {
			ctx, source := t.Context(), d.create(t)
			one, other := d.open(t, source, sqlstore.Options{Prefix: "one_"}), d.open(t, source, sqlstore.Options{Prefix: "other_"})
			for _, s := range []*sqlstore.Store{one, other} {
				require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "client", Version: 1}))
			}
			require.NoError(t, one.DeleteClient(ctx, "client"))
			_, err := other.GetClient(ctx, "client")
			require.NoError(t, err)
			number, err := one.CountClients(ctx, dcr.ClientFilter{}, 10)
			require.NoError(t, err)
			require.Zero(t, number)
			for _, prefix := range []string{"DCR", "a-b", "x; DROP", "a.b", "twenty_five_characters_xx", "1x_"} {
				_, err := sqlstore.Open(ctx, d.dialect, source, sqlstore.Options{Prefix: prefix})
				require.ErrorContains(t, err, "Options.Prefix")
			}
		})
	})
}

// TestOpenNowhere: a database that is not there is an error that names the file, and never the password that was given.
func TestOpenNowhere(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	folder := t.TempDir()
	text := filepath.Join(folder, "text")
	require.NoError(t, os.WriteFile(text, bytes.Repeat([]byte("text"), 1000), 0o600))
	for file, want := range map[string]string{
		folder: "in a folder that is there", filepath.Join(folder, "no such folder", "clients.db"): "in a folder that is there", text: "in the file",
	} {
		_, err := sqlstore.Open(ctx, sqlstore.SQLite, file, sqlstore.Options{})
		require.ErrorContains(t, err, strconv.Quote(file))
		require.ErrorContains(t, err, want)
	}
	_, err := sqlstore.Open(ctx, sqlstore.SQLite, ":memory:", sqlstore.Options{})
	require.ErrorContains(t, err, "name a file")
	for source, want := range map[string]string{
		"postgres://user:topsecret@127.0.0.1:1/none":                     "127.0.0.1:1",
		"postgres://user:topsecret@127.0.0.1:x/none":                     "can't be parsed: invalid port",
		"postgres://user:a@topsecret@127.0.0.1:x/none":                   "can't be parsed: invalid port",
		"host=127.0.0.1 port=1 password = topsecret sslmode=bogus":       "sslmode is invalid",
		`host=127.0.0.1 port=1 password='a\'topsecret' sslmode=bogus`:    "sslmode is invalid",
		"postgres://127.0.0.1:1/none?sslmode=bogus&password=topsecret":   "sslmode is invalid",
		" postgres://user:topsecret@127.0.0.1:1/none":                    "can't be parsed",
		"postgres://user:topsecret%zz@127.0.0.1:1/none?sslmode=disable":  "can't be parsed",
		"postgres://user:top/secret@127.0.0.1:1/none?connect_timeout=10": "can't be parsed",
	} {
		_, err := sqlstore.Open(ctx, sqlstore.PostgreSQL, source, sqlstore.Options{})
		require.ErrorContains(t, err, want, source)
		require.NotContains(t, err.Error(), "secret", source)
	}
}

// TestMissing: what New and Open need is named where it is missing, and so is the dialect where it is that of another database.
func TestMissing(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, source := t.Context(), d.create(t)
		db := d.raw(t, source)
		for _, dialect := range []*sqlstore.Dialect{nil, {}} {
			_, err := sqlstore.New(ctx, db, dialect, sqlstore.Options{})
			require.ErrorContains(t, err, "the dialect is missing")
			_, err = sqlstore.Open(ctx, dialect, source, sqlstore.Options{})
			require.ErrorContains(t, err, "the dialect is missing")
		}
		_, err := sqlstore.New(ctx, nil, d.dialect, sqlstore.Options{})
		require.ErrorContains(t, err, "New needs a database")
		other := databases[0].dialect
		if d.dialect == other {
			other = databases[1].dialect
		}
		_, err = sqlstore.New(ctx, db, other, sqlstore.Options{})
		require.ErrorContains(t, err, "is "+other.String()+" the dialect of the database?")
	})
}

// TestNoFile: what is no path makes no file with its name, and is not repeated.
func TestNoFile(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"sqlite:x.db", "SQLite:x.db", "file:u.db?_pragma=busy_timeout(1000)", "file::memory:?cache=shared", "postgres://user:topsecret@db.example/x",
	} {
		_, err := sqlstore.Open(t.Context(), sqlstore.SQLite, source, sqlstore.Options{})
		require.EqualError(t, err, `sqlstore: the source of SQLite is a path such as "auth.db", and no URL`, source)
	}
	for _, source := range []string{"host=/var/run/none password=topsecret", "user:topsecret@tcp(127.0.0.1:3306)/x"} {
		_, err := sqlstore.Open(t.Context(), sqlstore.SQLite, source, sqlstore.Options{})
		require.ErrorContains(t, err, "unable to open database file")
		require.NotContains(t, err.Error(), "topsecret")
	}
}

// TestSQLiteWriters: two stores on one file, as two processes have them, write at the same time while others read.
func TestSQLiteWriters(t *testing.T) {
	t.Parallel()
	t.Run("SQL-16/writers", func(t *testing.T) {
		ctx, file := t.Context(), databases[0].create(t)
		var group sync.WaitGroup
		errs := make(chan error, 8)
		for i := range 2 {
			s := databases[0].open(t, file, sqlstore.Options{})
			for j := range 2 {
				group.Go(func() {
					for k := range 500 {
						if err := s.CreateClient(ctx, &dcr.Client{ID: fmt.Sprint(i, "-", j, "-", k), Version: 1}); err != nil {
							errs <- err
							return
						}
					}
				})
				group.Go(func() {
					for range 500 {
						if _, err := s.CountClients(ctx, dcr.ClientFilter{}, 1); err != nil {
							errs <- err
							return
						}
					}
				})
			}
		}
		group.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		number, err := databases[0].open(t, file, sqlstore.Options{}).CountClients(ctx, dcr.ClientFilter{}, 10_000)
		require.NoError(t, err)
		require.Equal(t, 2000, number)
	})
}
