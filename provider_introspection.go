package dcr

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// NewIntrospectionRequest is fosite's for the clients of the operator's own. A client
// that registered itself authenticates by its registered method and sees its own
// tokens only, and an access token of such a client introspects nothing but itself:
// fosite lets any client look at any token, and with open registration that is
// anybody (RFC 7662, section 4).
func (p *Provider) NewIntrospectionRequest(ctx context.Context, r *http.Request, session fosite.Session) (fosite.IntrospectionResponder, error) {
	if err := boundForm(r, maxForm); err != nil {
		return inactive(), err
	}
	ctx = p.registry.atEndpoint(ctx, r)
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
	token, hint := r.PostForm.Get("token"), fosite.TokenUse(r.PostForm.Get("token_type_hint"))
	if caller.token != "" && caller.token != token {
		return inactive(), errNotIntrospectable
	}
	use, request, err := p.IntrospectToken(ctx, token, hint, session, fosite.RemoveEmpty(strings.Split(r.PostForm.Get("scope"), " "))...)
	if err != nil {
		if asFault(err) != nil {
			return inactive(), translate(r, err)
		}
		return inactive(), fosite.ErrInactiveToken.WithWrap(err)
	}
	if request.GetClient().GetID() != caller.id {
		return inactive(), errNotIntrospectable
	}
	response := &fosite.IntrospectionResponse{Active: true, AccessRequester: request, TokenUse: use}
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

// introspectionCaller returns nobody where fosite has to decide.
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
	case err != nil: // nobody whom the operator knows: a JWT without client_id, an ID token
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

// IntrospectToken is fosite's; a storage that fails is a server error, not an
// inactive token.
func (p *Provider) IntrospectToken(ctx context.Context, token string, use fosite.TokenUse, session fosite.Session, scopes ...string) (fosite.TokenUse, fosite.AccessRequester, error) {
	found, request, err := p.Fosite.IntrospectToken(ctx, token, use, session, scopes...)
	return found, request, translate(nil, err)
}

// WriteIntrospectionError is fosite's, but a server that failed says so: fosite
// answers that the token is inactive.
func (p *Provider) WriteIntrospectionError(ctx context.Context, w http.ResponseWriter, err error) {
	if f := asFault(err); f != nil {
		p.WriteAccessError(ctx, w, nil, f)
		return
	}
	if errors.Is(err, ErrBodyTooLarge) {
		p.WriteAccessError(ctx, w, nil, err)
		return
	}
	errorHeaders(w, err)
	p.Fosite.WriteIntrospectionError(ctx, w, err)
}

// taggingValidator is fosite's CoreValidator, which takes every error of the storage for
// an unknown token. This one tells a storage that failed.
type taggingValidator struct{ core *oauth2.CoreValidator }

// IntrospectToken is the validator's, on a view of the storage made for this call.
func (v taggingValidator) IntrospectToken(ctx context.Context, token string, use fosite.TokenUse, request fosite.AccessRequester, scopes []string) (fosite.TokenUse, error) {
	storage := &taggingStorage{CoreStorage: v.core.CoreStorage}
	core := &oauth2.CoreValidator{CoreStrategy: v.core.CoreStrategy, CoreStorage: storage, Config: v.core.Config}
	found, err := core.IntrospectToken(ctx, token, use, request, scopes)
	if err != nil && storage.failed != nil {
		return "", failure(storage.failed)
	}
	return found, err
}

// taggingStorage keeps the error of a look-up that says more than "unknown".
type taggingStorage struct {
	oauth2.CoreStorage
	failed error
}

func (s *taggingStorage) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	request, err := s.CoreStorage.GetAccessTokenSession(ctx, signature, session)
	return request, s.note(err)
}

func (s *taggingStorage) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	request, err := s.CoreStorage.GetRefreshTokenSession(ctx, signature, session)
	return request, s.note(err)
}

func (s *taggingStorage) note(err error) error {
	if err != nil && !errors.Is(err, fosite.ErrNotFound) && !errors.Is(err, fosite.ErrInactiveToken) {
		s.failed = err
	}
	return err
}
