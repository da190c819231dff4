package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// FindDocument returns the record kept under a client identifier that is the URL of a document (nil: none), and whether the
// identifier is blocked.
func (s *Store) FindDocument(ctx context.Context, id string) (record []byte, blocked bool, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		err := q.QueryRowContext(ctx, s.sql.FindDocument, digest(id)).Scan(&record, &blocked)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return record, blocked, err
}

// SaveDocument keeps a record in place of an earlier one, and the time of its last use. Blocking stays as it is. Where
// there are more than most then, the one that was not used for the longest goes, but none that is blocked, and none whose
// client holds a live code, access token or refresh token; the use of one that was passed over for its tokens counts from
// then. Where none of a hundred can go, a new one is not kept, and kept is false.
func (s *Store) SaveDocument(ctx context.Context, id string, record []byte, used time.Time, most int) (kept bool, err error) {
	replaced, err := s.change(ctx, s.sql.ReplaceDocument, digest(id), record, nanoseconds(used))
	if err != nil || replaced > 0 {
		return err == nil, err
	}
	err = s.atomically(ctx, func(ctx context.Context, q querier) (err error) {
		kept, err = s.addDocument(ctx, q, id, record, used, most)
		return err
	})
	return kept && err == nil, err
}

func (s *Store) addDocument(ctx context.Context, q querier, id string, record []byte, used time.Time, most int) (kept bool, err error) {
	added, err := exec(ctx, q, s.sql.AddDocument, digest(id), []byte(id), record, nanoseconds(used))
	switch {
	case err != nil:
		return false, err
	case added == 0: // another process was faster
		_, err := q.ExecContext(ctx, s.sql.ReplaceDocument, digest(id), record, nanoseconds(used))
		return true, err
	}
	records, err := s.countDocuments(ctx, q, 1)
	if err != nil || records <= most {
		return true, err
	}
	evicted, err := s.evictDocuments(ctx, q, digest(id), records-most)
	if err != nil || evicted > 0 {
		return true, err
	}
	return false, s.removeDocument(ctx, q, digest(id))
}

// countDocuments adds to the number of records, and returns it. Whoever changes the number holds rows of documents already,
// and waits for no other one afterwards.
func (s *Store) countDocuments(ctx context.Context, q querier, number int) (records int, err error) {
	return records, q.QueryRowContext(ctx, s.sql.CountDocuments, number).Scan(&records)
}

// evictDocuments removes up to so many records for another one, and returns how many.
func (s *Store) evictDocuments(ctx context.Context, q querier, other []byte, number int) (evicted int, err error) {
	now := nanoseconds(s.options.Now())
	rows, err := q.QueryContext(ctx, s.sql.EvictDocuments, other, now, int64(never), number)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	last := int64(notYet)
	for ; rows.Next(); evicted++ {
		var queued int64
		if err := rows.Scan(&queued); err != nil {
			return 0, err
		}
		last = max(last, queued)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if evicted == 0 {
		last = never
	}
	if _, err := q.ExecContext(ctx, s.sql.RequeueDocuments, other, now, last); err != nil || evicted == 0 {
		return 0, err
	}
	_, err = s.countDocuments(ctx, q, -evicted)
	return evicted, err
}

// TouchDocument notes a use, only ever forward. Where no record is kept nothing happens.
func (s *Store) TouchDocument(ctx context.Context, id string, used time.Time) error {
	_, err := s.change(ctx, s.sql.TouchDocument, digest(id), nanoseconds(used))
	return err
}

// DeleteDocument removes a record. Blocking stays as it is. Removing nothing is no error.
func (s *Store) DeleteDocument(ctx context.Context, id string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error { return s.removeDocument(ctx, q, digest(id)) })
}

func (s *Store) removeDocument(ctx context.Context, q querier, key []byte) error {
	forgotten, err := exec(ctx, q, s.sql.ForgetDocument, key)
	if err != nil || forgotten == 0 {
		return err
	}
	if _, err := q.ExecContext(ctx, s.sql.DropDocument, key); err != nil {
		return err
	}
	_, err = s.countDocuments(ctx, q, -1)
	return err
}

// BlockDocument blocks an identifier, whether a record is kept or not, or ends that.
func (s *Store) BlockDocument(ctx context.Context, id string, blocked bool) error {
	if blocked {
		_, err := s.change(ctx, s.sql.BlockDocument, digest(id), []byte(id))
		return err
	}
	return s.changeBoth(ctx, s.sql.UnblockDocument, []any{digest(id)}, s.sql.DropDocument, []any{digest(id)})
}

// ListDocuments calls each with up to limit identifiers, in their order, that follow after ("" is the start).
func (s *Store) ListDocuments(ctx context.Context, after string, limit int, each func(id string, record []byte, used time.Time, blocked bool)) error {
	type document struct {
		id, record []byte
		used       int64
		blocked    bool
	}
	var page []document
	err := s.read(ctx, func(ctx context.Context, q querier) error {
		page = nil
		rows, err := q.QueryContext(ctx, s.sql.ListDocuments, []byte(after)[:min(len(after), 256)], []byte(after), max(limit, 0))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var d document
			if err := rows.Scan(&d.id, &d.record, &d.used, &d.blocked); err != nil {
				return err
			}
			page = append(page, d)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	for _, d := range page {
		each(string(d.id), d.record, fromColumn(d.used), d.blocked)
	}
	return nil
}
