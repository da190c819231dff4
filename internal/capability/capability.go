// Package capability finds out what a composed fosite provider can do, and knows which grant types and
// response types go together. What the provider can do bounds what clients register, and is what the
// metadata of the server advertises.
//
// Probe asks the composed handlers, once, after everything has been composed. What fosite's configuration
// may answer differently for each request (the URLs of the token endpoint, the methods of PKCE) is asked
// anew each time, by TokenURLs and Set.ChallengeMethods. The package knows no client: it takes plain
// lists and returns plain lists.
package capability

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// Options are what Probe needs to know besides fosite's configuration.
type Options struct {
	// NewSession makes an empty session, of the type that the application's handlers expect. Required; it
	// must not return nil.
	NewSession func() fosite.Session
	// Scopes are what clients may register. Where fosite has refresh token scopes, the refresh token
	// grant is of use only if one of them is here.
	Scopes []string
	// GrantTypes are grant types of the application, besides those found.
	GrantTypes []string
	// ResponseTypes are response types of the application, besides those found.
	ResponseTypes []string
	// AuthMethods are the authentication methods. Default (nil): those that fosite and the package serve
	// in this composition. An empty list is none.
	AuthMethods []string
	// IDTokens signs ID tokens; nil where the application makes none.
	IDTokens openid.OpenIDConnectTokenStrategy
	// Ours reports whether a composed handler belongs to this module. Set.Introspection and
	// Set.Revocation do not count such handlers. Default (nil): none does.
	Ours func(handler any) bool
}

// Set is what a composed provider can do. It is not changed after Probe and holds no list of the caller.
type Set struct {
	// GrantTypes are the grant types, each once.
	GrantTypes []string
	// ResponseTypes are the response types in the server's spelling, each once.
	ResponseTypes []string
	// AuthMethods are the authentication methods of the token endpoint.
	AuthMethods []string
	// ResponseModes are query, fragment and form_post, and those of the composed extension.
	ResponseModes []fosite.ResponseModeType
	// IDTokenAlgorithm is what ID tokens are signed with; empty where there are none, or it can't be found.
	IDTokenAlgorithm string
	// PKCE says that a handler checks PKCE (RFC 7636).
	PKCE bool
	// PAR says that a handler takes pushed authorization requests (RFC 9126).
	PAR bool
	// OpenID says that a handler of OpenID Connect is composed for the authorization endpoint.
	OpenID bool
	// Introspection says that a handler introspects tokens, Options.Ours aside (RFC 7662).
	Introspection bool
	// Revocation says that a handler revokes tokens, Options.Ours aside (RFC 7009).
	Revocation bool
}

// probedGrants are the grant types that token handlers are asked about. The authorization code grant is
// found in another way, and the implicit grant has no token handler.
var probedGrants = [...]string{
	GrantRefreshToken, GrantClientCredentials, GrantPassword, GrantJWTBearer, GrantDeviceCode, GrantTokenExchange, GrantCIBA,
}

// Probe finds out what the composed handlers do. It is called after composition, so that handlers that
// were composed last count, too.
func Probe(ctx context.Context, config fosite.Configurator, o Options) Set {
	authorize := config.GetAuthorizeEndpointHandlers(ctx)
	found := Set{
		ResponseTypes: distinct(responseTypes(authorize), o.ResponseTypes),
		ResponseModes: responseModes(ctx, config),
		PKCE:          slices.ContainsFunc(authorize, isPKCE),
		PAR:           hasPAR(ctx, config),
		OpenID:        slices.ContainsFunc(authorize, isOpenID),
		Introspection: hasOther(config.GetTokenIntrospectionHandlers(ctx), o.Ours),
		Revocation:    hasOther(config.GetRevocationHandlers(ctx), o.Ours),
	}
	found.GrantTypes = grantTypes(ctx, config, found.ResponseTypes, o)
	found.AuthMethods = slices.Clone(o.AuthMethods)
	if o.AuthMethods == nil {
		found.AuthMethods = authMethods(found.GrantTypes, len(TokenURLs(ctx, config)) > 0)
	}
	if !slices.ContainsFunc(found.AuthMethods, func(method string) bool { return method != MethodNone }) {
		// No client could authenticate, as this grant demands (RFC 6749, section 4.4).
		found.GrantTypes = slices.DeleteFunc(found.GrantTypes, func(grant string) bool { return grant == GrantClientCredentials })
	}
	if found.OpenID {
		found.IDTokenAlgorithm = idTokenAlgorithm(ctx, o.IDTokens)
	}
	return found
}

