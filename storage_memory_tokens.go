package dcr

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
)

const (
	// memoryShort is how long an entry that is short-lived by its nature stays, where
	// its session does not say.
	memoryShort = 15 * time.Minute
	// memoryMargin is how much longer an entry stays whose absence would weaken a
	// check: a code without its PKCE session is redeemed without a verifier.
	memoryMargin = time.Minute
)

// CreateAuthorizeCodeSession stores the session of a code.
func (s *MemoryStore) CreateAuthorizeCodeSession(_ context.Context, code string, request fosite.Requester) error {
	return s.codes.put(s.now(), s.entry(code, request, expiry{of: fosite.AuthorizeCode, otherwise: memoryShort}))
}

// GetAuthorizeCodeSession returns the session of a code. For a code that was used it
// returns the session and fosite.ErrInvalidatedAuthorizeCode.
func (s *MemoryStore) GetAuthorizeCodeSession(_ context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	return s.session(&s.codes, code, fosite.ErrInvalidatedAuthorizeCode)
}

// InvalidateAuthorizeCodeSession marks a code as used. Of several calls at once exactly
// one succeeds, the others get fosite.ErrInvalidatedAuthorizeCode.
func (s *MemoryStore) InvalidateAuthorizeCodeSession(_ context.Context, code string) error {
	return s.codes.deactivate(s.now(), code, fosite.ErrInvalidatedAuthorizeCode)
}

// CreatePKCERequestSession stores the PKCE session of a code.
func (s *MemoryStore) CreatePKCERequestSession(_ context.Context, signature string, request fosite.Requester) error {
	return s.challenges.put(s.now(), s.entry(signature, request, afterCode))
}

// GetPKCERequestSession returns the PKCE session of a code.
func (s *MemoryStore) GetPKCERequestSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.session(&s.challenges, signature, nil)
}

// DeletePKCERequestSession keeps the PKCE session until it expires with its code. fosite
// calls it before it has compared the verifier, and takes a code without a session without
// any verifier: a wrong one would open the code to whoever tries twice.
func (s *MemoryStore) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession stores the OpenID Connect session of a code.
func (s *MemoryStore) CreateOpenIDConnectSession(_ context.Context, code string, request fosite.Requester) error {
	return s.openIDs.put(s.now(), s.entry(code, request, afterCode))
}

// GetOpenIDConnectSession returns the OpenID Connect session of a code.
func (s *MemoryStore) GetOpenIDConnectSession(_ context.Context, code string, _ fosite.Requester) (fosite.Requester, error) {
	return s.session(&s.openIDs, code, nil)
}

// DeleteOpenIDConnectSession removes the OpenID Connect session of a code. One that is
// unknown is no error.
func (s *MemoryStore) DeleteOpenIDConnectSession(_ context.Context, code string) error {
	s.openIDs.delete(code)
	return nil
}

// CreateAccessTokenSession stores the session of an access token.
func (s *MemoryStore) CreateAccessTokenSession(_ context.Context, signature string, request fosite.Requester) error {
	return s.access.put(s.now(), s.entry(signature, request, expiry{of: fosite.AccessToken}))
}

// GetAccessTokenSession returns the session of an access token that has not expired.
func (s *MemoryStore) GetAccessTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.session(&s.access, signature, nil)
}

// DeleteAccessTokenSession removes an access token. One that is unknown is no error.
func (s *MemoryStore) DeleteAccessTokenSession(_ context.Context, signature string) error {
	s.access.delete(signature)
	return nil
}

// RevokeAccessToken removes the access tokens of a grant.
func (s *MemoryStore) RevokeAccessToken(_ context.Context, requestID string) error {
	s.access.deleteAll(s.access.byRequest, requestID)
	return nil
}

// CreateRefreshTokenSession stores the session of a refresh token.
func (s *MemoryStore) CreateRefreshTokenSession(_ context.Context, signature, _ string, request fosite.Requester) error {
	return s.refresh.put(s.now(), s.entry(signature, request, expiry{of: fosite.RefreshToken}))
}

