package storagetest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// defect is one mistake, and the rows that must catch it.
type defect struct {
	name   string
	make   func(*broken)
	caught []string
}

var errOther = errors.New("sql: no rows in result set")

var clientDefects = []defect{
	{"create overwrites", func(b *broken) {
		b.create = func(_ context.Context, c *dcr.Client) error { return b.overwrite(c) }
	}, []string{"create/exists", "race/create", "static/create_exists"}},
	{"create ignores an identifier that is taken", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			_ = b.MemoryStore.CreateClient(ctx, c)
			return nil
		}
	}, []string{"create/exists", "race/create", "context/create", "static/create_exists"}},
	{"create has another error for an identifier that is taken", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			if b.MemoryStore.CreateClient(ctx, c) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"create/exists", "race/create", "static/create_exists", "context/create"}},
	{"create overwrites static clients", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			if found, err := b.MemoryStore.GetClient(ctx, c.ID); err == nil && !dcr.IsDynamic(found) {
				return b.overwrite(c)
			}
			return b.MemoryStore.CreateClient(ctx, c)
		}
	}, []string{"static/create_exists"}},
	{"create looks first and writes then", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			if _, err := b.MemoryStore.GetClient(ctx, c.ID); err == nil {
				return dcr.ErrClientExists
			}
			yield()
			return b.overwrite(c)
		}
	}, []string{"race/create"}},
	{"create fails for everybody", func(b *broken) {
		b.create = func(context.Context, *dcr.Client) error { return errOther }
	}, []string{"create/plain", "create/read_back", "create/sparse", "read/get_client"}},
	{"create keeps the caller's record", func(b *broken) { b.alias(true, false) }, []string{"create/copied_in"}},
	{"update keeps the caller's record", func(b *broken) { b.alias(true, false) }, []string{"update/copied_in"}},
	{"reads return the stored record", func(b *broken) { b.alias(false, true) }, []string{"read/copied_out", "read/get_client_copied_out"}},
	{"an empty list is lost", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if c != nil && len(c.Metadata.ResponseTypes) == 0 {
				c.Metadata.ResponseTypes = nil
			}
			return c, err
		}
	}, []string{"create/sparse"}},
	{"no time becomes 1970", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if c != nil && c.ExpiresAt.IsZero() {
				c.ExpiresAt = time.Unix(0, 0)
			}
			return c, err
		}
	}, []string{"create/sparse"}},
	{"1970 becomes no time", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if c != nil && c.LastUsedAt.Equal(time.Unix(0, 0)) {
				c.LastUsedAt = time.Time{}
			}
			return c, err
		}
	}, []string{"create/1970"}},
	{"read returns nothing and no error", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, _ := b.MemoryStore.GetDynamicClient(ctx, id)
			return c, nil
		}
	}, []string{"read/unknown", "delete/gone", "context/read", "static/read"}},
	{"read returns a record with the error", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if err != nil {
				return &dcr.Client{}, err
			}
			return c, nil
		}
	}, []string{"read/unknown"}},
	{"read has another error for an unknown client", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			c, err := b.MemoryStore.GetDynamicClient(ctx, id)
			if err != nil {
				return nil, errOther
			}
			return c, nil
		}
	}, []string{"read/unknown", "read/exact_identifier", "delete/gone", "update/unknown", "context/read", "static/read"}},
	{"identifiers are compared without case", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			return b.MemoryStore.GetDynamicClient(ctx, asCreated(id))
		}
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			return b.MemoryStore.GetClient(ctx, asCreated(id))
		}
	}, []string{"read/exact_identifier"}},
	{"identifiers are trimmed", func(b *broken) {
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			return b.MemoryStore.GetClient(ctx, strings.TrimSpace(id))
		}
	}, []string{"read/exact_identifier"}},
	{"read returns static clients", func(b *broken) {
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			found, err := b.MemoryStore.GetClient(ctx, id)
			if c, ok := found.(*dcr.Client); ok || err != nil {
				return c, err
			}
			return &dcr.Client{ID: id}, nil
		}
	}, []string{"static/read"}},
	{"GetClient returns a type of its own", func(b *broken) {
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			c, err := b.MemoryStore.GetClient(ctx, id)
			if err != nil {
				return nil, err
			}
			return &fosite.DefaultClient{ID: c.GetID(), RedirectURIs: c.GetRedirectURIs(), Secret: c.GetHashedSecret()}, nil
		}
	}, []string{"read/get_client", "read/get_client_copied_out"}},
	{"GetClient returns every client as a record", func(b *broken) {
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			c, err := b.MemoryStore.GetClient(ctx, id)
			if err == nil && !dcr.IsDynamic(c) {
				return &dcr.Client{ID: id}, nil
			}
			return c, err
		}
	}, []string{"static/read", "static/create_exists", "static/update", "static/delete"}},
	{"GetClient has another error for an unknown client", func(b *broken) {
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			c, err := b.MemoryStore.GetClient(ctx, id)
			if err != nil {
				return nil, errOther
			}
			return c, nil
		}
	}, []string{"read/get_client_unknown", "read/exact_identifier", "delete/gone", "update/unknown", "touch/unknown"}},
	{"GetClient has a cache that is never emptied", func(b *broken) {
		var cache sync.Map
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			if c, ok := cache.Load(id); ok {
				return c.(*dcr.Client).Clone(), nil
			}
			c, err := b.MemoryStore.GetClient(ctx, id)
			if record, ok := c.(*dcr.Client); ok {
				cache.Store(id, record.Clone())
			}
			return c, err
		}
	}, []string{"update/replaces", "delete/gone"}},
}

