package policy_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestBuiltInPolicies: one row, one policy, what it takes and what it refuses.
func TestBuiltInPolicies(t *testing.T) {
	t.Parallel()
	const redirect = `"redirect_uris":["https://app.example/cb"]`
	for name, row := range map[string]struct {
		policy   dcr.Policy
		metadata string
		code     string // empty: taken
		member   string
		want     map[string]any
	}{
		"allow_scopes":           {policy: policy.LimitScopes("profile"), metadata: `{` + redirect + `,"scope":"profile email"}`, want: map[string]any{"scope": "profile"}},
		"allow_scopes_none":      {policy: policy.LimitScopes("other"), metadata: `{` + redirect + `,"scope":"email"}`, want: map[string]any{"scope": nil}},
		"force_scopes":           {policy: policy.ForceScopes("openid", "unknown"), metadata: `{` + redirect + `,"scope":"profile"}`, want: map[string]any{"scope": "profile openid"}},
		"grant_types":            {policy: policy.LimitGrantTypes("authorization_code"), metadata: `{` + redirect + `,"grant_types":["authorization_code","refresh_token"]}`, want: map[string]any{"grant_types": []any{"authorization_code"}, "response_types": []any{"code"}}},
		"grant_types_none":       {policy: policy.LimitGrantTypes("client_credentials"), metadata: `{` + redirect + `}`, code: "invalid_client_metadata", member: "grant_types"},
		"auth_method":            {policy: policy.RequireAuthMethods("none"), metadata: `{` + redirect + `,"token_endpoint_auth_method":"none"}`},
		"auth_method_other":      {policy: policy.RequireAuthMethods("none"), metadata: `{` + redirect + `}`, code: "invalid_client_metadata", member: "token_endpoint_auth_method"},
		"redirect_host":          {policy: policy.RequireRedirectHosts("app.example", ".sub.example"), metadata: `{"redirect_uris":["https://app.example/cb","https://a.sub.example:8443/cb"]}`},
		"redirect_host_other":    {policy: policy.RequireRedirectHosts("app.example", ".sub.example"), metadata: `{"redirect_uris":["https://app.example/cb","https://notsub.example/cb"]}`, code: "invalid_redirect_uri", member: "redirect_uris"},
		"redirect_host_app":      {policy: policy.RequireRedirectHosts("app.example"), metadata: `{"redirect_uris":["com.example.app:/cb"]}`, code: "invalid_redirect_uri", member: "redirect_uris"},
		"redirect_scheme":        {policy: policy.RequireRedirectSchemes("https"), metadata: `{` + redirect + `}`},
		"redirect_scheme_other":  {policy: policy.RequireRedirectSchemes("https"), metadata: `{"redirect_uris":["http://127.0.0.1/cb"]}`, code: "invalid_redirect_uri", member: "redirect_uris"},
		"7591-2-16/same_host":    {policy: policy.SameHostURIs(), metadata: `{` + redirect + `,"client_uri":"https://app.example/about","logo_uri#fr":"https://app.example/l"}`},
		"7591-2-16/other_host":   {policy: policy.SameHostURIs(), metadata: `{` + redirect + `,"tos_uri":"https://brand.example/"}`, code: "invalid_client_metadata", member: "tos_uri"},
		"7591-2-16/other_scheme": {policy: policy.SameHostURIs(), metadata: `{` + redirect + `,"client_uri":"http://app.example/"}`, code: "invalid_client_metadata", member: "client_uri"},
		"7591-2-16/tagged":       {policy: policy.SameHostURIs(), metadata: `{` + redirect + `,"logo_uri#fr":"https://brand.example/l"}`, code: "invalid_client_metadata", member: "logo_uri#fr"},
		"trusted_hosts":          {policy: policy.TrustedHosts("brand.example"), metadata: `{` + redirect + `,"client_uri":"https://brand.example/"}`},
		"trusted_hosts_http":     {policy: policy.TrustedHosts("brand.example"), metadata: `{` + redirect + `,"client_uri":"http://brand.example/"}`, code: "invalid_client_metadata", member: "client_uri"},
		"trusted_hosts_other":    {policy: policy.TrustedHosts("brand.example"), metadata: `{` + redirect + `,"logo_uri":"https://app.example/l"}`, code: "invalid_client_metadata", member: "logo_uri"},
		"require":                {policy: policy.Require("contacts", "client_name"), metadata: `{` + redirect + `,"contacts":["a@b.example"],"client_name":"N"}`},
		"require_missing":        {policy: policy.Require("contacts", "client_name"), metadata: `{` + redirect + `,"contacts":["a@b.example"]}`, code: "invalid_client_metadata", member: "client_name"},
		"require_of_group":       {policy: policy.Require("request_object_signing_alg"), metadata: `{` + redirect + `}`, code: "invalid_client_metadata", member: "request_object_signing_alg"},
		"confidential":           {policy: policy.ConfidentialRedirects("https://app.example/cb"), metadata: `{` + redirect + `}`},
		"confidential_public":    {policy: policy.ConfidentialRedirects("https://app.example/cb"), metadata: `{` + redirect + `,"token_endpoint_auth_method":"none"}`, code: "invalid_client_metadata", member: "token_endpoint_auth_method"},
		"all":                    {policy: policy.All(policy.LimitScopes("profile"), policy.Require("contacts")), metadata: `{` + redirect + `}`, code: "invalid_client_metadata", member: "contacts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{row.policy}}})
			answer := s.Post(t, row.metadata)
			if row.code != "" {
				dcrtest.RequireMemberRefused(t, answer, row.code, row.member)
				return
			}
			require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
			for member, value := range row.want {
				require.Equal(t, value, answer.Members[member], member)
			}
		})
	}
}

