package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// mcpClient is an MCP client of the SDK, with what the SDK does on its behalf.
type mcpClient struct {
	s       *mcpServer
	session *mcp.ClientSession

	mu sync.Mutex
	// registrations are the answers to its registrations: the SDK's own type drops
	// the registration access token.
	registrations []dcrtest.Answer
	// authorizations and tokenRequests are what it sent to these endpoints.
	authorizations, tokenRequests []url.Values
	// config and token are what the SDK's token source is made of.
	config *oauth2.Config
	token  *oauth2.Token
}

// connectMCP connects the SDK's client to the MCP server, where it is challenged,
// discovers, registers and signs in, all by itself.
func connectMCP(t testing.TB, s *mcpServer, config *auth.AuthorizationCodeHandlerConfig) *mcpClient {
	t.Helper()
	c := &mcpClient{s: s}
	config.AuthorizationCodeFetcher = c.authorize(config)
	config.NewTokenSource = c.tokenSource
	config.Client = &http.Client{Transport: c}
	handler, err := auth.NewAuthorizationCodeHandler(config)
	require.NoError(t, err)
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	c.session, err = client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.resource, OAuthHandler: handler}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.session.Close() })
	return c
}

func (c *mcpClient) authorize(config *auth.AuthorizationCodeHandlerConfig) auth.AuthorizationCodeFetcher {
	return func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
		target, err := url.Parse(args.URL)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.authorizations = append(c.authorizations, target.Query())
		c.mu.Unlock()
		answer, err := visit(ctx, args.URL, config.RedirectURL)
		if err != nil {
			return nil, err
		}
		return &auth.AuthorizationResult{Code: answer.Get("code"), State: answer.Get("state"), Iss: answer.Get("iss")}, nil
	}
}

func (c *mcpClient) tokenSource(ctx context.Context, config *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config, c.token = config, token
	return contextSource{ctx, c}, nil
}

// contextSource is the client's token source.
type contextSource struct {
	ctx context.Context
	c   *mcpClient
}

func (s contextSource) Token() (*oauth2.Token, error) {
	s.c.mu.Lock()
	config, held := s.c.config, s.c.token
	s.c.mu.Unlock()
	token, err := config.TokenSource(s.ctx, held).Token()
	if err != nil {
		return nil, err
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.token = token
	return token, nil
}

// expire makes the client believe that its access token has ended.
func (c *mcpClient) expire() *oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.token
	c.token = &oauth2.Token{RefreshToken: held.RefreshToken}
	return held
}

// RoundTrip notes what the client sends to the authorization server and is answered.
func (c *mcpClient) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path == "/oauth2/token" {
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		read, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(read))
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.tokenRequests = append(c.tokenRequests, form)
		c.mu.Unlock()
	}
	response, err := dcrtest.Transport.RoundTrip(request)
	if err != nil || request.URL.Path != "/register" {
		return response, err
	}
	read, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	answer := dcrtest.Answer{Status: response.StatusCode, Header: response.Header, Body: string(read)}
	err = errors.Join(err, json.Unmarshal(read, &answer.Members))
	c.mu.Lock()
	c.registrations = append(c.registrations, answer)
	c.mu.Unlock()
	response.Body = io.NopCloser(bytes.NewReader(read))
	return response, err
}

// last returns the client's latest registration.
func (c *mcpClient) last() dcrtest.Answer { return c.registrations[len(c.registrations)-1] }

// call calls the tool, which says who called it.
func (c *mcpClient) call(t testing.TB) string {
	t.Helper()
	result, err := c.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	require.NoError(t, err)
	require.False(t, result.IsError)
	require.Len(t, result.Content, 1)
	return result.Content[0].(*mcp.TextContent).Text
}

// dynamicMCP is the configuration of a client that registers itself.
func dynamicMCP(method string, redirectURIs ...string) *auth.AuthorizationCodeHandlerConfig {
	return &auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName: "Go MCP client", RedirectURIs: redirectURIs, TokenEndpointAuthMethod: method,
				GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
			},
		},
	}
}

func TestMCPClient(t *testing.T) {
	t.Parallel()
	const web = "https://client.example.com/callback"
	for name, test := range map[string]struct {
		method       string
		redirectURIs []string
		offline      bool
	}{
		"MCP-02,MCP-03,REAL-02/none":           {"none", []string{"http://localhost:3118/callback"}, false},
		"MCP-02,MCP-03,REAL-02/none/offline":   {"none", []string{"http://localhost:3118/callback"}, true},
		"MCP-02,RU-09/none/several_redirects":  {"none", []string{"http://[::1]:3118/callback", "http://localhost:3118/callback"}, false},
		"MCP-02,RU-06/none/private_use_scheme": {"none", []string{"com.example.client:/callback"}, false},
		"7591-2-03,REAL-02/no_method":          {"", []string{"http://127.0.0.1:3118/callback"}, false},
		"AUTH-04,REAL-02/client_secret_basic":  {"client_secret_basic", []string{web}, false},
		"AUTH-04,REAL-02/client_secret_post":   {"client_secret_post", []string{web}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
				config := dynamicMCP(test.method, test.redirectURIs...)
				config.RequestRefreshToken = test.offline
				useMCPClient(t, s, config)
			})
		})
	}
}

