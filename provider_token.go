package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

// NewAccessRequest is fosite's; a storage that fails is a server error, never invalid_client, no grant
// yields the scope of registration access tokens, and the resources of a client credentials request (RFC
// 8707) are requested audiences.
func (p *Provider) NewAccessRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.AccessRequester, error) {
	if err := formError(request.Form(r, request.AnyForm)); err != nil {
		return nil, err
	}
	ctx = p.atEndpoint(ctx, r, "")
	ar, err := p.Fosite.NewAccessRequest(ctx, r, session)
	if errors.Is(err, fosite.ErrInvalidScope) && narrowed(r) {
		err = fosite.ErrInvalidGrant.WithHint("The client may not have a scope of this refresh token any more.").WithWrap(err)
	}
	if err == nil {
		err = p.gate.checkScope(ar)
	}
	if err == nil && ar.GetGrantTypes().ExactOne(capability.GrantClientCredentials) {
		err = p.requestResources(ar)
	}
	if err == nil {
		err = requireVerifier(ar)
	}
	return ar, p.answer(ctx, r, err)
}

// narrowed reports whether a scope that is refused is none that the request asks for: it is the refresh
// token's, from before the registration was narrowed. Clients get a new one on invalid_grant (RFC 6749,
// section 5.2) and are at a loss with invalid_scope.
func narrowed(r *http.Request) bool {
	return r.PostForm.Get("grant_type") == capability.GrantRefreshToken && r.PostForm.Get("scope") == ""
}

// requireVerifier: fosite drops a code's PKCE session at the first wrong verifier, and takes the code
// without any verifier from then on.
func requireVerifier(request fosite.AccessRequester) error {
	client, ok := RegisteredClient(request.GetClient())
	if !ok || !client.needsPKCE() || !request.GetGrantTypes().ExactOne(capability.GrantAuthorizationCode) || request.GetRequestForm().Get("code_verifier") != "" {
		return nil
	}
	return fosite.ErrInvalidGrant.WithHint("This client must send the code_verifier (RFC 7636).")
}

// NewAccessResponse is fosite's; a storage that is down for a while is 503, and of several requests with
// one code those that come too late get invalid_grant, where fosite says that the server failed.
func (p *Provider) NewAccessResponse(ctx context.Context, request fosite.AccessRequester) (fosite.AccessResponder, error) {
	response, err := p.Fosite.NewAccessResponse(ctx, request)
	if errors.Is(err, fosite.ErrInvalidatedAuthorizeCode) {
		err = fosite.ErrInvalidGrant.WithHint("The authorization code was used by another request.").WithDebug(err.Error())
	}
	return response, translate(nil, err)
}

// WriteAccessError is fosite's, with the challenge of RFC 6749, section 5.2.
func (p *Provider) WriteAccessError(ctx context.Context, w http.ResponseWriter, request fosite.AccessRequester, err error) {
	p.writeError(ctx, w, request, err)
}

// NewRevocationRequest is fosite's; a storage that fails is a server error.
func (p *Provider) NewRevocationRequest(ctx context.Context, r *http.Request) error {
	if err := formError(request.Form(r, request.AnyForm)); err != nil {
		return err
	}
	ctx = p.atEndpoint(ctx, r, "")
	return p.answer(ctx, r, p.Fosite.NewRevocationRequest(ctx, r))
}

// WriteRevocationResponse is fosite's, but a server that failed says so, and so does one that has seen the
// client's assertion before: fosite answers 200, and the client believes that the token is dead.
func (p *Provider) WriteRevocationResponse(ctx context.Context, w http.ResponseWriter, err error) {
	err = translate(nil, err)
	failed := fosite.ErrorToRFC6749Error(orUnknown(err))
	if err != nil && (failed.CodeField >= 500 || errors.Is(err, fosite.ErrJTIKnown) || errors.Is(err, ErrBodyTooLarge)) {
		p.writeError(ctx, w, nil, err)
		return
	}
	errorHeaders(w, err)
	p.Fosite.WriteRevocationResponse(ctx, w, err)
}

func orUnknown(err error) error {
	if err == nil {
		return fosite.ErrUnknownRequest
	}
	return err
}

// NewIntrospectionRequest is fosite's for static clients. A client that registered itself authenticates by
// its registered method and sees its own tokens only, and an access token of such a client introspects
// nothing but itself: fosite lets any client look at any token, and with open registration that is anybody
// (RFC 7662, section 4).
func (p *Provider) NewIntrospectionRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.IntrospectionResponder, error) {
	if err := formError(request.Form(r, request.AnyForm)); err != nil {
		return inactive(), err
	}
	ctx = p.atEndpoint(ctx, r, "")
	if err := noQueryCredentials(r); err != nil || r.URL.Query().Has("access_token") {
		return inactive(), fosite.ErrRequestUnauthorized.WithHint("Client credentials must not be sent in the query of the URL.").WithWrap(err)
	}
	caller, err := p.introspectionCaller(ctx, r, session)
	if err != nil {
		return inactive(), p.answer(ctx, r, err)
	}
	if caller == nil {
		response, err := p.Fosite.NewIntrospectionRequest(ctx, r, session)
		return response, p.answer(ctx, r, err)
	}
	return p.introspectOwn(ctx, r, session, caller)
}

