package clients_test

import (
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serverMetadata is what the SDK reads of the server, with its checks of the issuer,
// of PKCE and of every URL.
func serverMetadata(t testing.TB, s *dcrtest.Server) *oauthex.AuthServerMeta {
	t.Helper()
	found, err := auth.GetAuthServerMetadata(t.Context(), s.URL, nil)
	require.NoError(t, err)
	require.NotNil(t, found)
	return found
}

func TestMCPServerMetadata(t *testing.T) {
	t.Parallel()
	t.Run("MCP-01,MCP-03,9207-01,8414-01", func(t *testing.T) {
		t.Parallel()
		forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
			found := serverMetadata(t, s.Server)
			require.Equal(t, s.URL, found.Issuer)
			require.Equal(t, s.URL+"/register", found.RegistrationEndpoint)
			require.Equal(t, []string{"S256"}, found.CodeChallengeMethodsSupported)
			require.Subset(t, found.TokenEndpointAuthMethodsSupported,
				[]string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"})
			require.Contains(t, found.TokenEndpointAuthSigningAlgValuesSupported, "ES256")
			require.Subset(t, found.GrantTypesSupported, []string{"authorization_code", "refresh_token"})
			require.Equal(t, []string{"code"}, found.ResponseTypesSupported)
			require.Contains(t, found.ScopesSupported, toolsScope)
			require.True(t, found.AuthorizationResponseIssParameterSupported)
			require.False(t, found.ClientIDMetadataDocumentSupported)
		})
	})
}

func TestMCPRegisterClient(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	endpoint := serverMetadata(t, s).RegistrationEndpoint
	type sent = oauthex.ClientRegistrationMetadata
	for name, test := range map[string]struct {
		sent   sent
		method string
		secret bool
	}{
		"7591-2-03/no_method":              {sent{}, "client_secret_basic", true},
		"7591-3.2.1-03/none":               {sent{TokenEndpointAuthMethod: "none"}, "none", false},
		"7591-3.2.1-03/client_secret_post": {sent{TokenEndpointAuthMethod: "client_secret_post"}, "client_secret_post", true},
		"7591-2-13/private_key_jwt": {
			sent{TokenEndpointAuthMethod: "private_key_jwt", JWKSURI: "https://client.example.com/jwks"}, "private_key_jwt", false,
		},
		"MCP-02/native": {sent{ApplicationType: "native", TokenEndpointAuthMethod: "none"}, "none", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := test.sent
			sent.ClientName, sent.RedirectURIs = "Go MCP client", []string{"http://localhost:3118/callback"}
			sent.SoftwareID, sent.Contacts = "4NRB1-0XZABZI9E6-5SM3R", []string{"alice@example.com"}
			answer, err := oauthex.RegisterClient(t.Context(), endpoint, &sent, nil)
			require.NoError(t, err)
			require.NotEmpty(t, answer.ClientID)
			require.Equal(t, test.secret, answer.ClientSecret != "")
			require.False(t, answer.ClientIDIssuedAt.IsZero())
			require.True(t, answer.ClientSecretExpiresAt.IsZero()) // never

			want := sent // 7591-3.2.1-06
			want.TokenEndpointAuthMethod = test.method
			want.GrantTypes, want.ResponseTypes = []string{"authorization_code"}, []string{"code"}
			want.Scope = "openid profile email offline_access"
			if want.ApplicationType == "" {
				want.ApplicationType = "web"
			}
			require.Equal(t, want, answer.ClientRegistrationMetadata)
		})
	}
}

