package clients_test

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// apiResource is what tokens of the tests with golang.org/x/oauth2 are for.
const apiResource = "https://api.example.com/v1"

var oauth2Setup = dcrtest.Setup{Config: dcr.Config{
	Authorization: dcr.Authorization{Audience: []string{apiResource}, AllowAnyLocalhostPort: true},
	Metadata:      dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
}}

func oauth2Endpoint(s *dcrtest.Server, style oauth2.AuthStyle) oauth2.Endpoint {
	return oauth2.Endpoint{AuthURL: s.URL + "/oauth2/auth", TokenURL: s.URL + "/oauth2/token", AuthStyle: style}
}

// codeFlow takes a client of x/oauth2 through the authorization endpoint with PKCE
// and redeems the code.
func codeFlow(t testing.TB, s *dcrtest.Server, config *oauth2.Config, atAuthorize, atToken []oauth2.AuthCodeOption) *oauth2.Token {
	t.Helper()
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	target := config.AuthCodeURL(state, append(atAuthorize, oauth2.S256ChallengeOption(verifier))...)
	answer, err := visit(t.Context(), target, config.RedirectURL)
	require.NoError(t, err)
	require.Equal(t, state, answer.Get("state"))
	require.Equal(t, s.URL, answer.Get("iss")) // 9207-01
	token, err := config.Exchange(t.Context(), answer.Get("code"), append(atToken, oauth2.VerifierOption(verifier))...)
	require.NoError(t, err)
	require.True(t, token.Valid())
	return token
}

var forResource = []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("audience", apiResource)}

func TestOAuth2AuthorizationCode(t *testing.T) {
	t.Parallel()
	const web = "https://client.example.com/callback"
	for name, test := range map[string]struct {
		method               string
		style                oauth2.AuthStyle
		registered, redirect string
	}{
		"AUTH-04/none/in_params":                  {"none", oauth2.AuthStyleInParams, web, web},
		"AUTH-04/none/in_header":                  {"none", oauth2.AuthStyleInHeader, web, web},
		"AUTH-04/none/auto_detect":                {"none", oauth2.AuthStyleAutoDetect, web, web},
		"AUTH-04/client_secret_basic/in_header":   {"client_secret_basic", oauth2.AuthStyleInHeader, web, web},
		"AUTH-04/client_secret_basic/auto_detect": {"client_secret_basic", oauth2.AuthStyleAutoDetect, web, web},
		"AUTH-04/client_secret_post/in_params":    {"client_secret_post", oauth2.AuthStyleInParams, web, web},
		"AUTH-04/client_secret_post/auto_detect":  {"client_secret_post", oauth2.AuthStyleAutoDetect, web, web},
		"RU-07/none/loopback_address_of_another_port": {
			"none", oauth2.AuthStyleInParams, "http://127.0.0.1/callback", "http://127.0.0.1:49152/callback",
		},
		"RU-08/none/localhost_of_another_port": {
			"none", oauth2.AuthStyleInParams, "http://localhost:3000/callback", "http://localhost:49152/callback",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachTokenKind(t, oauth2Setup, func(t *testing.T, s *dcrtest.Server) {
				client := s.Register(t, map[string]any{
					"client_name": "x/oauth2", "redirect_uris": []string{test.registered},
					"token_endpoint_auth_method": test.method, "grant_types": []string{"authorization_code", "refresh_token"},
				})
				config := &oauth2.Config{
					ClientID: client.ID(), ClientSecret: client.Secret(), RedirectURL: test.redirect,
					Endpoint: oauth2Endpoint(s, test.style), Scopes: []string{"profile", "email"},
				}
				codeAndRefresh(t, s, client, config)
			})
		})
	}
}

// codeAndRefresh signs in for a resource, refreshes, and ends the registration.
func codeAndRefresh(t *testing.T, s *dcrtest.Server, client dcrtest.Answer, config *oauth2.Config) {
	t.Helper()
	h := &holder{Server: s, client: client, again: refresher(t.Context(), config)}
	h.token = codeFlow(t, s, config, forResource, nil)
	requireFor(t, h, "alice", apiResource)

	refreshed, err := h.again(h.token) // AUD-01, REAL-02: no offline_access was asked for
	require.NoError(t, err)
	require.NotEqual(t, h.token.RefreshToken, refreshed.RefreshToken)
	dcrtest.RequireInactive(t, s, h.token.AccessToken)
	h.token = refreshed
	requireFor(t, h, "alice", apiResource)
	h.manageToItsEnd(t)
}

