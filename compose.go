package dcr

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

// DCRFactory adds dynamic client registration to a provider, with the safe defaults of Config{}. It goes
// last into the list of factories, and the composed provider goes through Extend. Where fosite's
// configuration is a ConfigProvider, that says what is wanted.
func DCRFactory(config fosite.Configurator, storage interface{}, strategy interface{}) interface{} {
	var cfg Config
	if provided, ok := config.(ConfigProvider); ok {
		if c := provided.GetDCRConfig(context.Background()); c != nil {
			cfg = *c
		}
	}
	return NewFactory(cfg)(config, storage, strategy)
}

var _ compose.Factory = DCRFactory

// NewFactory is DCRFactory with a configuration, which is copied. It sets ClientSecretsHasher of fosite's Config if nil.
func NewFactory(cfg Config) compose.Factory {
	return func(config fosite.Configurator, storage interface{}, strategy interface{}) interface{} {
		if first := composedBefore(config); first != nil {
			first.composedTwice = true
		}
		return newHandler(cfg, config, storage, strategy)
	}
}

// composedBefore finds the handler of an earlier run of the factory: fosite will drop the second one
// silently, since it is of the same type.
func composedBefore(config fosite.Configurator) *handler {
	for _, h := range config.GetTokenEndpointHandlers(context.Background()) {
		if ours, ok := h.(*handler); ok {
			return ours
		}
	}
	return nil
}

// handler is what the factory returns and fosite composes. It implements four of fosite's handler
// interfaces, each for a reason of its own, and Extend finds it again through them. Extend sets
// what the handler works with.
type handler struct {
	// parts is what the factory received.
	parts parts
	// composedTwice says that the factory ran a second time.
	composedTwice bool

	gate      *gate
	grants    *grants
	lifetimes *lifetimes
	tokens    *registrationTokens // nil where clients can't be managed
	clients   fosite.ClientManager
}

var (
	_ fosite.AuthorizeEndpointHandler = (*handler)(nil)
	_ fosite.TokenEndpointHandler     = (*handler)(nil)
	_ fosite.TokenIntrospector        = (*handler)(nil)
	_ fosite.RevocationHandler        = (*handler)(nil)
)

// parts is what a factory receives, and what was found in it. What is missing is noted and said by Extend,
// since a factory can't return an error.
type parts struct {
	cfg           Config
	accessOmitted bool // Config.Access was nil
	fosite        fosite.Configurator

	clients    ClientStorage
	tokens     oauth2.AccessTokenStorage
	strategy   oauth2.AccessTokenStrategy
	idTokens   openid.OpenIDConnectTokenStrategy // nil where the application makes no ID tokens
	lacks      []error
	optional   optional
	revocation oauth2.TokenRevocationStorage // nil where the storage can't
}

// optional are the optional interfaces of the storage; each is nil where it has none.
type optional struct {
	grants       GrantRevoker
	uses         UseRecorder
	expired      ExpiredDeleter
	evicter      ClientEvicter
	lister       ClientLister
	initial      InitialAccessTokenStorage
	transactions storage.Transactional
}

func newHandler(cfg Config, config fosite.Configurator, store, strategy any) *handler {
	h := &handler{parts: parts{cfg: cfg.withDefaults(), accessOmitted: cfg.Access == nil, fosite: config}}
	if c, ok := config.(*fosite.Config); ok && c.ClientSecretsHasher == nil {
		// fosite's own hasher, and one that knows generated secrets: where the composed provider serves requests instead of
		// the extended one, the error says so (errNotExtended) instead of something about bcrypt.
		c.ClientSecretsHasher = &SecretHasher{Fallback: &fosite.BCrypt{Config: c}}
	}
	h.parts.findStorage(store)
	h.parts.findStrategy(strategy)
	return h
}

func (p *parts) lack(what string) { p.lacks = append(p.lacks, errors.New(what)) }

