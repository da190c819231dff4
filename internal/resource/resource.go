// Package resource narrows access tokens to the resources that a token request names (RFC 8707, section 2.2). fosite
// knows resources as audiences, and issues access and refresh token for one and the same request: here the access token
// gets what was named, and the refresh token keeps the whole grant.
package resource

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
)

// Find returns the audience that a resource means: the same but for a slash at the end.
func Find(audiences []string, resource string) (audience string, ok bool) {
	i := slices.IndexFunc(audiences, func(audience string) bool {
		return strings.TrimSuffix(audience, "/") == strings.TrimSuffix(resource, "/")
	})
	if i < 0 {
		return "", false
	}
	return audiences[i], true
}

// Narrow returns those of the granted audiences that the resources mean, and false where a resource means none. Where
// none of them does, or none is named, all granted audiences remain.
func Narrow(granted, resources []string) (audiences []string, known bool) {
	known = true
	for _, named := range fosite.RemoveEmpty(resources) {
		audience, ok := Find(granted, named)
		known = known && ok
		if ok && !slices.Contains(audiences, audience) {
			audiences = append(audiences, audience)
		}
	}
	if len(audiences) == 0 {
		return granted, known
	}
	return audiences, known
}

// Handlers returns a copy of a list in which fosite's handlers for codes and refresh tokens narrow. unknown is the
// error for a resource that was not granted; nil leaves it out. Handlers of other types stay as they are.
func Handlers(handlers fosite.TokenEndpointHandlers, unknown error) fosite.TokenEndpointHandlers {
	narrowing := slices.Clone(handlers)
	for i, h := range narrowing {
		switch h := h.(type) {
		case *oauth2.AuthorizeExplicitGrantHandler:
			narrowing[i] = codes{h, unknown}
		case *oauth2.RefreshTokenGrantHandler:
			narrowing[i] = refreshes{h, unknown}
		}
	}
	return narrowing
}

// codes is fosite's handler for authorization codes.
type codes struct {
	*oauth2.AuthorizeExplicitGrantHandler

	unknown error
}

// HandleTokenEndpointRequest is fosite's. A resource that was not granted is refused before the code is spent.
func (h codes) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	if err := h.AuthorizeExplicitGrantHandler.HandleTokenEndpointRequest(ctx, request); err != nil || h.unknown == nil || !names(request) {
		return err
	}
	code := h.AuthorizeCodeStrategy.AuthorizeCodeSignature(ctx, request.GetRequestForm().Get("code"))
	authorized, err := h.CoreStorage.GetAuthorizeCodeSession(ctx, code, request.GetSession().Clone())
	switch {
	case errors.Is(err, fosite.ErrInvalidatedAuthorizeCode), errors.Is(err, fosite.ErrNotFound): // since fosite's look at it
		return fosite.ErrInvalidGrant.WithWrap(err)
	case err != nil:
		return fosite.ErrServerError.WithWrap(err).WithDebug(err.Error())
	}
	return refuse(authorized.GetGrantedAudience(), request, h.unknown)
}

// PopulateTokenEndpointResponse is fosite's, on a view of its storage and its strategy.
func (h codes) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !h.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest // without the stack trace that fosite's has for each request of another grant
	}
	if !names(request) {
		return h.AuthorizeExplicitGrantHandler.PopulateTokenEndpointResponse(ctx, request, response)
	}
	view := *h.AuthorizeExplicitGrantHandler
	n := narrower{request.GetRequestForm()["resource"]}
	view.AccessTokenStrategy = strategy{view.AccessTokenStrategy, n}
	view.CoreStorage = coreStorage(view.CoreStorage, n)
	return view.PopulateTokenEndpointResponse(ctx, request, response)
}

// refreshes is fosite's handler for refresh tokens.
type refreshes struct {
	*oauth2.RefreshTokenGrantHandler

	unknown error
}

// HandleTokenEndpointRequest is fosite's. A resource that was not granted is refused before the token is spent.
func (h refreshes) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	if err := h.RefreshTokenGrantHandler.HandleTokenEndpointRequest(ctx, request); err != nil || h.unknown == nil || !names(request) {
		return err
	}
	return refuse(request.GetGrantedAudience(), request, h.unknown)
}

// PopulateTokenEndpointResponse is fosite's, on a view of its storage and its strategy.
func (h refreshes) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !h.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest // without the stack trace that fosite's has for each request of another grant
	}
	if !names(request) {
		return h.RefreshTokenGrantHandler.PopulateTokenEndpointResponse(ctx, request, response)
	}
	view := *h.RefreshTokenGrantHandler
	n := narrower{request.GetRequestForm()["resource"]}
	view.AccessTokenStrategy = strategy{view.AccessTokenStrategy, n}
	view.TokenRevocationStorage = revocationStorage(view.TokenRevocationStorage, n)
	return view.PopulateTokenEndpointResponse(ctx, request, response)
}

// names reports whether a request names a resource.
func names(request fosite.Requester) bool {
	return len(fosite.RemoveEmpty(request.GetRequestForm()["resource"])) > 0
}

func refuse(granted []string, request fosite.Requester, unknown error) error {
	if _, known := Narrow(granted, request.GetRequestForm()["resource"]); !known {
		return unknown
	}
	return nil
}

// narrower narrows to the resources of one request.
type narrower struct{ resources []string }

// of returns a request with fewer granted audiences. It does not change the one that it is given.
func (n narrower) of(request fosite.Requester) fosite.Requester {
	audiences, _ := Narrow(request.GetGrantedAudience(), n.resources)
	if stored, ok := request.(*fosite.Request); ok { // some storages know no other type
		c := *stored
		c.GrantedAudience = slices.Clone(audiences)
		return &c
	}
	return narrowed{request, audiences}
}

type narrowed struct {
	fosite.Requester

	audiences fosite.Arguments
}

// GetGrantedAudience returns the audiences that were named.
func (r narrowed) GetGrantedAudience() fosite.Arguments { return r.audiences }

// strategy makes access tokens for what was named.
type strategy struct {
	oauth2.AccessTokenStrategy

	narrower narrower
}

// GenerateAccessToken is the strategy's.
func (s strategy) GenerateAccessToken(ctx context.Context, request fosite.Requester) (token, signature string, err error) {
	return s.AccessTokenStrategy.GenerateAccessToken(ctx, s.narrower.of(request))
}

// coreView stores access tokens for what was named.
type coreView struct {
	oauth2.CoreStorage

	narrower narrower
}

// CreateAccessTokenSession is the storage's.
func (v coreView) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	return v.CoreStorage.CreateAccessTokenSession(ctx, signature, v.narrower.of(request))
}

// coreStorage hides no transactions: fosite asserts them.
func coreStorage(s oauth2.CoreStorage, n narrower) oauth2.CoreStorage {
	view := coreView{s, n}
	if transactions, ok := s.(storage.Transactional); ok {
		return struct {
			coreView
			storage.Transactional
		}{view, transactions}
	}
	return view
}

// revocationView stores access tokens for what was named.
type revocationView struct {
	oauth2.TokenRevocationStorage

	narrower narrower
}

// CreateAccessTokenSession is the storage's.
func (v revocationView) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	return v.TokenRevocationStorage.CreateAccessTokenSession(ctx, signature, v.narrower.of(request))
}

// revocationStorage hides no transactions: fosite asserts them.
func revocationStorage(s oauth2.TokenRevocationStorage, n narrower) oauth2.TokenRevocationStorage {
	view := revocationView{s, n}
	if transactions, ok := s.(storage.Transactional); ok {
		return struct {
			revocationView
			storage.Transactional
		}{view, transactions}
	}
	return view
}
