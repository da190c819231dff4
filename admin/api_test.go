package admin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestFilters(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open())
		setup.Config.Lifecycle.Unused = 30 * time.Minute
	})
	secret, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Subject: "dana"})
	require.NoError(t, err)
	used := s.Register(t, service("Used"))
	s.use(t, used)
	s.forward(time.Hour)
	middle := s.now().UTC().Format(time.RFC3339)
	s.forward(time.Second)
	minted := s.Register(t, named("Minted ＡＰＰ", "software_id", "soft-1"), dcrtest.Bearer(secret))
	other := s.Register(t, named("Other", "redirect_uris", []string{"https://xn--mnchen-3ya.example:8443/cb"}))
	all := []string{other.ID(), minted.ID(), used.ID()}
	soon := url.QueryEscape(s.now().Add(time.Hour).Format(time.RFC3339))

	for query, want := range map[string][]string{
		"":                                     {used.ID(), minted.ID(), other.ID()},
		"kind=open":                            {used.ID(), other.ID()},
		"kind=initial_access_token":            {minted.ID()},
		"subject=dana":                         {minted.ID()},
		"subject=nobody":                       {},
		"initial_access_token=" + token.ID:     {minted.ID()},
		"never_used=true":                      {minted.ID(), other.ID()},
		"never_used=false":                     {used.ID(), minted.ID(), other.ID()},
		"expiring_before=" + soon:              {minted.ID(), other.ID()},
		"expiring_before=2001-01-01T00:00:00Z": {},
		"software_id=soft-1":                   {minted.ID()},
		"redirect_host=app.example":            {used.ID(), minted.ID()},
		"redirect_host=M%C3%9CNCHEN.example":   {other.ID()},
		"name=minted+app":                      {minted.ID()},
		"name=minted":                          {},
		"search=INT":                           {minted.ID()},
		"search=" + other.ID():                 {other.ID()},
		"created_from=" + middle:               {minted.ID(), other.ID()},
		"created_before=" + middle:             {used.ID()},
		"created_before=" + strings.TrimSuffix(middle, "Z"):         {used.ID()},
		"kind=open&never_used=true&search=other&subject=":           {other.ID()},
		"kind=initial_access_token&redirect_host=elsewhere.example": {},
	} {
		require.ElementsMatch(t, want, ids(t, s.get(t, "/api/clients?"+query)), "LIFE-03: %s", query)
		page := s.get(t, "/?"+query)
		require.Equal(t, http.StatusOK, page.Status, query)
		for _, client := range all {
			require.Equal(t, slices.Contains(want, client), strings.Contains(page.Body, `href="/admin/clients/`+client+`"`), "LIFE-03: page %s", query)
		}
	}
}

func TestBadParameters(t *testing.T) {
	t.Parallel()
	s := start(t)
	for query, names := range map[string]string{
		"never_used=perhaps": "never_used", "expiring_before=soon": "expiring_before", "created_from=2026-13-01T00:00:00Z": "created_from",
		"created_before=1": "created_before", "limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "cursor=x": "cursor", "cursor=%21": "cursor",
		"redirect_host=https%3A%2F%2Fapp.example": "redirect_host", "redirect_host=app.example:1": "redirect_host", "name=%E2%80%8B": "name", "search=+": "search",
		"subjct=dana": "subjct", "kind=a&kind=b": "kind", "issuer=elsewhere": "issuer",
	} {
		answer := s.get(t, "/api/clients?"+query)
		require.Equal(t, http.StatusBadRequest, answer.Status, query)
		require.Equal(t, "invalid_request", answer.Text("error"), query)
		require.Contains(t, answer.Text("error_description"), names, query)
		page := s.get(t, "/?"+query)
		require.Equal(t, http.StatusBadRequest, page.Status, query)
		require.Contains(t, page.Body, names, query)
		require.Contains(t, page.Body, "<form", "to be sent again")
	}
	require.Equal(t, http.StatusBadRequest, s.get(t, "/api/clients?a;b").Status)
	require.Contains(t, s.get(t, "/api/initial-access-tokens?limit=-1").Text("error_description"), "limit")
	require.Contains(t, s.get(t, "/api/initial-access-tokens?before=x").Text("error_description"), "before")
}

