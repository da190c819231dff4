package storagetest_test

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

var entryDefects = []defect{
	{"entries are not stored", func(b *broken) {
		b.createToken = func(context.Context, string, fosite.Requester) error { return nil }
	}, []string{"entry/read_back", "entry/keys", "entry/several", "entry/copied_in", "entry/copied_out", "revoke/access_tokens"}},
	{"entries lose the client", func(b *broken) {
		b.changeToken(func(r *fosite.Request) { r.Client = &fosite.DefaultClient{} })
	}, []string{"entry/read_back"}},
	{"entries lose the scope", func(b *broken) {
		b.changeToken(func(r *fosite.Request) { r.GrantedScope = nil })
	}, []string{"entry/read_back"}},
	{"entries lose the session", func(b *broken) {
		b.changeToken(func(r *fosite.Request) { r.Session = nil })
	}, []string{"entry/read_back"}},
	{"entries expire after a day", func(b *broken) {
		b.changeToken(func(r *fosite.Request) { r.Session.SetExpiresAt(fosite.AccessToken, time.Now().Add(24*time.Hour)) })
	}, []string{"entry/read_back"}},
	{"sessions keep numbers as floats", func(b *broken) {
		b.changeToken(func(r *fosite.Request) {
			if claims := r.Session.(openid.Session).IDTokenClaims(); claims.Get("number") != nil {
				claims.Add("number", float64(claims.Get("number").(int64)))
			}
		})
	}, []string{"session/numbers"}},
	{"a missing entry has another error", func(b *broken) {
		b.getToken = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
			r, err := b.MemoryStore.GetAccessTokenSession(ctx, key, s)
			if err != nil {
				return nil, errOther
			}
			return r, nil
		}
	}, []string{"entry/unknown", "entry/delete", "entry/keys", "revoke/access_tokens"}},
	{"a missing entry has no error", func(b *broken) {
		b.getToken = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
			r, _ := b.MemoryStore.GetAccessTokenSession(ctx, key, s)
			return r, nil
		}
	}, []string{"entry/unknown", "entry/delete", "entry/keys", "revoke/access_tokens"}},
	{"entries are not deleted", func(b *broken) {
		b.deleteToken = func(context.Context, string) error { return nil }
	}, []string{"entry/delete"}},
	{"deleting a missing entry is a failure", func(b *broken) {
		b.deleteToken = func(ctx context.Context, key string) error {
			if _, err := b.MemoryStore.GetAccessTokenSession(ctx, key, nil); err != nil {
				return errOther
			}
			return b.MemoryStore.DeleteAccessTokenSession(ctx, key)
		}
	}, []string{"entry/delete"}},
	{"keys lose what is before the dot", func(b *broken) {
		b.keys(func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] })
	}, []string{"entry/keys"}},
	{"keys lose what is after the dot", func(b *broken) {
		b.keys(func(key string) string { return key[:strings.IndexByte(key+".", '.')] })
	}, []string{"entry/keys"}},
	{"keys are cut", func(b *broken) {
		b.keys(func(key string) string { return key[:min(len(key), 100)] })
	}, []string{"entry/keys"}},
	{"keys are compared without case", func(b *broken) { b.keys(strings.ToLower) }, []string{"entry/keys"}},
	{"a client has one entry", func(b *broken) {
		var last sync.Map
		b.createToken = func(ctx context.Context, key string, r fosite.Requester) error {
			if before, ok := last.Swap(r.GetClient().GetID(), key); ok {
				_ = b.MemoryStore.DeleteAccessTokenSession(ctx, before.(string))
			}
			return b.MemoryStore.CreateAccessTokenSession(ctx, key, r)
		}
	}, []string{"entry/several"}},
	{"one entry takes the client's others along", func(b *broken) {
		b.deleteToken = func(ctx context.Context, key string) error {
			r, err := b.MemoryStore.GetAccessTokenSession(ctx, key, nil)
			if err != nil {
				return nil
			}
			b.dropTokens(ctx, func(_ string, other fosite.Requester) bool { return other.GetClient().GetID() == r.GetClient().GetID() })
			return nil
		}
	}, []string{"entry/several"}},
	{"entries are kept as they came", func(b *broken) {
		var kept sync.Map
		b.createToken = func(_ context.Context, key string, r fosite.Requester) error {
			kept.Store(key, r)
			return nil
		}
		b.getToken = func(_ context.Context, key string, _ fosite.Session) (fosite.Requester, error) {
			if r, ok := kept.Load(key); ok {
				return r.(fosite.Requester), nil
			}
			return nil, fosite.ErrNotFound
		}
	}, []string{"entry/copied_in", "entry/copied_out"}},
	{"a purge takes entries along", func(b *broken) {
		b.purge = func(ctx context.Context, before time.Time) error {
			return b.purging(ctx, before, func(string) bool { return false })
		}
	}, []string{"entry/purge"}},
	{"a purge removes nothing", func(b *broken) {
		b.purge = func(context.Context, time.Time) error { return nil }
	}, []string{"entry/purge"}},
}