// findStorage takes the storages of the configuration, and otherwise what the composed storage can do.
func (p *parts) findStorage(store any) {
	if p.clients = p.cfg.Storage.Clients; p.clients == nil {
		p.clients, _ = store.(ClientStorage)
	}
	if p.tokens = p.cfg.Storage.Tokens; p.tokens == nil {
		p.tokens, _ = store.(oauth2.AccessTokenStorage)
	}
	if p.clients == nil {
		p.lack(fmt.Sprintf("the storage %T does not implement dcr.ClientStorage: add CreateClient, GetDynamicClient, UpdateClient and "+
			"DeleteClient to it, or, if a decorator hides them, name the storage inside as Config.Storage.Clients", store))
	}
	if p.tokens == nil {
		p.lack(fmt.Sprintf("the storage %T does not implement oauth2.AccessTokenStorage, in which registration access tokens are kept: "+
			"add its methods, or name a storage as Config.Storage.Tokens", store))
	}
	p.revocation, _ = store.(oauth2.TokenRevocationStorage)
	p.optional = optional{
		grants:  ability[GrantRevoker](p.clients, store),
		uses:    ability[UseRecorder](p.clients, store),
		expired: ability[ExpiredDeleter](p.clients, store),
		evicter: ability[ClientEvicter](p.clients, store),
		lister:  ability[ClientLister](p.clients, store),
		initial: ability[InitialAccessTokenStorage](p.clients, store),
	}
	composed := p.cfg.Storage.Clients == nil && p.cfg.Storage.Tokens == nil
	if p.clients != nil && (composed || reflect.ValueOf(p.clients).Comparable() && any(p.clients) == any(p.tokens)) {
		// One transaction can hold both writes, since one storage has both.
		p.optional.transactions, _ = p.clients.(storage.Transactional)
	}
}

// ability finds an optional interface on the client storage, or else on the composed one.
func ability[T any](storages ...any) (found T) {
	for _, storage := range storages {
		if able, ok := storage.(T); ok {
			return able
		}
	}
	return found
}

// findStrategy finds a strategy whose tokens are opaque. One that makes self-contained JWTs would make
// registration access tokens that any stateless validator takes (T46), so it is opened, and its HMAC part
// used. What one of unknown type makes may change while it runs: fosite's HMAC strategy takes its place.
func (p *parts) findStrategy(strategy any) {
	opened, ok := openStrategy(strategy).(oauth2.AccessTokenStrategy)
	if !ok {
		p.lack("the strategy does not implement oauth2.AccessTokenStrategy, which makes registration access tokens: " +
			"use compose.NewOAuth2HMACStrategy or a compose.CommonStrategy with one")
	}
	switch opened.(type) {
	case *oauth2.HMACSHAStrategy, *oauth2.HMACSHAStrategyUnPrefixed:
		p.strategy = opened
	default:
		p.strategy = compose.NewOAuth2HMACStrategy(p.fosite)
	}
	p.idTokens, _ = strategy.(openid.OpenIDConnectTokenStrategy)
}

// openStrategy takes apart what fosite builds strategies from.
func openStrategy(strategy any) any {
	switch s := strategy.(type) {
	case *compose.CommonStrategy:
		return openStrategy(s.CoreStrategy)
	case compose.CommonStrategy:
		return openStrategy(s.CoreStrategy)
	case *oauth2.DefaultJWTStrategy:
		return openStrategy(s.HMACSHAStrategy)
	case oauth2.DefaultJWTStrategy:
		return openStrategy(s.HMACSHAStrategy)
	}
	return strategy
}

// gate refuses what the registration of a client rules out.
type gate struct {
	config   Authorization
	reserved string // the scope of registration access tokens
}

var errReservedScope = fosite.ErrInvalidScope.WithHint("The scope of registration access tokens can not be granted.")

// checkScope refuses the scope of registration access tokens.
func (g *gate) checkScope(request fosite.Requester) error {
	if request.GetRequestedScopes().Has(g.reserved) {
		return errReservedScope
	}
	return nil
}

func (g *gate) check(request fosite.AuthorizeRequester) error {
	if err := g.checkScope(request); err != nil {
		return err
	}
	client, ok := RegisteredClient(request.GetClient())
	if !ok {
		return nil
	}
	return g.checkClient(client, request)
}

func (g *gate) checkClient(client *Client, request fosite.AuthorizeRequester) error {
	if client.requiresPush() && !client.view.pushed {
		return fosite.ErrInvalidRequest.WithHint("This client must push its authorization requests (RFC 9126), but did not.")
	}
	return g.requirePKCE(client, request)
}

