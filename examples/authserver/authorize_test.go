package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSignInAndConsent(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.publicClient(loopbackURI)
	target := "http://127.0.0.1:49152/callback" // RU-07: another port
	page := b.get("/oauth2/auth?" + request(client, target).Encode())
	require.Equal(t, http.StatusOK, page.status)

	failed := b.submit(page, url.Values{"user": {demoUser}, "password": {"guess"}})
	require.Equal(t, http.StatusForbidden, failed.status)
	require.Contains(t, failed.body, "do not match")

	answer := b.decide(b.signIn(failed), "allow")
	require.Equal(t, http.StatusSeeOther, answer.status)
	require.True(t, strings.HasPrefix(answer.location, target+"?"), answer.location)
	query := queryOf(answer.location)
	require.Equal(t, "some-state", query.Get("state"))
	require.Equal(t, s.options.issuer, query.Get("iss")) // 9207-01
	require.NotEmpty(t, b.redeem(client, query.Get("code"), target)["access_token"])
}

func TestDeny(t *testing.T) {
	t.Parallel()
	b := start(t).browser(t)
	page := b.signIn(b.get("/oauth2/auth?" + request(b.publicClient(loopbackURI), loopbackURI).Encode()))
	answer := b.decide(page, "deny")
	require.Equal(t, http.StatusSeeOther, answer.status)
	require.True(t, strings.HasPrefix(answer.location, loopbackURI+"?"), answer.location)
	require.Equal(t, "access_denied", queryOf(answer.location).Get("error"))
	require.Equal(t, "some-state", queryOf(answer.location).Get("state"))
	require.Empty(t, queryOf(answer.location).Get("code"))
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.register(object{
		"client_name":                `<script>alert(1)</script>"'&`,
		"redirect_uris":              []string{"cursor://anysphere.cursor/cb"}, // RU-06
		"token_endpoint_auth_method": "none",
	})
	signIn := b.get("/oauth2/auth?" + request(client, "cursor://anysphere.cursor/cb").Encode())
	consent := b.signIn(signIn)

	t.Run("headers", func(t *testing.T) {
		for _, page := range []reply{signIn, consent, b.get("/"), b.get("/sign-in"), b.get("/oauth2/auth")} {
			require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
			require.Contains(t, page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
			require.NotContains(t, page.header.Get("Content-Security-Policy"), "form-action")
			require.Equal(t, "no-referrer", page.header.Get("Referrer-Policy"))
			require.Equal(t, "no-store", page.header.Get("Cache-Control"))
			require.NotContains(t, page.body, "<script")
		}
	})
	t.Run("consent_says_who_and_where", func(t *testing.T) {
		require.Contains(t, consent.body, "&lt;script&gt;alert(1)&lt;/script&gt;")
		require.Contains(t, consent.body, "This server does not know who made it")
		require.Contains(t, consent.body, `<p class="host">cursor:</p>`)
		require.Contains(t, consent.body, "Another app on it could pretend to be this one")
		require.Contains(t, consent.body, "see your name")
	})
	t.Run("RU-06/lands", func(t *testing.T) {
		answer := b.decide(consent, "allow")
		require.True(t, strings.HasPrefix(answer.location, "cursor://anysphere.cursor/cb?"), answer.location)
	})
	t.Run("CONS-01/loopback_is_warned_of", func(t *testing.T) {
		page := b.get("/oauth2/auth?" + request(b.publicClient(loopbackURI), "http://127.0.0.1:49152/callback").Encode())
		require.Contains(t, page.body, `<p class="host">127.0.0.1:49152</p>`)
		require.Contains(t, page.body, "Any other program on this device could pretend to be this app")
	})
}

// requireRefusal checks a page that is shown in place of a redirect.
func requireRefusal(t *testing.T, page reply, text string) {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, page.status, page.body)
	require.Empty(t, page.location)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.Contains(t, page.body, text)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.publicClient(loopbackURI)
	bogus := "/oauth2/auth?" + request(client, loopbackURI, "scope", "bogus").Encode()

	t.Run("AUTH-05/unknown", func(t *testing.T) {
		unknown := request(object{"client_id": "gone"}, loopbackURI)
		requireRefusal(t, s.browser(t).get("/oauth2/auth?"+unknown.Encode()), "connect again")
	})
	t.Run("AUTH-05/program", func(t *testing.T) {
		unknown := "/oauth2/auth?" + request(object{"client_id": "gone"}, loopbackURI).Encode()
		answer := s.browser(t).get(unknown, "Accept", "application/json")
		require.Equal(t, http.StatusBadRequest, answer.status)
		require.Empty(t, answer.location)
		require.Equal(t, "application/json", answer.header.Get("Content-Type"))
		require.Equal(t, "no-store", answer.header.Get("Cache-Control"))
		var said map[string]string
		require.NoError(t, json.Unmarshal([]byte(answer.body), &said))
		require.Equal(t, "invalid_client", said["error"])
		require.Equal(t, s.options.issuer+"/register", said["registration_endpoint"])
		require.Contains(t, said["message"], "connect again")
		require.NotEmpty(t, said["error_description"])
		require.NotContains(t, s.browser(t).get(bogus, "Accept", "application/json").body, "registration_endpoint", "the client is not the fault")
		for _, accept := range []string{"text/html,application/json;q=0.9", "*/*", ""} {
			requireRefusal(t, s.browser(t).get(unknown, "Accept", accept), "connect again")
		}
	})
	t.Run("RED-01/no_cookie", func(t *testing.T) {
		requireRefusal(t, s.browser(t).get(bogus), "Go back to the app")
	})
	t.Run("RED-01/signed_in", func(t *testing.T) {
		b := s.browser(t)
		b.signIn(b.get("/sign-in"))
		answer := b.get(bogus)
		require.Equal(t, http.StatusSeeOther, answer.status)
		require.Equal(t, "invalid_scope", queryOf(answer.location).Get("error"))
		require.Equal(t, s.options.issuer, queryOf(answer.location).Get("iss"))
	})
	t.Run("RED-01/prompt_none", func(t *testing.T) {
		silent := request(client, loopbackURI, "prompt", "none")
		answer := s.browser(t).get("/oauth2/auth?" + silent.Encode())
		require.Equal(t, "login_required", queryOf(answer.location).Get("error"), answer.body)
	})
	t.Run("RED-01/prompt_none_and_another_fault", func(t *testing.T) {
		for _, fault := range [][]string{{"scope", "bogus"}, {"response_type", "bogus"}, {"code_challenge", "", "code_challenge_method", ""}} {
			silent := request(client, loopbackURI, append([]string{"prompt", "none"}, fault...)...)
			requireRefusal(t, s.browser(t).get("/oauth2/auth?"+silent.Encode()), "Go back to the app")
		}
	})
	t.Run("RED-01/unregistered_redirect", func(t *testing.T) {
		b := s.browser(t)
		b.signIn(b.get("/sign-in"))
		for _, uri := range []string{"https://evil.example/cb", "http://127.0.0.1/other", "//evil.example", "http://127.0.0.1@evil.example/callback"} {
			requireRefusal(t, b.get("/oauth2/auth?"+request(client, uri).Encode()), "redirect_uri")
		}
	})
	t.Run("PKCE-01/no_challenge", func(t *testing.T) {
		bare := "/oauth2/auth?" + request(client, loopbackURI, "code_challenge", "", "code_challenge_method", "").Encode()
		b := s.browser(t)
		requireRefusal(t, b.get(bare), "code_challenge")
		b.signIn(b.get("/sign-in"))
		answer := b.get(bare)
		require.Equal(t, "invalid_request", queryOf(answer.location).Get("error"), "before the user is asked")
		require.Empty(t, queryOf(answer.location).Get("code"))
	})
	t.Run("deleted_while_the_page_is_open", func(t *testing.T) {
		b := s.browser(t)
		client := b.publicClient(loopbackURI)
		page := b.signIn(b.get("/oauth2/auth?" + request(client, loopbackURI).Encode()))
		gone := b.send(http.MethodDelete, text(client, "registration_client_uri"), nil,
			"Authorization", bearer(text(client, "registration_access_token")))
		require.Equal(t, http.StatusNoContent, gone.status)
		requireRefusal(t, b.decide(page, "allow"), "connect again")
	})
}

