// Package sqlstore is a fosite storage with registered clients in a database that database/sql speaks to: SQLite or
// PostgreSQL. It keeps everything that fosite and package dcr keep: registered clients, static ones beside them, codes,
// tokens, pushed requests, identifiers of assertions, initial access tokens. Any number of processes may share a database.
//
//	store, err := sqlstore.Open(ctx, sqlstore.SQLite, "auth.db", sqlstore.Options{})
//	...
//	provider, err := dcr.Extend(compose.Compose(config, store, strategy, ..., dcr.NewFactory(dcrConfig)))
//
// The package imports no driver. The program imports one: modernc.org/sqlite, or github.com/jackc/pgx/v5/stdlib.
//
// Nothing in the database is a secret by itself. Keys of codes, tokens and pushed requests are digests, and what a client
// authenticates with is not in a stored request. It does hold personal data: who registered, and what sessions say of users.
// Signing keys and the global secret do not belong in it.
//
// What may happen once happens by one conditional statement, so it does not rest on the isolation level. A call that meets
// a lock or a deadlock is repeated for Options.Patience, and then wraps dcr.ErrUnavailable (503). Within a transaction that
// fosite has begun it also wraps fosite.ErrSerializationFailure.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
	"github.com/ory/fosite/storage"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var (
	_ fosite.Storage                     = (*Store)(nil)
	_ fosite.PARStorage                  = (*Store)(nil)
	_ oauth2.CoreStorage                 = (*Store)(nil)
	_ oauth2.TokenRevocationStorage      = (*Store)(nil)
	_ pkce.PKCERequestStorage            = (*Store)(nil)
	_ openid.OpenIDConnectRequestStorage = (*Store)(nil)
	_ storage.Transactional              = (*Store)(nil)

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
	// Prefix begins the names of the tables; default "dcr_". It is lower case letters, digits and "_". Stores with
	// different prefixes in one database see nothing of each other.
	Prefix string
	// MaxClients is how many registered clients there may be; default 1,000,000. Beyond, the oldest that was never used is
	// evicted (dcr.ClientEvicter). Registrations at the same moment may exceed it by their number. There is always a bound.
	MaxClients int64
	// NewSession returns an empty session of the type that the server uses. It is used where fosite names none: for pushed
	// requests, and where a session is only revoked. Default *openid.DefaultSession.
	NewSession func() fosite.Session
	// RefreshGrace is how long after its first use a refresh token may be used again, for clients that did not get the
	// answer; default 0: a second use ends the grant. Within it a use yields another pair of tokens beside the first.
	RefreshGrace time.Duration
	// RefreshGraceUses is how often a refresh token may be used again within RefreshGrace; default 1.
	RefreshGraceUses int
	// Patience is how long a call waits for a connection and for locks of others, and is repeated after conflicts; default
	// 10 seconds. After that it wraps dcr.ErrUnavailable (503).
	Patience time.Duration
	// Isolation is the isolation level of transactions on PostgreSQL; default sql.LevelReadCommitted.
	Isolation sql.IsolationLevel
	// SweepEvery is how often expired codes and tokens are removed in the background; default a minute, negative never.
	// One that fails is logged by slog's default logger and tried again the next time. Registered clients are removed by
	// Provider.Sweep.
	SweepEvery time.Duration
	// Now is the clock, the same as that of dcr.Config; default time.Now. Patience and SweepEvery go by the real one.
	Now func() time.Time
}

func (o Options) withDefaults() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "dcr_"
	}
	if len(o.Prefix) > 24 || o.Prefix[0] >= '0' && o.Prefix[0] <= '9' || slices.ContainsFunc([]byte(o.Prefix), func(c byte) bool {
		return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	}) {
		return o, errors.New("sqlstore: Options.Prefix is not up to 24 lower case letters, digits and \"_\", with no digit first")
	}
	if o.MaxClients == 0 {
		o.MaxClients = 1_000_000
	}
	if o.NewSession == nil {
		o.NewSession = func() fosite.Session { return openid.NewDefaultSession() }
	}
	if o.RefreshGraceUses == 0 {
		o.RefreshGraceUses = 1
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Store is a storage in a database. It is safe for many goroutines, and for many processes.
type Store struct {
	db      *sql.DB
	dialect *Dialect
	sql     statements
	options Options
	static  sync.Map      // of identifier to fosite.Client
	full    sync.Map      // of who has no room for assertions to the time until which, in nanoseconds
	writer  chan struct{} // holds one where the dialect has one writer at a time
	owned   bool          // the database was opened by Open

	stop   context.CancelFunc
	sweeps sync.WaitGroup
}

// New returns a store in a database. Tables that are missing are created, and older ones are brought up to date, by one
// process at a time; where there is nothing to do no right to create tables is needed. Tables of a newer version of this
// package are an error (ErrSchema). The pool stays as the application has it.
//
// Close ends what the store does in the background; the database is the application's to close.
func New(ctx context.Context, db *sql.DB, dialect *Dialect, options Options) (*Store, error) {
	options, err := options.withDefaults()
	if err := errors.Join(dialect.check(), err); err != nil {
		return nil, err
	}
	if db == nil {
		return nil, errors.New("sqlstore: New needs a database, which sql.Open opens")
	}
	s := &Store{db: db, dialect: dialect, options: options, sql: dialect.statements(options.Prefix)}
	if dialect.oneWriter {
		s.writer = make(chan struct{}, 1)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, dialect.opening(err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if options.SweepEvery > 0 {
		s.sweeps.Go(func() { s.sweepUntil(background) })
	}
	return s, nil
}

// Open opens a database and returns a store in it. The source is the path of a file for SQLite, no URL, and for PostgreSQL
// what pgx takes: postgres://USER:PASSWORD@HOST:PORT/DATABASE. The pool has up to 16 connections. Close closes the database, too.
func Open(ctx context.Context, dialect *Dialect, source string, options Options) (*Store, error) {
	if err := dialect.check(); err != nil {
		return nil, err
	}
	if !slices.Contains(sql.Drivers(), dialect.driver) {
		return nil, fmt.Errorf("sqlstore: no driver for %s: import _ %q", dialect.name, dialect.module)
	}
	if dialect == SQLite {
		if err := checkFile(source); err != nil {
			return nil, err
		}
	}
	db, err := sql.Open(dialect.driver, dialect.source(source))
	if err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s, err := New(ctx, db, dialect, options)
	if err != nil {
		if dialect == SQLite {
			err = inFile(source, err)
		}
		return nil, errors.Join(err, db.Close())
	}
	s.owned = true
	return s, nil
}

// connections is how many connections the pool has that Open makes.
const connections = 16

// Close ends what the store does in the background, and closes the database if Open has opened it.
func (s *Store) Close() error {
	s.stop()
	s.sweeps.Wait()
	if !s.owned {
		return nil
	}
	return s.db.Close()
}