// ResponseType returns the server's spelling of a response type, in which the order of words does not
// matter (RFC 6749, section 3.1.1); empty where the server does not support it.
func (s *Set) ResponseType(asked string) string {
	if slices.Contains(s.ResponseTypes, asked) {
		return asked
	}
	words := strings.Split(asked, " ")
	slices.Sort(words)
	for _, supported := range s.ResponseTypes {
		if slices.Equal(words, slices.Sorted(strings.SplitSeq(supported, " "))) {
			return supported
		}
	}
	return ""
}

// ChallengeMethods returns the methods of PKCE (RFC 7636, section 4.3), nil where nothing checks it. It
// asks the configuration whether plain is allowed, as fosite does for each request.
func (s *Set) ChallengeMethods(ctx context.Context, config fosite.EnablePKCEPlainChallengeMethodProvider) []string {
	switch {
	case !s.PKCE:
		return nil
	case config.GetEnablePKCEPlainChallengeMethod(ctx):
		return []string{"S256", "plain"}
	}
	return []string{"S256"}
}

// TokenURLs returns the URLs of the token endpoint that fosite knows, in a new list. fosite's own
// configuration has an empty one where none is set, which is left out.
func TokenURLs(ctx context.Context, config fosite.TokenURLProvider) []string {
	return slices.DeleteFunc(slices.Clone(config.GetTokenURLs(ctx)), func(url string) bool { return url == "" })
}

// Handles reports whether a token handler says that it handles a grant type. For authorization_code that
// is not enough to support it: fosite's handlers of PKCE and OpenID Connect say yes without issuing
// codes.
func Handles(ctx context.Context, config fosite.TokenEndpointHandlersProvider, newSession func() fosite.Session, grant string) bool {
	for _, h := range config.GetTokenEndpointHandlers(ctx) {
		request := fosite.NewAccessRequest(newSession())
		request.GrantTypes = fosite.Arguments{grant}
		if h.CanHandleTokenEndpointRequest(ctx, request) {
			return true
		}
	}
	return false
}

// ModeNames returns response modes as text, in a new list that is never nil.
func ModeNames(modes []fosite.ResponseModeType) []string {
	names := make([]string, len(modes))
	for i, mode := range modes {
		names[i] = string(mode)
	}
	return names
}

// responseTypes knows by the type of fosite's handlers what they answer with.
func responseTypes(handlers fosite.AuthorizeEndpointHandlers) []string {
	var types []string
	for _, h := range handlers {
		switch h.(type) {
		case *oauth2.AuthorizeExplicitGrantHandler:
			types = append(types, ResponseCode)
		case *oauth2.AuthorizeImplicitGrantTypeHandler:
			types = append(types, "token")
		case *openid.OpenIDConnectImplicitHandler:
			types = append(types, "id_token", "id_token token")
		case *openid.OpenIDConnectHybridHandler:
			types = append(types, "code id_token", "code token", "code id_token token")
		}
	}
	return types
}

// responseModes returns fosite's own response modes and those of an extension.
func responseModes(ctx context.Context, config fosite.Configurator) []fosite.ResponseModeType {
	modes := []fosite.ResponseModeType{fosite.ResponseModeQuery, fosite.ResponseModeFragment, fosite.ResponseModeFormPost}
	if extension := config.GetResponseModeHandlerExtension(ctx); extension != nil {
		modes = append(modes, extension.ResponseModes()...)
	}
	return modes
}

