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
	// among the access tokens. They are no grants, and have no age.
	registrationTokens = "registration"
)

// accessKind is the kind of what lies among the access tokens.
func accessKind(signature string) string {
	if dcr.IsRegistrationTokenEntry(signature) {
		return registrationTokens
	}
	return accessTokens
}

const (
	// short is how long what is short-lived by its nature stays, where its session does not
	// say.
	short = 15 * time.Minute
	// margin is how much longer that stays which may not be gone before the code that it
	// belongs to: a code without its PKCE session is redeemed without a verifier. It is also
	// how much longer the identifier of an assertion is remembered, since clocks differ.
	margin = time.Minute
	// reuse is how long a refresh token without an end is remembered after its use, so that
	// a second use is noticed.
	reuse = 30 * 24 * time.Hour
)

// endOf returns when a session may go; the zero time means never.
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

// hashed is what stands in the place of fosite's key, which may be a whole code or a
// request_uri.
func hashed(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// create stores a session, in place of one with that key.
func (s *Store) create(ctx context.Context, kind, key string, request fosite.Requester) error {
	text, err := requestText(request)
	if err != nil {
		return err
	}
	clientID := ""
	if client := request.GetClient(); client != nil {
		clientID = client.GetID()
	}
	_, err = s.exec(ctx, `INSERT OR REPLACE INTO sessions (kind, key, request_id, client_id, active, requested_at, expires_at, request)
		VALUES ($1, $2, $3, $4, true, $5, $6, $7)`, kind, hashed(key), request.GetID(), clientID,
		nanoseconds(request.GetRequestedAt()), orNull(endOf(kind, request.GetSession(), s.options.Now())), text)
	return err
}

// session reads a session into the value that fosite has for it, or into a new one, and
// returns it with its client as that is now. With one that is not active comes the error
// inactive.
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
	// Where the client is gone, so is what it was granted.
	if request.Client, err = s.GetClient(ctx, clientID); err != nil {
		return nil, err
	}
	if !active {
		return request, inactive
	}
	return request, nil
}

// request is session for everything but pushed requests.
func (s *Store) request(ctx context.Context, kind, key string, into fosite.Session, inactive error) (fosite.Requester, error) {
	found, err := s.session(ctx, kind, key, into, inactive)
	if found == nil {
		return nil, err
	}
	return &found.Request, err
}

// delete removes a session; one that is unknown is no error.
func (s *Store) delete(ctx context.Context, kind, key string) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE kind = $1 AND key = $2`, kind, hashed(key))
	return err
}

// execer is a database or a transaction.
type execer interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// deactivate marks a session as used. Of several calls at once one succeeds, the others get
// the error already.
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

func (s *Store) deleteRequest(ctx context.Context, db execer, kind, requestID string) error {
	_, err := db.ExecContext(ctx, `DELETE FROM sessions WHERE kind = $1 AND request_id = $2`, kind, requestID)
	return explained(ctx, err)
}

// RevokeClientGrants removes everything that a client was granted, all at once.
func (s *Store) RevokeClientGrants(ctx context.Context, clientID string) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE client_id = $1 AND kind <> $2`, clientID, registrationTokens)
	return err
}

// DeleteOldSessions removes sessions that were requested before a time, whether they have
// expired or not. It spares registration access tokens: a client is managed for as long as it
// is registered.
func (s *Store) DeleteOldSessions(ctx context.Context, before time.Time) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE requested_at < $1 AND kind <> $2`, nanoseconds(before), registrationTokens)
	return err
}

// DeleteExpiredSessions removes what can't be used any more: sessions, and identifiers of
// assertions. An application calls it now and then, as it does dcr's Sweep.
func (s *Store) DeleteExpiredSessions(ctx context.Context) error {
	now := nanoseconds(s.options.Now())
	_, sessions := s.exec(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, now)
	_, assertions := s.exec(ctx, `DELETE FROM assertions WHERE expires_at <= $1`, now)
	return errors.Join(sessions, assertions)
}