// TestCursor: a client that is there all the while is listed once, whatever comes and goes.
func TestCursor(t *testing.T) {
	t.Parallel()
	s := start(t)
	var stays, goes []string
	for i := range 20 {
		client := s.Register(t, named("App")).ID()
		if i%4 == 0 {
			goes = append(goes, client)
		} else {
			stays = append(stays, client)
		}
	}
	seen, cursor := map[string]int{}, ""
	for round := 0; round == 0 || cursor != ""; round++ {
		answer := s.get(t, "/api/clients?limit=3&cursor="+cursor)
		for _, id := range ids(t, answer) {
			seen[id]++
		}
		cursor = answer.Text("next")
		s.Register(t, named("Late"))
		if round < len(goes) {
			require.Equal(t, http.StatusNoContent, s.delete(t, "/api/clients/"+goes[round]).Status)
		}
		require.Less(t, round, 20)
	}
	for _, id := range stays {
		require.Equal(t, 1, seen[id], "LIFE-03")
	}
	page := s.get(t, "/?limit=3&search=app")
	require.Contains(t, page.Body, "cursor=", "Older")
	require.Contains(t, page.Body, "search=app", "the filter goes with it")
}

func TestOneClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	keys := object{"keys": []object{{"kty": "EC", "crv": "P-256", "kid": "key-1", "use": "sig",
		"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}}
	client := s.Register(t, named("App", "jwks", keys, "token_endpoint_auth_method", "private_key_jwt", "client_name#fr", "Appli"))
	s.Register(t, named("APP"))
	answer := s.get(t, "/api/clients/"+client.ID())
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	require.Equal(t, client.ID(), answer.Text("client_id"))
	require.Equal(t, s.URL, answer.Text("issuer"))
	require.Equal(t, "open", answer.Members["origin"].(object)["kind"])
	metadata, display := answer.Members["metadata"].(object), answer.Members["display"].(object)
	require.Equal(t, "Appli", metadata["client_name#fr"])
	require.Equal(t, []any{object{"kid": "key-1", "kty": "EC", "use": "sig"}}, answer.Members["keys"])
	require.NotContains(t, answer.Body, "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "keys by name only")
	require.Equal(t, false, display["verified"])
	require.InDelta(t, 1, display["same_name"], 0)
	require.NotContains(t, answer.Members, "last_used_at")
	require.Equal(t, true, answer.Members["history_kept"])
	require.Len(t, answer.Members["history"], 1, "its registration")
	require.Equal(t, true, answer.Members["history"].([]any)[0].(object)["anonymous"])

	page := s.get(t, "/clients/"+client.ID())
	require.Equal(t, http.StatusOK, page.Status)
	for _, want := range []string{"EC, kid <bdi>key-1</bdi>, use sig", "1 other client has this name", "Nothing confirms who made this client.", "https://app.example/cb", "Appli", "name=App"} {
		require.Contains(t, page.Body, want)
	}
	for _, path := range []string{"/api/clients/unknown", "/clients/unknown", "/clients/unknown/delete", "/clients/" + client.ID() + "/promote"} {
		require.Equal(t, http.StatusNotFound, s.get(t, path).Status, path)
	}
	require.Equal(t, "not_found", s.get(t, "/api/clients/unknown").Text("error"))
	require.Equal(t, http.StatusNotFound, s.delete(t, "/api/clients/unknown").Status)
	require.Equal(t, "/admin/clients/a%2Fb", s.get(t, "/clients?id=a/b").Header.Get("Location"))
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, s *server, id, change string) dcrtest.Answer{
		"api": func(t *testing.T, s *server, id, change string) dcrtest.Answer {
			if change == "delete" {
				return s.delete(t, "/api/clients/"+id)
			}
			return s.post(t, "/api/clients/"+id+"/"+strings.Replace(change, "revoke", "revoke-tokens", 1), "")
		},
		"page": func(t *testing.T, s *server, id, change string) dcrtest.Answer {
			ask := s.get(t, "/clients/"+id+"/"+change)
			require.Equal(t, http.StatusOK, ask.Status)
			require.Contains(t, ask.Body, `<form method="post" action="/admin/clients/`+id+`/`+change+`"`)
			return s.form(t, "/clients/"+id+"/"+change, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			client := s.Register(t, service("App"))
			access := s.use(t, client).Text("access_token")
			require.Less(t, do(t, s, client.ID(), "revoke").Status, 400)
			require.Equal(t, http.StatusUnauthorized, s.Manage(t, http.MethodGet, client, nil).Status)
			live := s.Form(t, "/oauth2/introspect", url.Values{"token": {access}}, dcrtest.Basic(client.ID(), client.Secret()))
			require.Equal(t, false, live.Members["active"])
			s.use(t, client) // the client itself stays

			require.Less(t, do(t, s, client.ID(), "expire").Status, 400)
			refused := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
			require.Equal(t, "invalid_client", refused.Text("error"))
			require.Equal(t, true, s.get(t, "/api/clients/"+client.ID()).Members["expiry"].(object)["expired"])
			require.Contains(t, s.get(t, "/clients/"+client.ID()).Body, "This client has expired.")
			swept := s.post(t, "/api/sweep", "")
			require.Equal(t, "{\"removed\":1}\n", swept.Body)
			require.Equal(t, http.StatusNotFound, s.get(t, "/api/clients/"+client.ID()).Status)

			client = s.Register(t, named("App"))
			require.Less(t, do(t, s, client.ID(), "delete").Status, 400)
			require.Equal(t, http.StatusNotFound, s.get(t, "/api/clients/"+client.ID()).Status)
		})
	}
}

// TestIdleExpiry: a client that expired because nobody uses it is shown as one.
func TestIdleExpiry(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) { setup.Config.Lifecycle.Idle = time.Hour })
	client := s.Register(t, service("App"))
	s.use(t, client)
	require.NotContains(t, s.get(t, "/clients/"+client.ID()).Body, "has expired")
	s.forward(2 * time.Hour)
	require.Contains(t, s.get(t, "/clients/"+client.ID()).Body, "It was idle for too long.")
	expiry, _ := s.get(t, "/api/clients/"+client.ID()).Members["expiry"].(object)
	require.Equal(t, "idle", expiry["reason"])
	require.Equal(t, true, expiry["expired"])
	require.NotEmpty(t, expiry["at"])
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) { setup.Config.Lifecycle.Unused = 30 * time.Minute })
	s.use(t, s.Register(t, service("Used")))
	s.Register(t, named("Unused"))
	_, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	var got map[string]int
	require.NoError(t, json.Unmarshal([]byte(s.get(t, "/api/summary").Body), &got))
	require.Equal(t, map[string]int{"clients": 2, "never_used": 1, "expired_or_expiring_within_an_hour": 1, "initial_access_tokens": 1, "counted_up_to": 10_000}, got)
}

