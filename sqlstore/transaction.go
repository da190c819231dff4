package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// querier is a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// transaction is one that BeginTX has begun. Every call with its context is part of it.
type transaction struct {
	tx *sql.Tx

	cancel  func() // ends it, whatever it waits for
	mu      sync.Mutex
	release func()      // nil when the transaction is over
	stop    func() bool // ends the wait for the end of the context
}

// transactionKey is that of a transaction in a context, for each store.
type transactionKey struct{ store *Store }

// current returns the transaction of a context, or nil.
func (s *Store) current(ctx context.Context) *transaction {
	t, _ := ctx.Value(transactionKey{s}).(*transaction)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.release == nil {
		return nil
	}
	return t
}

// end lets the next writer go on, once.
func (t *transaction) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.release == nil {
		return
	}
	t.release()
	t.release = nil
	if t.stop != nil {
		t.stop() // a context may live for long
	}
}

var errNested = errors.New("sqlstore: a transaction begins within a transaction")

// BeginTX begins a transaction (fosite's storage.Transactional). It ends with Commit or Rollback, and is rolled back when
// the context is done before.
func (s *Store) BeginTX(ctx context.Context) (context.Context, error) {
	if s.current(ctx) != nil {
		return nil, errNested
	}
	var t *transaction
	err := s.repeat(ctx, func(patient context.Context) (err error) {
		t, err = s.begin(ctx, patient)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = context.AfterFunc(ctx, func() {
		_ = t.tx.Rollback()
		t.end()
	})
	return context.WithValue(ctx, transactionKey{s}, t), nil
}

// begin begins a transaction that lives until ctx is done, and waits for its turn, a connection and the lock until patient is.
func (s *Store) begin(ctx, patient context.Context) (*transaction, error) {
	release, err := s.turn(patient)
	if err != nil {
		return nil, err
	}
	conn, err := s.db.Conn(patient)
	if err != nil {
		release()
		return nil, err
	}
	alive, cancel := context.WithCancel(ctx)
	t := &transaction{cancel: cancel, release: func() {
		cancel()
		_ = conn.Close()
		release()
	}}
	stop := context.AfterFunc(patient, cancel)
	defer stop()
	t.tx, err = conn.BeginTx(alive, &sql.TxOptions{Isolation: s.isolation()})
	if err == nil && s.sql.LockWriter != "" {
		if _, err = t.tx.ExecContext(patient, s.sql.LockWriter); err != nil {
			_ = t.tx.Rollback()
		}
	}
	if err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

func (s *Store) isolation() sql.IsolationLevel {
	switch {
	case s.dialect.oneWriter:
		return sql.LevelDefault
	case s.options.Isolation == sql.LevelDefault:
		return sql.LevelReadCommitted
	}
	return s.options.Isolation
}

// turn waits until no other writer of this process writes, where there is one at a time.
func (s *Store) turn(ctx context.Context) (release func(), err error) {
	if s.writer == nil {
		return func() {}, nil
	}
	select {
	case s.writer <- struct{}{}:
		return func() { <-s.writer }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Commit commits the transaction of a context.
func (s *Store) Commit(ctx context.Context) error {
	t := s.current(ctx)
	if t == nil {
		return s.explained(ctx, sql.ErrTxDone)
	}
	defer t.end()
	return s.explained(ctx, s.commit(t))
}

// commit waits no longer for the database than the patience lasts.
func (s *Store) commit(t *transaction) error {
	defer time.AfterFunc(s.options.Patience, t.cancel).Stop()
	return t.tx.Commit()
}

// Rollback undoes the transaction of a context.
func (s *Store) Rollback(ctx context.Context) error {
	t := s.current(ctx)
	if t == nil {
		return nil
	}
	defer t.end()
	if err := t.tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return s.explained(ctx, err)
	}
	return nil
}

// read calls what only reads.
func (s *Store) read(ctx context.Context, do func(ctx context.Context, q querier) error) error {
	return s.within(ctx, do, func(ctx context.Context) error { return do(ctx, s.db) })
}

// write calls what writes by one statement.
func (s *Store) write(ctx context.Context, do func(ctx context.Context, q querier) error) error {
	return s.within(ctx, do, func(ctx context.Context) error {
		release, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer release()
		return do(ctx, s.db)
	})
}

// atomically calls what writes by several statements.
func (s *Store) atomically(ctx context.Context, do func(ctx context.Context, q querier) error) error {
	return s.within(ctx, do, func(ctx context.Context) error {
		t, err := s.begin(ctx, ctx)
		if err != nil {
			return err
		}
		defer t.end()
		if err := do(ctx, t.tx); err != nil {
			_ = t.tx.Rollback()
			return err
		}
		return s.commit(t)
	})
}

// within calls do in the transaction of a context, or else repeats what does it in a transaction of its own.
func (s *Store) within(ctx context.Context, do func(ctx context.Context, q querier) error, alone func(ctx context.Context) error) error {
	t := s.current(ctx)
	if t == nil {
		return s.repeat(ctx, alone)
	}
	patient, cancel := context.WithTimeout(ctx, s.options.Patience)
	defer cancel()
	return s.explained(ctx, do(patient, t.tx))
}

// repeat calls again what has met others, for a while. What it calls is a transaction of its own, and was undone. It gets a
// context that ends with the patience: no lock of others and no slow database is waited for any longer.
func (s *Store) repeat(ctx context.Context, do func(ctx context.Context) error) error {
	patient, cancel := context.WithTimeout(ctx, s.options.Patience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := do(patient)
		if err == nil || !s.dialect.transient(err) || patient.Err() != nil {
			return s.explained(ctx, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // not all at the same time
		case <-patient.Done():
			return s.explained(ctx, err)
		}
	}
}

// explained turns an error of the database into one that the contracts of dcr and fosite name.
func (s *Store) explained(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, sql.ErrNoRows):
		return fosite.ErrNotFound
	case s.dialect.transient(err) && s.current(ctx) != nil:
		return fmt.Errorf("%w: %w: %w", dcr.ErrUnavailable, fosite.ErrSerializationFailure, err)
	case s.dialect.transient(err), s.dialect.isDown(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// Not the caller's context, but the patience, is over.
		return fmt.Errorf("%w: %w", dcr.ErrUnavailable, err)
	}
	return err
}

// exec runs a statement and returns how many rows it has changed.
func exec(ctx context.Context, q querier, statement string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// has reports whether a query has a row.
func has(ctx context.Context, q querier, query string, args ...any) (bool, error) {
	var one int
	err := q.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// change runs one statement in a call of its own, and returns how many rows it has changed.
func (s *Store) change(ctx context.Context, statement string, args ...any) (changed int64, err error) {
	err = s.write(ctx, func(ctx context.Context, q querier) (err error) {
		changed, err = exec(ctx, q, statement, args...)
		return err
	})
	return changed, err
}

// missing turns "no row was changed" into fosite.ErrNotFound.
func missing(changed int64, err error) error {
	if err == nil && changed == 0 {
		return fosite.ErrNotFound
	}
	return err
}
