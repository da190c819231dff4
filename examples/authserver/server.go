package main

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/token/jwt"
	"github.com/rs/cors"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// scopes are what clients may register and users allow.
var scopes = []string{"openid", "profile", "email", "offline_access", "mcp"}

// registrationScope is the scope of access tokens that may register clients. No client
// can register it.
const registrationScope = "dcr:register"

// server is the authorization server. Its methods are the handlers.
type server struct {
	options  options
	provider *dcr.Provider
	store    store
	keys     *keys
	users    *users
	sessions *sessions
	fosite   *fosite.Config
	// sealer seals authorization requests while their user signs in and decides, and decided keeps which
	// were decided.
	sealer  cipher.AEAD
	decided *shelf[bool]
	// consents keeps what users have allowed to confidential clients, by consentKey.
	consents *shelf[[]string]
	// documents are the clients that come with the URL of a metadata document; nil with -cimd=false.
	documents *cimd.Documents
	pages     *pages
	log       *slog.Logger

	operators *operators
	history   *admin.History // what happened to clients, for the operator's pages
	admin     http.Handler   // nil with -admin=false
}

// newServer opens the storage and composes a server. The error names all that is wrong with the composition.
// The server has to be closed.
func newServer(ctx context.Context, o options, log *slog.Logger) (*server, error) {
	issuer := o.issuer
	if o.demo { // at another port each time
		issuer = ""
	}
	store, keys, err := openStorage(ctx, o.storage, issuer)
	if err != nil {
		return nil, err
	}
	s := &server{
		options:  o,
		store:    store,
		keys:     keys,
		users:    &users{keys.UserPassword},
		sessions: newSessions(strings.HasPrefix(o.issuer, "https://")),
		decided:  newShelf[bool](1_000, pageLifetime),
		consents: newShelf[[]string](1_000, 30*24*time.Hour),
		pages:    newPages(log),
		log:      log,

		operators: &operators{keys.OperatorPassword},
		history:   admin.NewHistory(admin.HistoryOptions{}),
	}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// build makes what can fail.
func (s *server) build() (err error) {
	if s.sealer, err = newSealer(s.keys.Sealing); err != nil {
		return err
	}
	if s.options.documents {
		if s.documents, err = s.openDocuments(); err != nil {
			return err
		}
	}
	if s.provider, err = s.compose(); err == nil && s.options.admin {
		s.admin, err = s.adminPages()
	}
	return err
}

// openDocuments makes what fetches documents and keeps them, in the storage too where it can.
func (s *server) openDocuments() (*cimd.Documents, error) {
	kept, _ := s.store.(cimd.Storage)
	return cimd.New(cimd.Options{
		Allow:                 s.options.documentsOf,
		MinAge:                s.options.documentAge,
		InsecureAllowLoopback: s.options.insecureOutbound,
		UserAgent:             "fosite-dcr-authserver",
		Storage:               kept,
	})
}

// close ends what the storage does in the background. No request may be under way.
func (s *server) close() error { return closeStorage(s.store) }

// compose builds the provider of fosite and extends it with registration.
func (s *server) compose() (*dcr.Provider, error) {
	config := s.fositeConfig()
	s.fosite = config
	for _, rs := range s.options.resourceServers {
		client, err := s.staticClient(config, rs)
		if err != nil {
			return nil, err
		}
		s.store.AddClient(client)
	}
	return dcr.Extend(compose.Compose(config, withPushed(s.store), s.strategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2ClientCredentialsGrantFactory,
		compose.OpenIDConnectExplicitFactory,
		compose.OpenIDConnectRefreshFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory,
		compose.OAuth2PKCEFactory,
		compose.PushedAuthorizeHandlerFactory,
		dcr.NewFactory(s.registrationConfig()), // last, so that it sees what is composed
	))
}

// fositeConfig is the configuration of fosite. Where a line differs from the default because
// clients are not known beforehand, its comment says why.
func (s *server) fositeConfig() *fosite.Config {
	return &fosite.Config{
		GlobalSecret:      s.keys.Secret,
		AccessTokenIssuer: s.options.issuer,
		IDTokenIssuer:     s.options.issuer,
		TokenURL:          s.url("/oauth2/token"), // makes private_key_jwt possible
		// A resource server that checks a JWT by itself accepts it until it expires, even if its
		// client is deleted meanwhile: so tokens are short-lived.
		AccessTokenLifespan:         15 * time.Minute,
		AuthorizeCodeLifespan:       5 * time.Minute,
		EnforcePKCEForPublicClients: true,
		// Empty, not nil: a client that registered refresh_token gets one. By default fosite
		// requires offline_access too, which few clients ask for.
		RefreshTokenScopes: []string{},
		// By default fosite reads registered scopes as patterns and audiences as prefixes.
		ScopeStrategy:            fosite.ExactScopeStrategy,
		AudienceMatchingStrategy: fosite.ExactAudienceMatchingStrategy,
		JWTScopeClaimKey:         jwt.JWTScopeFieldString, // RFC 9068, section 2.2.3
		// Generated secrets need no slow hash; those that an operator chose do.
		ClientSecretsHasher: &dcr.SecretHasher{Fallback: &fosite.BCrypt{Config: &fosite.Config{HashCost: 10}}},
	}
}

// strategy makes the tokens. Refresh tokens and codes are opaque in both modes.
func (s *server) strategy(config *fosite.Config) *compose.CommonStrategy {
	key := func(context.Context) (any, error) { return s.keys.Signing, nil }
	opaque := compose.NewOAuth2HMACStrategy(config)
	strategy := &compose.CommonStrategy{
		CoreStrategy:               opaque,
		OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(key, config),
		Signer:                     &jwt.DefaultSigner{GetPrivateKey: key},
	}
	if s.options.tokens == tokensJWT {
		strategy.CoreStrategy = compose.NewOAuth2JWTStrategy(key, opaque, config)
	}
	return strategy
}

// registrationConfig says who may register, and what.
func (s *server) registrationConfig() dcr.Config {
	config := dcr.Config{
		Access:       s.access(),
		Registration: dcr.Registration{Scope: registrationScope},
		Scopes:       scopes,
		Storage:      dcr.Storage{NewSession: func() fosite.Session { return newSession() }},
		Management:   dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: !s.options.rotate}},
		Events:       dcr.EventSinks(s.history, dcr.LogEvents(s.log)),
		Outbound:     dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: s.options.insecureOutbound}},
		Endpoints:    dcr.Endpoints{AllowedOrigins: []string{"*"}},
		Limits:       dcr.Limits{Rate: dcr.RateLimit{PerCaller: s.callerRate()}},
		// Claude Code and Visual Studio Code register http://localhost/callback and come
		// back with a port; MCP Inspector and Cursor send no state; these editors have
		// redirect URIs of their own schemes.
		Authorization: dcr.Authorization{
			Audience:              s.audiences(),
			AllowAnyLocalhostPort: true,
			AllowMissingState:     true,
		},
		Metadata: dcr.Metadata{
			PrivateUseSchemes: []string{"cursor", "vscode", "vscode-insiders", "windsurf", "oc"},
			// Only to show the grant. With open registration it gives a token to everybody
			// who asks, so the server prints a notice when it starts.
			AnonymousGrantTypes: []string{"client_credentials"},
		},
	}
	if s.documents != nil { // a nil pointer would be documents all the same
		config.Documents = s.documents
	}
	return config
}

