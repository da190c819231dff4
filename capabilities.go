package dcr

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// capabilities is what the provider can honour. It bounds what is registered and is
// what discovery advertises.
type capabilities struct {
	grantTypes    []string
	responseTypes []string
	responseModes []fosite.ResponseModeType
	methods       []string
	members       map[string]honoured
	pkce          bool
	par           bool
}

// probedGrants are the grant types that token handlers are asked about, each with
// whether it is one in which a user takes part.
var probedGrants = []struct {
	name string
	user bool
}{
	{grantRefreshToken, true},
	{grantClientCredentials, false},
	{grantPassword, false},
	{grantJWTBearer, false},
	{grantDeviceCode, true},
	{grantTokenExchange, false},
	{grantCIBA, false},
}

// probe finds out what the composed handlers do. It runs after composition, so that
// handlers that were composed after ours count, too.
func (r *registry) probe(ctx context.Context) {
	r.can = capabilities{
		responseTypes: responseTypesOf(r.fosite.GetAuthorizeEndpointHandlers(ctx)),
		responseModes: []fosite.ResponseModeType{
			fosite.ResponseModeQuery, fosite.ResponseModeFragment, fosite.ResponseModeFormPost,
		},
		pkce: slices.ContainsFunc(r.fosite.GetAuthorizeEndpointHandlers(ctx), isPKCE),
		par:  r.hasPAR(ctx),
	}
	if extension := r.fosite.GetResponseModeHandlerExtension(ctx); extension != nil {
		r.can.responseModes = append(r.can.responseModes, extension.ResponseModes()...)
	}
	r.can.responseTypes = withoutRepeats(append(r.can.responseTypes, r.cfg.ResponseTypes...))
	r.can.grantTypes = r.grantTypes(ctx)
	r.can.methods = r.authMethods(ctx)
	if !slices.ContainsFunc(r.can.methods, func(method string) bool { return method != methodNone }) {
		// Nobody could authenticate as this grant demands (RFC 6749, section 4.4).
		r.can.grantTypes = slices.DeleteFunc(r.can.grantTypes, func(grant string) bool { return grant == grantClientCredentials })
	}
	r.can.members = r.probeMembers(ctx)
}

func isPKCE(h fosite.AuthorizeEndpointHandler) bool {
	_, ok := h.(*pkce.Handler)
	return ok
}

func (r *registry) hasPAR(ctx context.Context) bool {
	handlers, ok := r.fosite.(fosite.PushedAuthorizeRequestHandlersProvider)
	return ok && len(handlers.GetPushedAuthorizeEndpointHandlers(ctx)) > 0
}

