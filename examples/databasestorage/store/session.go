package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// What a session is for.
const (
	codes          = "code"
	challenges     = "pkce"
	openIDs        = "openid"
	accessTokens   = "access"
	refreshTokens  = "refresh"
	pushedRequests = "pushed"
	// registrationTokens are the entries of registration access tokens, which fosite keeps
	// among the access tokens. They are not grants, and are not removed for their age.
	registrationTokens = "registration"
)

// accessKind returns the kind of a session that fosite keeps among the access tokens.
func accessKind(signature string) string {
	if dcr.IsRegistrationTokenEntry(signature) {
		return registrationTokens
	}
	return accessTokens
}

const (
	// short is the lifetime of codes, of what belongs to them and of pushed requests, where the
	// session has no expiry.
	short = 15 * time.Minute
	// margin is how much longer than its code a session stays that belongs to the code: fosite
	// redeems a code without its PKCE session without a verifier. It is also how much longer the
	// identifier of an assertion is kept, since clocks differ.
	margin = time.Minute
	// reuse is how long a refresh token that never expires is kept after its use, so that a
	// second use is noticed.
	reuse = 30 * 24 * time.Hour
)

// endOf returns when a session expires; the zero time means never.
func endOf(kind string, session fosite.Session, now time.Time) time.Time {
	names := map[string]fosite.TokenType{
		codes: fosite.AuthorizeCode, challenges: fosite.AuthorizeCode, openIDs: fosite.AuthorizeCode,
		accessTokens: fosite.AccessToken, registrationTokens: fosite.AccessToken, refreshTokens: fosite.RefreshToken, pushedRequests: fosite.PushedAuthorizeRequestContext,
	}
	var end time.Time
	if session != nil {
		end = session.GetExpiresAt(names[kind])
	}
	if end.IsZero() && kind != accessTokens && kind != refreshTokens && kind != registrationTokens {
		end = now.Add(short)
	}
	if kind == challenges || kind == openIDs {
		end = end.Add(margin)
	}
	return end
}

