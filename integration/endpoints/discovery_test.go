package endpoints_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// compositions are providers that differ in what they can do. Everybody who registers
// with them is known, since a document describes the server and not a registrant.
func compositions() map[string]func(*dcrtest.Setup) {
	factories := func(list ...compose.Factory) func(*dcrtest.Setup) {
		return func(setup *dcrtest.Setup) { setup.Factories = list }
	}
	config := func(change func(*fosite.Config)) func(*dcrtest.Setup) {
		return func(setup *dcrtest.Setup) { setup.Fosite = change }
	}
	return map[string]func(*dcrtest.Setup){
		"ordinary":      func(*dcrtest.Setup) {},
		"jwt":           func(setup *dcrtest.Setup) { setup.JWT = true },
		"everything":    dcrtest.WithImplicit,
		"only_oauth":    dcrtest.WithoutOpenID,
		"only_implicit": factories(compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectImplicitFactory, compose.OAuth2TokenIntrospectionFactory),
		"only_services": factories(compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2TokenIntrospectionFactory),
		"no_token_url":  config(func(c *fosite.Config) { c.TokenURL = "" }),
		"plain_pkce":    config(func(c *fosite.Config) { c.EnablePKCEPlainChallengeMethod = true }),
		"confidential": dcrtest.Both(factories(compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory),
			dcrtest.Configured(func(cfg *dcr.Config) {
				cfg.Metadata.TokenEndpointAuthMethods = list{"client_secret_basic", "private_key_jwt"}
			})),
		"public": dcrtest.Configured(func(cfg *dcr.Config) {
			cfg.Metadata.TokenEndpointAuthMethods, cfg.Metadata.DefaultTokenEndpointAuthMethod = list{"none"}, "none"
		}),
		"grants_of_the_host": dcrtest.Both(func(setup *dcrtest.Setup) {
			setup.Factories = dcrtest.DefaultsAnd(dcrtest.HandlesGrants(grantUniverse[3:]...))
		},
			dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.GrantTypes = list{"urn:example:own"} })),
		"response_mode_of_the_host": config(func(c *fosite.Config) { c.ResponseModeHandlerExtension = &dcrtest.WebMessages{} }),
		"hierarchic_scopes":         dcrtest.WithScopes(fosite.HierarchicScopeStrategy, "openid", "photos.read", "photos.write"),
		"no_scopes":                 dcrtest.Configured(func(cfg *dcr.Config) { cfg.Scopes = list{} }),
		"strict":                    dcrtest.Strict,
	}
}

// grantUniverse are the grant types that anybody knows.
var grantUniverse = []string{
	"authorization_code", "refresh_token", "client_credentials", "implicit", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer",
	"urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
	"urn:openid:params:grant-type:ciba", "urn:example:own", "urn:ietf:params:oauth:grant-type:uma-ticket",
}

// advertised is a list of the document and the member in which its values are
// registered.
type advertised struct {
	list, member string
	// universe are values that a server may have.
	universe []string
	// body is a registration that wants the value, among what goes with it.
	body func(t *testing.T, value string, document map[string]any) members
}

// plural is a registration with the value in a list.
func plural(name string) func(*testing.T, string, map[string]any) members {
	return func(_ *testing.T, value string, _ map[string]any) members { return members{name: list{value}} }
}

var advertisedLists = []advertised{
	{"scopes_supported", "scope", []string{"openid", "profile", "email", "offline_access", "admin", "photos", "photos.read", "photos.write", "*", "dcr:register", "dcr:manage"},
		func(_ *testing.T, value string, _ map[string]any) members { return members{"scope": value} }},
	{"grant_types_supported", "grant_types", grantUniverse, func(_ *testing.T, value string, document map[string]any) members {
		grants := list{value}
		if value == "refresh_token" && has(document, "grant_types_supported", "authorization_code") {
			grants = list{"authorization_code", value}
		}
		body := members{"grant_types": grants}
		if value == "implicit" {
			body["response_types"] = list{"token"}
		}
		return body
	}},
	{"response_types_supported", "response_types", []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token", "none"},
		func(_ *testing.T, value string, _ map[string]any) members {
			var grants []string
			if strings.Contains(value, "code") {
				grants = append(grants, "authorization_code")
			}
			if strings.Contains(value, "token") {
				grants = append(grants, "implicit")
			}
			if grants == nil {
				grants = list{"authorization_code"}
			}
			return members{"response_types": list{value}, "grant_types": grants}
		}},
	{"response_modes_supported", "response_modes", []string{"query", "fragment", "form_post", "web_message", "jwt", "query.jwt"}, plural("response_modes")},
	{"token_endpoint_auth_methods_supported", "token_endpoint_auth_method",
		[]string{"none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"},
		func(t *testing.T, value string, _ map[string]any) members {
			body := members{"token_endpoint_auth_method": value}
			if value == "private_key_jwt" {
				body["jwks"] = members{"keys": []any{dcrtest.ECJWK(t, "ec")}}
			}
			return body
		}},
	{"token_endpoint_auth_signing_alg_values_supported", "token_endpoint_auth_signing_alg",
		[]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "ES256K", "HS256", "none"},
		func(_ *testing.T, value string, _ map[string]any) members {
			return members{"token_endpoint_auth_signing_alg": value, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example/jwks"}
		}},
}

