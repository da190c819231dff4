package dcr_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// transactional is a storage with transactions: what is written in one is taken back
// when it is rolled back, or when its commit fails.
type transactional struct {
	*watchedStore

	begin, commit, rollback error // what these answer

	mu  sync.Mutex
	log []string
}

var _ storage.Transactional = (*transactional)(nil)

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

func (s *transactional) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

func (s *transactional) BeginTX(ctx context.Context) (context.Context, error) {
	s.note("begin")
	if s.begin != nil {
		return ctx, s.begin
	}
	return context.WithValue(ctx, transactionKey{}, &transaction{}), nil
}

func (s *transactional) Commit(ctx context.Context) error {
	s.note("commit")
	tx := ctx.Value(transactionKey{}).(*transaction)
	if s.commit != nil {
		tx.back()
		return s.commit
	}
	tx.undo = nil
	return nil
}

func (s *transactional) Rollback(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // as a driver that speaks to a server would
		s.note("rollback refused")
		return err
	}
	s.note("rollback")
	if s.rollback != nil {
		return s.rollback
	}
	ctx.Value(transactionKey{}).(*transaction).back()
	return nil
}

// in notes a write of a transaction, and how to take it back.
func (s *transactional) in(ctx context.Context, call string, undo func(), do func() error) error {
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

func (s *transactional) CreateClient(ctx context.Context, client *dcr.Client) error {
	undo := func() { _ = s.MemoryStore.DeleteClient(context.Background(), client.ID) }
	return s.in(ctx, "CreateClient", undo, func() error { return s.watchedStore.CreateClient(ctx, client) })
}

func (s *transactional) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	before, _ := s.MemoryStore.GetDynamicClient(context.Background(), client.ID)
	undo := func() { _ = s.MemoryStore.UpdateClient(context.Background(), before, client.Version) }
	return s.in(ctx, "UpdateClient", undo, func() error { return s.watchedStore.UpdateClient(ctx, client, version) })
}

func (s *transactional) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	undo := func() {
		s.watchedStore.mu.Lock()
		delete(s.entries, signature)
		s.watchedStore.mu.Unlock()
		_ = s.MemoryStore.DeleteAccessTokenSession(context.Background(), signature)
	}
	return s.in(ctx, "CreateAccessTokenSession", undo, func() error { return s.watchedStore.CreateAccessTokenSession(ctx, signature, request) })
}

// took returns what was noted since, and forgets it.
func (s *transactional) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func startTransactional(t *testing.T) (*transactional, *noted, *dcrtest.Server, dcrtest.Answer) {
	t.Helper()
	store, events := &transactional{watchedStore: newWatchedStore()}, &noted{}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
	client := s.Register(t, managed())
	return store, events, s, client
}

// TestTransactions: where the storage has transactions, the writes of a registration
// and of an update are in one each (T34).
func TestTransactions(t *testing.T) {
	t.Parallel()
	store, _, s, client := startTransactional(t)
	require.Equal(t, []string{"begin", "CreateClient", "CreateAccessTokenSession", "commit"}, store.took())
	updated := s.Manage(t, "PUT", client, replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, []string{"begin", "CreateAccessTokenSession", "UpdateClient", "commit"}, store.took())
	require.Equal(t, http.StatusOK, s.Manage(t, "GET", updated, nil).Status)
	require.Empty(t, store.took(), "a read needs none")
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", updated, nil).Status)
	require.Empty(t, store.stored())
}

// transactionFaults are the ways in which a transaction fails.
var transactionFaults = []struct {
	name   string
	spoil  func(*transactional)
	ends   string // the last of what was asked of the storage
	leaves bool   // whether a leftover is told
}{
	{"begin", func(s *transactional) { s.begin = errBroken }, "begin", false},
	{"entry", func(s *transactional) { s.set(failCall("CreateAccessTokenSession")) }, "rollback", false},
	{"record", func(s *transactional) { s.set(failCall("CreateClient", "UpdateClient")) }, "rollback", false},
	{"commit", func(s *transactional) { s.commit = errBroken }, "commit", false},
	{"rollback", func(s *transactional) {
		s.set(failCall("CreateAccessTokenSession"))
		s.rollback = errors.New("nor can it be rolled back")
	}, "rollback", true},
}

func failCall(names ...string) watcher {
	return func(_ context.Context, call string, do func() error) error {
		for _, name := range names {
			if call == name {
				return errBroken
			}
		}
		return do()
	}
}

