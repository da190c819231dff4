package clients_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serveUserInfo answers who the access token of a request is of.
func serveUserInfo(s *dcrtest.Server) {
	s.Extra.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		token := fosite.AccessTokenFromRequest(r)
		use, request, err := s.Provider.IntrospectToken(r.Context(), token, fosite.AccessToken, dcrtest.NewSession(""), "openid")
		if err != nil || use != fosite.AccessToken {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "invalid_token", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"sub": request.GetSession().GetSubject()})
	})
}

// discover finds the server with go-oidc, and adds what the server's document lacks.
func discover(ctx context.Context, t testing.TB, s *dcrtest.Server) (provider *oidc.Provider, registrationEndpoint string) {
	t.Helper()
	discovered, err := oidc.NewProvider(ctx, s.URL)
	require.NoError(t, err)
	var document struct {
		oidc.ProviderConfig
		RegistrationEndpoint string   `json:"registration_endpoint"`
		ScopesSupported      []string `json:"scopes_supported"`
	}
	require.NoError(t, discovered.Claims(&document))
	require.Contains(t, document.ScopesSupported, oidc.ScopeOpenID)
	document.UserInfoURL = s.URL + "/userinfo"
	return document.NewProvider(ctx), document.RegistrationEndpoint
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{
		"8414-01,REAL-02/none":                "none",
		"8414-01,REAL-02/client_secret_basic": "client_secret_basic",
		"8414-01,REAL-02/client_secret_post":  "client_secret_post",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachTokenKind(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
				serveUserInfo(s)
				provider, endpoint := discover(t.Context(), t, s)
				require.Equal(t, s.URL+"/register", endpoint)
				client := s.Register(t, map[string]any{
					"client_name": "go-oidc", "redirect_uris": []string{"https://client.example.com/callback"},
					"grant_types":                []string{"authorization_code", "refresh_token"},
					"token_endpoint_auth_method": method,
				})
				signInWithOIDC(t, s, provider, client)
			})
		})
	}
}

func signInWithOIDC(t *testing.T, s *dcrtest.Server, provider *oidc.Provider, client dcrtest.Answer) {
	t.Helper()
	const nonce = "a nonce of some length"
	config := &oauth2.Config{
		ClientID: client.ID(), ClientSecret: client.Secret(), RedirectURL: "https://client.example.com/callback",
		Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile"},
	}
	h := &holder{Server: s, client: client, again: refresher(t.Context(), config)}
	h.token = codeFlow(t, s, config, []oauth2.AuthCodeOption{oidc.Nonce(nonce)}, nil)
	require.Equal(t, nonce, verifyIDToken(t, provider, h).Nonce)
	requireUserInfo(t, provider, h)

	var err error
	h.token, err = h.again(h.token)
	require.NoError(t, err)
	verifyIDToken(t, provider, h)
	requireUserInfo(t, provider, h)

	h.manageToItsEnd(t)
	_, err = provider.UserInfo(t.Context(), oauth2.StaticTokenSource(h.token))
	require.ErrorContains(t, err, "401")
}

func verifyIDToken(t testing.TB, provider *oidc.Provider, h *holder) *oidc.IDToken {
	t.Helper()
	raw, _ := h.token.Extra("id_token").(string)
	verifier := provider.VerifierContext(t.Context(), &oidc.Config{ClientID: h.client.ID()})
	token, err := verifier.Verify(t.Context(), raw)
	require.NoError(t, err)
	require.Equal(t, "alice", token.Subject)
	require.Equal(t, h.URL, token.Issuer)
	require.Equal(t, []string{h.client.ID()}, token.Audience)
	require.NoError(t, token.VerifyAccessToken(h.token.AccessToken))
	return token
}

func requireUserInfo(t testing.TB, provider *oidc.Provider, h *holder) {
	t.Helper()
	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(h.token))
	require.NoError(t, err)
	require.Equal(t, "alice", info.Subject)
}
