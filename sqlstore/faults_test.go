package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/ngrok/sqlmw"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// faults stands between a store and its driver: it counts what is said to the database, and fails where a test wants it.
type faults struct {
	sqlmw.NullInterceptor
	said atomic.Int64
	fail atomic.Pointer[func(number int64) error]
}

func (f *faults) next() error {
	number := f.said.Add(1)
	if fail := f.fail.Load(); fail != nil {
		return (*fail)(number)
	}
	return nil
}

// from has fail decide from now on. Statements are numbered from 1 on.
func (f *faults) from(fail func(number int64) error) {
	f.said.Store(0)
	f.fail.Store(&fail)
}

func (f *faults) ConnBeginTx(ctx context.Context, conn driver.ConnBeginTx, options driver.TxOptions) (context.Context, driver.Tx, error) {
	if err := f.next(); err != nil {
		return ctx, nil, err
	}
	return f.NullInterceptor.ConnBeginTx(ctx, conn, options)
}

func (f *faults) ConnExecContext(ctx context.Context, conn driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	return f.NullInterceptor.ConnExecContext(ctx, conn, query, args)
}

func (f *faults) ConnQueryContext(ctx context.Context, conn driver.QueryerContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	if err := f.next(); err != nil {
		return ctx, nil, err
	}
	return f.NullInterceptor.ConnQueryContext(ctx, conn, query, args)
}

func (f *faults) TxCommit(ctx context.Context, tx driver.Tx) error {
	if err := f.next(); err != nil {
		return errors.Join(err, tx.Rollback()) // as a database does that refuses to commit
	}
	return f.NullInterceptor.TxCommit(ctx, tx)
}

var drivers atomic.Int64

// withFaults opens a store whose statements a test can have fail.
func (d database) withFaults(t *testing.T, source string, options sqlstore.Options) (*sqlstore.Store, *sql.DB, *faults) {
	t.Helper()
	f := new(faults)
	var inner driver.Driver = &sqlite.Driver{}
	if d.dialect == sqlstore.PostgreSQL {
		inner = stdlib.GetDefaultDriver()
	}
	name := fmt.Sprint("faults", drivers.Add(1))
	sql.Register(name, sqlmw.Driver(inner, f))
	db, err := sql.Open(name, source)
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // enough to bring the tables up to date
	defer db.SetMaxOpenConns(0)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlstore.New(t.Context(), db, d.dialect, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, db, f
}

// conflict is what another transaction causes.
func (d database) conflict() error {
	if d.dialect == sqlstore.PostgreSQL {
		return &pgconn.PgError{Code: "40001", Message: "could not serialize access"}
	}
	return coded(5)
}

// coded is an error with a code of SQLite.
type coded int

func (c coded) Error() string { return fmt.Sprint("SQLite says ", int(c)) }
func (c coded) Code() int     { return int(c) }

// serve starts a server on a store.
func serve(t *testing.T, s *sqlstore.Store, edits ...func(*dcrtest.Setup)) *dcrtest.Server {
	t.Helper()
	s.AddClient(dcrtest.Introspector(t))
	setup := dcrtest.Setup{Storage: s, Config: dcr.Config{Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}}
	for _, edit := range edits {
		edit(&setup)
	}
	return dcrtest.Start(t, setup)
}

var app = map[string]any{
	"client_name": "App", "redirect_uris": []string{dcrtest.RedirectURI}, "scope": "openid offline_access",
	"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"},
}

