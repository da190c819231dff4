package dcr

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// handler is what the factory returns and fosite composes. It implements four of
// fosite's handler interfaces, each for a reason of its own, and Extend finds it
// again through them.
type handler struct {
	registry *registry
	// fallback makes registration access tokens where the composed strategy can't.
	fallback      oauth2.AccessTokenStrategy
	lacks         []error
	composedTwice bool
}

var (
	_ fosite.AuthorizeEndpointHandler = (*handler)(nil)
	_ fosite.TokenEndpointHandler     = (*handler)(nil)
	_ fosite.TokenIntrospector        = (*handler)(nil)
	_ fosite.RevocationHandler        = (*handler)(nil)
)

func (h *handler) lack(what string) { h.lacks = append(h.lacks, errors.New(what)) }

// HandleAuthorizeEndpointRequest is a gate: it refuses what the registration of a
// client rules out. It runs last, early enough to refuse. NewAuthorizeRequest of the
// provider has asked the same before anybody was asked for consent; this holds for hosts
// that make the request by other means.
func (h *handler) HandleAuthorizeEndpointRequest(ctx context.Context, request fosite.AuthorizeRequester, response fosite.AuthorizeResponder) error {
	if client, ok := request.GetClient().(*Client); ok && response.GetCode() != "" {
		if err := h.registry.checkGrants(ctx, client, request.GetID()); err != nil {
			return fosite.ErrAccessDenied.WithHint("All grants of the client were revoked.").WithWrap(err)
		}
	}
	return h.registry.gate(request)
}

func (r *registry) gate(request fosite.AuthorizeRequester) error {
	if request.GetRequestedScopes().Has(r.cfg.RegistrationToken.Scope) {
		return errReservedScope
	}
	client, ok := request.GetClient().(*Client)
	if !ok {
		return nil
	}
	return r.gateClient(client, request)
}

func (r *registry) gateClient(client *Client, request fosite.AuthorizeRequester) error {
	if client.requiresPush() && !client.view.pushed {
		return fosite.ErrInvalidRequest.WithHint("This client must push its authorization requests (RFC 9126), but did not.")
	}
	return r.requirePKCE(client, request)
}

// requiresPush: a request counts as pushed where the provider's Store says so. The form
// can't be trusted: a request object can put a request_uri into it (T58).
func (c *Client) requiresPush() bool {
	m := c.Metadata.Companion
	return m != nil && m.RequirePushedAuthorizationRequests != nil && *m.RequirePushedAuthorizationRequests
}

var errReservedScope = fosite.ErrInvalidScope.WithHint("The scope of registration access tokens can not be granted.")

// needsPKCE: public clients, and those of which a policy wants it.
func (c *Client) needsPKCE() bool { return c.IsPublic() || c.RequirePKCE }

// requirePKCE: such a client gets no code without PKCE, whatever fosite's
// configuration says (RFC 9700, section 2.1.1).
func (r *registry) requirePKCE(client *Client, request fosite.AuthorizeRequester) error {
	if !client.needsPKCE() || !request.GetResponseTypes().Has(responseCode) {
		return nil
	}
	form := request.GetRequestForm()
	switch {
	case form.Get("code_challenge") == "":
		return fosite.ErrInvalidRequest.WithHint("This client must include a code_challenge (RFC 7636), but it is missing.")
	case form.Get("code_challenge_method") != "S256" && (client.RequirePKCE || !r.cfg.AllowPlainPKCE):
		return fosite.ErrInvalidRequest.WithHint("This client must use code_challenge_method=S256.")
	}
	return nil
}

// CanHandleTokenEndpointRequest says no: the handler observes.
func (h *handler) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return false
}

// CanSkipClientAuth says no.
func (h *handler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest is not called, and handles nothing if it is.
func (h *handler) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

// PopulateTokenEndpointResponse, which fosite calls on every handler, notes that a
// registered client was given a token, and until when its refresh token lives.
func (h *handler) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	client, ok := request.GetClient().(*Client)
	if !ok || response.GetAccessToken() == "" {
		return fosite.ErrUnknownRequest
	}
	if err := h.registry.checkGrants(ctx, client, request.GetID()); err != nil {
		return err
	}
	if h.registry.uses == nil {
		return fosite.ErrUnknownRequest
	}
	now, keepUntil := h.registry.now(), time.Time{}
	if refresh, _ := response.GetExtra("refresh_token").(string); refresh != "" && request.GetSession() != nil {
		if keepUntil = request.GetSession().GetExpiresAt(fosite.RefreshToken); keepUntil.IsZero() {
			keepUntil = now.Add(entryLifetime) // one that never ends
		}
	}
	h.registry.touch(ctx, client, now, keepUntil)
	return fosite.ErrUnknownRequest
}

