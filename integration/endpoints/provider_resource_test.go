package endpoints_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestResources: clients of MCP name the resource that they want tokens for; fosite knows
// audiences only.
func TestResources(t *testing.T) {
	t.Parallel()
	const redirect, resource = "https://app.example/cb", "https://mcp.example/mcp"
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Authorization: dcr.Authorization{Audience: []string{resource, "https://other.example"}, RefuseUnknownResources: true}, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
	}})
	client := s.Register(t, map[string]any{"redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}})
	basic := dcrtest.Basic(client.ID(), client.Secret())
	audience := func(token string) []string {
		_, request, err := s.Provider.IntrospectToken(context.Background(), token, fosite.AccessToken, dcrtest.NewSession(""))
		require.NoError(t, err)
		return request.GetGrantedAudience()
	}
	exchange := func(query url.Values) dcrtest.Answer {
		return s.Form(t, "/oauth2/token", dcrtest.CodeForm("", s.Code(t, query), redirect), basic)
	}
	t.Run("AUD-01/code_and_refresh", func(t *testing.T) {
		tokens := exchange(dcrtest.AuthorizeQuery(client.ID(), redirect, "resource", resource))
		require.Equal(t, []string{resource}, audience(tokens.Text("access_token")), tokens.Body)
		tokens = s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), basic)
		require.Equal(t, []string{resource}, audience(tokens.Text("access_token")), tokens.Body)
	})
	t.Run("AUD-01/several", func(t *testing.T) {
		query := dcrtest.AuthorizeQuery(client.ID(), redirect, "audience", resource)
		query["resource"] = []string{resource, "https://other.example"}
		require.Equal(t, []string{resource, "https://other.example"}, audience(exchange(query).Text("access_token")))
	})
	t.Run("AUD-01/pushed", func(t *testing.T) {
		pushed := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), redirect, "resource", resource), basic)
		require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
		query := url.Values{"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}}
		require.Equal(t, []string{resource}, audience(exchange(query).Text("access_token")))
		refused := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), redirect, "resource", "https://evil.example"), basic)
		require.Equal(t, "invalid_target", refused.Text("error"))
	})
	t.Run("AUD-01/not_allowed", func(t *testing.T) {
		location := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), redirect, "resource", "https://evil.example")).Location(t)
		require.Equal(t, "invalid_target", location.Query().Get("error"))
		answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "resource": {"https://evil.example"}}, basic)
		require.Equal(t, http.StatusBadRequest, answer.Status)
		require.Equal(t, "invalid_target", answer.Text("error"))
	})
	t.Run("AUD-01/client_credentials", func(t *testing.T) {
		answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}, basic)
		require.Equal(t, []string{resource}, audience(answer.Text("access_token")), answer.Body)
	})
	t.Run("AUD-01/left_out_by_default", func(t *testing.T) {
		for _, audiences := range [][]string{nil, {"https://other.example"}} {
			lenient := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{Audience: audiences}}})
			client := lenient.Register(t, `{"redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`)
			code := lenient.Code(t, dcrtest.AuthorizeQuery(client.ID(), redirect, "resource", resource))
			tokens := lenient.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, redirect))
			_, request, err := lenient.Provider.IntrospectToken(context.Background(), tokens.Text("access_token"), fosite.AccessToken, dcrtest.NewSession(""))
			require.NoError(t, err)
			require.Empty(t, request.GetGrantedAudience())
		}
	})
}

// TestHiddenClients: a storage whose GetClient does not return what CreateClient stores is
// said to be broken, instead of every client being unknown.
func TestHiddenClients(t *testing.T) {
	t.Parallel()
	store := dcr.NewMemoryStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: hidingStore{store}})
	client := s.Register(t, `{"redirect_uris":["https://app.example/cb"]}`)
	answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
	require.Equal(t, "server_error", answer.Text("error"))
	_, err := s.Provider.Store.GetClient(context.Background(), client.ID())
	require.ErrorContains(t, err, "GetClient does not return")
	_, err = s.Provider.Store.GetClient(context.Background(), "unknown")
	require.ErrorIs(t, err, fosite.ErrNotFound)
}

type hidingStore struct{ *dcr.MemoryStore }

func (hidingStore) GetClient(context.Context, string) (fosite.Client, error) {
	return nil, fosite.ErrNotFound
}

// TestRefreshTokensThatNobodyWouldGet: where fosite would issue none, the grant is not
// registered and not advertised (REAL-02, 7591-2-20).
func TestRefreshTokensThatNobodyWouldGet(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		refresh, scopes []string
		want            []any
	}{
		"by_scope_unknown": {refresh: nil, scopes: []string{"profile"}, want: []any{"authorization_code"}},
		"by_scope_known":   {refresh: nil, scopes: []string{"profile", "offline_access"}, want: []any{"authorization_code", "refresh_token"}},
		"always":           {refresh: []string{}, scopes: []string{"profile"}, want: []any{"authorization_code", "refresh_token"}},
	} {
		t.Run("REAL-02/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{
				Config: dcr.Config{Scopes: row.scopes},
				Fosite: func(c *fosite.Config) { c.RefreshTokenScopes = row.refresh },
			})
			client := s.Register(t, `{"redirect_uris":["https://app.example/cb"],"grant_types":["authorization_code","refresh_token"]}`)
			require.Equal(t, row.want, client.Members["grant_types"])
		})
	}
}