// TestExpiring: what is counted, listed and linked as expiring is one thing, and called so: it
// has expired clients, and none that expires by being idle.
func TestExpiring(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Config.Lifecycle.Unused, setup.Config.Lifecycle.Idle = 30*time.Minute, 20*time.Minute
	})
	idle := s.Register(t, service("Idle"))
	s.use(t, idle)
	expired := s.Register(t, named("Expired")).ID()
	s.forward(40 * time.Minute)
	soon := s.Register(t, named("Soon")).ID()

	front := s.get(t, "/")
	require.Contains(t, front.Body, ">Expired or expiring within one hour <b>2</b></a>")
	require.Contains(t, front.Body, ">Never used <b>2</b></a>")
	require.Equal(t, 1, strings.Count(front.Body, "Never used"), "said once")
	require.Contains(t, front.Body, ">Expires before (UTC)</label>")
	require.InDelta(t, 2, s.get(t, "/api/summary").Members["expired_or_expiring_within_an_hour"], 0)
	before := url.QueryEscape(s.now().Add(time.Hour).Format(time.RFC3339))
	require.Equal(t, []string{soon, expired}, ids(t, s.get(t, "/api/clients?expiring_before="+before)))
	require.Equal(t, "idle", s.get(t, "/api/clients/"+idle.ID()).Members["expiry"].(object)["reason"], "and still not counted")
}
