package dcrtest

import (
	"context"
	"sync"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// TransactionalStore is a storage with transactions: what is written in one is taken back
// when it is rolled back, or when its commit fails.
type TransactionalStore struct {
	*WatchedStore

	// BeginErr, CommitErr and RollbackErr are what these answer; nil means success.
	BeginErr, CommitErr, RollbackErr error

	mu  sync.Mutex
	log []string
}

func (s *TransactionalStore) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

// BeginTX begins a transaction (fosite's storage.Transactional), or answers BeginErr.
func (s *TransactionalStore) BeginTX(ctx context.Context) (context.Context, error) {
	s.note("begin")
	if s.BeginErr != nil {
		return ctx, s.BeginErr
	}
	return context.WithValue(ctx, transactionKey{}, &transaction{}), nil
}

// Commit ends a transaction and keeps its writes. With CommitErr it takes them back and answers that.
func (s *TransactionalStore) Commit(ctx context.Context) error {
	s.note("commit")
	tx := ctx.Value(transactionKey{}).(*transaction)
	if s.CommitErr != nil {
		tx.back()
		return s.CommitErr
	}
	tx.undo = nil
	return nil
}

// Rollback ends a transaction and takes its writes back. It fails where ctx is done, and with RollbackErr.
func (s *TransactionalStore) Rollback(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // as a driver that speaks to a server would
		s.note("rollback refused")
		return err
	}
	s.note("rollback")
	if s.RollbackErr != nil {
		return s.RollbackErr
	}
	ctx.Value(transactionKey{}).(*transaction).back()
	return nil
}

// in notes a write of a transaction, and how to take it back.
func (s *TransactionalStore) in(ctx context.Context, call string, undo func(), do func() error) error {
	tx, ok := ctx.Value(transactionKey{}).(*transaction)
	if !ok {
		s.note(call + " outside")
		return do()
	}
	s.note(call)
	err := do()
	if err == nil {
		tx.undo = append(tx.undo, undo)
	}
	return err
}

// CreateClient writes in the transaction of ctx, if there is one, and notes the call.
func (s *TransactionalStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	undo := func() { _ = s.MemoryStore.DeleteClient(context.Background(), client.ID) }
	return s.in(ctx, "CreateClient", undo, func() error { return s.WatchedStore.CreateClient(ctx, client) })
}

// UpdateClient writes in the transaction of ctx, if there is one, and notes the call.
func (s *TransactionalStore) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	before, _ := s.MemoryStore.GetDynamicClient(context.Background(), client.ID)
	undo := func() { _ = s.MemoryStore.UpdateClient(context.Background(), before, client.Version) }
	return s.in(ctx, "UpdateClient", undo, func() error { return s.WatchedStore.UpdateClient(ctx, client, version) })
}

// CreateAccessTokenSession writes in the transaction of ctx, if there is one, and notes the call.
func (s *TransactionalStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	undo := func() {
		s.WatchedStore.mu.Lock()
		delete(s.entries, signature)
		s.WatchedStore.mu.Unlock()
		_ = s.MemoryStore.DeleteAccessTokenSession(context.Background(), signature)
	}
	return s.in(ctx, "CreateAccessTokenSession", undo, func() error { return s.WatchedStore.CreateAccessTokenSession(ctx, signature, request) })
}

// DeleteAccessTokenSession writes in the transaction of ctx, if there is one, and notes the call there.
func (s *TransactionalStore) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	do := func() error { return s.WatchedStore.DeleteAccessTokenSession(ctx, signature) }
	before := s.Stored()[signature]
	if _, within := ctx.Value(transactionKey{}).(*transaction); !within || before == nil {
		return do()
	}
	undo := func() {
		s.WatchedStore.mu.Lock()
		s.entries[signature] = before
		s.WatchedStore.mu.Unlock()
		_ = s.MemoryStore.CreateAccessTokenSession(context.Background(), signature, before)
	}
	return s.in(ctx, "DeleteAccessTokenSession", undo, do)
}

// Took returns what was noted since, and forgets it.
func (s *TransactionalStore) Took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// transactionKey is the key of the transaction in a context.
type transactionKey struct{}

// transaction holds what takes its writes back, the last one first.
type transaction struct{ undo []func() }

func (t *transaction) back() {
	for len(t.undo) > 0 {
		last := len(t.undo) - 1
		t.undo[last]()
		t.undo = t.undo[:last]
	}
}
