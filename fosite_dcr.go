// Package dcr adds OAuth 2.0 Dynamic Client Registration (RFC 7591) and its management protocol (RFC 7592)
// to an authorization server that is built on github.com/ory/fosite.
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
// The [Provider] is a fosite.OAuth2Provider; the endpoints of the application use it from then on in place
// of the one that was composed.
//
// # Where things lie
//
// [Config] has every setting with its default. [Access] decides who may register. [ClientMetadata] is what
// a client says, [Client] what the server keeps and fosite works with, [ClientInformation] what the server
// answers. A fosite storage becomes one for registration with the four methods of [ClientStorage];
// [MemoryStore] is a complete one in memory, and package storagetest checks your own.
//
// Package policy has the built-in policies, cimd the documents of clients that do not register, consent
// what a consent page needs, admin the operator's page, telemetry counts events, outbound guards requests.
//
// # What is safe by default
//
// Registration is closed: it wants an access token with the scope of Config.Registration.Scope. Bodies,
// members and lists are bounded, and so is how often an anonymous caller registers; what it registers and
// never uses expires after an hour. Redirect URIs are https, http on loopback, or a private-use scheme.
// Clients get what the provider can do and Config.Scopes allows, and nothing else. Secrets are stored as
// hashes and tokens as signatures. An update answers a new registration access token and the old one is
// dead. A deleted client's tokens are refused at their next use, whatever storage they lie in; out of reach
// is a self-contained JWT that a resource server checks by itself, so keep those short.
//
// # What the provider changes about fosite
//
// A storage that fails is a server error at every endpoint, never invalid_client. Public registered clients
// get no code without PKCE. Registered clients introspect their own tokens only. Authorization responses
// carry the issuer (RFC 9207). Pushed requests are stored without the client's credentials. The methods of
// [Provider] say what else.
//
// Comments name attacks by the numbers of docs/conformance.md, such as T22.
package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v3"
	"github.com/gorilla/mux"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/configview"
	"github.com/fosite-contrib/fosite-dcr/internal/introspection"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Extend makes a Provider of an OAuth2Provider that was composed with DCRFactory, or with the factory of
// NewFactory, as the last one. What it is given must not serve requests any more: it answers without the
// differences that the methods of Provider describe, such as the issuer in authorization responses, and may not
// know generated secrets.
//
// The error lists all that is wrong with the composition, each with what to add, so that nothing of this
// fails on a user's first request.
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
	if h.clients != nil && !h.composedTwice {
		return nil, errors.New("dcr: the provider went through Extend already: use what it returned")
	}
	if h.parts.cfg.Storage.NewSession() == nil {
		return nil, errors.New("dcr: Config.Storage.NewSession returns nil: return an empty session of the type that your token storage reads")
	}
	fillLazily(ctx, composed.Config)
	p := assemble(ctx, composed, h)
	if problems := append(p.problems(ctx, h), placed...); len(problems) > 0 {
		return nil, &compositionError{problems}
	}
	h.gate, h.grants, h.lifetimes, h.clients = p.gate, p.manager.grants, p.lifetimes, p.Store
	if !h.parts.cfg.Management.Off {
		h.tokens = p.manager.tokens
	}
	return p, nil
}

