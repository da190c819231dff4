package management_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/token/hmac"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// jwtMaker is a host's strategy of unknown type that makes self-contained tokens.
type jwtMaker struct{ oauth2.CoreStrategy }

// brokenMaker can't make a token when it is tried out.
type brokenMaker struct{ oauth2.CoreStrategy }

func (brokenMaker) GenerateAccessToken(context.Context, fosite.Requester) (string, string, error) {
	return "", "", errors.New("no client, no token")
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func jwtStrategy(config *fosite.Config) *oauth2.DefaultJWTStrategy {
	key := func(context.Context) (any, error) { return testKey(), nil }
	return compose.NewOAuth2JWTStrategy(key, compose.NewOAuth2HMACStrategy(config), config)
}

// strategies are those that a host may compose.
var strategies = map[string]func(*fosite.Config) any{
	"hmac": func(c *fosite.Config) any { return compose.NewOAuth2HMACStrategy(c) },
	"unprefixed": func(c *fosite.Config) any {
		return oauth2.NewHMACSHAStrategyUnPrefixed(&hmac.HMACStrategy{Config: c}, c)
	},
	"common": func(c *fosite.Config) any {
		return &compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(c)}
	},
	"common_by_value": func(c *fosite.Config) any {
		return compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(c)}
	},
	"common_jwt":        func(c *fosite.Config) any { return &compose.CommonStrategy{CoreStrategy: jwtStrategy(c)} },
	"jwt":               func(c *fosite.Config) any { return jwtStrategy(c) },
	"custom_jwt":        func(c *fosite.Config) any { return jwtMaker{jwtStrategy(c)} },
	"common_custom_jwt": func(c *fosite.Config) any { return &compose.CommonStrategy{CoreStrategy: jwtMaker{jwtStrategy(c)}} },
	"custom_opaque":     func(c *fosite.Config) any { return dcrtest.NewOpaqueMaker(c) },
	"custom_broken":     func(c *fosite.Config) any { return brokenMaker{compose.NewOAuth2HMACStrategy(c)} },
}

// TestTokenStrategies: whatever makes access tokens, registration access tokens are
// opaque and of use for registration only (T46, RAT-01, T01).
func TestTokenStrategies(t *testing.T) {
	t.Parallel()
	for name, strategy := range strategies {
		t.Run("T46/"+name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewWatchedStore()
			store.AddClient(dcrtest.Introspector(t))
			s := dcrtest.Composition{Store: store, Strategy: strategy}.Start(t)
			client := s.Register(t, dcrtest.Managed())
			require.Equal(t, dcrtest.Issuer+"/register/"+client.ID(), client.URI())
			updated := dcrtest.ManageAt(t, s, "PUT", client, client.Token())
			require.Equal(t, http.StatusOK, updated.Status, updated.Body)
			dcrtest.RequireUniformRefusal(t, dcrtest.ManageAt(t, s, "GET", client, client.Token()))
			require.Equal(t, http.StatusOK, dcrtest.ManageAt(t, s, "GET", client, updated.Token()).Status)
			for _, token := range []string{client.Token(), updated.Token()} {
				require.Less(t, strings.Count(token, "."), 2, "no JWT")
				require.GreaterOrEqual(t, len(token), 43, "256 bits")
			}
			require.False(t, strings.HasPrefix(updated.Token(), "opaque-"), "of no strategy whose type is unknown: what it makes may change while it runs")
			requireNoAccessToken(t, s, store, updated.Token())
			require.Equal(t, http.StatusNoContent, dcrtest.ManageAt(t, s, "DELETE", client, updated.Token()).Status)
			require.Empty(t, store.Stored())
		})
	}
}

// requireNoAccessToken: the token and whatever can be made of its entry's key is
// inactive at introspection, as what is asked about and as what asks.
func requireNoAccessToken(t *testing.T, s *dcrtest.Server, store *dcrtest.WatchedStore, token string) {
	t.Helper()
	crafted := []string{token, strings.TrimPrefix(token, "ory_at_"), "ory_at_" + token}
	for key := range store.Stored() {
		crafted = append(crafted, key, "x."+key, "x.y."+key, "ory_at_x."+key, key+"."+key, "."+key)
	}
	require.Greater(t, len(crafted), 3)
	for _, token := range crafted {
		require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, token), token)
		answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {"x"}}, dcrtest.Bearer(token))
		require.Equal(t, http.StatusUnauthorized, answer.Status, "%s: %s", token, answer.Body)
		_, _, err := s.Provider.IntrospectToken(t.Context(), token, fosite.AccessToken, dcrtest.NewSession(""), "dcr:manage")
		require.Error(t, err, "an API of the server asks so (T01): %s", token)
	}
}