// steps are the requests of a client's life. Each returns its answer, and is sent again where it was told to.
func steps(t *testing.T, s *dcrtest.Server) (names []string, step map[string]func() dcrtest.Answer) {
	var client, tokens dcrtest.Answer
	var code string
	basic := func() dcrtest.Edit { return dcrtest.Basic(client.ID(), client.Secret()) }
	kept := func(keep *dcrtest.Answer, answer dcrtest.Answer) dcrtest.Answer {
		if answer.Status < 300 {
			*keep = answer
		}
		return answer
	}
	form := func(form url.Values) dcrtest.Answer { return s.Form(t, "/oauth2/token", form, basic()) }
	return []string{"register", "read", "authorize", "code", "introspect", "refresh", "service", "push", "update", "delete"}, map[string]func() dcrtest.Answer{
		"register": func() dcrtest.Answer { return kept(&client, s.Post(t, app)) },
		"read":     func() dcrtest.Answer { return s.Manage(t, http.MethodGet, client, nil) },
		"authorize": func() dcrtest.Answer {
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid offline_access"))
			location, err := url.Parse(answer.Header.Get("Location"))
			require.NoError(t, err)
			code = location.Query().Get("code")
			if code == "" && answer.Status < 500 {
				answer.Members = map[string]any{"error": location.Query().Get("error")}
				if answer.Text("error") == "server_error" || answer.Text("error") == "temporarily_unavailable" {
					answer.Status = http.StatusServiceUnavailable
				}
			}
			return answer
		},
		"code":       func() dcrtest.Answer { return kept(&tokens, form(dcrtest.CodeForm("", code, dcrtest.RedirectURI))) },
		"introspect": func() dcrtest.Answer { return dcrtest.Introspect(t, s, tokens.Text("access_token")) },
		"refresh": func() dcrtest.Answer {
			return kept(&tokens, form(dcrtest.RefreshForm("", tokens.Text("refresh_token"))))
		},
		"service": func() dcrtest.Answer { return form(url.Values{"grant_type": {"client_credentials"}}) },
		"push": func() dcrtest.Answer {
			return s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"), basic())
		},
		"update": func() dcrtest.Answer {
			return kept(&client, s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client)))
		},
		"delete": func() dcrtest.Answer { return s.Manage(t, http.MethodDelete, client, nil) },
	}
}

// TestTransientFaults: a conflict at any one statement of any request is repeated, or the answer is 503 and the same request
// succeeds the next time. It is never a statement about the client, the code or the token.
func TestTransientFaults(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		source := d.create(t)
		store, _, faults := d.withFaults(t, source, sqlstore.Options{})
		s := serve(t, store)
		names, step := steps(t, s)
		for _, name := range names {
			t.Run("SQL-06/"+name, func(t *testing.T) {
				unavailable := 0
				for at := int64(1); ; at++ {
					faults.from(func(number int64) error {
						if number == at {
							return d.conflict()
						}
						return nil
					})
					answer := step[name]()
					said := faults.said.Load()
					faults.from(func(int64) error { return nil })
					if said < at { // there is no such statement: the request has met no fault
						require.Less(t, answer.Status, 400, answer.Body)
						break
					}
					if answer.Status >= 400 {
						require.Equal(t, http.StatusServiceUnavailable, answer.Status, "%d: %s", at, answer.Body)
						unavailable++
						continue
					}
					if name == "delete" {
						break // it is gone
					}
					if name == "code" {
						require.Less(t, step["authorize"]().Status, 400)
					}
				}
				inTransaction := slices.Contains([]string{"register", "code", "refresh", "update"}, name)
				require.Equal(t, inTransaction, unavailable > 0, "a call that is a transaction of its own is repeated")
			})
		}
	})
}

// TestDatabaseDown: while the database is away everything is 503, and afterwards all is as before.
func TestDatabaseDown(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		store, _, faults := d.withFaults(t, d.create(t), sqlstore.Options{})
		s := serve(t, store)
		names, step := steps(t, s)
		for _, name := range names {
			t.Run("SQL-21/T52/"+name, func(t *testing.T) {
				for _, fault := range d.outages() {
					faults.from(func(int64) error { return fault })
					if name == "introspect" {
						answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {"ory_at_x.y"}}, dcrtest.Basic(dcrtest.IntrospectorID, dcrtest.IntrospectorSecret))
						require.NotEqual(t, true, answer.Members["active"])
					} else {
						answer := step[name]()
						require.Equal(t, http.StatusServiceUnavailable, answer.Status, "%v: %s", fault, answer.Body)
					}
					faults.from(func(int64) error { return nil })
				}
				answer := step[name]()
				require.Less(t, answer.Status, 400, answer.Body)
			})
		}
	})
}

// outages are errors of a database that can't serve.
func (d database) outages() []error {
	if d.dialect == sqlstore.SQLite {
		return []error{coded(10), coded(13), coded(8)}
	}
	var errs []error
	for _, code := range []string{"57P01", "53100", "53300", "25006", "08006"} {
		errs = append(errs, &pgconn.PgError{Code: code})
	}
	return append(errs, driver.ErrBadConn)
}

