package capability_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

type list = []string

func newSession() fosite.Session { return openid.NewDefaultSession() }

// composed is a provider with an own configuration, and the strategy that signs its ID tokens.
func composed(t *testing.T, change func(*fosite.Config), factories ...compose.Factory) (*fosite.Config, openid.OpenIDConnectTokenStrategy) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	config := &fosite.Config{
		GlobalSecret: make([]byte, 32), IDTokenIssuer: "https://as.example", AccessTokenIssuer: "https://as.example", TokenURL: "https://as.example/token",
	}
	if change != nil {
		change(config)
	}
	getKey := func(context.Context) (any, error) { return key, nil }
	strategy := &compose.CommonStrategy{
		CoreStrategy:               compose.NewOAuth2HMACStrategy(config),
		OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(getKey, config),
		Signer:                     &jwt.DefaultSigner{GetPrivateKey: getKey},
	}
	compose.Compose(config, storage.NewMemoryStore(), strategy, factories...)
	return config, strategy
}

// grantHandler is a handler of the application for grant types of its own.
type grantHandler struct{ grants list }

func (h *grantHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (h *grantHandler) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetSession() != nil && slices.ContainsFunc(h.grants, r.GetGrantTypes().ExactOne)
}

func (h *grantHandler) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

func (h *grantHandler) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}

func handlesGrants(grants ...string) compose.Factory {
	return func(fosite.Configurator, any, any) any { return &grantHandler{grants} }
}

// ourHandler introspects and revokes, as the handler of the module does.
type ourHandler struct{}

func (ourHandler) IntrospectToken(context.Context, string, fosite.TokenUse, fosite.AccessRequester, []string) (fosite.TokenUse, error) {
	return "", fosite.ErrUnknownRequest
}

func (ourHandler) RevokeToken(context.Context, string, fosite.TokenType, fosite.Client) error {
	return fosite.ErrUnknownRequest
}

func isOurs(h any) bool {
	_, ok := h.(ourHandler)
	return ok
}

func ours(fosite.Configurator, any, any) any { return ourHandler{} }

// webMessage is an extension with a response mode of its own.
type webMessage struct{ fosite.ResponseModeHandler }

func (webMessage) ResponseModes() fosite.ResponseModeTypes {
	return fosite.ResponseModeTypes{"web_message"}
}

// fositeModes are the response modes of every fosite.
func fositeModes(more ...fosite.ResponseModeType) []fosite.ResponseModeType {
	return append([]fosite.ResponseModeType{"query", "fragment", "form_post"}, more...)
}

type probeRow struct {
	factories []compose.Factory
	change    func(*fosite.Config)
	options   capability.Options
	want      capability.Set
}

var allMethods = list{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}

var ordinary = []compose.Factory{
	compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2RefreshTokenGrantFactory,
	compose.OpenIDConnectExplicitFactory, compose.OpenIDConnectRefreshFactory, compose.OAuth2TokenIntrospectionFactory,
	compose.OAuth2TokenRevocationFactory, compose.OAuth2PKCEFactory, compose.PushedAuthorizeHandlerFactory, ours,
}

var everything = append(slices.Clone(ordinary), compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectImplicitFactory,
	compose.OpenIDConnectHybridFactory,
	compose.OAuth2ResourceOwnerPasswordCredentialsFactory, //lint:ignore SA1019 servers that still compose it are probed, too
	compose.RFC7523AssertionGrantFactory)

