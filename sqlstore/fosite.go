package sqlstore

import (
	"context"
	"strings"
	"time"

	"github.com/ory/fosite"
)

func isURL(id string) bool {
	return strings.HasPrefix(id, "https://") || strings.HasPrefix(id, "http://")
}

// CreateAuthorizeCodeSession stores the session of a code.
func (s *Store) CreateAuthorizeCodeSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, code, signature, request)
}

// GetAuthorizeCodeSession returns the session of a code. For a code that was used it returns the request and
// fosite.ErrInvalidatedAuthorizeCode.
func (s *Store) GetAuthorizeCodeSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, code, signature, session, fosite.ErrInvalidatedAuthorizeCode)
}

// InvalidateAuthorizeCodeSession marks a code as used. Of several calls at once one succeeds.
func (s *Store) InvalidateAuthorizeCodeSession(ctx context.Context, signature string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if err := lockRow(ctx, q, s.sql.LockGrantOf, code.key(signature)); err != nil {
			return err
		}
		return s.spend(ctx, q, code, signature, fosite.ErrInvalidatedAuthorizeCode)
	})
}

// CreatePKCERequestSession stores the PKCE session of a code.
func (s *Store) CreatePKCERequestSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, challenge, signature, request)
}

// GetPKCERequestSession returns the PKCE session of a code.
func (s *Store) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, challenge, signature, session, nil)
}

// DeletePKCERequestSession keeps the session until it expires with its code. fosite calls it before it compares the
// verifier, and redeems a code without a session without a verifier: a second try with a wrong one would succeed.
func (s *Store) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession stores the OpenID Connect session of a code.
func (s *Store) CreateOpenIDConnectSession(ctx context.Context, wholeCode string, request fosite.Requester) error {
	return s.create(ctx, openIDSession, wholeCode, request)
}

// GetOpenIDConnectSession returns the OpenID Connect session of a code.
func (s *Store) GetOpenIDConnectSession(ctx context.Context, wholeCode string, request fosite.Requester) (fosite.Requester, error) {
	return s.request(ctx, openIDSession, wholeCode, request.GetSession(), nil)
}

// DeleteOpenIDConnectSession ends the OpenID Connect session of a code.
func (s *Store) DeleteOpenIDConnectSession(ctx context.Context, wholeCode string) error {
	return s.end(ctx, openIDSession, wholeCode)
}

// CreateAccessTokenSession stores an access token, or the entry of a registration access token.
func (s *Store) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	return s.create(ctx, accessKind(signature), signature, request)
}

// GetAccessTokenSession returns an access token that can be used.
func (s *Store) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, accessKind(signature), signature, session, nil)
}

// DeleteAccessTokenSession ends an access token.
func (s *Store) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	return s.end(ctx, accessKind(signature), signature)
}

// RevokeAccessToken ends the access tokens of a grant.
func (s *Store) RevokeAccessToken(ctx context.Context, requestID string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if err := lockRow(ctx, q, s.sql.LockGrant, digest(requestID)); err != nil {
			return err
		}
		_, err := s.endOfGrant(ctx, q, requestID, accessToken, machineToken)
		return err
	})
}

// CreateRefreshTokenSession stores a refresh token, with the access token that is issued with it.
func (s *Store) CreateRefreshTokenSession(ctx context.Context, signature, accessSignature string, request fosite.Requester) error {
	return s.createWith(ctx, refreshToken, signature, accessToken.key(accessSignature), request)
}

// GetRefreshTokenSession returns a refresh token that can be used. For one that was used it returns the request and
// fosite.ErrInactiveToken.
func (s *Store) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, refreshToken, signature, session, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession ends a refresh token. One that was used stays known as used: fosite deletes a token that is
// used again, and a third use has to be noticed, too.
func (s *Store) DeleteRefreshTokenSession(ctx context.Context, signature string) error {
	return s.end(ctx, refreshToken, signature)
}