// push sends a request to the PAR endpoint and returns what the browser is given.
func (b *browser) push(request url.Values) url.Values {
	b.t.Helper()
	answer := b.post("/oauth2/par", request)
	require.Equal(b.t, http.StatusCreated, answer.status, answer.body)
	return url.Values{"client_id": request["client_id"], "request_uri": {text(answer.json(b.t), "request_uri")}}
}

func TestAnyLocalhostPort(t *testing.T) {
	t.Parallel()
	s := start(t)
	const target = "http://localhost:49152/callback"
	for _, way := range []string{"direct", "pushed"} {
		for _, decision := range []string{"allow", "deny"} {
			t.Run("RU-08/"+way+"_"+decision, func(t *testing.T) {
				t.Parallel()
				b := s.browser(t)
				client := b.publicClient("http://localhost/callback")
				values := request(client, target)
				if way == "pushed" {
					values = b.push(values)
				}
				answer := b.decide(b.signIn(b.get("/oauth2/auth?"+values.Encode())), decision)
				require.True(t, strings.HasPrefix(answer.location, target+"?"), answer.location)
				if decision == "allow" {
					require.NotEmpty(t, b.redeem(client, queryOf(answer.location).Get("code"), target)["access_token"])
				}
			})
		}
	}
	for _, uri := range []string{"http://localhost:49152/other", "http://localhost.evil:49152/callback", "https://localhost:49152/callback", "http://a@localhost:49152/callback"} {
		t.Run("RU-08/refused", func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			requireRefusal(t, b.get("/oauth2/auth?"+request(b.publicClient("http://localhost/callback"), uri).Encode()), "redirect_uri")
		})
	}
}