// GetRefreshTokenSession returns the session of a refresh token that has not expired.
// For one that was used or revoked it returns the session and fosite.ErrInactiveToken.
func (s *MemoryStore) GetRefreshTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.session(&s.refresh, signature, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession removes a refresh token. One that is unknown is no error.
func (s *MemoryStore) DeleteRefreshTokenSession(_ context.Context, signature string) error {
	s.refresh.delete(signature)
	return nil
}

// RevokeRefreshToken makes the refresh tokens of a grant inactive.
func (s *MemoryStore) RevokeRefreshToken(_ context.Context, requestID string) error {
	s.refresh.deactivateRequest(s.now(), requestID)
	return nil
}

// RotateRefreshToken makes a refresh token inactive, and what else was issued for its
// grant. Of several calls at once exactly one succeeds, the others get
// fosite.ErrInactiveToken.
func (s *MemoryStore) RotateRefreshToken(ctx context.Context, requestID string, signature string) error {
	if err := s.refresh.deactivate(s.now(), signature, fosite.ErrInactiveToken); err != nil {
		return err
	}
	s.refresh.deactivateRequest(s.now(), requestID)
	return s.RevokeAccessToken(ctx, requestID)
}

// CreatePARSession stores a pushed request.
func (s *MemoryStore) CreatePARSession(_ context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	e := s.entry(requestURI, request, expiry{of: fosite.PushedAuthorizeRequestContext, otherwise: memoryShort})
	e.pushed = copyAuthorizeRequest(request, e.request)
	return s.pushed.put(s.now(), e)
}

// GetPARSession returns a pushed request that has not expired, a *fosite.AuthorizeRequest.
func (s *MemoryStore) GetPARSession(_ context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	e, err := s.pushed.get(s.now(), requestURI)
	if err != nil {
		return nil, err
	}
	request, err := s.restore(e)
	if err != nil {
		return nil, err
	}
	return copyAuthorizeRequest(e.pushed, request), nil
}

// DeletePARSession removes a pushed request. One that is unknown is no error.
func (s *MemoryStore) DeletePARSession(_ context.Context, requestURI string) error {
	s.pushed.delete(requestURI)
	return nil
}

// RevokeClientGrants removes what a client was granted, as GrantRevoker has it. Codes go
// before their PKCE sessions.
func (s *MemoryStore) RevokeClientGrants(ctx context.Context, clientID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, t := range []*memoryTable{&s.codes, &s.pushed, &s.refresh, &s.access, &s.challenges, &s.openIDs} {
		t.deleteAll(t.byClient, clientID)
	}
	return nil
}

// expiry tells when an entry is dropped: what the session says of a kind of token, or
// otherwise after a time, or never; and so much later.
type expiry struct {
	of        fosite.TokenType
	otherwise time.Duration
	margin    time.Duration
}

// afterCode is for what may not be gone before its code.
var afterCode = expiry{of: fosite.AuthorizeCode, otherwise: memoryShort, margin: memoryMargin}

func (x expiry) at(now time.Time, session fosite.Session) time.Time {
	var end time.Time
	if session != nil {
		end = session.GetExpiresAt(x.of)
	}
	switch {
	case !end.IsZero():
		return end.Add(x.margin)
	case x.otherwise > 0:
		return now.Add(x.otherwise + x.margin)
	}
	return time.Time{}
}

// entry copies a request for storage.
func (s *MemoryStore) entry(key string, request fosite.Requester, x expiry) *memoryEntry {
	e := &memoryEntry{key: key, request: copyRequest(request)}
	if client := request.GetClient(); client != nil {
		e.clientID = client.GetID()
		if e.clientID == "" || strings.HasPrefix(e.clientID, "https://") {
			e.client = client
		}
	}
	e.expires = x.at(s.now(), e.request.Session)
	return e
}

// session returns the copy of a session, and the error inactive with one that is.
func (s *MemoryStore) session(t *memoryTable, key string, inactive error) (fosite.Requester, error) {
	e, err := t.get(s.now(), key)
	if err != nil {
		return nil, err
	}
	request, err := s.restore(e)
	if err != nil {
		return nil, err
	}
	if e.inactive {
		return request, inactive
	}
	return request, nil
}

// restore returns a copy of the request of an entry, with its client as it is now.
func (s *MemoryStore) restore(e memoryEntry) (*fosite.Request, error) {
	client, err := s.GetClient(context.Background(), e.clientID)
	if err != nil && e.client == nil {
		return nil, err
	} else if err != nil {
		client = e.client
	}
	request := copyRequest(e.request)
	request.Client = client
	return request, nil
}

// copyRequest copies everything but the client.
func copyRequest(r fosite.Requester) *fosite.Request {
	c := &fosite.Request{
		ID:                r.GetID(),
		RequestedAt:       r.GetRequestedAt(),
		RequestedScope:    slices.Clone(r.GetRequestedScopes()),
		GrantedScope:      slices.Clone(r.GetGrantedScopes()),
		RequestedAudience: slices.Clone(r.GetRequestedAudience()),
		GrantedAudience:   slices.Clone(r.GetGrantedAudience()),
		Form:              maps.Clone(r.GetRequestForm()),
	}
	for name, values := range c.Form {
		c.Form[name] = slices.Clone(values)
	}
	if session := r.GetSession(); session != nil {
		c.Session = cloneSession(session)
	}
	if spoken, ok := r.(fosite.G11NContext); ok {
		c.Lang = spoken.GetLang()
	}
	return c
}

// cloneSession is session.Clone. The session of registration access tokens is fosite's own,
// whose Clone works by reflection and costs more than the rest of a registration's entry.
func cloneSession(session fosite.Session) fosite.Session {
	plain, ok := session.(*fosite.DefaultSession)
	if !ok || plain == nil || len(plain.Extra) > 0 {
		return session.Clone()
	}
	c := *plain
	c.ExpiresAt, c.Extra = maps.Clone(plain.ExpiresAt), maps.Clone(plain.Extra)
	return &c
}

// copyAuthorizeRequest copies what an authorization request has besides base.
func copyAuthorizeRequest(r fosite.AuthorizeRequester, base *fosite.Request) *fosite.AuthorizeRequest {
	c := &fosite.AuthorizeRequest{
		ResponseTypes:       slices.Clone(r.GetResponseTypes()),
		State:               r.GetState(),
		ResponseMode:        r.GetResponseMode(),
		DefaultResponseMode: r.GetDefaultResponseMode(),
		Request:             *base,
	}
	if uri := r.GetRedirectURI(); uri != nil {
		u := *uri
		c.RedirectURI = &u
	}
	if request, ok := r.(*fosite.AuthorizeRequest); ok {
		c.HandledResponseTypes = slices.Clone(request.HandledResponseTypes)
	}
	return c
}
