package storagetest_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var listDefects = []defect{
	{"the oldest client comes first", func(b *broken) {
		b.ordering(func(x, y *dcr.Client) int {
			return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), byID(x, y))
		})
	}, []string{"list/order", "list/limit", "list/pages", "list/pages_filtered"}},
	{"the client that was changed last comes first", func(b *broken) {
		b.ordering(func(x, y *dcr.Client) int { return y.UpdatedAt.Compare(x.UpdatedAt) })
	}, []string{"list/order", "list/pages", "list/pages_changed"}},
	{"clients of one time come with the lesser identifier first", func(b *broken) {
		b.ordering(func(x, y *dcr.Client) int {
			return cmp.Or(y.CreatedAt.Compare(x.CreatedAt), byID(y, x))
		})
	}, []string{"list/order", "list/pages"}},
	{"identifiers are in order without case", func(b *broken) {
		b.ordering(func(x, y *dcr.Client) int {
			return cmp.Or(y.CreatedAt.Compare(x.CreatedAt), strings.Compare(strings.ToLower(y.ID), strings.ToLower(x.ID)))
		})
	}, []string{"list/order", "list/pages"}},
	{"the limit is ignored", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, _ int) ([]*dcr.Client, error) {
			return b.MemoryStore.ListClients(ctx, f, from, 1000)
		}
	}, []string{"list/limit", "list/cursor_deleted"}},
	{"a limit of nothing means everything", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			if limit == 0 {
				limit = 1000
			}
			return b.MemoryStore.ListClients(ctx, f, from, limit)
		}
	}, []string{"list/limit"}},
	{"pages are short although there is more", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			return b.MemoryStore.ListClients(ctx, f, from, min(limit, 2))
		}
	}, []string{"list/limit", "list/pages"}},
	{"nothing is ever listed", func(b *broken) {
		b.list = func(context.Context, dcr.ClientFilter, dcr.ClientCursor, int) ([]*dcr.Client, error) { return nil, nil }
	}, []string{"list/plain", "list/order"}},
	{"an empty list is an error", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
			if err == nil && len(found) == 0 {
				return nil, fosite.ErrNotFound
			}
			return found, err
		}
	}, []string{"list/nothing", "list/limit"}},
	{"records are listed without metadata", func(b *broken) {
		b.showing(func(c *dcr.Client) { c.Metadata = dcr.ClientMetadata{} })
	}, []string{"list/whole"}},
	{"records are listed without their hashes", func(b *broken) {
		b.showing(func(c *dcr.Client) { c.SecretHash = nil })
	}, []string{"list/whole"}},
	{"a list shows the registration and not the update", func(b *broken) {
		var cache sync.Map
		b.showing(func(c *dcr.Client) {
			if old, known := cache.LoadOrStore(c.ID, c.Clone()); known {
				*c = *old.(*dcr.Client).Clone()
			}
		})
	}, []string{"list/whole"}},
	{"the list has the stored records", func(b *broken) {
		var kept sync.Map
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			if c, ok := kept.Load(id); ok {
				return c.(*dcr.Client), nil
			}
			return b.MemoryStore.GetDynamicClient(ctx, id)
		}
		b.showing(func(c *dcr.Client) { kept.Store(c.ID, c) })
	}, []string{"list/copied_out"}},
	{"without a filter nothing is listed", func(b *broken) {
		b.matching(func(*dcr.ClientFilter) {}, func(f dcr.ClientFilter, _ *dcr.Client) bool { return f != dcr.ClientFilter{} })
	}, []string{"list/all"}},
	{"clients that have expired are left out", func(b *broken) {
		b.matching(func(*dcr.ClientFilter) {}, func(_ dcr.ClientFilter, c *dcr.Client) bool { return !(dcr.Expiry{Now: time.Now()}).Expired(c) })
	}, []string{"list/all"}},
	{"the list is made once", func(b *broken) {
		var cache sync.Map
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			if found, ok := cache.Load(f.Issuer); ok {
				return found.([]*dcr.Client), nil
			}
			found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
			cache.Store(f.Issuer, found)
			return found, err
		}
	}, []string{"list/changes"}},
	{"deleted clients are listed", func(b *broken) {
		deleted := map[string]*dcr.Client{}
		b.delete = func(ctx context.Context, id string) error {
			deleted[id], _ = b.MemoryStore.GetDynamicClient(ctx, id)
			return b.MemoryStore.DeleteClient(ctx, id)
		}
		b.list = func(ctx context.Context, f dcr.ClientFilter, _ dcr.ClientCursor, _ int) ([]*dcr.Client, error) {
			found, err := b.everything(ctx, f)
			for _, c := range deleted {
				found = append(found, c)
			}
			return found, err
		}
	}, []string{"list/changes"}},
	{"a list ignores its context", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			return b.MemoryStore.ListClients(context.WithoutCancel(ctx), f, from, limit)
		}
	}, []string{"context/list"}},
	{"static clients are counted", func(b *broken) {
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			if found, err := b.MemoryStore.GetClient(ctx, f.Search); err == nil && !dcr.IsDynamic(found) {
				return 1, nil
			}
			return b.MemoryStore.CountClients(ctx, f, most)
		}
	}, []string{"list/static"}},
	{"static clients are listed", func(b *broken) {
		known := &ids{} // by looking for them
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			known.add(f.Search)
			return b.MemoryStore.CountClients(ctx, f, most)
		}
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
			for _, id := range known.all() {
				if c, err := b.MemoryStore.GetClient(ctx, id); err == nil && !dcr.IsDynamic(c) {
					found = append(found, &dcr.Client{ID: id})
				}
			}
			return found, err
		}
	}, []string{"list/static"}},
}

