//go:build unix

package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ngrok/sqlmw"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// BenchmarkStore compares what a server does with the same statements bare: recorded, and said again through the same driver.
// What differs is the store's own cost. DCR_CLIENTS says how many clients the tables have before.
//
//	go test ./sqlstore -run '^$' -bench Store -benchtime 2000x
func BenchmarkStore(b *testing.B) {
	for _, d := range databases {
		for _, o := range operations {
			for _, connections := range []int{1, 16, 64} {
				name := fmt.Sprintf("%s/%s/%d", d.name, o.name, connections)
				b.Run(name+"/store", func(b *testing.B) { benchmarkStore(b, d, o, connections) })
				b.Run(name+"/bare", func(b *testing.B) { benchmarkBare(b, d, o, connections) })
			}
		}
	}
}

// operation is what a server asks of a storage for one request, and what has to be there before.
type operation struct {
	name         string
	prepare, run func(ctx context.Context, s *sqlstore.Store, i int) error
}

var operations = []operation{
	{"register", nothing, register},
	{"read", register, func(ctx context.Context, s *sqlstore.Store, i int) error {
		if _, err := s.GetDynamicClient(ctx, benchID(i)); err != nil {
			return err
		}
		_, err := s.GetAccessTokenSession(ctx, "dcr.registration."+benchID(i), nil)
		return err
	}},
	{"token", register, func(ctx context.Context, s *sqlstore.Store, i int) error {
		if _, err := s.GetClient(ctx, benchID(i)); err != nil {
			return err
		}
		return s.CreateAccessTokenSession(ctx, "service"+benchID(i), benchRequest(i, "service"))
	}},
	{"refresh", signIn, refresh},
}

func benchID(i int) string { return fmt.Sprintf("CLIENT%020d", i) }

func benchClient(i int) *dcr.Client {
	return &dcr.Client{
		ID: benchID(i), Issuer: clusterIssuer, Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now(), SecretHash: make([]byte, 64),
		RegistrationToken: dcr.RegistrationTokenRecord{Signature: benchID(i)},
		Metadata: dcr.ClientMetadata{ClientName: "Client " + strconv.Itoa(i), RedirectURIs: []string{"https://client.example/callback"},
			GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, Scope: "openid profile email offline_access",
			TokenEndpointAuthMethod: "client_secret_basic"},
	}
}

func benchRequest(i int, name string) *fosite.Request {
	r := fosite.NewRequest()
	r.ID, r.Client = name+benchID(i), &fosite.DefaultClient{ID: benchID(i)}
	session := openid.NewDefaultSession()
	session.Subject = "alice"
	for _, kind := range []fosite.TokenType{fosite.AccessToken, fosite.RefreshToken} {
		session.SetExpiresAt(kind, time.Now().Add(time.Hour))
	}
	r.Session, r.GrantedScope = session, fosite.Arguments{"openid", "offline_access"}
	return r
}

func nothing(context.Context, *sqlstore.Store, int) error { return nil }

// inTransaction runs what is one transaction.
func inTransaction(ctx context.Context, s *sqlstore.Store, calls ...func(ctx context.Context) error) error {
	ctx, err := s.BeginTX(ctx)
	if err != nil {
		return err
	}
	for _, call := range calls {
		if err := call(ctx); err != nil {
			_ = s.Rollback(ctx)
			return err
		}
	}
	return s.Commit(ctx)
}

func register(ctx context.Context, s *sqlstore.Store, i int) error {
	return inTransaction(ctx, s,
		func(ctx context.Context) error { return s.CreateClient(ctx, benchClient(i)) },
		func(ctx context.Context) error {
			return s.CreateAccessTokenSession(ctx, "dcr.registration."+benchID(i), benchRequest(i, "entry"))
		})
}

func signIn(ctx context.Context, s *sqlstore.Store, i int) error {
	if err := register(ctx, s, i); err != nil {
		return err
	}
	return s.CreateRefreshTokenSession(ctx, "old"+benchID(i), "oldaccess"+benchID(i), benchRequest(i, "grant"))
}

