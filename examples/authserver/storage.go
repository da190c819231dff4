package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
	_ "modernc.org/sqlite" // the driver "sqlite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// store is what this server needs of a storage. dcr.MemoryStore and sqlstore.Store have all of it.
type store interface {
	fosite.Storage
	fosite.PARStorage
	oauth2.CoreStorage
	oauth2.TokenRevocationStorage
	openid.OpenIDConnectRequestStorage
	pkce.PKCERequestStorage

	dcr.ClientStorage
	dcr.UseRecorder
	dcr.GrantRevoker
	dcr.ExpiredDeleter
	dcr.ClientEvicter
	dcr.ClientLister
	dcr.InitialAccessTokenStorage

	AddClient(client fosite.Client)
}

var (
	_ store = (*dcr.MemoryStore)(nil)
	_ store = (*sqlstore.Store)(nil)
)

// database is what -storage names beside memory.
type database struct {
	dialect *sqlstore.Dialect
	// source is for sqlstore.Open. It may have a password in it.
	source string
	// driver and driverSource are for database/sql.
	driver, driverSource string
	// shown says in the notice where it is.
	shown string
}

// errStorage does not say what was given: there may be a password in it.
var errStorage = errors.New(`-storage: want memory, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE, ` +
	`where characters such as / ? # @ % in a name or password are written as %2F %3F %23 %40 %25`)

// parseStorage reads the value of -storage. Memory is nil.
func parseStorage(value string) (*database, error) {
	switch kind, rest, _ := strings.Cut(value, ":"); kind {
	case storageMemory:
		if value == kind {
			return nil, nil
		}
	case "sqlite":
		// SQLite's own :memory: is a database for each connection. Two slashes would begin a host.
		if rest != "" && rest != ":memory:" && !strings.HasPrefix(rest, "//") {
			return sqliteFile(rest), nil
		}
	case "postgres", "postgresql":
		return postgresDatabase(value)
	}
	return nil, errStorage
}

func sqliteFile(file string) *database {
	source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath(), RawQuery: "_pragma=busy_timeout(10000)"}
	return &database{dialect: sqlstore.SQLite, source: file, driver: "sqlite", driverSource: source.String(), shown: file}
}

// postgresDatabase takes a URL that has all its parts. In any other one a part of a password may stand where a host or a
// database is expected, and errors of the driver name those.
func postgresDatabase(source string) (*database, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, errStorage // the cause would quote the URL
	}
	name := strings.TrimPrefix(u.Path, "/")
	if u.User.Username() == "" || u.Hostname() == "" || name == "" || strings.ContainsAny(name, "/@") || u.Fragment != "" ||
		strings.Contains(u.RawQuery, "@") {
		return nil, errStorage
	}
	return &database{
		dialect: sqlstore.PostgreSQL, source: source, driver: "pgx", driverSource: source,
		shown: fmt.Sprintf("database %s at %s", name, u.Host),
	}, nil
}

// openStorage opens what -storage names for an issuer, and returns the keys that go with it. The demo names no issuer.
func openStorage(ctx context.Context, value, issuer string) (store, *keys, error) {
	d, err := parseStorage(value)
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		k, err := newKeys()
		return dcr.NewMemoryStore(), k, err
	}
	opened, k, err := d.open(ctx, issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("-storage: %s, %s: %w", d.dialect, d.shown, err)
	}
	return opened, k, nil
}

func (d *database) open(ctx context.Context, issuer string) (*sqlstore.Store, *keys, error) {
	if d.dialect == sqlstore.SQLite {
		// The keys are in the file: nobody else on this machine may read it. SQLite gives its other files the same mode.
		file, err := os.OpenFile(d.source, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, nil, err
		}
		if err := errors.Join(file.Chmod(0o600), file.Close()); err != nil { // it may have been there
			return nil, nil, err
		}
	}
	opened, err := sqlstore.Open(ctx, d.dialect, d.source, sqlstore.Options{
		NewSession: func() fosite.Session { return newSession() },
	})
	if err != nil {
		return nil, nil, err
	}
	k, err := d.keys(ctx, issuer)
	if err != nil {
		return nil, nil, errors.Join(err, opened.Close())
	}
	return opened, k, nil
}

func (d *database) keys(ctx context.Context, issuer string) (k *keys, err error) {
	db, err := sql.Open(d.driver, d.driverSource)
	if err != nil {
		return nil, err
	}
	if issuer != "" {
		err = requireIssuer(ctx, db, issuer)
	}
	if err == nil {
		k, err = sharedKeys(ctx, db)
	}
	return k, errors.Join(err, db.Close())
}

// requireIssuer keeps processes of another issuer away from a database: with the keys in it their tokens would be good here, and
// the clients of one are unknown to the other. The first process says which issuer it is.
func requireIssuer(ctx context.Context, db *sql.DB, issuer string) error {
	_, failed := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS authserver_issuer (id INTEGER PRIMARY KEY, value TEXT NOT NULL)`)
	_, err := db.ExecContext(ctx, `INSERT INTO authserver_issuer (id, value) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, issuer)
	var found string
	if err == nil {
		err = db.QueryRowContext(ctx, `SELECT value FROM authserver_issuer WHERE id = 1`).Scan(&found)
	}
	switch {
	case err != nil: // that the table was not created matters only here, as in sharedKeys
		return fmt.Errorf("the table authserver_issuer: %w", errors.Join(failed, err))
	case found != issuer:
		return fmt.Errorf("it belongs to the issuer %s, and this process would be %s: start it with -issuer %[1]s, or with another -storage",
			found, issuer)
	}
	return nil
}

// closeStorage ends what a storage does in the background.
func closeStorage(s store) error {
	if closer, ok := s.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
