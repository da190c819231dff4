// Package access_test shows who may register, how often, and how many clients.
package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serviceToken gets an access token by client_credentials.
func serviceToken(t *testing.T, s *dcrtest.Server, scope string) string {
	t.Helper()
	answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}, dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	require.Equal(t, scope, answer.Text("scope"), answer.Body)
	return answer.Text("access_token")
}

// userTokens gets the tokens of a user, and a code that was not redeemed.
func userTokens(t *testing.T, s *dcrtest.Server, scope string) (tokens dcrtest.Answer, code string) {
	t.Helper()
	query := dcrtest.AuthorizeQuery(dcrtest.PortalID, dcrtest.PortalURI, "scope", scope)
	form := dcrtest.CodeForm("", s.Code(t, query), dcrtest.PortalURI)
	tokens = s.Form(t, "/oauth2/token", form, dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	return tokens, s.Code(t, query)
}

// requireAskedForToken is the refusal of a request that has no token: the challenge
// has no error code (RFC 6750, section 3.1).
func requireAskedForToken(t *testing.T, answer dcrtest.Answer) {
	t.Helper()
	dcrtest.RequireRefusal(t, answer, http.StatusUnauthorized, "invalid_token")
	require.Equal(t, []string{"Bearer"}, answer.Header.Values("WWW-Authenticate"))
}

// requireNoneRegistered: nothing was registered.
func requireNoneRegistered(t *testing.T, events *dcrtest.Events) {
	t.Helper()
	require.NotContains(t, events.Kinds(), dcr.EventRegistered)
	require.True(t, slices.ContainsFunc(events.Kinds(), func(kind dcr.EventKind) bool {
		return kind == dcr.EventRefused || kind == dcr.EventAuthenticationFailed
	}), "LIFE-05")
}

func TestClosedByDefault(t *testing.T) {
	t.Parallel()
	factory := func(setup *dcrtest.Setup) { setup.Config.Access = nil }
	for name, edit := range map[string]dcrtest.Edit{
		"no_token":        func(*http.Request) {},
		"basic":           dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret),
		"empty_header":    dcrtest.Header("Authorization", ""),
		"query":           func(r *http.Request) { r.URL.RawQuery = "access_token=x" },
		"cookie":          dcrtest.Header("Cookie", "access_token=x"),
		"dpop":            dcrtest.Header("Authorization", "DPoP x"),
		"token_elsewhere": dcrtest.Header("X-Access-Token", "x"),
	} {
		t.Run("7591-3-04/7591-3-06/T40/"+name, func(t *testing.T) {
			t.Parallel()
			s, events := dcrtest.StartClosed(t, factory)
			requireAskedForToken(t, s.Post(t, dcrtest.PlainRegistration, edit))
			requireNoneRegistered(t, events)
		})
	}
	for name, edit := range map[string]dcrtest.Edit{
		"wrong":         dcrtest.Bearer("x"),
		"like_a_token":  dcrtest.Bearer("ory_at_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
		"like_a_jwt":    dcrtest.Bearer("eyJhbGciOiJub25lIn0.eyJzY3AiOlsiZGNyOnJlZ2lzdGVyIl19."),
		"empty":         dcrtest.Header("Authorization", "Bearer "),
		"several_words": dcrtest.Header("Authorization", "Bearer a b"),
		"long":          dcrtest.Bearer(string(bytes.Repeat([]byte("a"), 10_000))),
	} {
		t.Run("7591-3-04/7591-3-06/"+name, func(t *testing.T) {
			t.Parallel()
			s, events := dcrtest.StartClosed(t, factory)
			dcrtest.RequireChallenge(t, s.Post(t, dcrtest.PlainRegistration, edit), http.StatusUnauthorized, "invalid_token")
			requireNoneRegistered(t, events)
		})
	}
	t.Run("7591-3-04/two_headers", func(t *testing.T) {
		t.Parallel()
		s, events := dcrtest.StartClosed(t, factory, "dcr:register")
		good := serviceToken(t, s, "dcr:register")
		answer := s.Post(t, dcrtest.PlainRegistration, func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + good, "Bearer " + good}
		})
		dcrtest.RequireChallenge(t, answer, http.StatusUnauthorized, "invalid_token")
		requireNoneRegistered(t, events)
	})
}

func TestAccessTokens(t *testing.T) {
	t.Parallel()
	for name, jwt := range map[string]bool{"opaque": false, "jwt": true} {
		format := func(setup *dcrtest.Setup) { setup.JWT = jwt }
		t.Run("7591-3-04/"+name+"/service", func(t *testing.T) {
			t.Parallel()
			s, _ := dcrtest.StartClosed(t, format, "dcr:register", "profile")
			client := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, "dcr:register")))
			record, err := s.Store.GetDynamicClient(context.Background(), client.ID())
			require.NoError(t, err)
			require.Equal(t, dcr.Registrant{Kind: "access_token", ClientID: dcrtest.PortalID}, record.Origin)
			s.Register(t, dcrtest.PlainRegistration, dcrtest.Header("Authorization", "bEARER "+serviceToken(t, s, "profile dcr:register")))
		})
		t.Run("7591-3-04/"+name+"/user", func(t *testing.T) {
			t.Parallel()
			s, _ := dcrtest.StartClosed(t, format, "dcr:register")
			tokens, _ := userTokens(t, s, "dcr:register")
			client := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(tokens.Text("access_token")))
			record, err := s.Store.GetDynamicClient(context.Background(), client.ID())
			require.NoError(t, err)
			require.Equal(t, dcr.Registrant{Kind: "access_token", ClientID: dcrtest.PortalID, Subject: "alice"}, record.Origin)
		})
		t.Run("7591-3-04/"+name+"/without_the_scope", func(t *testing.T) {
			t.Parallel()
			s, events := dcrtest.StartClosed(t, format, "dcr:register", "profile", "dcr:registers", "DCR:register", "dcr")
			for _, scope := range []string{"profile", "dcr:registers", "DCR:register", "dcr"} {
				answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, scope)))
				dcrtest.RequireChallenge(t, answer, http.StatusForbidden, "insufficient_scope")
			}
			requireNoneRegistered(t, events)
		})
	}
}

