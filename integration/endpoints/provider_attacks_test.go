package endpoints_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestSecondTryWithoutVerifier: fosite forgets a code's challenge at the first wrong
// verifier, and would take the code without any at the next try (PKCE-01).
func TestSecondTryWithoutVerifier(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"none", "client_secret_basic"} {
		for name, storage := range map[string]any{"memory": nil, "forgetful": forgettingStore{dcr.NewMemoryStore(), new(sync.Map)}} {
			if method != "none" && name == "forgetful" {
				continue // a storage that forgets opens the code to its own client, who has the secret
			}
			t.Run("PKCE-01/"+method+"/"+name, func(t *testing.T) {
				t.Parallel()
				const redirect = "https://app.example/cb"
				s := dcrtest.Start(t, dcrtest.Setup{Storage: storage})
				client := s.Register(t, map[string]any{"redirect_uris": []string{redirect}, "token_endpoint_auth_method": method})
				var edits []dcrtest.Edit
				if method != "none" {
					edits = append(edits, dcrtest.Basic(client.ID(), client.Secret()))
				}
				form := dcrtest.CodeForm(client.ID(), s.Code(t, dcrtest.AuthorizeQuery(client.ID(), redirect)), redirect)
				form.Set("code_verifier", strings.Repeat("x", 43))
				require.Equal(t, "invalid_grant", s.Form(t, "/oauth2/token", form, edits...).Text("error"))
				form.Del("code_verifier")
				second := s.Form(t, "/oauth2/token", form, edits...)
				require.Equal(t, http.StatusBadRequest, second.Status, second.Body)
				require.NotContains(t, second.Body, "access_token")
			})
		}
	}
}

// forgettingStore drops PKCE sessions when fosite says so, as storages of hosts do.
type forgettingStore struct {
	*dcr.MemoryStore
	dropped *sync.Map
}

func (s forgettingStore) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if _, ok := s.dropped.Load(signature); ok {
		return nil, fosite.ErrNotFound
	}
	return s.MemoryStore.GetPKCERequestSession(ctx, signature, session)
}

func (s forgettingStore) DeletePKCERequestSession(_ context.Context, signature string) error {
	s.dropped.Store(signature, true)
	return nil
}

// victim is a token that nobody but its client may look at.
func victim(t testing.TB, s *dcrtest.Server) string {
	t.Helper()
	client := s.Register(t, `{"grant_types":["client_credentials"]}`)
	answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer.Text("access_token")
}

func attackedServer(t testing.TB, edit ...func(*dcrtest.Setup)) *dcrtest.Server {
	setup := dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}}
	for _, e := range edit {
		e(&setup)
	}
	return dcrtest.Start(t, setup)
}

// TestIntrospectionThatFailsToParse: what can't be parsed once is not parsed again (T53).
func TestIntrospectionThatFailsToParse(t *testing.T) {
	t.Parallel()
	s := attackedServer(t)
	token := victim(t, s)
	stranger := s.Register(t, `{"redirect_uris":["https://app.example/cb"]}`)
	body := "--X\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + token + "\r\n--X--\r\n"
	for name, target := range map[string]string{"plain": "/oauth2/introspect", "semicolon": "/oauth2/introspect?;", "percent": "/oauth2/introspect?x=%zz"} {
		t.Run("INTRO-01/T53/"+name, func(t *testing.T) {
			answer := s.Do(t, http.MethodPost, target, []byte(body), dcrtest.Basic(stranger.ID(), stranger.Secret()),
				dcrtest.Header("Content-Type", "multipart/form-data; boundary=X"))
			require.NotContains(t, answer.Body, `"active":true`)
			require.Less(t, answer.Status, 500)
		})
	}
	t.Run("INTRO-01/broken_basic", func(t *testing.T) {
		answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {token}},
			dcrtest.Header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("%zz:x"))))
		require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	})
	t.Run("INTRO-01/bearer_in_the_query", func(t *testing.T) {
		answer := s.Form(t, "/oauth2/introspect?access_token="+url.QueryEscape(token), url.Values{"token": {victim(t, s)}})
		require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	})
}

