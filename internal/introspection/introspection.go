// Package introspection answers requests at the introspection endpoint (RFC 7662): as fosite does for most clients, and
// for guarded ones with their own tokens only.
package introspection

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/configview"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/tokens"
)

// Endpoint is the introspection endpoint. All fields are required.
type Endpoint struct {
	// Fosite finds and authenticates clients, and answers those that are not guarded.
	Fosite *fosite.Fosite
	// Guarded reports whether a client sees its own tokens only.
	Guarded func(fosite.Client) bool
	// Introspect finds out what a token is.
	Introspect func(ctx context.Context, token string, use fosite.TokenUse, session fosite.Session, scopes ...string) (fosite.TokenUse, fosite.AccessRequester, error)
	// Fault returns the answer to a failure of the server that lies in the chain of an error, or nil.
	Fault func(error) error
	// InvalidToken answers a caller whose own access token is no good, TwoTokens one that sends two.
	InvalidToken, TwoTokens *fosite.RFC6749Error
}

// Answer answers a request whose form was read. Beside an error the response is inactive.
func (e *Endpoint) Answer(ctx context.Context, r *http.Request, session fosite.Session) (fosite.IntrospectionResponder, error) {
	response, err := e.answer(ctx, r, session)
	return response, e.refusal(r, err)
}

func (e *Endpoint) answer(ctx context.Context, r *http.Request, session fosite.Session) (fosite.IntrospectionResponder, error) {
	if request.OneToken(r) != nil {
		return inactive(), e.TwoTokens
	}
	if err := request.NoQueryCredentials(r); err != nil || r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		return inactive(), fosite.ErrRequestUnauthorized.WithHint("Client credentials must not be sent in the query of the URL.").WithWrap(err)
	}
	caller, err := e.caller(ctx, r, session)
	if err != nil {
		return inactive(), err
	}
	if caller.ownOnly {
		return e.own(ctx, r, session, caller)
	}
	response, err := e.Fosite.NewIntrospectionRequest(ctx, r, session)
	if err != nil || response.GetTokenUse() != fosite.RefreshToken {
		return response, err
	}
	found := response.GetAccessRequester()
	if found.GetClient().GetID() != caller.id {
		return inactive(), errNotOwn
	}
	tokens.ShowRefreshEnd(found)
	return response, nil
}

// refusal says of a caller who is not authenticated what RFC 7662, section 2.3, wants.
func (e *Endpoint) refusal(r *http.Request, err error) error {
	if !errors.Is(err, fosite.ErrRequestUnauthorized) || errors.Is(err, fosite.ErrInactiveToken) {
		return err
	}
	answer := fosite.ErrInvalidClient
	if _, bearer, _ := request.Bearer(r); bearer {
		answer = e.InvalidToken
	}
	return answer.WithHint(fosite.ErrorToRFC6749Error(err).HintField).WithWrap(err)
}

// own answers a client that may introspect its own tokens only.
func (e *Endpoint) own(ctx context.Context, r *http.Request, session fosite.Session, caller caller) (fosite.IntrospectionResponder, error) {
	token, hint := r.PostForm.Get("token"), fosite.TokenUse(r.PostForm.Get("token_type_hint"))
	if caller.token != "" && caller.token != token {
		return inactive(), errNotOwn
	}
	use, found, err := e.Introspect(ctx, token, hint, session, fosite.RemoveEmpty(strings.Split(r.PostForm.Get("scope"), " "))...)
	switch {
	case e.Fault(err) != nil:
		return inactive(), err
	case err != nil:
		return inactive(), fosite.ErrInactiveToken.WithWrap(err)
	case found.GetClient().GetID() != caller.id:
		return inactive(), errNotOwn
	}
	response := &fosite.IntrospectionResponse{Active: true, AccessRequester: found, TokenUse: use}
	if use == fosite.AccessToken {
		response.AccessTokenType = fosite.BearerAccessToken
	} else {
		tokens.ShowRefreshEnd(found)
	}
	return response, nil
}

var errNotOwn = fosite.ErrInactiveToken.WithHint("The client may introspect its own tokens only.")

func inactive() *fosite.IntrospectionResponse { return &fosite.IntrospectionResponse{} }

// caller is who asks for introspection, as far as that is known before fosite has decided.
type caller struct {
	id      string
	token   string // of the Bearer scheme; empty where the client authenticated
	ownOnly bool   // a client that registered itself, and is authenticated
}

func (e *Endpoint) caller(ctx context.Context, r *http.Request, session fosite.Session) (who caller, err error) {
	if r.Method != http.MethodPost || session == nil {
		return who, nil
	}
	token := accessToken(r)
	switch {
	case !request.IsToken(token):
		return who, fosite.ErrRequestUnauthorized.WithHint("The access token is malformed.")
	case token != "":
		return e.bearer(ctx, token, session.Clone())
	}
	if who.id = claimedClientID(r); who.id == "" {
		return who, nil
	}
	client, err := e.Fosite.Store.GetClient(ctx, who.id)
	if err != nil || !e.Guarded(client) {
		return who, e.faultOnly(err)
	}
	if client.IsPublic() {
		return who, fosite.ErrRequestUnauthorized.WithHint("A public client can not introspect tokens.")
	}
	authenticated, err := e.Fosite.AuthenticateClient(ctx, r, r.PostForm)
	if fault := e.Fault(err); fault != nil {
		return who, fault
	}
	if err != nil {
		return who, fosite.ErrRequestUnauthorized.WithHint("OAuth 2.0 Client credentials are invalid.").WithWrap(err)
	}
	return caller{id: authenticated.GetID(), ownOnly: true}, nil
}

// accessToken is fosite.AccessTokenFromRequest of a request whose form was read.
func accessToken(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return token
	}
	return r.Form.Get("access_token")
}

// bearer is a caller with an access token of the Bearer scheme.
func (e *Endpoint) bearer(ctx context.Context, token string, session fosite.Session) (who caller, err error) {
	use, request, err := e.Introspect(ctx, token, fosite.AccessToken, session)
	if err != nil || use != fosite.AccessToken || request.GetClient() == nil {
		return who, e.faultOnly(err)
	}
	who.id = request.GetClient().GetID()
	if who.id == "" && configview.Stored(ctx, e.Fosite.Config.GetTokenIntrospectionHandlers(ctx), token, session) {
		return who, nil // issued by a grant without client authentication
	}
	client, err := e.Fosite.Store.GetClient(ctx, who.id)
	switch {
	case e.Fault(err) != nil:
		return who, err
	case err != nil: // no client that is known: a JWT without client_id, an ID token
		return who, fosite.ErrRequestUnauthorized.WithHint("The access token does not say whose it is.")
	case e.Guarded(client):
		who.token, who.ownOnly = token, true
	}
	return who, nil
}

// faultOnly keeps the server's own failures; the rest is for fosite to say.
func (e *Endpoint) faultOnly(err error) error {
	if e.Fault(err) != nil {
		return err
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
