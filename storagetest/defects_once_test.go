package storagetest_test

import (
	"context"

	"github.com/ory/fosite"
)

// brokenOnce replaces methods of what may be used once; nil leaves the store's.
type brokenOnce struct {
	createRefresh func(context.Context, string, string, fosite.Requester) error
	rotate        func(ctx context.Context, requestID, key string) error
	deleteRefresh func(context.Context, string) error
	createCode    func(context.Context, string, fosite.Requester) error
	redeem        func(context.Context, string) error
	pickUp        func(context.Context, string) error
	getRefresh    func(context.Context, string, fosite.Session) (fosite.Requester, error)
	getCode       func(context.Context, string, fosite.Session) (fosite.Requester, error)
	getPushed     func(context.Context, string) (fosite.AuthorizeRequester, error)
}

func (b *broken) CreateRefreshTokenSession(ctx context.Context, key, access string, r fosite.Requester) error {
	if b.once.createRefresh != nil {
		return b.once.createRefresh(ctx, key, access, r)
	}
	return b.MemoryStore.CreateRefreshTokenSession(ctx, key, access, r)
}

func (b *broken) GetRefreshTokenSession(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
	if b.once.getRefresh != nil {
		return b.once.getRefresh(ctx, key, s)
	}
	return b.MemoryStore.GetRefreshTokenSession(ctx, key, s)
}

func (b *broken) RotateRefreshToken(ctx context.Context, requestID, key string) error {
	if b.once.rotate != nil {
		return b.once.rotate(ctx, requestID, key)
	}
	return b.MemoryStore.RotateRefreshToken(ctx, requestID, key)
}

func (b *broken) DeleteRefreshTokenSession(ctx context.Context, key string) error {
	if b.once.deleteRefresh != nil {
		return b.once.deleteRefresh(ctx, key)
	}
	return b.MemoryStore.DeleteRefreshTokenSession(ctx, key)
}

func (b *broken) CreateAuthorizeCodeSession(ctx context.Context, key string, r fosite.Requester) error {
	if b.once.createCode != nil {
		return b.once.createCode(ctx, key, r)
	}
	return b.MemoryStore.CreateAuthorizeCodeSession(ctx, key, r)
}

func (b *broken) GetAuthorizeCodeSession(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
	if b.once.getCode != nil {
		return b.once.getCode(ctx, key, s)
	}
	return b.MemoryStore.GetAuthorizeCodeSession(ctx, key, s)
}

func (b *broken) InvalidateAuthorizeCodeSession(ctx context.Context, key string) error {
	if b.once.redeem != nil {
		return b.once.redeem(ctx, key)
	}
	return b.MemoryStore.InvalidateAuthorizeCodeSession(ctx, key)
}

func (b *broken) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if b.once.getPushed != nil {
		return b.once.getPushed(ctx, uri)
	}
	return b.MemoryStore.GetPARSession(ctx, uri)
}

func (b *broken) DeletePARSession(ctx context.Context, uri string) error {
	if b.once.pickUp != nil {
		return b.once.pickUp(ctx, uri)
	}
	return b.MemoryStore.DeletePARSession(ctx, uri)
}

var onceDefects = []defect{
	{"a refresh token is rotated again", func(b *broken) {
		b.once.rotate = func(ctx context.Context, requestID, key string) error {
			_ = b.MemoryStore.RotateRefreshToken(ctx, requestID, key)
			return nil
		}
	}, []string{"once/refresh_token", "once/refresh_grace", "once/refresh_grace_revoked"}},
	{"a refresh token is not rotated at all", func(b *broken) {
		b.once.rotate = func(context.Context, string, string) error { return fosite.ErrInactiveToken }
	}, []string{"once/refresh_token", "used/refresh_token"}},
	{"a late rotation is a failure", func(b *broken) {
		b.once.rotate = func(ctx context.Context, requestID, key string) error {
			if b.MemoryStore.RotateRefreshToken(ctx, requestID, key) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"once/refresh_token"}},
	{"a code is redeemed again", func(b *broken) {
		b.once.redeem = func(ctx context.Context, key string) error {
			_ = b.MemoryStore.InvalidateAuthorizeCodeSession(ctx, key)
			return nil
		}
	}, []string{"once/code"}},
	{"a pushed request is picked up again", func(b *broken) {
		b.once.pickUp = func(ctx context.Context, uri string) error {
			_ = b.MemoryStore.DeletePARSession(ctx, uri)
			return nil
		}
	}, []string{"once/pushed_request"}},
	{"a used refresh token is forgotten", func(b *broken) {
		deleted := false
		b.once.deleteRefresh = func(context.Context, string) error { deleted = true; return nil }
		b.once.getRefresh = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
			if deleted {
				return nil, fosite.ErrNotFound
			}
			return b.MemoryStore.GetRefreshTokenSession(ctx, key, s)
		}
	}, []string{"used/refresh_token"}},
	{"a used refresh token lives again", func(b *broken) {
		written := 0
		b.once.createRefresh = func(ctx context.Context, key, access string, r fosite.Requester) error {
			written++
			return b.MemoryStore.CreateRefreshTokenSession(ctx, key, access, r)
		}
		b.once.getRefresh = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
			r, err := b.MemoryStore.GetRefreshTokenSession(ctx, key, s)
			if written > 1 {
				err = nil
			}
			return r, err
		}
	}, []string{"used/refresh_token"}},
	{"a used code lives again", func(b *broken) {
		written := 0
		b.once.createCode = func(ctx context.Context, key string, r fosite.Requester) error {
			written++
			return b.MemoryStore.CreateAuthorizeCodeSession(ctx, key, r)
		}
		b.once.getCode = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
			r, err := b.MemoryStore.GetAuthorizeCodeSession(ctx, key, s)
			if written > 1 {
				err = nil
			}
			return r, err
		}
	}, []string{"used/code"}},
}
