package store

import (
	"context"
	"database/sql"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// DeleteExpiredClients removes clients that have ended. The condition is that of dcr.Expiry;
// where a column is NULL, or there is no IdleSince, its part is not true.
func (s *Store) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) ([]string, error) {
	return s.removed(ctx, `DELETE FROM clients WHERE id IN (
			SELECT id FROM clients WHERE expires_at <= $1
				OR last_used_at IS NULL AND unused_until <= $1
				OR last_used_at <= $2 AND (keep_until IS NULL OR keep_until <= $1)
			LIMIT $3)
		RETURNING id`, nanoseconds(e.Now), orNull(e.IdleSince), max(limit, 0))
}

// MakeRoom removes the client that waits longest for its first use.
func (s *Store) MakeRoom(ctx context.Context, before time.Time) (string, error) {
	ids, err := s.removed(ctx, `DELETE FROM clients WHERE id = (
			SELECT id FROM clients WHERE last_used_at IS NULL AND updated_at < $1 ORDER BY updated_at LIMIT 1)
		RETURNING id`, nanoseconds(before))
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", explained(ctx, sql.ErrNoRows)
	}
	return ids[0], nil
}

// removed runs a DELETE and returns what it has removed. In a transaction it is committed
// after all identifiers were read, so that none is removed and not returned.
func (s *Store) removed(ctx context.Context, statement string, args ...any) (ids []string, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}
