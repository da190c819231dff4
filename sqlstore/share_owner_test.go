package sqlstore

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// assertions puts so many identifiers into the table that count for an owner, and end one after the other from a time on.
func (s shares) assertions(t *testing.T, n int, mark, owner string, from time.Time) {
	t.Helper()
	numbers, key := s.numbered(n, mark)
	s.exec(t, fmt.Sprintf(`INSERT INTO dcr_assertions SELECT %s, %d + i, $1 FROM %s`, key, from.UnixNano(), numbers), []byte(owner))
}

// many is enough identifiers for a share to be looked at, but for one chance of 10^13.
const many = 1000

// TestShareOfAssertions: a client over its share is refused, nothing is forgotten, and others have room.
func TestShareOfAssertions(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		now := time.Now()
		s.options.Now = func() time.Time { return now }
		set := func(client string, i int) error {
			return s.SetClientAssertionJWT(t.Context(), assertion.StorageKey(client, fmt.Sprint(i)), now.Add(time.Hour))
		}
		s.assertions(t, mostAssertions/once, "a", string(digest("attacker")), now.Add(time.Minute))
		s.assertions(t, mostAssertions/once-many, "b", string(digest("busy")), now.Add(time.Minute))
		var err error
		accepted := 0
		for ; err == nil && accepted < many; accepted++ {
			err = set("attacker", accepted)
		}
		require.ErrorIs(t, err, dcr.ErrFull)
		for i := range many {
			require.ErrorIs(t, set("attacker", many+i), dcr.ErrFull)
			require.NoError(t, set("busy", i))
		}
		require.Equal(t, 2*(mostAssertions/once)+accepted-1, s.count(t, `assertions`), "nothing was removed")
		require.Less(t, s.count(t, `assertions WHERE owner = `+s.sql("busy")), mostAssertions/once-many+many/8, "a few of them count")

		now = now.Add(time.Minute + time.Microsecond) // a few of the attacker have ended
		require.NoError(t, set("attacker", 2*many))
		require.NoError(t, s.Sweep(t.Context()))
		s.full.Range(func(owner, _ any) bool { require.Fail(t, "what has ended is forgotten"); return true })
	})
}

// TestShareOfDocuments: documents are free, so all clients with one have a share together, and those that the operator knows
// have room when it is used up.
func TestShareOfDocuments(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		host, key := dcrtest.StartDocumentHost(t), dcrtest.NewSigningClient(t, jose.ES256)
		server := dcrtest.Start(t, dcrtest.Setup{Storage: s.Store, Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil)}})
		registered := server.Register(t, key.Metadata()).ID()
		ask := func(id string) int {
			client := *key
			client.ID, client.Audience = id, server.URL
			form, err := client.Assertion()
			require.NoError(t, err)
			form.Set("grant_type", "refresh_token")
			form.Set("refresh_token", "none")
			return server.Form(t, "/oauth2/token", form).Status
		}
		metadata := key.Metadata()
		delete(metadata, "grant_types")
		evil, other := host.Publish(t, "/evil", metadata), host.Publish(t, "/other", metadata)
		require.Equal(t, http.StatusBadRequest, ask(other), "it is authenticated, and has no such token")
		s.assertions(t, withAll*mostAssertions/once, "a", allDocuments, time.Now().Add(time.Minute))
		for i := 0; ask(evil) != http.StatusServiceUnavailable; i++ {
			require.Less(t, i, many)
		}
		require.Equal(t, http.StatusServiceUnavailable, ask(other))
		for range 100 {
			require.Equal(t, http.StatusBadRequest, ask(registered))
		}
	})
}

// TestShareOfCaller: what one caller pushes in the name of a public client takes no room of others who use it, nor of others
// with whatever client.
func TestShareOfCaller(t *testing.T) {
	onShares(t, func(t *testing.T, s shares) {
		server := dcrtest.Start(t, dcrtest.Setup{Storage: s.Store, Config: dcr.Config{
			Limits: dcr.Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		}})
		client := dcrtest.RegisterFor(t, server, "none").ID()
		push := func(address string) {
			answer := server.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client, dcrtest.RedirectURI), dcrtest.Header("X-Forwarded-For", address))
			require.Equal(t, http.StatusCreated, answer.Status, string(answer.Body))
		}
		push("192.0.2.1")
		push("192.0.2.2")
		honest, attacker := s.sql("192.0.2.1/32"), s.sql("192.0.2.2/32")
		require.Equal(t, 2, s.count(t, `tokens WHERE caller IS NOT NULL`))
		rows := func(n int, mark, client, caller string) {
			numbers, key := s.numbered(n, mark)
			s.exec(t, fmt.Sprintf(`INSERT INTO dcr_tokens SELECT %s, %d, %s, %s, 0, 0, 0, 0, %d + i, NULL, %s, NULL, %s FROM %s`,
				key, pushedRequest, key, client, time.Now().Add(time.Hour).UnixNano(), key, caller, numbers))
		}
		until := func(most int, where string) {
			t.Helper()
			for i := 1; i%once != 0 || s.count(t, `tokens WHERE `+where) > most+once; i++ {
				require.Less(t, i, many)
				push("192.0.2.2")
			}
			require.Equal(t, 1, s.count(t, `tokens WHERE caller = `+honest))
		}
		rows(mostPushed+50, "a", s.sql(client), attacker)
		until(mostPushed, `caller = `+attacker+` AND client = `+s.sql(client))
		_, each := s.numbered(0, "b")
		rows((withAll-1)*mostPushed+50, "b", each, attacker)
		until(withAll*mostPushed, `caller = `+attacker)
	})
}
