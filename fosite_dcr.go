// Package dcr adds OAuth 2.0 Dynamic Client Registration (RFC 7591) and its
// management protocol (RFC 7592) to an authorization server that is built on
// github.com/ory/fosite.
//
//	provider, err := dcr.Extend(compose.Compose(config, store, strategy,
//		compose.OAuth2AuthorizeExplicitFactory,
//		compose.OAuth2RefreshTokenGrantFactory,
//		compose.OAuth2TokenIntrospectionFactory,
//		compose.OAuth2PKCEFactory,
//		dcr.NewFactory(dcr.Config{Access: dcr.Open(), Scopes: []string{"profile"}}),
//	))
//	if err != nil {
//		log.Fatal(err) // says everything that is wrong, and what to add
//	}
//	provider.Mount(router)
//
// The [Provider] is a fosite.OAuth2Provider; the endpoints of the host use it from
// then on in place of the one that was composed.
//
// # Where things lie
//
// [Config] has every setting with its default. [Access] decides who may register.
// [ClientMetadata] is what a client says, [Client] what the server keeps and fosite
// works with, [ClientInformation] what the server answers. A fosite storage becomes
// one for registration with the four methods of [ClientStorage]; [MemoryStore] is a
// complete one in memory, and package storagetest checks your own. Package admin is the
// operator's page, telemetry counts events with OpenTelemetry, and outbound is the guarded
// HTTP client.
//
// # What is safe by default
//
// Registration is closed: it wants an access token with the scope of
// Config.RegistrationScope. Bodies, members and lists are bounded, and so is how often an
// anonymous caller registers; what it registers and never uses ends after an hour.
// Redirect URIs are https, http on loopback, or a private-use scheme. Clients get what
// the provider can do and Config.Scopes allows, and nothing else. Secrets are stored as
// hashes and tokens as signatures. An update answers a new registration access token and
// the old one is dead. A deleted client's tokens are refused at their next use, whatever
// storage they lie in; out of reach is a self-contained JWT that a resource server
// checks by itself, so keep those short.
//
// # What the provider changes about fosite
//
// A storage that fails is a server error at every endpoint, never invalid_client.
// Public registered clients get no code without PKCE. Registered clients introspect
// their own tokens only. Authorization responses carry the issuer (RFC 9207). Pushed
// requests are stored without the client's credentials. The methods of [Provider] say
// what else.
//
// Comments name attacks by the numbers of docs/conformance.md, such as T22.
package dcr

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
)

// Provider is a fosite.OAuth2Provider with dynamic client registration. It is safe
// for many goroutines.
type Provider struct {
	*fosite.Fosite

	registry *registry
}

var _ fosite.OAuth2Provider = (*Provider)(nil)

// Extend makes a Provider of an OAuth2Provider that was composed with DCRFactory, or
// with the factory of NewFactory, as the last one. It changes nothing of the provider
// that it is given, which must not serve requests any more: it does not know the hashes
// of generated secrets, and has none of the differences that the methods of Provider
// describe.
//
// The error lists all that is wrong with the composition, each with what to add, so
// that nothing of this fails on a user's first request.
func Extend(provider fosite.OAuth2Provider) (*Provider, error) {
	ctx := context.Background()
	if _, twice := provider.(*Provider); twice {
		return nil, errors.New("dcr: the provider went through Extend already")
	}
	composed, ok := provider.(*fosite.Fosite)
	if !ok {
		return nil, fmt.Errorf("dcr: Extend wants the *fosite.Fosite that compose.Compose returns, not %T", provider)
	}
	h, placed := findHandler(ctx, composed.Config)
	if h == nil {
		return nil, errors.New("dcr: the provider was composed without dcr.DCRFactory or dcr.NewFactory: add it as the last factory")
	}
	if h.registry.store != nil && !h.composedTwice {
		return nil, errors.New("dcr: the provider went through Extend already: use what it returned")
	}
	if h.registry.cfg.NewSession() == nil {
		return nil, errors.New("dcr: Config.NewSession returns nil: return an empty session of the type that your token storage reads")
	}
	fillLazily(ctx, composed.Config)
	h.settleStrategy(ctx)
	r := h.registry
	r.probe(ctx)
	if problems := append(h.problems(ctx), placed...); len(problems) > 0 {
		return nil, &compositionError{problems}
	}
	r.store = newProviderStore(composed.Store, r)
	p := &Provider{registry: r}
	p.Fosite = &fosite.Fosite{Store: r.store, Config: newConfigView(ctx, composed.Config, p)}
	r.hasher = p.secretHasher(ctx, composed.Config)
	r.look = p.lookUpAccessToken
	return p, nil
}

// compositionError is a list of problems.
type compositionError struct{ problems []error }

func (e *compositionError) Error() string {
	text := "dcr: the provider can not register clients:"
	for _, problem := range e.problems {
		text += "\n  - " + problem.Error()
	}
	return text
}

func (e *compositionError) Unwrap() []error { return e.problems }

// Mount adds the two routes to a gorilla/mux router: the registration endpoint at
// Config.RegistrationPath and the client configuration endpoint below it. The router
// should have UseEncodedPath set, or it redirects a path such as "..%2f" before
// anybody sees it. For other routers there are RegistrationHandler and
// ManagementHandler.
func (p *Provider) Mount(router *mux.Router) {
	path := p.registry.cfg.RegistrationPath
	router.Handle(path, p.RegistrationHandler())
	router.Handle(path+"/{client_id}", p.ManagementHandler())
}

// lookUpAccessToken is the introspection that access rules use.
func (p *Provider) lookUpAccessToken(ctx context.Context, token string) (fosite.TokenUse, fosite.AccessRequester, error) {
	return p.IntrospectToken(ctx, token, fosite.AccessToken, p.registry.cfg.NewSession())
}