// TestAssertionClaimsByTheirExactNames: two readers of one assertion read the same (T18).
func TestAssertionClaimsByTheirExactNames(t *testing.T) {
	t.Parallel()
	s := attackedServer(t)
	d := dcrtest.NewDirectory(t, "1")
	keys, err := json.Marshal(d.Set())
	require.NoError(t, err)
	register := func() dcrtest.Answer {
		return s.Register(t, `{"grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+string(keys)+`}`)
	}
	attacker, other := register(), register()
	assertion := func(claims string) url.Values {
		raw := dcrtest.SignClaims(t, jose.ES256, jose.JSONWebKey{Key: d.Key, KeyID: "1"}, nil, json.RawMessage(claims))
		return url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {raw}}
	}
	base := `{"iss":"` + attacker.ID() + `","sub":"` + attacker.ID() + `","aud":"` + s.URL + `","jti":"j`
	soon := time.Now().Add(time.Minute).Unix()
	expiry := func(n int64) string { b, _ := json.Marshal(n); return string(b) }

	t.Run("AUTH-07/EXP", func(t *testing.T) {
		form := assertion(base + `1","exp":4102444800,"EXP":` + expiry(soon) + `}`)
		form.Set("grant_type", "client_credentials")
		require.Equal(t, "invalid_client", s.Form(t, "/oauth2/token", form).Text("error"))
	})
	t.Run("AUTH-07/duplicate", func(t *testing.T) {
		form := assertion(base + `2","exp":4102444800,"exp":` + expiry(soon) + `}`)
		form.Set("grant_type", "client_credentials")
		require.Equal(t, "invalid_client", s.Form(t, "/oauth2/token", form).Text("error"))
	})
	t.Run("AUTH-03/AUD", func(t *testing.T) {
		form := assertion(strings.Replace(base, `"aud":"`+s.URL+`"`, `"aud":["`+s.URL+`","https://other.example"],"AUD":"`+s.URL+`"`, 1) + `3","exp":` + expiry(soon) + `}`)
		form.Set("grant_type", "client_credentials")
		require.Equal(t, "invalid_client", s.Form(t, "/oauth2/token", form).Text("error"))
	})
	t.Run("INTRO-01/T53/SUB", func(t *testing.T) {
		form := assertion(`{"iss":"` + other.ID() + `","sub":"` + other.ID() + `","aud":"` + s.URL + `","jti":"k1","exp":` + expiry(soon) + `}`)
		form.Set("grant_type", "client_credentials")
		tokens := s.Form(t, "/oauth2/token", form)
		require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
		form = assertion(base + `4","SUB":"` + other.ID() + `","exp":` + expiry(soon) + `}`)
		form.Set("token", tokens.Text("access_token"))
		require.NotContains(t, s.Form(t, "/oauth2/introspect", form).Body, `"active":true`)
	})
}

// TestStatelessBearerIntrospectsNothing: whoever can't be told from a self-registered client
// is treated as one (INTRO-01).
func TestStatelessBearerIntrospectsNothing(t *testing.T) {
	t.Parallel()
	s := attackedServer(t, func(setup *dcrtest.Setup) {
		setup.JWT = true
		setup.Factories = []compose.Factory{
			compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2ClientCredentialsGrantFactory, compose.OpenIDConnectExplicitFactory,
			compose.OAuth2PKCEFactory, compose.OAuth2StatelessJWTIntrospectionFactory,
		}
	})
	const redirect = "https://app.example/cb"
	client := s.Register(t, `{"redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`)
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), redirect, "scope", "openid"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, redirect))
	for _, bearer := range []string{tokens.Text("access_token"), tokens.Text("id_token")} {
		require.NotEmpty(t, bearer, tokens.Body)
		answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {victim(t, s)}}, dcrtest.Bearer(bearer))
		require.NotContains(t, answer.Body, `"active":true`)
	}
}

// TestLargeForms: storages keep what fosite parses, so it is bounded before (T15).
func TestLargeForms(t *testing.T) {
	t.Parallel()
	s := attackedServer(t)
	const redirect = "https://app.example/cb"
	client := s.Register(t, `{"redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`)
	big := dcrtest.AuthorizeQuery(client.ID(), redirect, "padding", strings.Repeat("p", 100<<10))
	many := dcrtest.AuthorizeQuery(client.ID(), redirect)
	for i := range 500 {
		many.Add("p", string(rune('a'+i%26)))
	}
	for name, form := range map[string]url.Values{"T15/large": big, "T15/many": many} {
		t.Run(name, func(t *testing.T) {
			answer := s.Form(t, "/oauth2/par", form)
			require.Equal(t, http.StatusRequestEntityTooLarge, answer.Status, answer.Body)
			require.Equal(t, "invalid_request", answer.Text("error"))
			require.Equal(t, http.StatusRequestEntityTooLarge, s.Authorize(t, form).Status)
		})
	}
	s.Code(t, dcrtest.AuthorizeQuery(client.ID(), redirect))
	huge := url.Values{"padding": {strings.Repeat("p", 2<<20)}}
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, s.Form(t, path, huge).Status, path)
	}
}