// assemble makes the provider and what it works with, from the bottom upwards.
func assemble(ctx context.Context, composed *fosite.Fosite, h *handler) *Provider {
	cfg, has, now := h.parts.cfg, h.parts.optional, h.parts.cfg.Now
	can := capability.Probe(ctx, h.parts.fosite, capability.Options{
		NewSession: cfg.Storage.NewSession, Scopes: cfg.Scopes, GrantTypes: cfg.Metadata.GrantTypes,
		ResponseTypes: cfg.Metadata.ResponseTypes, AuthMethods: cfg.Metadata.TokenEndpointAuthMethods,
		IDTokens: h.parts.idTokens, Ours: isOurs,
	})
	journal := &journal{sink: cfg.Events, now: now}
	location := &location{endpoints: cfg.Endpoints, fosite: h.parts.fosite}
	records := &records{storage: h.parts.clients, evicter: has.evicter, transactions: has.transactions, journal: journal}
	lifetimes := &lifetimes{lifecycle: cfg.Lifecycle, uses: has.uses, records: records, journal: journal, now: now}
	tokens := &registrationTokens{
		strategy: h.parts.strategy,
		config:   cfg.Management.Token, entries: h.parts.tokens, newSession: cfg.Storage.NewSession, records: records, journal: journal, now: now,
	}
	grants := &grants{revoker: has.grants, revocation: h.parts.revocation, records: records, tokens: tokens, journal: journal}
	initial := &initialTokens{
		storage: has.initial, location: location, journal: journal, now: now, grantTypes: can.GrantTypes, policies: cfg.NamedPolicies,
	}
	secrets := &secrets{config: cfg.Secrets, hasher: secretHasher(ctx, cfg.Secrets, composed.Config), now: now}
	admission := &admission{rule: cfg.Access, limits: cfg.Limits, lister: has.lister}
	rulebook := newRulebook(cfg, &can, location)
	documents := &documents{source: cfg.Documents, rulebook: rulebook.forDocuments(), location: location, journal: journal, now: now}
	if cfg.Management.RevokeOnRedirectChange {
		documents.grants = grants
	}
	creator := &creator{records: records, tokens: tokens, admission: admission, lifetimes: lifetimes, grants: grants, journal: journal}
	p := &Provider{
		registrar: &registrar{
			config: cfg.Registration, management: !cfg.Management.Off, location: location, admission: admission, rulebook: rulebook,
			secrets: secrets, tokens: tokens, initial: initial, lifetimes: lifetimes, creator: creator, journal: journal,
			sharing: &sharing{location: location, records: records, creator: creator, lifetimes: lifetimes, grants: grants, journal: journal},
		},
		manager: &manager{
			config: cfg.Management, location: location, admission: admission, rulebook: rulebook, secrets: secrets,
			tokens: tokens, lifetimes: lifetimes, records: records, grants: grants, journal: journal,
		},
		operator: &operator{
			location: location, records: records, lister: has.lister, expired: has.expired, lifetimes: lifetimes, grants: grants,
			journal: journal, named: cfg.NamedPolicies,
		},
		initialTokens: initial,
		discovery:     &discovery{location: location, can: &can, scopes: cfg.Scopes, documents: cfg.Documents != nil && cfg.Documents.AcceptsStrangers()},
		parts:         h.parts,
		config:        cfg.Authorization,
		gate:          &gate{config: cfg.Authorization, reserved: cfg.Management.Token.Scope},
		clients:       &clients{storage: composed.Store, records: records, location: location, lifetimes: lifetimes, can: &can, config: cfg.Authorization, documents: documents},
		admission:     admission, lifetimes: lifetimes, journal: journal, location: location, can: &can,
	}
	creator.recognise = p.clients.recognise
	p.Fosite = &fosite.Fosite{Store: newProviderStore(composed.Store, p.clients), Config: p.view(ctx, composed.Config, cfg, secrets.hasher)}
	p.introspection = introspection.Endpoint{
		Fosite: p.Fosite, Guarded: IsDynamic, Introspect: p.introspectToken, Fault: asFault, InvalidToken: ErrInvalidToken, TwoTokens: errTwoTokens,
	}
	admission.lookups = &lookups{scope: cfg.Registration.Scope, initial: initial, introspect: p.lookUp, checkIssuer: p.checkTokenIssuer}
	return p
}

// lookUp is the introspection of access tokens for access rules.
func (p *Provider) lookUp(ctx context.Context, token string) (fosite.TokenUse, fosite.AccessRequester, error) {
	return p.IntrospectToken(ctx, token, fosite.AccessToken, p.parts.cfg.Storage.NewSession())
}

// checkTokenIssuer refuses an access token of another issuer (T41), as its session tells. Where it does not
// tell, and there are several issuers, the record of a registered client does, whose token is inactive
// elsewhere; a static client has none.
func (p *Provider) checkTokenIssuer(ctx context.Context, request fosite.AccessRequester) error {
	several := p.location.endpoints.Issuer != nil
	switch told := capability.SessionIssuer(request.GetSession()); {
	case told != "":
		if capability.SameIssuer(told, p.location.issuerOrNone(ctx)) || !several && capability.SameIssuer(told, p.Config.GetIDTokenIssuer(ctx)) {
			return nil
		}
		return ErrInvalidToken.WithDebug("The access token is of another issuer.")
	case !several:
		return nil
	}
	client, err := p.Store.GetClient(ctx, request.GetClient().GetID())
	switch {
	case err != nil:
		return firstOf(asFault(err), ErrInvalidToken)
	case IsDynamic(client):
		return nil
	}
	return ErrInvalidToken.WithDebug("With Config.Endpoints.Issuer the session of a static client's token has to tell its issuer, by a method GetIssuer() string.")
}