// asCreated guesses the identifier of a row's client from one in another case.
func asCreated(id string) string {
	const prefix = "storagetest-"
	if len(id) < len(prefix) || !strings.EqualFold(id[:len(prefix)], prefix) {
		return id
	}
	return prefix + strings.ToUpper(id[len(prefix):])
}

// alias keeps records as they came, or returns them as they are kept.
func (b *broken) alias(in, out bool) {
	var kept sync.Map
	keep := func(c *dcr.Client) {
		if !in {
			c = c.Clone()
		}
		kept.Store(c.ID, c)
	}
	b.create = func(ctx context.Context, c *dcr.Client) error {
		defer keep(c)
		return b.MemoryStore.CreateClient(ctx, c)
	}
	b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
		defer keep(c)
		return b.MemoryStore.CreateClientEvicting(ctx, c, before)
	}
	b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
		defer keep(c)
		return b.MemoryStore.UpdateClient(ctx, c, version)
	}
	b.read = func(_ context.Context, id string) (*dcr.Client, error) {
		c, ok := kept.Load(id)
		switch {
		case !ok:
			return nil, fosite.ErrNotFound
		case out:
			return c.(*dcr.Client), nil
		}
		return c.(*dcr.Client).Clone(), nil
	}
	b.getClient = func(ctx context.Context, id string) (fosite.Client, error) { return b.read(ctx, id) }
}