// TestRegistrationChangesWhileTheUserIsAsked: what is answered is held against the
// registration as it is then (T36, T39).
func TestRegistrationChangesWhileTheUserIsAsked(t *testing.T) {
	t.Parallel()
	s := attackedServer(t, func(setup *dcrtest.Setup) { setup.Config.Management.Token.KeepOnUpdate = true })
	const redirect, next = "https://app.example/cb", "https://app.example/next"
	ask := func(method string, query func(id string) url.Values, change map[string]any) error {
		client := s.Register(t, map[string]any{"redirect_uris": []string{redirect}, "token_endpoint_auth_method": method})
		r, err := http.NewRequest(http.MethodGet, s.URL+"/oauth2/auth?"+query(client.ID()).Encode(), nil)
		require.NoError(t, err)
		request, err := s.Provider.NewAuthorizeRequest(context.Background(), r)
		require.NoError(t, err)
		change["client_id"] = client.ID()
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, change).Status)
		_, err = s.Provider.NewAuthorizeResponse(context.Background(), request, dcrtest.NewSession("alice"))
		return err
	}
	ordinary := func(id string) url.Values { return dcrtest.AuthorizeQuery(id, redirect) }
	bare := func(id string) url.Values {
		return dcrtest.AuthorizeQuery(id, redirect, "code_challenge", "", "code_challenge_method", "")
	}
	require.NoError(t, ask("client_secret_basic", ordinary, map[string]any{"redirect_uris": []string{redirect, next}}))
	require.ErrorIs(t, ask("client_secret_basic", ordinary, map[string]any{"redirect_uris": []string{next}}), fosite.ErrInvalidClient, "T39")
	require.ErrorIs(t, ask("client_secret_basic", bare, map[string]any{"redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"}), fosite.ErrInvalidRequest)
}

// TestParametersBesideAPushedRequest were not pushed, and count for nothing (RFC 9126).
func TestParametersBesideAPushedRequest(t *testing.T) {
	t.Parallel()
	s := attackedServer(t)
	const redirect = "https://app.example/cb"
	client := s.Register(t, `{"redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`)
	pushed := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), redirect, "scope", "openid"))
	require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
	r, err := http.NewRequest(http.MethodGet, s.URL+"/oauth2/auth?"+url.Values{
		"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}, "nonce": {"injected-nonce"}, "prompt": {"none"}, "code_challenge": {"x"},
	}.Encode(), nil)
	require.NoError(t, err)
	request, err := s.Provider.NewAuthorizeRequest(context.Background(), r)
	require.NoError(t, err)
	form := request.GetRequestForm()
	require.Empty(t, form.Get("nonce")+form.Get("prompt"))
	require.Equal(t, dcrtest.Challenge(), form.Get("code_challenge"))
}

// TestErrorOverwritesTheQuery: a registered query can't speak for the server (9207-01).
func TestErrorOverwritesTheQuery(t *testing.T) {
	t.Parallel()
	s := attackedServer(t)
	const redirect = "https://app.example/cb?iss=https%3A%2F%2Fevil.example&error=none&keep=1"
	client := s.Register(t, map[string]any{"redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	query := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), redirect, "scope", "unknown")).Location(t).Query()
	require.Equal(t, []string{s.URL}, query["iss"])
	require.Equal(t, []string{"invalid_scope"}, query["error"])
	require.Equal(t, []string{"1"}, query["keep"])
}

// TestPoliciesAndSpellings: a policy judges where a URI leads, not how it is written.
func TestPoliciesAndSpellings(t *testing.T) {
	t.Parallel()
	hosts := attackedServer(t, func(setup *dcrtest.Setup) {
		setup.Config.Policies = []dcr.Policy{policy.RequireRedirectHosts("good.example")}
	})
	dcrtest.RequireMemberRefused(t, hosts.Post(t, `{"redirect_uris":["com.evil.app://good.example/cb"]}`), "invalid_redirect_uri", "redirect_uris")
	secrets := attackedServer(t, func(setup *dcrtest.Setup) {
		setup.Config.Policies = []dcr.Policy{policy.ConfidentialRedirects("https://good.example/cb")}
	})
	for _, uri := range []string{"https://good.example/cb", "https://GOOD.example/cb", "https://good.example:443/cb", "https://good.example/cb?x=1", "https://good.example/%63b", "https://good.example/cb/"} {
		body, err := json.Marshal(map[string]any{"redirect_uris": []string{uri}, "token_endpoint_auth_method": "none"})
		require.NoError(t, err)
		dcrtest.RequireMemberRefused(t, secrets.Post(t, body), "invalid_client_metadata", "token_endpoint_auth_method")
	}
}
