// Package endpoints_test shows fosite's endpoints with registered clients: authorization and pushed requests, tokens,
// revocation, introspection, client authentication, and discovery. Its facts are what is known of fosite itself.
package endpoints_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// registerAt registers a client with one redirect URI and a method.
func registerAt(t *testing.T, s *dcrtest.Server, method, redirectURI string, pairs ...any) dcrtest.AuthClient {
	t.Helper()
	metadata := map[string]any{
		"token_endpoint_auth_method": method, "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token"},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return dcrtest.AuthClient{Answer: s.Register(t, metadata), Server: s, Method: method}
}

// pushedQuery sends an authorization request to the PAR endpoint and returns the one that
// refers to it.
func pushedQuery(t *testing.T, client dcrtest.AuthClient, query url.Values) url.Values {
	t.Helper()
	query.Del("client_id")
	answer := client.Send(t, "/oauth2/par", client.Method, query)
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	return url.Values{"client_id": {client.ID()}, "request_uri": {answer.Text("request_uri")}}
}

// shown judges an authorization error that a person sees.
func shown(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	require.GreaterOrEqual(t, a.Status, 400, a.Body)
	require.Less(t, a.Status, 500, a.Body)
	require.Empty(t, a.Header.Get("Location"))
}

func TestPKCE(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name              string
		challenge, method string
		plain             bool // Config.Authorization.AllowPlainPKCE
		refused           bool
	}{
		{name: "S256", challenge: dcrtest.Challenge(), method: "S256"},
		{name: "none", refused: true},
		{name: "method_only", method: "S256", refused: true},
		{name: "plain", challenge: dcrtest.Verifier, method: "plain", refused: true},
		{name: "no_method", challenge: dcrtest.Verifier, refused: true},
		{name: "unknown_method", challenge: dcrtest.Verifier, method: "S512", refused: true},
		{name: "lower_case", challenge: dcrtest.Challenge(), method: "s256", refused: true},
		{name: "plain_allowed", challenge: dcrtest.Verifier, method: "plain", plain: true},
		{name: "no_method_allowed", challenge: dcrtest.Verifier, plain: true},
		{name: "none_where_plain_is_allowed", plain: true, refused: true},
	}
	for _, row := range rows {
		for name, settings := range map[string]func(*fosite.Config){
			"default":  func(*fosite.Config) {},
			"enforced": func(c *fosite.Config) { c.EnforcePKCE, c.EnforcePKCEForPublicClients = true, true },
			"public":   func(c *fosite.Config) { c.EnforcePKCEForPublicClients = true },
		} {
			for _, pushed := range []bool{false, true} {
				t.Run("PKCE-01/T50/"+row.name+"/"+name+map[bool]string{true: "/pushed"}[pushed], func(t *testing.T) {
					t.Parallel()
					s := dcrtest.Start(t, dcrtest.Setup{
						Config: dcr.Config{Authorization: dcr.Authorization{AllowPlainPKCE: row.plain}},
						Fosite: func(c *fosite.Config) { settings(c); c.EnablePKCEPlainChallengeMethod = true },
					})
					client := dcrtest.RegisterFor(t, s, "none")
					query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge", row.challenge, "code_challenge_method", row.method)
					if pushed && row.refused && dcrtest.RefusedPush(t, client, query) {
						return
					}
					if pushed {
						query = pushedQuery(t, client, query)
					}
					answer := s.Authorize(t, query)
					if row.refused {
						dcrtest.RequireRedirectError(t, answer, "invalid_request")
						return
					}
					code := answer.Location(t).Query().Get("code")
					token := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, dcrtest.RedirectURI))
					require.Equal(t, http.StatusOK, token.Status, token.Body)
				})
			}
		}
	}
}

func TestPKCEOfOthers(t *testing.T) {
	t.Parallel()
	static := dcrtest.StaticClient(t, "static")
	static.Public = true
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{static}})
	for _, method := range dcrtest.AuthMethods[1:] {
		t.Run("PKCE-01/confidential/"+method, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, method)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge", "", "code_challenge_method", ""))
			form := dcrtest.CodeForm("", code, dcrtest.RedirectURI)
			form.Del("code_verifier")
			answer := client.Send(t, "/oauth2/token", method, form)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		})
	}
	t.Run("PKCE-01/static", func(t *testing.T) {
		t.Parallel()
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "code_challenge", "", "code_challenge_method", "")))
	})
	t.Run("PKCE-01/wrong_verifier", func(t *testing.T) {
		t.Parallel()
		client := dcrtest.RegisterFor(t, s, "none")
		for _, verifier := range []string{"", strings.Repeat("x", 43), dcrtest.Challenge()} {
			form := dcrtest.CodeForm(client.ID(), s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), dcrtest.RedirectURI)
			form.Set("code_verifier", verifier)
			answer := s.Form(t, "/oauth2/token", form)
			require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
			require.Equal(t, "invalid_grant", answer.Text("error"))
		}
	})
}

