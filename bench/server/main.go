// Command server is an authorization server with everything on: dynamic client registration and its management, limits,
// a log that is formatted and thrown away, and the history of the operator's pages. With -alone it is the same provider
// of fosite without the package, in the same storage. With -strict the package has its default limits.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/bench/program"
)

func main() {
	alone := flag.Bool("alone", false, "fosite without the package")
	gorilla := flag.Bool("gorilla", false, "route with gorilla/mux instead of net/http")
	strict := flag.Bool("strict", false, "the default limits of the package")
	clients := flag.Int("clients", 0, "how many clients may be registered; 0 is no bound")
	flag.Parse()
	s := &server{alone: *alone, gorilla: *gorilla, strict: *strict, clients: *clients}
	program.Serve(s.name(), s.compose)
}

type server struct {
	alone, gorilla, strict bool
	clients                int          // that may be registered, if not 0
	slow                   atomic.Int64 // by how much the clock of the package is, in nanoseconds
	provider               fosite.OAuth2Provider
	extended               *dcr.Provider // nil for fosite alone
}

// name says what this is, with the version of fosite.
func (s *server) name() string {
	version := "fosite"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == "github.com/ory/fosite" {
				version += " " + dependency.Version
			}
		}
	}
	if s.alone {
		return version + " without the package"
	}
	return "the package on " + version
}

// compose makes the provider and its routes.
func (s *server) compose(url string) (http.Handler, error) {
	config := &fosite.Config{
		AccessTokenIssuer:           url,
		TokenURL:                    url + "/token",
		GlobalSecret:                []byte("thirty-two bytes or more, kept safe"),
		RefreshTokenScopes:          []string{},
		EnforcePKCEForPublicClients: true,
		ClientSecretsHasher:         &dcr.SecretHasher{Fallback: quick{}},
		// fosite's defaults. It would fill them in without a lock during the first requests, which is a data race. The
		// package asks for them while it is composed, fosite alone has nothing that does.
		ScopeStrategy:            fosite.WildcardScopeStrategy,
		AudienceMatchingStrategy: fosite.DefaultAudienceMatchingStrategy,
		JWKSFetcherStrategy:      fosite.NewDefaultJWKSFetcherStrategy(),
	}
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(s.bounds()))
	secret, err := config.ClientSecretsHasher.Hash(context.Background(), []byte("the-secret-of-the-static-client"))
	if err != nil {
		return nil, err
	}
	for _, id := range []string{"static", "static0", "static1", "static2", "static3"} {
		store.AddClient(staticClient(id, secret))
	}
	factories := []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory,
		compose.OAuth2PKCEFactory,
	}
	if !s.alone {
		factories = append(factories, dcr.NewFactory(s.registration()))
	}
	s.provider = compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config), factories...)
	if !s.alone {
		if s.extended, err = dcr.Extend(s.provider); err != nil {
			return nil, err
		}
		s.provider = s.extended
	}
	return s.routes(), nil
}

// bounds are those of the store. Without a number of clients only theirs is out of reach: the others are the defaults, so the
// number of tokens stays, whatever the rounds.
func (s *server) bounds() dcr.MemoryLimits {
	switch {
	case s.strict:
		return dcr.MemoryLimits{}
	case s.clients > 0:
		return dcr.MemoryLimits{Clients: s.clients, Tokens: 2*s.clients + 500_000}
	}
	return dcr.MemoryLimits{Clients: 1 << 30}
}

// registration is the configuration of the package.
func (s *server) registration() dcr.Config {
	config := dcr.Config{
		Now:       s.now,
		Access:    dcr.Open(),
		Scopes:    []string{"profile", "email"},
		Events:    dcr.EventSinks(admin.NewHistory(admin.HistoryOptions{}), dcr.LogEvents(slog.New(slog.NewTextHandler(io.Discard, nil)))),
		Endpoints: dcr.Endpoints{AllowedOrigins: []string{"*"}},
		Metadata:  dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, // to measure it; dangerous elsewhere (T56)
	}
	if !s.strict {
		// All requests come from one address, so the limit is counted, and never reached.
		config.Limits.Rate.PerCaller = dcr.Rate{Count: 1 << 30, Per: time.Minute}
	}
	return config
}

// staticClient is a client that was not registered through the protocol.
func staticClient(id string, secret []byte) fosite.Client {
	return &fosite.DefaultClient{
		ID:            id,
		Secret:        secret,
		RedirectURIs:  []string{"https://service.example/callback"},
		GrantTypes:    []string{"authorization_code", "refresh_token", "client_credentials"},
		ResponseTypes: []string{"code"},
		Scopes:        []string{"profile", "email"},
	}
}

// quick is the hasher of the static client's secret. One that is slow on purpose would hide what all the rest costs.
type quick struct{}

func (quick) Hash(_ context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return sum[:], nil
}

func (q quick) Compare(ctx context.Context, hash, data []byte) error {
	if sum, _ := q.Hash(ctx, data); subtle.ConstantTimeCompare(sum, hash) != 1 {
		return errors.New("another secret")
	}
	return nil
}

func (s *server) routes() http.Handler {
	if s.gorilla {
		router := mux.NewRouter().UseEncodedPath()
		if !s.alone {
			s.extended.Mount(router)
		}
		router.HandleFunc("/authorize", s.authorize)
		router.HandleFunc("/token", s.token)
		router.HandleFunc("/introspect", s.introspect)
		return router
	}
	routes := http.NewServeMux()
	if !s.alone {
		routes.Handle("/register", s.extended.RegistrationHandler())
		routes.Handle("/register/{client_id}", s.extended.ManagementHandler())
		s.operate(routes)
	}
	routes.HandleFunc("/authorize", s.authorize)
	routes.HandleFunc("/token", s.token)
	routes.HandleFunc("/introspect", s.introspect)
	return routes
}

// authorize is the authorization endpoint, with a user who is signed in and allows all.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAuthorizeRequest(ctx, r)
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	grantAll(request)
	response, err := s.provider.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Subject: "somebody"})
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("client_credentials") {
		grantAll(request)
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := s.provider.NewIntrospectionRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	s.provider.WriteIntrospectionResponse(ctx, w, response)
}

func grantAll(request fosite.Requester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
}
