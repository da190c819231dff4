package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPendingNeedsNoRoom: those who send authorization requests and never answer take nothing from others.
func TestPendingNeedsNoRoom(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.publicClient(loopbackURI)
	target := "/oauth2/auth?" + request(client, loopbackURI).Encode()
	signIn := b.get(target)
	other := s.browser(t)
	consent := other.signIn(other.get(target))

	t.Run("T59/sign_ins_under_way", func(t *testing.T) {
		anonymous := s.browser(t)
		anonymous.http.Jar = nil
		for range 5_200 {
			require.Equal(t, http.StatusOK, anonymous.get(target).status)
		}
		require.Empty(t, s.decided.items)
		require.Len(t, s.sessions.logins.items, 1)
		require.NotEmpty(t, queryOf(b.decide(b.signIn(signIn), "allow").location).Get("code"))
		require.NotEmpty(t, queryOf(other.decide(consent, "allow").location).Get("code"))
		require.Len(t, s.decided.items, 2)
	})
}

// twoPages fetches a page twice before the browser has a cookie, as with two tabs, or ahead of a click.
func (b *browser) twoPages(target string) (first, second reply) {
	b.t.Helper()
	jar := b.http.Jar
	b.http.Jar = nil
	first, second = b.get(target), b.get(target)
	b.http.Jar = jar
	server, err := url.Parse(b.s.options.issuer)
	require.NoError(b.t, err)
	for _, page := range []reply{first, second} {
		cookies := (&http.Response{Header: page.header}).Cookies()
		require.Len(b.t, cookies, 1)
		jar.SetCookies(server, cookies)
	}
	return first, second
}

func TestTwoPagesBeforeTheFirstCookie(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.browser(t).publicClient(loopbackURI)
	target := "/oauth2/auth?" + request(client, loopbackURI).Encode()
	for name, order := range map[string][]int{"first": {0}, "second": {1}, "both": {0, 1}, "second_before_first": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			first, second := b.twoPages(target)
			for _, i := range order {
				page := b.signIn([]reply{first, second}[i])
				require.NotEmpty(t, queryOf(b.decide(page, "allow").location).Get("code"), page.body)
			}
		})
	}
	t.Run("no_more_cookies_than_that", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		_, _ = b.twoPages(target)
		server, err := url.Parse(s.options.issuer)
		require.NoError(t, err)
		for range 5 {
			b.get(target)
		}
		require.Len(t, b.http.Jar.Cookies(server), 2)
	})
	t.Run("another_browser", func(t *testing.T) {
		t.Parallel()
		first, _ := s.browser(t).twoPages(target)
		other := s.browser(t)
		other.get(target) // has a cookie of its own
		requireRefusal(t, other.signIn(first), "too old")
	})
}

