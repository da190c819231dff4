package endpoints_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestRefreshTokenIsNoAccessToken(t *testing.T) {
	t.Parallel()
	servers, credentials := tokenServers(t)
	delete(servers, "stateless") // which knows no refresh token
	for kind, s := range servers {
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		tokens := client.Tokens(t, s)
		refresh, own := tokens.Text("refresh_token"), dcrtest.Basic(client.ID(), client.Secret())
		granted := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, credentials).Text("access_token")
		require.NotEmpty(t, granted)
		for name, edit := range map[string]dcrtest.Edit{"basic": credentials, "bearer": dcrtest.Bearer(granted)} {
			t.Run("USE-01/"+kind+"/resource_server/"+name, func(t *testing.T) {
				t.Parallel()
				for _, hint := range []string{"", "access_token", "refresh_token"} {
					seesNothing(t, s.Form(t, "/oauth2/introspect", url.Values{"token": {refresh}, "token_type_hint": {hint}}, edit))
				}
				sees(t, introspect(t, s, tokens.Text("access_token"), edit), client.ID())
			})
		}
		t.Run("USE-01/"+kind+"/its_own", func(t *testing.T) {
			t.Parallel()
			access, answer := introspect(t, s, tokens.Text("access_token"), own), introspect(t, s, refresh, own)
			sees(t, answer, client.ID())
			require.NotContains(t, answer.Members, "token_type")
			days := time.Unix(int64(answer.Members["exp"].(float64)), 0).Sub(time.Unix(int64(access.Members["exp"].(float64)), 0))
			require.Greater(t, days, 24*time.Hour, "exp is the refresh token's: %s", answer.Body)
		})
		t.Run("USE-01/"+kind+"/in_process", func(t *testing.T) {
			t.Parallel()
			ctx, session := t.Context(), dcrtest.NewSession("")
			_, _, err := s.Provider.IntrospectToken(ctx, refresh, fosite.AccessToken, session)
			require.ErrorIs(t, err, fosite.ErrInactiveToken)
			use, _, err := s.Provider.IntrospectToken(ctx, refresh, fosite.RefreshToken, session)
			require.NoError(t, err)
			require.Equal(t, fosite.RefreshToken, use)
			use, _, err = s.Provider.IntrospectToken(ctx, tokens.Text("access_token"), fosite.AccessToken, session)
			require.NoError(t, err)
			require.Equal(t, fosite.AccessToken, use)
		})
	}
}

func TestRefreshTokenOfAStaticClient(t *testing.T) {
	t.Parallel()
	static, other := dcrtest.StaticClient(t, "portal", "openid"), dcrtest.StaticClient(t, "other")
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{static, other}, Fosite: func(config *fosite.Config) {
		config.AccessTokenLifespan, config.RefreshTokenLifespan = time.Second, -1
	}})
	basic := dcrtest.Basic("portal", "a static secret")
	code := s.Code(t, dcrtest.AuthorizeQuery("portal", dcrtest.RedirectURI, "scope", "openid"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), basic)
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	refresh := tokens.Text("refresh_token")
	t.Run("USE-01/static/its_own", func(t *testing.T) {
		t.Parallel()
		answer := introspect(t, s, refresh, basic)
		sees(t, answer, "portal")
		require.NotContains(t, answer.Members, "exp", "the refresh token has no end, whatever the access token has")
	})
	t.Run("USE-01/static/another", func(t *testing.T) {
		t.Parallel()
		seesNothing(t, introspect(t, s, refresh, dcrtest.Basic("other", "a static secret")))
	})
}

