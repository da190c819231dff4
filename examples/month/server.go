package main

import (
	"context"
	"net/http"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// variant is one way to configure the same server.
type variant struct {
	name      string
	lifecycle dcr.Lifecycle
	share     bool
	sweeps    bool // each hour
	// bound is how many registered clients the store has room for; 0 means room for all.
	bound int
	// storage wraps the store; nil means that the store is used as it is.
	storage func(*dcr.MemoryStore) any
}

// refreshLife is longer than idleLife, so that there are clients that exist only because a refresh
// token has not expired.
const refreshLife = 20 * 24 * time.Hour

// server is the authorization server of an MCP server, with open registration.
type server struct {
	provider *dcr.Provider
	clock    *clock
	routes   *http.ServeMux
	// live counts clients by the events of the provider. The others count events.
	live, peak               int
	created, shared, expired int
	failed                   error
}

func newServer(v variant, c *clock, registrations int) (*server, error) {
	s := &server{clock: c, routes: http.NewServeMux()}
	limits := dcr.MemoryLimits{Clients: v.bound, Tokens: 10*registrations + 1000}
	if v.bound == 0 {
		limits.Clients = 2*registrations + 1000
	}
	store := dcr.NewMemoryStore(dcr.WithMemoryClock(c.Now), dcr.WithMemoryLimits(limits))
	var composed any = store
	if v.storage != nil {
		composed = v.storage(store)
	}
	config := &fosite.Config{
		AccessTokenIssuer:    "https://mcp.example",
		GlobalSecret:         []byte("thirty-two bytes or more, kept safe"),
		RefreshTokenScopes:   []string{}, // a client that registered refresh_token gets one
		RefreshTokenLifespan: refreshLife,
	}
	var err error
	s.provider, err = dcr.Extend(compose.Compose(config, composed, strategy{compose.NewOAuth2HMACStrategy(config), c},
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.Config{
			Access:       dcr.Open(),
			Scopes:       []string{"mcp"},
			Lifecycle:    v.lifecycle,
			Registration: dcr.Registration{ShareIdentical: v.share},
			Metadata:     dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, // for the services; dangerous elsewhere (T56)
			Events:       s,
			Now:          c.Now,
		}),
	))
	if err != nil {
		return nil, err
	}
	s.routes.Handle("/register", s.provider.RegistrationHandler())
	s.routes.HandleFunc("/authorize", s.authorize)
	s.routes.HandleFunc("/token", s.token)
	return s, nil
}

// Record receives what happens to clients (dcr.EventSink).
func (s *server) Record(_ context.Context, e dcr.Event) {
	switch e.Kind {
	case dcr.EventRegistered:
		s.created++
		s.live++
		s.peak = max(s.peak, s.live)
	case dcr.EventShared:
		s.shared++
	case dcr.EventExpired:
		s.expired++
		s.live--
	case dcr.EventCleanupFailed:
		s.failed = e.Err
	}
}

// authorize is the authorization endpoint, with a user who is signed in, as the cookie says, and allows all.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), "somebody"
	if cookie, err := r.Cookie("user"); err == nil {
		user = cookie.Value
	}
	request, err := s.provider.NewAuthorizeRequest(ctx, r)
	var response fosite.AuthorizeResponder
	if err == nil {
		grantAll(request)
		response, err = s.provider.NewAuthorizeResponse(ctx, request, newSession(s.clock, user))
	}
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

// token is the token endpoint.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, newSession(s.clock, "some service"))
	var response fosite.AccessResponder
	if err == nil {
		if request.GetGrantTypes().ExactOne("client_credentials") {
			grantAll(request)
		}
		response, err = s.provider.NewAccessResponse(ctx, request)
	}
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

func grantAll(request fosite.Requester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
}
