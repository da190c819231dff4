// Package memory holds the sessions of an authorization server in memory until they expire:
// authorization codes, PKCE and OpenID Connect sessions, pushed requests, access and refresh
// tokens, and identifiers of client assertions. They are found by key, by request and by
// client, and there are never more of them than a bound says. It knows fosite's interfaces and
// keeps no clients: it asks a function for the client of a session.
//
// [Queue] orders keys by a time, for those who keep other things that expire.
package memory

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// Options are what [New] needs. All are required but Spare; bounds have no defaults.
type Options struct {
	// Now is the clock.
	Now func() time.Time
	// Tokens bounds access tokens, and refresh tokens as many again.
	Tokens int
	// Codes bounds authorization codes, and as many each of PKCE sessions, OpenID Connect
	// sessions and pushed requests.
	Codes int
	// Assertions bounds identifiers of client assertions ("jti").
	Assertions int
	// Client finds the client of a session when the session is read. It gets the context of
	// the caller. It returns fosite.ErrNotFound for a client that is gone; the session is not
	// found then, unless it was stored with the client itself. Any other error is returned as
	// it is. It is called without a lock.
	Client func(ctx context.Context, id string) (fosite.Client, error)
	// Full makes the error of a table that has no room for another entry of a kind, for
	// example "authorization code". It is called under a lock and may not call Sessions.
	Full func(kind string) error
	// Spare reports whether an access token entry is none of its client's grants, so that
	// RevokeClientGrants leaves it. nil: every entry is a grant. It is called under a lock and
	// may not call Sessions.
	Spare func(key string) bool
}

// Sessions holds sessions until they expire. It is safe for many goroutines.
//
// What has expired is removed a little at a time as new entries come, never in one walk.
// Where there is no room for a new entry it is refused, and none is evicted: an identifier of
// an assertion that were forgotten early could be replayed, and a PKCE session that were gone
// would let its code pass without a verifier.
//
// A session is kept with the identifier of its client, and gets the client as it is when the
// session is read. Where the client is gone the session is not found. A client without an
// identifier, or whose identifier is an https URL that Options.Client does not know, is kept
// as it came. Sessions are copied on their way in and out with their Clone method; what comes
// back is the stored session, whatever a Get method is given.
type Sessions struct {
	now    func() time.Time
	client func(ctx context.Context, id string) (fosite.Client, error)
	spare  func(key string) bool

	codes, challenges, openIDs, pushed table
	access, refresh                    table
	assertions                         table
}

var (
	_ oauth2.CoreStorage                 = (*Sessions)(nil)
	_ oauth2.TokenRevocationStorage      = (*Sessions)(nil)
	_ pkce.PKCERequestStorage            = (*Sessions)(nil)
	_ openid.OpenIDConnectRequestStorage = (*Sessions)(nil)
	_ fosite.PARStorage                  = (*Sessions)(nil)
)

// New returns Sessions that hold nothing yet.
func New(o Options) *Sessions {
	s := &Sessions{now: o.Now, client: o.Client, spare: o.Spare}
	for _, row := range []struct {
		table *table
		kind  string
		limit int
	}{
		{&s.codes, "authorization code", o.Codes},
		{&s.challenges, "PKCE session", o.Codes},
		{&s.openIDs, "OpenID Connect session", o.Codes},
		{&s.pushed, "pushed request", o.Codes},
		{&s.access, "access token", o.Tokens},
		{&s.refresh, "refresh token", o.Tokens},
		{&s.assertions, "client assertion", o.Assertions},
	} {
		row.table.init(row.limit, func() error { return o.Full(row.kind) })
	}
	return s
}

// CreateAuthorizeCodeSession stores the session of a code, in place of one with that code.
// It is kept until the session has the code expire, or else for 15 minutes. It fails where the
// store is full.
func (s *Sessions) CreateAuthorizeCodeSession(_ context.Context, code string, request fosite.Requester) error {
	return s.create(&s.codes, code, request, ofCode)
}

// GetAuthorizeCodeSession returns a copy of the session of a code. For a code that was used
// it returns the session and fosite.ErrInvalidatedAuthorizeCode, for one that is unknown or
// has expired fosite.ErrNotFound. The session argument is ignored.
func (s *Sessions) GetAuthorizeCodeSession(ctx context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	return s.read(ctx, &s.codes, code, fosite.ErrInvalidatedAuthorizeCode)
}

