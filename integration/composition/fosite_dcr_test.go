// Package composition_test shows what Extend says about a composition that is wrong.
package composition_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestExtendSaysWhatIsWrong: each row is a mistake of composition, and the words that
// tell what to do about it. All of it comes at once, before a user's first request.
func TestExtendSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of thirty-two bytes, or more")
	sound := func() *fosite.Config {
		return &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: secret, TokenURL: "https://as.example/token"}
	}
	usual := []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory}
	with := func(cfg dcr.Config) []compose.Factory { return append(usual[:3:3], dcr.NewFactory(cfg)) }

	for name, row := range map[string]struct {
		config    *fosite.Config
		storage   any
		factories []compose.Factory
		says      []string
	}{
		"no_factory":     {factories: usual, says: []string{"add it as the last factory"}},
		"no_issuer":      {config: &fosite.Config{GlobalSecret: secret}, says: []string{"no issuer", "Config.Endpoints.Issuer"}},
		"http_issuer":    {config: &fosite.Config{AccessTokenIssuer: "http://as.example", GlobalSecret: secret}, says: []string{"not an https URL"}},
		"query_issuer":   {config: &fosite.Config{AccessTokenIssuer: "https://as.example?x", GlobalSecret: secret}, says: []string{"query"}},
		"short_secret":   {config: &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("short")}, says: []string{"32 bytes", "GlobalSecret"}},
		"bare_storage":   {storage: onlyFosite{dcr.NewMemoryStore()}, factories: []compose.Factory{dcr.DCRFactory}, says: []string{"CreateClient", "Config.Storage.Clients", "Config.Storage.Tokens"}},
		"twice":          {factories: append(with(dcr.Config{}), dcr.DCRFactory), says: []string{"composed twice"}},
		"not_last":       {factories: append([]compose.Factory{dcr.DCRFactory}, usual...), says: []string{"not the last factory"}},
		"no_introspect":  {factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, dcr.DCRFactory}, says: []string{"OAuth2TokenIntrospectionFactory"}},
		"no_pkce":        {factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, dcr.DCRFactory}, says: []string{"OAuth2PKCEFactory"}},
		"no_grants":      {factories: []compose.Factory{compose.OAuth2TokenIntrospectionFactory, dcr.DCRFactory}, says: []string{"no factory handles a grant type"}},
		"scope_pattern":  {factories: with(dcr.Config{Scopes: []string{"photos.*"}}), says: []string{"photos.*"}},
		"scope_spaces":   {factories: with(dcr.Config{Scopes: []string{"a b"}}), says: []string{"no scope"}},
		"default_scope":  {factories: with(dcr.Config{Scopes: []string{"a"}, Metadata: dcr.Metadata{DefaultScopes: []string{"b"}}}), says: []string{"DefaultScopes"}},
		"own_scope":      {factories: with(dcr.Config{Scopes: []string{"dcr:manage"}}), says: []string{"registration access tokens"}},
		"register_scope": {factories: with(dcr.Config{Scopes: []string{"dcr:register"}}), says: []string{"Registration.AllowScope"}},
		"bad_scheme":     {factories: with(dcr.Config{Metadata: dcr.Metadata{PrivateUseSchemes: []string{"javascript"}}}), says: []string{"PrivateUseSchemes"}},
		"secret_jwt":     {factories: with(dcr.Config{Metadata: dcr.Metadata{TokenEndpointAuthMethods: []string{"client_secret_basic", "client_secret_jwt"}}}), says: []string{"client_secret_jwt"}},
		"default_method": {factories: with(dcr.Config{Metadata: dcr.Metadata{DefaultTokenEndpointAuthMethod: "tls_client_auth"}}), says: []string{"DefaultTokenEndpointAuthMethod"}},
		"supports":       {factories: with(dcr.Config{Metadata: dcr.Metadata{Supports: map[string][]string{"client_name": nil}}}), says: []string{"Config.Metadata.Supports"}},
		"supports_half":  {factories: with(dcr.Config{Metadata: dcr.Metadata{Supports: map[string][]string{"id_token_encrypted_response_alg": nil}}}), says: []string{"id_token_encrypted_response_enc"}},
		"extension":      {factories: with(dcr.Config{Metadata: dcr.Metadata{ExtensionMembers: []string{"client_name"}}}), says: []string{"ExtensionMembers"}},
		"no_session":     {factories: with(dcr.Config{Storage: dcr.Storage{NewSession: func() fosite.Session { return nil }}}), says: []string{"NewSession"}},
		"statements":     {factories: with(dcr.Config{Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{Issuer: "x"}}}}), says: []string{"StatementIssuers"}},
		"path":           {factories: with(dcr.Config{Endpoints: dcr.Endpoints{RegistrationPath: "register/"}}), says: []string{"RegistrationPath"}},
		"negative":       {factories: with(dcr.Config{Secrets: dcr.Secrets{Lifetime: -1}}), says: []string{"below zero"}},
		"several_at_once": {config: &fosite.Config{}, storage: onlyFosite{dcr.NewMemoryStore()}, factories: []compose.Factory{dcr.DCRFactory},
			says: []string{"no issuer", "GlobalSecret", "CreateClient", "OAuth2TokenIntrospectionFactory"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.config == nil {
				row.config = sound()
			}
			if row.storage == nil {
				row.storage = dcr.NewMemoryStore()
			}
			if row.factories == nil {
				row.factories = with(dcr.Config{})
			}
			provider, err := dcr.Extend(compose.Compose(row.config, row.storage, compose.NewOAuth2HMACStrategy(row.config), row.factories...))
			require.Error(t, err)
			require.Nil(t, provider)
			for _, words := range row.says {
				require.ErrorContains(t, err, words)
			}
		})
	}
}

