package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDiscovery(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		t.Run("8414-01"+path, func(t *testing.T) {
			answer := b.get(path, "Host", "evil.example", "X-Forwarded-Host", "evil.example", "Origin", "http://localhost:6274")
			require.Equal(t, http.StatusOK, answer.status)
			require.Equal(t, "application/json", answer.header.Get("Content-Type"))
			require.Equal(t, "*", answer.header.Get("Access-Control-Allow-Origin"))
			require.NotContains(t, answer.body, "evil")
			document := answer.json(t)
			for member, want := range map[string]string{
				"issuer": "", "authorization_endpoint": "/oauth2/auth", "token_endpoint": "/oauth2/token",
				"introspection_endpoint": "/oauth2/introspect", "revocation_endpoint": "/oauth2/revoke",
				"pushed_authorization_request_endpoint": "/oauth2/par", "registration_endpoint": "/register",
				"userinfo_endpoint": "/userinfo", "jwks_uri": "/.well-known/jwks.json",
			} {
				require.Equal(t, s.options.issuer+want, document[member], member)
			}
			require.Equal(t, []any{"S256"}, document["code_challenge_methods_supported"], "MCP-01")
			require.Contains(t, document["token_endpoint_auth_methods_supported"], "none", "MCP-03")
			require.Equal(t, true, document["authorization_response_iss_parameter_supported"], "9207-01")
			require.ElementsMatch(t, []any{"authorization_code", "refresh_token", "client_credentials"}, document["grant_types_supported"])
			require.ElementsMatch(t, []any{"openid", "profile", "email", "offline_access", "mcp"}, document["scopes_supported"])
			require.Equal(t, []any{"code"}, document["response_types_supported"])
			require.Equal(t, []any{"public"}, document["subject_types_supported"])
			require.Equal(t, []any{"RS256"}, document["id_token_signing_alg_values_supported"])
		})
	}
	t.Run("jwks_has_no_private_key", func(t *testing.T) {
		answer := b.get("/.well-known/jwks.json").json(t)
		key := answer["keys"].([]any)[0].(object)
		require.NotContains(t, key, "d")
		require.NotContains(t, key, "p")
		require.Equal(t, "RS256", key["alg"])
	})
	t.Run("405", func(t *testing.T) {
		answer := b.post("/.well-known/jwks.json", nil)
		require.Equal(t, http.StatusMethodNotAllowed, answer.status)
		require.Equal(t, "GET, HEAD", answer.header.Get("Allow"))
	})
	t.Run("HTTP-02/preflight", func(t *testing.T) {
		answer := b.send(http.MethodOptions, "/register", nil, "Origin", "http://localhost:6274", "Access-Control-Request-Method", "POST")
		require.Equal(t, http.StatusNoContent, answer.status)
		require.Equal(t, "*", answer.header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, answer.header.Get("Access-Control-Allow-Credentials"))
		require.Empty(t, b.send(http.MethodOptions, "/consent", nil, "Origin", "http://localhost:6274",
			"Access-Control-Request-Method", "POST").header.Get("Access-Control-Allow-Origin"), "no other site may read our pages")
	})
}

func TestRegistrationOpen(t *testing.T) {
	t.Parallel()
	b := start(t).browser(t)
	t.Run("7591-3-01/forged_host", func(t *testing.T) {
		answer := b.register(object{"redirect_uris": []string{loopbackURI}}, "Host", "evil.example", "X-Forwarded-Proto", "https")
		require.True(t, strings.HasPrefix(text(answer, "registration_client_uri"), b.s.url("/register/")))
	})
	t.Run("GRANT-01/client_credentials", func(t *testing.T) {
		require.NotEmpty(t, b.clientToken("mcp"))
	})
	t.Run("RU-06/exceptions", func(t *testing.T) {
		for _, scheme := range []string{"cursor", "vscode", "vscode-insiders", "windsurf", "oc"} {
			b.register(object{"redirect_uris": []string{scheme + "://host/cb"}, "token_endpoint_auth_method": "none"})
		}
		require.Equal(t, http.StatusBadRequest, b.tryRegister(object{"redirect_uris": []string{"myapp://host/cb"}}).status)
	})
	t.Run("SCOPE-02", func(t *testing.T) {
		answer := b.register(object{"redirect_uris": []string{loopbackURI}, "scope": registrationScope + " mcp"})
		require.Equal(t, "mcp", answer["scope"])
	})
	t.Run("HTTP-03", func(t *testing.T) {
		answer := b.get("/register/..%2fuserinfo", "Authorization", "Bearer x")
		require.Equal(t, http.StatusUnauthorized, answer.status)
	})
}

