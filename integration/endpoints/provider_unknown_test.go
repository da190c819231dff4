package endpoints_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestClientThatDoesNotExist(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range dcrtest.AuthMethods {
		unknown := dcrtest.RegisterFor(t, s, method)
		deleted := dcrtest.RegisterFor(t, s, method)
		forms := map[string]url.Values{}
		for _, endpoint := range dcrtest.AuthEndpoints {
			forms[endpoint.Name] = endpoint.Request(t, s, deleted)
		}
		unknown.Members = map[string]any{"client_id": rand.Text(), "client_secret": unknown.Secret()}
		require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, deleted.Answer, nil).Status)
		for kind, client := range map[string]dcrtest.AuthClient{"unknown": unknown, "deleted": deleted} {
			for _, endpoint := range dcrtest.AuthEndpoints {
				t.Run("AUTH-01/"+kind+"/"+method+"/"+endpoint.Name, func(t *testing.T) {
					t.Parallel()
					form := url.Values{}
					for name, value := range forms[endpoint.Name] {
						form[name] = value
					}
					endpoint.RequireRefused(t, client.Send(t, endpoint.Path, method, form))
				})
			}
			t.Run("AUTH-05/"+kind+"/"+method, func(t *testing.T) {
				t.Parallel()
				page := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
				require.GreaterOrEqual(t, page.Status, 400)
				require.Less(t, page.Status, 500)
				require.Empty(t, page.Header.Get("Location"))
			})
		}
	}
}

func TestRefreshOfADeletedClient(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range dcrtest.AuthMethods {
		t.Run("AUTH-01/"+method, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, method)
			refresh := client.Tokens(t, s).Text("refresh_token")
			s.Manage(t, http.MethodDelete, client.Answer, nil)
			answer := client.Send(t, "/oauth2/token", method, dcrtest.RefreshForm("", refresh))
			require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
			require.Equal(t, "invalid_client", answer.Text("error"))
		})
	}
}

// garbage are tokens that are none, some of them with parts of one that is.
func garbage(t *testing.T, s *dcrtest.Server, real string) map[string]string {
	t.Helper()
	head, signature, _ := strings.Cut(real, ".")
	encode := base64.RawURLEncoding.EncodeToString
	foreign := dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "", map[string]any{"client_id": "x", "exp": time.Now().Add(time.Hour).Unix()})
	expired := dcrtest.SignToken(t, jose.RS256, s.Key, "", map[string]any{"client_id": "x", "exp": time.Now().Add(-time.Hour).Unix()})
	tokens := map[string]string{
		"word": "garbage", "dot": ".", "dots": "..", "two_parts": "a.b", "three_parts": "a.b.c", "four_parts": "a.b.c.d",
		"prefixed": "ory_at_garbage", "prefixed_parts": "ory_at_a.b", "space": "a b", "unicode": "töken.ß", "nul": "a\x00.b",
		"broken_base64": "ory_at_!!!.???", "broken_key": "ory_at_!!!." + signature, "no_key": "ory_at_." + signature,
		"other_key": "ory_at_" + encode([]byte("another key")) + "." + signature, "no_signature": head + ".", "head": head,
		"changed": swapped(real, len(real)-10), "longer": real + "A", "truncated": real[:len(real)-5],
		"jwt_none":    encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(`{"client_id":"x"}`)) + ".",
		"jwt_foreign": foreign, "jwt_expired": expired, "jwt_broken": "eyJhbGciOiJSUzI1NiJ9.!!!.???",
		"jwt_no_json": encode([]byte("x")) + "." + encode([]byte("y")) + "." + encode([]byte("z")),
		"long":        strings.Repeat("A", 100_000),
	}
	if parts := strings.Split(real, "."); len(parts) == 3 {
		tokens["jwt_other_head"] = "garbage." + parts[1] + "." + parts[2]
		tokens["jwt_other_payload"] = parts[0] + "." + encode([]byte(`{"client_id":"x","exp":9999999999}`)) + "." + parts[2]
		tokens["jwt_garbage_signed"] = "!!!.???." + parts[2]
	}
	return tokens
}

