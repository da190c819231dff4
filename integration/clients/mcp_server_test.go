package clients_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const toolsScope = "mcp:tools"

// mcpServer is a protected MCP server in front of an authorization server.
type mcpServer struct {
	*dcrtest.Server
	// resource is the URL of the MCP server, which is also its identifier.
	resource string
}

// forEachMCPServer runs a test on an MCP server that wants opaque tokens, and on one
// that wants JWTs.
func forEachMCPServer(t *testing.T, run func(t *testing.T, s *mcpServer)) {
	t.Helper()
	for name, tokensAreJWTs := range map[string]bool{"token=opaque": false, "token=jwt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, startMCPServer(t, tokensAreJWTs))
		})
	}
}

func startMCPServer(t testing.TB, tokensAreJWTs bool) *mcpServer {
	t.Helper()
	listener := httptest.NewUnstartedServer(nil)
	origin := "http://" + listener.Listener.Addr().String()
	s := &mcpServer{resource: origin + "/mcp"}
	s.Server = dcrtest.Start(t, dcrtest.Setup{
		JWT:    tokensAreJWTs,
		Static: []fosite.Client{dcrtest.Introspector(t)},
		Config: dcr.Config{
			Scopes:        append(slices.Clone(dcrtest.Scopes), toolsScope),
			Authorization: dcr.Authorization{Audience: []string{s.resource}, AllowAnyLocalhostPort: true},
			Metadata:      dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
		},
	})
	const metadataPath = "/.well-known/oauth-protected-resource/mcp"
	router := http.NewServeMux()
	router.Handle(metadataPath, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: s.resource, AuthorizationServers: []string{s.URL}, ScopesSupported: []string{toolsScope},
	}))
	guard := auth.RequireBearerToken(s.verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: origin + metadataPath, Scopes: []string{toolsScope},
	})
	tools := mcpTools()
	router.Handle("/mcp", guard(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)))
	listener.Config.Handler = router
	listener.Start()
	t.Cleanup(listener.Close)
	return s
}

// mcpTools has one tool, which says who calls it through which client.
func mcpTools() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	tool := &mcp.Tool{Name: "whoami", Description: "says who calls"}
	mcp.AddTool(server, tool, func(_ context.Context, request *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		info := request.Extra.TokenInfo
		text := info.UserID + " by " + info.Extra["client_id"].(string)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
	})
	return server
}

// verify is an auth.TokenVerifier that introspects as the resource server, and takes
// only tokens that are meant for it.
func (s *mcpServer) verify(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/oauth2/introspect", form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	dcrtest.Basic(dcrtest.IntrospectorID, dcrtest.IntrospectorSecret)(request)
	response, err := (&http.Client{Transport: dcrtest.Transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var found struct {
		Active   bool     `json:"active"`
		Scope    string   `json:"scope"`
		Subject  string   `json:"sub"`
		ClientID string   `json:"client_id"`
		Audience []string `json:"aud"`
		Expiry   int64    `json:"exp"`
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("introspection answered " + response.Status)
	}
	if !found.Active || !oauthex.MatchesResource(found.Audience, s.resource) {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{
		Scopes: strings.Fields(found.Scope), Expiration: time.Unix(found.Expiry, 0), UserID: found.Subject,
		Extra: map[string]any{"client_id": found.ClientID},
	}, nil
}
