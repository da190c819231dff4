package main

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// authorizationServer signs the user in and gives clients tokens for one MCP server.
type authorizationServer struct {
	issuer   string
	config   *fosite.Config
	store    *dcr.MemoryStore
	provider *dcr.Provider
	users    users
}

// newAuthorizationServer composes fosite with registration. Tokens are for the resource, which is the URL of the MCP
// server (RFC 8707). Clients may have a document where there are documents, and register in any case.
func newAuthorizationServer(issuer, resource string, documents dcr.Documents, users users, change ...func(*dcr.Config)) (*authorizationServer, error) {
	config := &fosite.Config{
		AccessTokenIssuer:           issuer,
		TokenURL:                    issuer + "/token",
		GlobalSecret:                []byte(rand.Text() + rand.Text()), // yours stays the same at every start
		EnforcePKCEForPublicClients: true,                              // of static clients too
		RefreshTokenScopes:          []string{},                        // not only for offline_access
		ScopeStrategy:               fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:    fosite.ExactAudienceMatchingStrategy,
	}
	config.HashCost = 4 // the secrets of static clients are random here, so their hash need not be slow
	registration := dcr.MCPConfig(resource, readScope, writeScope)
	registration.Documents = documents // nil: none are taken
	for _, c := range change {
		c(&registration)
	}
	store := dcr.NewMemoryStore()
	provider, err := dcr.Extend(compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2PKCEFactory,
		dcr.NewFactory(registration), // last, so that it sees what is composed
	))
	return &authorizationServer{issuer, config, store, provider, users}, err
}

// addClient makes a client that an operator knows: it does not register. It returns its secret.
func (s *authorizationServer) addClient(ctx context.Context, client fosite.DefaultClient) (secret string, err error) {
	secret = rand.Text()
	client.Secret, err = s.config.GetSecretsHasher(ctx).Hash(ctx, []byte(secret))
	s.store.AddClient(&client)
	return secret, err
}

// handler has all routes. Registration and metadata are the provider's.
func (s *authorizationServer) handler() http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/register", s.provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", s.provider.ManagementHandler())
	for _, path := range s.provider.MetadataPaths(context.Background()) {
		routes.Handle(path, s.provider.MetadataHandler(s.endpoints))
	}
	routes.HandleFunc("GET /authorize", s.authorize)
	routes.Handle("POST /sign-in", http.NewCrossOriginProtection().Handler(http.HandlerFunc(s.signIn)))
	routes.HandleFunc("POST /token", s.token)
	routes.HandleFunc("POST /introspect", s.introspect)
	return routes
}

// endpoints are the members of the metadata that the package can't know (RFC 8414, section 2).
func (s *authorizationServer) endpoints(context.Context) map[string]any {
	return map[string]any{
		"authorization_endpoint": s.issuer + "/authorize",
		"token_endpoint":         s.issuer + "/token",
		"introspection_endpoint": s.issuer + "/introspect",
	}
}

// token is the token endpoint.
func (s *authorizationServer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

// introspect is where the MCP server asks what a token is good for (RFC 7662).
func (s *authorizationServer) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := s.provider.NewIntrospectionRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	s.provider.WriteIntrospectionResponse(ctx, w, response)
}
