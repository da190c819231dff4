package storagetest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var countDefects = []defect{
	{"a count knows no bound", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, _ int) (int, error) {
			return b.MemoryStore.CountClients(ctx, f, 1000)
		}
	}, []string{"count/most"}},
	{"a count stops one before its bound", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			return b.MemoryStore.CountClients(ctx, f, max(most-1, 0))
		}
	}, []string{"count/most"}},
	{"a count that reaches its bound is one more", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			return b.MemoryStore.CountClients(ctx, f, most+1)
		}
	}, []string{"count/most"}},
	{"a count of nothing is an error", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			n, err := b.MemoryStore.CountClients(ctx, f, most)
			if err == nil && n == 0 {
				return 0, fosite.ErrNotFound
			}
			return n, err
		}
	}, []string{"list/nothing", "count/most", "count/changes"}},
	{"a count ignores its context", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			return b.MemoryStore.CountClients(context.WithoutCancel(ctx), f, most)
		}
	}, []string{"context/count"}},
	{"a number that is kept ignores the context", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			if f.Subject != "" {
				ctx = context.WithoutCancel(ctx)
			}
			return b.MemoryStore.CountClients(ctx, f, most)
		}
	}, []string{"context/count"}},
	{"a number is made once", func(b *broken) {
		var cache sync.Map
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			n, err := b.MemoryStore.CountClients(ctx, f, most)
			kept, _ := cache.LoadOrStore(f, n)
			return kept.(int), err
		}
	}, []string{"count/changes"}},
	{"a deletion leaves the number", func(b *broken) { b.miscounting(1) }, []string{"count/changes"}},
	{"a deletion counts twice", func(b *broken) { b.miscounting(-1) }, []string{"count/changes"}},
	{"a use counts as a client", func(b *broken) {
		more := b.off()
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			more.Add(1)
			return b.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil)
		}
	}, []string{"count/changes"}},
	{"an update counts as a client", func(b *broken) {
		more := b.off()
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			more.Add(1)
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"count/changes"}},
	{"a creation counts, also one that fails", func(b *broken) {
		more := b.off()
		b.create = func(ctx context.Context, c *dcr.Client) error {
			err := b.MemoryStore.CreateClient(ctx, c)
			if err != nil {
				more.Add(1)
			}
			return err
		}
	}, []string{"count/changes"}},
	{"a sweep leaves the number", func(b *broken) {
		more := b.off()
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
			ids, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			more.Add(int64(len(ids)))
			return ids, err
		}
	}, []string{"count/changes"}},
	{"a client counts under its first name", func(b *broken) {
		first := map[string]string{}
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			if old, err := b.MemoryStore.GetDynamicClient(ctx, c.ID); err == nil {
				first[c.NameKey()] = old.NameKey()
			}
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			for now, before := range first {
				switch f.NameKey {
				case before:
					f.NameKey = now
				case now:
					f.NameKey = before
				}
			}
			return b.MemoryStore.CountClients(ctx, f, most)
		}
	}, []string{"count/changes"}},
}

// off returns by how much counts are wrong.
func (b *broken) off() *atomic.Int64 {
	more := new(atomic.Int64)
	b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
		n, err := b.MemoryStore.CountClients(ctx, f, most)
		return n + int(more.Load()), err
	}
	return more
}

// miscounting makes counts wrong by so much for each deletion.
func (b *broken) miscounting(by int64) {
	more := b.off()
	b.delete = func(ctx context.Context, id string) error {
		more.Add(by)
		return b.MemoryStore.DeleteClient(ctx, id)
	}
}