// swapped is text with another character at position i. The last characters of base64 hold
// bits that count for nothing, so a change there may be none.
func swapped(text string, i int) string {
	other := "A"
	if text[i] == 'A' {
		other = "B"
	}
	return text[:i] + other + text[i+1:]
}

// tokenServers are servers with tokens of each kind.
func tokenServers(t *testing.T) (servers map[string]*dcrtest.Server, credentials dcrtest.Edit) {
	t.Helper()
	rs, credentials := dcrtest.ResourceServer(t)
	stateless := append([]compose.Factory{}, dcrtest.DefaultFactories...)
	stateless[5] = compose.OAuth2StatelessJWTIntrospectionFactory
	static := []fosite.Client{rs}
	return map[string]*dcrtest.Server{
		"opaque":    dcrtest.Start(t, dcrtest.Setup{Static: static}),
		"jwt":       dcrtest.Start(t, dcrtest.Setup{Static: static, JWT: true}),
		"stateless": dcrtest.Start(t, dcrtest.Setup{Static: static, JWT: true, Factories: stateless}),
	}, credentials
}

func TestGarbageIsInactive(t *testing.T) {
	t.Parallel()
	servers, credentials := tokenServers(t)
	for kind, s := range servers {
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		own := dcrtest.Basic(client.ID(), client.Secret())
		tokens := client.Tokens(t, s)
		for name, token := range garbage(t, s, tokens.Text("access_token")) {
			for who, edit := range map[string]dcrtest.Edit{"itself": own, "resource_server": credentials} {
				for _, hint := range []string{"", "access_token", "refresh_token", "garbage"} {
					t.Run("AUTH-02/"+kind+"/"+name+"/"+who+"/hint="+hint, func(t *testing.T) {
						t.Parallel()
						form := url.Values{"token": {token}, "token_type_hint": {hint}}
						answer := s.Form(t, "/oauth2/introspect", form, edit)
						require.Equal(t, http.StatusOK, answer.Status, answer.Body)
						require.Equal(t, map[string]any{"active": false}, answer.Members)
					})
				}
			}
		}
		real := s.Form(t, "/oauth2/introspect", url.Values{"token": {tokens.Text("access_token")}}, credentials)
		require.Equal(t, true, real.Members["active"], real.Body)
	}
}

func TestGarbageElsewhere(t *testing.T) {
	t.Parallel()
	servers, _ := tokenServers(t)
	for kind, s := range servers {
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		own := dcrtest.Basic(client.ID(), client.Secret())
		tokens := client.Tokens(t, s)
		access := tokens.Text("access_token")
		for name, token := range garbage(t, s, access) {
			if strings.ContainsAny(token, "\x00 ß") {
				continue // no header value
			}
			t.Run("AUTH-02/"+kind+"/"+name+"/bearer", func(t *testing.T) {
				t.Parallel()
				if len(token) > 50_000 {
					token = token[:50_000]
				}
				answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {access}}, dcrtest.Bearer(token))
				require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
			})
		}
		for name, token := range garbage(t, s, tokens.Text("refresh_token")) {
			t.Run("AUTH-02/"+kind+"/"+name+"/token", func(t *testing.T) {
				t.Parallel()
				for _, form := range []url.Values{dcrtest.RefreshForm("", token), dcrtest.CodeForm("", token, dcrtest.RedirectURI)} {
					answer := s.Form(t, "/oauth2/token", form, own)
					require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
					require.Contains(t, []string{"invalid_grant", "invalid_request"}, answer.Text("error"))
				}
			})
		}
	}
}

func TestRevocationOfGarbage(t *testing.T) {
	t.Parallel()
	servers, _ := tokenServers(t)
	for kind, s := range servers {
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		access := client.AccessToken(t, s)
		for name, token := range garbage(t, s, access) {
			t.Run("AUTH-02/"+kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				answer := client.Send(t, "/oauth2/revoke", client.Method, url.Values{"token": {token}})
				require.Equal(t, http.StatusOK, answer.Status, "RFC 7009, section 2.2: %s", answer.Body)
			})
		}
	}
}
