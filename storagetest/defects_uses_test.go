package storagetest_test

import (
	"context"
	"slices"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var useDefects = []defect{
	{"touch does nothing", func(b *broken) {
		b.touch = func(context.Context, string, time.Time, time.Time) error { return nil }
	}, []string{"touch/forward", "touch/then_update", "race/touch", "context/touch"}},
	{"touch moves backward", func(b *broken) {
		b.change(func(c *dcr.Client, lastUsed, keepUntil time.Time) {
			c.LastUsedAt, c.KeepUntil = lastUsed, keepUntil
		})
	}, []string{"touch/not_backward"}},
	{"touch moves both times or none", func(b *broken) {
		b.change(func(c *dcr.Client, lastUsed, keepUntil time.Time) {
			if lastUsed.After(c.LastUsedAt) && keepUntil.After(c.KeepUntil) {
				c.LastUsedAt, c.KeepUntil = lastUsed, keepUntil
			}
		})
	}, []string{"touch/not_backward"}},
	{"touch counts as a version", func(b *broken) {
		b.change(func(c *dcr.Client, lastUsed, keepUntil time.Time) {
			c.LastUsedAt, c.KeepUntil = lastUsed, keepUntil
			c.Version++
		})
	}, []string{"touch/forward", "touch/version", "touch/then_update"}},
	{"touch reports an unknown client", func(b *broken) {
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			if _, err := b.MemoryStore.GetDynamicClient(ctx, id); err != nil {
				return err
			}
			return b.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil)
		}
	}, []string{"touch/unknown"}},
	{"touch creates", func(b *broken) {
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			_ = b.MemoryStore.CreateClient(ctx, &dcr.Client{ID: id, Version: 1})
			return b.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil)
		}
	}, []string{"touch/unknown"}},
	{"touch reads first and writes then", func(b *broken) {
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if err != nil {
				return nil
			}
			yield()
			if lastUsed.After(c.LastUsedAt) {
				c.LastUsedAt = lastUsed
			}
			if keepUntil.After(c.KeepUntil) {
				c.KeepUntil = keepUntil
			}
			return b.overwrite(c)
		}
	}, []string{"race/touch"}},
}

// change makes touch one that changes a record otherwise.
func (b *broken) change(change func(c *dcr.Client, lastUsed, keepUntil time.Time)) {
	b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
		if c, err := b.MemoryStore.GetDynamicClient(ctx, id); err == nil {
			change(c, lastUsed, keepUntil)
			return b.overwrite(c)
		}
		return ctx.Err()
	}
}

// sweeping sweeps as if it were later, or with another idea of idleness.
func (b *broken) sweeping(change func(*dcr.Expiry)) {
	b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
		change(&e)
		return b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
	}
}

var expiryDefects = []defect{
	{"nothing expires", func(b *broken) {
		b.expire = func(context.Context, dcr.Expiry, int) ([]*dcr.Client, error) { return nil, nil }
	}, []string{"expiry/ended", "expiry/records", "expiry/limit", "race/expiry", "context/expiry"}},
	{"the last moment counts as alive", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.Now = e.Now.Add(-time.Second) })
	}, []string{"expiry/ended", "expiry/limit"}},
	{"clients expire before their time", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.Now = e.Now.AddDate(0, 0, 2) })
	}, []string{"expiry/alive"}},
	{"idle clients always expire", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.IdleSince = e.Now.AddDate(0, -1, 0) })
	}, []string{"expiry/idle_off"}},
	{"what is removed comes without its registration access token", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			removed, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			for _, c := range removed {
				c.RegistrationToken = dcr.RegistrationTokenRecord{}
			}
			return removed, err
		}
	}, []string{"expiry/records"}},
	{"what is removed comes with its identifier alone", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			removed, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			for i, c := range removed {
				removed[i] = &dcr.Client{ID: c.ID}
			}
			return removed, err
		}
	}, []string{"expiry/records"}},
	{"who expired in 1970 lives for ever", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			c = c.Clone()
			if c.ExpiresAt.Equal(time.Unix(0, 0)) {
				c.ExpiresAt = time.Time{}
			}
			return b.MemoryStore.CreateClient(ctx, c)
		}
	}, []string{"expiry/ended", "create/1970"}},
	{"the limit is ignored", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, _ int) ([]*dcr.Client, error) {
			return b.MemoryStore.DeleteExpiredClients(ctx, e, 1000)
		}
	}, []string{"expiry/limit"}},
	{"a sweep returns clients that another removed", func(b *broken) {
		var returned []*dcr.Client
		lock := make(chan struct{}, 1)
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			lock <- struct{}{}
			defer func() { <-lock }()
			removed, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			returned = append(returned, removed...)
			return slices.Clone(returned), err
		}
	}, []string{"race/expiry"}},
	{"a sweep ignores its context", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			return b.MemoryStore.DeleteExpiredClients(context.WithoutCancel(ctx), e, limit)
		}
	}, []string{"context/expiry"}},
}