// requireFor demands that the token works, and for what.
func requireFor(t testing.TB, h *holder, subject, audience string) {
	t.Helper()
	answer := dcrtest.RequireActive(t, h.Server, h.token.AccessToken, h.client.ID())
	require.Equal(t, subject, answer.Text("sub"))
	require.Equal(t, []any{audience}, answer.Members["aud"])
	require.ElementsMatch(t, []string{"profile", "email"}, strings.Fields(answer.Text("scope")))
}

// PKCE does what state is for: some clients send none.
func TestOAuth2WithoutState(t *testing.T) {
	t.Parallel()
	for name, allowed := range map[string]bool{"REAL-01/allowed": true, "REAL-01/not_allowed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const redirect = "cursor://anysphere.cursor-retrieval/oauth/callback" // RU-06
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
				Authorization: dcr.Authorization{AllowMissingState: allowed}, Metadata: dcr.Metadata{PrivateUseSchemes: []string{"cursor"}},
			}})
			client := s.Register(t, map[string]any{"redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
			config := &oauth2.Config{ClientID: client.ID(), RedirectURL: redirect, Endpoint: oauth2Endpoint(s, oauth2.AuthStyleInParams)}
			verifier := oauth2.GenerateVerifier()
			answer, err := visit(t.Context(), config.AuthCodeURL("", oauth2.S256ChallengeOption(verifier)), redirect)
			if !allowed {
				require.ErrorContains(t, err, "invalid_state")
				return
			}
			require.NoError(t, err)
			require.False(t, answer.Has("state"))
			_, err = config.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
		})
	}
}

func TestOAuth2OtherThanRegisteredMethod(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		style  oauth2.AuthStyle
	}{
		"AUTH-04/basic_client_posts":     {"client_secret_basic", oauth2.AuthStyleInParams},
		"AUTH-04/post_client_uses_basic": {"client_secret_post", oauth2.AuthStyleInHeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachTokenKind(t, oauth2Setup, func(t *testing.T, s *dcrtest.Server) {
				client := s.Register(t, serviceMetadata(test.method))
				config := serviceConfig(s, client, test.style)
				_, err := config.Token(t.Context())
				requireRefused(t, err, http.StatusUnauthorized, "invalid_client")
			})
		})
	}
}

func serviceMetadata(method string) map[string]any {
	return map[string]any{
		"client_name": "x/oauth2/clientcredentials", "grant_types": []string{"client_credentials"},
		"token_endpoint_auth_method": method, "scope": "profile email",
	}
}

func serviceConfig(s *dcrtest.Server, client dcrtest.Answer, style oauth2.AuthStyle) *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID: client.ID(), ClientSecret: client.Secret(), TokenURL: s.URL + "/oauth2/token",
		Scopes: []string{"profile", "email"}, AuthStyle: style,
		EndpointParams: map[string][]string{"audience": {apiResource}},
	}
}

func TestOAuth2ClientCredentials(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		style  oauth2.AuthStyle
	}{
		"AUTH-04/client_secret_basic/in_header":   {"client_secret_basic", oauth2.AuthStyleInHeader},
		"AUTH-04/client_secret_basic/auto_detect": {"client_secret_basic", oauth2.AuthStyleAutoDetect},
		"AUTH-04/client_secret_post/in_params":    {"client_secret_post", oauth2.AuthStyleInParams},
		"AUTH-04/client_secret_post/auto_detect":  {"client_secret_post", oauth2.AuthStyleAutoDetect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachTokenKind(t, oauth2Setup, func(t *testing.T, s *dcrtest.Server) {
				client := s.Register(t, serviceMetadata(test.method))
				config := serviceConfig(s, client, test.style)
				token, err := config.Token(t.Context())
				require.NoError(t, err)
				h := &holder{Server: s, client: client, token: token}
				h.again = func(*oauth2.Token) (*oauth2.Token, error) { return config.Token(t.Context()) }
				requireFor(t, h, "", apiResource)
				h.manageToItsEnd(t)
			})
		})
	}
}