// checkGrants refuses a request that was under way while all grants of its client were revoked:
// what it has stored since the removal would live on. Client is the record that the request
// began with. An odd count says that a removal is under way, or was cut short: then it is
// done again.
func (r *registry) checkGrants(ctx context.Context, client *Client, requestID string) error {
	if r.grants == nil || strings.HasPrefix(client.ID, "https://") { // a document's client is in no storage
		return nil
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	now, err := r.clients.GetDynamicClient(cleanup, client.ID)
	for tries := 0; err != nil && !errors.Is(err, fosite.ErrNotFound) && tries < 2; tries++ {
		now, err = r.clients.GetDynamicClient(cleanup, client.ID)
	}
	switch {
	case errors.Is(err, fosite.ErrNotFound): // its tokens are dead with it
	case err != nil || now == nil:
		// The code or refresh token is spent already: a failure now would cost the user the grant.
		r.leftover(ctx, client.ID, firstOf(err, errNilClient))
		return nil
	case now.GrantsRevoked == client.GrantsRevoked && now.GrantsRevoked%2 == 0 && now.CreatedAt.Equal(client.CreatedAt):
		return nil
	case now.GrantsRevoked%2 == 1: // an identifier that came back has another CreatedAt
		if err := r.removeGrants(cleanup, now); err != nil {
			r.leftover(ctx, client.ID, err)
		}
	}
	if r.revocation != nil { // nobody will learn of these tokens
		for _, remove := range []func(context.Context, string) error{r.revocation.RevokeAccessToken, r.revocation.RevokeRefreshToken} {
			if err := remove(cleanup, requestID); err != nil && !errors.Is(err, fosite.ErrNotFound) {
				r.leftover(ctx, client.ID, err)
			}
		}
	}
	return fosite.ErrInvalidGrant.WithHint("All grants of the client were revoked.")
}

// touchInterval is how exact LastUsedAt and KeepUntil are: a client that is used all
// the time costs one write in so long.
const touchInterval = time.Minute

func (r *registry) touch(ctx context.Context, client *Client, now, keepUntil time.Time) {
	if now.Before(client.LastUsedAt.Add(touchInterval)) && keepUntil.Before(client.KeepUntil.Add(touchInterval)) {
		return
	}
	// The token is issued already; what can't be noted is told and does no harm.
	if err := r.uses.TouchClient(ctx, client.ID, now, keepUntil); err != nil {
		r.leftover(ctx, client.ID, err)
	}
}

// IntrospectToken is a veto: the token of a client that is gone is inactive, in
// whatever storage it lies (T36). It runs after the handlers that found the token.
func (h *handler) IntrospectToken(ctx context.Context, _ string, _ fosite.TokenUse, request fosite.AccessRequester, _ []string) (fosite.TokenUse, error) {
	if h.registry.store == nil {
		return "", failure(errNotExtended)
	}
	if request.GetClient() == nil {
		return "", fosite.ErrUnknownRequest
	}
	id := request.GetClient().GetID()
	// Nobody is named by a self-contained JWT without client_id, and an https
	// identifier may be that of a document, which is not fetched for this.
	if id == "" || strings.HasPrefix(id, "https://") {
		return "", fosite.ErrUnknownRequest
	}
	_, err := h.registry.store.GetClient(ctx, id)
	switch {
	case errors.Is(err, fosite.ErrNotFound):
		return "", fosite.ErrInactiveToken.WithHint("The client of the token does not exist.")
	case err != nil:
		return "", err
	}
	return "", fosite.ErrUnknownRequest
}

// RevokeToken lets a client revoke its own registration access token (RFC 7009).
// Its entry goes, and without the entry the token is dead.
func (h *handler) RevokeToken(ctx context.Context, token string, _ fosite.TokenType, client fosite.Client) error {
	r := h.registry
	registered, ok := client.(*Client)
	if !ok || r.store == nil || r.cfg.Management.Off || !r.isRegistrationToken(ctx, registered, token) {
		return fosite.ErrUnknownRequest
	}
	record := registered.tokenRecord(r.strategy.AccessTokenSignature(ctx, token))
	if err := r.removeEntry(ctx, record); err != nil {
		return &fault{err}
	}
	return nil
}
