package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	"github.com/stretchr/testify/require"
)

func withJWT(o *options) { o.tokens = tokensJWT }

// verifyJWT verifies an access token as a resource server does: with the keys that the
// server publishes.
func (b *browser) verifyJWT(token string) (header map[jose.HeaderKey]any, claims object) {
	b.t.Helper()
	var keys jose.JSONWebKeySet
	require.NoError(b.t, json.Unmarshal([]byte(b.get("/.well-known/jwks.json").body), &keys))
	parsed, err := jwt.ParseSigned(token)
	require.NoError(b.t, err)
	found := keys.Key(parsed.Headers[0].KeyID)
	require.Len(b.t, found, 1)
	require.True(b.t, found[0].IsPublic())
	require.NoError(b.t, parsed.Claims(found[0], &claims))
	return parsed.Headers[0].ExtraHeaders, claims
}

func TestJWTAccessToken(t *testing.T) {
	t.Parallel()
	s := start(t, withJWT)
	b := s.browser(t)
	client := b.publicClient(loopbackURI)
	tokens := b.redeem(client, b.code(request(client, loopbackURI, "resource", s.url("/mcp"))), loopbackURI)

	header, claims := b.verifyJWT(text(tokens, "access_token"))
	require.Equal(t, "at+jwt", header["typ"])
	require.Equal(t, s.options.issuer, claims["iss"])
	require.Equal(t, demoUser, claims["sub"])
	require.Equal(t, []any{s.url("/mcp")}, claims["aud"])
	require.Equal(t, text(client, "client_id"), claims["client_id"])
	require.Equal(t, "openid profile", claims["scope"])
	for _, member := range []string{"exp", "iat", "jti", "auth_time"} {
		require.NotEmpty(t, claims[member], member)
	}

	t.Run("AUD-01/refreshed", func(t *testing.T) {
		again := b.tokens(b.refreshFields(client, tokens))
		_, refreshed := b.verifyJWT(text(again, "access_token"))
		require.NotEqual(t, claims["jti"], refreshed["jti"])
		require.Equal(t, claims["aud"], refreshed["aud"])
		require.Equal(t, claims["client_id"], refreshed["client_id"])
	})
	t.Run("client_credentials", func(t *testing.T) {
		service := b.register(object{"grant_types": []string{"client_credentials"}})
		issued := b.tokens(url.Values{"grant_type": {"client_credentials"}, "scope": {"mcp"}, "resource": {s.url("/mcp"), "https://elsewhere.example/"}},
			"Authorization", basic(text(service, "client_id"), text(service, "client_secret")))
		_, claims := b.verifyJWT(text(issued, "access_token"))
		require.Equal(t, service["client_id"], claims["sub"])
		require.Equal(t, service["client_id"], claims["client_id"])
		require.Equal(t, []any{s.url("/mcp")}, claims["aud"])
	})
	t.Run("for_this_server_without_a_resource", func(t *testing.T) {
		issued := b.redeem(client, b.code(request(client, loopbackURI)), loopbackURI)
		_, claims := b.verifyJWT(text(issued, "access_token"))
		require.Equal(t, []any{s.options.issuer}, claims["aud"])
	})
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{tokensOpaque, tokensJWT} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) { o.tokens = mode })
			b := s.browser(t)
			client := b.webClient()
			tokens := b.redeem(client, b.code(request(client, "https://app.example/cb")), "https://app.example/cb")

			provider, err := oidc.NewProvider(t.Context(), s.options.issuer) // reads the discovery document
			require.NoError(t, err)
			id, err := provider.Verifier(&oidc.Config{ClientID: text(client, "client_id")}).Verify(t.Context(), text(tokens, "id_token"))
			require.NoError(t, err)
			require.Equal(t, demoUser, id.Subject)
			require.Equal(t, "some-nonce", id.Nonce)
			require.NoError(t, id.VerifyAccessToken(text(tokens, "access_token")))
			var claims struct {
				AuthTime int64 `json:"auth_time"`
			}
			require.NoError(t, id.Claims(&claims))
			require.NotZero(t, claims.AuthTime)
		})
	}
}

