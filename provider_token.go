package dcr

import (
	"context"
	"errors"
	"net/http"

	"github.com/ory/fosite"
)

// NewAccessRequest is fosite's; a storage that fails is a server error, never
// invalid_client, no grant yields the scope of registration access tokens, and the
// resources of a client credentials request (RFC 8707) are requested audiences.
func (p *Provider) NewAccessRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.AccessRequester, error) {
	if err := boundForm(r, maxForm); err != nil {
		return nil, err
	}
	ctx = p.registry.atEndpoint(ctx, r)
	request, err := p.Fosite.NewAccessRequest(ctx, r, session)
	if errors.Is(err, fosite.ErrInvalidScope) && narrowed(r) {
		err = fosite.ErrInvalidGrant.WithHint("The client may not have a scope of this refresh token any more.").WithWrap(err)
	}
	if err == nil && request.GetRequestedScopes().Has(p.registry.cfg.RegistrationToken.Scope) {
		err = errReservedScope
	}
	if err == nil && request.GetGrantTypes().ExactOne(grantClientCredentials) {
		err = p.requestResources(request)
	}
	if err == nil {
		err = requireVerifier(request)
	}
	return request, p.answer(ctx, r, err)
}

// narrowed reports whether a scope that is refused is none that the request asks for: it is
// the refresh token's, from before the registration was narrowed. Clients get a new one on
// invalid_grant (RFC 6749, section 5.2) and are at a loss with invalid_scope.
func narrowed(r *http.Request) bool {
	return r.PostForm.Get("grant_type") == grantRefreshToken && r.PostForm.Get("scope") == ""
}

// requireVerifier: fosite drops a code's PKCE session at the first wrong verifier, and
// takes the code without any verifier from then on.
func requireVerifier(request fosite.AccessRequester) error {
	client, ok := request.GetClient().(*Client)
	if !ok || !client.needsPKCE() || !request.GetGrantTypes().ExactOne(grantAuthorizationCode) || request.GetRequestForm().Get("code_verifier") != "" {
		return nil
	}
	return fosite.ErrInvalidGrant.WithHint("This client must send the code_verifier (RFC 7636).")
}

// NewAccessResponse is fosite's; a storage that is down for a while is 503, and of several
// requests with one code those that come too late get invalid_grant, where fosite says that
// the server failed.
func (p *Provider) NewAccessResponse(ctx context.Context, request fosite.AccessRequester) (fosite.AccessResponder, error) {
	response, err := p.Fosite.NewAccessResponse(ctx, request)
	if errors.Is(err, fosite.ErrInvalidatedAuthorizeCode) {
		err = fosite.ErrInvalidGrant.WithHint("The authorization code was used by another request.").WithDebug(err.Error())
	}
	return response, translate(nil, err)
}

// WriteAccessError is fosite's, with the challenge of RFC 6749, section 5.2.
func (p *Provider) WriteAccessError(ctx context.Context, w http.ResponseWriter, request fosite.AccessRequester, err error) {
	err = translate(nil, err)
	errorHeaders(w, err)
	p.Fosite.WriteAccessError(ctx, w, request, err)
}

// NewRevocationRequest is fosite's; a storage that fails is a server error.
func (p *Provider) NewRevocationRequest(ctx context.Context, r *http.Request) error {
	if err := boundForm(r, maxForm); err != nil {
		return err
	}
	ctx = p.registry.atEndpoint(ctx, r)
	return p.answer(ctx, r, p.Fosite.NewRevocationRequest(ctx, r))
}

// WriteRevocationResponse is fosite's, but a server that failed says so, and so does one
// that has seen the client's assertion before: fosite answers 200, and the client
// believes that the token is dead.
func (p *Provider) WriteRevocationResponse(ctx context.Context, w http.ResponseWriter, err error) {
	err = translate(nil, err)
	failed := fosite.ErrorToRFC6749Error(orUnknown(err))
	if err != nil && (failed.CodeField >= 500 || errors.Is(err, fosite.ErrJTIKnown) || errors.Is(err, ErrBodyTooLarge)) {
		p.WriteAccessError(ctx, w, nil, err)
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
