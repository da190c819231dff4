// Package memory holds the sessions of an authorization server in memory until they expire:
// authorization codes, PKCE and OpenID Connect sessions, pushed requests, access and refresh
// tokens, and identifiers of client assertions. They are found by key, by request and by
// client, and there are never more of them than a bound says. It knows fosite's interfaces and
// keeps no clients: it asks a function for the client of a session.
//
// It also keeps the documents of clients whose identifiers are URLs, since none goes whose client holds a token.
//
// [Queue] orders keys by a time, for those who keep other things that expire.
package memory

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// Options are what [New] needs. All are required but Slim, Slims, Caller and the grace; bounds have no defaults.
type Options struct {
	// Now is the clock.
	Now func() time.Time
	// Tokens bounds access tokens of users, access tokens without a user (client credentials), and grants
	// with refresh tokens, each for itself.
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
	// Slim reports whether an access token session holds nothing but its client's identifier, its scopes
	// and its expiry, and is none of its client's grants: it is kept in a small table of its own, without a
	// look at its client, and RevokeClientGrants leaves it. nil: every session is a grant.
	Slim func(key string) bool
	// Slims bounds these sessions.
	Slims int
	// RefreshGrace is how long after its first use a refresh token may be used again, RefreshGraceUses how often; zero
	// means never. A grant then has several pairs of tokens, and a rotation ends only the one that it replaces.
	RefreshGrace     time.Duration
	RefreshGraceUses int
	// Caller says who sent the request of a context, "" where that is not known, and whether its client has a document.
	// nil: neither is ever known. What is pushed in the name of a public client, which did not authenticate, is bounded
	// for client and caller, and assertions are bounded for all clients with documents together.
	Caller func(ctx context.Context) (network string, document bool)
}

// Sessions holds sessions until they expire. It is safe for many goroutines.
//
// What has expired is removed a little at a time as new entries come, never in one walk. No session is
// evicted for somebody else's: a table that is full refuses new entries. And nobody fills a table for everybody else:
// of codes, of access tokens and of grants with refresh tokens one user has at most a fiftieth of the table, and
// a tenth of that with one client, and then the oldest of the user's own is evicted. A client whose sessions have no
// subject has half of the table, and is refused beyond. Of pushed requests and access tokens without a user one client
// has at most a hundredth of the table, and loses its own oldest. Every share is at least 100, and that of a user, or
// of a caller who has many public clients, ten times that with one, but for what is more than a tenth of the table.
// Identifiers of assertions are bounded in the same way, where the key is "dcr.<client>.<identifier>", and those of all
// clients with documents together are half of the table, but none is evicted: one that were forgotten early could be
// replayed. A session whose parameters have more than 4 KiB counts as several.
//
// A session is kept with the identifier of its client, and gets the client as it is when the
// session is read. Where the client is gone the session is not found. A client without an
// identifier is kept as it came. Sessions are copied on their way in and out with their Clone method; what comes
// back is the stored session, whatever a Get method is given.
type Sessions struct {
	now    func() time.Time
	client func(ctx context.Context, id string) (fosite.Client, error)
	slim   func(key string) bool
	caller func(ctx context.Context) (network string, document bool)

	codes, challenges, openIDs table
	access                     table
	refresh                    grants
	pushed, machine            table
	assertions                 table
	slims                      slimTable
	documents                  documents
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
	s := &Sessions{now: o.Now, client: o.Client, slim: o.Slim, caller: o.Caller}
	if s.slim == nil {
		s.slim = func(string) bool { return false }
	}
	if s.caller == nil {
		s.caller = func(context.Context) (string, bool) { return "", false }
	}
	full := func(kind string) func() error { return func() error { return o.Full(kind) } }
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
		{&s.machine, "access token without a user", o.Tokens},
		{&s.assertions, "client assertion", o.Assertions},
	} {
		row.table.init(row.limit, full(row.kind))
	}
	s.refresh.init(o.Tokens, full("refresh token"))
	s.refresh.grace, s.refresh.graceUses = o.RefreshGrace, o.RefreshGraceUses
	s.slims = slimTable{limit: o.Slims, full: full("registration access token"), entries: map[[sha256.Size]byte]slimEntry{}}
	s.assertions.refuse = true
	// The PKCE session goes with its code, and never before it.
	s.codes.evicted = func(e *entry) { s.challenges.delete(e.key) }
	s.challenges.refuse = true
	return s
}

