// Package metadata_test shows what a client may say, member by member, and what becomes of it.
package metadata_test

import (
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

func TestRedirectURIsWhereNeeded(t *testing.T) {
	t.Parallel()
	none := members{"redirect_uris": dcrtest.Missing{}}
	with := func(more members) members { more["redirect_uris"] = dcrtest.Missing{}; return more }
	dcrtest.RunOutcomes(t, dcrtest.Both(dcrtest.WithImplicit, dcrtest.Vouched), []dcrtest.Outcome{
		{Name: "7591-2-01/default_grant", Send: none, Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/empty_list", Send: members{"redirect_uris": list{}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/null", Send: members{"redirect_uris": nil}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/empty_string", Send: members{"redirect_uris": list{""}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/code", Send: with(members{"grant_types": list{"authorization_code"}}), Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/code_among_others", Send: with(members{"grant_types": list{"client_credentials", "authorization_code"}}),
			Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-01/implicit", Send: with(members{"grant_types": list{"implicit"}, "response_types": list{"token"}}),
			Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-02/client_credentials", Send: with(members{"grant_types": list{"client_credentials"}}),
			Back: members{"redirect_uris": dcrtest.Missing{}, "grant_types": list{"client_credentials"}}},
		{Name: "7591-2-02/client_credentials_empty_list", Send: members{"redirect_uris": list{}, "grant_types": list{"client_credentials"}}},
		{Name: "7591-2-02/client_credentials_with_redirect", Send: members{"grant_types": list{"client_credentials"}},
			Back: members{"redirect_uris": list{dcrtest.RedirectURI}}},
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	public := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.DefaultTokenEndpointAuthMethod = "none" })
	dcrtest.RunOutcomes(t, dcrtest.Vouched, []dcrtest.Outcome{
		{Name: "7591-2-03/omitted", Back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{Name: "7591-2-03/null", Send: members{"token_endpoint_auth_method": nil}, Back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{Name: "7591-2-03/sent", Send: members{"token_endpoint_auth_method": "client_secret_post"}, Back: members{"token_endpoint_auth_method": "client_secret_post"}},
		{Name: "7591-2-04/omitted", Setup: public, Back: members{"token_endpoint_auth_method": "none", "client_secret": dcrtest.Missing{}}},
		{Name: "7591-2-04/sent", Setup: public, Send: members{"token_endpoint_auth_method": "client_secret_basic"},
			Back: members{"token_endpoint_auth_method": "client_secret_basic"}},
		{Name: "7591-2-05/omit_both", Back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{Name: "7591-2-05/omit_grant_types", Send: members{"response_types": list{"code"}},
			Back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{Name: "7591-2-05/omit_response_types", Send: members{"grant_types": list{"authorization_code", "refresh_token"}},
			Back: members{"grant_types": list{"authorization_code", "refresh_token"}, "response_types": list{"code"}}},
		{Name: "7591-2-05/no_authorization_endpoint", Send: members{"grant_types": list{"client_credentials"}},
			Back: members{"grant_types": list{"client_credentials"}, "response_types": list{}}},
		{Name: "7591-2-05/no_authorization_endpoint_null", Send: members{"grant_types": list{"client_credentials"}, "response_types": nil},
			Back: members{"response_types": list{}}},
		{Name: "7591-2-05/no_authorization_endpoint_sent", Send: members{"grant_types": list{"client_credentials"}, "response_types": list{}},
			Back: members{"response_types": list{}}},
		{Name: "OIDC-2-01/omitted", Back: members{"application_type": "web"}},
		{Name: "OIDC-2-01/native", Send: members{"application_type": "native"}, Back: members{"application_type": "native"}},
		{Name: "OIDC-2-01/web", Send: members{"application_type": "web"}, Back: members{"application_type": "web"}},
		{Name: "OIDC-2-01/other", Send: members{"application_type": "mobile"}, Code: dcrtest.BadMetadata, Names: list{"application_type"}},
		{Name: "OIDC-2-01/case", Send: members{"application_type": "Native"}, Code: dcrtest.BadMetadata, Names: list{"application_type"}},
	})
}

func TestGrantAndResponseTypesAgree(t *testing.T) {
	t.Parallel()
	disagree := func(name string, grants, responses any) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "7591-2-06/" + name, Send: members{"grant_types": grants, "response_types": responses},
			Code: dcrtest.BadMetadata, Names: list{"grant_types", "response_types"}}
	}
	agree := func(name string, grants, responses any, backGrants, backResponses list) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "7591-2-06/" + name, Send: members{"grant_types": grants, "response_types": responses},
			Back: members{"grant_types": backGrants, "response_types": backResponses}}
	}
	code, implicit := list{"authorization_code"}, list{"implicit"}
	every := list{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
	dcrtest.RunOutcomes(t, dcrtest.Both(dcrtest.WithImplicit, dcrtest.Vouched), []dcrtest.Outcome{
		disagree("token_without_implicit", code, list{"token"}),
		disagree("id_token_without_implicit", code, list{"id_token"}),
		disagree("hybrid_without_implicit", code, list{"code id_token"}),
		disagree("hybrid_without_code", implicit, list{"code token"}),
		disagree("code_without_code", implicit, list{"code"}),
		disagree("code_and_token_without_implicit", code, list{"code", "token"}),
		agree("META-02/code_grant_empty_responses", code, list{}, code, list{"code"}),
		disagree("implicit_grant_without_response", list{"authorization_code", "implicit"}, list{"code"}),
		disagree("code_grant_with_token_only", list{"authorization_code", "implicit"}, list{"token"}),
		disagree("code_for_client_credentials", list{"client_credentials"}, list{"code"}),
		agree("META-02/two_grants_empty_responses", list{"authorization_code", "client_credentials"}, list{}, list{"authorization_code", "client_credentials"}, list{"code"}),
		agree("code", code, list{"code"}, code, list{"code"}),
		agree("implicit", implicit, list{"token", "id_token", "id_token token"}, implicit, list{"token", "id_token", "id_token token"}),
		agree("hybrid", list{"authorization_code", "implicit"}, list{"code id_token"}, list{"authorization_code", "implicit"}, list{"code id_token"}),
		agree("everything", list{"authorization_code", "implicit"}, every, list{"authorization_code", "implicit"}, every),
		agree("no_grants_every_response", dcrtest.Missing{}, every, code, list{"code"}),
		agree("no_grants_code_and_hybrid", dcrtest.Missing{}, list{"code id_token", "code"}, code, list{"code"}),
		agree("no_responses_two_grants", list{"authorization_code", "implicit"}, dcrtest.Missing{}, code, list{"code"}),
		agree("no_responses_null", list{"authorization_code", "implicit"}, nil, code, list{"code"}),
		agree("repeated_grants", list{"authorization_code", "refresh_token", "authorization_code"}, list{"code"},
			list{"authorization_code", "refresh_token"}, list{"code"}),
		agree("repeated_responses", code, list{"code", "code"}, code, list{"code"}),
		{Name: "7591-2-06/no_grants_token_only", Send: members{"response_types": list{"token"}}, Code: dcrtest.BadMetadata, Names: list{"response_types"}},
		{Name: "META-02/no_grants_empty_responses", Send: members{"response_types": list{}}, Back: members{"grant_types": code, "response_types": list{"code"}}},
		{Name: "META-02/empty_grants", Send: members{"grant_types": list{}}, Back: members{"grant_types": code, "response_types": list{"code"}}},
		{Name: "META-02/empty_grants_and_responses", Send: members{"grant_types": list{}, "response_types": list{}}, Back: members{"grant_types": code, "response_types": list{"code"}}},
		{Name: "META-02/empty_contacts", Send: members{"contacts": list{}}, Back: members{"contacts": dcrtest.Missing{}}},
	})
}

func TestGrantTypes(t *testing.T) {
	t.Parallel()
	three := list{"authorization_code", "refresh_token", "client_credentials"}
	device := "urn:ietf:params:oauth:grant-type:device_code"
	dcrtest.RunOutcomes(t, dcrtest.Vouched, []dcrtest.Outcome{
		{Name: "7591-2-07/three", Send: members{"grant_types": three}, Back: members{"grant_types": three, "response_types": list{"code"}}},
		{Name: "7591-2-08/alone", Send: members{"grant_types": list{"refresh_token"}, "response_types": list{}}, Code: dcrtest.BadMetadata, Names: list{"grant_types", "refresh_token"}},
		{Name: "7591-2-08/with_one_that_yields_none", Send: members{"grant_types": list{"client_credentials", "refresh_token"}},
			Code: dcrtest.BadMetadata, Names: list{"grant_types", "refresh_token"}},
		{Name: "7591-2-08/with_code", Send: members{"grant_types": list{"refresh_token", "authorization_code"}},
			Back: members{"grant_types": list{"refresh_token", "authorization_code"}}},
		{Name: "7591-2-08/its_grant_left_out", Send: members{"grant_types": list{device, "refresh_token"}, "response_types": list{}},
			Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "7591-2-08/RefuseUnsupported", Setup: dcrtest.Strict, Send: members{"grant_types": list{"refresh_token"}, "response_types": list{}},
			Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "7591-2-20/COMP-06/device_left_out", Send: members{"grant_types": list{"authorization_code", device}},
			Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "7591-2-20/unknown_left_out", Send: members{"grant_types": list{"authorization_code", "urn:example:root", "password", "implicit"}, "response_types": list{"code"}},
			Back: members{"grant_types": list{"authorization_code"}, "response_types": list{"code"}}},
		{Name: "7591-2-20/none_remains", Send: members{"grant_types": list{device, "password"}, "response_types": list{}},
			Code: dcrtest.BadMetadata, Names: list{"grant_types has none that this server supports: authorization_code, "}},
		{Name: "7591-2-20/case", Send: members{"grant_types": list{"Authorization_Code"}}, Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "7591-2-20/empty_string", Send: members{"grant_types": list{"", "authorization_code"}}, Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "7591-2-20/RefuseUnsupported/device", Setup: dcrtest.Strict, Send: members{"grant_types": list{"authorization_code", device}},
			Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "7591-2-20/RefuseUnsupported/default", Setup: dcrtest.Strict, Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "7591-2-20/T47/response_left_out", Send: members{"response_types": list{"code", "token"}}, Back: members{"response_types": list{"code"}}},
		{Name: "7591-2-20/T47/response_none_remains", Send: members{"response_types": list{"token", "id_token"}}, Code: dcrtest.BadMetadata, Names: list{"response_types"}},
		{Name: "7591-2-20/response_unknown", Send: members{"grant_types": list{"authorization_code"}, "response_types": list{"code", "root_token"}},
			Back: members{"response_types": list{"code"}}},
		{Name: "7591-2-20/RefuseUnsupported/response", Setup: dcrtest.Strict, Send: members{"response_types": list{"code", "token"}}, Code: dcrtest.BadMetadata, Names: list{"response_types"}},
		{Name: "GRANT-02/both", Send: members{"token_endpoint_auth_method": "none", "grant_types": list{"client_credentials"}},
			Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method", "grant_types"}},
		{Name: "GRANT-02/among_others", Send: members{"token_endpoint_auth_method": "none", "grant_types": three},
			Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method", "grant_types"}},
		{Name: "GRANT-02/by_default", Setup: dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.DefaultTokenEndpointAuthMethod = "none" }),
			Send: members{"grant_types": list{"client_credentials"}}, Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method", "grant_types"}},
	})
}

func TestGrantsOfAnonymousRegistrants(t *testing.T) {
	t.Parallel()
	device := "urn:ietf:params:oauth:grant-type:device_code"
	more := list{device, "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:openid:params:grant-type:ciba", "password"}
	all := append(list{"authorization_code", "refresh_token", "client_credentials"}, more...)
	handled := func(setup *dcrtest.Setup) {
		setup.Factories = dcrtest.DefaultsAnd(dcrtest.HandlesGrants(more...))
	}
	named := dcrtest.Both(handled, dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.AnonymousGrantTypes = list{"client_credentials"} }))
	dcrtest.RunOutcomes(t, handled, []dcrtest.Outcome{
		{Name: "GRANT-01/T56/client_credentials", Send: members{"grant_types": list{"client_credentials"}}, Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "GRANT-01/T56/left_out", Send: members{"grant_types": list{"authorization_code", "client_credentials"}}, Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "GRANT-01/T56/user_takes_part", Send: members{"grant_types": list{"authorization_code", "refresh_token", device}},
			Back: members{"grant_types": list{"authorization_code", "refresh_token", device}}},
		{Name: "GRANT-01/T56/device_alone", Send: members{"grant_types": list{device}, "redirect_uris": dcrtest.Missing{}},
			Back: members{"grant_types": list{device}, "response_types": list{}}},
		{Name: "GRANT-01/T56/no_user", Send: members{"grant_types": list{"password", more[1], more[2]}, "response_types": list{}}, Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "GRANT-01/implicit_left_out", Setup: dcrtest.WithImplicit, Send: members{"grant_types": list{"authorization_code", "implicit"}}, Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "GRANT-01/RefuseUnsupported", Setup: dcrtest.Strict, Send: members{"grant_types": list{"authorization_code", "client_credentials"}}, Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "GRANT-01/named", Setup: named, Send: members{"grant_types": list{"client_credentials"}}, Back: members{"grant_types": list{"client_credentials"}}},
		{Name: "GRANT-01/named_no_other", Setup: named, Send: members{"grant_types": list{"client_credentials", "password"}}, Back: members{"grant_types": list{"client_credentials"}}},
		{Name: "GRANT-01/COMP-06/vouched", Setup: dcrtest.Both(handled, dcrtest.Vouched), Send: members{"grant_types": all}, Back: members{"grant_types": all}},
		{Name: "COMP-06/config", Setup: dcrtest.Both(dcrtest.Vouched, dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.GrantTypes = list{"urn:example:own"} })),
			Send: members{"grant_types": list{"authorization_code", "urn:example:own"}}, Back: members{"grant_types": list{"authorization_code", "urn:example:own"}}},
	})
	dcrtest.RunOutcomes(t, dcrtest.Vouched, []dcrtest.Outcome{
		{Name: "COMP-06/without_client_credentials", Setup: func(setup *dcrtest.Setup) {
			setup.Factories = []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory}
		}, Send: members{"grant_types": all}, Back: members{"grant_types": list{"authorization_code"}}},
		{Name: "COMP-06/openid_issues_no_codes", Setup: func(setup *dcrtest.Setup) {
			setup.Factories = []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory, compose.OpenIDConnectExplicitFactory, compose.OAuth2PKCEFactory}
		}, Send: members{"grant_types": list{"authorization_code", "client_credentials"}},
			Back: members{"grant_types": list{"client_credentials"}, "response_types": list{}}},
	})
}