func TestMissingState(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		allowed bool
		pairs   []string
		refusal string
	}{
		{"off", false, []string{"state", ""}, "invalid_state"},
		{"on", true, []string{"state", ""}, ""},
		{"on_without_pkce", true, []string{"state", "", "code_challenge", "", "code_challenge_method", ""}, "invalid_state"},
		{"on_short_state", true, []string{"state", "short"}, "invalid_state"},
		{"on_with_state", true, nil, ""},
	}
	for _, row := range rows {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{AllowMissingState: row.allowed}}})
		for _, method := range []string{"none", "client_secret_basic"} {
			t.Run("REAL-01/"+row.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				client := dcrtest.RegisterFor(t, s, method)
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, row.pairs...)
				answer := s.Authorize(t, query)
				if row.refusal != "" {
					dcrtest.RequireRedirectError(t, answer, row.refusal)
					return
				}
				values := answer.Location(t).Query()
				require.NotEmpty(t, values.Get("code"), answer.Location(t))
				require.Equal(t, query["state"], values["state"])
				denied := dcrtest.RequireRedirectError(t, s.Authorize(t, query, dcrtest.Header(dcrtest.HeaderDeny, "1")), "access_denied")
				require.Equal(t, query["state"], denied["state"])
				token := client.Send(t, "/oauth2/token", method, dcrtest.CodeForm("", values.Get("code"), dcrtest.RedirectURI))
				require.Equal(t, http.StatusOK, token.Status, token.Body)
			})
			t.Run("REAL-01/pushed/"+row.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				client := dcrtest.RegisterFor(t, s, method)
				query := dcrtest.AuthorizeQuery("", dcrtest.RedirectURI, row.pairs...)
				if row.refusal != "" {
					query.Del("client_id")
					answer := client.Send(t, "/oauth2/par", method, query)
					require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
					require.Equal(t, row.refusal, answer.Text("error"))
					return
				}
				for _, edits := range [][]dcrtest.Edit{nil, {dcrtest.Header(dcrtest.HeaderDeny, "1")}} {
					values := s.Authorize(t, pushedQuery(t, client, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI, row.pairs...)), edits...).Location(t).Query()
					require.Equal(t, query["state"], values["state"])
					require.Equal(t, edits == nil, values.Has("code"))
				}
			})
		}
	}
}

func TestMissingStateInOtherModes(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{AllowMissingState: true}}})
	client := dcrtest.RegisterFor(t, s, "none")
	for _, mode := range []string{"query", "fragment", "form_post"} {
		for _, edits := range [][]dcrtest.Edit{nil, {dcrtest.Header(dcrtest.HeaderDeny, "1")}} {
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "state", "", "response_mode", mode), edits...)
			require.NotContains(t, answer.Body+answer.Header.Get("Location"), "state", "REAL-01 %s", mode)
			require.Contains(t, answer.Body+answer.Header.Get("Location"), "iss")
		}
	}
}

func TestRefreshToken(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{}) // whose RefreshTokenScopes are empty
	for _, method := range dcrtest.AuthMethods {
		t.Run("REAL-02/"+method, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, method)
			token := client.Tokens(t, s, "scope", "profile").Text("refresh_token")
			require.NotEmpty(t, token)
			again := client.Send(t, "/oauth2/token", method, dcrtest.RefreshForm("", token))
			require.Equal(t, http.StatusOK, again.Status, again.Body)
			require.NotEmpty(t, again.Text("refresh_token"))
		})
	}
	t.Run("REAL-02/not_registered", func(t *testing.T) {
		t.Parallel()
		client := registerAt(t, s, "none", dcrtest.RedirectURI, "grant_types", []string{"authorization_code"})
		require.NotContains(t, client.Tokens(t, s).Members, "refresh_token")
	})
}

