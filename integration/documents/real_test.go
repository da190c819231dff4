package documents_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// deployed are the clients whose documents are in testdata, each under its real identifier, and the method by which they
// authenticate at a server that lets them choose: none where nothing is said. The documents are as others fetched them in
// September 2026, with these exceptions: chatgpt-connector has an identifier made up, since each connector has its own;
// opencode is what the source of its page returns; codex and copilot-cli are what others have quoted of them, maybe not all.
var deployed = map[string]struct {
	asks   []string // redirect URIs that the client signs in with; PORT is a random port
	others []string // redirect URIs that are not the client's
}{
	"claude": {
		asks:   []string{"https://claude.ai/api/mcp/auth_callback"},
		others: []string{"https://claude.ai:8443/api/mcp/auth_callback"},
	},
	"claude-code": {
		asks:   []string{"http://localhost:PORT/callback", "http://127.0.0.1:PORT/callback", "http://localhost/callback"},
		others: []string{"http://[::1]:PORT/callback"},
	},
	"chatgpt/private_key_jwt": {asks: []string{"https://chatgpt.com/connector_platform_oauth_redirect"}},
	"chatgpt/none":            {asks: []string{"https://chatgpt.com/connector_platform_oauth_redirect"}},
	"chatgpt-connector/private_key_jwt": {
		asks:   []string{"https://chatgpt.com/connector/oauth/aaaaaaaaaaaa"},
		others: []string{"https://chatgpt.com/connector/oauth/bbbbbbbbbbbb"},
	},
	"chatgpt-connector/none": {asks: []string{"https://chatgpt.com/connector/oauth/aaaaaaaaaaaa"}},
	"codex": {
		asks:   []string{"http://127.0.0.1:PORT/callback", "http://localhost:PORT/callback"},
		others: []string{"https://localhost:PORT/callback"},
	},
	"vscode": {
		asks:   []string{"http://127.0.0.1:33418/", "http://127.0.0.1:PORT/", "http://127.0.0.1/", "https://vscode.dev/redirect"},
		others: []string{"http://localhost:33418/"},
	},
	"copilot-cli": {
		asks:   []string{"http://127.0.0.1:PORT/", "http://127.0.0.1:33418/"},
		others: []string{"http://127.0.0.1:33418"},
	},
	"zed": {
		asks:   []string{"http://127.0.0.1:PORT/callback"},
		others: []string{"http://127.0.0.2:PORT/callback"},
	},
	"opencode": {
		asks:   []string{"http://127.0.0.1:PORT/callback", "http://localhost:PORT/callback"},
		others: []string{"http://127.0.0.1:19876/mcp/oauth/callback"}, // the one that it registers where it has to
	},
	"goose": {
		asks:   []string{"http://127.0.0.1:PORT/oauth_callback", "http://[::1]:PORT/oauth_callback"},
		others: []string{"http://localhost:PORT/oauth_callback"},
	},
}

// deployedClient is a client with a document in testdata.
type deployedClient struct {
	ID        string   `json:"client_id"`
	Name      string   `json:"client_name"`
	Redirects []string `json:"redirect_uris"`
	method    string
}

// chatGPTKeys stands for the host of a jwks_uri.
type chatGPTKeys struct{ location string }

func (k chatGPTKeys) Resolve(_ context.Context, location string, _ bool) (*jose.JSONWebKeySet, error) {
	if location != k.location {
		return nil, fmt.Errorf("%s has no keys", location)
	}
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().RSA, "one", "sig", "RS256"))
	return &keys, nil
}

const mcpResource = "https://mcp.example/mcp"

// startDeployed runs a server with dcr.MCPConfig, which knows the document of one client without any network. It has
// private_key_jwt only if that is the method of the client.
func startDeployed(t *testing.T, name string) (*dcrtest.Server, *deployedClient) {
	t.Helper()
	file, method, chooses := strings.Cut(name, "/")
	if !chooses {
		method = "none"
	}
	document, err := os.ReadFile(filepath.Join("testdata", file+".json"))
	require.NoError(t, err)
	c := &deployedClient{method: method}
	require.NoError(t, json.Unmarshal(document, c))

	config := dcr.MCPConfig(mcpResource, "mcp:tools", "offline_access")
	config.Authorization.AllowAnyLocalhostPort = false // clients with a document don't need it
	config.Documents = dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Own = map[string][]byte{c.ID: document} })
	config.Outbound.JWKSFetcher = chatGPTKeys{"https://chatgpt.com/oauth/jwks.json"}
	return dcrtest.Start(t, dcrtest.Setup{
		Config: config, Static: []fosite.Client{dcrtest.Introspector(t)},
		Fosite: func(config *fosite.Config) {
			if method == "none" {
				config.TokenURL = ""
			}
		},
	}), c
}

// authenticated adds to a token request what the client authenticates with: its identifier, or an assertion for the
// token endpoint, as ChatGPT has it.
func (c *deployedClient) authenticated(t *testing.T, s *dcrtest.Server, form url.Values) url.Values {
	t.Helper()
	if c.method == "none" {
		form.Set("client_id", c.ID)
		return form
	}
	claims := dcrtest.AssertionClaims(c.ID, s.URL+"/oauth2/token")
	return dcrtest.WithAssertion(form, dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "one", claims))
}

