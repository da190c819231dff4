package dcr_test

import (
	"slices"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// list is short for what rows hold most.
type list = []string

// members is short for the metadata in a row.
type members = map[string]any

// withImplicit composes everything that issues tokens at the authorization endpoint.
func withImplicit(setup *dcrtest.Setup) {
	setup.Factories = defaultsAnd(compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectImplicitFactory, compose.OpenIDConnectHybridFactory)
}

// defaultsAnd are the default factories and more.
func defaultsAnd(more ...compose.Factory) []compose.Factory {
	return slices.Concat(dcrtest.DefaultFactories, more)
}

// both applies one change after the other.
func both(changes ...func(*dcrtest.Setup)) func(*dcrtest.Setup) {
	return func(setup *dcrtest.Setup) {
		for _, change := range changes {
			change(setup)
		}
	}
}

// configured changes the configuration of the package.
func configured(change func(*dcr.Config)) func(*dcrtest.Setup) {
	return func(setup *dcrtest.Setup) { change(&setup.Config) }
}

func strict(setup *dcrtest.Setup) { setup.Config.RefuseUnsupported = true }

func TestRedirectURIsWhereNeeded(t *testing.T) {
	t.Parallel()
	none := members{"redirect_uris": missing{}}
	with := func(more members) members { more["redirect_uris"] = missing{}; return more }
	runOutcomes(t, both(withImplicit, vouched), []outcome{
		{name: "7591-2-01/default_grant", send: none, code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/empty_list", send: members{"redirect_uris": list{}}, code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/null", send: members{"redirect_uris": nil}, code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/empty_string", send: members{"redirect_uris": list{""}}, code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/code", send: with(members{"grant_types": list{"authorization_code"}}), code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/code_among_others", send: with(members{"grant_types": list{"client_credentials", "authorization_code"}}),
			code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-01/implicit", send: with(members{"grant_types": list{"implicit"}, "response_types": list{"token"}}),
			code: badRedirect, names: list{"redirect_uris"}},
		{name: "7591-2-02/client_credentials", send: with(members{"grant_types": list{"client_credentials"}}),
			back: members{"redirect_uris": missing{}, "grant_types": list{"client_credentials"}}},
		{name: "7591-2-02/client_credentials_empty_list", send: members{"redirect_uris": list{}, "grant_types": list{"client_credentials"}}},
		{name: "7591-2-02/client_credentials_with_redirect", send: members{"grant_types": list{"client_credentials"}},
			back: members{"redirect_uris": list{clientURI}}},
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	public := configured(func(cfg *dcr.Config) { cfg.DefaultTokenEndpointAuthMethod = "none" })
	runOutcomes(t, vouched, []outcome{
		{name: "7591-2-03/omitted", back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{name: "7591-2-03/null", send: members{"token_endpoint_auth_method": nil}, back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{name: "7591-2-03/sent", send: members{"token_endpoint_auth_method": "client_secret_post"}, back: members{"token_endpoint_auth_method": "client_secret_post"}},
		{name: "7591-2-04/omitted", setup: public, back: members{"token_endpoint_auth_method": "none", "client_secret": missing{}}},
		{name: "7591-2-04/sent", setup: public, send: members{"token_endpoint_auth_method": "client_secret_basic"},
			back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{name: "7591-2-05/omit_both", back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{name: "7591-2-05/omit_grant_types", send: members{"response_types": list{"code"}},
			back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{name: "7591-2-05/omit_response_types", send: members{"grant_types": list{"authorization_code", "refresh_token"}},
			back: members{"grant_types": list{"authorization_code", "refresh_token"}, "response_types": list{"code"}}},
		{name: "7591-2-05/no_authorization_endpoint", send: members{"grant_types": list{"client_credentials"}},
			back: members{"grant_types": list{"client_credentials"}, "response_types": list{}}},
		{name: "7591-2-05/no_authorization_endpoint_null", send: members{"grant_types": list{"client_credentials"}, "response_types": nil},
			back: members{"response_types": list{}}},
		{name: "7591-2-05/no_authorization_endpoint_sent", send: members{"grant_types": list{"client_credentials"}, "response_types": list{}},
			back: members{"response_types": list{}}},
		{name: "OIDC-2-01/omitted", back: members{"application_type": "web"}},
		{name: "OIDC-2-01/native", send: members{"application_type": "native"}, back: members{"application_type": "native"}},
		{name: "OIDC-2-01/web", send: members{"application_type": "web"}, back: members{"application_type": "web"}},
		{name: "OIDC-2-01/other", send: members{"application_type": "mobile"}, code: badMetadata, names: list{"application_type"}},
		{name: "OIDC-2-01/case", send: members{"application_type": "Native"}, code: badMetadata, names: list{"application_type"}},
	})
}

func TestGrantAndResponseTypesAgree(t *testing.T) {
	t.Parallel()
	disagree := func(name string, grants, responses any) outcome {
		return outcome{name: "7591-2-06/" + name, send: members{"grant_types": grants, "response_types": responses},
			code: badMetadata, names: list{"grant_types", "response_types"}}
	}
	agree := func(name string, grants, responses any, backGrants, backResponses list) outcome {
		return outcome{name: "7591-2-06/" + name, send: members{"grant_types": grants, "response_types": responses},
			back: members{"grant_types": backGrants, "response_types": backResponses}}
	}
	code, implicit := list{"authorization_code"}, list{"implicit"}
	every := list{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
	runOutcomes(t, both(withImplicit, vouched), []outcome{
		disagree("token_without_implicit", code, list{"token"}),
		disagree("id_token_without_implicit", code, list{"id_token"}),
		disagree("hybrid_without_implicit", code, list{"code id_token"}),
		disagree("hybrid_without_code", implicit, list{"code token"}),
		disagree("code_without_code", implicit, list{"code"}),
		disagree("code_and_token_without_implicit", code, list{"code", "token"}),
		disagree("code_grant_without_response", code, list{}),
		disagree("implicit_grant_without_response", list{"authorization_code", "implicit"}, list{"code"}),
		disagree("code_grant_with_token_only", list{"authorization_code", "implicit"}, list{"token"}),
		disagree("code_for_client_credentials", list{"client_credentials"}, list{"code"}),
		disagree("code_omitted_of_two", list{"authorization_code", "client_credentials"}, list{}),
		agree("code", code, list{"code"}, code, list{"code"}),
		agree("implicit", implicit, list{"token", "id_token", "id_token token"}, implicit, list{"token", "id_token", "id_token token"}),
		agree("hybrid", list{"authorization_code", "implicit"}, list{"code id_token"}, list{"authorization_code", "implicit"}, list{"code id_token"}),
		agree("everything", list{"authorization_code", "implicit"}, every, list{"authorization_code", "implicit"}, every),
		agree("no_grants_every_response", missing{}, every, code, list{"code"}),
		agree("no_grants_code_and_hybrid", missing{}, list{"code id_token", "code"}, code, list{"code"}),
		agree("no_responses_two_grants", list{"authorization_code", "implicit"}, missing{}, code, list{"code"}),
		agree("no_responses_null", list{"authorization_code", "implicit"}, nil, code, list{"code"}),
		agree("repeated_grants", list{"authorization_code", "refresh_token", "authorization_code"}, list{"code"},
			list{"authorization_code", "refresh_token"}, list{"code"}),
		agree("repeated_responses", code, list{"code", "code"}, code, list{"code"}),
		{name: "7591-2-06/no_grants_token_only", send: members{"response_types": list{"token"}}, code: badMetadata, names: list{"response_types"}},
		{name: "7591-2-06/no_grants_empty_responses", send: members{"response_types": list{}}, code: badMetadata, names: list{"response_types"}},
		{name: "7591-2-06/empty_grants", send: members{"grant_types": list{}}, code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-06/empty_grants_and_responses", send: members{"grant_types": list{}, "response_types": list{}}, code: badMetadata, names: list{"grant_types"}},
	})
}

func TestGrantTypes(t *testing.T) {
	t.Parallel()
	three := list{"authorization_code", "refresh_token", "client_credentials"}
	device := "urn:ietf:params:oauth:grant-type:device_code"
	runOutcomes(t, vouched, []outcome{
		{name: "7591-2-07/three", send: members{"grant_types": three}, back: members{"grant_types": three, "response_types": list{"code"}}},
		{name: "7591-2-08/alone", send: members{"grant_types": list{"refresh_token"}, "response_types": list{}}, code: badMetadata, names: list{"grant_types", "refresh_token"}},
		{name: "7591-2-08/with_one_that_yields_none", send: members{"grant_types": list{"client_credentials", "refresh_token"}},
			code: badMetadata, names: list{"grant_types", "refresh_token"}},
		{name: "7591-2-08/with_code", send: members{"grant_types": list{"refresh_token", "authorization_code"}},
			back: members{"grant_types": list{"refresh_token", "authorization_code"}}},
		{name: "7591-2-08/its_grant_left_out", send: members{"grant_types": list{device, "refresh_token"}, "response_types": list{}},
			code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-08/RefuseUnsupported", setup: strict, send: members{"grant_types": list{"refresh_token"}, "response_types": list{}},
			code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-20/COMP-06/device_left_out", send: members{"grant_types": list{"authorization_code", device}},
			back: members{"grant_types": list{"authorization_code"}}},
		{name: "7591-2-20/unknown_left_out", send: members{"grant_types": list{"authorization_code", "urn:example:root", "password", "implicit"}, "response_types": list{"code"}},
			back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{name: "7591-2-20/none_remains", send: members{"grant_types": list{device, "password"}, "response_types": list{}}, code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-20/case", send: members{"grant_types": list{"Authorization_Code"}}, code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-20/empty_string", send: members{"grant_types": list{"", "authorization_code"}}, back: members{"grant_types": list{"authorization_code"}}},
		{name: "7591-2-20/RefuseUnsupported/device", setup: strict, send: members{"grant_types": list{"authorization_code", device}},
			code: badMetadata, names: list{"grant_types"}},
		{name: "7591-2-20/RefuseUnsupported/default", setup: strict, back: members{"grant_types": list{"authorization_code"}}},
		{name: "7591-2-20/response_left_out", send: members{"response_types": list{"code", "token"}}, back: members{"response_types": list{"code"}}},
		{name: "7591-2-20/response_none_remains", send: members{"response_types": list{"token", "id_token"}}, code: badMetadata, names: list{"response_types"}},
		{name: "7591-2-20/response_unknown", send: members{"grant_types": list{"authorization_code"}, "response_types": list{"code", "root_token"}},
			back: members{"response_types": list{"code"}}},
		{name: "7591-2-20/RefuseUnsupported/response", setup: strict, send: members{"response_types": list{"code", "token"}}, code: badMetadata, names: list{"response_types"}},
		{name: "GRANT-02/both", send: members{"token_endpoint_auth_method": "none", "grant_types": list{"client_credentials"}},
			code: badMetadata, names: list{"token_endpoint_auth_method", "grant_types"}},
		{name: "GRANT-02/among_others", send: members{"token_endpoint_auth_method": "none", "grant_types": three},
			code: badMetadata, names: list{"token_endpoint_auth_method", "grant_types"}},
		{name: "GRANT-02/by_default", setup: configured(func(cfg *dcr.Config) { cfg.DefaultTokenEndpointAuthMethod = "none" }),
			send: members{"grant_types": list{"client_credentials"}}, code: badMetadata, names: list{"token_endpoint_auth_method", "grant_types"}},
	})
}

func TestGrantsOfAnonymousRegistrants(t *testing.T) {
	t.Parallel()
	device := "urn:ietf:params:oauth:grant-type:device_code"
	more := list{device, "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:openid:params:grant-type:ciba", "password"}
	all := append(list{"authorization_code", "refresh_token", "client_credentials"}, more...)
	handled := func(setup *dcrtest.Setup) {
		setup.Factories = defaultsAnd(handlesGrants(more...))
	}
	named := both(handled, configured(func(cfg *dcr.Config) { cfg.AnonymousGrantTypes = list{"client_credentials"} }))
	runOutcomes(t, handled, []outcome{
		{name: "GRANT-01/T56/client_credentials", send: members{"grant_types": list{"client_credentials"}}, code: badMetadata, names: list{"grant_types"}},
		{name: "GRANT-01/T56/left_out", send: members{"grant_types": list{"authorization_code", "client_credentials"}}, back: members{"grant_types": list{"authorization_code"}}},
		{name: "GRANT-01/T56/user_takes_part", send: members{"grant_types": list{"authorization_code", "refresh_token", device}},
			back: members{"grant_types": list{"authorization_code", "refresh_token", device}}},
		{name: "GRANT-01/T56/device_alone", send: members{"grant_types": list{device}, "redirect_uris": missing{}},
			back: members{"grant_types": list{device}, "response_types": list{}}},
		{name: "GRANT-01/T56/no_user", send: members{"grant_types": list{"password", more[1], more[2]}, "response_types": list{}}, code: badMetadata, names: list{"grant_types"}},
		{name: "GRANT-01/implicit_left_out", setup: withImplicit, send: members{"grant_types": list{"authorization_code", "implicit"}}, back: members{"grant_types": list{"authorization_code"}}},
		{name: "GRANT-01/RefuseUnsupported", setup: strict, send: members{"grant_types": list{"authorization_code", "client_credentials"}}, code: badMetadata, names: list{"grant_types"}},
		{name: "GRANT-01/named", setup: named, send: members{"grant_types": list{"client_credentials"}}, back: members{"grant_types": list{"client_credentials"}}},
		{name: "GRANT-01/named_no_other", setup: named, send: members{"grant_types": list{"client_credentials", "password"}}, back: members{"grant_types": list{"client_credentials"}}},
		{name: "GRANT-01/COMP-06/vouched", setup: both(handled, vouched), send: members{"grant_types": all}, back: members{"grant_types": all}},
		{name: "COMP-06/config", setup: both(vouched, configured(func(cfg *dcr.Config) { cfg.GrantTypes = list{"urn:example:own"} })),
			send: members{"grant_types": list{"authorization_code", "urn:example:own"}}, back: members{"grant_types": list{"authorization_code", "urn:example:own"}}},
	})
	runOutcomes(t, vouched, []outcome{
		{name: "COMP-06/without_client_credentials", setup: func(setup *dcrtest.Setup) {
			setup.Factories = []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory}
		}, send: members{"grant_types": all}, back: members{"grant_types": list{"authorization_code"}}},
		{name: "COMP-06/openid_issues_no_codes", setup: func(setup *dcrtest.Setup) {
			setup.Factories = []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory, compose.OpenIDConnectExplicitFactory, compose.OAuth2PKCEFactory}
		}, send: members{"grant_types": list{"authorization_code", "client_credentials"}},
			back: members{"grant_types": list{"client_credentials"}, "response_types": list{}}},
	})
}

func TestAuthenticationMethods(t *testing.T) {
	t.Parallel()
	method := func(name string) members { return members{"token_endpoint_auth_method": name} }
	noTokenURL := func(setup *dcrtest.Setup) { setup.Fosite = func(config *fosite.Config) { config.TokenURL = "" } }
	keyed := members{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example/jwks"}
	runOutcomes(t, nil, []outcome{
		{name: "7591-2-20/method_tls", send: method("tls_client_auth"), code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/method_self_signed_tls", send: method("self_signed_tls_client_auth"), code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/method_unknown", send: method("magic_link"), code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/method_case", send: method("NONE"), code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/method_not_of_the_host", setup: configured(func(cfg *dcr.Config) { cfg.TokenEndpointAuthMethods = list{"client_secret_basic"} }),
			send: method("none"), code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/method_of_the_host", setup: configured(func(cfg *dcr.Config) { cfg.TokenEndpointAuthMethods = list{"client_secret_basic", "urn:example:own"} }),
			send: method("urn:example:own"), back: members{"token_endpoint_auth_method": "urn:example:own", "client_secret": missing{}}},
		{name: "7591-2-20/private_key_jwt_without_token_url", setup: noTokenURL, send: keyed, code: badMetadata, names: list{"token_endpoint_auth_method"}},
		{name: "7591-2-20/private_key_jwt", send: keyed, back: keyed},
		{name: "7591-2-21", send: method("client_secret_jwt"), code: badMetadata, names: list{"token_endpoint_auth_method", "client_secret_jwt", "hashed"}},
	})
}
