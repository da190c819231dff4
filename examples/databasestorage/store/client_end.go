package store

import (
	"context"
	"database/sql"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// DeleteExpiredClients removes clients that have expired, and returns them. The condition is that of
// dcr.Expiry. Where a column is NULL, or there is no IdleSince, that part of it is not true. The
// transaction is committed after all records were read, so that no client is removed without being
// returned.
func (s *Store) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) (removed []*dcr.Client, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		removed, err = remove(ctx, tx, `SELECT id FROM clients WHERE expires_at <= $1
				OR last_used_at IS NULL AND unused_until <= $1
				OR last_used_at <= $2 AND (keep_until IS NULL OR keep_until <= $1)
			LIMIT $3`, nanoseconds(e.Now), orNull(e.IdleSince), max(limit, 0))
		return err
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// CreateClientEvicting stores a new client in place of the one that waits longest for its first use,
// and returns the evicted one. It evicts no client where there is room by now. Where no client may be
// evicted, it returns dcr.ErrFull.
func (s *Store) CreateClientEvicting(ctx context.Context, client *dcr.Client, before time.Time) (evicted *dcr.Client, err error) {
	values, err := columns(client)
	if err != nil {
		return nil, err
	}
	if _, static := s.static.Load(client.ID); static {
		return nil, dcr.ErrClientExists
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		full, err := s.isFull(ctx, tx, client.ID)
		if err != nil {
			return err
		}
		if full {
			removed, err := remove(ctx, tx, `SELECT id FROM clients WHERE last_used_at IS NULL AND updated_at < $1
				ORDER BY updated_at LIMIT 1`, nanoseconds(before))
			switch {
			case err != nil:
				return err
			case len(removed) == 0:
				return dcr.ErrFull
			}
			evicted = removed[0]
		}
		return insert(ctx, tx, values)
	})
	if err != nil {
		return nil, err
	}
	return evicted, nil
}

// remove removes the clients whose identifiers a query returns, and returns their records.
func remove(ctx context.Context, tx *sql.Tx, chosen string, args ...any) ([]*dcr.Client, error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM clients WHERE id IN (`+chosen+`) RETURNING record, last_used_at, keep_until`, args...)
	if err != nil {
		return nil, err
	}
	return scanClients(rows)
}

// scanClients reads the records of all rows, and closes them.
func scanClients(rows *sql.Rows) (clients []*dcr.Client, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		client, err := scanClient(rows)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	return clients, rows.Err()
}
