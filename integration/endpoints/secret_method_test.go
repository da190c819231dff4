package endpoints_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestOtherSecretMethod: by option a secret comes by either method, at every endpoint, and nothing else is loosened.
func TestOtherSecretMethod(t *testing.T) {
	t.Parallel()
	for option, want := range map[bool]int{false: http.StatusUnauthorized, true: http.StatusOK} {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{AllowOtherSecretMethod: option}}})
		for registered, used := range map[string]string{"client_secret_basic": "client_secret_post", "client_secret_post": "client_secret_basic"} {
			t.Run("AUTH-13/"+map[bool]string{true: "on", false: "off"}[option]+"/"+registered, func(t *testing.T) {
				t.Parallel()
				client := dcrtest.RegisterFor(t, s, registered)
				token := client.AccessToken(t, s)
				code := func() string { return s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)) }
				answer := client.Send(t, "/oauth2/token", used, dcrtest.CodeForm("", code(), dcrtest.RedirectURI))
				require.Equal(t, want, answer.Status, answer.Body)
				require.Equal(t, registered, client.Text("token_endpoint_auth_method"))
				pushed := client.Send(t, "/oauth2/par", used, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))
				introspected := client.Send(t, "/oauth2/introspect", used, url.Values{"token": {token}})
				revoked := client.Send(t, "/oauth2/revoke", used, url.Values{"token": {token}})
				if option {
					require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
					require.Equal(t, true, introspected.Members["active"], introspected.Body)
					require.Equal(t, http.StatusOK, revoked.Status, revoked.Body)
				} else {
					require.Equal(t, http.StatusUnauthorized, pushed.Status, pushed.Body)
					require.NotEqual(t, true, introspected.Members["active"], introspected.Body)
					require.Equal(t, http.StatusUnauthorized, revoked.Status, revoked.Body)
				}

				// What stays as it is: a wrong secret, both ways at once, no secret.
				wrong := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code(), dcrtest.RedirectURI), dcrtest.Basic(client.ID(), "wrong"))
				require.Equal(t, http.StatusUnauthorized, wrong.Status, wrong.Body)
				form := dcrtest.CodeForm(client.ID(), code(), dcrtest.RedirectURI)
				require.Equal(t, http.StatusUnauthorized, s.Form(t, "/oauth2/token", form).Status)
				form.Set("client_secret", client.Secret())
				both := s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
				require.Equal(t, http.StatusBadRequest, both.Status, both.Body)
			})
		}
		t.Run("AUTH-04/other_clients", func(t *testing.T) {
			t.Parallel()
			for _, registered := range []string{"none", "private_key_jwt"} {
				client := dcrtest.RegisterFor(t, s, registered)
				for _, used := range []string{"client_secret_basic", "client_secret_post"} {
					answer := client.Send(t, "/oauth2/token", used, dcrtest.CodeForm("", "any", dcrtest.RedirectURI))
					require.Equal(t, http.StatusUnauthorized, answer.Status, "%s by %s: %s", registered, used, answer.Body)
				}
			}
		})
	}
}