var changeDefects = []defect{
	{"update does nothing", func(b *broken) {
		b.update = func(context.Context, *dcr.Client, int64) error { return nil }
	}, []string{"update/replaces", "update/conflict", "update/unknown", "update/deleted", "race/update", "context/update", "static/update"}},
	{"update compares no version", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, _ int64) error {
			for {
				stored, err := b.MemoryStore.GetDynamicClient(ctx, c.ID)
				if err != nil {
					return err
				}
				if err := b.MemoryStore.UpdateClient(ctx, c, stored.Version); !errors.Is(err, dcr.ErrConflict) {
					return err
				}
			}
		}
	}, []string{"update/conflict", "race/update"}},
	{"update compares first and writes then", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			stored, err := b.MemoryStore.GetDynamicClient(ctx, c.ID)
			switch {
			case err != nil:
				return err
			case stored.Version != version:
				return dcr.ErrConflict
			}
			yield()
			return b.overwrite(c)
		}
	}, []string{"race/update", "race/update_and_delete"}},
	{"update has another error for a conflict", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			if b.MemoryStore.UpdateClient(ctx, c, version) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"update/conflict", "update/unknown", "update/deleted", "race/update", "context/update", "static/update"}},
	{"update says conflict for an unknown client", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			if b.MemoryStore.UpdateClient(ctx, c, version) != nil {
				return dcr.ErrConflict
			}
			return nil
		}
	}, []string{"update/unknown", "update/deleted", "static/update"}},
	{"update creates", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			err := b.MemoryStore.UpdateClient(ctx, c, version)
			if errors.Is(err, fosite.ErrNotFound) {
				return b.overwrite(c)
			}
			return err
		}
	}, []string{"update/unknown", "update/deleted", "static/update", "race/update_and_delete"}},
	{"update loses when the client was used", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			if err := b.MemoryStore.UpdateClient(ctx, c, version); err != nil {
				return err
			}
			return b.overwrite(c)
		}
	}, []string{"update/keeps_use", "touch/then_update"}},
	{"update has no where clause", func(b *broken) {
		known := b.remember()
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			for _, id := range known.all() {
				if other, err := b.MemoryStore.GetDynamicClient(ctx, id); err == nil && id != c.ID {
					other.Metadata = c.Metadata
					b.AddClient(other)
				}
			}
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"update/others_stay"}},
	{"update writes in two steps", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			half, err := b.MemoryStore.GetDynamicClient(ctx, c.ID)
			if err != nil {
				return err
			}
			half.Metadata = c.Metadata
			if err := b.MemoryStore.UpdateClient(ctx, half, version); err != nil {
				return err
			}
			yield()
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"race/read_whole"}},
	{"update is half done when the context ends", func(b *broken) {
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			if ctx.Err() != nil {
				half, _ := b.MemoryStore.GetDynamicClient(context.WithoutCancel(ctx), c.ID)
				half.Metadata = c.Metadata
				return errors.Join(ctx.Err(), b.overwrite(half))
			}
			return b.MemoryStore.UpdateClient(ctx, c, version)
		}
	}, []string{"context/update"}},
	{"delete does nothing", func(b *broken) {
		b.delete = func(context.Context, string) error { return nil }
	}, []string{"delete/gone", "delete/unknown", "update/deleted", "race/delete", "race/update_and_delete", "context/delete", "static/delete"}},
	{"delete reports nothing", func(b *broken) {
		b.delete = func(ctx context.Context, id string) error {
			_ = b.MemoryStore.DeleteClient(ctx, id)
			return nil
		}
	}, []string{"delete/unknown", "race/delete", "static/delete", "context/delete"}},
	{"delete looks first and removes then", func(b *broken) {
		b.delete = func(ctx context.Context, id string) error {
			if _, err := b.MemoryStore.GetDynamicClient(ctx, id); err != nil {
				return err
			}
			yield()
			_ = b.MemoryStore.DeleteClient(ctx, id)
			return nil
		}
	}, []string{"race/delete"}},
	{"delete removes everybody", func(b *broken) {
		known := b.remember()
		b.delete = func(ctx context.Context, id string) error {
			for _, other := range known.all() {
				if other != id {
					_ = b.MemoryStore.DeleteClient(ctx, other)
				}
			}
			return b.MemoryStore.DeleteClient(ctx, id)
		}
	}, []string{"delete/others_stay"}},
	{"methods ignore the context", func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			return b.MemoryStore.CreateClient(context.WithoutCancel(ctx), c)
		}
		b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
			return b.MemoryStore.GetDynamicClient(context.WithoutCancel(ctx), id)
		}
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			return b.MemoryStore.UpdateClient(context.WithoutCancel(ctx), c, version)
		}
		b.delete = func(ctx context.Context, id string) error {
			return b.MemoryStore.DeleteClient(context.WithoutCancel(ctx), id)
		}
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			return b.MemoryStore.TouchClient(context.WithoutCancel(ctx), id, lastUsed, keepUntil)
		}
		b.revoke = func(ctx context.Context, id string) error {
			return b.MemoryStore.RevokeClientGrants(context.WithoutCancel(ctx), id)
		}
	}, []string{"context/create", "context/read", "context/update", "context/delete", "context/touch", "context/revoke"}},
}