func TestAuthenticationMethods(t *testing.T) {
	t.Parallel()
	method := func(name string) members { return members{"token_endpoint_auth_method": name} }
	noTokenURL := func(setup *dcrtest.Setup) { setup.Fosite = func(config *fosite.Config) { config.TokenURL = "" } }
	keyed := members{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example/jwks"}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-2-20/method_tls", Send: method("tls_client_auth"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/method_self_signed_tls", Send: method("self_signed_tls_client_auth"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/method_unknown", Send: method("magic_link"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/method_case", Send: method("NONE"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/method_not_of_the_host", Setup: dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.TokenEndpointAuthMethods = list{"client_secret_basic"} }),
			Send: method("none"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/method_of_the_host", Setup: dcrtest.Configured(func(cfg *dcr.Config) {
			cfg.Metadata.TokenEndpointAuthMethods = list{"client_secret_basic", "urn:example:own"}
		}),
			Send: method("urn:example:own"), Back: members{"token_endpoint_auth_method": "urn:example:own", "client_secret": dcrtest.Missing{}}},
		{Name: "7591-2-20/private_key_jwt_without_token_url", Setup: noTokenURL, Send: keyed, Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		{Name: "7591-2-20/private_key_jwt", Send: keyed, Back: keyed},
		{Name: "7591-2-21", Send: method("client_secret_jwt"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method", "client_secret_jwt", "hashed"}},
	})
}