// CreateAuthorizeCodeSession stores the session of a code, in place of one with that code.
// It is kept until the session has the code expire, or else for 15 minutes. It fails where the
// store is full.
func (s *Sessions) CreateAuthorizeCodeSession(_ context.Context, code string, request fosite.Requester) error {
	return s.createForUser(&s.codes, code, request, ofCode)
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
	now := s.now()
	e := newEntry(now, signature, request, afterCode)
	e.shares = userShares(s.challenges.limit, e.user(), e.clientID)
	for i := range e.shares { // sessions stay longer than their codes: those who have room for codes have room for these
		e.shares[i].most *= 2
	}
	return s.challenges.put(now, e)
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
	return s.createForUser(&s.openIDs, code, request, afterCode)
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
	if s.slim(signature) {
		return s.slims.put(signature, request)
	}
	now := s.now()
	e := newEntry(now, signature, request, ofAccess)
	if e.withoutUser() {
		e.shares = clientShares(s.machine.limit, e.clientID)
		return s.machine.put(now, e)
	}
	e.shares = userShares(s.access.limit, e.user(), e.clientID)
	return s.access.put(now, e)
}

// GetAccessTokenSession returns a copy of the session of an access token, and
// fosite.ErrNotFound for one that is unknown or has expired. The session argument is ignored, but for a slim
// session, which is read into it, and whose client has nothing but its identifier.
func (s *Sessions) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if s.slim(signature) {
		return s.slims.get(s.now(), signature, session)
	}
	found, err := s.read(ctx, &s.access, signature, nil)
	if errors.Is(err, fosite.ErrNotFound) {
		return s.read(ctx, &s.machine, signature, nil)
	}
	return found, err
}

// DeleteAccessTokenSession removes an access token. One that is unknown is no error.
func (s *Sessions) DeleteAccessTokenSession(_ context.Context, signature string) error {
	switch {
	case s.slim(signature):
		s.slims.delete(signature)
	case !s.access.delete(signature):
		s.machine.delete(signature)
	}
	return nil
}

// RevokeAccessToken removes the access tokens of a grant, which is known by the identifier
// of its request. A grant that is unknown is no error.
func (s *Sessions) RevokeAccessToken(_ context.Context, requestID string) error {
	s.access.deleteRequest(requestID)
	s.machine.deleteRequest(requestID)
	return nil
}

// CreateRefreshTokenSession stores the session of a refresh token, in place of one with that
// signature. It is kept until the session has the token expire, or else until it is removed.
// It fails where the store is full.
func (s *Sessions) CreateRefreshTokenSession(_ context.Context, signature, accessSignature string, request fosite.Requester) error {
	now := s.now()
	e := newEntry(now, request.GetID(), request, ofRefresh)
	e.partner = accessSignature
	e.shares = userShares(s.refresh.limit, e.user(), e.clientID)
	return s.refresh.put(now, signature, e)
}

