package sqlstore_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// count asks the database itself for a number.
func (d database) count(t testing.TB, source, query string, args ...any) (number int) {
	t.Helper()
	db := d.raw(t, source)
	require.NoError(t, db.QueryRowContext(t.Context(), query, args...).Scan(&number))
	require.NoError(t, db.Close())
	return number
}

// copyTokens stores many copies of a row of a token.
func (d database) copyTokens(t testing.TB, db *sql.DB, number int) {
	t.Helper()
	numbers := fmt.Sprintf(`(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)`, number)
	key := `CAST(printf('%032d', i) AS BLOB)`
	if d.dialect == sqlstore.PostgreSQL {
		numbers, key = fmt.Sprintf(`generate_series(1, %d) AS i`, number), `lpad(i::text, 32, '0')::bytea`
	}
	d.exec(t, db, `INSERT INTO dcr_tokens SELECT `+key+`, kind, grant_id, client, epoch, state, spent_at, uses, expires_at, partner, request, session, caller
		FROM (SELECT * FROM dcr_tokens WHERE kind <> 7 LIMIT 1) AS one, `+numbers)
}

// TestLastClientOfMany: a client with very many tokens is deleted at once, and they are dead from that moment.
func TestLastClientOfMany(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-28/T36", func(t *testing.T) {
			const many = 5_000
			source := d.create(t)
			store := d.open(t, source, sqlstore.Options{SweepEvery: -1})
			s := serve(t, store)
			client := s.Register(t, app)
			tokens := dcrtest.SignIn(t, s, client)
			dcrtest.RequireActive(t, s, tokens.Text("access_token"), client.ID())
			d.copyTokens(t, d.raw(t, source), many)
			before := d.count(t, source, `SELECT count(*) FROM dcr_tokens`)
			require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client, nil).Status)
			require.GreaterOrEqual(t, d.count(t, source, `SELECT count(*) FROM dcr_tokens`), before-1, "nothing was removed in the request")
			dcrtest.RequireInactive(t, s, tokens.Text("access_token"))
			require.NoError(t, store.Sweep(t.Context()))
			require.Zero(t, d.count(t, source, `SELECT count(*) FROM dcr_tokens WHERE kind <> 7`))
			require.Zero(t, d.count(t, source, `SELECT count(*) FROM dcr_grants`))
		})
	})
}

// TestRevokedClientGoesOn: a client that stays gets new tokens, those of before stay dead, and what is remembered of it goes.
func TestRevokedClientGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-28/stays", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			old := s.grant("old", 90*24*time.Hour)
			s.pair(t, "old", old)
			require.NoError(t, s.RevokeClientGrants(ctx, "client"))
			s.pair(t, "late", old) // a request of the old grant that was under way
			s.pair(t, "new", s.grant("new", 90*24*time.Hour))
			for range 2 {
				s.requireAccess(t, fosite.ErrNotFound, "aold", "alate")
				s.requireRefresh(t, fosite.ErrNotFound, "old", "late")
				require.ErrorIs(t, s.RotateRefreshToken(ctx, "old", "old"), fosite.ErrNotFound)
				s.requireAccess(t, nil, "anew")
				s.requireRefresh(t, nil, "new")
				require.NoError(t, s.Sweep(ctx))
			}
			require.Equal(t, 1, d.count(t, s.source, `SELECT count(*) FROM dcr_revocations`))
			s.ahead.Store(int64(25 * time.Hour))
			require.NoError(t, s.Sweep(ctx))
			require.Zero(t, d.count(t, s.source, `SELECT count(*) FROM dcr_revocations`))
			s.requireAccess(t, nil, "anew")
			require.NoError(t, s.RevokeClientGrants(ctx, "client"))
			s.requireAccess(t, fosite.ErrNotFound, "anew")
		})
	})
}

// TestLockedRowsAreLeft: rows of a client that lost everything which somebody has locked are not taken for gone.
func TestLockedRowsAreLeft(t *testing.T) {
	t.Parallel()
	t.Run("SQL-28/locked", func(t *testing.T) {
		ctx, d := t.Context(), databases[1] // SQLite has no locks of rows
		s := d.sessions(t, sqlstore.Options{})
		s.pair(t, "old", s.grant("old", 90*24*time.Hour))
		require.NoError(t, s.RevokeClientGrants(ctx, "client"))
		db := d.raw(t, s.source)
		for _, ahead := range []time.Duration{0, 25 * time.Hour} {
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, `SELECT 1 FROM dcr_tokens FOR UPDATE`)
			require.NoError(t, err)
			s.ahead.Store(int64(ahead))
			require.NoError(t, s.Sweep(ctx))
			require.NoError(t, tx.Rollback())
			s.requireRefresh(t, fosite.ErrNotFound, "old")
		}
		require.NoError(t, s.Sweep(ctx))
		require.Zero(t, d.count(t, s.source, `SELECT count(*) FROM dcr_tokens`))
	})
}

// TestRevokedWhileUnderWay: what is issued at that moment to a client that stays and had nothing is revoked with the rest.
func TestRevokedWhileUnderWay(t *testing.T) {
	t.Parallel()
	t.Run("SQL-28/under_way", func(t *testing.T) {
		ctx, d := t.Context(), databases[1] // SQLite has one writer
		s := d.sessions(t, sqlstore.Options{})
		inside, err := s.BeginTX(ctx)
		require.NoError(t, err)
		require.NoError(t, s.CreateAccessTokenSession(inside, "late", s.grant("late", time.Hour)))
		require.NoError(t, s.RevokeClientGrants(ctx, "client"))
		require.NoError(t, s.Commit(inside))
		s.requireAccess(t, fosite.ErrNotFound, "late")
	})
}

