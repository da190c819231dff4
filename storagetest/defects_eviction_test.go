package storagetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// evicting evicts the first, in an order, of all clients that can be evicted, and removes it.
func (b *broken) evicting(can func(c *dcr.Client, before time.Time) bool, order func(x, y *dcr.Client) int, remove func(*dcr.Client) error) {
	b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
		if _, err := b.MemoryStore.GetClient(ctx, c.ID); err == nil {
			return nil, dcr.ErrClientExists
		}
		all, err := b.everything(ctx, dcr.ClientFilter{})
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(c *dcr.Client) bool { return !can(c, before) })
		if len(all) == 0 {
			return nil, dcr.ErrFull
		}
		oldest := slices.MinFunc(all, order)
		if err := remove(oldest); err != nil {
			return nil, err
		}
		return oldest, b.overwrite(c)
	}
}

func unusedBefore(c *dcr.Client, before time.Time) bool {
	return c.LastUsedAt.IsZero() && c.UpdatedAt.Before(before)
}

func byUpdate(x, y *dcr.Client) int { return x.UpdatedAt.Compare(y.UpdatedAt) }

// deleting removes a client whatever has happened to it.
func (b *broken) deleting(c *dcr.Client) error {
	_ = b.MemoryStore.DeleteClient(context.Background(), c.ID)
	return nil
}

// after does something more to what was evicted, or to the error.
func (b *broken) after(do func(ctx context.Context, c, evicted *dcr.Client, before time.Time, err error) (*dcr.Client, error)) {
	b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
		evicted, err := b.MemoryStore.CreateClientEvicting(ctx, c, before)
		return do(ctx, c, evicted, before, err)
	}
}

var evictionDefects = []defect{
	{"the client that waits least is evicted", func(b *broken) {
		b.evicting(unusedBefore, func(x, y *dcr.Client) int { return byUpdate(y, x) }, b.deleting)
	}, []string{"eviction/oldest", "eviction/updated"}},
	{"the client that was registered first is evicted", func(b *broken) {
		b.evicting(unusedBefore, func(x, y *dcr.Client) int { return x.CreatedAt.Compare(y.CreatedAt) }, b.deleting)
	}, []string{"eviction/oldest"}},
	{"no client is evicted", func(b *broken) {
		b.evict = func(context.Context, *dcr.Client, time.Time) (*dcr.Client, error) { return nil, dcr.ErrFull }
	}, []string{"eviction/oldest", "eviction/creates", "eviction/used", "eviction/updated", "eviction/before", "eviction/copied_in",
		"race/eviction", "race/eviction_create", "context/eviction"}},
	{"the client that is evicted stays", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(*dcr.Client) error { return nil })
	}, []string{"eviction/oldest", "eviction/used", "race/eviction", "race/eviction_update"}},
	{"the client that is evicted is not returned", func(b *broken) {
		b.after(func(_ context.Context, _, _ *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			return nil, err
		})
	}, []string{"eviction/oldest", "race/eviction", "race/eviction_touch"}},
	{"the client that is evicted comes without its registration access token", func(b *broken) {
		b.after(func(_ context.Context, _, evicted *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			if evicted != nil {
				evicted.RegistrationToken = dcr.RegistrationTokenRecord{}
			}
			return evicted, err
		})
	}, []string{"eviction/oldest"}},
	{"all that can be evicted are", func(b *broken) {
		b.after(func(ctx context.Context, _, evicted *dcr.Client, before time.Time, err error) (*dcr.Client, error) {
			all, _ := b.everything(ctx, dcr.ClientFilter{})
			for _, c := range all {
				if unusedBefore(c, before) {
					_ = b.deleting(c)
				}
			}
			return evicted, err
		})
	}, []string{"eviction/oldest", "race/eviction", "race/eviction_touch"}},
	{"an eviction leaves more room than it takes", func(b *broken) {
		b.after(func(ctx context.Context, c, evicted *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			all, _ := b.everything(ctx, dcr.ClientFilter{})
			for _, other := range all {
				if err == nil && other.ID != c.ID {
					return evicted, b.deleting(other)
				}
			}
			return evicted, err
		})
	}, []string{"eviction/creates"}},
	{"an eviction creates nothing", func(b *broken) {
		b.after(func(_ context.Context, c, evicted *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			if err == nil {
				_ = b.deleting(c)
			}
			return evicted, err
		})
	}, []string{"eviction/oldest", "eviction/creates", "eviction/copied_in"}},
	{"an eviction keeps the caller's record", func(b *broken) { b.alias(true, false) }, []string{"eviction/copied_in"}},
	{"an identifier that is taken costs a client", func(b *broken) {
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			_, err := b.MemoryStore.GetClient(ctx, c.ID)
			if err != nil {
				return b.MemoryStore.CreateClientEvicting(ctx, c, before)
			}
			_, _ = b.MemoryStore.CreateClientEvicting(ctx, &dcr.Client{ID: "another", LastUsedAt: time.Now()}, before)
			return nil, dcr.ErrClientExists
		}
	}, []string{"eviction/exists"}},
	{"an identifier that is taken is replaced", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, b.deleting)
		evict := b.evict
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			evicted, err := evict(ctx, c, before)
			if errors.Is(err, dcr.ErrClientExists) {
				return evicted, b.overwrite(c)
			}
			return evicted, err
		}
	}, []string{"eviction/exists"}},
	{"GetClient finds what was evicted", func(b *broken) {
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
	}, []string{"eviction/oldest"}},
	{"used clients are evicted", func(b *broken) {
		b.evicting(func(c *dcr.Client, before time.Time) bool { return c.UpdatedAt.Before(before) }, byUpdate, b.deleting)
	}, []string{"eviction/used", "eviction/none", "race/eviction_touch"}},
	{"an update does not count", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			c = c.Clone()
			if old, err := b.MemoryStore.GetDynamicClient(ctx, c.ID); err == nil {
				c.UpdatedAt = old.UpdatedAt
			}
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"eviction/updated", "race/eviction_update"}},
	{"no client has a grace", func(b *broken) {
		b.evicting(func(c *dcr.Client, _ time.Time) bool { return c.LastUsedAt.IsZero() }, byUpdate, b.deleting)
	}, []string{"eviction/none", "eviction/before", "eviction/updated"}},
	{"a client of the very time is evicted", func(b *broken) {
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			return b.MemoryStore.CreateClientEvicting(ctx, c, before.Add(time.Second))
		}
	}, []string{"eviction/before"}},
	{"there is another error for no client", func(b *broken) {
		b.after(func(_ context.Context, _, evicted *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			if err != nil {
				return nil, errOther
			}
			return evicted, nil
		})
	}, []string{"eviction/none", "eviction/oldest", "race/eviction"}},
	{"there is no error for no client", func(b *broken) {
		b.after(func(_ context.Context, _, evicted *dcr.Client, _ time.Time, _ error) (*dcr.Client, error) {
			return evicted, nil
		})
	}, []string{"eviction/none", "eviction/oldest"}},
	{"a static client is evicted", func(b *broken) {
		b.after(func(_ context.Context, c, evicted *dcr.Client, _ time.Time, err error) (*dcr.Client, error) {
			if static := b.static.all(); err != nil && len(static) > 0 {
				return &dcr.Client{ID: static[0]}, errors.Join(b.overwrite(&dcr.Client{ID: static[0]}), b.overwrite(c))
			}
			return evicted, err
		})
	}, []string{"eviction/static"}},
	{"what is evicted is looked for first and removed then", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(c *dcr.Client) error {
			yield()
			return b.deleting(c)
		})
	}, []string{"race/eviction", "race/eviction_update", "race/eviction_touch"}},
	{"of two at once one finds nothing", func(b *broken) {
		b.evicting(unusedBefore, byUpdate, func(c *dcr.Client) error {
			yield()
			if b.MemoryStore.DeleteClient(context.Background(), c.ID) != nil {
				return dcr.ErrFull
			}
			return nil
		})
	}, []string{"race/eviction"}},
	{"room is made first and taken then", func(b *broken) {
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			inBetween := c.Clone()
			inBetween.ID += "-in-between"
			evicted, err := b.MemoryStore.CreateClientEvicting(ctx, inBetween, before)
			if err != nil {
				return nil, err
			}
			_ = b.deleting(inBetween)
			yield()
			return evicted, b.MemoryStore.CreateClient(ctx, c)
		}
	}, []string{"race/eviction_create"}},
	{"an eviction ignores its context", func(b *broken) {
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			return b.MemoryStore.CreateClientEvicting(context.WithoutCancel(ctx), c, before)
		}
	}, []string{"context/eviction"}},
}

