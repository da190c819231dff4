package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/tokens"
)

// NewAccessRequest is fosite's; a storage that fails is a server error, never invalid_client, no grant
// yields the scope of registration access tokens, and the resources of a client credentials request (RFC
// 8707) are requested audiences.
func (p *Provider) NewAccessRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.AccessRequester, error) {
	if err := formError(request.Form(r, request.AnyForm)); err != nil {
		return nil, err
	}
	ctx = p.atEndpoint(ctx, r, "")
	if !tokens.HandlesGrant(ctx, p.Config.GetTokenEndpointHandlers(ctx), r.PostForm.Get("grant_type")) {
		return nil, fosite.ErrUnsupportedGrantType
	}
	ar, err := p.Fosite.NewAccessRequest(ctx, r, session)
	if errors.Is(err, fosite.ErrJTIKnown) && !errors.Is(err, fosite.ErrInvalidClient) { // of the assertion that is the grant
		err = fosite.ErrInvalidGrant.WithHint("The assertion was used before (RFC 7521, section 4.1.1).").WithWrap(err)
	}
	if err == nil {
		err = tokens.CheckScope(ar)
	}
	if errors.Is(err, fosite.ErrInvalidScope) && tokens.Narrowed(r) {
		err = fosite.ErrInvalidGrant.WithHint("The client may not have a scope of this refresh token any more.").WithWrap(err)
	}
	if err == nil {
		err = p.gate.checkScope(ar)
	}
	if err == nil && ar.GetGrantTypes().ExactOne(capability.GrantClientCredentials) {
		p.requestScopes(ar)
		err = p.requestResources(ar)
	}
	if err == nil {
		err = requireVerifier(ar)
	}
	return ar, p.answer(ctx, r, p.lostRefresh(ctx, ar, err))
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
	if client, ok := RegisteredClient(request.GetClient()); ok && client.isDocument() {
		ctx = withCrossing(ctx, &crossing{document: client})
	}
	response, err := p.Fosite.NewAccessResponse(ctx, request)
	if errors.Is(err, fosite.ErrInvalidatedAuthorizeCode) {
		err = fosite.ErrInvalidGrant.WithHint("The authorization code was used by another request.").WithDebug(err.Error())
	}
	if answer, ok := response.(*fosite.AccessResponse); ok && answer.GetExtra("scope") == "" {
		delete(answer.Extra, "scope") // it is never empty (RFC 6749, section 3.3)
	}
	return response, translate(nil, p.lostRefresh(ctx, request, err))
}

// lostRefresh is what those are told that lose of several refreshes at once.
func (p *Provider) lostRefresh(ctx context.Context, request fosite.AccessRequester, err error) error {
	strategy, _ := p.parts.strategy.(oauth2.RefreshTokenStrategy)
	err = tokens.Refreshes{Storage: p.parts.revocation, Strategy: strategy}.Lost(ctx, request, err)
	if errors.Is(err, tokens.ErrContended) {
		return failure(errors.Join(ErrUnavailable, err))
	}
	return err
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
	err := p.Fosite.NewRevocationRequest(ctx, r)
	if err == nil && r.PostForm.Get("token") == "" {
		err = fosite.ErrInvalidRequest.WithHint("Request parameter 'token' is missing.")
	}
	return p.answer(ctx, r, err)
}

// WriteRevocationResponse is fosite's, but every error is told (RFC 7009, section 2.2.1): of most fosite says
// 200, and the client believes that the token is dead.
func (p *Provider) WriteRevocationResponse(ctx context.Context, w http.ResponseWriter, err error) {
	if err != nil {
		p.writeError(ctx, w, nil, err)
		return
	}
	p.Fosite.WriteRevocationResponse(ctx, w, nil)
}

// NewIntrospectionRequest is fosite's for static clients. A client that registered itself authenticates by
// its registered method and sees its own tokens only, and an access token of such a client introspects
// nothing but itself: fosite lets any client look at any token, and with open registration that is anybody
// (RFC 7662, section 4).
func (p *Provider) NewIntrospectionRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.IntrospectionResponder, error) {
	if err := formError(request.Form(r, request.AnyForm)); err != nil {
		return &fosite.IntrospectionResponse{}, err
	}
	ctx = p.atEndpoint(ctx, r, "")
	response, err := p.introspection.Answer(ctx, r, session)
	return response, p.answer(ctx, r, err)
}

// IntrospectToken is fosite's, but a storage that fails is a server error, not an inactive token, and a token of
// another use than fosite.AccessToken is inactive where an access token is asked for.
func (p *Provider) IntrospectToken(ctx context.Context, token string, use fosite.TokenUse, session fosite.Session, scopes ...string) (fosite.TokenUse, fosite.AccessRequester, error) {
	found, request, err := p.introspectToken(ctx, token, use, session, scopes...)
	if err == nil && use == fosite.AccessToken && found != use {
		return "", nil, fosite.ErrInactiveToken.WithHint("The token is not an access token.")
	}
	return found, request, err
}

func (p *Provider) introspectToken(ctx context.Context, token string, use fosite.TokenUse, session fosite.Session, scopes ...string) (fosite.TokenUse, fosite.AccessRequester, error) {
	if !request.IsToken(token) {
		return "", nil, fosite.ErrRequestUnauthorized.WithHint("The token is malformed.")
	}
	found, ar, err := p.Fosite.IntrospectToken(ctx, token, use, session, scopes...)
	return found, ar, translate(nil, err)
}

// WriteIntrospectionError is fosite's, but every error is told that is none of the token: fosite answers to most
// that the token is inactive.
func (p *Provider) WriteIntrospectionError(ctx context.Context, w http.ResponseWriter, err error) {
	err = translate(nil, err)
	if err != nil && (asFault(err) != nil || !errors.Is(err, fosite.ErrInactiveToken)) {
		p.writeError(ctx, w, nil, err)
		return
	}
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
	basic, err := request.OneMethod(r, form)
	if err != nil {
		return nil, fosite.ErrInvalidRequest.WithHintf("The request %s.", err)
	}
	c := crossingOf(ctx)
	if c == nil { // an endpoint of the application's own
		c = &crossing{}
		ctx = withCrossing(ctx, c)
	}
	c.secretMethod = ""
	switch {
	case basic:
		c.secretMethod = capability.MethodClientSecretBasic
	case form.Get("client_secret") != "":
		c.secretMethod = capability.MethodClientSecretPost
	}
	var client fosite.Client
	if form.Get("client_assertion_type") == assertion.Type && form.Get("client_assertion") != "" {
		client, err = p.authenticateAssertion(ctx, form)
	} else {
		client, err = p.DefaultClientAuthenticationStrategy(ctx, r, form)
	}
	return client, translate(nil, err)
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
			if registered.isDocument() {
				keys.Renew = func(ctx context.Context) (*jose.JSONWebKeySet, error) {
					return p.clients.documents.keys(ctx, registered.ID)
				}
			} else {
				keys.Untried = p.lifetimes.uses != nil && registered.LastUsedAt.IsZero()
			}
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
