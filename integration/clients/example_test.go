package clients_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// An MCP server beside the authorization server takes its tokens.
func Example() {
	const issuer, resource = "https://as.example", "https://as.example/mcp"
	config := &fosite.Config{AccessTokenIssuer: issuer, GlobalSecret: []byte("thirty-two bytes or more, kept safe"), RefreshTokenScopes: []string{}}
	provider, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.MCPConfig(resource, "mcp"))))
	if err != nil {
		log.Fatal(err)
	}
	tools := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		return mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	}, nil)
	routes := http.NewServeMux()

	verify := func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		_, found, err := provider.IntrospectToken(ctx, token, fosite.AccessToken, &fosite.DefaultSession{}, "mcp")
		if err != nil || !oauthex.MatchesResource(found.GetGrantedAudience(), resource) {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{Scopes: found.GetGrantedScopes(), UserID: found.GetSession().GetSubject(),
			Expiration: found.GetSession().GetExpiresAt(fosite.AccessToken)}, nil
	}
	const path = "/.well-known/oauth-protected-resource/mcp"
	routes.Handle(path, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: resource, AuthorizationServers: []string{issuer}, ScopesSupported: []string{"mcp"}}))
	routes.Handle("/mcp", auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: issuer + path, Scopes: []string{"mcp"}})(tools))

	for _, path := range []string{"/mcp", path} {
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 401 Bearer resource_metadata="https://as.example/.well-known/oauth-protected-resource/mcp", scope="mcp"
	// 200
}
