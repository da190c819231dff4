package storagetest_test

import (
	"context"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// DeleteExpiredClients is the store's, or the defect's.
func (b *broken) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
	if b.expire == nil {
		return b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
	}
	return b.expire(ctx, e, limit)
}

// sweeping sweeps as if it were later, or with another idea of idleness.
func (b *broken) sweeping(change func(*dcr.Expiry)) {
	b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
		change(&e)
		return b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
	}
}

var expiryDefects = []defect{
	{"nothing ends", func(b *broken) {
		b.expire = func(context.Context, dcr.Expiry, int) ([]string, error) { return nil, nil }
	}, []string{"expiry/ended", "expiry/limit", "race/expiry", "context/expiry"}},
	{"the last moment counts as alive", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.Now = e.Now.Add(-time.Second) })
	}, []string{"expiry/ended", "expiry/limit"}},
	{"clients end before their time", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.Now = e.Now.AddDate(0, 0, 2) })
	}, []string{"expiry/alive"}},
	{"idle clients always end", func(b *broken) {
		b.sweeping(func(e *dcr.Expiry) { e.IdleSince = e.Now.AddDate(0, -1, 0) })
	}, []string{"expiry/idle_off"}},
	{"the limit is ignored", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, _ int) ([]string, error) {
			return b.MemoryStore.DeleteExpiredClients(ctx, e, 1000)
		}
	}, []string{"expiry/limit"}},
	{"a sweep tells of clients that another removed", func(b *broken) {
		var told []string
		lock := make(chan struct{}, 1)
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
			lock <- struct{}{}
			defer func() { <-lock }()
			ids, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			told = append(told, ids...)
			return append([]string{}, told...), err
		}
	}, []string{"race/expiry"}},
	{"a sweep ignores its context", func(b *broken) {
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
			return b.MemoryStore.DeleteExpiredClients(context.WithoutCancel(ctx), e, limit)
		}
	}, []string{"context/expiry"}},
}