func TestMissingState(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, way := range []string{"direct", "pushed"} {
		t.Run("REAL-01/"+way, func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			values := request(b.publicClient(loopbackURI), loopbackURI, "state", "")
			if way == "pushed" {
				values = b.push(values)
			}
			answer := b.decide(b.signIn(b.get("/oauth2/auth?"+values.Encode())), "allow")
			require.NotEmpty(t, queryOf(answer.location).Get("code"))
			require.NotContains(t, queryOf(answer.location), "state")
		})
	}
}

func TestConsentIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, uri := range map[string]string{
		"CONS-01/T50/loopback": loopbackURI, "CONS-01/T50/private_use_scheme": "vscode://vscode.auth/cb", "CONS-01/public_https": "https://spa.example/cb",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			values := request(b.publicClient(uri), uri)
			b.code(values)
			require.True(t, b.asksAgain(values))
		})
	}
	t.Run("CONS-01/confidential_https", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		client := b.webClient()
		uri := "https://app.example/cb"
		b.code(request(client, uri))
		require.False(t, b.asksAgain(request(client, uri)), "the same again")
		require.False(t, b.asksAgain(request(client, uri, "scope", "openid")), "less")
		require.True(t, b.asksAgain(request(client, uri, "scope", "openid profile email")), "more")
		require.True(t, b.asksAgain(request(client, uri, "resource", s.url("/mcp"))), "for another resource")
		require.True(t, b.asksAgain(request(client, uri, "prompt", "consent")), "asked for")
		require.True(t, b.asksAgain(request(b.webClient(), uri)), "another client")
		require.Equal(t, "consent_required", queryOf(b.get("/oauth2/auth?"+request(client, uri, "scope", "email", "prompt", "none").Encode()).location).Get("error"))
		require.False(t, b.asksAgain(request(client, uri, "prompt", "none")), "without a page")
	})
}

func TestSignInAgain(t *testing.T) {
	t.Parallel()
	b := start(t).browser(t)
	client := b.webClient()
	uri := "https://app.example/cb"
	b.code(request(client, uri))
	for _, parameter := range [][2]string{{"prompt", "login"}, {"prompt", "select_account"}, {"max_age", "0"}} {
		page := b.get("/oauth2/auth?" + request(client, uri, parameter[0], parameter[1]).Encode())
		answer := b.signIn(page) // fails where it is not that page
		require.NotEmpty(t, queryOf(answer.location).Get("code"), "%v: %s", parameter, answer.body)
	}
	page := b.get("/oauth2/auth?" + request(client, uri, "max_age", "3600").Encode())
	require.NotEmpty(t, queryOf(page.location).Get("code"))
}

// asksAgain reports whether an authorization request leads to the consent page, and fails where it
// leads to anything but that page or a code.
func (b *browser) asksAgain(values url.Values) bool {
	b.t.Helper()
	page := b.get("/oauth2/auth?" + values.Encode())
	if strings.HasPrefix(page.location, values.Get("redirect_uri")+"?") {
		require.NotEmpty(b.t, queryOf(page.location).Get("code"), page.location)
		return false
	}
	require.Contains(b.t, page.body, "<h1>Allow this app?</h1>")
	return true
}