// TestOneConnection: with one connection nothing waits for itself.
func TestOneConnection(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-17/one", func(t *testing.T) {
			store, db, _ := d.withFaults(t, d.create(t), sqlstore.Options{})
			db.SetMaxOpenConns(1)
			s := serve(t, store)
			names, step := steps(t, s)
			for _, name := range names[:6] {
				answer := within(t, 5*time.Second, step[name])
				require.Less(t, answer.Status, 400, answer.Body)
			}
			// A refresh token that is used again ends its grant, also with one connection.
			client := s.Register(t, app)
			tokens := dcrtest.SignIn(t, s, client)
			form := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
			refresh := func() dcrtest.Answer {
				return s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
			}
			successor := within(t, 5*time.Second, refresh)
			require.Equal(t, http.StatusOK, successor.Status, successor.Body)
			require.Equal(t, http.StatusBadRequest, within(t, 5*time.Second, refresh).Status)
			dcrtest.RequireInactive(t, s, successor.Text("access_token"))
			for _, name := range names[6:] {
				answer := within(t, 5*time.Second, step[name])
				require.Less(t, answer.Status, 400, answer.Body)
			}
			require.Zero(t, db.Stats().InUse)
		})
	})
}

// within calls what has to be done in a time; a call that waits for itself never is.
func within(t *testing.T, limit time.Duration, do func() dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	done := make(chan dcrtest.Answer, 1)
	go func() { done <- do() }()
	select {
	case answer := <-done:
		return answer
	case <-time.After(limit):
		require.FailNow(t, "a request waits for itself")
		return dcrtest.Answer{}
	}
}

// TestFewConnections: a pool that is smaller than the number of requests only makes them wait.
func TestFewConnections(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-30/few", func(t *testing.T) {
			store, db, _ := d.withFaults(t, d.create(t), sqlstore.Options{Patience: time.Minute})
			db.SetMaxOpenConns(4)
			s := serve(t, store)
			statuses := make([]int, 256)
			ask := func() int {
				client := s.Post(t, app)
				if client.Status != http.StatusCreated {
					return client.Status
				}
				return s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret())).Status
			}
			var group sync.WaitGroup
			for i := range statuses {
				group.Go(func() { statuses[i] = ask() })
			}
			group.Wait()
			for _, status := range statuses {
				require.Equal(t, http.StatusOK, status)
			}
			require.LessOrEqual(t, db.Stats().MaxOpenConnections, 4, "the pool is the application's")
			require.Zero(t, db.Stats().InUse)
		})
	})
}

// TestCancelled: a request that ends gives its connection back, and leaves nothing half done.
func TestCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-18/cancelled", func(t *testing.T) {
			store, db, _ := d.withFaults(t, d.create(t), sqlstore.Options{Patience: time.Minute}) // a busy database has a thousand connections to clear away
			ctx := t.Context()
			client := &dcr.Client{ID: "client", Version: 1}
			require.NoError(t, store.CreateClient(ctx, client))
			for i := range 1000 {
				short, cancel := context.WithTimeout(ctx, time.Duration(i)*2*time.Microsecond)
				inside, err := store.BeginTX(short)
				if err == nil {
					created := store.CreateClient(inside, &dcr.Client{ID: fmt.Sprint("in", i), Version: 1})
					deleted := store.DeleteClient(inside, client.ID)
					if created == nil && deleted == nil && i%2 == 0 {
						panicking(func() { panic("a handler") })
					}
				}
				cancel()
			}
			require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 5*time.Second, time.Millisecond)
			_, err := store.GetDynamicClient(ctx, client.ID)
			require.NoError(t, err, "nothing was committed")
			number, err := store.CountClients(ctx, dcr.ClientFilter{}, 10)
			require.NoError(t, err)
			require.Equal(t, 1, number)
			require.NoError(t, store.DeleteClient(ctx, client.ID), "no lock is left")
		})
	})
}

func panicking(do func()) {
	defer func() { _ = recover() }()
	do()
}