// GetRefreshTokenSession returns a copy of the session of a refresh token. For one that was
// used or revoked it returns fosite.ErrInactiveToken with the identifier of the request, the
// client and the subject, which is all that is kept; for one that is unknown or has expired
// fosite.ErrNotFound. The session argument is ignored.
func (s *Sessions) GetRefreshTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	e, err := s.refresh.get(s.now(), signature)
	return s.restored(ctx, e, err, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession removes a refresh token. One that was used stays known as used:
// fosite deletes it once its reuse was answered by revoking the grant, and a refresh that was under way may
// have tokens of the grant stored after that. One that is unknown is no error.
func (s *Sessions) DeleteRefreshTokenSession(_ context.Context, signature string) error {
	s.refresh.delete(s.now(), signature)
	return nil
}

// RevokeRefreshToken makes the refresh tokens of a grant inactive, which is known by the
// identifier of its request. The last 64 are remembered until they expire, or for 30 days if
// they never do, so that their use is noticed. A grant that is unknown is no error.
func (s *Sessions) RevokeRefreshToken(_ context.Context, requestID string) error {
	s.refresh.revoke(s.now(), requestID)
	return nil
}

// RotateRefreshToken makes a refresh token inactive, with the other refresh tokens of its
// grant, and removes the access tokens of the grant. Of several calls at once exactly one
// succeeds, the others get fosite.ErrInactiveToken. It returns fosite.ErrNotFound for a token
// that is unknown or has expired. An inactive token is remembered as RevokeRefreshToken says.
//
// With Options.RefreshGrace some of the others succeed, too. Then it removes only the access token that was issued with the
// refresh token.
func (s *Sessions) RotateRefreshToken(ctx context.Context, requestID string, signature string) error {
	switch partner, again, err := s.refresh.rotate(s.now(), requestID, signature); {
	case err != nil || again:
		return err
	case partner != "":
		return s.DeleteAccessTokenSession(ctx, partner)
	}
	return s.RevokeAccessToken(ctx, requestID)
}

// CreatePARSession stores a pushed request, in place of one with that URI. It is kept until
// its session has it expire, or else for 15 minutes. It fails where the store is full.
func (s *Sessions) CreatePARSession(ctx context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	now := s.now()
	e := newEntry(now, requestURI, request, ofPushed)
	e.shares = clientShares(s.pushed.limit, e.clientID)
	if client := request.GetClient(); client != nil && (client.IsPublic() || strings.HasPrefix(e.clientID, "https://")) {
		network, _ := s.caller(ctx)
		e.shares = callerShares(s.pushed.limit, e.clientID, network)
	}
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

// DeletePARSession removes a pushed request. Of several calls at once exactly one succeeds, the others get
// fosite.ErrNotFound, as for one that is unknown: so a request is used once.
func (s *Sessions) DeletePARSession(_ context.Context, requestURI string) error {
	if !s.pushed.delete(requestURI) {
		return fosite.ErrNotFound
	}
	return nil
}

// RevokeClientGrants removes what a client was granted: codes with their sessions, pushed
// requests, access and refresh tokens. A slim session is no grant and stays. A client that is
// unknown is no error. It fails only where ctx is done.
func (s *Sessions) RevokeClientGrants(ctx context.Context, clientID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, t := range []*table{&s.codes, &s.pushed, &s.refresh.table, &s.access, &s.machine, &s.openIDs} {
		t.deleteClient(clientID)
	}
	// A code that came meanwhile keeps its PKCE session: it would be redeemed without a verifier. A code is stored before
	// its session, so one that is not there is gone.
	for _, key := range s.challenges.keysOf(clientID) {
		if _, err := s.codes.get(s.now(), key); err != nil {
			s.challenges.delete(key)
		}
	}
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
func (s *Sessions) SetClientAssertionJWT(ctx context.Context, jti string, expires time.Time) error {
	_, document := s.caller(ctx)
	// fosite accepts an assertion until the end of the second in which it expires.
	e := &entry{timed: timed{key: jti, at: expires.Add(margin)}, shares: assertionShares(s.assertions.limit, jti, document)}
	return s.assertions.putNew(s.now(), e, fosite.ErrJTIKnown)
}

func (s *Sessions) createForUser(t *table, key string, request fosite.Requester, x expiry) error {
	now := s.now()
	e := newEntry(now, key, request, x)
	e.shares = userShares(t.limit, e.user(), e.clientID)
	return t.put(now, e)
}

// read returns a copy of a session, and the error inactive with one that is.
func (s *Sessions) read(ctx context.Context, t *table, key string, inactive error) (fosite.Requester, error) {
	e, err := t.get(s.now(), key)
	return s.restored(ctx, e, err, inactive)
}

// restored returns a copy of the session of an entry that was found, or the error that says that it was not.
func (s *Sessions) restored(ctx context.Context, e entry, err, inactive error) (fosite.Requester, error) {
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
