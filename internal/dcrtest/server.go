// Package dcrtest has the one fixture of this module's tests: an authorization server
// that is really composed and really listens, and a client that speaks HTTP to it.
package dcrtest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Scopes are what clients may register unless a Setup says otherwise.
var Scopes = []string{"openid", "profile", "email", "offline_access"}

// Setup says what is special about a server. The zero value is an open server in
// memory with every grant that fosite has for users and services, opaque tokens and
// Scopes.
type Setup struct {
	// Config is that of the package. A nil Access means open, unless Closed.
	Config dcr.Config
	Closed bool
	// Fosite changes fosite's configuration before composition.
	Fosite func(*fosite.Config)
	// Storage is what the provider is composed with; nil means a new MemoryStore.
	Storage any
	// Static are static clients, for the new MemoryStore.
	Static []fosite.Client
	// Factories come before the package's own; nil means DefaultFactories.
	Factories []compose.Factory
	// JWT makes access tokens JWTs.
	JWT bool
	// UnusedEnd leaves the end of unused clients at the package's default. Otherwise they
	// live for ever unless Config.Lifecycle says so, so that tests may move the clock.
	UnusedEnd bool
	// CallersLimited leaves the limit for each caller at the package's default. Otherwise
	// there is none unless Config.Limits.Rate says so: all tests call from one address.
	CallersLimited bool
}

// DefaultFactories are what an ordinary server composes.
var DefaultFactories = []compose.Factory{
	compose.OAuth2AuthorizeExplicitFactory,
	compose.OAuth2ClientCredentialsGrantFactory,
	compose.OAuth2RefreshTokenGrantFactory,
	compose.OpenIDConnectExplicitFactory,
	compose.OpenIDConnectRefreshFactory,
	compose.OAuth2TokenIntrospectionFactory,
	compose.OAuth2TokenRevocationFactory,
	compose.OAuth2PKCEFactory,
	compose.PushedAuthorizeHandlerFactory,
}

// Server is a running authorization server.
type Server struct {
	URL      string
	Provider *dcr.Provider
	// Store is the MemoryStore; nil where the Setup has a storage of its own.
	Store *dcr.MemoryStore
	// Fosite is fosite's configuration, not to be changed any more.
	Fosite *fosite.Config
	// Key signs ID tokens and JWT access tokens.
	Key *rsa.PrivateKey
	// Extra serves paths that the server does not have.
	Extra *mux.Router
}

// Start runs a server until the test ends.
func Start(t testing.TB, setup Setup) *Server {
	t.Helper()
	listener := httptest.NewUnstartedServer(nil)
	s := &Server{URL: "http://" + listener.Listener.Addr().String(), Key: signingKey()}
	provider, err := s.Compose(setup)
	require.NoError(t, err)
	s.Provider = provider
	listener.Config.Handler = s.routes()
	listener.Start()
	t.Cleanup(listener.Close)
	return s
}

// Compose composes the provider of a server that is not running.
func (s *Server) Compose(setup Setup) (*dcr.Provider, error) {
	if s.Key == nil {
		s.Key = signingKey()
	}
	s.Fosite = s.fositeConfig(setup)
	store := setup.Storage
	if store == nil {
		s.Store = dcr.NewMemoryStore()
		for _, client := range setup.Static {
			s.Store.AddClient(client)
		}
		store = s.Store
	}
	factories := setup.Factories
	if factories == nil {
		factories = DefaultFactories
	}
	factories = append(slices.Clone(factories), dcr.NewFactory(packageConfig(setup)))
	return dcr.Extend(compose.Compose(s.Fosite, store, s.strategy(setup.JWT), factories...))
}

func packageConfig(setup Setup) dcr.Config {
	cfg := setup.Config
	if cfg.Access == nil && !setup.Closed {
		cfg.Access = dcr.Open()
	}
	if cfg.Scopes == nil {
		cfg.Scopes = Scopes
	}
	if cfg.Lifecycle.Unused == 0 && !setup.UnusedEnd {
		cfg.Lifecycle.Unused = -1
	}
	if cfg.Limits.Rate.PerCaller.Count == 0 && !setup.CallersLimited {
		cfg.Limits.Rate.PerCaller.Count = -1
	}
	return cfg
}

func (s *Server) fositeConfig(setup Setup) *fosite.Config {
	config := &fosite.Config{
		AccessTokenIssuer:  s.URL,
		IDTokenIssuer:      s.URL,
		TokenURL:           s.URL + "/oauth2/token",
		GlobalSecret:       []byte("a secret of thirty-two bytes, or more"),
		RefreshTokenScopes: []string{},
		HashCost:           4,
	}
	if setup.Fosite != nil {
		setup.Fosite(config)
	}
	return config
}

func (s *Server) strategy(tokensAreJWTs bool) any {
	key := func(context.Context) (any, error) { return s.Key, nil }
	var core oauth2.CoreStrategy = compose.NewOAuth2HMACStrategy(s.Fosite)
	if tokensAreJWTs {
		core = compose.NewOAuth2JWTStrategy(key, core, s.Fosite)
	}
	return &compose.CommonStrategy{
		CoreStrategy:               core,
		OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(key, s.Fosite),
		Signer:                     &jwt.DefaultSigner{GetPrivateKey: key},
	}
}

