package dcr_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/token/hmac"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const constantIssuer = "https://as.example"

// composition is a server with a strategy or a secret of its own. All of them have one
// issuer, so that several can share a storage.
type composition struct {
	store    any
	strategy func(*fosite.Config) any // nil means fosite's HMAC strategy
	secrets  []string                 // the global secret, then rotated ones
	config   dcr.Config
}

func (c composition) start(t testing.TB) *dcrtest.Server {
	t.Helper()
	if c.secrets == nil {
		c.secrets = []string{"a secret of thirty-two bytes, or more"}
	}
	config := &fosite.Config{AccessTokenIssuer: constantIssuer, TokenURL: constantIssuer + "/oauth2/token",
		GlobalSecret: []byte(c.secrets[0]), RefreshTokenScopes: []string{}, HashCost: 4}
	for _, secret := range c.secrets[1:] {
		config.RotatedGlobalSecrets = append(config.RotatedGlobalSecrets, []byte(secret))
	}
	var strategy any = compose.NewOAuth2HMACStrategy(config)
	if c.strategy != nil {
		strategy = c.strategy(config)
	}
	c.config.Access, c.config.Scopes = dcr.Open(), dcrtest.Scopes
	provider, err := dcr.Extend(compose.Compose(config, c.store, strategy, compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory, compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory, dcr.NewFactory(c.config)))
	require.NoError(t, err)
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	router.HandleFunc("/oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
		response, err := provider.NewIntrospectionRequest(r.Context(), r, dcrtest.NewSession(""))
		if err != nil {
			provider.WriteIntrospectionError(r.Context(), w, err)
			return
		}
		provider.WriteIntrospectionResponse(r.Context(), w, response)
	})
	router.HandleFunc("/oauth2/revoke", func(w http.ResponseWriter, r *http.Request) {
		provider.WriteRevocationResponse(r.Context(), w, provider.NewRevocationRequest(r.Context(), r))
	})
	listener := httptest.NewServer(router)
	t.Cleanup(listener.Close)
	return &dcrtest.Server{URL: listener.URL, Provider: provider, Fosite: config}
}

// manageAt is Manage for a server whose issuer is not where it listens.
func manageAt(t testing.TB, s *dcrtest.Server, method string, client dcrtest.Answer, token string) dcrtest.Answer {
	t.Helper()
	return s.Do(t, method, "/register/"+client.ID(), jsonBody(t, replacing(client)), dcrtest.Bearer(token), dcrtest.Header("Content-Type", "application/json"))
}

// jwtMaker is a host's strategy of unknown type that makes self-contained tokens.
type jwtMaker struct{ oauth2.CoreStrategy }

// opaqueMaker is a host's strategy of unknown type that makes opaque tokens, and tells
// the test each that it made.
type opaqueMaker struct {
	oauth2.CoreStrategy

	mu   sync.Mutex
	made map[string]bool
}

func newOpaqueMaker(config *fosite.Config) *opaqueMaker {
	return &opaqueMaker{CoreStrategy: compose.NewOAuth2HMACStrategy(config), made: map[string]bool{}}
}

func (o *opaqueMaker) AccessTokenSignature(_ context.Context, token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (o *opaqueMaker) GenerateAccessToken(ctx context.Context, _ fosite.Requester) (string, string, error) {
	token := "opaque-" + rand.Text() + rand.Text()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made[token] = true
	return token, o.AccessTokenSignature(ctx, token), nil
}

func (o *opaqueMaker) ValidateAccessToken(_ context.Context, _ fosite.Requester, token string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.made[token] {
		return fosite.ErrTokenSignatureMismatch
	}
	return nil
}

func (o *opaqueMaker) tokens() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var tokens []string
	for token := range o.made {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	return tokens
}

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
	"custom_opaque":     func(c *fosite.Config) any { return newOpaqueMaker(c) },
	"custom_broken":     func(c *fosite.Config) any { return brokenMaker{compose.NewOAuth2HMACStrategy(c)} },
}

