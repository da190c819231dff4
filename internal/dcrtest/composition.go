package dcrtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Issuer is the issuer of every Composition.
const Issuer = "https://as.example"

// Composition is a server with a strategy or a secret of its own. All of them have one
// issuer, so that several can share a storage.
type Composition struct {
	// Store is the storage, as a MemoryStore.
	Store any
	// Strategy makes fosite's strategy; nil means the HMAC strategy.
	Strategy func(*fosite.Config) any
	// Secrets are the global secret, then rotated ones; nil means one of the fixture's.
	Secrets []string
	// Config is that of the package. Access is open and Scopes are the fixture's, whatever it says.
	Config dcr.Config
}

// Start runs the server until the test ends.
func (c Composition) Start(t testing.TB) *Server {
	t.Helper()
	if c.Secrets == nil {
		c.Secrets = []string{"a secret of thirty-two bytes, or more"}
	}
	config := &fosite.Config{AccessTokenIssuer: Issuer, TokenURL: Issuer + "/oauth2/token",
		GlobalSecret: []byte(c.Secrets[0]), RefreshTokenScopes: []string{}, HashCost: 4}
	for _, secret := range c.Secrets[1:] {
		config.RotatedGlobalSecrets = append(config.RotatedGlobalSecrets, []byte(secret))
	}
	var strategy any = compose.NewOAuth2HMACStrategy(config)
	if c.Strategy != nil {
		strategy = c.Strategy(config)
	}
	c.Config.Access, c.Config.Scopes = dcr.Open(), Scopes
	provider, err := dcr.Extend(compose.Compose(config, c.Store, strategy, compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory, compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory, dcr.NewFactory(c.Config)))
	require.NoError(t, err)
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	router.HandleFunc("/oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
		response, err := provider.NewIntrospectionRequest(r.Context(), r, NewSession(""))
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
	return &Server{URL: listener.URL, Provider: provider, Fosite: config}
}

// ManageAt is Server.Manage for a server whose issuer is not where it listens. The body is that of Replacing.
func ManageAt(t testing.TB, s *Server, method string, client Answer, token string) Answer {
	t.Helper()
	return s.Do(t, method, "/register/"+client.ID(), JSONBody(t, Replacing(client)), Bearer(token), Header("Content-Type", "application/json"))
}

// OpaqueMaker is an application's strategy of unknown type that makes opaque tokens, and knows each that it made.
type OpaqueMaker struct {
	oauth2.CoreStrategy

	mu   sync.Mutex
	made map[string]bool
}

// AccessTokenSignature is a hash of the token.
func (o *OpaqueMaker) AccessTokenSignature(_ context.Context, token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// GenerateAccessToken makes a random token.
func (o *OpaqueMaker) GenerateAccessToken(ctx context.Context, _ fosite.Requester) (string, string, error) {
	token := "opaque-" + rand.Text() + rand.Text()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made[token] = true
	return token, o.AccessTokenSignature(ctx, token), nil
}

// ValidateAccessToken accepts what was made here.
func (o *OpaqueMaker) ValidateAccessToken(_ context.Context, _ fosite.Requester, token string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.made[token] {
		return fosite.ErrTokenSignatureMismatch
	}
	return nil
}

// Tokens returns the tokens that were made, sorted.
func (o *OpaqueMaker) Tokens() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var tokens []string
	for token := range o.made {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	return tokens
}

// NewOpaqueMaker returns an OpaqueMaker that does the rest as fosite's HMAC strategy does it.
func NewOpaqueMaker(config *fosite.Config) *OpaqueMaker {
	return &OpaqueMaker{CoreStrategy: compose.NewOAuth2HMACStrategy(config), made: map[string]bool{}}
}