// TestTokenEverywhere: on a whole server, with each kind of token (RAT-01, T01, IAT-03).
func TestTokenEverywhere(t *testing.T) {
	t.Parallel()
	overTokenKinds(t, dcrtest.Setup{Closed: true, Config: dcr.Config{Access: dcr.AnyOf(dcr.AccessToken(), trustedHeader)}}, func(t *testing.T, s *dcrtest.Server) {
		client := s.Register(t, dcrtest.Managed(), dcrtest.Header("Trusted", "yes"))
		basic := dcrtest.Basic(client.ID(), client.Secret())
		require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, client.Token()))
		own := s.Form(t, "/oauth2/introspect", url.Values{"token": {client.Token()}}, basic)
		require.Equal(t, dcrtest.Inactive, own.Members, "its own client is told the same")
		dcrtest.RequireUniformRefusal(t, s.Post(t, dcrtest.Managed(), dcrtest.Bearer(client.Token())))
		dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", client.Token()), basic), http.StatusBadRequest, "invalid_grant")
		dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.CodeForm("", client.Token(), dcrtest.RedirectURI), basic), http.StatusBadRequest, "invalid_grant")
		require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()), "and none of it harmed the token")
	})
}

var trustedHeader = dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
	if r.Header.Get("Trusted") == "" {
		return nil, dcr.ErrMissingToken
	}
	return &dcr.Registrant{Kind: "trusted"}, nil
})

// TestTokenRevocation: a client can revoke its own token and nobody else's (RAT-02).
func TestTokenRevocation(t *testing.T) {
	t.Parallel()
	overTokenKinds(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{Grace: time.Hour}}}}, func(t *testing.T, s *dcrtest.Server) {
		client, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
		public := s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none"))
		revoke := func(token string, edits ...dcrtest.Edit) int {
			return s.Form(t, "/oauth2/revoke", url.Values{"token": {token}, "token_type_hint": {"access_token"}}, edits...).Status
		}
		require.Equal(t, http.StatusBadRequest, revoke(client.Token(), dcrtest.Basic(other.ID(), other.Secret())), "ERR-01")
		require.Equal(t, http.StatusUnauthorized, revoke(client.Token(), dcrtest.Basic(client.ID(), "wrong")))
		require.Equal(t, http.StatusBadRequest, revoke(client.Token()), "nobody")
		require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()))

		require.Equal(t, http.StatusOK, revoke(client.Token(), dcrtest.Basic(client.ID(), client.Secret())))
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
		}
		require.Equal(t, http.StatusOK, revoke(client.Token(), dcrtest.Basic(client.ID(), client.Secret())), "again, as RFC 7009 has it")
		dcrtest.SignIn(t, s, client) // the client itself lives on

		require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", url.Values{"token": {public.Token()}, "client_id": {public.ID()}}).Status)
		require.False(t, dcrtest.TokenWorks(t, s, public, public.Token()))

		updated := s.Manage(t, "PUT", other, dcrtest.Replacing(other))
		require.Equal(t, http.StatusOK, revoke(other.Token(), dcrtest.Basic(other.ID(), other.Secret())))
		require.False(t, dcrtest.TokenWorks(t, s, other, other.Token()), "a token in its grace can be revoked, too")
		require.True(t, dcrtest.TokenWorks(t, s, updated, updated.Token()))
	})
}

// TestRotatedGlobalSecret: a token outlives the secret that made it as long as fosite's
// rotated secrets list it (RAT-03).
func TestRotatedGlobalSecret(t *testing.T) {
	t.Parallel()
	old, fresh := "the old secret of thirty-two bytes or more", "the new secret of thirty-two bytes or more"
	store := dcr.NewMemoryStore()
	before := dcrtest.Composition{Store: store, Secrets: []string{old}}.Start(t)
	client := before.Register(t, dcrtest.Managed())
	rotated := dcrtest.Composition{Store: store, Secrets: []string{fresh, old}}.Start(t)
	without := dcrtest.Composition{Store: store, Secrets: []string{fresh}}.Start(t)

	dcrtest.RequireUniformRefusal(t, dcrtest.ManageAt(t, without, "GET", client, client.Token()))
	require.Equal(t, http.StatusOK, dcrtest.ManageAt(t, rotated, "GET", client, client.Token()).Status, "RAT-03")
	updated := dcrtest.ManageAt(t, rotated, "PUT", client, client.Token())
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, http.StatusOK, dcrtest.ManageAt(t, without, "GET", client, updated.Token()).Status, "its successor is of the new secret")
	dcrtest.RequireUniformRefusal(t, dcrtest.ManageAt(t, before, "GET", client, updated.Token()))
}