// TestConsentEndsWithRevocation: after an operator has removed a client's grants, users are asked
// again, each time, and in a request too that was waiting for its user to sign in meanwhile (T65).
func TestConsentEndsWithRevocation(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.webClient()
	uri := "https://app.example/cb"
	page := "/admin/clients/" + text(client, "client_id")
	revoke := func() {
		answer := b.post(page+"/revoke", nil, s.operator("Sec-Fetch-Site", "same-origin")...)
		require.Equal(t, http.StatusSeeOther, answer.status, answer.body)
	}
	for range 3 {
		b.code(request(client, uri))
		require.False(t, b.asksAgain(request(client, uri)))
		revoke()
		require.True(t, b.asksAgain(request(client, uri)), "CONS-02")
	}
	b.code(request(client, uri))
	waits := b.get("/oauth2/auth?" + request(client, uri, "prompt", "login").Encode())
	revoke()
	answer := b.signIn(waits)
	require.Contains(t, answer.body, "<h1>Allow this app?</h1>", "CONS-02: %s", answer.location)
}

// update replaces the metadata of a client of webClient, changed where the changes say so, and
// returns the answer.
func (b *browser) update(client, changes object) object {
	b.t.Helper()
	metadata := object{
		"client_id": client["client_id"], "client_name": "Web", "redirect_uris": []string{"https://app.example/cb"},
		"grant_types": []string{"authorization_code", "refresh_token"},
	}
	maps.Copy(metadata, changes)
	body, err := json.Marshal(metadata)
	require.NoError(b.t, err)
	answer := b.send(http.MethodPut, text(client, "registration_client_uri"), bytes.NewReader(body),
		"Authorization", bearer(text(client, "registration_access_token")), "Content-Type", "application/json")
	require.Equal(b.t, http.StatusOK, answer.status, answer.body)
	return answer.json(b.t)
}