func TestTokensThatAreNoAccessTokens(t *testing.T) {
	t.Parallel()
	for name, jwt := range map[string]bool{"opaque": false, "jwt": true} {
		format := func(setup *dcrtest.Setup) { setup.JWT = jwt }
		t.Run("IAT-05/"+name, func(t *testing.T) {
			t.Parallel()
			s, events := dcrtest.StartClosed(t, format, "dcr:register", "openid")
			tokens, code := userTokens(t, s, "openid dcr:register")
			for kind, token := range map[string]string{
				"refresh token": tokens.Text("refresh_token"), "ID token": tokens.Text("id_token"), "code": code,
			} {
				require.NotEmpty(t, token, kind)
				dcrtest.RequireChallenge(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), http.StatusUnauthorized, "invalid_token")
			}
			requireNoneRegistered(t, events)
			s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(tokens.Text("access_token")))
		})
		t.Run("IAT-03/T02/"+name+"/registration_access_token", func(t *testing.T) {
			t.Parallel()
			s, _ := dcrtest.StartClosed(t, format, "dcr:register")
			client := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, "dcr:register")))
			dcrtest.RequireChallenge(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(client.Token())), http.StatusUnauthorized, "invalid_token")
		})
		t.Run("7591-3-04/"+name+"/revoked", func(t *testing.T) {
			t.Parallel()
			s, events := dcrtest.StartClosed(t, format, "dcr:register")
			token := serviceToken(t, s, "dcr:register")
			revoked := s.Form(t, "/oauth2/revoke", url.Values{"token": {token}}, dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret))
			require.Equal(t, http.StatusOK, revoked.Status)
			dcrtest.RequireChallenge(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), http.StatusUnauthorized, "invalid_token")
			requireNoneRegistered(t, events)
		})
	}
}

func TestIDTokenWithStatelessTokens(t *testing.T) {
	t.Parallel()
	t.Run("IAT-05/stateless_jwt", func(t *testing.T) {
		t.Parallel()
		s, events := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
			setup.JWT = true
			setup.Factories = []compose.Factory{
				compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OpenIDConnectExplicitFactory,
				compose.OAuth2PKCEFactory, compose.OAuth2StatelessJWTIntrospectionFactory,
			}
		}, "dcr:register", "openid")
		tokens, _ := userTokens(t, s, "openid dcr:register")
		answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(tokens.Text("id_token")))
		dcrtest.RequireChallenge(t, answer, http.StatusUnauthorized, "invalid_token")
		requireNoneRegistered(t, events)
		s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(tokens.Text("access_token")))
	})
}

func TestRegistrationScopeIsLiteral(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		strategy fosite.ScopeStrategy
		wider    string
	}{
		{"hierarchic", fosite.HierarchicScopeStrategy, "dcr"},
		{"wildcard", fosite.WildcardScopeStrategy, "dcr.*"},
		{"wildcard_all", fosite.WildcardScopeStrategy, "*.*"},
	} {
		t.Run("T08/T54/"+row.name, func(t *testing.T) {
			t.Parallel()
			require.True(t, row.strategy([]string{row.wider}, "dcr.register"), "fosite's strategy matches")
			s, events := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
				setup.Config.Registration.Scope = "dcr.register"
				setup.Fosite = func(config *fosite.Config) { config.ScopeStrategy = row.strategy }
			}, row.wider)
			answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, row.wider)))
			dcrtest.RequireChallenge(t, answer, http.StatusForbidden, "insufficient_scope")
			requireNoneRegistered(t, events)
			s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, "dcr.register")))
		})
	}
}

func TestBodyIsNotReadOnRefusal(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{
		401: dcr.ErrMissingToken, 403: dcr.ErrAccessDenied, 500: errors.New("disk on fire"), 503: dcr.ErrUnavailable,
	} {
		t.Run(fmt.Sprintf("T43/%d", status), func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Access: dcr.AccessFunc(
				func(context.Context, *http.Request) (*dcr.Registrant, error) { return nil, err })}})
			read := false
			r := httptest.NewRequest(http.MethodPost, "/register", dcrtest.ReaderFunc(func(p []byte) (int, error) {
				read = true
				return copy(p, dcrtest.PlainRegistration), nil
			}))
			r.Header.Set("Content-Type", "application/json")
			recorder := httptest.NewRecorder()
			s.Provider.RegistrationHandler().ServeHTTP(recorder, r)
			require.Equal(t, status, recorder.Code)
			require.False(t, read, "the body was read for somebody who may not register")
			// Over HTTP the server asks for the body of such a request when it is read.
			answer := dcrtest.RawExchange(t, s, "Expect: 100-continue\r\nContent-Length: 47\r\n\r\n", "")
			require.Equal(t, status, answer.Status)
		})
	}
	t.Run("T43/let_in", func(t *testing.T) {
		t.Parallel()
		answer := dcrtest.RawExchange(t, dcrtest.Start(t, dcrtest.Setup{}), "Expect: 100-continue\r\nContent-Length: 47\r\n\r\n", "")
		require.Equal(t, http.StatusContinue, answer.Status)
	})
}