// has reports whether a list of the document has a value.
func has(document map[string]any, list, value string) bool {
	values, _ := document[list].([]any)
	return slices.Contains(values, any(value))
}

// fitting is a registration that the server takes, whatever its grants are.
func fitting(body members, document map[string]any) members {
	base := dcrtest.Registration(nil)
	if !has(document, "grant_types_supported", "authorization_code") && body["grant_types"] == nil {
		base["grant_types"], base["response_types"] = list{"implicit"}, list{"token"}
		if !has(document, "grant_types_supported", "implicit") {
			base["grant_types"], base["response_types"] = list{"client_credentials"}, list{}
		}
	}
	return dcrtest.With(base, body)
}

// registeredIn reports whether an answer has the value.
func registeredIn(answer dcrtest.Answer, name, value string) bool {
	if text, ok := answer.Members[name].(string); ok {
		return text == value || name == "scope" && slices.Contains(strings.Fields(text), value)
	}
	return has(answer.Members, name, value)
}

func TestAdvertisedIsAccepted(t *testing.T) {
	t.Parallel()
	for name, change := range compositions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := dcrtest.Setup{}
			dcrtest.Vouched(&setup)
			change(&setup)
			s := dcrtest.Start(t, setup)
			document := s.Do(t, http.MethodGet, "/.well-known/oauth-authorization-server", nil).Members
			for _, row := range advertisedLists {
				t.Run("8414-02/"+row.list, func(t *testing.T) {
					t.Parallel()
					require.Contains(t, slices.Concat(slices.Collect(maps.Keys(document)), list{"scopes_supported", "response_types_supported",
						"token_endpoint_auth_signing_alg_values_supported"}), row.list, "only what may be empty may be missing")
					requireAgreement(t, s, row, document)
				})
			}
		})
	}
}

// requireAgreement registers each value that there is.
func requireAgreement(t *testing.T, s *dcrtest.Server, row advertised, document map[string]any) {
	t.Helper()
	values := slices.Clone(row.universe)
	advertises, _ := document[row.list].([]any)
	for _, value := range advertises {
		require.IsType(t, "", value)
		if !slices.Contains(values, value.(string)) {
			values = append(values, value.(string))
		}
	}
	for _, value := range values {
		answer := s.Post(t, fitting(row.body(t, value, document), document))
		if has(document, row.list, value) {
			require.Equal(t, http.StatusCreated, answer.Status, "%s is advertised: %s", value, answer.Body)
			require.True(t, registeredIn(answer, row.member, value), "%s is advertised: %s", value, answer.Body)
			continue
		}
		if answer.Status == http.StatusCreated {
			require.False(t, registeredIn(answer, row.member, value), "%s is not advertised: %s", value, answer.Body)
			continue
		}
		dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, dcrtest.BadMetadata)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	for name, change := range compositions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := dcrtest.Setup{}
			dcrtest.Vouched(&setup)
			change(&setup)
			s := dcrtest.Start(t, setup)
			document, ok := dcrtest.ViaJSON(t, s.Provider.Metadata(context.Background())).(map[string]any)
			require.True(t, ok)
			t.Run("8414-01/endpoint", func(t *testing.T) {
				require.Equal(t, s.URL, document["issuer"])
				require.Equal(t, s.URL+"/register", document["registration_endpoint"])
			})
			t.Run("8414-02/no_empty_lists", func(t *testing.T) {
				for name, value := range document {
					if values, isList := value.([]any); isList {
						require.NotEmpty(t, values, name)
						require.Len(t, slices.Compact(slices.Clone(values)), len(values), name)
					}
				}
			})
			t.Run("8414-03", func(t *testing.T) { requireAlgorithms(t, document) })
			t.Run("MCP-01", func(t *testing.T) {
				code := has(document, "response_types_supported", "code")
				require.Equal(t, code && name != "confidential", has(document, "code_challenge_methods_supported", "S256"))
			})
			t.Run("MCP-03", func(t *testing.T) {
				answer := s.Post(t, fitting(members{"token_endpoint_auth_method": "none"}, document))
				public := answer.Status == http.StatusCreated && answer.Text("token_endpoint_auth_method") == "none"
				require.Equal(t, public, has(document, "token_endpoint_auth_methods_supported", "none"), answer.Body)
			})
			t.Run("9207-01", func(t *testing.T) {
				require.Equal(t, true, document["authorization_response_iss_parameter_supported"])
			})
		})
	}
}

