package dcrtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// OutageStore is a MemoryStore whose methods fail when BreakDown names them.
type OutageStore struct {
	*dcr.MemoryStore
	mu     sync.Mutex
	err    error
	broken []string
}

// BreakDown lets methods fail from now on.
func (s *OutageStore) BreakDown(err error, methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.broken = err, methods
}

func (s *OutageStore) fault(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.broken, method) {
		return s.err
	}
	return nil
}

// GetClient fails after BreakDown has named it.
func (s *OutageStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if err := s.fault("GetClient"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetClient(ctx, id)
}

// ClientAssertionJWTValid fails after BreakDown has named it.
func (s *OutageStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	if err := s.fault("ClientAssertionJWTValid"); err != nil {
		return err
	}
	return s.MemoryStore.ClientAssertionJWTValid(ctx, jti)
}

// SetClientAssertionJWT fails after BreakDown has named it.
func (s *OutageStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	if err := s.fault("SetClientAssertionJWT"); err != nil {
		return err
	}
	return s.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
}

// CreateAccessTokenSession fails after BreakDown has named it.
func (s *OutageStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	if err := s.fault("CreateAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

// GetAccessTokenSession fails after BreakDown has named it.
func (s *OutageStore) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetAccessTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
}

// CreateRefreshTokenSession fails after BreakDown has named it.
func (s *OutageStore) CreateRefreshTokenSession(ctx context.Context, signature, access string, request fosite.Requester) error {
	if err := s.fault("CreateRefreshTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateRefreshTokenSession(ctx, signature, access, request)
}

// GetRefreshTokenSession fails after BreakDown has named it.
func (s *OutageStore) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetRefreshTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
}

// RotateRefreshToken fails after BreakDown has named it.
func (s *OutageStore) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	if err := s.fault("RotateRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RotateRefreshToken(ctx, requestID, signature)
}

// RevokeRefreshToken fails after BreakDown has named it.
func (s *OutageStore) RevokeRefreshToken(ctx context.Context, requestID string) error {
	if err := s.fault("RevokeRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeRefreshToken(ctx, requestID)
}

// DeleteAccessTokenSession fails after BreakDown has named it.
func (s *OutageStore) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	if err := s.fault("DeleteAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteAccessTokenSession(ctx, signature)
}

// CreateAuthorizeCodeSession fails after BreakDown has named it.
func (s *OutageStore) CreateAuthorizeCodeSession(ctx context.Context, code string, request fosite.Requester) error {
	if err := s.fault("CreateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAuthorizeCodeSession(ctx, code, request)
}

// GetAuthorizeCodeSession fails after BreakDown has named it.
func (s *OutageStore) GetAuthorizeCodeSession(ctx context.Context, code string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetAuthorizeCodeSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAuthorizeCodeSession(ctx, code, session)
}

// InvalidateAuthorizeCodeSession fails after BreakDown has named it.
func (s *OutageStore) InvalidateAuthorizeCodeSession(ctx context.Context, code string) error {
	if err := s.fault("InvalidateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.InvalidateAuthorizeCodeSession(ctx, code)
}

// GetPKCERequestSession fails after BreakDown has named it.
func (s *OutageStore) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetPKCERequestSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPKCERequestSession(ctx, signature, session)
}

// CreatePARSession fails after BreakDown has named it.
func (s *OutageStore) CreatePARSession(ctx context.Context, uri string, request fosite.AuthorizeRequester) error {
	if err := s.fault("CreatePARSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreatePARSession(ctx, uri, request)
}

// GetPARSession fails after BreakDown has named it.
func (s *OutageStore) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if err := s.fault("GetPARSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPARSession(ctx, uri)
}

// TouchClient fails after BreakDown has named it.
func (s *OutageStore) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	if err := s.fault("TouchClient"); err != nil {
		return err
	}
	return s.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil)
}