func TestAudience(t *testing.T) {
	t.Parallel()
	const resource = "https://mcp.example/"
	issuer := func(context.Context) string { return "https://issuer.example" }
	store := dcr.NewMemoryStore()
	early := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Endpoints: dcr.Endpoints{Issuer: issuer}}})
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Endpoints: dcr.Endpoints{Issuer: issuer}, Authorization: dcr.Authorization{Audience: []string{resource}}}})
	clients := map[string]dcrtest.AuthClient{
		"registered": dcrtest.RegisterFor(t, s, "none"), "registered_before": dcrtest.RegisterFor(t, early, "none"),
		"confidential": dcrtest.RegisterFor(t, s, "client_secret_basic"),
	}
	for name, client := range clients {
		client.Server = s
		for _, pushed := range []bool{false, true} {
			t.Run("AUD-01/"+name+map[bool]string{true: "/pushed"}[pushed], func(t *testing.T) {
				t.Parallel()
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "audience", resource)
				if pushed {
					query = pushedQuery(t, client, query)
				}
				tokens := client.Send(t, "/oauth2/token", client.Method, dcrtest.CodeForm("", s.Code(t, query), dcrtest.RedirectURI))
				for range 3 {
					require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
					sees := introspectAudience(t, s, tokens.Text("access_token"))
					require.Equal(t, []string{resource}, sees)
					tokens = client.Send(t, "/oauth2/token", client.Method, dcrtest.RefreshForm("", tokens.Text("refresh_token")))
				}
			})
		}
	}
	t.Run("AUD-01/another", func(t *testing.T) {
		t.Parallel()
		query := dcrtest.AuthorizeQuery(clients["registered"].ID(), dcrtest.RedirectURI, "audience", "https://other.example/")
		dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_request")
	})
}

func introspectAudience(t *testing.T, s *dcrtest.Server, token string) []string {
	t.Helper()
	_, request, err := s.Provider.IntrospectToken(context.Background(), token, fosite.AccessToken, dcrtest.NewSession(""))
	require.NoError(t, err)
	return request.GetGrantedAudience()
}

func TestErrorsBeforeSignIn(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.StaticClient(t, "static")}})
	anonymous := dcrtest.Header(dcrtest.HeaderAnonymous, "1")
	mistakes := map[string][]string{
		"scope": {"scope", "bogus"}, "state": {"state", "x"}, "response_type": {"response_type", "token"},
		"pkce": {"code_challenge", "", "code_challenge_method", ""}, "response_mode": {"response_mode", "fragment", "scope", "bogus"},
		"form_post": {"response_mode", "form_post", "scope", "bogus"},
	}
	for name, pairs := range mistakes {
		for _, redirectURI := range []string{dcrtest.RedirectURI, "http://127.0.0.1/cb", "com.example.app:/cb"} {
			if name == "form_post" && redirectURI != dcrtest.RedirectURI {
				continue // no page posts to an application
			}
			t.Run("RED-01/"+name+"/"+redirectURI[:5], func(t *testing.T) {
				t.Parallel() // T57
				client := registerAt(t, s, "none", redirectURI)
				query := dcrtest.AuthorizeQuery(client.ID(), redirectURI, pairs...)
				page := s.Authorize(t, query, anonymous)
				shown(t, page)
				require.NotContains(t, page.Body, "<form")
				query.Set("prompt", "none")
				shown(t, s.Authorize(t, query, anonymous)) // whatever is asked for
				answered(t, s.Authorize(t, query), redirectURI)
				query.Del("prompt")
				answered(t, s.Authorize(t, query), redirectURI)
				query.Set("redirect_uri", "https://evil.example/")
				query.Set("prompt", "none")
				shown(t, s.Authorize(t, query, anonymous))
			})
		}
	}
	t.Run("RED-01/static", func(t *testing.T) {
		t.Parallel()
		dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", "bogus"), anonymous), "invalid_scope")
	})
}

func TestErrorsOfASilentRequest(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := registerAt(t, s, "none", dcrtest.RedirectURI)
	for _, prompt := range []string{"none", "", "none login", "consent"} {
		query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "prompt", prompt)
		request, err := s.Provider.NewAuthorizeRequest(t.Context(), httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil))
		require.NoError(t, err)
		for refusal, awaited := range map[*fosite.RFC6749Error]bool{
			fosite.ErrLoginRequired: true, fosite.ErrInteractionRequired: true, fosite.ErrConsentRequired: true,
			fosite.ErrAccessDenied: false, fosite.ErrInvalidScope: false, fosite.ErrServerError: false, fosite.ErrInvalidClient: false,
		} {
			t.Run("RED-01/prompt="+prompt+"/"+refusal.ErrorField, func(t *testing.T) {
				t.Parallel() // OpenID Connect Core 1.0, section 3.1.2.6
				require.Equal(t, !awaited || prompt != "none", s.Provider.ShowsAuthorizeError(request, refusal, false))
				require.Equal(t, refusal == fosite.ErrInvalidClient, s.Provider.ShowsAuthorizeError(request, refusal, true))
			})
		}
	}
}

// answered judges an error that the client is told, by a redirect or by a form.
func answered(t *testing.T, a dcrtest.Answer, redirectURI string) {
	t.Helper()
	if a.Status == http.StatusOK {
		require.Contains(t, a.Body, `action="`+redirectURI+`"`)
		require.Contains(t, a.Body, `name="error"`)
		return
	}
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.True(t, strings.HasPrefix(a.Header.Get("Location"), redirectURI), a.Header.Get("Location"))
	require.Contains(t, a.Header.Get("Location"), "error=")
}

func TestConsentIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.StaticClient(t, "static")}})
	rows := []struct {
		method, redirectURI string
		asked               bool
	}{
		{"none", "http://127.0.0.1/cb", true}, {"none", "http://127.0.0.1:8080/cb", true}, {"none", "http://[::1]/cb", true},
		{"none", "http://localhost:3000/cb", true}, {"none", "com.example.app:/cb", true},
		{"none", "https://127.0.0.1:8443/cb", true}, {"none", "https://localhost/cb", true}, {"none", "https://[::1]/cb", true},
		{"none", "https://client.example/cb", false}, {"none", "https://localhost.example/cb", false},
		{"client_secret_basic", "http://127.0.0.1/cb", false}, {"private_key_jwt", "com.example.app:/cb", false},
		{"client_secret_post", "https://client.example/cb", false},
	}
	for _, row := range rows {
		t.Run("CONS-01/"+row.method+"/"+row.redirectURI, func(t *testing.T) {
			t.Parallel()
			var pairs []any
			if row.method == "private_key_jwt" {
				pairs = []any{"jwks", dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))}
			}
			client := registerAt(t, s, row.method, row.redirectURI, pairs...)
			query := dcrtest.AuthorizeQuery(client.ID(), row.redirectURI)
			for _, q := range []url.Values{query, pushedQuery(t, client, dcrtest.AuthorizeQuery("", row.redirectURI))} {
				r := httptest.NewRequest(http.MethodGet, s.URL+"/oauth2/auth?"+q.Encode(), nil)
				request, err := s.Provider.NewAuthorizeRequest(context.Background(), r)
				require.NoError(t, err)
				require.Equal(t, row.asked, consent.Needed(request))
			}
		})
	}
}

func TestReservedScope(t *testing.T) {
	t.Parallel()
	static := dcrtest.StaticClient(t, "static", "*", "dcr:manage", "dcr:*")
	static.ResponseTypes = []string{"code", "token"}
	static.GrantTypes = append(static.GrantTypes, "implicit")
	factories := append([]compose.Factory{compose.OAuth2AuthorizeImplicitFactory}, dcrtest.DefaultFactories...)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{static}, Factories: factories})
	own := dcrtest.Basic("static", "a static secret")
	for _, scope := range []string{"dcr:manage", "profile dcr:manage", "dcr:manage profile"} {
		t.Run("SCOPE-02/client_credentials/"+scope, func(t *testing.T) {
			t.Parallel()
			answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}, own)
			require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
			require.Equal(t, "invalid_scope", answer.Text("error"))
		})
		t.Run("SCOPE-02/authorization_code/"+scope, func(t *testing.T) {
			t.Parallel()
			dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", scope)), "invalid_scope")
		})
		t.Run("SCOPE-02/pushed/"+scope, func(t *testing.T) {
			t.Parallel()
			answer := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", scope), own)
			if answer.Status == http.StatusCreated {
				query := url.Values{"client_id": {"static"}, "request_uri": {answer.Text("request_uri")}}
				dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_scope")
				return
			}
			require.Equal(t, "invalid_scope", answer.Text("error"), answer.Body)
		})
		t.Run("SCOPE-02/implicit/"+scope, func(t *testing.T) {
			t.Parallel()
			to := s.Authorize(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", scope, "response_type", "token")).Location(t)
			require.Contains(t, to.Fragment, "error=invalid_scope")
			require.NotContains(t, to.Fragment, "access_token")
		})
		t.Run("SCOPE-02/refresh_token/"+scope, func(t *testing.T) {
			t.Parallel()
			code := s.Code(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", "profile"))
			form := dcrtest.RefreshForm("", s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), own).Text("refresh_token"))
			form.Set("scope", scope)
			answer := s.Form(t, "/oauth2/token", form, own)
			require.NotContains(t, answer.Text("scope"), "dcr:manage", answer.Body)
		})
	}
	t.Run("SCOPE-02/others", func(t *testing.T) {
		t.Parallel()
		answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"profile"}}, own)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "profile", answer.Text("scope"))
	})
}

// TestFormPostToAnApp: no browser posts a form to a private-use scheme, and fosite's page
// would post the code to the server itself.
func TestFormPostToAnApp(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	const app, web = "com.example.app:/cb", "https://client.example/cb"
	client := s.Register(t, map[string]any{"redirect_uris": []string{app, web}, "token_endpoint_auth_method": "none"})
	answer := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), app, "response_mode", "form_post"))
	require.Equal(t, "unsupported_response_mode", answer.Location(t).Query().Get("error"), answer.Body)
	require.NotContains(t, answer.Body, "Zgotmpl")
	answer = s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), web, "response_mode", "form_post"))
	require.Contains(t, answer.Body, `name="code"`)
}