// requireAlgorithms: where clients sign assertions the document says how, and what it
// says is true.
func requireAlgorithms(t *testing.T, document map[string]any) {
	t.Helper()
	for _, endpoint := range []string{"token", "introspection", "revocation"} {
		const suffix = "_endpoint_auth_signing_alg_values_supported"
		_, offered := document[endpoint+"_endpoint_auth_methods_supported"]
		require.True(t, offered || endpoint != "token")
		if !offered || !has(document, "token_endpoint_auth_methods_supported", "private_key_jwt") {
			require.NotContains(t, document, endpoint+suffix)
			continue
		}
		for _, alg := range []string{"RS256", "PS256", "ES256"} {
			require.True(t, has(document, endpoint+suffix, alg), alg)
		}
		for _, alg := range []string{"none", "EdDSA", "HS256"} {
			require.False(t, has(document, endpoint+suffix, alg), alg)
		}
	}
	require.False(t, has(document, "introspection_endpoint_auth_methods_supported", "none"), "a public client introspects nothing")
	for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt"} {
		if _, offered := document["introspection_endpoint_auth_methods_supported"]; !offered {
			break
		}
		require.Equal(t, has(document, "token_endpoint_auth_methods_supported", method),
			has(document, "introspection_endpoint_auth_methods_supported", method), method)
	}
}

func TestChallengeMethods(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{"ordinary": {"S256"}, "plain_pkce": {"S256", "plain"}} {
		t.Run("8414-02/MCP-01/"+name, func(t *testing.T) {
			t.Parallel()
			setup := dcrtest.Setup{}
			compositions()[name](&setup)
			s := dcrtest.Start(t, setup)
			require.Equal(t, any(want), s.Provider.Metadata(context.Background())["code_challenge_methods_supported"])
			client := s.Register(t, dcrtest.PlainRegistration)
			for _, method := range []string{"S256", "plain", "none"} {
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge_method", method)
				location := s.Authorize(t, query).Location(t)
				require.Equal(t, slices.Contains(want, method), location.Query().Get("code") != "", location.String())
			}
		})
	}
}

func TestIssuerAsAdvertised(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, dcrtest.PlainRegistration)
	for name, edits := range map[string][]dcrtest.Edit{"allowed": nil, "denied": {dcrtest.Header(dcrtest.HeaderDeny, "yes")}} {
		t.Run("9207-01/"+name, func(t *testing.T) {
			t.Parallel()
			location := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI), edits...).Location(t)
			require.Equal(t, s.URL, location.Query().Get("iss"), location.String())
			require.Equal(t, name == "denied", location.Query().Get("error") == "access_denied")
		})
	}
}

func TestMetadataIsTheCallers(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	before := dcrtest.ViaJSON(t, s.Provider.Metadata(context.Background()))
	t.Run("8414-01/copied", func(t *testing.T) {
		t.Parallel()
		document := s.Provider.Metadata(context.Background())
		for _, value := range document {
			if values, ok := value.([]string); ok {
				values[0] = "changed"
			}
		}
		clear(document)
		require.Equal(t, before, dcrtest.ViaJSON(t, s.Provider.Metadata(context.Background())))
	})
}

func TestMetadataHandler(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	own := func(context.Context) map[string]any {
		return map[string]any{"authorization_endpoint": "https://as.example/auth", "scopes_supported": list{"openid", "own"}}
	}
	s.Extra.Handle("/own", s.Provider.MetadataHandler(own))
	s.Extra.Handle("/nothing", s.Provider.MetadataHandler(nil))
	t.Run("8414-01/merged", func(t *testing.T) {
		t.Parallel()
		answer := s.Do(t, http.MethodGet, "/own", nil)
		require.Equal(t, http.StatusOK, answer.Status)
		require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
		want, ok := dcrtest.ViaJSON(t, s.Provider.Metadata(context.Background())).(map[string]any)
		require.True(t, ok)
		maps.Copy(want, dcrtest.ViaJSON(t, own(context.Background())).(map[string]any))
		require.Equal(t, want, answer.Members)
	})
	t.Run("8414-01/nothing_of_the_host", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, dcrtest.ViaJSON(t, s.Provider.Metadata(context.Background())), any(s.Do(t, http.MethodGet, "/nothing", nil).Members))
	})
	t.Run("8414-01/methods", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, http.StatusOK, s.Do(t, http.MethodHead, "/own", nil).Status)
		answer := s.Do(t, http.MethodPost, "/own", nil)
		dcrtest.RequireRefusal(t, answer, http.StatusMethodNotAllowed, "invalid_request")
		require.Equal(t, "GET, HEAD", answer.Header.Get("Allow"))
	})
}

// TestEndpointsThatAreNotThere: what is said of an endpoint belongs to a server that has it.
func TestEndpointsThatAreNotThere(t *testing.T) {
	t.Parallel()
	ordinary := dcrtest.Start(t, dcrtest.Setup{}).Provider.Metadata(t.Context())
	bare := dcrtest.Start(t, dcrtest.Setup{Factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory}}).Provider.Metadata(t.Context())
	for _, endpoint := range []string{"revocation", "introspection"} {
		require.Contains(t, ordinary, endpoint+"_endpoint_auth_methods_supported", "8414-03")
		require.NotContains(t, bare, endpoint+"_endpoint_auth_methods_supported")
		require.NotContains(t, bare, endpoint+"_endpoint_auth_signing_alg_values_supported")
	}
}
