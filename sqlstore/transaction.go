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
	err := s.repeat(ctx, func() (err error) {
		t, err = s.begin(ctx)
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

func (s *Store) begin(ctx context.Context) (*transaction, error) {
	release, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: s.isolation()})
	if err == nil && s.sql.LockWriter != "" {
		if _, err = tx.ExecContext(ctx, s.sql.LockWriter); err != nil {
			_ = tx.Rollback()
		}
	}
	if err != nil {
		release()
		return nil, err
	}
	return &transaction{tx: tx, release: release}, nil
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
	return s.explained(ctx, t.tx.Commit())
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
func (s *Store) read(ctx context.Context, do func(q querier) error) error {
	if t := s.current(ctx); t != nil {
		return s.explained(ctx, do(t.tx))
	}
	return s.repeat(ctx, func() error { return do(s.db) })
}

// write calls what writes by one statement.
func (s *Store) write(ctx context.Context, do func(q querier) error) error {
	if t := s.current(ctx); t != nil {
		return s.explained(ctx, do(t.tx))
	}
	return s.repeat(ctx, func() error {
		release, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer release()
		return do(s.db)
	})
}

// atomically calls what writes by several statements.
func (s *Store) atomically(ctx context.Context, do func(q querier) error) error {
	if t := s.current(ctx); t != nil {
		return s.explained(ctx, do(t.tx))
	}
	return s.repeat(ctx, func() error {
		t, err := s.begin(ctx)
		if err != nil {
			return err
		}
		defer t.end()
		if err := do(t.tx); err != nil {
			_ = t.tx.Rollback()
			return err
		}
		return t.tx.Commit()
	})
}

// repeat calls again what has met others, for a while. What it calls is a transaction of its own, and was undone.
func (s *Store) repeat(ctx context.Context, do func() error) error {
	end := time.Now().Add(s.options.Patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := do()
		if err == nil || !s.dialect.transient(err) || ctx.Err() != nil || time.Now().After(end) {
			return s.explained(ctx, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // not all at the same time
		case <-ctx.Done():
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
	case s.dialect.transient(err), s.dialect.isDown(err):
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
	err = s.write(ctx, func(q querier) (err error) {
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