func newRulebook(cfg Config, can *capability.Set, where *location) *rulebook {
	client := outbound.NewClient(cfg.Outbound.Options)
	supported := supportedMembers(can, cfg.Metadata.Supports)
	b := &rulebook{
		config: cfg.Metadata, scopes: cfg.Scopes, policies: cfg.Policies, named: cfg.NamedPolicies, limits: cfg.memberLimits(), record: recordBound(cfg.Limits.AnonymousRecord),
		can: can, supported: supported, location: where, now: cfg.Now,
		relations: &relationRules{
			redirects: cfg.Metadata.redirects(cfg.Limits.URI), refuseNativeHTTPS: cfg.Metadata.RefuseNativeHTTPS,
			pairwise: supported["subject_type"].Has(subjectPairwise), fosite: where.fosite,
			fetch: func(ctx context.Context, url string) ([]byte, error) {
				return outbound.Fetch(ctx, client, url, "application/json")
			},
		},
	}
	for _, issuer := range cfg.Metadata.StatementIssuers {
		b.statements = append(b.statements, assertion.Issuer{
			Name: issuer.Issuer, Keys: issuer.Keys, Algorithms: issuer.Algorithms,
			Fetch: func(ctx context.Context, refetch bool) (*jose.JSONWebKeySet, error) {
				return cfg.Outbound.JWKSFetcher.Resolve(ctx, issuer.JWKSURI, refetch)
			},
		})
	}
	return b
}

// view is fosite's configuration as the provider works with it.
func (p *Provider) view(ctx context.Context, config fosite.Configurator, cfg Config, hasher fosite.Hasher) fosite.Configurator {
	strategy := config.GetClientAuthenticationStrategy(ctx)
	if strategy == nil {
		strategy = p.ClientAuthentication
	}
	var unknownResource error
	if cfg.Authorization.RefuseUnknownResources {
		unknownResource = ErrInvalidTarget
	}
	return configview.New(config, configview.Options{
		Strategy: strategy, Hasher: hasher, UnknownResource: unknownResource, Failed: failure, IsGuarded: IsDynamic,
		Keys: cfg.Outbound.JWKSFetcher, Guarded: outbound.NewRetryableClient(cfg.Outbound.Options),
	})
}

