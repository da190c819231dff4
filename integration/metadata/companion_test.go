package metadata_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestPromises(t *testing.T) {
	t.Parallel()
	rows := []dcrtest.Outcome{
		{Name: "COMP-01/par", Send: members{"require_pushed_authorization_requests": true}, Back: members{"require_pushed_authorization_requests": true}},
		{Name: "COMP-01/without_par", Setup: dcrtest.WithoutOpenID, Send: members{"require_pushed_authorization_requests": true}, Code: dcrtest.BadMetadata,
			Names: list{"require_pushed_authorization_requests"}},
		{Name: "COMP-01/without_par_false", Setup: dcrtest.WithoutOpenID, Send: members{"require_pushed_authorization_requests": false}},
	}
	for row, names := range map[string][]string{
		"COMP-02": {"require_signed_request_object"},
		"COMP-03": {"dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"},
	} {
		for _, name := range names {
			promise := members{name: true}
			rows = append(rows,
				dcrtest.Outcome{Name: row + "/" + name + "/true", Send: promise, Code: dcrtest.BadMetadata, Names: list{name}},
				dcrtest.Outcome{Name: row + "/" + name + "/false", Send: members{name: false}},
				dcrtest.Outcome{Name: row + "/" + name + "/string", Send: members{name: "true"}, Code: dcrtest.BadMetadata, Names: list{name}},
				dcrtest.Outcome{Name: row + "/" + name + "/supported", Setup: supports(map[string][]string{name: nil}), Send: promise, Back: promise})
		}
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestCertificateSubjects(t *testing.T) {
	t.Parallel()
	subjects := members{
		"tls_client_auth_subject_dn": "CN=client,O=Example", "tls_client_auth_san_dns": "client.example", "tls_client_auth_san_uri": "https://client.example/id",
		"tls_client_auth_san_ip": "192.0.2.7", "tls_client_auth_san_email": "ops@client.example",
	}
	supported := dcrtest.Configured(func(cfg *dcr.Config) {
		cfg.Metadata.TokenEndpointAuthMethods = list{"client_secret_basic", "tls_client_auth"}
		cfg.Metadata.Supports = map[string][]string{}
		for name := range subjects {
			cfg.Metadata.Supports[name] = nil
		}
	})
	byCertificate := members{"token_endpoint_auth_method": "tls_client_auth"}
	var rows []dcrtest.Outcome
	for name, value := range subjects {
		one := dcrtest.With(byCertificate, members{name: value})
		two := dcrtest.With(one, members{"tls_client_auth_subject_dn": "CN=other", "tls_client_auth_san_dns": "other.example"})
		methodOnly := dcrtest.Configured(func(cfg *dcr.Config) {
			cfg.Metadata.TokenEndpointAuthMethods = list{"client_secret_basic", "tls_client_auth"}
		})
		rows = append(rows,
			dcrtest.Outcome{Name: "COMP-04/one/" + name, Setup: supported, Send: one, Back: dcrtest.With(one, members{"client_secret": dcrtest.Missing{}})},
			dcrtest.Outcome{Name: "COMP-04/two/" + name, Setup: supported, Send: two, Code: dcrtest.BadMetadata, Names: list{"tls_client_auth"}},
			dcrtest.Outcome{Name: "COMP-04/empty/" + name, Setup: supported, Send: dcrtest.With(byCertificate, members{name: ""}), Code: dcrtest.BadMetadata, Names: list{"tls_client_auth"}},
			dcrtest.Outcome{Name: "COMP-04/control/" + name, Setup: supported, Send: dcrtest.With(byCertificate, members{name: "a\nb"}), Code: dcrtest.BadMetadata, Names: list{name}},
			dcrtest.Outcome{Name: "COMP-04/method_of_the_host/" + name, Setup: methodOnly, Send: one, Back: one},
			dcrtest.Outcome{Name: "COMP-04/unsupported/" + name, Send: one, Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
			dcrtest.Outcome{Name: "COMP-04/without_method_left_out/" + name, Send: members{name: value}, Back: members{name: dcrtest.Missing{}}})
	}
	rows = append(rows, dcrtest.Outcome{Name: "COMP-04/none", Setup: supported, Send: byCertificate, Code: dcrtest.BadMetadata, Names: list{"tls_client_auth"}})
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestAuthorizationDetails(t *testing.T) {
	t.Parallel()
	payments := supports(map[string][]string{"authorization_details_types": {"payment", "account"}})
	types := func(values ...string) members { return members{"authorization_details_types": values} }
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "COMP-05/known", Setup: payments, Send: types("account", "payment"), Back: types("account", "payment")},
		{Name: "COMP-05/unknown", Setup: payments, Send: types("payment", "root"), Code: dcrtest.BadMetadata, Names: list{"authorization_details_types"}},
		{Name: "COMP-05/none_of_the_host", Send: types("payment"), Code: dcrtest.BadMetadata, Names: list{"authorization_details_types"}},
	})
}

// pushing registers a client that has to push its authorization requests.
func pushing(t *testing.T, s *dcrtest.Server) (dcrtest.Answer, dcrtest.Edit) {
	t.Helper()
	client := s.Register(t, dcrtest.Registration(members{"require_pushed_authorization_requests": true}))
	return client, dcrtest.Basic(client.ID(), client.Secret())
}

func pushedURI(t *testing.T, s *dcrtest.Server, client dcrtest.Answer, authenticate dcrtest.Edit) string {
	t.Helper()
	pushed := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"), authenticate)
	require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
	return pushed.Text("request_uri")
}

func TestPushedRequestsAreRequired(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	t.Run("COMP-01/pushed", func(t *testing.T) {
		t.Parallel()
		client, authenticate := pushing(t, s)
		query := url.Values{"client_id": {client.ID()}, "request_uri": {pushedURI(t, s, client, authenticate)}}
		require.NotEmpty(t, s.Code(t, query))
	})
	t.Run("COMP-01/direct", func(t *testing.T) {
		t.Parallel()
		client, _ := pushing(t, s)
		requireNoCode(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid")))
	})
	t.Run("COMP-01/T58/forged_request_object", func(t *testing.T) {
		t.Parallel()
		client, authenticate := pushing(t, s)
		for _, uri := range []string{"urn:ietf:params:oauth:request_uri:AAAA", pushedURI(t, s, client, authenticate)} {
			claims, err := json.Marshal(map[string]any{"request_uri": uri, "client_id": client.ID(), "scope": "openid"})
			require.NoError(t, err)
			object := "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(claims) + "."
			requireNoCode(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid", "request", object)))
		}
	})
	t.Run("COMP-01/others_need_not_push", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, dcrtest.PlainRegistration)
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)))
	})
}