// onlyFosite hides everything but fosite.Storage, as a decorator does.
type onlyFosite struct{ fosite.Storage }

func TestExtendTakesWhatIsSound(t *testing.T) {
	t.Parallel()
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("a secret of thirty-two bytes, or more")}
	composed := compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory, dcr.DCRFactory)
	before := *composed.(*fosite.Fosite)

	provider, err := dcr.Extend(composed)
	require.NoError(t, err)
	require.NotNil(t, provider)
	require.Equal(t, before, *composed.(*fosite.Fosite), "the provider that was given is as it was")

	_, err = dcr.Extend(provider)
	require.ErrorContains(t, err, "already")
}

// TestWithoutExtend: a host that forgets Extend gets errors, not panics (T44).
func TestWithoutExtend(t *testing.T) {
	t.Parallel()
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("a secret of thirty-two bytes, or more")}
	composed := compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2TokenIntrospectionFactory, dcr.DCRFactory)
	_, _, err := composed.IntrospectToken(context.Background(), "token", fosite.AccessToken, new(fosite.DefaultSession))
	require.Error(t, err)
}

// hydraConfig is the configuration of a host that calls the factories itself, keeps the
// handlers in lists of its own, and says by a method what it wants of this package.
type hydraConfig struct {
	*fosite.Config
	authorize  fosite.AuthorizeEndpointHandlers
	token      fosite.TokenEndpointHandlers
	introspect fosite.TokenIntrospectionHandlers
	revoke     fosite.RevocationHandlers
}

func (c *hydraConfig) GetAuthorizeEndpointHandlers(context.Context) fosite.AuthorizeEndpointHandlers {
	return c.authorize
}
func (c *hydraConfig) GetTokenEndpointHandlers(context.Context) fosite.TokenEndpointHandlers {
	return c.token
}
func (c *hydraConfig) GetTokenIntrospectionHandlers(context.Context) fosite.TokenIntrospectionHandlers {
	return c.introspect
}
func (c *hydraConfig) GetRevocationHandlers(context.Context) fosite.RevocationHandlers {
	return c.revoke
}
func (c *hydraConfig) GetDCRConfig(context.Context) *dcr.Config {
	return &dcr.Config{Access: dcr.Open(), Scopes: []string{"profile"}}
}