// factoryRows are rows about what the composed factories yield.
var factoryRows = map[string]probeRow{
	"nothing": {want: capability.Set{
		AuthMethods: list{"client_secret_basic", "client_secret_post", "private_key_jwt"}, ResponseModes: fositeModes(),
	}},
	"ordinary": {factories: ordinary, options: capability.Options{Scopes: list{"openid", "offline_access"}}, want: capability.Set{
		GrantTypes: list{"authorization_code", "refresh_token", "client_credentials"}, ResponseTypes: list{"code"}, AuthMethods: allMethods,
		ResponseModes: fositeModes(), IDTokenAlgorithm: "ES256", PKCE: true, PAR: true, OpenID: true, Introspection: true, Revocation: true,
	}},
	"everything": {factories: everything, options: capability.Options{Scopes: list{"offline"}}, want: capability.Set{
		GrantTypes: list{"authorization_code", "implicit", "refresh_token", "client_credentials", "password", capability.GrantJWTBearer},
		ResponseTypes: list{"code", "token", "id_token", "id_token token",
			"code id_token", "code token", "code id_token token"},
		AuthMethods: allMethods, ResponseModes: fositeModes(), IDTokenAlgorithm: "ES256",
		PKCE: true, PAR: true, OpenID: true, Introspection: true, Revocation: true,
	}},
	"only_oauth": {factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory}, want: capability.Set{
		GrantTypes: list{"authorization_code"}, ResponseTypes: list{"code"}, AuthMethods: allMethods, ResponseModes: fositeModes(), PKCE: true,
	}},
	"only_implicit": {factories: []compose.Factory{compose.OAuth2AuthorizeImplicitFactory, compose.OAuth2StatelessJWTIntrospectionFactory}, want: capability.Set{
		GrantTypes: list{"implicit"}, ResponseTypes: list{"token"}, AuthMethods: allMethods, ResponseModes: fositeModes(), Introspection: true,
	}},
	"only_services": {factories: []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory}, want: capability.Set{
		GrantTypes: list{"client_credentials"}, AuthMethods: allMethods[1:], ResponseModes: fositeModes(),
	}},
	"PKCE_and_OpenID_issue_no_codes": {factories: []compose.Factory{compose.OpenIDConnectExplicitFactory, compose.OAuth2PKCEFactory}, want: capability.Set{
		AuthMethods: allMethods[1:], ResponseModes: fositeModes(), IDTokenAlgorithm: "ES256", PKCE: true, OpenID: true,
	}},
	"only_ours": {factories: []compose.Factory{ours}, want: capability.Set{AuthMethods: allMethods[1:], ResponseModes: fositeModes()}},
	"handlers_of_the_application": {
		factories: []compose.Factory{handlesGrants(capability.GrantDeviceCode, capability.GrantTokenExchange, capability.GrantCIBA, "urn:example:own")},
		want: capability.Set{
			GrantTypes:  list{capability.GrantDeviceCode, capability.GrantTokenExchange, capability.GrantCIBA},
			AuthMethods: allMethods, ResponseModes: fositeModes(),
		},
	},
}

// optionRows are rows about configuration.
var optionRows = map[string]probeRow{
	"no_refresh_token_scope": {factories: ordinary, options: capability.Options{Scopes: list{"openid"}}, want: capability.Set{
		GrantTypes: list{"authorization_code", "client_credentials"}, ResponseTypes: list{"code"}, AuthMethods: allMethods,
		ResponseModes: fositeModes(), IDTokenAlgorithm: "ES256", PKCE: true, PAR: true, OpenID: true, Introspection: true, Revocation: true,
	}},
	"refresh_tokens_for_all": {
		factories: []compose.Factory{compose.OAuth2RefreshTokenGrantFactory}, change: func(c *fosite.Config) { c.RefreshTokenScopes = list{} },
		want: capability.Set{GrantTypes: list{"refresh_token"}, AuthMethods: allMethods[1:], ResponseModes: fositeModes()},
	},
	"more_types": {
		factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory},
		options:   capability.Options{GrantTypes: list{"urn:example:own", "authorization_code"}, ResponseTypes: list{"none", "code"}},
		want: capability.Set{
			GrantTypes: list{"authorization_code", "urn:example:own"}, ResponseTypes: list{"code", "none"}, AuthMethods: allMethods, ResponseModes: fositeModes(),
		},
	},
	"implicit_by_configuration": {options: capability.Options{ResponseTypes: list{"id_token"}}, want: capability.Set{
		GrantTypes: list{"implicit"}, ResponseTypes: list{"id_token"}, AuthMethods: allMethods, ResponseModes: fositeModes(),
	}},
	"no_token_url": {
		factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory}, change: func(c *fosite.Config) { c.TokenURL = "" },
		want: capability.Set{GrantTypes: list{"authorization_code"}, ResponseTypes: list{"code"}, AuthMethods: allMethods[:3], ResponseModes: fositeModes()},
	},
	"methods_by_configuration": {
		factories: []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory}, options: capability.Options{AuthMethods: list{"tls_client_auth", "none"}},
		want: capability.Set{GrantTypes: list{"client_credentials"}, AuthMethods: list{"tls_client_auth", "none"}, ResponseModes: fositeModes()},
	},
	"public_clients_only": {
		factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2ClientCredentialsGrantFactory},
		options:   capability.Options{AuthMethods: list{"none"}, GrantTypes: list{"client_credentials"}},
		want:      capability.Set{GrantTypes: list{"authorization_code"}, ResponseTypes: list{"code"}, AuthMethods: list{"none"}, ResponseModes: fositeModes()},
	},
	"no_methods": {
		factories: []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory}, options: capability.Options{AuthMethods: list{}},
		want: capability.Set{GrantTypes: list{}, AuthMethods: list{}, ResponseModes: fositeModes()},
	},
	"response_mode": {
		change: func(c *fosite.Config) { c.ResponseModeHandlerExtension = webMessage{} },
		want:   capability.Set{AuthMethods: allMethods[1:], ResponseModes: fositeModes("web_message")},
	},
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for _, rows := range []map[string]probeRow{factoryRows, optionRows} {
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config, idTokens := composed(t, row.change, row.factories...)
				row.options.NewSession, row.options.IDTokens, row.options.Ours = newSession, idTokens, isOurs
				require.Equal(t, row.want, capability.Probe(t.Context(), config, row.options))
			})
		}
	}
}