// TestTokenEntries: what lies in the host's storage of access tokens. The key is no
// signature that a token could have; the request has the client and the scope; the
// session says ten years, renewed with each rotation (RAT-01, 7592-5-01).
func TestTokenEntries(t *testing.T) {
	t.Parallel()
	clock, store := newHandClock(), dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Now: clock.Now, Management: dcr.Management{Token: dcr.RegistrationToken{Scope: "host:manage"}},
	}})
	client := s.Register(t, dcrtest.Managed())
	check := func(client dcrtest.Answer) {
		entries := store.Stored()
		require.Len(t, entries, 1)
		for key, request := range entries {
			_, random, ok := strings.Cut(client.Token(), ".")
			require.True(t, ok)
			require.NotEqual(t, random, key)
			require.Contains(t, key, ".", "no signature has a dot")
			require.NotContains(t, key, client.Token())
			require.Equal(t, client.ID(), request.GetClient().GetID())
			require.Equal(t, fosite.Arguments{"host:manage"}, request.GetGrantedScopes())
			require.Empty(t, request.GetGrantedAudience())
			ends := request.GetSession().GetExpiresAt(fosite.AccessToken)
			require.WithinDuration(t, clock.Now().AddDate(10, 0, 0), ends, 4*24*time.Hour)
		}
	}
	check(client)
	clock.advance(365 * 24 * time.Hour)
	updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	check(updated)
}

// TestOwnTokenScope: the scope of registration access tokens can't be had by a client,
// whatever it is called (SCOPE-02, RAT-01).
func TestOwnTokenScope(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"", "host:manage"} {
		t.Run("SCOPE-02/"+scope, func(t *testing.T) {
			t.Parallel()
			own := scope
			if own == "" {
				own = "dcr:manage"
			}
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{Scope: scope}},
				Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}})
			client := s.Register(t, dcrtest.Managed("scope", "openid "+own, "grant_types", []string{"authorization_code", "client_credentials"}))
			require.Equal(t, "openid", client.Text("scope"))
			dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {own}},
				dcrtest.Basic(client.ID(), client.Secret())), http.StatusBadRequest, "invalid_scope")
			location := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", own)).Location(t)
			require.Equal(t, "invalid_scope", location.Query().Get("error"), location.String())
			_, err := (&dcrtest.Server{URL: dcrtest.Issuer}).Compose(dcrtest.Setup{Config: dcr.Config{
				Management: dcr.Management{Token: dcr.RegistrationToken{Scope: scope}}, Scopes: []string{"openid", own}}})
			require.ErrorContains(t, err, own, "and a host that offers it is told")
		})
	}
}

// forgetful is a token storage that takes a session without expiry for one of an hour,
// as one host's does, and drops what is past.
type forgetful struct {
	*dcr.MemoryStore
	now func() time.Time

	mu   sync.Mutex
	ends map[string]time.Time
}

func (f *forgetful) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	end := request.GetSession().GetExpiresAt(fosite.AccessToken)
	if end.IsZero() {
		end = f.now().Add(time.Hour)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends[signature] = end
	return f.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

func (f *forgetful) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	f.mu.Lock()
	end := f.ends[signature]
	f.mu.Unlock()
	if !f.now().Before(end) {
		return nil, fosite.ErrNotFound
	}
	return f.MemoryStore.GetAccessTokenSession(ctx, signature, session)
}

// TestForgetfulStorage: a token that never expires does not expire on a storage that
// knows no such tokens.
func TestForgetfulStorage(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	store := &forgetful{MemoryStore: dcr.NewMemoryStore(), now: clock.Now, ends: map[string]time.Time{}}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Now: clock.Now}})
	client := s.Register(t, dcrtest.Managed())
	clock.advance(9 * 365 * 24 * time.Hour)
	require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()))
	updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, updated.Status)
	clock.advance(9 * 365 * 24 * time.Hour)
	require.True(t, dcrtest.TokenWorks(t, s, updated, updated.Token()))
}

// TestDatabaseCopy: nothing that was ever written to the storage holds a secret or a
// token, or lets one be made (7592-5-01, T27).
func TestDatabaseCopy(t *testing.T) {
	t.Parallel()
	for _, tokens := range []dcr.RegistrationToken{{}, {Grace: time.Hour, RotateOnRead: true}} {
		store := dcrtest.NewWatchedStore()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{Token: tokens}}})
		client := s.Register(t, dcrtest.Managed())
		read := s.Manage(t, "GET", client, nil)
		updated := s.Manage(t, "PUT", read, dcrtest.Replacing(client, "token_endpoint_auth_method", "none"))
		again := s.Manage(t, "PUT", updated, dcrtest.Replacing(client))
		require.Equal(t, http.StatusOK, again.Status, again.Body)
		content := store.Content()
		require.Contains(t, content, client.ID(), "the search would find something")
		secrets := []string{client.Secret(), again.Secret()}
		for _, answer := range []dcrtest.Answer{client, read, updated, again} {
			random, _, _ := strings.Cut(strings.TrimPrefix(answer.Token(), "ory_at_"), ".")
			secrets = append(secrets, answer.Token(), random)
		}
		for _, secret := range secrets {
			require.NotEmpty(t, secret)
			require.NotContains(t, content, secret)
			require.NotContains(t, content, base64.StdEncoding.EncodeToString([]byte(secret)), "bytes are base64 in JSON")
		}
		for key := range store.Stored() { // what the copy shows does not work
			signature := key[strings.LastIndexByte(key, '.')+1:]
			for _, guess := range []string{key, signature, "x." + signature, "ory_at_eA." + signature} {
				dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", client, nil, dcrtest.Bearer(guess)))
			}
		}
	}
}
