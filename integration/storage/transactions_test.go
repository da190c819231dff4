package storage_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

var _ storage.Transactional = (*dcrtest.TransactionalStore)(nil)

func startTransactional(t *testing.T) (*dcrtest.TransactionalStore, *dcrtest.Events, *dcrtest.Server, dcrtest.Answer) {
	t.Helper()
	store, events := &dcrtest.TransactionalStore{WatchedStore: dcrtest.NewWatchedStore()}, &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
	client := s.Register(t, dcrtest.Managed())
	return store, events, s, client
}

// TestTransactions: where the storage has transactions, the writes of a registration
// and of an update are in one each (T34).
func TestTransactions(t *testing.T) {
	t.Parallel()
	store, _, s, client := startTransactional(t)
	require.Equal(t, []string{"begin", "CreateClient", "CreateAccessTokenSession", "commit"}, store.Took())
	updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, []string{"begin", "CreateAccessTokenSession", "UpdateClient", "DeleteAccessTokenSession", "commit"}, store.Took())
	require.Equal(t, http.StatusOK, s.Manage(t, "GET", updated, nil).Status)
	require.Empty(t, store.Took(), "a read needs none")
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", updated, nil).Status)
	require.Empty(t, store.Stored())
}

// transactionFaults are the ways in which a transaction fails.
var transactionFaults = []struct {
	name   string
	spoil  func(*dcrtest.TransactionalStore)
	ends   string // the last of what was asked of the storage
	leaves bool   // whether a leftover is told
}{
	{"begin", func(s *dcrtest.TransactionalStore) { s.BeginErr = dcrtest.ErrBroken }, "begin", false},
	{"entry", func(s *dcrtest.TransactionalStore) { s.Watch(dcrtest.FailCall("CreateAccessTokenSession")) }, "rollback", false},
	{"record", func(s *dcrtest.TransactionalStore) { s.Watch(dcrtest.FailCall("CreateClient", "UpdateClient")) }, "rollback", false},
	{"commit", func(s *dcrtest.TransactionalStore) { s.CommitErr = dcrtest.ErrBroken }, "commit", false},
	{"rollback", func(s *dcrtest.TransactionalStore) {
		s.Watch(dcrtest.FailCall("CreateAccessTokenSession"))
		s.RollbackErr = errors.New("nor can it be rolled back")
	}, "rollback", true},
}

// TestTransactionFaults: what fails in a transaction leaves nothing of it, and the
// storage takes it back itself (T34, 7591-3.2.2-04).
func TestTransactionFaults(t *testing.T) {
	t.Parallel()
	for _, row := range transactionFaults {
		t.Run("T34/POST/"+row.name, func(t *testing.T) {
			t.Parallel()
			store, events, s, client := startTransactional(t)
			store.Took()
			events.Take()
			row.spoil(store)
			var answer dcrtest.Answer
			calls := store.During(func() { answer = s.Post(t, dcrtest.Managed()) })
			dcrtest.RequireFailure(t, answer, 500)
			log := store.Took()
			require.Equal(t, row.ends, log[len(log)-1], "%v", log)
			require.Equal(t, row.leaves, hasLeftover(events), "%v", log)
			if !row.leaves {
				require.NotContains(t, calls, "DeleteClient", "the transaction takes it back")
				for _, id := range store.ClientIDs() {
					_, err := store.MemoryStore.GetDynamicClient(t.Context(), id)
					require.Equal(t, id == client.ID(), err == nil)
				}
				require.Len(t, store.Stored(), 1)
			}
		})
		t.Run("T34/PUT/"+row.name, func(t *testing.T) {
			t.Parallel()
			store, events, s, client := startTransactional(t)
			store.Took()
			events.Take()
			row.spoil(store)
			dcrtest.RequireFailure(t, s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_name", "Changed")), 500)
			log := store.Took()
			require.Equal(t, row.ends, log[len(log)-1], "%v", log)
			require.Equal(t, row.leaves, hasLeftover(events))
			store.Watch(nil)
			read := s.Manage(t, "GET", client, nil)
			require.Equal(t, http.StatusOK, read.Status, read.Body)
			require.Equal(t, "Managed", read.Text("client_name"))
			require.Len(t, store.Stored(), 1)
		})
	}
}

func hasLeftover(events *dcrtest.Events) bool {
	for _, event := range events.Take() {
		if event.Kind == dcr.EventCleanupFailed {
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
	store.Took()
	lost := false
	store.Watch(func(_ context.Context, call string, do func() error) error {
		if call == "UpdateClient" && !lost {
			lost = true
			return dcr.ErrConflict
		}
		return do()
	})
	updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	round := []string{"begin", "CreateAccessTokenSession", "UpdateClient"}
	want := append(append(append([]string{}, round...), "rollback"), append(round, "DeleteAccessTokenSession", "commit")...)
	require.Equal(t, want, store.Took())
	require.Len(t, store.Stored(), 1)
}

// TestTransactionOfACallerWhoIsGone: a transaction is rolled back although the request
// has ended; otherwise it would stay open (HTTP-04, T34).
func TestTransactionOfACallerWhoIsGone(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT"} {
		t.Run("HTTP-04/"+method, func(t *testing.T) {
			t.Parallel()
			store, _, s, client := startTransactional(t)
			store.Took()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			store.Watch(func(inside context.Context, call string, do func() error) error {
				if call != "CreateAccessTokenSession" {
					return do()
				}
				cancel()
				return inside.Err()
			})
			handler, body := s.Provider.RegistrationHandler(), dcrtest.Managed()
			if method == "PUT" {
				handler, body = s.Provider.ManagementHandler(), dcrtest.Replacing(client)
			}
			request := httptest.NewRequestWithContext(ctx, method, "/register/"+client.ID(), bytes.NewReader(dcrtest.JSONBody(t, body)))
			request.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, http.StatusInternalServerError, recorder.Code)
			log := store.Took()
			require.Equal(t, "rollback", log[len(log)-1], "%v", log)
		})
	}
}

// TestTransactionOfAPanic: a storage that panics leaves no transaction open.
func TestTransactionOfAPanic(t *testing.T) {
	t.Parallel()
	store, _, s, _ := startTransactional(t)
	store.Took()
	store.Watch(func(_ context.Context, call string, do func() error) error {
		if call == "CreateAccessTokenSession" {
			panic("the storage has a defect")
		}
		return do()
	})
	request := httptest.NewRequestWithContext(t.Context(), "POST", "/register", bytes.NewReader(dcrtest.JSONBody(t, dcrtest.Managed())))
	request.Header = http.Header{"Content-Type": {"application/json"}}
	require.Panics(t, func() { s.Provider.RegistrationHandler().ServeHTTP(httptest.NewRecorder(), request) })
	log := store.Took()
	require.Equal(t, "rollback", log[len(log)-1], "T34/T44: %v", log)
}