func TestMCPRegisterClientRefused(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	endpoint := serverMetadata(t, s).RegistrationEndpoint
	type sent = oauthex.ClientRegistrationMetadata
	for name, test := range map[string]struct {
		sent         sent
		code, member string
	}{
		"7591-3.2.2-02/redirect": {
			sent{RedirectURIs: []string{"http://client.example.com/callback"}}, "invalid_redirect_uri", "redirect_uris",
		},
		"7591-3.2.2-02/method": {
			sent{RedirectURIs: []string{"http://localhost/callback"}, TokenEndpointAuthMethod: "tls_client_auth"},
			"invalid_client_metadata", "token_endpoint_auth_method",
		},
		// The SDK has a string where RFC 7591, section 2, wants a JSON object: it can't
		// register keys by value.
		"7591-3.1-07/keys_in_a_string": {
			sent{RedirectURIs: []string{"http://localhost/callback"}, JWKS: `{"keys":[]}`}, "invalid_client_metadata", "jwks",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := oauthex.RegisterClient(t.Context(), endpoint, &test.sent, nil)
			var refusal *oauthex.ClientRegistrationError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, test.code, refusal.ErrorCode)
			require.Contains(t, refusal.ErrorDescription, test.member)
		})
	}
}

// Where registration is closed, the SDK is handed an HTTP client that sends an access
// token with the registration scope.
func TestMCPRegisterClientWithAccessToken(t *testing.T) {
	t.Parallel()
	portal := *dcrtest.Introspector(t).(*fosite.DefaultClient)
	portal.ID, portal.GrantTypes, portal.Scopes = "portal", []string{"client_credentials"}, []string{"dcr:register"}
	s := dcrtest.Start(t, dcrtest.Setup{Closed: true, Static: []fosite.Client{&portal}})
	metadata := &oauthex.ClientRegistrationMetadata{RedirectURIs: []string{"http://localhost/callback"}}

	t.Run("7591-3-04/without", func(t *testing.T) {
		_, err := oauthex.RegisterClient(t.Context(), s.URL+"/register", metadata, nil)
		require.ErrorContains(t, err, "401 Unauthorized")
	})
	t.Run("7591-3-04/with", func(t *testing.T) {
		config := &clientcredentials.Config{
			ClientID: portal.ID, ClientSecret: dcrtest.IntrospectorSecret, TokenURL: s.URL + "/oauth2/token", Scopes: portal.Scopes,
		}
		answer, err := oauthex.RegisterClient(t.Context(), s.URL+"/register", metadata, config.Client(t.Context()))
		require.NoError(t, err)
		require.NotEmpty(t, answer.ClientID)
	})
}

// The SDK's handler for services sends the secret in the form wherever the server's
// metadata allows that, whatever the client has registered. It names no resource.
func TestMCPClientCredentials(t *testing.T) {
	t.Parallel()
	t.Run("AUTH-04/client_secret_post", func(t *testing.T) {
		t.Parallel()
		forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
			client := s.Register(t, toolsMetadata("client_secret_post"))
			token, err := authorizeService(t, s, client)
			require.NoError(t, err)
			h := &holder{Server: s.Server, client: client, token: token}
			h.again = func(*oauth2.Token) (*oauth2.Token, error) { return authorizeService(t, s, client) }
			h.manageToItsEnd(t)
		})
	})
	t.Run("AUTH-04/client_secret_basic", func(t *testing.T) {
		t.Parallel()
		forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
			client := s.Register(t, toolsMetadata("client_secret_basic"))
			_, err := authorizeService(t, s, client)
			requireRefused(t, err, http.StatusUnauthorized, "invalid_client")
		})
	})
}

func toolsMetadata(method string) map[string]any {
	metadata := serviceMetadata(method)
	metadata["scope"] = toolsScope
	return metadata
}

// authorizeService answers the challenge of the MCP server with the SDK's handler.
func authorizeService(t testing.TB, s *mcpServer, client dcrtest.Answer) (*oauth2.Token, error) {
	t.Helper()
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID: client.ID(), Issuer: s.URL,
			ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: client.Secret()},
		},
	})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.resource, http.NoBody)
	require.NoError(t, err)
	response, err := (&http.Client{Transport: dcrtest.Transport}).Do(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	if err := handler.Authorize(t.Context(), request, response); err != nil { // closes the body
		return nil, err
	}
	source, err := handler.TokenSource(t.Context())
	require.NoError(t, err)
	return source.Token()
}