func TestPendingIsSealed(t *testing.T) {
	t.Parallel()
	s := start(t)
	setUp := func(t *testing.T) (*browser, url.Values) {
		b := s.browser(t)
		page := b.signIn(b.get("/oauth2/auth?" + request(b.publicClient(loopbackURI), loopbackURI).Encode()))
		form := readForm([]byte(page.body)).hidden
		form.Set("decision", "allow")
		return b, form
	}
	t.Run("changed", func(t *testing.T) {
		t.Parallel()
		b, form := setUp(t)
		sealed := form.Get("request")
		for _, changed := range []string{"", "x", string(sealed[0]^1) + sealed[1:], sealed[:len(sealed)-4], sealed + "AAAA", strings.Repeat("A", 20_000), "//evil.example"} {
			require.NotEqual(t, sealed, changed)
			form.Set("request", changed)
			requireRefusal(t, b.post("/consent", form), "too old")
			requireRefusal(t, b.get("/consent?request="+url.QueryEscape(changed)), "too old")
		}
		form.Set("request", sealed)
		require.NotEmpty(t, queryOf(b.post("/consent", form).location).Get("code"))
	})
	t.Run("pressed_twice_at_once", func(t *testing.T) {
		t.Parallel()
		b, form := setUp(t)
		var mu sync.Mutex
		var wait sync.WaitGroup
		codes, tooOld := 0, 0
		for range 8 {
			wait.Go(func() {
				answer := b.post("/consent", form)
				mu.Lock()
				defer mu.Unlock()
				if queryOf(answer.location).Get("code") != "" {
					codes++
				} else if strings.Contains(answer.body, "too old") {
					tooOld++
				}
			})
		}
		wait.Wait()
		require.Equal(t, 1, codes)
		require.Equal(t, 7, tooOld)
	})
	t.Run("of_the_sign_in_page", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		b.signIn(b.get("/sign-in"))
		page := b.get("/oauth2/auth?" + request(b.webClient(), "https://app.example/cb", "max_age", "0").Encode())
		form := readForm([]byte(page.body)).hidden
		form.Set("decision", "allow")
		requireRefusal(t, b.post("/consent", form), "too old") // it did not ask
	})
	t.Run("answered_without_a_page", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		values := request(b.webClient(), "https://app.example/cb", "prompt", "login")
		b.code(values)
		page := b.get("/oauth2/auth?" + values.Encode())
		form := readForm([]byte(page.body)).hidden
		form.Set("user", demoUser)
		form.Set("password", s.users.password)
		answer := b.post("/sign-in", form)
		require.NotEmpty(t, queryOf(b.get(answer.location).location).Get("code"))
		requireRefusal(t, b.get(answer.location), "too old")
	})
	t.Run("too_long", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		client := b.publicClient(loopbackURI)
		page := b.get("/oauth2/auth?" + request(client, loopbackURI, "nonce", strings.Repeat("n", 5_000)).Encode())
		require.NotEmpty(t, queryOf(b.decide(b.signIn(page), "allow").location).Get("code"))
		requireRefusal(t, s.browser(t).get("/oauth2/auth?"+request(client, loopbackURI, "nonce", strings.Repeat("n", 15_000)).Encode()), "too long")
	})
}

// TestPushedRequestWaits: fosite returns a pushed request once; it waits in the browser like any other.
func TestPushedRequestWaits(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	uri := "https://app.example/cb"
	client := b.register(object{
		"redirect_uris": []string{uri}, "token_endpoint_auth_method": "none", "require_pushed_authorization_requests": true,
	})
	requireRefusal(t, s.browser(t).get("/oauth2/auth?"+request(client, uri).Encode()), "must push")
	pushed := b.push(request(client, uri, "resource", s.url("/mcp")))
	page := b.signIn(b.get("/oauth2/auth?" + pushed.Encode()))
	require.Contains(t, page.body, "see your name")
	require.Contains(t, page.body, s.url("/mcp"))
	requireRefusal(t, s.browser(t).get("/oauth2/auth?"+pushed.Encode()), "request") // it was picked up
	page = b.signIn(b.get("/sign-in?request=" + readForm([]byte(page.body)).hidden.Get("request")))
	answer := b.decide(page, "allow")
	query := queryOf(answer.location)
	require.Equal(t, "some-state", query.Get("state"))
	require.NotEmpty(t, b.redeem(client, query.Get("code"), uri)["access_token"])
}

// TestFilledInWhileThePageIsOpen: what a request leaves to the registration is what the page showed, or the user is asked
// again.
func TestFilledInWhileThePageIsOpen(t *testing.T) {
	t.Parallel()
	s := start(t)
	const uri = "https://app.example/callback"
	for name, change := range map[string]object{
		"scope":         {"scope": "openid profile offline_access"},
		"redirect_uris": {"scope": "profile", "redirect_uris": []string{"https://evil.example/cb"}},
	} {
		t.Run("CONS-02/"+name, func(t *testing.T) {
			b := s.browser(t)
			client := b.register(object{"client_name": "Web", "redirect_uris": []string{uri}, "scope": "profile"})
			page := b.signIn(b.get("/oauth2/auth?" + request(client, uri, "scope", "", "redirect_uri", "").Encode()))
			b.update(client, change)
			answer := b.decide(page, "allow")
			require.Empty(t, queryOf(answer.location).Get("code"), answer.location)
			require.NotContains(t, answer.location, "evil.example")
		})
	}
}