// requireNoCode: an authorization request was refused, by a redirect or not.
func requireNoCode(t *testing.T, answer dcrtest.Answer) {
	t.Helper()
	require.NotContains(t, answer.Header.Get("Location"), "code=")
	if answer.Header.Get("Location") == "" {
		require.GreaterOrEqual(t, answer.Status, 400, answer.Body)
		require.Less(t, answer.Status, 500, answer.Body)
		return
	}
	require.Contains(t, answer.Header.Get("Location"), "error=")
}

// registeredAtIANA are the members of the registry of client metadata (OAuth Dynamic
// Client Registration Metadata) that the table has to know.
var registeredAtIANA = []string{
	"redirect_uris", "token_endpoint_auth_method", "grant_types", "response_types", "client_name", "client_uri", "logo_uri", "scope", "contacts", "tos_uri", "policy_uri",
	"jwks_uri", "jwks", "software_id", "software_version", "client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at",
	"registration_access_token", "registration_client_uri", "application_type", "sector_identifier_uri", "subject_type",
	"id_token_signed_response_alg", "id_token_encrypted_response_alg", "id_token_encrypted_response_enc",
	"userinfo_signed_response_alg", "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc",
	"request_object_signing_alg", "request_object_encryption_alg", "request_object_encryption_enc", "token_endpoint_auth_signing_alg",
	"default_max_age", "require_auth_time", "default_acr_values", "initiate_login_uri", "request_uris",
	"tls_client_certificate_bound_access_tokens", "tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri", "tls_client_auth_san_ip", "tls_client_auth_san_email",
	"require_signed_request_object", "require_pushed_authorization_requests",
	"introspection_signed_response_alg", "introspection_encrypted_response_alg", "introspection_encrypted_response_enc",
	"frontchannel_logout_uri", "frontchannel_logout_session_required", "backchannel_logout_uri", "backchannel_logout_session_required", "post_logout_redirect_uris",
	"authorization_details_types", "dpop_bound_access_tokens", "use_mtls_endpoint_aliases",
	"backchannel_token_delivery_mode", "backchannel_client_notification_endpoint", "backchannel_authentication_request_signing_alg", "backchannel_user_code_parameter",
	"authorization_signed_response_alg", "authorization_encrypted_response_alg", "authorization_encrypted_response_enc", "response_modes",
}

