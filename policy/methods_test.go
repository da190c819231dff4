package policy_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

type metadata = map[string]any

// startWith is a server with policies, on which anonymous clients may have every grant.
func startWith(t *testing.T, policies ...dcr.Policy) *dcrtest.Server {
	t.Helper()
	return dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Policies: policies, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
	}})
}

// redirects say which clients come back to a device.
var redirects = map[string]bool{
	"https://client.example/cb": false, "https://localhost.example/cb": false,
	"http://127.0.0.1:8080/cb": true, "http://[::1]/cb": true, "http://localhost/cb": true, "https://localhost/cb": true,
	"https://127.0.0.1/cb": true, "com.example.app:/cb": true,
}

func TestSecretsOnDevices(t *testing.T) {
	t.Parallel()
	refusing, changing := startWith(t, policy.NoSecretsOnDevices()), startWith(t, policy.PublicOnDevices())
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
	for redirect, device := range redirects {
		for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"} {
			t.Run(method+"/"+redirect, func(t *testing.T) {
				t.Parallel()
				sent := metadata{"redirect_uris": []string{"https://client.example/other", redirect}, "token_endpoint_auth_method": method, "jwks": keys}
				answer := refusing.Post(t, sent)
				if secret := method == "client_secret_basic" || method == "client_secret_post"; secret && device {
					dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, "invalid_client_metadata")
					require.Contains(t, answer.Text("error_description"), "token_endpoint_auth_method")
				} else {
					require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
				}
				want := method
				if device {
					want = "none"
				}
				changed := changing.Register(t, sent)
				require.Equal(t, want, changed.Text("token_endpoint_auth_method"))
				require.Equal(t, want == "client_secret_basic" || want == "client_secret_post", changed.Secret() != "")
			})
		}
	}
	t.Run("client_credentials", func(t *testing.T) {
		t.Parallel()
		sent := metadata{"redirect_uris": []string{"http://localhost/cb"}, "grant_types": []string{"authorization_code", "client_credentials"}}
		dcrtest.RequireMembers(t, changing.Register(t, sent), metadata{"grant_types": []string{"authorization_code"}, "token_endpoint_auth_method": "none"})
		sent["grant_types"] = []string{"client_credentials"}
		require.Equal(t, http.StatusBadRequest, changing.Post(t, sent).Status)
	})
}

func TestGrantForMethods(t *testing.T) {
	t.Parallel()
	s := startWith(t, policy.GrantForMethods("client_credentials", "private_key_jwt"))
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
	both := []string{"authorization_code", "client_credentials"}
	for method, want := range map[string][]string{"client_secret_basic": both[:1], "private_key_jwt": both} {
		answer := s.Register(t, metadata{"redirect_uris": []string{dcrtest.RedirectURI}, "token_endpoint_auth_method": method, "jwks": keys, "grant_types": both})
		dcrtest.RequireMembers(t, answer, metadata{"grant_types": want, "response_types": []string{"code"}})
	}
	require.Equal(t, http.StatusBadRequest, s.Post(t, metadata{"grant_types": []string{"client_credentials"}}).Status)
}

func TestDefaultScopes(t *testing.T) {
	t.Parallel()
	s := startWith(t, policy.DefaultScopes("profile", "not-of-this-server", "email"))
	foreign := startWith(t, policy.DefaultScopes("not-of-this-server"))
	for _, row := range []struct {
		server     *dcrtest.Server
		sent, want string
	}{
		{s, "", "profile email"}, {s, "openid", "openid"}, {foreign, "", "openid profile email offline_access"},
	} {
		answer := row.server.Register(t, metadata{"redirect_uris": []string{dcrtest.RedirectURI}, "scope": row.sent})
		require.Equal(t, row.want, answer.Text("scope"))
	}
}
