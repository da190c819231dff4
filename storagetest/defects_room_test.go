package storagetest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func (b *broken) MakeRoom(ctx context.Context, before time.Time) (string, error) {
	return b.room(ctx, before)
}

// evicting makes room by taking the first, in an order, of all clients that can go, and
// removing it.
func (b *broken) evicting(can func(c *dcr.Client, before time.Time) bool, order func(x, y *dcr.Client) int, remove func(*dcr.Client)) {
	b.room = func(ctx context.Context, before time.Time) (string, error) {
		all, err := b.everything(ctx, dcr.ClientFilter{})
		if err != nil {
			return "", err
		}
		all = slices.DeleteFunc(all, func(c *dcr.Client) bool { return !can(c, before) })
		if len(all) == 0 {
			return "", fosite.ErrNotFound
		}
		oldest := slices.MinFunc(all, order)
		remove(oldest)
		return oldest.ID, nil
	}
}

func unusedBefore(c *dcr.Client, before time.Time) bool {
	return c.LastUsedAt.IsZero() && c.UpdatedAt.Before(before)
}

func byUpdate(x, y *dcr.Client) int { return x.UpdatedAt.Compare(y.UpdatedAt) }

// deleting removes a client whatever has happened to it.
func (b *broken) deleting(c *dcr.Client) { _ = b.MemoryStore.DeleteClient(context.Background(), c.ID) }

var roomDefects = []defect{
	{"the client that waits least gives way", func(b *broken) {
		b.evicting(unusedBefore, func(x, y *dcr.Client) int { return byUpdate(y, x) }, b.deleting)
	}, []string{"room/oldest", "room/updated"}},
	{"the client that was registered first gives way", func(b *broken) {
		b.evicting(unusedBefore, func(x, y *dcr.Client) int { return x.CreatedAt.Compare(y.CreatedAt) }, b.deleting)
	}, []string{"room/oldest"}},
	{"no client gives way", func(b *broken) {
		b.room = func(context.Context, time.Time) (string, error) { return "", fosite.ErrNotFound }
	}, []string{"room/oldest", "room/used", "room/updated", "room/before", "race/room", "context/room"}},
	{"the client that gives way stays", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(*dcr.Client) {})
	}, []string{"room/oldest", "room/used", "race/room", "race/room_update"}},
	{"the client that gives way is not told", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			_, err := b.MemoryStore.MakeRoom(ctx, before)
			return "", err
		}
	}, []string{"room/oldest", "race/room", "race/room_touch"}},
	{"all that can give way do", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, err := b.MemoryStore.MakeRoom(ctx, before)
			for more := err; more == nil; {
				_, more = b.MemoryStore.MakeRoom(ctx, before)
			}
			return id, err
		}
	}, []string{"room/oldest", "race/room", "race/room_touch"}},
	{"GetClient finds what gave way", func(b *broken) {
		var cache sync.Map
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			if c, ok := cache.Load(id); ok {
				return c.(*dcr.Client).Clone(), nil
			}
			return b.MemoryStore.GetClient(ctx, id)
		}
		b.create = func(ctx context.Context, c *dcr.Client) error {
			cache.Store(c.ID, c.Clone())
			return b.MemoryStore.CreateClient(ctx, c)
		}
	}, []string{"room/oldest"}},
	{"used clients give way", func(b *broken) {
		b.evicting(func(c *dcr.Client, before time.Time) bool { return c.UpdatedAt.Before(before) }, byUpdate, b.deleting)
	}, []string{"room/used", "room/none", "race/room_touch"}},
	{"an update does not count", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			c = c.Clone()
			if old, err := b.MemoryStore.GetDynamicClient(ctx, c.ID); err == nil {
				c.UpdatedAt = old.UpdatedAt
			}
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"room/updated", "race/room_update"}},
	{"no client is too young", func(b *broken) {
		b.evicting(func(c *dcr.Client, _ time.Time) bool { return c.LastUsedAt.IsZero() }, byUpdate, b.deleting)
	}, []string{"room/none", "room/before", "room/updated"}},
	{"a client of the very time gives way", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			return b.MemoryStore.MakeRoom(ctx, before.Add(time.Second))
		}
	}, []string{"room/before"}},
	{"there is another error for no client", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, err := b.MemoryStore.MakeRoom(ctx, before)
			if err != nil {
				return "", errOther
			}
			return id, nil
		}
	}, []string{"room/none", "room/oldest", "race/room"}},
	{"there is no error for no client", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, _ := b.MemoryStore.MakeRoom(ctx, before)
			return id, nil
		}
	}, []string{"room/none", "room/oldest"}},
	{"a client of the operator's own gives way", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, err := b.MemoryStore.MakeRoom(ctx, before)
			if own := b.static.all(); err != nil && len(own) > 0 {
				return own[0], b.overwrite(&dcr.Client{ID: own[0]})
			}
			return id, err
		}
	}, []string{"room/static"}},
	{"what gives way is looked for first and removed then", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(c *dcr.Client) {
			yield()
			b.deleting(c)
		})
	}, []string{"race/room", "race/room_update", "race/room_touch"}},
	{"of two at once one finds nothing", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(*dcr.Client) {})
		look := b.room
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, err := look(ctx, before)
			if err != nil {
				return "", err
			}
			yield()
			return id, b.MemoryStore.DeleteClient(ctx, id)
		}
	}, []string{"race/room"}},
	{"making room ignores its context", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			return b.MemoryStore.MakeRoom(context.WithoutCancel(ctx), before)
		}
	}, []string{"context/room"}},
}