// callerRate is what -rate says. Without it there is no limit on loopback, and elsewhere the
// default of the package.
func (s *server) callerRate() dcr.Rate {
	if s.options.rate.Count == 0 && isLoopback(s.options.addr) {
		return dcr.Rate{Count: -1}
	}
	return s.options.rate
}

// audiences are the resources that tokens may be for: the server itself, and an MCP
// server next to it.
func (s *server) audiences() []string {
	return []string{s.options.issuer, s.url("/mcp")}
}

// staticClient returns a client that was not registered through the protocol. It may introspect
// every token. With -registration token it may get an access token that lets its holder register.
func (s *server) staticClient(config *fosite.Config, rs resourceServer) (fosite.Client, error) {
	hash, err := config.ClientSecretsHasher.Hash(context.Background(), []byte(rs.secret))
	if err != nil {
		return nil, fmt.Errorf("-resource-server %s: %w", rs.id, err)
	}
	client := &fosite.DefaultClient{
		ID:         rs.id,
		Secret:     hash,
		GrantTypes: []string{"client_credentials"},
		Audience:   s.audiences(),
	}
	if s.options.registration == registrationToken {
		client.Scopes = []string{registrationScope}
	}
	return client, nil
}

// url returns the public URL of a path. It comes from the issuer alone: the sender of a
// request chooses its Host header.
func (s *server) url(path string) string {
	return strings.TrimSuffix(s.options.issuer, "/") + path
}

