package storagetest_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func (b *broken) ListClients(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
	return b.list(ctx, f, from, limit)
}

func (b *broken) CountClients(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
	return b.count(ctx, f, most)
}

// everything is all that fits, in order.
func (b *broken) everything(ctx context.Context, f dcr.ClientFilter) ([]*dcr.Client, error) {
	return b.MemoryStore.ListClients(ctx, f, dcr.ClientCursor{}, 1000)
}

// choosing makes the list another choice from all that fits, which is in order.
func (b *broken) choosing(choose func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		all, err := b.everything(ctx, f)
		if err != nil {
			return nil, err
		}
		return choose(all, from, limit), nil
	}
}

// following is a choice of those that come after the cursor, as comes has it.
func (b *broken) following(comes func(c *dcr.Client, from dcr.ClientCursor) bool) {
	b.choosing(func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client {
		return first(slices.DeleteFunc(all, func(c *dcr.Client) bool { return from.ID != "" && !comes(c, from) }), limit)
	})
}

// ordering puts the list into another order, and begins behind the client of the cursor.
func (b *broken) ordering(order func(x, y *dcr.Client) int) {
	b.choosing(func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client {
		slices.SortStableFunc(all, order)
		return first(all[1+slices.IndexFunc(all, func(c *dcr.Client) bool { return c.ID == from.ID }):], limit)
	})
}

// showing changes the records that are listed.
func (b *broken) showing(change func(*dcr.Client)) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
		for _, c := range found {
			change(c)
		}
		return found, err
	}
}

// filtering changes the filter of lists, and counting that of counts.
func (b *broken) filtering(change func(*dcr.ClientFilter)) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		change(&f)
		return b.MemoryStore.ListClients(ctx, f, from, limit)
	}
}

func (b *broken) counting(change func(*dcr.ClientFilter)) {
	b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
		change(&f)
		return b.MemoryStore.CountClients(ctx, f, most)
	}
}

// matching has another idea of which clients fit: what reduce leaves of the filter, and
// matches besides. Lists and counts agree.
func (b *broken) matching(reduce func(*dcr.ClientFilter), matches func(f dcr.ClientFilter, c *dcr.Client) bool) {
	fitting := func(ctx context.Context, f dcr.ClientFilter) ([]*dcr.Client, error) {
		rest := f
		reduce(&rest)
		all, err := b.everything(ctx, rest)
		return slices.DeleteFunc(all, func(c *dcr.Client) bool { return !matches(f, c) }), err
	}
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		all, err := fitting(ctx, f)
		return first(slices.DeleteFunc(all, func(c *dcr.Client) bool { return !from.Follows(c) }), limit), err
	}
	b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
		all, err := fitting(ctx, f)
		return min(len(all), most), err
	}
}

func first(clients []*dcr.Client, limit int) []*dcr.Client { return clients[:min(len(clients), limit)] }

// byID is the order of those that were registered at one time.
func byID(x, y *dcr.Client) int { return strings.Compare(y.ID, x.ID) }

// stirred counts what is created, updated and deleted.
func (b *broken) stirred() *atomic.Int64 {
	n := new(atomic.Int64)
	b.create = func(ctx context.Context, c *dcr.Client) error {
		defer n.Add(1)
		return b.MemoryStore.CreateClient(ctx, c)
	}
	b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
		defer n.Add(1)
		return b.MemoryStore.UpdateClient(ctx, c, version)
	}
	b.delete = func(ctx context.Context, id string) error {
		defer n.Add(1)
		return b.MemoryStore.DeleteClient(ctx, id)
	}
	return n
}
