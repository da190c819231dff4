package configview

import (
	"context"
	"errors"
	"slices"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// validator is fosite's CoreValidator, which takes every error of the storage for an unknown token. This one recognises a
// storage that failed.
type validator struct {
	// core is fosite's.
	core   *oauth2.CoreValidator
	failed func(cause error) error
}

// IntrospectToken is the validator's, on a view of the storage made for this call.
func (v validator) IntrospectToken(ctx context.Context, token string, use fosite.TokenUse, request fosite.AccessRequester, scopes []string) (fosite.TokenUse, error) {
	storage := &storageView{CoreStorage: v.core.CoreStorage}
	core := &oauth2.CoreValidator{CoreStrategy: v.core.CoreStrategy, CoreStorage: storage, Config: v.core.Config}
	found, err := core.IntrospectToken(ctx, token, use, request, scopes)
	if err != nil && storage.failed != nil {
		return "", v.failed(storage.failed)
	}
	var known *fosite.RFC6749Error
	if err != nil && !errors.As(err, &known) { // the strategy can not read the token
		err = fosite.ErrInvalidTokenFormat.WithWrap(err)
	}
	return found, err
}

// Stored reports whether an access token is good by what a storage has of it, and not by itself alone. The handlers are a
// view's.
func Stored(ctx context.Context, handlers fosite.TokenIntrospectionHandlers, token string, session fosite.Session) bool {
	return slices.ContainsFunc(handlers, func(h fosite.TokenIntrospector) bool {
		v, ok := h.(validator)
		if !ok {
			return false
		}
		use, err := v.IntrospectToken(ctx, token, fosite.AccessToken, fosite.NewAccessRequest(session.Clone()), nil)
		return err == nil && use == fosite.AccessToken
	})
}

// storageView keeps the error of a look-up that says more than "unknown".
type storageView struct {
	oauth2.CoreStorage
	failed error
}

func (s *storageView) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	request, err := s.CoreStorage.GetAccessTokenSession(ctx, signature, session)
	return request, s.note(err)
}

func (s *storageView) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	request, err := s.CoreStorage.GetRefreshTokenSession(ctx, signature, session)
	return request, s.note(err)
}

func (s *storageView) note(err error) error {
	if err != nil && !errors.Is(err, fosite.ErrNotFound) && !errors.Is(err, fosite.ErrInactiveToken) {
		s.failed = err
	}
	return err
}