// requireSignIn signs in by a redirect URI and refreshes.
func (c *deployedClient) requireSignIn(t *testing.T, s *dcrtest.Server, redirect string) {
	t.Helper()
	query := dcrtest.AuthorizeQuery(c.ID, redirect, "scope", "mcp:tools offline_access", "resource", mcpResource)
	answer := s.Authorize(t, query)
	require.Equal(t, http.StatusSeeOther, answer.Status, "%s: %s", redirect, answer.Body)
	require.True(t, strings.HasPrefix(answer.Header.Get("Location"), redirect+"?"), answer.Header.Get("Location"))
	code := answer.Location(t).Query().Get("code")
	require.NotEmpty(t, code, answer.Header.Get("Location"))

	if c.method != "none" {
		refused := s.Form(t, "/oauth2/token", dcrtest.CodeForm(c.ID, code, redirect))
		require.Equal(t, http.StatusUnauthorized, refused.Status, refused.Body)
		require.Equal(t, "invalid_client", refused.Text("error"))
	}
	tokens := s.Form(t, "/oauth2/token", c.authenticated(t, s, dcrtest.CodeForm("", code, redirect)))
	require.Equal(t, http.StatusOK, tokens.Status, "%s: %s", redirect, tokens.Body)
	tokens = s.Form(t, "/oauth2/token", c.authenticated(t, s, dcrtest.RefreshForm("", tokens.Text("refresh_token"))))
	require.Equal(t, http.StatusOK, tokens.Status, "%s: %s", redirect, tokens.Body)
	active := dcrtest.RequireActive(t, s, tokens.Text("access_token"), c.ID)
	require.Equal(t, []any{mcpResource}, active.Members["aud"])
}

// requireRefused requires that a redirect URI is none of the client's: nobody is redirected there, and the error names it.
func (c *deployedClient) requireRefused(t *testing.T, s *dcrtest.Server, redirect string) {
	t.Helper()
	answer := s.Authorize(t, dcrtest.AuthorizeQuery(c.ID, redirect))
	require.Equal(t, http.StatusBadRequest, answer.Status, "%s: %s", redirect, answer.Body)
	require.Contains(t, answer.Body, "invalid_request: ")
	require.Contains(t, answer.Body, "It is '"+redirect+"'.", "the error names the URI")
	require.Empty(t, answer.Header.Get("Location"))
}

// TestDeployedClients: the documents of deployed clients sign in, by their redirect URIs and no others.
func TestDeployedClients(t *testing.T) {
	t.Parallel()
	for name, row := range deployed {
		t.Run("CIMD-20/"+name, func(t *testing.T) {
			t.Parallel()
			s, c := startDeployed(t, name)
			for _, redirect := range row.asks {
				c.requireSignIn(t, s, withPort(redirect))
				c.requireRefused(t, s, withPort(redirect)+"/") // another path
			}
			for _, redirect := range row.others {
				c.requireRefused(t, s, withPort(redirect))
			}

			client, err := s.Provider.Store.GetClient(t.Context(), c.ID)
			require.NoError(t, err)
			registered, ok := dcr.RegisteredClient(client)
			require.True(t, ok)
			require.Equal(t, c.Name, registered.Metadata.ClientName)
			require.Equal(t, c.Redirects, registered.Metadata.RedirectURIs)
			require.Equal(t, c.method, registered.Metadata.TokenEndpointAuthMethod)
			require.Equal(t, []string{"authorization_code", "refresh_token"}, registered.Metadata.GrantTypes, "others are left out")
		})
	}
}

// TestDeployedClientsProve: as public clients they use PKCE with S256.
func TestDeployedClientsProve(t *testing.T) {
	t.Parallel()
	for name, row := range deployed {
		if strings.HasSuffix(name, "/private_key_jwt") {
			continue
		}
		t.Run("CIMD-21/"+name, func(t *testing.T) {
			t.Parallel()
			s, c := startDeployed(t, name)
			for _, change := range []struct{ challenge, method, refused string }{
				{"", "", "must include a code_challenge"},
				{dcrtest.Verifier, "plain", "code_challenge_method=S256"},
				{dcrtest.Verifier, "", "code_challenge_method=S256"}, // which means plain
			} {
				query := dcrtest.AuthorizeQuery(c.ID, withPort(row.asks[0]), "code_challenge", change.challenge, "code_challenge_method", change.method)
				answer := s.Authorize(t, query).Location(t).Query()
				require.Equal(t, "invalid_request", answer.Get("error"), answer)
				require.Contains(t, answer.Get("error_description"), change.refused)
				require.Empty(t, answer.Get("code"))
			}
		})
	}
}

// withPort puts a random port in the place of PORT.
func withPort(redirect string) string {
	return strings.Replace(redirect, "PORT", strconv.Itoa(49152+rand.IntN(16384)), 1)
}