// introspectOwn answers a client that may introspect its own tokens only.
func (p *Provider) introspectOwn(ctx context.Context, r *http.Request, session fosite.Session, caller *introspectionCaller) (fosite.IntrospectionResponder, error) {
	token, hint := r.PostForm.Get("token"), fosite.TokenUse(r.PostForm.Get("token_type_hint"))
	if caller.token != "" && caller.token != token {
		return inactive(), errNotIntrospectable
	}
	use, found, err := p.IntrospectToken(ctx, token, hint, session, fosite.RemoveEmpty(strings.Split(r.PostForm.Get("scope"), " "))...)
	switch {
	case asFault(err) != nil:
		return inactive(), err
	case err != nil:
		return inactive(), fosite.ErrInactiveToken.WithWrap(err)
	case found.GetClient().GetID() != caller.id:
		return inactive(), errNotIntrospectable
	}
	response := &fosite.IntrospectionResponse{Active: true, AccessRequester: found, TokenUse: use}
	if use == fosite.AccessToken {
		response.AccessTokenType = fosite.BearerAccessToken
	}
	return response, nil
}

var errNotIntrospectable = fosite.ErrInactiveToken.WithHint("The client may introspect its own tokens only.")

func inactive() *fosite.IntrospectionResponse { return &fosite.IntrospectionResponse{} }

// introspectionCaller is a client that registered itself and asks for introspection.
type introspectionCaller struct {
	id    string
	token string // of the Bearer scheme; empty where the client authenticated
}

// introspectionCaller returns nil where fosite has to decide.
func (p *Provider) introspectionCaller(ctx context.Context, r *http.Request, session fosite.Session) (*introspectionCaller, error) {
	if r.Method != http.MethodPost || session == nil {
		return nil, nil
	}
	if token := fosite.AccessTokenFromRequest(r); token != "" {
		return p.bearerCaller(ctx, token, session.Clone())
	}
	id := claimedClientID(r)
	if id == "" {
		return nil, nil
	}
	client, err := p.Store.GetClient(ctx, id)
	if err != nil || !IsDynamic(client) {
		return nil, faultOnly(err)
	}
	if client.IsPublic() {
		return nil, fosite.ErrRequestUnauthorized.WithHint("A public client can not introspect tokens.")
	}
	authenticated, err := p.AuthenticateClient(ctx, r, r.PostForm)
	if err != nil {
		if asFault(err) != nil {
			return nil, err
		}
		return nil, fosite.ErrRequestUnauthorized.WithHint("OAuth 2.0 Client credentials are invalid.").WithWrap(err)
	}
	return &introspectionCaller{id: authenticated.GetID()}, nil
}

func (p *Provider) bearerCaller(ctx context.Context, token string, session fosite.Session) (*introspectionCaller, error) {
	use, request, err := p.IntrospectToken(ctx, token, fosite.AccessToken, session)
	if err != nil || use != fosite.AccessToken || request.GetClient() == nil {
		return nil, faultOnly(err)
	}
	id := request.GetClient().GetID()
	client, err := p.Store.GetClient(ctx, id)
	switch {
	case asFault(err) != nil:
		return nil, err
	case err != nil: // no client that is known: a JWT without client_id, an ID token
		return nil, fosite.ErrRequestUnauthorized.WithHint("The access token does not say whose it is.")
	case !IsDynamic(client):
		return nil, nil
	}
	return &introspectionCaller{id: id, token: token}, nil
}

// faultOnly keeps the server's own failures; the rest is for fosite to say.
func faultOnly(err error) error {
	if asFault(err) != nil {
		return err
	}
	return nil
}

// IntrospectToken is fosite's; a storage that fails is a server error, not an inactive token.
func (p *Provider) IntrospectToken(ctx context.Context, token string, use fosite.TokenUse, session fosite.Session, scopes ...string) (fosite.TokenUse, fosite.AccessRequester, error) {
	found, request, err := p.Fosite.IntrospectToken(ctx, token, use, session, scopes...)
	return found, request, translate(nil, err)
}

// WriteIntrospectionError is fosite's, but a server that failed says so: fosite answers that the token is
// inactive.
func (p *Provider) WriteIntrospectionError(ctx context.Context, w http.ResponseWriter, err error) {
	err = translate(nil, err)
	if asFault(err) != nil || errors.Is(err, ErrBodyTooLarge) {
		p.writeError(ctx, w, nil, err)
		return
	}
	errorHeaders(w, err)
	p.Fosite.WriteIntrospectionError(ctx, w, err)
}