// hashed returns what is stored in place of fosite's key, which may be a secret: a whole code or a
// request_uri.
func hashed(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// create stores a session. It replaces one with the same key, but none that was used.
func (s *Store) create(ctx context.Context, kind, key string, request fosite.Requester) error {
	text, err := requestText(request)
	if err != nil {
		return err
	}
	clientID := ""
	if client := request.GetClient(); client != nil {
		clientID = client.GetID()
	}
	_, err = s.exec(ctx, `INSERT INTO sessions (kind, key, request_id, client_id, active, requested_at, expires_at, request)
		VALUES ($1, $2, $3, $4, true, $5, $6, $7)
		ON CONFLICT (kind, key) DO UPDATE SET request_id = excluded.request_id, client_id = excluded.client_id,
			requested_at = excluded.requested_at, expires_at = excluded.expires_at, request = excluded.request
		WHERE sessions.active`, kind, hashed(key), request.GetID(), clientID,
		nanoseconds(request.GetRequestedAt()), orNull(endOf(kind, request.GetSession(), s.options.Now())), text)
	return err
}

// session reads a session into the value that fosite gives, or into a new one, and returns its
// request with the client as it is now. Where the session is not active, it returns the request and
// the error inactive.
func (s *Store) session(ctx context.Context, kind, key string, into fosite.Session, inactive error) (*fosite.AuthorizeRequest, error) {
	var id, clientID, text string
	var active bool
	err := s.db.QueryRowContext(ctx, `SELECT request_id, client_id, active, request FROM sessions
		WHERE kind = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > $3)`,
		kind, hashed(key), nanoseconds(s.options.Now())).Scan(&id, &clientID, &active, &text)
	if err != nil {
		return nil, explained(ctx, err)
	}
	if into == nil {
		into = s.options.NewSession()
	}
	request, err := requestOf(text, into)
	if err != nil {
		return nil, err
	}
	request.ID = id
	// Without its client a grant does not exist any more.
	if request.Client, err = s.GetClient(ctx, clientID); err != nil {
		return nil, err
	}
	if !active {
		return request, inactive
	}
	return request, nil
}

// request is session for all kinds but pushed requests.
func (s *Store) request(ctx context.Context, kind, key string, into fosite.Session, inactive error) (fosite.Requester, error) {
	found, err := s.session(ctx, kind, key, into, inactive)
	if found == nil {
		return nil, err
	}
	return &found.Request, err
}

// delete removes a session. An unknown one is no error.
func (s *Store) delete(ctx context.Context, kind, key string) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE kind = $1 AND key = $2`, kind, hashed(key))
	return err
}

// use removes a session that is good for once. Of several calls at once one succeeds, the others return
// fosite.ErrNotFound.
func (s *Store) use(ctx context.Context, kind, key string) error {
	removed, err := s.exec(ctx, `DELETE FROM sessions WHERE kind = $1 AND key = $2`, kind, hashed(key))
	if err == nil && removed == 0 {
		return fosite.ErrNotFound
	}
	return err
}

// execer is a database or a transaction.
type execer interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// deactivate marks a session as used. Of several calls at once one succeeds, the others return the
// error already.
func (s *Store) deactivate(ctx context.Context, db execer, kind, key string, already error) error {
	now := s.options.Now()
	result, err := db.ExecContext(ctx, `UPDATE sessions SET active = false, expires_at = coalesce(expires_at, $4)
		WHERE kind = $1 AND key = $2 AND active AND (expires_at IS NULL OR expires_at > $3)`,
		kind, hashed(key), nanoseconds(now), nanoseconds(now.Add(reuse)))
	if err != nil {
		return explained(ctx, err)
	}
	if changed, err := result.RowsAffected(); err != nil || changed > 0 {
		return err
	}
	var one int
	err = db.QueryRowContext(ctx, `SELECT 1 FROM sessions WHERE kind = $1 AND key = $2 AND expires_at > $3`,
		kind, hashed(key), nanoseconds(now)).Scan(&one)
	if err != nil {
		return explained(ctx, err)
	}
	return already
}

// deactivateRequest marks all sessions of one grant as used.
func (s *Store) deactivateRequest(ctx context.Context, db execer, kind, requestID string) error {
	_, err := db.ExecContext(ctx, `UPDATE sessions SET active = false, expires_at = coalesce(expires_at, $3)
		WHERE kind = $1 AND request_id = $2`, kind, requestID, nanoseconds(s.options.Now().Add(reuse)))
	return explained(ctx, err)
}

// deleteRequest removes all sessions of one kind and one grant.
func (s *Store) deleteRequest(ctx context.Context, db execer, kind, requestID string) error {
	_, err := db.ExecContext(ctx, `DELETE FROM sessions WHERE kind = $1 AND request_id = $2`, kind, requestID)
	return explained(ctx, err)
}

// RevokeClientGrants removes all codes, tokens and pushed requests of a client, all at once. It keeps
// the entry of its registration access token.
func (s *Store) RevokeClientGrants(ctx context.Context, clientID string) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE client_id = $1 AND kind <> $2`, clientID, registrationTokens)
	return err
}

// DeleteOldSessions removes sessions that were requested before a time, whether they have
// expired or not. It keeps registration access tokens: a client can be managed for as long as it
// is registered.
func (s *Store) DeleteOldSessions(ctx context.Context, before time.Time) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE requested_at < $1 AND kind <> $2`, nanoseconds(before), registrationTokens)
	return err
}

// DeleteExpiredSessions removes sessions and identifiers of assertions that have expired. An
// application calls it now and then, as it calls Provider.Sweep.
func (s *Store) DeleteExpiredSessions(ctx context.Context) error {
	now := nanoseconds(s.options.Now())
	_, sessions := s.exec(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, now)
	_, assertions := s.exec(ctx, `DELETE FROM assertions WHERE expires_at <= $1`, now)
	return errors.Join(sessions, assertions)
}
