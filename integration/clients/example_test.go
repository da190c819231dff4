package clients_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const exampleIssuer, exampleResource = "https://as.example", "https://as.example/mcp"

// An MCP server beside the authorization server takes its tokens.
func Example() {
	routes := mcpRoutes(mcpProvider(dcr.NewMemoryStore()), exampleIssuer, exampleResource)

	for _, path := range []string{"/mcp", "/.well-known/oauth-protected-resource/mcp"} {
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 401 Bearer resource_metadata="https://as.example/.well-known/oauth-protected-resource/mcp", scope="mcp"
	// 200
}

func mcpProvider(storage fosite.Storage) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: exampleIssuer, GlobalSecret: []byte("thirty-two bytes or more, kept safe"), RefreshTokenScopes: []string{}}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.MCPConfig(exampleResource, "mcp"))))
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

// mcpRoutes are an MCP server without tools, and its metadata.
func mcpRoutes(provider *dcr.Provider, issuer, resource string) http.Handler {
	tools := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		return mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	}, nil)
	routes := http.NewServeMux()

	const path = "/.well-known/oauth-protected-resource/mcp"
	routes.Handle(path, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: resource, AuthorizationServers: []string{issuer}, ScopesSupported: []string{"mcp"}}))
	routes.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		refuse := func(status int, reason string) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer %sresource_metadata="%s", scope="mcp"`, reason, issuer+path))
			http.Error(w, http.StatusText(status), status)
		}
		token, err := dcr.BearerToken(r)
		if errors.Is(err, dcr.ErrMissingToken) {
			refuse(http.StatusUnauthorized, "")
			return
		}
		use, found, err := provider.IntrospectToken(r.Context(), token, fosite.AccessToken, new(fosite.DefaultSession))
		failed := err != nil && fosite.ErrorToRFC6749Error(err).CodeField >= http.StatusInternalServerError
		switch {
		case failed: // the storage is down: the token may be good
			slog.Error("introspection failed", "cause", fosite.ErrorToRFC6749Error(err).DebugField)
			http.Error(w, "Try again later.", fosite.ErrorToRFC6749Error(err).CodeField)
		case err != nil || use != fosite.AccessToken || !oauthex.MatchesResource(found.GetGrantedAudience(), resource):
			refuse(http.StatusUnauthorized, `error="invalid_token", `)
		case !found.GetGrantedScopes().Has("mcp"):
			refuse(http.StatusForbidden, `error="insufficient_scope", `) // the client asks the user for more
		default:
			info := &auth.TokenInfo{Scopes: found.GetGrantedScopes(), UserID: found.GetSession().GetSubject(),
				Expiration: found.GetSession().GetExpiresAt(fosite.AccessToken)}
			checked := func(context.Context, string, *http.Request) (*auth.TokenInfo, error) { return info, nil }
			auth.RequireBearerToken(checked, nil)(tools).ServeHTTP(w, r)
		}
	})
	return routes
}
