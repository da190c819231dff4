package storagetest_test

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

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
	}, []string{"full/create", "full/again", "full/room"}},
	{"a store that is full is not available, and does not say why", func(b *broken) {
		b.creating(func(context.Context, *dcr.Client) error { return dcr.ErrUnavailable })
	}, []string{"full/create"}},
	{"a store that is full drops the new client", func(b *broken) {
		b.creating(func(context.Context, *dcr.Client) error { return nil })
	}, []string{"full/create", "full/again", "full/room"}},
	{"a store that is full takes the new client, and says that it did not", func(b *broken) {
		b.creating(func(_ context.Context, c *dcr.Client) error { return errors.Join(b.overwrite(c), dcr.ErrFull) })
	}, []string{"full/create", "full/again"}},
	{"a store that is full throws a client out by itself", func(b *broken) {
		b.creating(func(ctx context.Context, c *dcr.Client) error {
			_, _ = b.MemoryStore.MakeRoom(ctx, time.Now())
			return b.MemoryStore.CreateClient(ctx, c)
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
	{"what gives way makes no room", func(b *broken) {
		b.room = func(ctx context.Context, before time.Time) (string, error) {
			id, err := b.MemoryStore.MakeRoom(ctx, before)
			if err == nil {
				b.AddClient(&dcr.Client{ID: "remains"})
			}
			return id, err
		}
	}, []string{"full/room"}},
}
