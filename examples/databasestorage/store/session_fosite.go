package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/ory/fosite"
)

// CreateAuthorizeCodeSession stores the session of a code.
func (s *Store) CreateAuthorizeCodeSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, codes, signature, request)
}

// GetAuthorizeCodeSession returns the session of a code. For a code that was used it returns the
// request and fosite.ErrInvalidatedAuthorizeCode.
func (s *Store) GetAuthorizeCodeSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, codes, signature, apart(session), fosite.ErrInvalidatedAuthorizeCode)
}

// apart is for sessions that fosite reads while it makes a token. The session that it gives then is
// that of the new token, whose expiry must not be overwritten. So the stored session is read into a
// copy.
func apart(session fosite.Session) fosite.Session {
	if session == nil {
		return nil
	}
	return session.Clone()
}

// InvalidateAuthorizeCodeSession marks a code as used. Of several calls at once one succeeds.
func (s *Store) InvalidateAuthorizeCodeSession(ctx context.Context, signature string) error {
	return s.deactivate(ctx, s.db, codes, signature, fosite.ErrInvalidatedAuthorizeCode)
}

// CreatePKCERequestSession stores the PKCE session of a code.
func (s *Store) CreatePKCERequestSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, challenges, signature, request)
}

// GetPKCERequestSession returns the PKCE session of a code.
func (s *Store) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, challenges, signature, apart(session), nil)
}

// DeletePKCERequestSession keeps the session until it expires with its code. fosite calls it
// before it compares the verifier, and accepts a code without a session without any verifier. So
// with a removal a second try with a wrong verifier would succeed.
func (s *Store) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession stores the OpenID Connect session of a code.
func (s *Store) CreateOpenIDConnectSession(ctx context.Context, wholeCode string, request fosite.Requester) error {
	return s.create(ctx, openIDs, wholeCode, request)
}

// GetOpenIDConnectSession returns the OpenID Connect session of a code.
func (s *Store) GetOpenIDConnectSession(ctx context.Context, wholeCode string, request fosite.Requester) (fosite.Requester, error) {
	return s.request(ctx, openIDs, wholeCode, apart(request.GetSession()), nil)
}

// DeleteOpenIDConnectSession removes the OpenID Connect session of a code.
func (s *Store) DeleteOpenIDConnectSession(ctx context.Context, wholeCode string) error {
	return s.delete(ctx, openIDs, wholeCode)
}

// CreateAccessTokenSession stores an access token, or a registration access token.
func (s *Store) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, accessKind(signature), signature, request)
}

// GetAccessTokenSession returns an access token that has not expired.
func (s *Store) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, accessKind(signature), signature, session, nil)
}

// DeleteAccessTokenSession removes an access token.
func (s *Store) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	return s.delete(ctx, accessKind(signature), signature)
}

// RevokeAccessToken removes the access tokens of a grant.
func (s *Store) RevokeAccessToken(ctx context.Context, requestID string) error {
	return s.deleteRequest(ctx, s.db, accessTokens, requestID)
}

// CreateRefreshTokenSession stores a refresh token.
func (s *Store) CreateRefreshTokenSession(ctx context.Context, signature, _ string, request fosite.Requester) error {
	return s.create(ctx, refreshTokens, signature, request)
}

// GetRefreshTokenSession returns a refresh token that has not expired. For one that was used it
// returns the request and fosite.ErrInactiveToken.
func (s *Store) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, refreshTokens, signature, session, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession removes a refresh token, unless it was used: fosite deletes a token that is used
// again, and a third use has to be noticed, too.
func (s *Store) DeleteRefreshTokenSession(ctx context.Context, signature string) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE kind = $1 AND key = $2 AND active`, refreshTokens, hashed(signature))
	return err
}

// RevokeRefreshToken marks the refresh tokens of a grant as used, so that a later use is noticed.
func (s *Store) RevokeRefreshToken(ctx context.Context, requestID string) error {
	return s.deactivateRequest(ctx, s.db, refreshTokens, requestID)
}

// RotateRefreshToken marks a refresh token as used, with the others of its grant, and removes the
// access tokens of the grant. Of several calls at once one succeeds, the others return
// fosite.ErrInactiveToken.
func (s *Store) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := s.deactivate(ctx, tx, refreshTokens, signature, fosite.ErrInactiveToken); err != nil {
			return err
		}
		if err := s.deactivateRequest(ctx, tx, refreshTokens, requestID); err != nil {
			return err
		}
		return s.deleteRequest(ctx, tx, accessTokens, requestID)
	})
}

// CreatePARSession stores a pushed request.
func (s *Store) CreatePARSession(ctx context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	return s.create(ctx, pushedRequests, requestURI, request)
}

// GetPARSession returns a pushed request that has not expired.
func (s *Store) GetPARSession(ctx context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	request, err := s.session(ctx, pushedRequests, requestURI, nil, nil)
	if err != nil {
		return nil, err
	}
	return request, nil
}

// DeletePARSession removes a pushed request. Of several calls at once one succeeds, the others return
// fosite.ErrNotFound.
func (s *Store) DeletePARSession(ctx context.Context, requestURI string) error {
	return s.use(ctx, pushedRequests, requestURI)
}

// ClientAssertionJWTValid returns fosite.ErrJTIKnown for an identifier that was used before.
func (s *Store) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	seen, err := s.exists(ctx, `SELECT 1 FROM assertions WHERE jti = $1 AND expires_at > $2`, jti, nanoseconds(s.options.Now()))
	if err == nil && seen {
		return fosite.ErrJTIKnown
	}
	return err
}

// SetClientAssertionJWT records an identifier. Of several calls at once one succeeds, the others
// return fosite.ErrJTIKnown.
func (s *Store) SetClientAssertionJWT(ctx context.Context, jti string, expires time.Time) error {
	recorded, err := s.exec(ctx, `INSERT INTO assertions (jti, expires_at) VALUES ($1, $2)
		ON CONFLICT (jti) DO UPDATE SET expires_at = excluded.expires_at WHERE assertions.expires_at <= $3`,
		jti, nanoseconds(expires.Add(margin)), nanoseconds(s.options.Now()))
	if err == nil && recorded == 0 {
		return fosite.ErrJTIKnown
	}
	return err
}