// TestConsentEndsWithChange: users are asked again when a client changes what they agreed to, and
// not when it changes something else (T65).
func TestConsentEndsWithChange(t *testing.T) {
	t.Parallel()
	b := start(t).browser(t)
	uri := "https://app.example/cb"
	for name, row := range map[string]struct {
		changes object
		asks    bool
	}{
		"CONS-02/name":                   {object{"client_name": "Your Bank"}, true},
		"CONS-02/name_in_a_language":     {object{"client_name#fr": "Votre banque"}, true},
		"CONS-02/redirect_uri_added":     {object{"redirect_uris": []string{uri, "https://evil.example/cb"}}, true},
		"CONS-02/scope":                  {object{"scope": "openid profile email"}, true},
		"CONS-02/method":                 {object{"token_endpoint_auth_method": "client_secret_post"}, true},
		"CONS-02/method_and_keys":        {object{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks"}, true},
		"CONS-02/contacts":               {object{"contacts": []string{"me@app.example"}}, false},
		"CONS-02/pages":                  {object{"client_uri": "https://app.example/", "policy_uri": "https://app.example/privacy"}, false},
		"CONS-02/registration_token":     {nil, false}, // each update replaces it
		"CONS-02/redirect_uris_repeated": {object{"redirect_uris": []string{uri, uri}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := b.webClient()
			b.code(request(client, uri))
			require.False(t, b.asksAgain(request(client, uri)))
			b.update(client, row.changes)
			require.Equal(t, row.asks, b.asksAgain(request(client, uri)))
		})
	}
	t.Run("CONS-02/back_again", func(t *testing.T) {
		client := b.webClient()
		b.code(request(client, uri))
		changed := b.update(client, object{"client_name": "Your Bank"})
		require.True(t, b.asksAgain(request(client, uri)), "not allowed yet under the new name")
		b.update(changed, nil)
		require.False(t, b.asksAgain(request(client, uri)), "the user allowed exactly this registration")
	})
	t.Run("CONS-02/changed_while_the_page_is_open", func(t *testing.T) {
		client := b.webClient()
		page := b.get("/oauth2/auth?" + request(client, uri).Encode())
		b.update(client, object{"client_name": "Your Bank"})
		require.Empty(t, queryOf(b.decide(page, "allow").location).Get("code"), "the user allowed what the page said")
		require.True(t, b.asksAgain(request(client, uri)))
	})
	t.Run("CONS-02/becomes_public", func(t *testing.T) {
		client := b.webClient()
		b.code(request(client, uri))
		b.update(client, object{"token_endpoint_auth_method": "none"})
		b.code(request(client, uri)) // allowed, but a public client may not refer to that
		require.True(t, b.asksAgain(request(client, uri)), "CONS-01")
	})
}

func TestConsentForm(t *testing.T) {
	t.Parallel()
	s := start(t)
	setUp := func(t *testing.T) (*browser, url.Values, reply) {
		b := s.browser(t)
		page := b.signIn(b.get("/oauth2/auth?" + request(b.publicClient(loopbackURI), loopbackURI).Encode()))
		form := readForm([]byte(page.body))
		form.hidden.Set("decision", "allow")
		return b, form.hidden, page
	}
	t.Run("csrf", func(t *testing.T) {
		t.Parallel()
		b, form, page := setUp(t)
		for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			for _, path := range []string{"/consent", "/sign-in", "/sign-out"} {
				answer := b.post(path, form, headers...)
				require.Equal(t, http.StatusForbidden, answer.status)
				require.Empty(t, answer.location)
			}
		}
		require.NotEmpty(t, queryOf(b.decide(page, "allow").location).Get("code"), "the user can still decide")
	})
	t.Run("another_browser", func(t *testing.T) {
		t.Parallel()
		b, form, page := setUp(t)
		other := s.browser(t)
		requireRefusal(t, other.post("/consent", form), "too old")
		requireRefusal(t, other.get("/consent?request="+form.Get("request")), "too old")
		other.signIn(other.get("/sign-in"))
		requireRefusal(t, other.post("/consent", form), "too old")
		requireRefusal(t, other.get("/consent?request="+form.Get("request")), "too old")
		require.NotEmpty(t, queryOf(b.decide(page, "allow").location).Get("code"))
	})
	t.Run("decides_once", func(t *testing.T) {
		t.Parallel()
		b, form, page := setUp(t)
		b.decide(page, "deny")
		requireRefusal(t, b.post("/consent", form), "too old")
	})
	t.Run("takes_nothing_from_the_form", func(t *testing.T) {
		t.Parallel()
		b, form, _ := setUp(t)
		for name, value := range map[string]string{"redirect_uri": "https://evil.example/", "scope": "openid email mcp", "client_id": "other", "state": "other"} {
			form.Set(name, value)
		}
		answer := b.post("/consent?"+form.Encode(), form)
		require.True(t, strings.HasPrefix(answer.location, loopbackURI+"?"), answer.location)
		require.Equal(t, "some-state", queryOf(answer.location).Get("state"))
		require.Equal(t, "openid profile", queryOf(answer.location).Get("scope"))
	})
	t.Run("signed_out", func(t *testing.T) {
		t.Parallel()
		b, form, _ := setUp(t)
		b.post("/sign-out", nil)
		requireRefusal(t, b.post("/consent", form), "too old")
	})
	t.Run("no_decision_is_a_denial", func(t *testing.T) {
		t.Parallel()
		b, form, _ := setUp(t)
		form.Del("decision")
		require.Equal(t, "access_denied", queryOf(b.post("/consent", form).location).Get("error"))
	})
	t.Run("sign_in_leads_nowhere_else", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		answer := b.post("/sign-in?request=https://evil.example", url.Values{
			"user": {demoUser}, "password": {s.users.password}, "request": {"//evil.example"},
		})
		requireRefusal(t, answer, "too old")
	})
}

func TestSessionCookie(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	before := b.get("/oauth2/auth?" + request(b.publicClient(loopbackURI), loopbackURI).Encode())
	cookie := before.header.Get("Set-Cookie")
	for _, attribute := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		require.Contains(t, cookie, attribute)
	}
	require.NotContains(t, cookie, "Secure", "http on loopback")
	form := readForm([]byte(before.body)).hidden
	form.Set("user", demoUser)
	form.Set("password", s.users.password)
	after := b.post("/sign-in", form).header.Get("Set-Cookie")
	require.NotEmpty(t, after, "signing in has to change the cookie (session fixation)")
	require.NotEqual(t, cookie, after)

	b.post("/sign-out", nil)
	require.Contains(t, b.get("/").body, "not signed in")

	secure := newSessions(true)
	require.True(t, secure.secure)
	require.True(t, strings.HasPrefix(secure.cookie, "__Host-"))
}

func TestAuthorizeByPost(t *testing.T) {
	t.Parallel()
	b := start(t).browser(t)
	values := request(b.publicClient(loopbackURI), loopbackURI)
	answer := b.post("/oauth2/auth", values, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusSeeOther, answer.status)
	require.Equal(t, "/oauth2/auth?"+values.Encode(), answer.location)
	require.Contains(t, b.get(answer.location).body, "<h1>Sign in</h1>")
}