// TestTokenStrategies: whatever makes access tokens, registration access tokens are
// opaque and of use for registration only (T46, RAT-01, T01).
func TestTokenStrategies(t *testing.T) {
	t.Parallel()
	for name, strategy := range strategies {
		t.Run("T46/"+name, func(t *testing.T) {
			t.Parallel()
			store := newWatchedStore()
			store.AddClient(operatorsOwn(t))
			s := composition{store: store, strategy: strategy}.start(t)
			client := s.Register(t, managed())
			require.Equal(t, constantIssuer+"/register/"+client.ID(), client.URI())
			updated := manageAt(t, s, "PUT", client, client.Token())
			require.Equal(t, http.StatusOK, updated.Status, updated.Body)
			requireUniformRefusal(t, manageAt(t, s, "GET", client, client.Token()))
			require.Equal(t, http.StatusOK, manageAt(t, s, "GET", client, updated.Token()).Status)
			for _, token := range []string{client.Token(), updated.Token()} {
				require.Less(t, strings.Count(token, "."), 2, "no JWT")
				require.GreaterOrEqual(t, len(token), 43, "256 bits")
			}
			require.Equal(t, name == "custom_opaque", strings.HasPrefix(updated.Token(), "opaque-"), "who made it")
			requireNoAccessToken(t, s, store, updated.Token())
			require.Equal(t, http.StatusNoContent, manageAt(t, s, "DELETE", client, updated.Token()).Status)
			require.Empty(t, store.stored())
		})
	}
}

// requireNoAccessToken: the token and whatever can be made of its entry's key is
// inactive at introspection, as what is asked about and as what asks.
func requireNoAccessToken(t *testing.T, s *dcrtest.Server, store *watchedStore, token string) {
	t.Helper()
	crafted := []string{token, strings.TrimPrefix(token, "ory_at_"), "ory_at_" + token}
	for key := range store.stored() {
		crafted = append(crafted, key, "x."+key, "x.y."+key, "ory_at_x."+key, key+"."+key, "."+key)
	}
	require.Greater(t, len(crafted), 3)
	for _, token := range crafted {
		require.Equal(t, inactiveToken, introspected(t, s, token), token)
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
		client := s.Register(t, managed(), dcrtest.Header("Trusted", "yes"))
		basic := dcrtest.Basic(client.ID(), client.Secret())
		require.Equal(t, inactiveToken, introspected(t, s, client.Token()))
		own := s.Form(t, "/oauth2/introspect", url.Values{"token": {client.Token()}}, basic)
		require.Equal(t, inactiveToken, own.Members, "its own client is told the same")
		requireUniformRefusal(t, s.Post(t, managed(), dcrtest.Bearer(client.Token())))
		requireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", client.Token()), basic), http.StatusBadRequest, "invalid_grant")
		requireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.CodeForm("", client.Token(), managedRedirect), basic), http.StatusBadRequest, "invalid_grant")
		require.True(t, works(t, s, client, client.Token()), "and none of it harmed the token")
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
	overTokenKinds(t, dcrtest.Setup{Config: dcr.Config{RegistrationToken: dcr.RegistrationToken{Grace: time.Hour}}}, func(t *testing.T, s *dcrtest.Server) {
		client, other := s.Register(t, managed()), s.Register(t, managed())
		public := s.Register(t, managed("token_endpoint_auth_method", "none"))
		revoke := func(token string, edits ...dcrtest.Edit) int {
			return s.Form(t, "/oauth2/revoke", url.Values{"token": {token}, "token_type_hint": {"access_token"}}, edits...).Status
		}
		require.Equal(t, http.StatusOK, revoke(client.Token(), dcrtest.Basic(other.ID(), other.Secret())), "as for a token that is unknown")
		require.Equal(t, http.StatusUnauthorized, revoke(client.Token(), dcrtest.Basic(client.ID(), "wrong")))
		require.Equal(t, http.StatusBadRequest, revoke(client.Token()), "nobody")
		require.True(t, works(t, s, client, client.Token()))

		require.Equal(t, http.StatusOK, revoke(client.Token(), dcrtest.Basic(client.ID(), client.Secret())))
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			requireUniformRefusal(t, s.Manage(t, method, client, replacing(client)))
		}
		require.Equal(t, http.StatusOK, revoke(client.Token(), dcrtest.Basic(client.ID(), client.Secret())), "again, as RFC 7009 has it")
		signIn(t, s, client) // the client itself lives on

		require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", url.Values{"token": {public.Token()}, "client_id": {public.ID()}}).Status)
		require.False(t, works(t, s, public, public.Token()))

		updated := s.Manage(t, "PUT", other, replacing(other))
		require.Equal(t, http.StatusOK, revoke(other.Token(), dcrtest.Basic(other.ID(), other.Secret())))
		require.False(t, works(t, s, other, other.Token()), "a token in its grace can be revoked, too")
		require.True(t, works(t, s, updated, updated.Token()))
	})
}