// TestTransactionFaults: what fails in a transaction leaves nothing of it, and the
// storage takes it back itself (T34, 7591-3.2.2-04).
func TestTransactionFaults(t *testing.T) {
	t.Parallel()
	for _, row := range transactionFaults {
		t.Run("T34/POST/"+row.name, func(t *testing.T) {
			t.Parallel()
			store, events, s, client := startTransactional(t)
			store.took()
			events.take()
			row.spoil(store)
			var answer dcrtest.Answer
			calls := store.during(func() { answer = s.Post(t, managed()) })
			requireFailure(t, answer, 500)
			log := store.took()
			require.Equal(t, row.ends, log[len(log)-1], "%v", log)
			require.Equal(t, row.leaves, hasLeftover(events), "%v", log)
			if !row.leaves {
				require.NotContains(t, calls, "DeleteClient", "the transaction takes it back")
				for _, id := range store.clientIDs() {
					_, err := store.MemoryStore.GetDynamicClient(t.Context(), id)
					require.Equal(t, id == client.ID(), err == nil)
				}
				require.Len(t, store.stored(), 1)
			}
		})
		t.Run("T34/PUT/"+row.name, func(t *testing.T) {
			t.Parallel()
			store, events, s, client := startTransactional(t)
			store.took()
			events.take()
			row.spoil(store)
			requireFailure(t, s.Manage(t, "PUT", client, replacing(client, "client_name", "Changed")), 500)
			log := store.took()
			require.Equal(t, row.ends, log[len(log)-1], "%v", log)
			require.Equal(t, row.leaves, hasLeftover(events))
			store.set(nil)
			read := s.Manage(t, "GET", client, nil)
			require.Equal(t, http.StatusOK, read.Status, read.Body)
			require.Equal(t, "Managed", read.Text("client_name"))
			require.Len(t, store.stored(), 1)
		})
	}
}

func hasLeftover(events *noted) bool {
	for _, event := range events.take() {
		if event.Kind == dcr.EventLeftover {
			return true
		}
	}
	return false
}

// TestTransactionConflicts: a lost update is rolled back and starts over in a new
// transaction (7592-2.2-08).
func TestTransactionConflicts(t *testing.T) {
	t.Parallel()
	store, _, s, client := startTransactional(t)
	store.took()
	lost := false
	store.set(func(_ context.Context, call string, do func() error) error {
		if call == "UpdateClient" && !lost {
			lost = true
			return dcr.ErrConflict
		}
		return do()
	})
	updated := s.Manage(t, "PUT", client, replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	round := []string{"begin", "CreateAccessTokenSession", "UpdateClient"}
	want := append(append(append([]string{}, round...), "rollback"), append(round, "commit")...)
	require.Equal(t, want, store.took())
	require.Len(t, store.stored(), 1)
}

// TestTransactionOfACallerWhoIsGone: a transaction is rolled back although the request
// has ended; otherwise it would stay open (HTTP-04, T34).
func TestTransactionOfACallerWhoIsGone(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT"} {
		t.Run("HTTP-04/"+method, func(t *testing.T) {
			t.Parallel()
			store, _, s, client := startTransactional(t)
			store.took()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			store.set(func(inside context.Context, call string, do func() error) error {
				if call != "CreateAccessTokenSession" {
					return do()
				}
				cancel()
				return inside.Err()
			})
			handler, body := s.Provider.RegistrationHandler(), managed()
			if method == "PUT" {
				handler, body = s.Provider.ManagementHandler(), replacing(client)
			}
			request := httptest.NewRequestWithContext(ctx, method, "/register/"+client.ID(), readerOf(jsonBody(t, body)))
			request.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, http.StatusInternalServerError, recorder.Code)
			log := store.took()
			require.Equal(t, "rollback", log[len(log)-1], "%v", log)
		})
	}
}

// TestTransactionOfAPanic: a storage that panics leaves no transaction open.
func TestTransactionOfAPanic(t *testing.T) {
	t.Parallel()
	store, _, s, _ := startTransactional(t)
	store.took()
	store.set(func(_ context.Context, call string, do func() error) error {
		if call == "CreateAccessTokenSession" {
			panic("the storage has a defect")
		}
		return do()
	})
	request := httptest.NewRequestWithContext(t.Context(), "POST", "/register", readerOf(jsonBody(t, managed())))
	request.Header = http.Header{"Content-Type": {"application/json"}}
	require.Panics(t, func() { s.Provider.RegistrationHandler().ServeHTTP(httptest.NewRecorder(), request) })
	log := store.took()
	require.Equal(t, "rollback", log[len(log)-1], "T34/T44: %v", log)
}