// useMCPClient connects, calls, refreshes and ends the registration.
func useMCPClient(t *testing.T, s *mcpServer, config *auth.AuthorizationCodeHandlerConfig) {
	t.Helper()
	c := connectMCP(t, s, config)
	require.Len(t, c.registrations, 1)
	client := c.last()
	require.Equal(t, http.StatusCreated, client.Status, client.Body)
	require.Equal(t, "alice by "+client.ID(), c.call(t))
	requireSent(t, c, config.RequestRefreshToken)

	old := c.expire() // AUD-01
	require.Equal(t, "alice by "+client.ID(), c.call(t))
	dcrtest.RequireInactive(t, s.Server, old.AccessToken)
	require.Len(t, c.registrations, 1)
	require.Len(t, c.authorizations, 1)
	require.Len(t, c.tokenRequests, 2)
	require.Equal(t, "refresh_token", c.tokenRequests[1].Get("grant_type"))
	require.False(t, c.tokenRequests[1].Has("resource")) // the SDK sends none here
	require.Equal(t, []any{s.resource}, dcrtest.Introspect(t, s.Server, c.token.AccessToken).Members["aud"])

	h := &holder{Server: s.Server, client: client, token: c.token, again: refresher(t.Context(), c.config)}
	h.manageToItsEnd(t)
}

// requireSent demands that the client asked for the resource and the scopes that the
// challenge named.
func requireSent(t testing.TB, c *mcpClient, offline bool) {
	t.Helper()
	asked := c.authorizations[0]
	want := []string{toolsScope}
	if offline {
		want = append(want, "offline_access")
	}
	require.ElementsMatch(t, want, strings.Fields(asked.Get("scope")))
	require.Equal(t, c.s.resource, asked.Get("resource"))
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	require.Equal(t, c.s.resource, c.tokenRequests[0].Get("resource"))
}

// A client whose registration is gone is challenged by the MCP server, registers anew
// and signs in again.
func TestMCPClientRegistersAgain(t *testing.T) {
	t.Parallel()
	t.Run("7592-2.3-03,AUTH-01", func(t *testing.T) {
		t.Parallel()
		forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
			c := connectMCP(t, s, dynamicMCP("none", "http://localhost:3118/callback"))
			first := c.last()
			require.Equal(t, "alice by "+first.ID(), c.call(t))
			require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, first, nil).Status)
			said := c.call(t)
			require.Len(t, c.registrations, 2)
			require.NotEqual(t, first.ID(), c.last().ID())
			require.Equal(t, "alice by "+c.last().ID(), said)
		})
	})
}

// If its access token has ended, too, the client gets invalid_client when it
// refreshes. On that sign many clients register again; the SDK leaves it to its user,
// and registers again by itself on invalid_grant only.
func TestMCPClientLosesItsRegistration(t *testing.T) {
	t.Parallel()
	t.Run("AUTH-01", func(t *testing.T) {
		t.Parallel()
		forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
			c := connectMCP(t, s, dynamicMCP("none", "http://localhost:3118/callback"))
			require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, c.last(), nil).Status)
			c.expire()
			_, err := c.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
			requireRefused(t, err, http.StatusUnauthorized, "invalid_client")

			again := connectMCP(t, s, dynamicMCP("none", "http://localhost:3118/callback"))
			require.Equal(t, "alice by "+again.last().ID(), again.call(t))
		})
	})
}

// A client that keeps its registration comes back with another port each time it is
// started.
func TestMCPClientOnAnotherPort(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ registered, redirect string }{
		"RU-07/address":               {"http://127.0.0.1/callback", "http://127.0.0.1:49152/callback"},
		"RU-07/address_of_ipv6":       {"http://[::1]:3118/callback", "http://[::1]:49152/callback"},
		"RU-08/localhost":             {"http://localhost:3118/callback", "http://localhost:49152/callback"},
		"RU-08/localhost_and_no_port": {"http://localhost/callback", "http://localhost:49152/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachMCPServer(t, func(t *testing.T, s *mcpServer) {
				client := s.Register(t, dynamicMCP("none", test.registered).DynamicClientRegistrationConfig.Metadata)
				c := connectMCP(t, s, &auth.AuthorizationCodeHandlerConfig{
					PreregisteredClient: &oauthex.ClientCredentials{ClientID: client.ID(), Issuer: s.URL},
					RedirectURL:         test.redirect,
				})
				require.Equal(t, "alice by "+client.ID(), c.call(t))
				h := &holder{Server: s.Server, client: client, token: c.token, again: refresher(t.Context(), c.config)}
				h.manageToItsEnd(t)
			})
		})
	}
}