func TestRegistrationToken(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *options) {
		o.registration, o.initialAccessToken = registrationToken, "an-initial-access-token"
	}).browser(t)
	client := object{"redirect_uris": []string{loopbackURI}}
	accessToken := func(scope string) string {
		return text(b.tokens(url.Values{"grant_type": {"client_credentials"}, "scope": {scope}},
			"Authorization", basic("rs", "rs-secret")), "access_token")
	}
	for name, c := range map[string]struct {
		token     string
		status    int
		challenge string
	}{
		"7591-3-04/none":          {"", http.StatusUnauthorized, "Bearer"},
		"7591-3-04/wrong":         {"guess", http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"7591-3-04/lacking_scope": {accessToken(""), http.StatusForbidden, `Bearer error="insufficient_scope"`},
		"initial_access_token":    {"an-initial-access-token", http.StatusCreated, ""},
		"access_token":            {accessToken(registrationScope), http.StatusCreated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.token != "" {
				headers = []string{"Authorization", bearer(c.token)}
			}
			answer := b.tryRegister(client, headers...)
			require.Equal(t, c.status, answer.status, answer.body)
			require.Equal(t, c.challenge, answer.header.Get("WWW-Authenticate"))
		})
	}
	t.Run("7591-3-04/minted_by_the_operator", func(t *testing.T) {
		minted := b.send(http.MethodPost, "/admin/api/initial-access-tokens", strings.NewReader(`{"label": "Partner", "uses": 2}`),
			b.s.operator("Content-Type", "application/json")...)
		require.Equal(t, http.StatusCreated, minted.status, minted.body)
		token := text(minted.json(t), "token")
		for _, status := range []int{http.StatusCreated, http.StatusCreated, http.StatusUnauthorized} {
			answer := b.tryRegister(client, "Authorization", bearer(token))
			require.Equal(t, status, answer.status, answer.body)
		}
	})
	t.Run("none_configured", func(t *testing.T) {
		b := start(t, func(o *options) { o.registration = registrationToken }).browser(t)
		require.Equal(t, http.StatusUnauthorized, b.tryRegister(client, "Authorization", "Bearer ").status)
	})
}

func TestRegistrationUser(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *options) { o.registration = registrationUser }).browser(t)
	client := object{"redirect_uris": []string{loopbackURI}}
	require.Equal(t, http.StatusUnauthorized, b.tryRegister(client).status)
	require.Contains(t, b.signIn(b.get("/sign-in")).body, "You are signed in as <b>demo</b>")
	b.register(client)
	b.register(client, "Sec-Fetch-Site", "same-origin")
	for name, headers := range map[string][]string{
		"7591-3-07/cross_site": {"Sec-Fetch-Site", "cross-site"},
		"7591-3-07/origin":     {"Origin", "https://evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := b.tryRegister(client, headers...)
			require.Equal(t, http.StatusForbidden, answer.status)
			require.Equal(t, "access_denied", answer.json(t)["error"])
		})
	}
}

func TestShelf(t *testing.T) {
	t.Parallel()
	s := newShelf[int](2, time.Hour)
	require.True(t, s.put("me", "a", 1))
	require.True(t, s.put("me", "b", 2))
	require.False(t, s.put("me", "a", 3), "the newest again")
	require.True(t, s.put("other", "z", 9), "another owner has room of its own")
	require.True(t, s.put("me", "c", 4), "b is the oldest")
	_, ok := s.get("b")
	require.False(t, ok)
	value, ok := s.get("a")
	require.True(t, ok)
	require.Equal(t, 3, value)
	s.remove("me", "a")
	_, ok = s.get("a")
	require.False(t, ok, "removed")
	value, ok = s.get("z")
	require.True(t, ok, "nobody loses what is his to another")
	require.Equal(t, 9, value)

	brief := newShelf[int](2, -time.Second)
	require.True(t, brief.put("me", "a", 1))
	_, ok = brief.get("a")
	require.False(t, ok, "expired")
	require.True(t, brief.put("me", "a", 1), "as if it had not been there")
	brief.put("me", "b", 2)
	require.Len(t, brief.items, 1, "what has expired makes room")
}
