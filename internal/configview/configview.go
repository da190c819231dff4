// Package configview is fosite's configuration as a provider works with it: the application's, with client
// authentication, hasher, key fetcher and HTTP client of the provider, and with handlers of fosite's that narrow tokens to
// resources and recognise a storage that failed. It makes no copy: what the application changes is seen.
package configview

import (
	"context"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/resource"
)

// Options say what a provider has of its own. All are required but UnknownResource.
type Options struct {
	// Strategy authenticates clients.
	Strategy fosite.ClientAuthenticationStrategy
	// Hasher compares client secrets.
	Hasher fosite.Hasher
	// Keys fetches the keys of clients.
	Keys fosite.JWKSFetcherStrategy
	// Guarded is the HTTP client for what the clients point at that IsGuarded names, such as request objects (T10).
	Guarded   *retryablehttp.Client
	IsGuarded func(fosite.Client) bool
	// UnknownResource is the error for a resource that was not granted; nil leaves it out.
	UnknownResource error
	// Failed makes the error of a storage that failed during introspection.
	Failed func(cause error) error
}

// config is the application's configuration with the parts of the provider.
type config struct {
	fosite.Configurator

	own           Options
	grants        kept[fosite.TokenEndpointHandler]
	introspectors kept[fosite.TokenIntrospector]
}

// New returns a configuration as a provider works with it. It hides none of the optional interfaces that fosite asserts.
func New(application fosite.Configurator, own Options) fosite.Configurator {
	view := &config{Configurator: application, own: own}
	par, hasConfig := application.(fosite.PushedAuthorizeRequestConfigProvider)
	handlers, hasHandlers := application.(fosite.PushedAuthorizeRequestHandlersProvider)
	switch {
	case hasConfig && hasHandlers:
		return &struct {
			*config
			fosite.PushedAuthorizeRequestConfigProvider
			fosite.PushedAuthorizeRequestHandlersProvider
		}{view, par, handlers}
	case hasConfig:
		return &struct {
			*config
			fosite.PushedAuthorizeRequestConfigProvider
		}{view, par}
	case hasHandlers:
		return &struct {
			*config
			fosite.PushedAuthorizeRequestHandlersProvider
		}{view, handlers}
	}
	return view
}

// GetClientAuthenticationStrategy returns the provider's.
func (v *config) GetClientAuthenticationStrategy(context.Context) fosite.ClientAuthenticationStrategy {
	return v.own.Strategy
}

// GetSecretsHasher returns the provider's.
func (v *config) GetSecretsHasher(context.Context) fosite.Hasher { return v.own.Hasher }

// GetTokenEndpointHandlers returns the application's. fosite's own for codes and refresh tokens narrow the access token to
// the resources that the request names.
func (v *config) GetTokenEndpointHandlers(ctx context.Context) fosite.TokenEndpointHandlers {
	return v.grants.of(v.Configurator.GetTokenEndpointHandlers(ctx), func(handlers []fosite.TokenEndpointHandler) []fosite.TokenEndpointHandler {
		return resource.Handlers(handlers, v.own.UnknownResource)
	})
}

// GetTokenIntrospectionHandlers returns the application's, with fosite's own validator in a form that
// recognises a storage which failed.
func (v *config) GetTokenIntrospectionHandlers(ctx context.Context) fosite.TokenIntrospectionHandlers {
	return v.introspectors.of(v.Configurator.GetTokenIntrospectionHandlers(ctx), func(handlers []fosite.TokenIntrospector) []fosite.TokenIntrospector {
		handlers = slices.Clone(handlers)
		for i, h := range handlers {
			if core, ok := h.(*oauth2.CoreValidator); ok {
				handlers[i] = validator{core, v.own.Failed}
			}
		}
		return handlers
	})
}

// kept is a list that was made of the application's, for as long as that is the same. fosite asks for it several times in
// each request.
type kept[H any] struct {
	last atomic.Pointer[struct{ from, made []H }]
}

func (k *kept[H]) of(list []H, make func([]H) []H) []H {
	if last := k.last.Load(); last != nil && slices.EqualFunc(last.from, list, same[H]) {
		return last.made
	}
	made := make(list)
	k.last.Store(&struct{ from, made []H }{slices.Clone(list), made})
	return made
}

// same reports whether two handlers are one. Those that are no pointers, of which not all can be compared, never are.
func same[H any](a, b H) bool {
	kind := reflect.TypeOf(a)
	return kind != nil && kind.Kind() == reflect.Pointer && any(a) == any(b)
}

// GetHTTPClient returns the guarded client where a guarded client has fosite fetch what it points at.
func (v *config) GetHTTPClient(ctx context.Context) *retryablehttp.Client {
	request, ok := ctx.Value(fosite.AuthorizeRequestContextKey).(fosite.AuthorizeRequester)
	if ok && v.own.IsGuarded(request.GetClient()) {
		return v.own.Guarded
	}
	return v.Configurator.GetHTTPClient(ctx)
}

// GetJWKSFetcherStrategy returns the provider's.
func (v *config) GetJWKSFetcherStrategy(context.Context) fosite.JWKSFetcherStrategy {
	return v.own.Keys
}