func refresh(ctx context.Context, s *sqlstore.Store, i int) error {
	if _, err := s.GetClient(ctx, benchID(i)); err != nil {
		return err
	}
	r, err := s.GetRefreshTokenSession(ctx, "old"+benchID(i), openid.NewDefaultSession())
	if err != nil {
		return err
	}
	return inTransaction(ctx, s,
		func(ctx context.Context) error { return s.RotateRefreshToken(ctx, r.GetID(), "old"+benchID(i)) },
		func(ctx context.Context) error { return s.CreateAccessTokenSession(ctx, "access"+benchID(i), r) },
		func(ctx context.Context) error {
			return s.CreateRefreshTokenSession(ctx, "new"+benchID(i), "access"+benchID(i), r)
		})
}

// prepared opens a store that has what n operations need.
func (d database) prepared(b *testing.B, o operation, n int, more *recorder) (*sqlstore.Store, *sql.DB) {
	b.Helper()
	source, name := d.create(b), map[string]string{"sqlite": "sqlite", "postgresql": "pgx"}[d.name]
	if more != nil {
		db := d.raw(b, source)
		name = fmt.Sprint("recorder", drivers.Add(1))
		sql.Register(name, sqlmw.Driver(db.Driver(), more))
	}
	if d.dialect == sqlstore.SQLite {
		source = "file:" + source + "?_txlock=immediate&_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(name, source)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	s, err := sqlstore.New(b.Context(), db, d.dialect, sqlstore.Options{SweepEvery: -1, MaxClients: 10_000_000})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	d.prefill(b, db)
	for i := range n {
		require.NoError(b, o.prepare(b.Context(), s, i))
	}
	return s, db
}

// prefill adds clients.
func (d database) prefill(b *testing.B, db *sql.DB) {
	b.Helper()
	number, err := strconv.Atoi(os.Getenv("DCR_CLIENTS"))
	if err != nil {
		return
	}
	numbers := fmt.Sprintf(`(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)`, number)
	key, same := `CAST(printf('%032d', i) AS BLOB)`, `CAST('one' AS BLOB)`
	if d.dialect == sqlstore.PostgreSQL {
		numbers, key, same = fmt.Sprintf(`generate_series(1, %d) AS i`, number), `sha256(i::text::bytea)`, `'one'::bytea`
	}
	record := fmt.Sprintf(`CAST('%0700d' AS BLOB)`, 0)
	if d.dialect == sqlstore.PostgreSQL {
		record = fmt.Sprintf(`CAST('%0700d' AS BYTEA)`, 0)
	}
	d.exec(b, db, fmt.Sprintf(`INSERT INTO dcr_clients SELECT %[2]s, %[2]s, 1, %[4]s, %[3]s, NULL, NULL, %[2]s, %[3]s, %[3]s, %[2]s, %[3]s,
		i, i, i, i, %[5]d, %[5]d FROM %[1]s`, numbers, key, same, record, int64(1<<62)))
	d.exec(b, db, `ANALYZE`)
}

// measure does the work with as many goroutines as there are connections.
func measure(b *testing.B, connections int, do func(i int) error) {
	b.Helper()
	var next, failed atomic.Int64
	cpu := cpuTime()
	b.ResetTimer()
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failed.Add(1)
					b.Log(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	require.Zero(b, failed.Load())
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the CPU time of this process. The server's is not in it.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchmarkStore(b *testing.B, d database, o operation, connections int) {
	s, db := d.prepared(b, o, b.N, nil)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	measure(b, connections, func(i int) error { return o.run(b.Context(), s, i) })
}

func benchmarkBare(b *testing.B, d database, o operation, connections int) {
	recorder := new(recorder)
	recorded, _ := d.prepared(b, o, b.N, recorder)
	said := make([][]statement, b.N)
	for i := range said {
		recorder.said = nil
		require.NoError(b, o.run(b.Context(), recorded, i))
		said[i] = recorder.said
	}
	_, db := d.prepared(b, o, b.N, nil)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	measure(b, connections, func(i int) error { return sayAgain(b.Context(), db, said[i]) })
	b.ReportMetric(float64(len(said[0])), "statements")
}

// statement is what was said to a database.
type statement struct {
	kind, text string
	args       []any
}

// recorder stands between a store and its driver.
type recorder struct {
	sqlmw.NullInterceptor
	said []statement
}

func (r *recorder) record(kind, text string, named []driver.NamedValue) {
	s := statement{kind: kind, text: text}
	for _, arg := range named {
		s.args = append(s.args, arg.Value)
	}
	r.said = append(r.said, s)
}

func (r *recorder) ConnBeginTx(ctx context.Context, conn driver.ConnBeginTx, options driver.TxOptions) (context.Context, driver.Tx, error) {
	r.record("begin", "", nil)
	return r.NullInterceptor.ConnBeginTx(ctx, conn, options)
}

func (r *recorder) ConnExecContext(ctx context.Context, conn driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	r.record("exec", query, args)
	return r.NullInterceptor.ConnExecContext(ctx, conn, query, args)
}

func (r *recorder) ConnQueryContext(ctx context.Context, conn driver.QueryerContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	r.record("query", query, args)
	return r.NullInterceptor.ConnQueryContext(ctx, conn, query, args)
}

func (r *recorder) TxCommit(ctx context.Context, tx driver.Tx) error {
	r.record("commit", "", nil)
	return r.NullInterceptor.TxCommit(ctx, tx)
}

// sayAgain says bare statements to a database.
func sayAgain(ctx context.Context, db *sql.DB, said []statement) error {
	var tx *sql.Tx
	var q interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	} = db
	for _, s := range said {
		var err error
		switch s.kind {
		case "begin":
			tx, err = db.BeginTx(ctx, nil)
			q = tx
		case "commit":
			err = tx.Commit()
			q = db
		case "exec":
			_, err = q.ExecContext(ctx, s.text, s.args...)
		default:
			err = readAll(ctx, q.QueryContext, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readAll(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error), s statement) error {
	rows, err := query(ctx, s.text, s.args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, places := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return err
		}
	}
	return rows.Err()
}

// BenchmarkSweep removes expired tokens while others are issued: rows in a second, and how long the slowest hundredth of the
// answers takes, without a sweep and with one. DCR_EXPIRED says how many rows expire.
func BenchmarkSweep(b *testing.B) {
	expired := 100_000
	if text := os.Getenv("DCR_EXPIRED"); text != "" {
		var err error
		expired, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			s, db := d.prepared(b, operation{prepare: register}, 1, nil)
			db.SetMaxOpenConns(16)
			require.NoError(b, s.CreateAccessTokenSession(b.Context(), "first", benchRequest(0, "first")))
			d.exec(b, db, `UPDATE dcr_tokens SET expires_at = 1 WHERE kind = 4`)
			for range b.N {
				b.StopTimer()
				d.copyTokens(b, db, expired)
				without := slowest(b, s, func() { time.Sleep(2 * time.Second) })
				b.StartTimer()
				begin := time.Now()
				with := slowest(b, s, func() { require.NoError(b, s.Sweep(b.Context())) })
				b.ReportMetric(float64(expired)/time.Since(begin).Seconds(), "rows/s")
				b.ReportMetric(float64(without.Microseconds())/1000, "p99-ms-without")
				b.ReportMetric(float64(with.Microseconds())/1000, "p99-ms-with")
			}
		})
	}
}

var benchTokens atomic.Int64

// slowest issues tokens while something is done, and returns the 99th percentile of their times.
func slowest(b *testing.B, s *sqlstore.Store, do func()) time.Duration {
	b.Helper()
	done := make(chan struct{})
	var mu sync.Mutex
	var times []time.Duration
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(2 * time.Millisecond):
				}
				begin := time.Now()
				i := int(benchTokens.Add(1))
				if err := s.CreateAccessTokenSession(b.Context(), fmt.Sprint("during", i), benchRequest(0, fmt.Sprint("during", i))); err != nil {
					b.Error(err)
				}
				mu.Lock()
				times = append(times, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	do()
	close(done)
	group.Wait()
	slices.Sort(times)
	return times[len(times)*99/100]
}