// creating makes create one that has another say where the store is full.
func (b *broken) creating(full func(ctx context.Context, c *dcr.Client) error) {
	b.create = func(ctx context.Context, c *dcr.Client) error {
		err := b.MemoryStore.CreateClient(ctx, c)
		if errors.Is(err, dcr.ErrFull) {
			return full(ctx, c)
		}
		return err
	}
}

var fullDefects = []defect{
	{"a store that is full has another error", func(b *broken) {
		b.creating(func(context.Context, *dcr.Client) error { return errOther })
	}, []string{"full/create", "full/again", "eviction/creates"}},
	{"a store that is full is not available, and does not say why", func(b *broken) {
		b.creating(func(context.Context, *dcr.Client) error { return dcr.ErrUnavailable })
	}, []string{"full/create"}},
	{"a store that is full drops the new client", func(b *broken) {
		b.creating(func(context.Context, *dcr.Client) error { return nil })
	}, []string{"full/create", "full/again", "eviction/creates"}},
	{"a store that is full takes the new client, and says that it did not", func(b *broken) {
		b.creating(func(_ context.Context, c *dcr.Client) error { return errors.Join(b.overwrite(c), dcr.ErrFull) })
	}, []string{"full/create", "full/again"}},
	{"a store that is full evicts a client by itself", func(b *broken) {
		b.creating(func(ctx context.Context, c *dcr.Client) error {
			_, err := b.MemoryStore.CreateClientEvicting(ctx, c, time.Now())
			return err
		})
	}, []string{"full/create"}},
	{"a store that is full does not look who is there", func(b *broken) {
		n := 0
		b.create = func(ctx context.Context, c *dcr.Client) error {
			if n++; n > b.bound && b.bound > 0 {
				return dcr.ErrFull
			}
			return b.MemoryStore.CreateClient(ctx, c)
		}
	}, []string{"full/exists", "full/again"}},
	{"what is deleted twice makes room twice", func(b *broken) {
		extra := false
		b.delete = func(ctx context.Context, id string) error {
			err := b.MemoryStore.DeleteClient(ctx, id)
			extra = extra || errors.Is(err, fosite.ErrNotFound)
			return err
		}
		b.creating(func(_ context.Context, c *dcr.Client) error {
			if extra {
				return b.overwrite(c)
			}
			return dcr.ErrFull
		})
	}, []string{"full/again"}},
}