// secretHasher is the hasher of client secrets, for registration and authentication alike. An application
// with a strategy of its own compares secrets with the configuration's.
func secretHasher(ctx context.Context, secrets Secrets, config fosite.Configurator) fosite.Hasher {
	configured := config.GetSecretsHasher(ctx)
	_, fast := configured.(*SecretHasher)
	switch {
	case secrets.Hasher != nil:
		return noEmptyHash{secrets.Hasher}
	case fast || config.GetClientAuthenticationStrategy(ctx) != nil:
		return noEmptyHash{configured}
	}
	return noEmptyHash{&SecretHasher{Fallback: configured}}
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
// Config.Endpoints.RegistrationPath and the client configuration endpoint below it. The router should have
// UseEncodedPath set, or it redirects a path such as "..%2f" before anybody sees it. For other routers
// there are RegistrationHandler and ManagementHandler.
func (p *Provider) Mount(router *mux.Router) {
	path := p.location.endpoints.RegistrationPath
	router.Handle(path, p.RegistrationHandler())
	router.Handle(path+"/{client_id}", p.ManagementHandler())
}

// isOurs reports whether a composed handler is the one of this package.
func isOurs(h any) bool {
	_, ok := h.(*handler)
	return ok
}

// findHandler finds our handler among the composed ones, and says where it is not the last.
func findHandler(ctx context.Context, config fosite.Configurator) (*handler, []error) {
	var found *handler
	last := true
	look := func(ours *handler, isLast bool) {
		if ours != nil {
			found = ours
		}
		last = last && isLast
	}
	look(lastHandler(config.GetAuthorizeEndpointHandlers(ctx)))
	look(lastHandler(config.GetTokenEndpointHandlers(ctx)))
	look(lastHandler(config.GetTokenIntrospectionHandlers(ctx)))
	look(lastHandler(config.GetRevocationHandlers(ctx)))
	if found != nil && !last {
		return found, []error{errors.New("dcr.DCRFactory is not the last factory: what is composed after it escapes its checks; " +
			"move it to the end of the list (an application that keeps lists of handlers itself puts its handler last into all four)")}
	}
	return found, nil
}

// lastHandler returns our handler, if it is in a list, and whether it is the last.
func lastHandler[H any](handlers []H) (ours *handler, last bool) {
	for _, h := range handlers {
		h, ok := any(h).(*handler)
		if last = ok; ok {
			ours = h
		}
	}
	return ours, last
}

// fillLazily asks fosite's configuration once for what it fills in without a lock.
func fillLazily(ctx context.Context, config fosite.Configurator) {
	config.GetSecretsHasher(ctx)
	config.GetScopeStrategy(ctx)
	config.GetAudienceStrategy(ctx)
	config.GetJWKSFetcherStrategy(ctx)
}

// problems returns all that is wrong with the composition.
func (p *Provider) problems(ctx context.Context, h *handler) []error {
	cfg, has, config := h.parts.cfg, h.parts.optional, h.parts.fosite
	found := append(slices.Clone(h.parts.lacks), cfg.problems(config.GetScopeStrategy(ctx))...)
	wrong := func(when bool, text string) {
		if when {
			found = append(found, errors.New(text))
		}
	}
	wrong(cfg.Documents != nil && cfg.Endpoints.Issuer != nil, "Config.Documents does not go with Config.Endpoints.Issuer: nothing says under "+
		"which of several issuers a client with a document got its tokens; leave one of them out")
	wrong(h.composedTwice, "dcr.DCRFactory was composed twice, and fosite drops the second one: leave one out")
	found = append(found, p.location.problems(ctx)...)
	secret, err := config.GetGlobalSecret(ctx)
	wrong(err != nil || len(secret) < 32, "the global secret is shorter than 32 bytes: set GlobalSecret of fosite's configuration")
	wrong(hasRule[initialAccess](cfg.Access) && has.initial == nil, "the access rule takes initial access tokens, but the storage does not implement "+
		"dcr.InitialAccessTokenStorage: add its methods, or name a storage with them as Config.Storage.Clients")
	wrong(hasRule[accessToken](cfg.Access) && !p.can.Introspection, "the access rule looks access tokens up, but no factory does: "+
		"add compose.OAuth2TokenIntrospectionFactory, or set Config.Access")
	wrong((cfg.Limits.Quotas.PerSubject > 0 || cfg.Limits.Quotas.PerInitialAccessToken > 0) && has.lister == nil, "Config.Limits.Quotas counts clients, but the storage can not: add dcr.ClientLister to it")
	wrong((cfg.Management.RevokeOnRedirectChange || cfg.Registration.ShareIdentical) && has.grants == nil,
		"Config.Management.RevokeOnRedirectChange and Config.Registration.ShareIdentical remove grants, but the storage can not: add dcr.GrantRevoker to it")
	wrong((cfg.Lifecycle.Unused > 0 || cfg.Lifecycle.Idle > 0) && has.uses == nil,
		"Config.Lifecycle expires clients by their use, but the storage does not note it: add dcr.UseRecorder to it")
	wrong(len(p.can.GrantTypes) == 0, "no factory handles a grant type: add compose.OAuth2AuthorizeExplicitFactory or another")
	public := slices.Contains(p.can.AuthMethods, capability.MethodNone) && slices.Contains(p.can.GrantTypes, capability.GrantAuthorizationCode)
	wrong(public && !p.can.PKCE, "public clients are accepted, but nothing checks PKCE: "+
		"add compose.OAuth2PKCEFactory, or leave none out of Config.Metadata.TokenEndpointAuthMethods")
	wrong(!slices.Contains(p.can.AuthMethods, cfg.Metadata.DefaultTokenEndpointAuthMethod), fmt.Sprintf(
		"Config.Metadata.DefaultTokenEndpointAuthMethod %q is not among Config.Metadata.TokenEndpointAuthMethods", cfg.Metadata.DefaultTokenEndpointAuthMethod))
	return found
}

// TrustsStatements reports whether StatementIssuers has the issuer.
func (p *Provider) TrustsStatements(issuer string) bool {
	return slices.ContainsFunc(p.parts.cfg.Metadata.StatementIssuers, func(i StatementIssuer) bool { return i.Issuer == issuer })
}

// Warnings says what is legal in the composition and hardly meant, a sentence each with what to change. An
// application logs them when it starts; Extend returns an error for what can't work at all.
func (p *Provider) Warnings() []string {
	ctx, cfg, has := context.Background(), p.parts.cfg, p.parts.optional
	found := cfg.warnings()
	warn := func(when bool, text string) {
		if when {
			found = append(found, text)
		}
	}
	uncomposed := func(field string, grants []string, cure string) {
		for _, grant := range grants {
			warn(!slices.Contains(p.can.GrantTypes, grant), fmt.Sprintf("Config.Metadata.%s has %q, which no composed factory handles: add the factory, or %s", field, grant, cure))
		}
	}
	uncomposed("AnonymousGrantTypes", cfg.Metadata.AnonymousGrantTypes, "leave it out")
	uncomposed("DefaultGrantTypes", slices.DeleteFunc(slices.Clone(cfg.Metadata.DefaultGrantTypes), func(grant string) bool {
		return grant == capability.GrantRefreshToken // below
	}), "name another one: a client that names none is refused")
	scopes := p.parts.fosite.GetRefreshTokenScopes(ctx)
	refreshes := capability.Handles(ctx, p.parts.fosite, cfg.Storage.NewSession, capability.GrantRefreshToken)
	wantsRefresh := slices.Contains(slices.Concat(cfg.Metadata.GrantTypes, cfg.Metadata.DefaultGrantTypes), capability.GrantRefreshToken)
	warn(wantsRefresh && !refreshes, "Config.Metadata wants refresh_token, which no composed factory handles: add compose.OAuth2RefreshTokenGrantFactory")
	warn((cfg.Limits.Quotas.PerSubject > 0 || cfg.Limits.Quotas.PerInitialAccessToken > 0) && hasRule[open](cfg.Access),
		"Config.Limits.Quotas bounds registrants with a name, and Config.Access has Open: whoever is over a quota registers anonymously")
	warn(p.parts.accessOmitted, fmt.Sprintf("Config.Access is nil, so nobody registers but with an access token that has the scope %q: "+
		"give that scope to a client of yours, or set Config.Access (dcr.AccessToken() says that it is meant)", cfg.Registration.Scope))
	for _, raw := range capability.TokenURLs(ctx, p.parts.fosite) {
		token, err := url.Parse(raw)
		issuer, invalid := url.Parse(p.location.issuerOrNone(ctx))
		warn(p.location.endpoints.Issuer == nil && err == nil && invalid == nil && !strings.EqualFold(token.Hostname(), issuer.Hostname()),
			fmt.Sprintf("the token endpoint %q is on another host than the issuer: clients compare the two, and assertions name one of them", raw))
	}
	warn(p.parts.fosite.GetClientAuthenticationStrategy(ctx) != nil, "fosite's configuration has a ClientAuthenticationStrategy of its own: "+
		"registered clients go to ClientAuthentication of the provider that Extend returned, or they escape its checks (docs/adopting.md)")
	meant := len(scopes) == 1 && slices.Contains(cfg.Scopes, scopes[0]) // as with OpenID Connect; fosite's default has two
	warn(len(scopes) > 0 && refreshes && !meant, fmt.Sprintf("clients get a refresh token only if one of fosite's RefreshTokenScopes %q is granted, which few ask for: "+
		"set it to an empty list, not nil, if the grant type is to be enough", scopes))
	warn(hasRule[open](cfg.Access) && has.uses == nil, "registration is open and the storage does not note which clients are used, so that those which never are stay for ever: add dcr.UseRecorder to it")
	warn(has.uses != nil && has.expired == nil, "the storage can not remove expired clients: add dcr.ExpiredDeleter to it, and run Provider.RunSweeper")
	return found
}
