package dcrtest

import (
	"context"
	"net/http"
	"slices"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// WithoutOpenID composes OAuth 2.0 only, and no PAR.
func WithoutOpenID(setup *Setup) {
	setup.Factories = []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2PKCEFactory, compose.OAuth2TokenIntrospectionFactory,
	}
}

// WebMessages is a response mode of an application: web_message.
type WebMessages struct {
	fosite.DefaultResponseModeHandler
}

// ResponseModes is web_message alone.
func (*WebMessages) ResponseModes() fosite.ResponseModeTypes {
	return fosite.ResponseModeTypes{"web_message"}
}

// WithScopes sets the scopes that clients may have, and fosite's strategy that compares scopes.
func WithScopes(strategy fosite.ScopeStrategy, allowed ...string) func(*Setup) {
	return func(setup *Setup) {
		setup.Config.Scopes = allowed
		setup.Fosite = func(config *fosite.Config) { config.ScopeStrategy = strategy }
	}
}

// WithImplicit composes everything that issues tokens at the authorization endpoint.
func WithImplicit(setup *Setup) {
	setup.Factories = DefaultsAnd(compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectImplicitFactory, compose.OpenIDConnectHybridFactory)
}

// DefaultsAnd returns DefaultFactories and more.
func DefaultsAnd(more ...compose.Factory) []compose.Factory {
	return slices.Concat(DefaultFactories, more)
}

// Both applies one change after the other.
func Both(changes ...func(*Setup)) func(*Setup) {
	return func(setup *Setup) {
		for _, change := range changes {
			change(setup)
		}
	}
}

// Configured changes the configuration of the package.
func Configured(change func(*dcr.Config)) func(*Setup) {
	return func(setup *Setup) { change(&setup.Config) }
}

// Strict refuses metadata that the server does not support, which is left out otherwise.
func Strict(setup *Setup) { setup.Config.Metadata.RefuseUnsupported = true }

// Vouched lets everybody register as a registrant that is known.
func Vouched(setup *Setup) {
	setup.Config.Access = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
		return &dcr.Registrant{Kind: "test", Subject: "operator"}, nil
	})
}

// grantHandler is an application's token handler for grants that fosite does not have.
type grantHandler struct{ grants []string }

func (h *grantHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (h *grantHandler) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().HasOneOf(h.grants...)
}

func (h *grantHandler) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

func (h *grantHandler) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}

// HandlesGrants returns the factory of a token handler for grants that fosite does not have. It issues nothing.
func HandlesGrants(grants ...string) func(fosite.Configurator, any, any) any {
	return func(fosite.Configurator, any, any) any { return &grantHandler{grants} }
}