// requirePKCE: such a client gets no code without PKCE, whatever fosite's configuration says (RFC 9700,
// section 2.1.1).
func (g *gate) requirePKCE(client *Client, request fosite.AuthorizeRequester) error {
	if !client.needsPKCE() || !request.GetResponseTypes().Has(capability.ResponseCode) {
		return nil
	}
	form := request.GetRequestForm()
	switch {
	case form.Get("code_challenge") == "":
		return fosite.ErrInvalidRequest.WithHint("This client must include a code_challenge (RFC 7636), but it is missing.")
	case form.Get("code_challenge_method") != "S256" && (client.RequirePKCE || !g.config.AllowPlainPKCE):
		return fosite.ErrInvalidRequest.WithHint("This client must use code_challenge_method=S256.")
	}
	return nil
}

// HandleAuthorizeEndpointRequest is a gate: it refuses what the registration of a client rules out. It runs
// last, early enough to refuse. NewAuthorizeRequest of the provider has asked the same before anybody was
// asked for consent; this holds for applications that make the request by other means.
func (h *handler) HandleAuthorizeEndpointRequest(ctx context.Context, request fosite.AuthorizeRequester, response fosite.AuthorizeResponder) error {
	if h.clients == nil {
		return failure(errNotExtended)
	}
	if client, ok := RegisteredClient(request.GetClient()); ok && response.GetCode() != "" {
		if err := h.grants.refuseStale(ctx, client, request.GetID()); err != nil {
			return fosite.ErrAccessDenied.WithHint("All grants of the client were revoked.").WithWrap(err)
		}
	}
	return h.gate.check(request)
}

// CanHandleTokenEndpointRequest says no: the handler observes.
func (h *handler) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return false
}

// CanSkipClientAuth says no.
func (h *handler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest is not called, and handles nothing if it is.
func (h *handler) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

// PopulateTokenEndpointResponse, which fosite calls on every handler, notes that a registered client was
// given a token, and until when its refresh token lives.
func (h *handler) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	client, ok := RegisteredClient(request.GetClient())
	switch {
	case h.clients == nil:
		return failure(errNotExtended)
	case !ok || response.GetAccessToken() == "":
		return fosite.ErrUnknownRequest
	}
	if err := h.grants.refuseStale(ctx, client, request.GetID()); err != nil {
		return err
	}
	keepUntil := time.Time{}
	if refresh, _ := response.GetExtra("refresh_token").(string); refresh != "" && request.GetSession() != nil {
		if keepUntil = request.GetSession().GetExpiresAt(fosite.RefreshToken); keepUntil.IsZero() {
			keepUntil = h.lifetimes.now().Add(entryLifetime) // one that never expires
		}
	}
	h.lifetimes.touch(ctx, client, keepUntil)
	return fosite.ErrUnknownRequest
}

// IntrospectToken is a veto: the token of a client that is gone is inactive, in whatever storage it lies
// (T36). It runs after the handlers that found the token.
func (h *handler) IntrospectToken(ctx context.Context, _ string, _ fosite.TokenUse, request fosite.AccessRequester, _ []string) (fosite.TokenUse, error) {
	if h.clients == nil {
		return "", failure(errNotExtended)
	}
	if request.GetClient() == nil {
		return "", fosite.ErrUnknownRequest
	}
	id := request.GetClient().GetID()
	// Nobody is named by a self-contained JWT without client_id, and an https URL may be that of a document, which
	// is not fetched for this.
	if id == "" || strings.HasPrefix(id, "https://") {
		return "", fosite.ErrUnknownRequest
	}
	_, err := h.clients.GetClient(ctx, id)
	switch {
	case asFault(err) != nil:
		return "", err
	case err != nil:
		return "", fosite.ErrInactiveToken.WithHint("The client of the token does not exist.")
	}
	return "", fosite.ErrUnknownRequest
}

// RevokeToken lets a client revoke its own registration access token (RFC 7009). Its entry goes, and
// without the entry the token is dead.
func (h *handler) RevokeToken(ctx context.Context, token string, _ fosite.TokenType, client fosite.Client) error {
	if h.tokens == nil {
		return fosite.ErrUnknownRequest
	}
	known, err := h.tokens.revoke(ctx, client, token)
	switch {
	case errors.Is(err, fosite.ErrUnauthorizedClient):
		return err
	case err != nil:
		return failure(err)
	case !known:
		return fosite.ErrUnknownRequest
	}
	return nil
}