// InvalidateAuthorizeCodeSession marks a code as used. Of several calls at once exactly one
// succeeds, the others get fosite.ErrInvalidatedAuthorizeCode. It returns fosite.ErrNotFound
// for a code that is unknown or has expired.
func (s *Sessions) InvalidateAuthorizeCodeSession(_ context.Context, code string) error {
	return s.codes.deactivate(s.now(), code, fosite.ErrInvalidatedAuthorizeCode)
}

// CreatePKCERequestSession stores the PKCE session of a code, in place of one with that
// code. It is kept for a minute longer than the code. It fails where the store is full.
func (s *Sessions) CreatePKCERequestSession(_ context.Context, signature string, request fosite.Requester) error {
	return s.create(&s.challenges, signature, request, afterCode)
}

// GetPKCERequestSession returns a copy of the PKCE session of a code, and fosite.ErrNotFound
// for one that is unknown or has expired. The session argument is ignored.
func (s *Sessions) GetPKCERequestSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.read(ctx, &s.challenges, signature, nil)
}

// DeletePKCERequestSession keeps the PKCE session until it expires with its code. fosite
// calls it before it has compared the verifier, and accepts a code that has no PKCE session
// without any verifier: after one attempt with a wrong verifier, a second would succeed.
func (s *Sessions) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession stores the OpenID Connect session of a code, in place of one
// with that code. It is kept for a minute longer than the code. It fails where the store is
// full.
func (s *Sessions) CreateOpenIDConnectSession(_ context.Context, code string, request fosite.Requester) error {
	return s.create(&s.openIDs, code, request, afterCode)
}

// GetOpenIDConnectSession returns a copy of the OpenID Connect session of a code, and
// fosite.ErrNotFound for one that is unknown or has expired. The request argument is ignored.
func (s *Sessions) GetOpenIDConnectSession(ctx context.Context, code string, _ fosite.Requester) (fosite.Requester, error) {
	return s.read(ctx, &s.openIDs, code, nil)
}

// DeleteOpenIDConnectSession removes the OpenID Connect session of a code. One that is
// unknown is no error.
func (s *Sessions) DeleteOpenIDConnectSession(_ context.Context, code string) error {
	s.openIDs.delete(code)
	return nil
}

// CreateAccessTokenSession stores the session of an access token, in place of one with that
// signature. It is kept until the session has the token expire, or else until it is removed.
// It fails where the store is full.
func (s *Sessions) CreateAccessTokenSession(_ context.Context, signature string, request fosite.Requester) error {
	return s.create(&s.access, signature, request, ofAccess)
}

// GetAccessTokenSession returns a copy of the session of an access token, and
// fosite.ErrNotFound for one that is unknown or has expired. The session argument is ignored.
func (s *Sessions) GetAccessTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.read(ctx, &s.access, signature, nil)
}

// DeleteAccessTokenSession removes an access token. One that is unknown is no error.
func (s *Sessions) DeleteAccessTokenSession(_ context.Context, signature string) error {
	s.access.delete(signature)
	return nil
}

// RevokeAccessToken removes the access tokens of a grant, which is known by the identifier
// of its request. A grant that is unknown is no error.
func (s *Sessions) RevokeAccessToken(_ context.Context, requestID string) error {
	s.access.deleteRequest(requestID)
	return nil
}

// CreateRefreshTokenSession stores the session of a refresh token, in place of one with that
// signature. It is kept until the session has the token expire, or else until it is removed.
// It fails where the store is full.
func (s *Sessions) CreateRefreshTokenSession(_ context.Context, signature, _ string, request fosite.Requester) error {
	return s.create(&s.refresh, signature, request, ofRefresh)
}