// handler has all routes.
func (s *server) handler() http.Handler {
	// Without UseEncodedPath the router would clean a path such as /register/..%2f by
	// a redirect, before the client configuration endpoint sees it.
	router := mux.NewRouter().UseEncodedPath()

	// Pages for people. Forms are taken from our own pages only; the authorization
	// endpoint changes nothing, and clients may post to it.
	protection := http.NewCrossOriginProtection()
	form := func(path string, h http.HandlerFunc) {
		router.Handle(path, protection.Handler(h)).Methods(http.MethodPost)
	}
	router.HandleFunc("/oauth2/auth", s.authorize).Methods(http.MethodGet, http.MethodPost)
	router.HandleFunc("/sign-in", s.showSignIn).Methods(http.MethodGet)
	router.HandleFunc("/consent", s.showConsent).Methods(http.MethodGet)
	router.HandleFunc("/", s.showHome).Methods(http.MethodGet)
	form("/sign-in", s.signIn)
	form("/sign-out", s.signOut)
	form("/consent", s.decide)
	if s.admin != nil {
		router.Handle("/admin", s.admin)
		router.PathPrefix("/admin/").Handler(s.admin)
	}

	// Endpoints for programs, none of which takes the cookie of a session.
	s.provider.Mount(router)
	programs := router.NewRoute().Subrouter()
	programs.Use(openToBrowsers)
	programs.HandleFunc("/oauth2/token", s.token)
	programs.HandleFunc("/oauth2/introspect", s.introspect)
	programs.HandleFunc("/oauth2/revoke", s.revoke)
	programs.HandleFunc("/oauth2/par", s.pushAuthorization)
	programs.HandleFunc("/userinfo", s.userinfo)
	programs.HandleFunc("/.well-known/oauth-authorization-server", s.metadata)
	programs.HandleFunc("/.well-known/openid-configuration", s.metadata)
	programs.HandleFunc("/.well-known/jwks.json", s.jwks)

	return http.MaxBytesHandler(router, 1<<20)
}

// openToBrowsers lets clients that run in a browser, such as MCP Inspector, call from
// any origin. Since no credentials are allowed, a page gets nothing that a program could
// not get. The package does the same for its own endpoints
// (Config.Endpoints.AllowedOrigins).
var openToBrowsers = cors.New(cors.Options{
	AllowedOrigins: []string{"*"},
	AllowedMethods: []string{http.MethodGet, http.MethodPost},
	AllowedHeaders: []string{"*"},
	ExposedHeaders: []string{"WWW-Authenticate"},
	MaxAge:         600,
}).Handler

// refused logs an error that is answered: a failure of the server as an error, and a refusal
// as information. That a client's keys or document can't be fetched is no failure of this server.
func (s *server) refused(r *http.Request, err error) {
	answer := fosite.ErrorToRFC6749Error(err)
	attrs := []slog.Attr{slog.String("path", r.URL.Path), slog.String("error", answer.ErrorField), slog.String("hint", answer.HintField)}
	level := slog.LevelInfo
	if answer.CodeField >= 500 {
		if !errors.Is(err, dcr.ErrKeysUnavailable) && !errors.Is(err, dcr.ErrDocumentUnavailable) {
			level = slog.LevelError
		}
		attrs = append(attrs, slog.String("cause", answer.DebugField))
	}
	s.log.LogAttrs(r.Context(), level, "request refused", attrs...)
}

// grantAll grants all that was requested. fosite has checked that it is registered. A token for
// which no resource was named is for this server alone (RFC 9068, section 3).
func (s *server) grantAll(request fosite.Requester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	audiences := request.GetRequestedAudience()
	if len(audiences) == 0 {
		audiences = []string{s.options.issuer}
	}
	for _, audience := range audiences {
		request.GrantAudience(audience)
	}
}