// TestTransaction: what is written in a transaction is seen in it, by others once it is committed, and by nobody after a
// rollback.
func TestTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.open(t, d.create(t), sqlstore.Options{})
		seen := func(ctx context.Context, id string) error {
			_, err := s.GetClient(ctx, id)
			return err
		}
		for name, end := range map[string]func(context.Context) error{"kept": s.Commit, "undone": s.Rollback} {
			inside, err := s.BeginTX(ctx)
			require.NoError(t, err)
			require.NoError(t, s.CreateClient(inside, &dcr.Client{ID: name, Version: 1}))
			require.NoError(t, seen(inside, name))
			require.ErrorIs(t, seen(ctx, name), fosite.ErrNotFound)
			_, err = s.BeginTX(inside)
			require.Error(t, err)
			require.NoError(t, end(inside))
			require.Error(t, s.Commit(inside), "it is over")
			require.NoError(t, s.Rollback(inside))
		}
		require.NoError(t, seen(ctx, "kept"))
		require.ErrorIs(t, seen(ctx, "undone"), fosite.ErrNotFound)
	})
}

// TestSerializable: nothing rests on the isolation level.
func TestSerializable(t *testing.T) {
	t.Parallel()
	d := databases[1]
	t.Run("SQL-05/serializable", func(t *testing.T) {
		source := d.create(t) + "&default_transaction_isolation=serializable"
		s := d.open(t, source, sqlstore.Options{Isolation: sql.LevelSerializable})
		runContract(t, d, s)
	})
}

// TestCutConnection: a connection that is cut in the middle of a transaction undoes it, and the store works again by itself.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	t.Run("SQL-21/cut", func(t *testing.T) {
		ctx, d := t.Context(), databases[1]
		source := d.create(t)
		s := d.open(t, source, sqlstore.Options{SweepEvery: -1})
		inside, err := s.BeginTX(ctx)
		require.NoError(t, err)
		require.NoError(t, s.CreateClient(inside, &dcr.Client{ID: "undone", Version: 1}))
		d.exec(t, d.raw(t, source), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		require.ErrorIs(t, s.CreateClient(inside, &dcr.Client{ID: "another", Version: 1}), dcr.ErrUnavailable)
		require.Error(t, s.Commit(inside))
		require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "after", Version: 1}))
		_, err = s.GetClient(ctx, "undone")
		require.ErrorIs(t, err, fosite.ErrNotFound)

		name := strings.TrimPrefix(mustParse(t, source).Path, "/")
		server := d.raw(t, strings.Replace(source, name, "postgres", 1))
		d.exec(t, server, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`)
		d.exec(t, server, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
		for range 3 {
			_, err = s.GetClient(ctx, "after")
			require.ErrorIs(t, err, dcr.ErrUnavailable, "a server that takes no connections")
		}
		d.exec(t, server, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS true`)
		_, err = s.GetClient(ctx, "after")
		require.NoError(t, err)
	})
}

func mustParse(t *testing.T, source string) *url.URL {
	t.Helper()
	u, err := url.Parse(source)
	require.NoError(t, err)
	return u
}

// TestPatience: a call that meets a lock for longer than it may wait is dcr.ErrUnavailable, whoever has the lock, and reads
// go on.
func TestPatience(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, source := t.Context(), d.create(t)
		s := d.open(t, source, sqlstore.Options{Patience: 2 * time.Second, SweepEvery: -1})
		client := &dcr.Client{ID: "client", Version: 1}
		require.NoError(t, s.CreateClient(ctx, client))
		for name, other := range map[string]*sqlstore.Store{"this": s, "another": d.open(t, source, sqlstore.Options{SweepEvery: -1})} {
			inside, err := other.BeginTX(ctx)
			require.NoError(t, err)
			require.NoError(t, other.UpdateClient(inside, &dcr.Client{ID: "client", Version: 2}, 1))
			for _, call := range []func() error{
				func() error { return s.UpdateClient(ctx, client, 1) },
				func() error { return s.DeleteClient(ctx, client.ID) },
			} {
				begin := time.Now()
				require.ErrorIs(t, call(), dcr.ErrUnavailable, name)
				require.Less(t, time.Since(begin), 20*time.Second)
			}
			_, err = s.GetClient(ctx, client.ID)
			require.NoError(t, err)
			require.NoError(t, other.Rollback(inside))
		}
		require.NoError(t, s.DeleteClient(ctx, client.ID))
	})
}