// signingKey is made once: RSA keys take long.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// session is one for OpenID Connect and for JWT access tokens alike.
type session struct {
	*openid.DefaultSession
}

func (s *session) Clone() fosite.Session {
	return &session{s.DefaultSession.Clone().(*openid.DefaultSession)}
}

func (s *session) GetJWTClaims() jwt.JWTClaimsContainer {
	return &jwt.JWTClaims{Subject: s.Subject}
}

func (s *session) GetJWTHeader() *jwt.Headers { return &jwt.Headers{} }

// NewSession returns a session of the type that the server uses.
func NewSession(subject string) fosite.Session {
	return &session{&openid.DefaultSession{
		Subject: subject,
		Claims:  &jwt.IDTokenClaims{Subject: subject, RequestedAt: time.Now(), AuthTime: time.Now()},
		Headers: &jwt.Headers{},
	}}
}

// Handler serves what the server serves, without a network.
func (s *Server) Handler() http.Handler { return s.routes() }

func (s *Server) routes() http.Handler {
	router := mux.NewRouter().UseEncodedPath()
	s.Provider.Mount(router)
	router.HandleFunc("/oauth2/auth", s.authorize)
	router.HandleFunc("/oauth2/token", s.token)
	router.HandleFunc("/oauth2/introspect", s.introspect)
	router.HandleFunc("/oauth2/revoke", s.revoke)
	router.HandleFunc("/oauth2/par", s.push)
	router.HandleFunc("/jwks", s.keys)
	router.HandleFunc("/.well-known/oauth-authorization-server", s.discovery)
	router.HandleFunc("/.well-known/openid-configuration", s.discovery)
	s.Extra = mux.NewRouter()
	router.NotFoundHandler = s.Extra
	return router
}

// The user of the server allows everything, unless a header says otherwise.
const (
	// HeaderAnonymous says that nobody is signed in.
	HeaderAnonymous = "Test-Anonymous"
	// HeaderDeny says that the user denies.
	HeaderDeny = "Test-Deny"
)

func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	signedIn := r.Header.Get(HeaderAnonymous) == ""
	request, err := s.Provider.NewAuthorizeRequest(ctx, r)
	if err == nil && r.Header.Get(HeaderDeny) != "" {
		err = fosite.ErrAccessDenied
	}
	var response fosite.AuthorizeResponder
	if err == nil {
		grantAll(request)
		response, err = s.Provider.NewAuthorizeResponse(ctx, request, NewSession("alice"))
	}
	switch {
	case err == nil:
		s.Provider.WriteAuthorizeResponse(ctx, w, request, response)
	case s.Provider.ShowsAuthorizeError(request, err, signedIn):
		refusal := fosite.ErrorToRFC6749Error(err)
		http.Error(w, refusal.ErrorField+": "+refusal.GetDescription(), refusal.CodeField)
	default:
		s.Provider.WriteAuthorizeError(ctx, w, request, err)
	}
}

func grantAll(request fosite.Requester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	for _, audience := range request.GetRequestedAudience() {
		request.GrantAudience(audience)
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.Provider.NewAccessRequest(ctx, r, NewSession(""))
	if err != nil {
		s.Provider.WriteAccessError(ctx, w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("client_credentials") {
		grantAll(request)
	}
	response, err := s.Provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.Provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.Provider.WriteAccessResponse(ctx, w, request, response)
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := s.Provider.NewIntrospectionRequest(ctx, r, NewSession(""))
	if err != nil {
		s.Provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	s.Provider.WriteIntrospectionResponse(ctx, w, response)
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	s.Provider.WriteRevocationResponse(r.Context(), w, s.Provider.NewRevocationRequest(r.Context(), r))
}

func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.Provider.NewPushedAuthorizeRequest(ctx, r)
	if err != nil {
		s.Provider.WritePushedAuthorizeError(ctx, w, request, err)
		return
	}
	response, err := s.Provider.NewPushedAuthorizeResponse(ctx, request, NewSession(""))
	if err != nil {
		s.Provider.WritePushedAuthorizeError(ctx, w, request, err)
		return
	}
	s.Provider.WritePushedAuthorizeResponse(ctx, w, request, response)
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.Key.Public(), Use: "sig", Algorithm: "RS256"}}})
}

func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	document := s.Provider.Metadata(r.Context())
	document["authorization_endpoint"] = s.URL + "/oauth2/auth"
	document["token_endpoint"] = s.URL + "/oauth2/token"
	document["introspection_endpoint"] = s.URL + "/oauth2/introspect"
	document["revocation_endpoint"] = s.URL + "/oauth2/revoke"
	document["pushed_authorization_request_endpoint"] = s.URL + "/oauth2/par"
	document["jwks_uri"] = s.URL + "/jwks"
	document["id_token_signing_alg_values_supported"] = []string{"RS256"}
	document["subject_types_supported"] = []string{"public"}
	writeJSON(w, document)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
