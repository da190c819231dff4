package policy_test

import (
	"net/http"
	"testing"

	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestRequirePKCE: a policy has confidential clients use PKCE, at both endpoints where a
// request may begin, and at the token endpoint.
func TestRequirePKCE(t *testing.T) {
	t.Parallel()
	for _, method := range dcrtest.AuthMethods[1:] {
		t.Run("PKCE-01/policy/"+method, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.RequirePKCE()}}})
			client := dcrtest.RegisterFor(t, s, method)
			with := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)
			for _, missing := range [][]string{{"code_challenge", "", "code_challenge_method", ""}, {"code_challenge_method", "plain"}} {
				dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, missing...)), "invalid_request")
			}
			require.True(t, dcrtest.RefusedPush(t, client, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge", "")))

			form := dcrtest.CodeForm("", s.Code(t, with), dcrtest.RedirectURI)
			form.Del("code_verifier")
			require.Equal(t, http.StatusBadRequest, client.Send(t, "/oauth2/token", method, form).Status)
			form = dcrtest.CodeForm("", s.Code(t, with), dcrtest.RedirectURI)
			require.Equal(t, http.StatusOK, client.Send(t, "/oauth2/token", method, form).Status)
		})
	}
}

// TestRequirePKCEUnchecked: what nothing checks is not promised.
func TestRequirePKCEUnchecked(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{
		Factories: []compose.Factory{compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory},
		Config:    dcr.Config{Policies: []dcr.Policy{policy.RequirePKCE()}, Metadata: dcr.Metadata{TokenEndpointAuthMethods: []string{"client_secret_basic"}}},
	})
	dcrtest.RequireRefusal(t, s.Post(t, dcrtest.PlainRegistration), http.StatusInternalServerError, "server_error")
}