// RevokeRefreshToken ends a grant: its refresh tokens, so that a later use is noticed, and its access tokens, those too that
// a request is about to store.
func (s *Store) RevokeRefreshToken(ctx context.Context, requestID string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if err := lockRow(ctx, q, s.sql.LockGrant, digest(requestID)); err != nil {
			return err
		}
		all, err := s.endOfGrant(ctx, q, requestID, accessToken, refreshToken)
		if err != nil {
			return err
		}
		end := int64(never) // of a grant that never expires, as long as it has tokens that don't
		if all {
			end = nanoseconds(s.options.Now().Add(reuse))
		}
		_, err = q.ExecContext(ctx, s.sql.RevokeGrant, digest(requestID), end)
		return err
	})
}

// RotateRefreshToken marks a refresh token as used, and ends the access tokens and other refresh tokens of its grant. Of
// several calls at once one succeeds, the others return fosite.ErrInactiveToken.
//
// With Options.RefreshGrace some of the others succeed, too. Then a grant may have several pairs of tokens, so a rotation
// ends only the access token that was issued with the refresh token, and a use within the grace ends nothing.
func (s *Store) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if err := lockRow(ctx, q, s.sql.LockGrant, digest(requestID)); err != nil {
			return err
		}
		switch err := s.spend(ctx, q, refreshToken, signature, fosite.ErrInactiveToken); {
		case err == fosite.ErrInactiveToken && s.options.RefreshGrace > 0:
			return s.useAgain(ctx, q, signature)
		case err != nil:
			return err
		case s.options.RefreshGrace > 0:
			_, err := q.ExecContext(ctx, s.sql.EndPartner, refreshToken.key(signature), nanoseconds(s.options.Now()))
			return err
		}
		_, err := s.endOfGrant(ctx, q, requestID, accessToken, refreshToken)
		return err
	})
}

func (s *Store) useAgain(ctx context.Context, q querier, signature string) error {
	now := s.options.Now()
	again, err := exec(ctx, q, s.sql.RepeatToken, refreshToken.key(signature), nanoseconds(now.Add(-s.options.RefreshGrace)),
		s.options.RefreshGraceUses, nanoseconds(now))
	if err == nil && again == 0 {
		return fosite.ErrInactiveToken
	}
	return err
}

// CreatePARSession stores a pushed request.
func (s *Store) CreatePARSession(ctx context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	return s.create(ctx, pushedRequest, requestURI, request)
}

// GetPARSession returns a pushed request that can be used.
func (s *Store) GetPARSession(ctx context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	request, err := s.session(ctx, pushedRequest, requestURI, nil, nil)
	if err != nil {
		return nil, err
	}
	return request, nil
}

// DeletePARSession ends a pushed request. Of several calls at once one succeeds, the others return fosite.ErrNotFound.
func (s *Store) DeletePARSession(ctx context.Context, requestURI string) error {
	return s.endOnce(ctx, pushedRequest, requestURI)
}

// ClientAssertionJWTValid returns fosite.ErrJTIKnown for an identifier that was used before.
func (s *Store) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	known, err := s.find(ctx, s.sql.HasAssertion, digest(jti), nanoseconds(s.options.Now()))
	if err == nil && known {
		return fosite.ErrJTIKnown
	}
	return err
}

// SetClientAssertionJWT records an identifier. Of several calls at once one succeeds, the others return
// fosite.ErrJTIKnown. For a client over its share it returns dcr.ErrFull.
func (s *Store) SetClientAssertionJWT(ctx context.Context, jti string, expires time.Time) error {
	now := nanoseconds(s.options.Now())
	owner, err := s.ownerOf(ctx, jti, now)
	if err != nil {
		return err
	}
	recorded, err := s.change(ctx, s.sql.SetAssertion, digest(jti), nanoseconds(expires.Add(margin)), now, owner)
	if err == nil && recorded == 0 {
		return fosite.ErrJTIKnown
	}
	return err
}
