package dcr

import (
	"context"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// DCRFactory adds dynamic client registration to a provider, with the safe defaults
// of Config{}. It goes last into the list of factories, and the composed provider
// goes through Extend. Where fosite's configuration is a ConfigProvider, that says
// what is wanted.
//
//	provider, err := dcr.Extend(compose.Compose(config, store, strategy,
//		compose.OAuth2AuthorizeExplicitFactory,
//		compose.OAuth2PKCEFactory,
//		compose.OAuth2TokenIntrospectionFactory,
//		dcr.DCRFactory,
//	))
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

// NewFactory is DCRFactory with a configuration. The configuration is copied.
func NewFactory(cfg Config) compose.Factory {
	return func(config fosite.Configurator, storage interface{}, strategy interface{}) interface{} {
		if first := composedBefore(config); first != nil {
			first.composedTwice = true
		}
		return newHandler(cfg, config, storage, strategy)
	}
}

// composedBefore finds the handler of an earlier run of the factory: fosite will
// drop the second one silently, since it is of the same type.
func composedBefore(config fosite.Configurator) *handler {
	for _, h := range config.GetTokenEndpointHandlers(context.Background()) {
		if ours, ok := h.(*handler); ok {
			return ours
		}
	}
	return nil
}

// newHandler makes what fosite composes, from what it hands to factories. What is
// missing is noted and said by Extend, since a factory can't return an error.
func newHandler(cfg Config, config fosite.Configurator, store, strategy any) *handler {
	cfg = cfg.withDefaults()
	client := outbound.NewClient(cfg.Outbound)
	r := &registry{cfg: cfg, limits: cfg.limits(), fosite: config}
	r.fetch = func(ctx context.Context, url string) ([]byte, error) {
		return outbound.Fetch(ctx, client, url, "application/json")
	}
	h := &handler{registry: r}
	h.findStorage(store)
	h.findStrategy(config, strategy)
	return h
}

// findStorage takes the storages of the configuration, and otherwise what the
// composed storage can do.
func (h *handler) findStorage(store any) {
	r := h.registry
	if r.clients = r.cfg.ClientStorage; r.clients == nil {
		r.clients, _ = store.(ClientStorage)
	}
	if r.tokens = r.cfg.TokenStorage; r.tokens == nil {
		r.tokens, _ = store.(oauth2.AccessTokenStorage)
	}
	if r.clients == nil {
		h.lack("the storage does not implement dcr.ClientStorage: add CreateClient, GetDynamicClient, UpdateClient and " +
			"DeleteClient to it, or, if a decorator hides them, name the storage inside as Config.ClientStorage")
	}
	if r.tokens == nil {
		h.lack("the storage does not implement oauth2.AccessTokenStorage, in which registration access tokens are kept: " +
			"add its methods, or name a storage as Config.TokenStorage")
	}
	r.grants = ability[GrantRevoker](r.clients, store)
	r.uses = ability[UseRecorder](r.clients, store)
	r.expired = ability[ExpiredDeleter](r.clients, store)
	r.room = ability[RoomMaker](r.clients, store)
	r.revocation, _ = store.(oauth2.TokenRevocationStorage)
	r.list = ability[ClientLister](r.clients, store)
	r.initialTokens = ability[InitialAccessTokenStorage](r.clients, store)
	if r.cfg.ClientStorage == nil && r.cfg.TokenStorage == nil {
		// One transaction can hold both writes, since one storage has both.
		r.transactions, _ = store.(storage.Transactional)
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

// findStrategy finds a strategy whose tokens are opaque. One that makes
// self-contained JWTs would make registration access tokens that any stateless
// validator takes (T46), so it is opened, and its HMAC part used.
func (h *handler) findStrategy(config fosite.Configurator, strategy any) {
	opened, ok := openStrategy(strategy).(oauth2.AccessTokenStrategy)
	if !ok {
		h.lack("the strategy does not implement oauth2.AccessTokenStrategy, which makes registration access tokens: " +
			"use compose.NewOAuth2HMACStrategy or a compose.CommonStrategy with one")
	}
	h.registry.strategy = opened
	h.registry.idTokens, _ = strategy.(openid.OpenIDConnectTokenStrategy)
	h.fallback = compose.NewOAuth2HMACStrategy(config)
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

// settleStrategy keeps a strategy of fosite's, and one of unknown type only if it
// makes tokens that are no JWTs and have a signature that is not the token; otherwise
// fosite's HMAC strategy takes its place.
func (h *handler) settleStrategy(ctx context.Context) {
	r := h.registry
	switch r.strategy.(type) {
	case nil, *oauth2.HMACSHAStrategy, *oauth2.HMACSHAStrategyUnPrefixed:
		return
	}
	token, signature, err := r.strategy.GenerateAccessToken(ctx, r.tokenRequest(nil))
	if err != nil || signature == "" || signature == token || strings.Count(token, ".") >= 2 {
		r.strategy = h.fallback
	}
}