// changeToken changes what is read.
func (b *broken) changeToken(change func(*fosite.Request)) {
	b.getToken = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
		r, err := b.MemoryStore.GetAccessTokenSession(ctx, key, s)
		if err != nil {
			return nil, err
		}
		change(r.(*fosite.Request))
		return r, nil
	}
}

// keys changes the keys of entries.
func (b *broken) keys(change func(string) string) {
	b.createToken = func(ctx context.Context, key string, r fosite.Requester) error {
		return b.MemoryStore.CreateAccessTokenSession(ctx, change(key), r)
	}
	b.getToken = func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
		return b.MemoryStore.GetAccessTokenSession(ctx, change(key), s)
	}
	b.deleteToken = func(ctx context.Context, key string) error {
		return b.MemoryStore.DeleteAccessTokenSession(ctx, change(key))
	}
}

var allGrants = []string{
	"revoke/access_tokens", "revoke/refresh_tokens", "revoke/codes", "revoke/pkce_sessions",
	"revoke/openid_sessions", "revoke/pushed_requests",
}

var grantDefects = []defect{
	{"nothing is revoked", func(b *broken) {
		b.revoke = func(context.Context, string) error { return nil }
	}, allGrants},
	{"everybody's grants are revoked", func(b *broken) {
		known := b.remember()
		b.revoke = func(ctx context.Context, _ string) error {
			for _, id := range known.all() {
				_ = b.MemoryStore.RevokeClientGrants(ctx, id)
			}
			return nil
		}
	}, allGrants},
	{"entries are grants", func(b *broken) {
		b.revoke = func(ctx context.Context, id string) error {
			b.dropTokens(ctx, func(_ string, r fosite.Requester) bool { return r.GetClient().GetID() == id })
			return b.MemoryStore.RevokeClientGrants(ctx, id)
		}
	}, []string{"revoke/entries"}},
	{"an unknown client's grants are an error", func(b *broken) {
		b.revoke = func(ctx context.Context, id string) error {
			if _, err := b.MemoryStore.GetClient(ctx, id); err != nil {
				return err
			}
			return b.MemoryStore.RevokeClientGrants(ctx, id)
		}
	}, []string{"revoke/unknown"}},
}

var assertionDefects = []defect{
	{"every identifier is known", func(b *broken) {
		b.validJTI = func(context.Context, string) error { return fosite.ErrJTIKnown }
	}, []string{"assertion/unknown", "assertion/expired"}},
	{"identifiers are not noted", func(b *broken) {
		b.setJTI = func(context.Context, string, time.Time) error { return nil }
	}, []string{"assertion/known", "race/assertion"}},
	{"identifiers are forgotten when another comes", func(b *broken) {
		var mu sync.Mutex
		var last string
		b.setJTI = func(_ context.Context, jti string, _ time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			if last == jti {
				return fosite.ErrJTIKnown
			}
			last = jti
			return nil
		}
		b.validJTI = func(_ context.Context, jti string) error {
			mu.Lock()
			defer mu.Unlock()
			if last == jti {
				return fosite.ErrJTIKnown
			}
			return nil
		}
	}, []string{"assertion/known"}},
	{"a known identifier is noted again", func(b *broken) {
		b.setJTI = func(ctx context.Context, jti string, exp time.Time) error {
			_ = b.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
			return nil
		}
	}, []string{"assertion/known", "race/assertion"}},
	{"a known identifier has another error", func(b *broken) {
		b.setJTI = func(ctx context.Context, jti string, exp time.Time) error {
			if b.MemoryStore.SetClientAssertionJWT(ctx, jti, exp) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"assertion/known", "race/assertion"}},
	{"identifiers are kept for ever", func(b *broken) {
		b.setJTI = func(ctx context.Context, jti string, exp time.Time) error {
			return b.MemoryStore.SetClientAssertionJWT(ctx, jti, exp.AddDate(100, 0, 0))
		}
	}, []string{"assertion/expired"}},
	{"identifiers are looked up first and noted then", func(b *broken) {
		b.setJTI = func(ctx context.Context, jti string, exp time.Time) error {
			if err := b.MemoryStore.ClientAssertionJWTValid(ctx, jti); err != nil {
				return err
			}
			yield()
			_ = b.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
			return nil
		}
	}, []string{"race/assertion"}},
}
