package sqlstore

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// shares is a store in which one user, or one client, holds a lot.
type shares struct{ *Store }

func onShares(t *testing.T, test func(t *testing.T, s shares)) {
	t.Parallel()
	for _, d := range []*Dialect{SQLite, PostgreSQL} {
		t.Run("T59/"+strings.ToLower(d.name), func(t *testing.T) {
			t.Parallel()
			source := filepath.Join(t.TempDir(), "shares.db")
			if d == PostgreSQL {
				source = dcrtest.PostgreSQL(t)
			}
			s := shares{opened(t, d, source)}
			s.AddClient(&fosite.DefaultClient{ID: "client"})
			test(t, s)
		})
	}
}

// sql is a digest as it is written in a statement.
func (s shares) sql(text string) string {
	if s.dialect == PostgreSQL {
		return fmt.Sprintf(`'\x%x'::bytea`, digest(text))
	}
	return fmt.Sprintf(`x'%x'`, digest(text))
}

// numbered returns what makes so many numbers i, and a key of each.
func (s shares) numbered(n int, mark string) (numbers, key string) {
	numbers = fmt.Sprintf(map[*Dialect]string{
		SQLite:     `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)`,
		PostgreSQL: `generate_series(1, %d) AS i`}[s.dialect], n)
	return numbers, map[*Dialect]string{
		SQLite:     `CAST(printf('` + mark + `%031d', i) AS BLOB)`,
		PostgreSQL: `('` + mark + `' || lpad(i::text, 31, '0'))::bytea`}[s.dialect]
}

// exec changes what is in the tables.
func (s shares) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := s.db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err, statement)
}

// grants puts so many grants with a token each into the tables, which end one after the other from a time on.
func (s shares) grants(t *testing.T, n int, mark, client, subject string, from time.Time) {
	t.Helper()
	numbers, key := s.numbered(n, mark)
	if client == "" { // a client each
		client = key
	} else {
		client = s.sql(client)
	}
	s.exec(t, fmt.Sprintf(`INSERT INTO dcr_grants SELECT %s, %s, 0, 0, %d + i, %s, %s, NULL, %s FROM %s`,
		key, client, from.UnixNano(), key, key, s.sql(subject), numbers))
	s.exec(t, fmt.Sprintf(`INSERT INTO dcr_tokens SELECT %s, 5, %s, %s, 0, 0, 0, 0, %d + i, NULL, %s, NULL, NULL FROM %s`,
		key, key, client, from.UnixNano(), key, numbers))
}

// tokens puts so many of a kind into the table.
func (s shares) tokens(t *testing.T, n int, mark string, k kind, client string) {
	t.Helper()
	s.grants(t, n, mark, client, "nobody", time.Now().Add(time.Hour))
	s.exec(t, fmt.Sprintf(`UPDATE dcr_tokens SET kind = %d WHERE client = %s`, k, s.sql(client)))
}