func TestProbeCopiesItsLists(t *testing.T) {
	t.Parallel()
	config, _ := composed(t, nil)
	o := capability.Options{NewSession: newSession, GrantTypes: list{"urn:a", "urn:b"}, ResponseTypes: list{"a"}, AuthMethods: list{"none"}}
	found := capability.Probe(t.Context(), config, o)
	found.GrantTypes[0], found.ResponseTypes[0], found.AuthMethods[0] = "x", "x", "x"
	require.Equal(t, list{"urn:a", "urn:b"}, o.GrantTypes)
	require.Equal(t, list{"a"}, o.ResponseTypes)
	require.Equal(t, list{"none"}, o.AuthMethods)
}

func TestProbeCountsAllWithoutOurs(t *testing.T) {
	t.Parallel()
	config, _ := composed(t, nil, ours)
	found := capability.Probe(t.Context(), config, capability.Options{NewSession: newSession})
	require.True(t, found.Introspection)
	require.True(t, found.Revocation)
}

// signer makes what it is told to, in place of ID tokens.
type signer struct {
	token string
	err   error
}

func (s signer) GenerateIDToken(context.Context, time.Duration, fosite.Requester) (string, error) {
	return s.token, s.err
}

func TestIDTokenAlgorithm(t *testing.T) {
	t.Parallel()
	for name, idTokens := range map[string]openid.OpenIDConnectTokenStrategy{
		"none": nil, "fails": signer{err: errors.New("no key")}, "empty": signer{}, "no_jwt": signer{token: "opaque"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, _ := composed(t, nil, compose.OpenIDConnectExplicitFactory)
			found := capability.Probe(t.Context(), config, capability.Options{NewSession: newSession, IDTokens: idTokens})
			require.True(t, found.OpenID)
			require.Empty(t, found.IDTokenAlgorithm)
		})
	}
}

func TestHandles(t *testing.T) {
	t.Parallel()
	config, _ := composed(t, nil, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory, handlesGrants("urn:example:own"))
	for grant, want := range map[string]bool{
		"refresh_token": true, "authorization_code": true, "urn:example:own": true, "client_credentials": false, "": false, "refresh_token x": false,
	} {
		require.Equal(t, want, capability.Handles(t.Context(), config, newSession, grant), grant)
	}
}

// TestPerRequest: a change at run time shows, as it does in fosite.
func TestPerRequest(t *testing.T) {
	t.Parallel()
	config, _ := composed(t, nil, compose.OAuth2PKCEFactory)
	found := capability.Probe(t.Context(), config, capability.Options{NewSession: newSession})
	require.Equal(t, list{"https://as.example/token"}, capability.TokenURLs(t.Context(), config))
	require.Equal(t, list{"S256"}, found.ChallengeMethods(t.Context(), config))

	config.TokenURL, config.EnablePKCEPlainChallengeMethod = "", true
	require.Empty(t, capability.TokenURLs(t.Context(), config))
	require.Equal(t, list{"S256", "plain"}, found.ChallengeMethods(t.Context(), config))
	require.Nil(t, (&capability.Set{}).ChallengeMethods(t.Context(), config), "nothing checks PKCE")
}

func TestResponseType(t *testing.T) {
	t.Parallel()
	s := capability.Set{ResponseTypes: list{"code", "id_token token", "code id_token token"}}
	for asked, want := range map[string]string{
		"code": "code", "id_token token": "id_token token", "token id_token": "id_token token", "token code id_token": "code id_token token",
		"token": "", "id_token": "", "": "", "code code": "", "code ": "", " code": "", "Code": "", "id_token  token": "",
	} {
		require.Equal(t, want, s.ResponseType(asked), "%q", asked)
	}
}

func TestModeNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, list{"query", "form_post"}, capability.ModeNames([]fosite.ResponseModeType{fosite.ResponseModeQuery, fosite.ResponseModeFormPost}))
	require.Equal(t, list{}, capability.ModeNames(nil))
}

var (
	_ fosite.TokenEndpointHandler = (*grantHandler)(nil)
	_ fosite.RevocationHandler    = ourHandler{}
	_ fosite.TokenIntrospector    = ourHandler{}
)
