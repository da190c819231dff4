package clients_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// bearerServer is the MCP server of the README beside an authorization server, and a client of both.
type bearerServer struct {
	*dcrtest.Server
	mcp    *dcrtest.Server
	store  *dcrtest.OutageStore
	client dcrtest.Answer
}

func startBearerServer(t *testing.T, change ...func(*fosite.Config)) *bearerServer {
	t.Helper()
	s := &bearerServer{store: &dcrtest.OutageStore{MemoryStore: dcr.NewMemoryStore()}}
	s.Server = dcrtest.Start(t, dcrtest.Setup{
		Storage: s.store,
		Fosite: func(config *fosite.Config) {
			for _, c := range change {
				c(config)
			}
		},
		Config: dcr.Config{
			Scopes:        []string{"mcp", "profile"},
			Authorization: dcr.Authorization{Audience: []string{exampleResource, "https://other.example"}},
		},
	})
	web := httptest.NewServer(mcpRoutes(s.Provider, exampleIssuer, exampleResource))
	t.Cleanup(web.Close)
	s.mcp = &dcrtest.Server{URL: web.URL}
	s.client = s.Register(t, map[string]any{
		"redirect_uris": []string{"https://app.example/cb"}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"},
	})
	return s
}

// tokens are what the client gets for a request with these parameters.
func (s *bearerServer) tokens(t *testing.T, pairs ...string) dcrtest.Answer {
	t.Helper()
	const uri = "https://app.example/cb"
	code := s.Code(t, dcrtest.AuthorizeQuery(s.client.ID(), uri, pairs...))
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm(s.client.ID(), code, uri))
	require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
	return answer
}

// call opens a session of the MCP server.
func (s *bearerServer) call(t *testing.T, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",` +
		`"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	return s.mcp.Do(t, http.MethodPost, "/mcp", []byte(hello), append([]dcrtest.Edit{
		dcrtest.Header("Content-Type", "application/json"), dcrtest.Header("Accept", "application/json, text/event-stream"),
	}, edits...)...)
}

// bearerChallenge is what the MCP server of the README answers, with a reason or without.
func bearerChallenge(reason string) string {
	return "Bearer " + reason + `resource_metadata="https://as.example/.well-known/oauth-protected-resource/mcp", scope="mcp"`
}

// TestMCPServerOfTheReadme: the README's code takes access tokens that are for it and have its scope, and
// says of any other token what is wrong with it (RFC 6750, section 3.1).
func TestMCPServerOfTheReadme(t *testing.T) {
	t.Parallel()
	right := []string{"scope", "mcp", "resource", exampleResource}
	requireChallenge := func(t *testing.T, answer dcrtest.Answer, status int, reason string) {
		t.Helper()
		require.Equal(t, status, answer.Status, "%s", answer.Body)
		require.Equal(t, []string{bearerChallenge(reason)}, answer.Header.Values("WWW-Authenticate"))
	}
	const invalid, insufficient = `error="invalid_token", `, `error="insufficient_scope", `

	s := startBearerServer(t)
	tokens := s.tokens(t, right...)
	access, refresh := tokens.Text("access_token"), tokens.Text("refresh_token")
	require.NotEmpty(t, refresh)
	answer := s.call(t, dcrtest.Bearer(access))
	require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
	require.NotEmpty(t, answer.Header.Get("Mcp-Session-Id"), "the request reached the MCP server")

	t.Run("INTRO-02/no_token", func(t *testing.T) {
		requireChallenge(t, s.call(t), http.StatusUnauthorized, "")
		requireChallenge(t, s.call(t, dcrtest.Basic("user", "password")), http.StatusUnauthorized, "")
		requireChallenge(t, s.call(t, dcrtest.Bearer("two tokens")), http.StatusUnauthorized, "")
	})
	t.Run("INTRO-02/unknown_token", func(t *testing.T) {
		for _, token := range []string{"unknown", access + "x"} {
			requireChallenge(t, s.call(t, dcrtest.Bearer(token)), http.StatusUnauthorized, invalid)
		}
	})
	t.Run("INTRO-02/without_the_scope", func(t *testing.T) {
		less := s.tokens(t, "scope", "profile", "resource", exampleResource)
		requireChallenge(t, s.call(t, dcrtest.Bearer(less.Text("access_token"))), http.StatusForbidden, insufficient)
		more := s.tokens(t, "scope", "profile mcp", "resource", exampleResource)
		require.Equal(t, http.StatusOK, s.call(t, dcrtest.Bearer(more.Text("access_token"))).Status, "after the step up")
	})
	t.Run("INTRO-02/for_another_resource", func(t *testing.T) {
		for _, resource := range []string{"https://other.example", ""} {
			other := s.tokens(t, "scope", "mcp", "resource", resource)
			requireChallenge(t, s.call(t, dcrtest.Bearer(other.Text("access_token"))), http.StatusUnauthorized, invalid)
		}
	})
	t.Run("USE-01/refresh_token", func(t *testing.T) {
		requireChallenge(t, s.call(t, dcrtest.Bearer(refresh)), http.StatusUnauthorized, invalid)
	})
	t.Run("USE-01/registration_access_token", func(t *testing.T) {
		requireChallenge(t, s.call(t, dcrtest.Bearer(s.client.Token())), http.StatusUnauthorized, invalid)
	})
	t.Run("USE-01/after_the_access_token_has_expired", func(t *testing.T) {
		s := startBearerServer(t, func(config *fosite.Config) { config.AccessTokenLifespan = -time.Minute })
		tokens := s.tokens(t, right...)
		for _, name := range []string{"access_token", "refresh_token"} {
			require.NotEmpty(t, tokens.Text(name))
			requireChallenge(t, s.call(t, dcrtest.Bearer(tokens.Text(name))), http.StatusUnauthorized, invalid)
		}
	})
	t.Run("AUTH-02/storage_down", func(t *testing.T) {
		for status, err := range map[int]error{http.StatusServiceUnavailable: dcr.ErrUnavailable, http.StatusInternalServerError: http.ErrServerClosed} {
			s.store.BreakDown(err, "GetAccessTokenSession")
			answer := s.call(t, dcrtest.Bearer(access))
			require.Equal(t, status, answer.Status)
			require.Empty(t, answer.Header.Get("WWW-Authenticate"), "a client would throw its token away")
		}
		s.store.BreakDown(nil)
		require.Equal(t, http.StatusOK, s.call(t, dcrtest.Bearer(access)).Status)
	})
}