func isPKCE(h fosite.AuthorizeEndpointHandler) bool {
	_, ok := h.(*pkce.Handler)
	return ok
}

func isOpenID(h fosite.AuthorizeEndpointHandler) bool {
	switch h.(type) {
	case *openid.OpenIDConnectExplicitHandler, *openid.OpenIDConnectHybridHandler, *openid.OpenIDConnectImplicitHandler:
		return true
	}
	return false
}

func hasPAR(ctx context.Context, config fosite.Configurator) bool {
	handlers, ok := config.(fosite.PushedAuthorizeRequestHandlersProvider)
	return ok && len(handlers.GetPushedAuthorizeEndpointHandlers(ctx)) > 0
}

// hasOther reports whether there is a handler that does not belong to this module.
func hasOther[H any](handlers []H, ours func(any) bool) bool {
	return slices.ContainsFunc(handlers, func(h H) bool { return ours == nil || !ours(h) })
}

// grantTypes asks the token handlers, and concludes from the response types where they can't tell.
func grantTypes(ctx context.Context, config fosite.Configurator, responseTypes []string, o Options) []string {
	handles := func(grant string) bool { return Handles(ctx, config, o.NewSession, grant) }
	var grants []string
	if slices.Contains(responseTypes, ResponseCode) && handles(GrantAuthorizationCode) {
		grants = append(grants, GrantAuthorizationCode)
	}
	if slices.ContainsFunc(responseTypes, usesImplicit) {
		grants = append(grants, GrantImplicit)
	}
	for _, grant := range probedGrants {
		if handles(grant) && (grant != GrantRefreshToken || issuesRefreshTokens(config.GetRefreshTokenScopes(ctx), o.Scopes)) {
			grants = append(grants, grant)
		}
	}
	return distinct(grants, o.GrantTypes)
}

// issuesRefreshTokens: fosite issues refresh tokens only to clients that were granted one of its refresh
// token scopes, unless it has none.
func issuesRefreshTokens(refreshTokenScopes, scopes []string) bool {
	return len(refreshTokenScopes) == 0 ||
		slices.ContainsFunc(refreshTokenScopes, func(scope string) bool { return slices.Contains(scopes, scope) })
}

// authMethods are the authentication methods that are of use for the grant types. Assertions need the URL
// of the token endpoint as their audience (RFC 7523, section 3).
func authMethods(grantTypes []string, hasTokenURL bool) []string {
	var methods []string
	if slices.ContainsFunc(grantTypes, servesPublicClients) {
		methods = append(methods, MethodNone)
	}
	methods = append(methods, MethodClientSecretBasic, MethodClientSecretPost)
	if hasTokenURL {
		methods = append(methods, MethodPrivateKeyJWT)
	}
	return methods
}

// servesPublicClients reports whether a client without credentials has a use for a grant (RFC 6749,
// section 4.4).
func servesPublicClients(grant string) bool {
	return grant != GrantClientCredentials && grant != GrantRefreshToken
}

// idTokenAlgorithm makes an ID token that nobody gets, and reads what it was signed with.
func idTokenAlgorithm(ctx context.Context, idTokens openid.OpenIDConnectTokenStrategy) string {
	if idTokens == nil {
		return ""
	}
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.Subject = "nobody", "nobody"
	request := fosite.NewAccessRequest(session)
	request.Client = &fosite.DefaultClient{ID: "nobody"}
	token, err := idTokens.GenerateIDToken(ctx, time.Minute, request)
	if err != nil {
		return ""
	}
	signed, err := jose.ParseSigned(token)
	if err != nil || len(signed.Signatures) != 1 {
		return ""
	}
	return signed.Signatures[0].Header.Algorithm
}
