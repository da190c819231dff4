package dcr

import (
	"context"
	"slices"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// configView is fosite's configuration as the provider of Extend sees it: the host's,
// with the client authentication, the hasher and the key fetcher of this package.
type configView struct {
	fosite.Configurator

	provider *Provider
	strategy fosite.ClientAuthenticationStrategy
	guarded  *retryablehttp.Client
}

// newConfigView hides none of the optional interfaces of a configuration that fosite
// asserts.
func newConfigView(ctx context.Context, host fosite.Configurator, p *Provider) fosite.Configurator {
	view := &configView{Configurator: host, provider: p, strategy: host.GetClientAuthenticationStrategy(ctx)}
	view.guarded = outbound.NewRetryableClient(p.registry.cfg.Outbound)
	if view.strategy == nil {
		view.strategy = p.ClientAuthentication
	}
	par, hasConfig := host.(fosite.PushedAuthorizeRequestConfigProvider)
	handlers, hasHandlers := host.(fosite.PushedAuthorizeRequestHandlersProvider)
	switch {
	case hasConfig && hasHandlers:
		return &struct {
			*configView
			fosite.PushedAuthorizeRequestConfigProvider
			fosite.PushedAuthorizeRequestHandlersProvider
		}{view, par, handlers}
	case hasConfig:
		return &struct {
			*configView
			fosite.PushedAuthorizeRequestConfigProvider
		}{view, par}
	case hasHandlers:
		return &struct {
			*configView
			fosite.PushedAuthorizeRequestHandlersProvider
		}{view, handlers}
	}
	return view
}

// GetClientAuthenticationStrategy returns the host's strategy, or ours.
func (v *configView) GetClientAuthenticationStrategy(context.Context) fosite.ClientAuthenticationStrategy {
	return v.strategy
}

// GetSecretsHasher returns the hasher that registration uses.
func (v *configView) GetSecretsHasher(context.Context) fosite.Hasher {
	return v.provider.registry.hasher
}

// GetTokenIntrospectionHandlers returns the host's, with fosite's own validator in a form
// that tells a storage which failed.
func (v *configView) GetTokenIntrospectionHandlers(ctx context.Context) fosite.TokenIntrospectionHandlers {
	handlers := slices.Clone(v.Configurator.GetTokenIntrospectionHandlers(ctx))
	for i, h := range handlers {
		if core, ok := h.(*oauth2.CoreValidator); ok {
			handlers[i] = taggingValidator{core}
		}
	}
	return handlers
}

// GetHTTPClient returns the guarded client where a registered client has fosite fetch what
// it points at, such as a request object (T10).
func (v *configView) GetHTTPClient(ctx context.Context) *retryablehttp.Client {
	request, ok := ctx.Value(fosite.AuthorizeRequestContextKey).(fosite.AuthorizeRequester)
	if ok && IsDynamic(request.GetClient()) {
		return v.guarded
	}
	return v.Configurator.GetHTTPClient(ctx)
}

// GetJWKSFetcherStrategy returns the guarded fetcher.
func (v *configView) GetJWKSFetcherStrategy(context.Context) fosite.JWKSFetcherStrategy {
	return v.provider.registry.cfg.JWKSFetcher
}