// TestUnreadableRecord: a record that can't be read does not keep others from being listed, nor from expiring.
func TestUnreadableRecord(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
		for i := range 5 {
			at := time.Unix(int64(i+1), 0).UTC()
			require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: fmt.Sprint("expired ", i), Version: 1, Issuer: clusterIssuer, CreatedAt: at, ExpiresAt: at}))
		}
		d.exec(t, d.raw(t, s.source), `UPDATE dcr_clients SET record = $1 WHERE id = $2`, []byte("{"), []byte("expired 2"))
		filter := dcr.ClientFilter{Issuer: clusterIssuer}
		page, err := s.ListClients(ctx, filter, dcr.ClientCursor{}, 3)
		require.NoError(t, err)
		require.Len(t, page, 3)
		require.Equal(t, &dcr.Client{ID: "expired 2", Issuer: clusterIssuer, CreatedAt: time.Unix(3, 0).UTC()}, page[2])
		page, err = s.ListClients(ctx, filter, dcr.ClientCursor{CreatedAt: page[2].CreatedAt, ID: page[2].ID}, 3)
		require.NoError(t, err)
		require.Len(t, page, 2)
		removed, err := s.DeleteExpiredClients(ctx, dcr.Expiry{Now: time.Now()}, 10)
		require.ErrorContains(t, err, "the record of the client with the key")
		require.Len(t, removed, 4)
		removed, err = s.DeleteExpiredClients(ctx, dcr.Expiry{Now: time.Now()}, 10)
		require.NoError(t, err)
		require.Empty(t, removed)
	})
}

// TestSweepTogether: sweeps of several processes at once remove everything that has expired, and nothing else.
func TestSweepTogether(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-14/together", func(t *testing.T) {
			const many = 5_000
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			s.pair(t, "short", s.grant("short", time.Hour))
			d.copyTokens(t, d.raw(t, s.source), many)
			s.pair(t, "long", s.grant("long", 48*time.Hour))
			require.NoError(t, s.SetClientAssertionJWT(ctx, "jti", time.Now().Add(time.Minute)))
			ahead := func() time.Time { return time.Now().Add(24 * time.Hour) }
			other := d.open(t, s.source, sqlstore.Options{Now: ahead, SweepEvery: -1})
			s.ahead.Store(int64(24 * time.Hour))
			var failed atomic.Int64
			dcrtest.InParallel(4, func(i int) {
				swept := []*sqlstore.Store{s.Store, other}[i%2]
				if err := swept.Sweep(ctx); err != nil {
					failed.Add(1)
				}
			})
			require.Zero(t, failed.Load())
			require.Equal(t, 2, d.count(t, s.source, `SELECT count(*) FROM dcr_tokens`))
			require.Equal(t, 1, d.count(t, s.source, `SELECT count(*) FROM dcr_grants`))
			require.Zero(t, d.count(t, s.source, `SELECT count(*) FROM dcr_assertions`))
			s.requireAccess(t, nil, "along")
			require.NoError(t, s.ClientAssertionJWTValid(ctx, "jti"))
			require.NoError(t, s.SetClientAssertionJWT(ctx, "jti", s.now().Add(time.Minute)), "SQL-04: it can be used again")
		})
	})
}

func (s *sessions) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// TestSweepByItself: a store sweeps without being told to, until it is closed.
func TestSweepByItself(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-14/by_itself", func(t *testing.T) {
			source := d.create(t)
			var ahead atomic.Int64
			s := &sessions{database: d, source: source, client: &dcr.Client{ID: "client", Version: 1}}
			s.Store = d.open(t, source, sqlstore.Options{SweepEvery: 5 * time.Millisecond, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			s.pair(t, "short", s.grant("short", time.Hour))
			require.Equal(t, 2, d.count(t, source, `SELECT count(*) FROM dcr_tokens`))
			ahead.Store(int64(2 * time.Hour))
			require.Eventually(t, func() bool { return d.count(t, source, `SELECT count(*) FROM dcr_tokens`) == 0 }, 10*time.Second, 10*time.Millisecond)
		})
	})
}

// TestOneSession: what one sign-in stores has its session once, and after its time nothing of it is left.
func TestOneSession(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-15/once", func(t *testing.T) {
			source := d.create(t)
			var ahead atomic.Int64
			store := d.open(t, source, sqlstore.Options{SweepEvery: -1, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			s := serve(t, store)
			client := s.Register(t, app)
			basic := dcrtest.Basic(client.ID(), client.Secret())
			tokens := dcrtest.SignIn(t, s, client)
			for range 10 {
				tokens = s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), basic)
				require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			}
			require.Equal(t, 1, d.count(t, source, `SELECT count(*) FROM dcr_grants`))
			require.Equal(t, 25, d.count(t, source, `SELECT count(*) FROM dcr_tokens WHERE kind <> 7`), "code, PKCE, OpenID, eleven pairs")
			require.Zero(t, d.count(t, source, `SELECT count(*) FROM dcr_tokens WHERE kind <> 7 AND session IS NOT NULL`))
			ahead.Store(int64(365 * 24 * time.Hour))
			require.NoError(t, store.Sweep(t.Context()))
			require.Zero(t, d.count(t, source, `SELECT count(*) FROM dcr_grants`))
			require.Equal(t, 1, d.count(t, source, `SELECT count(*) FROM dcr_tokens`), "the registration access token")
		})
	})
}