// GetRefreshTokenSession returns a copy of the session of a refresh token. For one that was
// used or revoked it returns the session and fosite.ErrInactiveToken, for one that is unknown
// or has expired fosite.ErrNotFound. The session argument is ignored.
func (s *Sessions) GetRefreshTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.read(ctx, &s.refresh, signature, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession removes a refresh token. One that is unknown is no error.
func (s *Sessions) DeleteRefreshTokenSession(_ context.Context, signature string) error {
	s.refresh.delete(signature)
	return nil
}

// RevokeRefreshToken makes the refresh tokens of a grant inactive, which is known by the
// identifier of its request. They are kept until they expire, or for 30 days if they never
// do, so that their use is noticed. A grant that is unknown is no error.
func (s *Sessions) RevokeRefreshToken(_ context.Context, requestID string) error {
	s.refresh.deactivateRequest(s.now(), requestID)
	return nil
}

// RotateRefreshToken makes a refresh token inactive, with the other refresh tokens of its
// grant, and removes the access tokens of the grant. Of several calls at once exactly one
// succeeds, the others get fosite.ErrInactiveToken. It returns fosite.ErrNotFound for a token
// that is unknown or has expired. An inactive token is kept as RevokeRefreshToken says.
func (s *Sessions) RotateRefreshToken(ctx context.Context, requestID string, signature string) error {
	if err := s.refresh.deactivate(s.now(), signature, fosite.ErrInactiveToken); err != nil {
		return err
	}
	s.refresh.deactivateRequest(s.now(), requestID)
	return s.RevokeAccessToken(ctx, requestID)
}

// CreatePARSession stores a pushed request, in place of one with that URI. It is kept until
// its session has it expire, or else for 15 minutes. It fails where the store is full.
func (s *Sessions) CreatePARSession(_ context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	now := s.now()
	e := newEntry(now, requestURI, request, ofPushed)
	e.pushed = copyAuthorizeRequest(request, e.request)
	return s.pushed.put(now, e)
}

// GetPARSession returns a copy of a pushed request, a *fosite.AuthorizeRequest, and
// fosite.ErrNotFound for one that is unknown or has expired.
func (s *Sessions) GetPARSession(ctx context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	e, err := s.pushed.get(s.now(), requestURI)
	if err != nil {
		return nil, err
	}
	request, err := s.restore(ctx, e)
	if err != nil {
		return nil, err
	}
	return copyAuthorizeRequest(e.pushed, request), nil
}

// DeletePARSession removes a pushed request. One that is unknown is no error.
func (s *Sessions) DeletePARSession(_ context.Context, requestURI string) error {
	s.pushed.delete(requestURI)
	return nil
}

// RevokeClientGrants removes what a client was granted: codes with their sessions, pushed
// requests, access and refresh tokens. A registration access token is no grant and stays. A
// client that is unknown is no error. It fails only where ctx is done.
func (s *Sessions) RevokeClientGrants(ctx context.Context, clientID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.codes.deleteClient(clientID, nil)
	s.pushed.deleteClient(clientID, nil)
	s.refresh.deleteClient(clientID, nil)
	s.access.deleteClient(clientID, s.spare)
	// After the codes: a code without its PKCE session is redeemed without a verifier.
	s.challenges.deleteClient(clientID, nil)
	s.openIDs.deleteClient(clientID, nil)
	return nil
}

// ClientAssertionJWTValid returns fosite.ErrJTIKnown for the identifier of a client
// assertion ("jti") that is known and has not expired.
func (s *Sessions) ClientAssertionJWTValid(_ context.Context, jti string) error {
	if _, err := s.assertions.get(s.now(), jti); err == nil {
		return fosite.ErrJTIKnown
	}
	return nil
}

// SetClientAssertionJWT records the identifier of a client assertion ("jti") until a minute
// after it expires. Of several calls at once with one identifier exactly one succeeds, the
// others get fosite.ErrJTIKnown. It fails where the store is full.
func (s *Sessions) SetClientAssertionJWT(_ context.Context, jti string, expires time.Time) error {
	// fosite accepts an assertion until the end of the second in which it expires.
	e := &entry{timed: timed{key: jti, at: expires.Add(margin)}}
	return s.assertions.putNew(s.now(), e, fosite.ErrJTIKnown)
}

func (s *Sessions) create(t *table, key string, request fosite.Requester, x expiry) error {
	now := s.now()
	return t.put(now, newEntry(now, key, request, x))
}

// read returns a copy of a session, and the error inactive with one that is.
func (s *Sessions) read(ctx context.Context, t *table, key string, inactive error) (fosite.Requester, error) {
	e, err := t.get(s.now(), key)
	if err != nil {
		return nil, err
	}
	request, err := s.restore(ctx, e)
	if err != nil {
		return nil, err
	}
	if e.inactive {
		return request, inactive
	}
	return request, nil
}

// restore returns a copy of the request of an entry, with its client as it is now.
func (s *Sessions) restore(ctx context.Context, e entry) (*fosite.Request, error) {
	client, err := s.client(ctx, e.clientID)
	switch {
	case errors.Is(err, fosite.ErrNotFound) && e.client != nil:
		client = e.client
	case err != nil:
		return nil, err
	}
	request := copyRequest(e.request)
	request.Client = client
	return request, nil
}