// TestPoliciesPassTheRules: what a policy sets is held against the rules again (T08).
func TestPoliciesPassTheRules(t *testing.T) {
	t.Parallel()
	setting := func(edit func(*dcr.ClientMetadata)) *dcrtest.Server {
		return dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{
			dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error { edit(a.Metadata); return nil }),
		}}})
	}
	metadata := `{"redirect_uris":["https://app.example/cb"]}`
	dcrtest.RequireMemberRefused(t, setting(func(m *dcr.ClientMetadata) { m.RedirectURIs = []string{"http://app.example/cb"} }).Post(t, metadata), "invalid_redirect_uri", "redirect_uris")
	dcrtest.RequireMemberRefused(t, setting(func(m *dcr.ClientMetadata) { m.TokenEndpointAuthMethod = "magic" }).Post(t, metadata), "invalid_client_metadata", "token_endpoint_auth_method")
	dcrtest.RequireMemberRefused(t, setting(func(m *dcr.ClientMetadata) { m.ClientName = "a\nb" }).Post(t, metadata), "invalid_client_metadata", "client_name")
	dcrtest.RequireMemberRefused(t, setting(func(m *dcr.ClientMetadata) { m.RedirectURIs = nil }).Post(t, metadata), "invalid_redirect_uri", "redirect_uris")
	set := setting(func(m *dcr.ClientMetadata) { m.Scope = "openid admin"; m.ClientName = "Named" }).Register(t, metadata)
	require.Equal(t, "openid", set.Text("scope"), "a scope that the server does not know is not granted by a policy either")
	require.Equal(t, "Named", set.Text("client_name"))
}

func TestPolicyErrors(t *testing.T) {
	t.Parallel()
	failing := func(err error) dcrtest.Answer {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{
			dcr.PolicyFunc(func(context.Context, *dcr.Proposal) error { return err }),
		}}})
		return s.Post(t, `{"redirect_uris":["https://app.example/cb"]}`)
	}
	require.Equal(t, http.StatusForbidden, failing(dcr.ErrAccessDenied).Status)
	require.Equal(t, http.StatusServiceUnavailable, failing(dcr.ErrUnavailable).Status)
	require.Equal(t, http.StatusBadRequest, failing(dcr.ErrInvalidClientMetadata).Status)
	answer := failing(errors.New("the directory said: secret-detail"))
	require.Equal(t, http.StatusInternalServerError, answer.Status)
	require.NotContains(t, answer.Body, "secret-detail")
	require.Equal(t, "server_error", answer.Text("error"))
}

// TestPolicyOfTheRegistrant: a named policy binds the registrant's clients for good
// (IAT-02, T08), and goes before the others.
func TestPolicyOfTheRegistrant(t *testing.T) {
	t.Parallel()
	named := map[string]dcr.Policy{"partner": policy.LimitScopes("profile")}
	seen := make(chan *dcr.Proposal, 8)
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Access: dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "partner", Policy: r.Header.Get("Test-Policy")}, nil
		}),
		NamedPolicies: named,
		Policies: []dcr.Policy{dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
			copied := *a
			seen <- &copied
			if a.Metadata.ClientName == "forbidden" {
				return fosite.ErrAccessDenied
			}
			return nil
		})},
		Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}},
	}})
	client := s.Register(t, `{"redirect_uris":["https://app.example/cb"],"scope":"profile email"}`, dcrtest.Header("Test-Policy", "partner"))
	require.Equal(t, "profile", client.Text("scope"))
	first := <-seen
	require.Nil(t, first.Previous)
	require.Equal(t, "partner", first.Registrant.Policy)

	body := map[string]any{"client_id": client.ID(), "redirect_uris": []string{"https://app.example/cb"}, "scope": "profile email"}
	widened := s.Manage(t, http.MethodPut, client, body)
	require.Equal(t, http.StatusOK, widened.Status, widened.Body)
	require.Equal(t, "profile", widened.Text("scope"))
	require.Equal(t, client.ID(), (<-seen).Previous.ID)

	body["client_name"] = "forbidden"
	require.Equal(t, http.StatusForbidden, s.Manage(t, http.MethodPut, client, body).Status)
	require.Equal(t, http.StatusForbidden, s.Post(t, `{"redirect_uris":["https://app.example/cb"]}`, dcrtest.Header("Test-Policy", "lost")).Status,
		"a policy that the configuration does not have refuses")
}