// TestRotatedGlobalSecret: a token outlives the secret that made it as long as fosite's
// rotated secrets list it (RAT-03).
func TestRotatedGlobalSecret(t *testing.T) {
	t.Parallel()
	old, fresh := "the old secret of thirty-two bytes or more", "the new secret of thirty-two bytes or more"
	store := dcr.NewMemoryStore()
	before := composition{store: store, secrets: []string{old}}.start(t)
	client := before.Register(t, managed())
	rotated := composition{store: store, secrets: []string{fresh, old}}.start(t)
	without := composition{store: store, secrets: []string{fresh}}.start(t)

	requireUniformRefusal(t, manageAt(t, without, "GET", client, client.Token()))
	require.Equal(t, http.StatusOK, manageAt(t, rotated, "GET", client, client.Token()).Status, "RAT-03")
	updated := manageAt(t, rotated, "PUT", client, client.Token())
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, http.StatusOK, manageAt(t, without, "GET", client, updated.Token()).Status, "its successor is of the new secret")
	requireUniformRefusal(t, manageAt(t, before, "GET", client, updated.Token()))
}

// TestTokenEntries: what lies in the host's storage of access tokens. The key is no
// signature that a token could have; the request has the client and the scope; the
// session says ten years, renewed with each rotation (RAT-01, 7592-5-01).
func TestTokenEntries(t *testing.T) {
	t.Parallel()
	clock, store := newHandClock(), newWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Now: clock.Now, RegistrationToken: dcr.RegistrationToken{Scope: "host:manage"},
	}})
	client := s.Register(t, managed())
	check := func(client dcrtest.Answer) {
		entries := store.stored()
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
	updated := s.Manage(t, "PUT", client, replacing(client))
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
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{RegistrationToken: dcr.RegistrationToken{Scope: scope},
				AnonymousGrantTypes: []string{"client_credentials"}}})
			client := s.Register(t, managed("scope", "openid "+own, "grant_types", []string{"authorization_code", "client_credentials"}))
			require.Equal(t, "openid", client.Text("scope"))
			requireTokenError(t, s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {own}},
				dcrtest.Basic(client.ID(), client.Secret())), http.StatusBadRequest, "invalid_scope")
			location := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", own)).Location(t)
			require.Equal(t, "invalid_scope", location.Query().Get("error"), location.String())
			_, err := (&dcrtest.Server{URL: constantIssuer}).Compose(dcrtest.Setup{Config: dcr.Config{
				RegistrationToken: dcr.RegistrationToken{Scope: scope}, Scopes: []string{"openid", own}}})
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
	client := s.Register(t, managed())
	clock.advance(9 * 365 * 24 * time.Hour)
	require.True(t, works(t, s, client, client.Token()))
	updated := s.Manage(t, "PUT", client, replacing(client))
	require.Equal(t, http.StatusOK, updated.Status)
	clock.advance(9 * 365 * 24 * time.Hour)
	require.True(t, works(t, s, updated, updated.Token()))
}

// TestDatabaseCopy: nothing that was ever written to the storage holds a secret or a
// token, or lets one be made (7592-5-01, T27).
func TestDatabaseCopy(t *testing.T) {
	t.Parallel()
	for _, tokens := range []dcr.RegistrationToken{{}, {Grace: time.Hour, RotateOnRead: true}} {
		store := newWatchedStore()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{RegistrationToken: tokens}})
		client := s.Register(t, managed())
		read := s.Manage(t, "GET", client, nil)
		updated := s.Manage(t, "PUT", read, replacing(client, "token_endpoint_auth_method", "none"))
		again := s.Manage(t, "PUT", updated, replacing(client))
		require.Equal(t, http.StatusOK, again.Status, again.Body)
		content := store.content()
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
		for key := range store.stored() { // what the copy shows does not work
			signature := key[strings.LastIndexByte(key, '.')+1:]
			for _, guess := range []string{key, signature, "x." + signature, "ory_at_eA." + signature} {
				requireUniformRefusal(t, s.Manage(t, "GET", client, nil, dcrtest.Bearer(guess)))
			}
		}
	}
}
