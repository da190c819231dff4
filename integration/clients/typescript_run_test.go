package clients_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// scriptClient is a client on the TypeScript SDK. Each command is a process of its own,
// and what the client keeps lies in a file between them.
type scriptClient struct {
	s       *mcpServer
	node    string
	options map[string]any
}

// scriptReport is what typescript/client.mjs prints.
type scriptReport struct {
	Result json.RawMessage
	// Error is what the SDK threw. Code is that of OAuth, Status that of the MCP server.
	Error *struct {
		Name, Code, Message string
		Status              int
	}
	Registrations []struct {
		Status     int
		RetryAfter string
		Sent       map[string]any
		Answer     string
	}
	Authorizations []struct {
		Status         int
		Asked, Brought map[string]string
		Landed, Page   string
	}
	TokenRequests []struct {
		Status int
		Basic  bool
		Form   map[string]string
		Error  string
	}
	Invalidated []string
	Kept        struct {
		Client map[string]any
		Tokens *struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
			Scope        string
		}
	}
}

func newScriptClient(t testing.TB, s *mcpServer, metadata map[string]any, redirect string) *scriptClient {
	t.Helper()
	return &scriptClient{s, needTypeScript(t), map[string]any{
		"file": filepath.Join(t.TempDir(), "kept.json"), "metadata": metadata, "redirect": redirect, "withState": true,
	}}
}

// with returns the client with another option, and the same file.
func (c *scriptClient) with(name string, value any) *scriptClient {
	next := *c
	next.options = maps.Clone(c.options)
	next.options[name] = value
	return &next
}

// run runs a command of client.mjs to its end.
func (c *scriptClient) run(t testing.TB, name string) *scriptReport {
	t.Helper()
	options, err := json.Marshal(c.options)
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), c.node, "typescript/client.mjs", name, c.s.resource, string(options))
	output, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(t, err, string(exit.Stderr))
	}
	require.NoError(t, err)
	report := new(scriptReport)
	require.NoError(t, json.Unmarshal(output, report), string(output))
	return report
}

// works runs a command that has to call the tool as the user through the client that it
// keeps.
func (c *scriptClient) works(t testing.TB, name string) *scriptReport {
	t.Helper()
	report := c.run(t, name)
	require.Nil(t, report.Error, "%+v", report)
	require.Equal(t, "alice by "+report.id(), report.text(t))
	return report
}

// fails runs a command on which the SDK has to throw something.
func (c *scriptClient) fails(t testing.TB, name string) *scriptReport {
	t.Helper()
	report := c.run(t, name)
	require.NotNil(t, report.Error, "%+v", report)
	return report
}

func (r *scriptReport) id() string {
	id, _ := r.Kept.Client["client_id"].(string)
	return id
}

// text is a result that is a text.
func (r *scriptReport) text(t testing.TB) string {
	t.Helper()
	var text string
	require.NoError(t, json.Unmarshal(r.Result, &text), string(r.Result))
	return text
}

// registration is the answer to the one registration of a run. The SDK's own type drops
// the registration access token.
func (r *scriptReport) registration(t testing.TB) dcrtest.Answer {
	t.Helper()
	require.Len(t, r.Registrations, 1)
	said := r.Registrations[0]
	answer := dcrtest.Answer{Status: said.Status, Body: said.Answer}
	require.NoError(t, json.Unmarshal([]byte(said.Answer), &answer.Members))
	return answer
}

func (r *scriptReport) token() *oauth2.Token {
	return &oauth2.Token{AccessToken: r.Kept.Tokens.AccessToken, RefreshToken: r.Kept.Tokens.RefreshToken}
}

// refresh refreshes with the SDK. What the SDK throws has no status: that comes from what
// was seen on the wire.
func (c *scriptClient) refresh(t testing.TB) func(*oauth2.Token) (*oauth2.Token, error) {
	return func(token *oauth2.Token) (*oauth2.Token, error) {
		report := c.with("refreshToken", token.RefreshToken).run(t, "refresh")
		if report.Error == nil {
			return report.token(), nil
		}
		require.Len(t, report.TokenRequests, 1)
		return nil, &oauth2.RetrieveError{
			Response: &http.Response{StatusCode: report.TokenRequests[0].Status}, ErrorCode: report.Error.Code,
		}
	}
}

const typeScriptModules = "typescript/node_modules/"

// needTypeScript finds Node.js and the SDK. Where the machine lacks one of them the test
// can't be run; it fails where CI says that all services are there.
func needTypeScript(t testing.TB) (node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(typeScriptModules + "@modelcontextprotocol/sdk/package.json")
	}
	if err == nil {
		return node
	}
	if os.Getenv("DCR_REQUIRE_SERVICES") != "" {
		t.Fatal("DCR_REQUIRE_SERVICES is set; run npm ci --prefix integration/clients/typescript:", err)
	}
	t.Skip("this test needs Node.js and npm ci --prefix integration/clients/typescript:", err)
	return ""
}

// clientOutage is a storage that can fail to find clients.
type clientOutage struct {
	*dcr.MemoryStore
	cause atomic.Pointer[error]
}

func (s *clientOutage) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if cause := s.cause.Load(); cause != nil {
		return nil, *cause
	}
	return s.MemoryStore.GetClient(ctx, id)
}

// startToolsServer runs an MCP server that wants these scopes, in front of an
// authorization server with the settings for MCP.
func startToolsServer(t testing.TB, scopes []string, edits ...func(*dcrtest.Setup)) *mcpServer {
	t.Helper()
	needTypeScript(t)
	listener := httptest.NewUnstartedServer(nil)
	origin := "http://" + listener.Listener.Addr().String()
	s := &mcpServer{resource: origin + "/mcp"}
	setup := dcrtest.Setup{
		Config: dcr.MCPConfig(s.resource, toolsScope, "mcp:more", "openid", "offline_access"),
		Static: []fosite.Client{dcrtest.Introspector(t)},
	}
	for _, edit := range edits {
		edit(&setup)
	}
	if store, ok := setup.Storage.(*clientOutage); ok {
		store.AddClient(dcrtest.Introspector(t))
	}
	s.Server = dcrtest.Start(t, setup)

	const metadataPath = "/.well-known/oauth-protected-resource/mcp"
	router := http.NewServeMux()
	router.Handle(metadataPath, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: s.resource, AuthorizationServers: []string{s.URL}, ScopesSupported: scopes,
	}))
	guard := auth.RequireBearerToken(s.lookUp, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: origin + metadataPath, Scopes: scopes,
	})
	tools := mcpTools()
	router.Handle("/mcp", guard(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)))
	listener.Config.Handler = router
	listener.Start()
	t.Cleanup(listener.Close)
	return s
}

// lookUp is an auth.TokenVerifier in the process of the authorization server: it works
// while no client can be found.
func (s *mcpServer) lookUp(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	_, request, err := s.Provider.IntrospectToken(ctx, token, fosite.AccessToken, dcrtest.NewSession(""))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	if !oauthex.MatchesResource(request.GetGrantedAudience(), s.resource) {
		return nil, auth.ErrInvalidToken
	}
	session := request.GetSession()
	return &auth.TokenInfo{
		Scopes: request.GetGrantedScopes(), Expiration: session.GetExpiresAt(fosite.AccessToken), UserID: session.GetSubject(),
		Extra: map[string]any{"client_id": request.GetClient().GetID()},
	}, nil
}