var pageDefects = []defect{
	{"the cursor is ignored", func(b *broken) {
		b.following(func(*dcr.Client, dcr.ClientCursor) bool { return true })
	}, []string{"list/pages", "list/cursor_deleted", "list/pages_changed", "list/pages_filtered", "race/list"}},
	{"a page begins with the client of the cursor", func(b *broken) {
		b.following(func(c *dcr.Client, from dcr.ClientCursor) bool { return c.ID == from.ID || from.Follows(c) })
	}, []string{"list/pages", "list/pages_changed"}},
	{"a page leaves out those that were registered at the time of the cursor", func(b *broken) {
		b.following(func(c *dcr.Client, from dcr.ClientCursor) bool { return c.CreatedAt.Before(from.CreatedAt) })
	}, []string{"list/pages", "list/cursor_deleted", "list/pages_filtered"}},
	{"a page repeats those that were registered at the time of the cursor", func(b *broken) {
		b.following(func(c *dcr.Client, from dcr.ClientCursor) bool {
			return c.ID != from.ID && !c.CreatedAt.After(from.CreatedAt)
		})
	}, []string{"list/pages"}},
	{"a page goes by the identifier only", func(b *broken) {
		b.following(func(c *dcr.Client, from dcr.ClientCursor) bool { return c.ID < from.ID })
	}, []string{"list/pages"}},
	{"behind a client that is gone there is nothing", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			if from.ID != "" {
				if _, err := b.MemoryStore.GetDynamicClient(ctx, from.ID); err != nil {
					return nil, nil
				}
			}
			return b.MemoryStore.ListClients(ctx, f, from, limit)
		}
	}, []string{"list/cursor_deleted", "list/all"}},
	{"behind a client that is gone is the beginning", func(b *broken) {
		b.ordering(func(*dcr.Client, *dcr.Client) int { return 0 })
	}, []string{"list/cursor_deleted"}},
	{"the cursor is a number of clients", func(b *broken) {
		number := map[string]int{}
		b.choosing(func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client {
			page := first(all[min(number[from.ID], len(all)):], limit)
			for i, c := range page {
				number[c.ID] = number[from.ID] + i + 1
			}
			return page
		})
	}, []string{"list/pages_changed"}},
	{"a client that is used comes up again", func(b *broken) {
		b.showing(func(c *dcr.Client) { c.CreatedAt = laterOf(c.CreatedAt, c.LastUsedAt) })
	}, []string{"list/pages_changed"}},
	{"the limit counts clients that do not fit", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			page, err := b.MemoryStore.ListClients(ctx, dcr.ClientFilter{Issuer: f.Issuer}, from, limit)
			return slices.DeleteFunc(page, func(c *dcr.Client) bool { return !f.Matches(c) }), err
		}
	}, []string{"list/pages_filtered"}},
	{"a list fails where another writes", func(b *broken) {
		writes := b.stirred()
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			before := writes.Load()
			yield()
			if writes.Load() != before {
				return nil, errOther
			}
			return b.MemoryStore.ListClients(ctx, f, from, limit)
		}
	}, []string{"race/list"}},
	{"a list is read in two parts", func(b *broken) {
		writes := b.stirred()
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			all, err := b.everything(ctx, f)
			for before, n := writes.Load(), 0; writes.Load() == before && n < 100; n++ {
				yield()
			}
			again, errAgain := b.everything(ctx, f)
			all = append(all[:len(all)/2], again[min(len(again), len(all)/2):]...)
			return first(slices.DeleteFunc(all, func(c *dcr.Client) bool { return !from.Follows(c) }), limit), cmp.Or(err, errAgain)
		}
	}, []string{"race/list"}},
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

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
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			removed, err := b.MemoryStore.DeleteExpiredClients(ctx, e, limit)
			more.Add(int64(len(removed)))
			return removed, err
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