// ClientAuthentication is a fosite.ClientAuthenticationStrategy. The provider uses it without being asked,
// unless fosite's configuration has one of the application's own, which may call it.
//
// It runs fosite's own, but for client assertions (RFC 7523). The audience of one is the issuer, the token
// endpoint (see Authorization), the PAR endpoint there, or several of these. Where no algorithm was
// registered, each that fits a key is right. Clocks may differ by 30 seconds, a jti counts per client, and
// the time to the expiry (ten minutes), the jti (256 characters) and the keys tried (four) are bounded.
// Credentials in the query and two methods at once are refused. An empty hash never authenticates. A storage
// that fails is a server error.
func (p *Provider) ClientAuthentication(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	if err := oneMethod(r, form); err != nil {
		return nil, err
	}
	if c := crossingOf(ctx); c != nil {
		c.secretMethod = secretMethod(r, form)
	}
	var client fosite.Client
	var err error
	if form.Get("client_assertion_type") == assertion.Type && form.Get("client_assertion") != "" {
		client, err = p.authenticateAssertion(ctx, form)
	} else {
		client, err = p.DefaultClientAuthenticationStrategy(ctx, r, form)
	}
	return client, translate(nil, err)
}

// secretMethod is how a request presents a client secret; empty where it presents none.
func secretMethod(r *http.Request, form url.Values) string {
	if _, _, basic := r.BasicAuth(); basic {
		return capability.MethodClientSecretBasic
	}
	if form.Get("client_secret") != "" {
		return capability.MethodClientSecretPost
	}
	return ""
}

// oneMethod refuses credentials in the query, where logs and the Referer header carry them away (T40), and
// more than one method (RFC 6749, section 2.3).
func oneMethod(r *http.Request, form url.Values) error {
	if err := noQueryCredentials(r); err != nil {
		return err
	}
	methods := len(form["client_secret"])
	if methods == 1 && form.Get("client_secret") == "" {
		methods = 0
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		methods += max(1, len(form["client_assertion"]))
	}
	basicID, _, basic := r.BasicAuth()
	if basic {
		methods++
	}
	if methods > 1 {
		return fosite.ErrInvalidRequest.WithHint("The client must not use more than one authentication method in a request.")
	}
	if id, err := url.QueryUnescape(basicID); basic && form.Get("client_id") != "" && (err != nil || id != form.Get("client_id")) {
		return fosite.ErrInvalidRequest.WithHint("The 'client_id' parameter is not the client of the Authorization header.")
	}
	return nil
}

func noQueryCredentials(r *http.Request) error {
	query := r.URL.Query()
	if query.Has("client_secret") || query.Has("client_assertion") {
		return fosite.ErrInvalidRequest.WithHint("Client credentials must not be sent in the query of the URL.")
	}
	return nil
}

// claimedClientID returns who a request says that it comes from.
func claimedClientID(r *http.Request) string {
	if id, _, ok := r.BasicAuth(); ok {
		unescaped, err := url.QueryUnescape(id)
		if err != nil {
			return ""
		}
		return unescaped
	}
	if id := r.PostForm.Get("client_id"); id != "" {
		return id
	}
	return assertion.Subject(r.PostForm.Get("client_assertion"))
}

// authenticateAssertion verifies a client assertion with the keys that the client registered.
func (p *Provider) authenticateAssertion(ctx context.Context, form url.Values) (fosite.Client, error) {
	client, err := assertion.Authenticate(ctx, form, assertion.Options{
		Store: p.Store, Fetcher: p.Config.GetJWKSFetcherStrategy(ctx), Audiences: p.audiences(ctx), Now: p.lifetimes.now(),
		Keys: func(client fosite.Client) (keys assertion.Keys, ok bool) {
			registered, ok := RegisteredClient(client)
			if !ok {
				return keys, false
			}
			keys.Algorithm, keys.Set = registered.Metadata.TokenEndpointAuthSigningAlg, registered.Metadata.JWKS
			keys.Untried = p.lifetimes.uses != nil && registered.LastUsedAt.IsZero()
			return keys, true
		},
	})
	var failed *assertion.Failure
	switch {
	case !errors.As(err, &failed):
		return client, err
	case errors.Is(err, assertion.ErrKeysUnavailable):
		return nil, failure(fmt.Errorf("%w: %w", ErrKeysUnavailable, failed.Cause))
	}
	return nil, failure(failed.Cause)
}

// audiences are those that an assertion may be for, at the endpoint of this request.
func (p *Provider) audiences(ctx context.Context) []string {
	audiences := []string{p.location.issuerOrNone(ctx)}
	if !p.config.RefuseTokenEndpointAudience {
		audiences = append(audiences, capability.TokenURLs(ctx, p.Config)...)
	}
	if c := crossingOf(ctx); c != nil && c.parPath != "" {
		audiences = append(audiences, p.location.parEndpoint(ctx, c.parPath))
	}
	return slices.DeleteFunc(audiences, func(s string) bool { return s == "" })
}