func TestRegistryOfMembers(t *testing.T) {
	t.Parallel()
	var known []string
	for _, row := range dcr.Members() {
		known = append(known, row.Name)
	}
	for _, name := range registeredAtIANA {
		t.Run("COMP-07/"+name, func(t *testing.T) {
			t.Parallel()
			require.True(t, slices.Contains(known, name) || dcrtest.ServerMember(name), "the table has no row")
		})
	}
	// Members of specifications that no fosite provider implements are ignored like
	// all that is not understood.
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, name := range []string{
		"claims_redirect_uris", "nfv_token_signed_response_alg", "nfv_token_encrypted_response_alg", "nfv_token_encrypted_response_enc",
		"client_registration_types", "signed_jwks_uri", "organization_name", "vp_formats_supported",
	} {
		t.Run("COMP-07/7591-3.1-02/"+name, func(t *testing.T) {
			t.Parallel()
			dcrtest.RequireMembers(t, s.Register(t, dcrtest.Registration(members{name: "x"})), members{name: dcrtest.Missing{}})
		})
	}
}

func TestConfigurationOfMembers(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]dcr.Config{
		"supports_unknown":     {Metadata: dcr.Metadata{Supports: map[string][]string{"skip_consent": nil}}},
		"supports_registered":  {Metadata: dcr.Metadata{Supports: map[string][]string{"redirect_uris": nil}}},
		"supports_server":      {Metadata: dcr.Metadata{Supports: map[string][]string{"client_id": nil}}},
		"client_secret_jwt":    {Metadata: dcr.Metadata{TokenEndpointAuthMethods: list{"client_secret_basic", "client_secret_jwt"}}},
		"default_method":       {Metadata: dcr.Metadata{TokenEndpointAuthMethods: list{"client_secret_post"}}},
		"default_scopes":       {Metadata: dcr.Metadata{DefaultScopes: list{"unknown"}}},
		"scope_with_space":     {Scopes: list{"a b"}},
		"scope_with_quote":     {Scopes: list{`a"b`}},
		"private_use_scheme":   {Metadata: dcr.Metadata{PrivateUseSchemes: list{"javascript"}}},
		"negative_limit":       {Limits: dcr.Limits{Text: -1}},
		"negative_lifetime":    {Secrets: dcr.Secrets{Lifetime: -1}},
		"relative_path":        {Endpoints: dcr.Endpoints{RegistrationPath: "register"}},
		"path_with_last_slash": {Endpoints: dcr.Endpoints{RegistrationPath: "/register/"}},
	} {
		t.Run("7591-2-20/composition/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{Config: cfg})
			require.ErrorContains(t, err, "Config")
		})
	}
	t.Run("7591-2-20/composition/strict_redirects_and_schemes", func(t *testing.T) {
		t.Parallel()
		_, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{
			Config: dcr.Config{Metadata: dcr.Metadata{PrivateUseSchemes: list{"cursor"}}}, Fosite: func(config *fosite.Config) { config.RedirectSecureChecker = fosite.IsRedirectURISecure },
		})
		require.NoError(t, err)
	})
}
