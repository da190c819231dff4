package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	// batch is how many rows are removed in one transaction.
	batch = 100
	// clientBatch is the same of clients, with what they have.
	clientBatch = 50
)

// DeleteExpiredClients removes clients that have expired, in short transactions (dcr.ExpiredDeleter).
func (s *Store) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) (removed []*dcr.Client, err error) {
	remove := func(statement string, args ...any) error {
		for err == nil && len(removed) < limit {
			most := min(limit-len(removed), clientBatch)
			var some []*dcr.Client
			some, err = s.removeClients(ctx, statement, append(slices.Clone(args), most)...)
			removed = append(removed, some...)
			if len(some) < most {
				break
			}
		}
		return err
	}
	if err := remove(s.sql.DeleteDueClients, nanoseconds(e.Now)); err != nil || e.IdleSince.IsZero() {
		return removed, err
	}
	return removed, remove(s.sql.DeleteIdleClients, nanoseconds(e.IdleSince), nanoseconds(e.Now))
}

func (s *Store) removeClients(ctx context.Context, statement string, args ...any) (removed []*dcr.Client, err error) {
	err = s.atomically(ctx, func(q querier) error {
		removed, err = s.takeClients(ctx, q, statement, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// takeClients removes clients, and returns their records. No client is removed without being returned: the transaction ends
// after all of them were read.
func (s *Store) takeClients(ctx context.Context, q querier, statement string, args ...any) ([]*dcr.Client, error) {
	clients, err := queryClients(ctx, q, statement, args...)
	if err != nil {
		return nil, err
	}
	for _, client := range clients {
		if err := s.removed(ctx, q, client.ID); err != nil {
			return nil, err
		}
	}
	// All who remove clients take the locks of the numbers in one order.
	slices.SortFunc(clients, func(a, b *dcr.Client) int { return int(digest(a.ID)[0])%shards - int(digest(b.ID)[0])%shards })
	for first := 0; first < len(clients); {
		shard, next := digest(clients[first].ID)[0]%shards, first+1
		for next < len(clients) && digest(clients[next].ID)[0]%shards == shard {
			next++
		}
		if err := s.count(ctx, q, clients[first].ID, first-next); err != nil {
			return nil, err
		}
		first = next
	}
	return clients, nil
}

// CreateClientEvicting stores a new client in place of the one that waits longest for its first use (dcr.ClientEvicter).
func (s *Store) CreateClientEvicting(ctx context.Context, client *dcr.Client, before time.Time) (evicted *dcr.Client, err error) {
	values, err := columns(client)
	if err != nil {
		return nil, err
	}
	if s.isStatic(client.ID) {
		return nil, dcr.ErrClientExists
	}
	err = s.atomically(ctx, func(q querier) error {
		evicted = nil
		if err := s.insertClient(ctx, q, client.ID, values); !errors.Is(err, dcr.ErrFull) {
			return err
		}
		removed, err := queryClients(ctx, q, s.sql.EvictClient, nanoseconds(before))
		switch {
		case err != nil:
			return err
		case len(removed) == 0:
			return dcr.ErrFull
		}
		evicted = removed[0]
		if err := s.removed(ctx, q, evicted.ID); err != nil {
			return err
		}
		// One goes and one comes: their number stays, and no lock on it is taken.
		created, err := exec(ctx, q, s.sql.CreateClient, append(values, int64(never))...)
		if err == nil && created == 0 {
			return dcr.ErrClientExists
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return evicted, nil
}