// secretHasher is the hasher of client secrets, for registration and authentication
// alike. A host with a strategy of its own compares secrets with the configuration's.
func (p *Provider) secretHasher(ctx context.Context, config fosite.Configurator) fosite.Hasher {
	configured := config.GetSecretsHasher(ctx)
	_, fast := configured.(*SecretHasher)
	switch {
	case p.registry.cfg.Hasher != nil:
		return noEmptyHash{p.registry.cfg.Hasher}
	case fast || config.GetClientAuthenticationStrategy(ctx) != nil:
		return noEmptyHash{configured}
	}
	return noEmptyHash{&SecretHasher{Fallback: configured}}
}

// findHandler finds our handler among the composed ones, and says where it is not the
// last.
func findHandler(ctx context.Context, config fosite.Configurator) (*handler, []error) {
	var found *handler
	isOurs := func(h any) bool {
		ours, ok := h.(*handler)
		if ok {
			found = ours
		}
		return ok
	}
	lists := map[string]bool{
		"AuthorizeEndpointHandlers":  lastIs(config.GetAuthorizeEndpointHandlers(ctx), isOurs),
		"TokenEndpointHandlers":      lastIs(config.GetTokenEndpointHandlers(ctx), isOurs),
		"TokenIntrospectionHandlers": lastIs(config.GetTokenIntrospectionHandlers(ctx), isOurs),
		"RevocationHandlers":         lastIs(config.GetRevocationHandlers(ctx), isOurs),
	}
	for _, last := range lists {
		if !last && found != nil {
			return found, []error{errors.New("dcr.DCRFactory is not the last factory: what is composed after it escapes its checks; " +
				"move it to the end of the list (a host that keeps lists of handlers itself puts its handler last into all four)")}
		}
	}
	return found, nil
}

func lastIs[H any](handlers []H, isOurs func(any) bool) bool {
	last := -1
	for i, h := range handlers {
		if isOurs(h) {
			last = i
		}
	}
	return last >= 0 && last == len(handlers)-1
}

// fillLazily asks fosite's configuration once for what it fills in without a lock.
func fillLazily(ctx context.Context, config fosite.Configurator) {
	config.GetSecretsHasher(ctx)
	config.GetScopeStrategy(ctx)
	config.GetAudienceStrategy(ctx)
	config.GetJWKSFetcherStrategy(ctx)
}

// problems returns all that is wrong with the composition.
func (h *handler) problems(ctx context.Context) []error {
	r := h.registry
	found := append(slices.Clone(h.lacks), r.cfg.problems(r.fosite.GetScopeStrategy(ctx))...)
	if h.composedTwice {
		found = append(found, errors.New("dcr.DCRFactory was composed twice, and fosite drops the second one: leave one out"))
	}
	if r.cfg.Issuer == nil {
		if err := issuerProblem(r.issuerOf(ctx)); err != nil {
			found = append(found, err)
		}
	}
	if secret, err := r.fosite.GetGlobalSecret(ctx); err != nil || len(secret) < 32 {
		found = append(found, errors.New("the global secret is shorter than 32 bytes: set GlobalSecret of fosite's configuration"))
	}
	if hasRule[initialAccess](r.cfg.Access) && r.initialTokens == nil {
		found = append(found, errors.New("the access rule takes initial access tokens, but the storage does not implement "+
			"dcr.InitialAccessTokenStorage: add its methods, or name a storage with them as Config.ClientStorage"))
	}
	if hasRule[accessToken](r.cfg.Access) && len(r.fosite.GetTokenIntrospectionHandlers(ctx)) < 2 {
		found = append(found, errors.New("the access rule looks access tokens up, but no factory does: "+
			"add compose.OAuth2TokenIntrospectionFactory, or set Config.Access"))
	}
	if r.cfg.Quotas != (Quotas{}) && r.list == nil {
		found = append(found, errors.New("Config.Quotas counts clients, but the storage can not: add dcr.ClientLister to it"))
	}
	if (r.cfg.RevokeOnRedirectChange || r.cfg.ShareIdentical) && r.grants == nil {
		found = append(found, errors.New("Config.RevokeOnRedirectChange and ShareIdentical remove grants, but the storage can not: add dcr.GrantRevoker to it"))
	}
	if l := r.cfg.Lifecycle; (l.Unused > 0 || l.Idle > 0) && r.uses == nil {
		found = append(found, errors.New("Config.Lifecycle ends clients by their use, but the storage does not note it: add dcr.UseRecorder to it"))
	}
	return append(found, r.capabilityProblems()...)
}

// capabilityProblems says what the configuration promises and the provider can't do.
func (r *registry) capabilityProblems() []error {
	var found []error
	if len(r.can.grantTypes) == 0 {
		found = append(found, errors.New("no factory handles a grant type: add compose.OAuth2AuthorizeExplicitFactory or another"))
	}
	public := slices.Contains(r.can.methods, methodNone) && slices.Contains(r.can.grantTypes, grantAuthorizationCode)
	if public && !r.can.pkce {
		found = append(found, errors.New("public clients are accepted, but nothing checks PKCE: "+
			"add compose.OAuth2PKCEFactory, or leave none out of Config.TokenEndpointAuthMethods"))
	}
	if !slices.Contains(r.can.methods, r.cfg.DefaultTokenEndpointAuthMethod) {
		found = append(found, fmt.Errorf("Config.DefaultTokenEndpointAuthMethod %q is not among Config.TokenEndpointAuthMethods", r.cfg.DefaultTokenEndpointAuthMethod))
	}
	return found
}
