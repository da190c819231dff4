package sqlstore

import (
	"context"
	"errors"
	"fmt"
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
			some, found, failed := s.removeClients(ctx, statement, append(slices.Clone(args), most)...)
			removed, err = append(removed, some...), failed
			if found < most {
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

// removeClients removes clients, and what they have. No client is removed without being returned: the transaction ends after
// all of them were read. A record that can't be read is removed, too, and an error beside the others.
func (s *Store) removeClients(ctx context.Context, statement string, args ...any) (removed []*dcr.Client, found int, err error) {
	var unreadable error
	err = s.atomically(ctx, func(ctx context.Context, q querier) error {
		rows, err := s.takeClients(ctx, q, statement, args...)
		if err != nil {
			return err
		}
		removed, found, unreadable = nil, len(rows), nil
		for _, r := range rows {
			if r.err != nil {
				unreadable = fmt.Errorf("sqlstore: the record of the client with the key %x, which was removed: %w", r.key, r.err)
				continue
			}
			removed = append(removed, r.client)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return removed, found, unreadable
}

// takenClient is a row that was removed.
type takenClient struct {
	key    []byte
	client *dcr.Client
	err    error
}

// takeClients removes clients that a statement finds, and what they have.
func (s *Store) takeClients(ctx context.Context, q querier, statement string, args ...any) ([]takenClient, error) {
	taken, err := queryTaken(ctx, q, statement, args...)
	if err != nil {
		return nil, err
	}
	for _, t := range taken {
		if err := s.removed(ctx, q, t.key); err != nil {
			return nil, err
		}
	}
	var fewer [shards]int
	for _, t := range taken {
		fewer[shardOf(t.key)]--
	}
	for shard, number := range fewer { // all who remove clients take these locks in one order
		if number == 0 {
			continue
		}
		if err := s.count(ctx, q, shard, number); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

func queryTaken(ctx context.Context, q querier, statement string, args ...any) (taken []takenClient, err error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t takenClient
		var record []byte
		var lastUsed, keepUntil int64
		if err := rows.Scan(&t.key, &record, &lastUsed, &keepUntil); err != nil {
			return nil, err
		}
		t.client, t.err = decodeClient(record, lastUsed, keepUntil)
		taken = append(taken, t)
	}
	return taken, rows.Err()
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
	err = s.atomically(ctx, func(ctx context.Context, q querier) error {
		evicted = nil
		if err := s.insertClient(ctx, q, client.ID, values); !errors.Is(err, dcr.ErrFull) {
			return err
		}
		taken, err := queryTaken(ctx, q, s.sql.EvictClient, nanoseconds(before))
		switch {
		case err != nil:
			return err
		case len(taken) == 0:
			return dcr.ErrFull
		}
		evicted = taken[0].client // nil where its record can't be read
		if err := s.removed(ctx, q, taken[0].key); err != nil {
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