func TestUserinfo(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.publicClient(loopbackURI)
	tokens := b.redeem(client, b.code(request(client, loopbackURI, "scope", "openid email")), loopbackURI)
	require.NotEmpty(t, tokens["refresh_token"], "REAL-02: without offline_access")

	answer := b.get("/userinfo", "Authorization", bearer(text(tokens, "access_token")))
	require.Equal(t, http.StatusOK, answer.status)
	require.Equal(t, object{"sub": demoUser, "email": "demo@example.com", "email_verified": false}, answer.json(t))

	for name, c := range map[string]struct {
		token     string
		status    int
		challenge string
	}{
		"no_token":      {"", http.StatusUnauthorized, "Bearer"},
		"wrong_token":   {"x", http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"refresh_token": {text(tokens, "refresh_token"), http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"id_token":      {text(tokens, "id_token"), http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"registration":  {text(client, "registration_access_token"), http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"no_user":       {b.clientToken("openid"), http.StatusForbidden, `Bearer error="insufficient_scope"`},
		"no_openid":     {b.clientToken("mcp"), http.StatusForbidden, `Bearer error="insufficient_scope"`},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Authorization", bearer(c.token)}
			if c.token == "" {
				headers = nil
			}
			answer := b.get("/userinfo", headers...)
			require.Equal(t, c.status, answer.status)
			require.Equal(t, c.challenge, answer.header.Get("WWW-Authenticate"))
		})
	}
}

// clientToken returns an access token of a new client for itself.
func (b *browser) clientToken(scope string) string {
	b.t.Helper()
	service := b.register(object{"grant_types": []string{"client_credentials"}})
	return text(b.tokens(url.Values{"grant_type": {"client_credentials"}, "scope": {scope}},
		"Authorization", basic(text(service, "client_id"), text(service, "client_secret"))), "access_token")
}

func TestIntrospectionAndRevocation(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{tokensOpaque, tokensJWT} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) { o.tokens = mode })
			b := s.browser(t)
			client := b.webClient()
			other := b.webClient()
			tokens := b.redeem(client, b.code(request(client, "https://app.example/cb")), "https://app.example/cb")
			active := func(id, secret string) any {
				return b.post("/oauth2/introspect", url.Values{"token": {text(tokens, "access_token")}},
					"Authorization", basic(id, secret)).json(t)["active"]
			}
			require.Equal(t, true, active("rs", "rs-secret"))
			require.Nil(t, active("rs", "guess"))
			require.Equal(t, true, active(text(client, "client_id"), text(client, "client_secret")), "INTRO-01: its own")
			require.Equal(t, false, active(text(other, "client_id"), text(other, "client_secret")), "INTRO-01: another client's")

			revoked := b.post("/oauth2/revoke", url.Values{"token": {text(tokens, "access_token")}},
				"Authorization", basic(text(client, "client_id"), text(client, "client_secret")))
			require.Equal(t, http.StatusOK, revoked.status)
			require.Equal(t, false, active("rs", "rs-secret"))
		})
	}
}

func TestDeletedClient(t *testing.T) {
	t.Parallel()
	b := start(t, withJWT).browser(t)
	client := b.publicClient(loopbackURI)
	tokens := b.redeem(client, b.code(request(client, loopbackURI)), loopbackURI)
	deleted := b.send(http.MethodDelete, text(client, "registration_client_uri"), nil,
		"Authorization", bearer(text(client, "registration_access_token")))
	require.Equal(t, http.StatusNoContent, deleted.status)

	t.Run("AUTH-01/refresh", func(t *testing.T) {
		answer := b.post("/oauth2/token", b.refreshFields(client, tokens))
		require.Equal(t, http.StatusUnauthorized, answer.status)
		require.Equal(t, "invalid_client", answer.json(t)["error"])
	})
	t.Run("7592-2.3-03/introspection", func(t *testing.T) {
		answer := b.post("/oauth2/introspect", url.Values{"token": {text(tokens, "access_token")}}, "Authorization", basic("rs", "rs-secret"))
		require.Equal(t, object{"active": false}, answer.json(t))
	})
	t.Run("7592-2.3-03/userinfo", func(t *testing.T) {
		require.Equal(t, http.StatusUnauthorized, b.get("/userinfo", "Authorization", bearer(text(tokens, "access_token"))).status)
	})
}
