// Package tokens mends what fosite's handlers make of tokens: an unknown grant type is named, a refresh has no scope beyond
// its grant, and of several refreshes at once those that lose are told so. It knows no client.
package tokens

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// HandlesGrant reports whether a handler takes the grant type of a request, or there is none to take.
func HandlesGrant(ctx context.Context, handlers fosite.TokenEndpointHandlers, grantType string) bool {
	request := &fosite.AccessRequest{GrantTypes: strings.Fields(grantType)}
	return len(request.GrantTypes) == 0 || slices.ContainsFunc(handlers, func(h fosite.TokenEndpointHandler) bool {
		return h.CanHandleTokenEndpointRequest(ctx, request)
	})
}

// CheckScope refuses, with fosite.ErrInvalidScope, a refresh that asks for a scope which the refresh token does not have
// (RFC 6749, section 6). The request is one that fosite has read.
func CheckScope(request fosite.AccessRequester) error {
	if !isRefresh(request) {
		return nil
	}
	for _, scope := range fosite.RemoveEmpty(strings.Split(request.GetRequestForm().Get("scope"), " ")) {
		if !request.GetGrantedScopes().Has(scope) {
			return fosite.ErrInvalidScope.WithHint("The refresh token does not have a scope that is asked for.")
		}
	}
	return nil
}

func isRefresh(request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(string(fosite.GrantTypeRefreshToken))
}

// Refreshes looks refresh tokens up.
type Refreshes struct {
	// Storage is the storage of fosite's handlers.
	Storage oauth2.RefreshTokenStorage
	// Strategy has made the tokens. Default (nil): a token that several requests contend for is not looked up.
	Strategy oauth2.RefreshTokenStrategy
}

// ErrContended says that a storage could not serve several requests at once, and that the token is still good.
var ErrContended = errors.New("tokens: a refresh token is contended")

// Lost names what of several refreshes at once with one token those get that come too late: fosite.ErrInvalidGrant, or
// ErrContended with err inside. fosite asks them to retry, and a retry would have the tokens of the winner revoked. Any
// other error is returned as it is.
func (r Refreshes) Lost(ctx context.Context, request fosite.AccessRequester, err error) error {
	spent := isSpent(err)
	contended := errors.Is(err, fosite.ErrSerializationFailure)
	if !errors.Is(err, fosite.ErrInvalidRequest) || !spent && !contended || !isRefresh(request) {
		return err
	}
	if contended && r.Storage != nil && r.Strategy != nil {
		signature := r.Strategy.RefreshTokenSignature(ctx, request.GetRequestForm().Get("refresh_token"))
		if _, again := r.Storage.GetRefreshTokenSession(ctx, signature, request.GetSession().Clone()); !isSpent(again) {
			return errors.Join(ErrContended, err)
		}
	}
	return fosite.ErrInvalidGrant.WithHint("The refresh token was used by another request.").WithDebug(err.Error())
}

func isSpent(err error) bool {
	return errors.Is(err, fosite.ErrInactiveToken) || errors.Is(err, fosite.ErrNotFound)
}

// ShowRefreshEnd has fosite, which shows the end of an access token whatever was asked about, show that of the refresh
// token.
func ShowRefreshEnd(found fosite.AccessRequester) {
	session := found.GetSession().Clone()
	session.SetExpiresAt(fosite.AccessToken, session.GetExpiresAt(fosite.RefreshToken))
	found.SetSession(session)
}

// Narrowed reports whether a scope that is refused is none that the request asks for: it is the refresh
// token's, from before the registration was Narrowed. Clients get a new one on invalid_grant (RFC 6749,
// section 5.2) and are at a loss with invalid_scope.
func Narrowed(r *http.Request) bool {
	return r.PostForm.Get("grant_type") == string(fosite.GrantTypeRefreshToken) && r.PostForm.Get("scope") == ""
}