// responseTypesOf tells by the type of fosite's handlers what they answer with.
func responseTypesOf(handlers fosite.AuthorizeEndpointHandlers) []string {
	var types []string
	for _, h := range handlers {
		switch h.(type) {
		case *oauth2.AuthorizeExplicitGrantHandler:
			types = append(types, responseCode)
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

// grantTypes asks the token handlers. For authorization_code that is not enough,
// since fosite's handlers of PKCE and OpenID Connect say yes without issuing codes.
func (r *registry) grantTypes(ctx context.Context) []string {
	var grants []string
	if slices.Contains(r.can.responseTypes, responseCode) && r.handles(ctx, grantAuthorizationCode) {
		grants = append(grants, grantAuthorizationCode)
	}
	if slices.ContainsFunc(r.can.responseTypes, usesImplicit) {
		grants = append(grants, grantImplicit)
	}
	for _, grant := range probedGrants {
		if r.handles(ctx, grant.name) && (grant.name != grantRefreshToken || r.yieldsRefreshTokens(ctx)) {
			grants = append(grants, grant.name)
		}
	}
	return withoutRepeats(append(grants, r.cfg.GrantTypes...))
}

// yieldsRefreshTokens: fosite issues refresh tokens only to those who were granted one of
// its refresh token scopes, unless it has none.
func (r *registry) yieldsRefreshTokens(ctx context.Context) bool {
	scopes := r.fosite.GetRefreshTokenScopes(ctx)
	return len(scopes) == 0 || slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(r.cfg.Scopes, scope) })
}

func (r *registry) handles(ctx context.Context, grant string) bool {
	for _, h := range r.fosite.GetTokenEndpointHandlers(ctx) {
		request := fosite.NewAccessRequest(r.cfg.NewSession())
		request.GrantTypes = fosite.Arguments{grant}
		if h.CanHandleTokenEndpointRequest(ctx, request) {
			return true
		}
	}
	return false
}

func (r *registry) authMethods(ctx context.Context) []string {
	if r.cfg.TokenEndpointAuthMethods != nil {
		return r.cfg.TokenEndpointAuthMethods
	}
	methods := []string{methodClientSecretBasic, methodClientSecretPost}
	if slices.ContainsFunc(r.can.grantTypes, servesPublicClients) {
		methods = append([]string{methodNone}, methods...)
	}
	if len(r.tokenURLs(ctx)) > 0 {
		methods = append(methods, methodPrivateKeyJWT)
	}
	return methods
}

// servesPublicClients reports whether a client without credentials has a use for a grant
// (RFC 6749, section 4.4).
func servesPublicClients(grant string) bool {
	return grant != grantClientCredentials && grant != grantRefreshToken
}

// tokenURLs are the URLs of the token endpoint that fosite knows.
func (r *registry) tokenURLs(ctx context.Context) []string {
	return slices.DeleteFunc(slices.Clone(r.fosite.GetTokenURLs(ctx)), func(url string) bool { return url == "" })
}

func usesCode(responseType string) bool {
	return slices.Contains(strings.Fields(responseType), responseCode)
}

func usesImplicit(responseType string) bool {
	words := strings.Fields(responseType)
	return slices.Contains(words, "token") || slices.Contains(words, "id_token")
}

// fit leaves out what the provider or the registrant can't have, or refuses it, and
// makes the two lists agree. What remains is registered (RFC 7591, section 3.2.1).
func (r *registry) fit(ctx context.Context, m *ClientMetadata, e entrance, omitted omissions) error {
	if err := r.fitMethod(m); err != nil {
		return err
	}
	if !omitted.grantTypes && !omitted.responseTypes && !agree(m) && !agree(r.known(m)) {
		return refuseMetadata("grant_types and response_types do not agree (RFC 7591, section 2.1)")
	}
	if err := r.fitGrantTypes(m, e.registrant, omitted); err != nil {
		return err
	}
	if err := r.fitResponseTypes(m); err != nil {
		return err
	}
	if err := agreeOnTypes(m, omitted); err != nil {
		return err
	}
	if !slices.ContainsFunc(m.GrantTypes, yieldsRefreshToken) && slices.Contains(m.GrantTypes, grantRefreshToken) {
		return refuseMetadata("grant_types has refresh_token, but no grant that yields a refresh token")
	}
	return r.fitScope(ctx, m, omitted.scope)
}

func (r *registry) fitMethod(m *ClientMetadata) error {
	switch {
	case slices.Contains(r.can.methods, m.TokenEndpointAuthMethod):
		return nil
	case m.TokenEndpointAuthMethod == methodClientSecretJWT:
		return refuseMetadata("token_endpoint_auth_method client_secret_jwt is not supported, since secrets are stored hashed")
	}
	return refuseMetadata("token_endpoint_auth_method is not supported by this server")
}

func (r *registry) fitGrantTypes(m *ClientMetadata, who *Registrant, omitted omissions) error {
	if len(m.GrantTypes) == 0 {
		return refuseMetadata("grant_types is empty")
	}
	kept, barred := make([]string, 0, len(m.GrantTypes)), false
	for i, grant := range m.GrantTypes {
		known := slices.Contains(r.can.grantTypes, grant)
		barred = barred || known && !r.mayHave(who, grant)
		switch {
		case known && r.mayHave(who, grant):
			kept = append(kept, grant)
		case r.cfg.RefuseUnsupported && !omitted.grantTypes:
			return refuseMetadata("grant_types[" + strconv.Itoa(i) + "] is not supported by this server for this client")
		}
	}
	switch {
	case len(kept) == 0 && barred:
		return refuseMetadata("grant_types has none that this registrant may have (others may, with an access token for example)")
	case len(kept) == 0:
		return refuseMetadata("grant_types has none that this server supports")
	}
	m.GrantTypes = kept
	return nil
}

// mayHave: nobody vouches for an anonymous registrant, so a user has to take part
// in what its clients do (T56).
func (r *registry) mayHave(who *Registrant, grant string) bool {
	if who.GrantTypes != nil && !slices.Contains(who.GrantTypes, grant) {
		return false
	}
	if !who.Anonymous || grant == grantAuthorizationCode || slices.Contains(r.cfg.AnonymousGrantTypes, grant) {
		return true
	}
	for _, probed := range probedGrants {
		if probed.name == grant {
			return probed.user
		}
	}
	return false
}

func (r *registry) fitResponseTypes(m *ClientMetadata) error {
	if len(m.ResponseTypes) == 0 {
		return nil
	}
	kept := make([]string, 0, len(m.ResponseTypes))
	for i, responseType := range m.ResponseTypes {
		supported := r.supportedResponseType(responseType)
		switch {
		case supported != "":
			kept = append(kept, supported)
		case r.cfg.RefuseUnsupported:
			return refuseMetadata("response_types[" + strconv.Itoa(i) + "] is not supported by this server")
		}
	}
	if len(kept) == 0 {
		return refuseMetadata("response_types has none that this server supports")
	}
	m.ResponseTypes = withoutRepeats(kept)
	return nil
}

// supportedResponseType returns the server's spelling of a response type, in which
// the order of words does not matter.
func (r *registry) supportedResponseType(responseType string) string {
	if slices.Contains(r.can.responseTypes, responseType) {
		return responseType
	}
	words := strings.Split(responseType, " ")
	slices.Sort(words)
	for _, supported := range r.can.responseTypes {
		if slices.Equal(words, slices.Sorted(strings.SplitSeq(supported, " "))) {
			return supported
		}
	}
	return ""
}

// known is what the server has of what was sent: what it does not know disagrees with
// nothing.
func (r *registry) known(m *ClientMetadata) *ClientMetadata {
	return &ClientMetadata{
		GrantTypes:    keep(m.GrantTypes, func(grant string) bool { return slices.Contains(r.can.grantTypes, grant) }),
		ResponseTypes: keep(m.ResponseTypes, func(responseType string) bool { return r.supportedResponseType(responseType) != "" }),
	}
}

// agree reports whether each response type has its grants and each grant of the
// authorization endpoint a response type.
func agree(m *ClientMetadata) bool {
	return len(fittingTypes(m)) == len(m.ResponseTypes) && len(usedGrants(m)) == len(m.GrantTypes)
}

// fittingTypes are the response types whose grants are registered.
func fittingTypes(m *ClientMetadata) []string {
	code, implicit := slices.Contains(m.GrantTypes, grantAuthorizationCode), slices.Contains(m.GrantTypes, grantImplicit)
	return keep(m.ResponseTypes, func(responseType string) bool {
		return (!usesCode(responseType) || code) && (!usesImplicit(responseType) || implicit)
	})
}

// usedGrants are the grants that a response type uses, or that need none.
func usedGrants(m *ClientMetadata) []string {
	return keep(m.GrantTypes, func(grant string) bool {
		switch grant {
		case grantAuthorizationCode:
			return slices.ContainsFunc(m.ResponseTypes, usesCode)
		case grantImplicit:
			return slices.ContainsFunc(m.ResponseTypes, usesImplicit)
		}
		return true
	})
}

// agreeOnTypes makes grant types and response types agree (RFC 7591, section 2.1), after
// what the server can't do was left out. Where the client sent one list, the default of
// the other stands. Nothing is completed but an omitted response_types.
func agreeOnTypes(m *ClientMetadata, omitted omissions) error {
	if omitted.responseTypes {
		m.ResponseTypes = []string{}
		if slices.Contains(m.GrantTypes, grantAuthorizationCode) || slices.Contains(m.GrantTypes, grantImplicit) {
			m.ResponseTypes = []string{responseCode}
		}
	}
	responseTypes := fittingTypes(m)
	lost := len(responseTypes) == 0 && len(m.ResponseTypes) > 0
	m.ResponseTypes = responseTypes
	m.GrantTypes = usedGrants(m)
	if lost || len(m.GrantTypes) == 0 {
		return refuseMetadata("grant_types and response_types have nothing in common that this server supports for this client")
	}
	return nil
}

// keep returns the elements that fit, in a list that is never nil.
func keep[T any](list []T, fits func(T) bool) []T {
	kept := make([]T, 0, len(list))
	for _, s := range list {
		if fits(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// yieldsRefreshToken: the grants named here yield none. Of a grant of the host's own
// it is assumed that it may.
func yieldsRefreshToken(grant string) bool {
	switch grant {
	case grantRefreshToken, grantClientCredentials, grantImplicit, grantJWTBearer:
		return false
	}
	return true
}

// fitScope registers the allowed scopes among those that were asked for, or the
// default scopes where none remains. Scopes are compared literally; one that the
// host's scope strategy reads as a pattern is refused (T54).
//
// The scopes of the configuration come in where the client speaks, not again where a
// policy has.
func (r *registry) fitScope(ctx context.Context, m *ClientMetadata, defaults bool) error {
	matches := r.fosite.GetScopeStrategy(ctx)
	asked := withoutRepeats(strings.Fields(m.Scope))
	kept := make([]string, 0, len(asked))
	for _, scope := range asked {
		switch {
		case slices.Contains(r.cfg.Scopes, scope):
			kept = append(kept, scope)
		case widerThanItself(scope, r.cfg.Scopes, matches) != "":
			return refuseMetadata("scope has a pattern that would grant more than it names")
		case r.cfg.RefuseUnsupported:
			return refuseMetadata("scope has a scope that this server does not offer")
		}
	}
	if len(kept) == 0 && defaults {
		kept = r.cfg.DefaultScopes
	}
	if defaults {
		kept = withoutRepeats(slices.Concat(kept, r.cfg.BaselineScopes))
	}
	m.Scope = strings.Join(kept, " ")
	return nil
}