func TestTokenInTwoPlaces(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}, Config: dcr.Config{Access: dcr.AnyOf(dcr.AccessToken(), dcr.Open())}})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	access := client.AccessToken(t, s)
	metadata := dcrtest.JSONBody(t, dcrtest.Registration(nil))
	for name, row := range map[string]struct {
		method, path string
		body         []byte
		edits        []dcrtest.Edit
	}{
		"introspection":         {"POST", "/oauth2/introspect", []byte("token=" + access), []dcrtest.Edit{dcrtest.Bearer(access)}},
		"introspection_by_name": {"POST", "/oauth2/introspect", []byte("token=" + access), []dcrtest.Edit{credentials}},
		"registration":          {"POST", "/register", metadata, []dcrtest.Edit{dcrtest.Bearer(access)}},
		"read":                  {"GET", "/register/" + client.ID(), nil, []dcrtest.Edit{dcrtest.Bearer(client.Token())}},
		"deletion":              {"DELETE", "/register/" + client.ID(), nil, []dcrtest.Edit{dcrtest.Bearer(client.Token())}},
	} {
		for _, right := range []string{access, client.Token(), "wrong"} {
			t.Run("ERR-01/token_in_two_places/"+name, func(t *testing.T) {
				t.Parallel() // RFC 6750, section 2
				media := "application/json"
				if name[0] == 'i' {
					media = "application/x-www-form-urlencoded"
				}
				edits := append(slices.Clone(row.edits), dcrtest.Header("Content-Type", media))
				answer := s.Do(t, row.method, row.path+"?access_token="+right, row.body, edits...)
				dcrtest.RequireTokenError(t, answer, http.StatusBadRequest, "invalid_request")
			})
		}
	}
	t.Run("ERR-01/token_in_two_places/form", func(t *testing.T) {
		t.Parallel()
		answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {access}, "access_token": {access}}, credentials)
		dcrtest.RequireTokenError(t, answer, http.StatusBadRequest, "invalid_request")
	})
	t.Run("ERR-01/inactive_has_no_challenge", func(t *testing.T) {
		t.Parallel()
		for _, edit := range []dcrtest.Edit{credentials, dcrtest.Bearer(access), dcrtest.Basic(client.ID(), client.Secret())} {
			answer := introspect(t, s, "unknown", edit)
			seesNothing(t, answer)
			require.Empty(t, answer.Header.Get("WWW-Authenticate"))
		}
	})
}

// issuerStore is a MemoryStore that knows the key of one issuer of assertions (RFC 7523).
type issuerStore struct {
	*dcr.MemoryStore
	key  *jose.JSONWebKey
	used sync.Map // identifiers of assertions
}

func (s *issuerStore) GetPublicKey(context.Context, string, string, string) (*jose.JSONWebKey, error) {
	return s.key, nil
}

func (s *issuerStore) GetPublicKeys(context.Context, string, string) (*jose.JSONWebKeySet, error) {
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{*s.key}}, nil
}

func (s *issuerStore) GetPublicKeyScopes(context.Context, string, string, string) ([]string, error) {
	return []string{"openid"}, nil
}

func (s *issuerStore) IsJWTUsed(_ context.Context, jti string) (bool, error) {
	_, used := s.used.Load(jti)
	return used, nil
}

func (s *issuerStore) MarkJWTUsedForTime(_ context.Context, jti string, _ time.Time) error {
	s.used.Store(jti, true)
	return nil
}

func TestAccessTokenThatNamesNoClient(t *testing.T) {
	t.Parallel()
	for kind, introspection := range map[string]compose.Factory{
		"stored": compose.OAuth2TokenIntrospectionFactory, "stateless": compose.OAuth2StatelessJWTIntrospectionFactory,
	} {
		t.Run("INTRO-01/no_client/"+kind, func(t *testing.T) {
			t.Parallel()
			store := &issuerStore{MemoryStore: dcr.NewMemoryStore(), key: &jose.JSONWebKey{Key: dcrtest.Keys().RSA.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}
			factories := dcrtest.DefaultsAnd(compose.RFC7523AssertionGrantFactory)
			factories[5] = introspection
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, JWT: true, Factories: factories, Fosite: func(config *fosite.Config) {
				config.GrantTypeJWTBearerCanSkipClientAuth = true
			}})
			token := func() string {
				assertion := dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "k", map[string]any{
					"iss": "workload", "sub": "job", "aud": s.URL + "/oauth2/token", "jti": rand.Text(),
					"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
				})
				form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
				answer := s.Form(t, "/oauth2/token", form)
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
				dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", form), http.StatusBadRequest, "invalid_grant") // ERR-01: a replay
				return answer.Text("access_token")
			}
			bearer, asked := token(), token()
			if kind == "stateless" { // nobody can tell whose it is
				dcrtest.RequireTokenError(t, introspect(t, s, asked, dcrtest.Bearer(bearer)), http.StatusUnauthorized, "invalid_token")
				return
			}
			answer := introspect(t, s, asked, dcrtest.Bearer(bearer))
			require.Equal(t, true, answer.Members["active"], answer.Body)
			require.Equal(t, "job", answer.Text("sub"))
			registered := dcrtest.RegisterFor(t, s, "client_secret_basic").Tokens(t, s)
			seesNothing(t, introspect(t, s, registered.Text("refresh_token"), dcrtest.Bearer(bearer)))
		})
	}
}
