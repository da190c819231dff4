package admin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func startWithTokens(t *testing.T) *server {
	return start(t, func(setup *dcrtest.Setup, _ *admin.Options) { setup.Config.Access = dcr.InitialAccessTokens() })
}

// TestMintRegisterRevoke is the life of an initial access token, by the API and the pages.
func TestMintRegisterRevoke(t *testing.T) {
	t.Parallel()
	t.Run("api", func(t *testing.T) {
		t.Parallel()
		s := startWithTokens(t)
		minted := s.post(t, "/api/initial-access-tokens", `{"label":"Partner","subject":"dana","policy":"few","uses":2,"lifetime_seconds":3600,"grant_types":["authorization_code"]}`)
		require.Equal(t, http.StatusCreated, minted.Status, minted.Body)
		record := minted.Members["initial_access_token"].(object)
		require.Equal(t, "Partner", record["label"])
		require.Equal(t, true, record["usable"])
		client := s.Register(t, named("App", "scope", "openid email"), dcrtest.Bearer(minted.Text("token")))
		require.Equal(t, "openid", client.Text("scope"), "by the policy")
		origin := s.get(t, "/api/clients/"+client.ID()).Members["origin"].(object)
		require.Equal(t, "dana", origin["subject"])
		require.Equal(t, "few", origin["policy"])
		listed := s.get(t, "/api/initial-access-tokens").Members["initial_access_tokens"].([]any)
		require.InDelta(t, 1, listed[0].(object)["uses"], 0)

		require.Equal(t, http.StatusNoContent, s.delete(t, "/api/initial-access-tokens/"+record["id"].(string)).Status)
		require.Equal(t, http.StatusUnauthorized, s.Post(t, named("App"), dcrtest.Bearer(minted.Text("token"))).Status)
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status, "its clients stay")
		require.Equal(t, http.StatusNotFound, s.delete(t, "/api/initial-access-tokens/"+record["id"].(string)).Status)
	})
	t.Run("page", func(t *testing.T) {
		t.Parallel()
		s := startWithTokens(t)
		require.Contains(t, s.get(t, "/tokens").Body, "There are no initial access tokens.")
		minted := s.form(t, "/tokens", url.Values{"label": {"Partner"}, "policy": {"few"}, "uses": {"1"}, "lifetime": {"7"}, "unit": {"days"}})
		require.Equal(t, http.StatusCreated, minted.Status, minted.Body)
		begin := strings.Index(minted.Body, "dcri_")
		secret := minted.Body[begin : begin+strings.IndexByte(minted.Body[begin:], '<')]
		tokens, err := s.Provider.ListInitialAccessTokens(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, tokens, 1)
		require.Equal(t, 1, tokens[0].MaxUses)
		require.InDelta(t, 7*24, tokens[0].ExpiresAt.Sub(tokens[0].CreatedAt).Hours(), 0)
		s.Register(t, named("App"), dcrtest.Bearer(secret))
		require.Contains(t, s.get(t, "/tokens").Body, `>used up<`)

		revoke := "/tokens/" + tokens[0].ID + "/revoke"
		require.Contains(t, s.get(t, revoke).Body, `<form method="post" action="/admin`+revoke+`"`)
		require.Equal(t, http.StatusSeeOther, s.form(t, revoke, nil).Status)
		require.Contains(t, s.get(t, "/tokens?done=token").Body, "The initial access token was revoked.")
		require.Equal(t, http.StatusUnauthorized, s.Post(t, named("App"), dcrtest.Bearer(secret)).Status)
	})
}

func TestBadMinting(t *testing.T) {
	t.Parallel()
	s := startWithTokens(t)
	for body, names := range map[string]string{
		`{"policy":"none"}`: "policy", `{"uses":-1}`: "uses", `{"uses":"1"}`: "uses", `{"lifetime_seconds":-1}`: "lifetime_seconds",
		`{"lifetime_seconds":9223372036854775807}`: "lifetime_seconds", `{"lable":"x"}`: "lable", `{"label":"a\nb"}`: "label",
		`{"subject":"` + strings.Repeat("x", 201) + `"}`: "subject", `null`: "JSON object", `[]`: "JSON object", `{}{}`: "JSON object", ``: "JSON object", `{"uses":1.5}`: "uses",
	} {
		answer := s.post(t, "/api/initial-access-tokens", body)
		require.Equal(t, http.StatusBadRequest, answer.Status, body)
		require.Equal(t, "invalid_request", answer.Text("error"), body)
		require.Contains(t, answer.Text("error_description"), names, body)
	}
	large := s.post(t, "/api/initial-access-tokens", `{"label":"`+strings.Repeat("x", 1<<17)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, large.Status)
	require.Equal(t, http.StatusUnsupportedMediaType, s.form(t, "/api/initial-access-tokens", url.Values{"uses": {"1"}}).Status)
	for _, form := range []string{"uses=0&unit=days", "uses=x&unit=days", "lifetime=-1&unit=days", "lifetime=1&unit=years", "lifetime=1", "policy=none&unit=days", "label=%0a&unit=days"} {
		values, err := url.ParseQuery(form)
		require.NoError(t, err)
		answer := s.form(t, "/tokens", values)
		require.Equal(t, http.StatusBadRequest, answer.Status, form)
		require.Contains(t, answer.Body, `role="alert"`, form)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, s.form(t, "/tokens", url.Values{"label": {strings.Repeat("x", 1<<17)}}).Status)
	tokens, err := s.Provider.ListInitialAccessTokens(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, tokens)
}

func TestTokensByPages(t *testing.T) {
	t.Parallel()
	s := startWithTokens(t)
	for range 60 {
		_, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
		require.NoError(t, err)
	}
	seen := map[string]bool{}
	for after := ""; ; {
		answer := s.get(t, "/api/initial-access-tokens?limit=25&after="+after)
		for _, token := range answer.Members["initial_access_tokens"].([]any) {
			seen[token.(object)["id"].(string)] = true
		}
		if after = answer.Text("next"); after == "" {
			break
		}
	}
	require.Len(t, seen, 60)
	require.Contains(t, s.get(t, "/tokens").Body, "/admin/tokens?after=")
}

// TestManyTokens: no bound of the provider's hides tokens from a list or a count.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	s := startWithTokens(t)
	mint := func(number int) {
		for range number {
			_, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
			require.NoError(t, err)
		}
	}
	list := func(after string) (number int, next string) {
		answer := s.get(t, "/api/initial-access-tokens?limit=1000&after="+after)
		return len(answer.Members["initial_access_tokens"].([]any)), answer.Text("next")
	}
	mint(1000)
	number, next := list("")
	require.Equal(t, 1000, number)
	require.Empty(t, next, "there are no more")
	mint(500)
	number, next = list("")
	require.Equal(t, 1000, number)
	require.NotEmpty(t, next)
	number, next = list(next)
	require.Equal(t, 500, number)
	require.Empty(t, next)
	require.InDelta(t, 1500, s.get(t, "/api/summary").Members["initial_access_tokens"], 0)
}