func (c *hydraConfig) compose(storage, strategy any, factories ...compose.Factory) fosite.OAuth2Provider {
	for _, factory := range factories {
		made := factory(c, storage, strategy)
		if h, ok := made.(fosite.AuthorizeEndpointHandler); ok {
			c.authorize.Append(h)
		}
		if h, ok := made.(fosite.TokenEndpointHandler); ok {
			c.token.Append(h)
		}
		if h, ok := made.(fosite.TokenIntrospector); ok {
			c.introspect.Append(h)
		}
		if h, ok := made.(fosite.RevocationHandler); ok {
			c.revoke.Append(h)
		}
	}
	return fosite.NewOAuth2Provider(storage.(fosite.Storage), c)
}

// TestHostWithItsOwnConfigurator composes the way Ory Hydra does.
func TestHostWithItsOwnConfigurator(t *testing.T) {
	t.Parallel()
	config := &hydraConfig{Config: &fosite.Config{IDTokenIssuer: "https://as.example", GlobalSecret: []byte("a secret of thirty-two bytes, or more")}}
	provider, err := dcr.Extend(config.compose(dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory, dcr.DCRFactory))
	require.NoError(t, err)

	routes := http.NewServeMux()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())
	lifeOfAClient(t, routes)

	_, err = dcr.Extend(config.compose(dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config), dcr.DCRFactory))
	require.ErrorContains(t, err, "composed twice")
}

// TestHostWithDecoratedStorage wraps its storage twice, which hides what the inner one
// can do, names the storages in the configuration, and routes with chi: the way that
// ToolHive does.
func TestHostWithDecoratedStorage(t *testing.T) {
	t.Parallel()
	inner := dcr.NewMemoryStore()
	storage := tokensToo{onlyFosite{inner}, inner}
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("a secret of thirty-two bytes, or more")}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory,
		dcr.NewFactory(dcr.Config{
			Access: dcr.Open(), Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, Scopes: []string{"profile"},
			Storage: dcr.Storage{Clients: inner, Tokens: inner},
		})))
	require.NoError(t, err)

	routes := chi.NewRouter()
	routes.Method(http.MethodPost, "/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())
	lifeOfAClient(t, routes)
}

// tokensToo is a storage of which fosite's factories see access tokens and nothing else.
type tokensToo struct {
	onlyFosite
	accessTokens
}

type accessTokens interface {
	CreateAccessTokenSession(context.Context, string, fosite.Requester) error
	GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error)
	DeleteAccessTokenSession(context.Context, string) error
}

// lifeOfAClient registers, reads, updates and deletes over HTTP.
func lifeOfAClient(t *testing.T, routes http.Handler) {
	t.Helper()
	listener := httptest.NewServer(routes)
	t.Cleanup(listener.Close)
	s := &dcrtest.Server{URL: listener.URL}
	at := func(a dcrtest.Answer) string { return s.URL + "/register/" + a.ID() }

	client := s.Register(t, `{"redirect_uris":["https://client.example/cb"],"grant_types":["authorization_code","client_credentials"]}`)
	require.Equal(t, "https://as.example/register/"+client.ID(), client.URI())
	read := s.Do(t, http.MethodGet, at(client), nil, dcrtest.Bearer(client.Token()))
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	updated := s.Do(t, http.MethodPut, at(client), []byte(`{"client_id":"`+client.ID()+`","redirect_uris":["https://client.example/cb"],"client_name":"New",`+
		`"grant_types":["authorization_code","client_credentials"]}`),
		dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, "New", updated.Text("client_name"))
	require.Equal(t, http.StatusUnauthorized, s.Do(t, http.MethodGet, at(client), nil, dcrtest.Bearer(client.Token())).Status)
	require.Equal(t, http.StatusNoContent, s.Do(t, http.MethodDelete, at(client), nil, dcrtest.Bearer(updated.Token())).Status)
	require.Equal(t, http.StatusUnauthorized, s.Do(t, http.MethodGet, at(client), nil, dcrtest.Bearer(updated.Token())).Status)
}