func (s shares) count(t *testing.T, where string) (n int) {
	t.Helper()
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM dcr_`+where).Scan(&n))
	return n
}

// marked is true of the rows that grants has put there with a mark.
func (s shares) marked(column, mark string) string {
	blob := map[*Dialect]string{SQLite: "BLOB", PostgreSQL: "BYTEA"}[s.dialect]
	return fmt.Sprintf(`%s > CAST('%s0' AS %s) AND %s < CAST('%s9' AS %s)`, column, mark, blob, column, mark, blob)
}

// dueKey is a key with which the store looks what is over a share.
func dueKey(k kind) string {
	for i := 0; ; i++ {
		if text := fmt.Sprint("due", i); k.key(text)[0]%once == 0 {
			return text
		}
	}
}

func shareRequest(grant string) *fosite.Request {
	r := fosite.NewRequest()
	r.ID, r.Client = grant, &fosite.DefaultClient{ID: "client"}
	r.Session = &fosite.DefaultSession{Subject: "alice"}
	r.Session.SetExpiresAt(fosite.AuthorizeCode, time.Now().Add(15*time.Minute))
	r.Session.SetExpiresAt(fosite.AccessToken, time.Now().Add(2*time.Hour))
	return r
}

// TestShareOfUser: codes evict codes of the same user with the same client, and what lasts longer evicts what ends first of
// its own. Nobody else loses anything.
func TestShareOfUser(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		soon, later := time.Now().Add(time.Minute), time.Now().Add(720*time.Hour)
		s.grants(t, mostCodes+50, "a", "client", "alice", soon)
		s.grants(t, mostGrants+50, "b", "client", "alice", later)
		s.grants(t, mostCodes+50, "c", "client", "bob", soon)
		s.grants(t, mostCodes+50, "d", "other", "alice", soon)
		s.grants(t, 20, "e", "client", "alice", time.Now().Add(-time.Hour)) // the sweep's
		require.NoError(t, s.CreateAuthorizeCodeSession(t.Context(), dueKey(code), shareRequest("new")))
		for mark, want := range map[string]int{"a": mostCodes - 1, "b": mostGrants, "c": mostCodes + 50, "d": mostCodes + 50, "e": 20} {
			require.Equal(t, want, s.count(t, `grants WHERE `+s.marked("id", mark)), mark)
			require.Equal(t, want, s.count(t, `tokens WHERE `+s.marked("key", mark)), mark)
		}
		require.Equal(t, 1, s.count(t, fmt.Sprintf(`grants WHERE client = %s AND expires_at = %d`, s.sql("client"), later.Add(mostGrants+50).UnixNano())),
			"the one that lasts longest")
		_, err := s.GetAuthorizeCodeSession(t.Context(), dueKey(code), new(fosite.DefaultSession))
		require.NoError(t, err)
	})
}

// TestShareWithAllClients: a user who signs in to many clients has a share, too.
func TestShareWithAllClients(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		s.grants(t, withAll*mostCodes+50, "a", "", "alice", time.Now().Add(time.Minute))
		require.NoError(t, s.CreateAuthorizeCodeSession(t.Context(), dueKey(code), shareRequest("new")))
		require.Equal(t, withAll*(mostCodes-1)+1, s.count(t, `grants`))
	})
}

// TestShareOfClient: what needs no user is bounded for each client.
func TestShareOfClient(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		ctx := context.Background()
		s.tokens(t, mostPushed+50, "a", pushedRequest, "client")
		s.tokens(t, mostPushed+50, "b", pushedRequest, "other")
		pushed := fosite.NewAuthorizeRequest()
		pushed.Request = *shareRequest("pushed")
		pushed.Session.SetExpiresAt(fosite.PushedAuthorizeRequestContext, time.Now().Add(2*time.Hour))
		pushed.RedirectURI = &url.URL{Scheme: "https", Host: "client.example"}
		require.NoError(t, s.CreatePARSession(ctx, dueKey(pushedRequest), pushed))
		require.Equal(t, mostPushed, s.count(t, `tokens WHERE client = `+s.sql("client")))
		require.Equal(t, mostPushed+50, s.count(t, `tokens WHERE client = `+s.sql("other")))
		_, err := s.GetPARSession(ctx, dueKey(pushedRequest))
		require.NoError(t, err)

		s.tokens(t, mostTokens+50, "c", machineToken, "service")
		r := shareRequest("machine")
		r.Client, r.Form = &fosite.DefaultClient{ID: "service"}, url.Values{"grant_type": {"client_credentials"}}
		require.NoError(t, s.CreateAccessTokenSession(ctx, dueKey(accessToken), r))
		require.Equal(t, mostTokens, s.count(t, `tokens WHERE client = `+s.sql("service")))
		require.Equal(t, 1, s.count(t, fmt.Sprintf(`tokens WHERE client = %s AND grant_id = %s`, s.sql("service"), s.sql("machine"))))
		require.NoError(t, s.RevokeAccessToken(ctx, "machine"))
		require.Equal(t, 1, s.count(t, fmt.Sprintf(`tokens WHERE grant_id = %s AND state = %d`, s.sql("machine"), revoked)))
	})
}
