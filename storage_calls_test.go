package dcr_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// watcher stands around a call of the storage. It decides whether the call is done,
// and what it answers.
type watcher func(ctx context.Context, call string, do func() error) error

// watchedStore is a MemoryStore that notes its calls and what is written, and lets a
// test stand around each call.
type watchedStore struct {
	*dcr.MemoryStore

	mu      sync.Mutex
	watch   watcher
	calls   []string
	written []string
	entries map[string]fosite.Requester
	clients []string // the identifiers that were ever to be created
}

// clientIDs are the identifiers that were ever to be created.
func (s *watchedStore) clientIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

func newWatchedStore() *watchedStore {
	return &watchedStore{MemoryStore: dcr.NewMemoryStore(), entries: map[string]fosite.Requester{}}
}

// set puts a watcher in place; nil takes it away.
func (s *watchedStore) set(watch watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = watch
}

// during returns the calls that do makes.
func (s *watchedStore) during(do func()) []string {
	s.mu.Lock()
	s.calls = nil
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// content is everything that was ever written, as text.
func (s *watchedStore) content() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.written, "\n")
}

// stored returns the token entries that lie in the storage now.
func (s *watchedStore) stored() map[string]fosite.Requester {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]fosite.Requester, len(s.entries))
	for key, request := range s.entries {
		now[key] = request
	}
	return now
}

func (s *watchedStore) call(ctx context.Context, name string, do func() error) error {
	s.mu.Lock()
	s.calls = append(s.calls, name)
	watch := s.watch
	s.mu.Unlock()
	if watch == nil {
		return do()
	}
	return watch(ctx, name, do)
}

func (s *watchedStore) write(what ...any) {
	var text strings.Builder
	for _, part := range what {
		js, err := json.Marshal(part)
		fmt.Fprintf(&text, "%s %v ", js, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, text.String())
}

func (s *watchedStore) GetClient(ctx context.Context, id string) (client fosite.Client, err error) {
	err = s.call(ctx, "GetClient", func() (err error) {
		client, err = s.MemoryStore.GetClient(ctx, id)
		return err
	})
	return client, err
}

func (s *watchedStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	s.write(client)
	s.mu.Lock()
	s.clients = append(s.clients, client.ID)
	s.mu.Unlock()
	return s.call(ctx, "CreateClient", func() error { return s.MemoryStore.CreateClient(ctx, client) })
}

func (s *watchedStore) GetDynamicClient(ctx context.Context, id string) (client *dcr.Client, err error) {
	err = s.call(ctx, "GetDynamicClient", func() (err error) {
		client, err = s.MemoryStore.GetDynamicClient(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return client, nil
}

func (s *watchedStore) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	s.write(client)
	return s.call(ctx, "UpdateClient", func() error { return s.MemoryStore.UpdateClient(ctx, client, version) })
}

func (s *watchedStore) DeleteClient(ctx context.Context, id string) error {
	return s.call(ctx, "DeleteClient", func() error { return s.MemoryStore.DeleteClient(ctx, id) })
}

func (s *watchedStore) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	return s.call(ctx, "TouchClient", func() error { return s.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil) })
}

func (s *watchedStore) RevokeClientGrants(ctx context.Context, id string) error {
	return s.call(ctx, "RevokeClientGrants", func() error {
		s.mu.Lock()
		for key, request := range s.entries {
			if request.GetClient().GetID() == id {
				delete(s.entries, key)
			}
		}
		s.mu.Unlock()
		return s.MemoryStore.RevokeClientGrants(ctx, id)
	})
}

func (s *watchedStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	s.write(signature, request)
	return s.call(ctx, "CreateAccessTokenSession", func() error {
		s.mu.Lock()
		s.entries[signature] = request
		s.mu.Unlock()
		return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
	})
}

func (s *watchedStore) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (request fosite.Requester, err error) {
	err = s.call(ctx, "GetAccessTokenSession", func() (err error) {
		request, err = s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
		return err
	})
	return request, err
}

func (s *watchedStore) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	return s.call(ctx, "DeleteAccessTokenSession", func() error {
		s.mu.Lock()
		delete(s.entries, signature)
		s.mu.Unlock()
		return s.MemoryStore.DeleteAccessTokenSession(ctx, signature)
	})
}

// TestStorageCalls holds each operation to the calls that it may cost.
func TestStorageCalls(t *testing.T) {
	t.Parallel()
	reads := []string{"GetDynamicClient", "GetAccessTokenSession"}
	rows := []struct {
		name   string
		config dcr.Config
		do     func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer)
		want   []string
	}{
		{"POST", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, _ dcrtest.Answer) {
			s.Register(t, managed())
		}, []string{"CreateClient", "CreateAccessTokenSession"}},
		{"POST/management_off", dcr.Config{Management: dcr.Management{Off: true}}, func(t *testing.T, s *dcrtest.Server, _ dcrtest.Answer) {
			s.Register(t, managed())
		}, []string{"CreateClient"}},
		{"GET", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "GET", client, nil).Status)
		}, reads},
		{"PUT", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, replacing(client)).Status)
		}, append(reads, "CreateAccessTokenSession", "UpdateClient", "DeleteAccessTokenSession")},
		{"PUT/keep", dcr.Config{RegistrationToken: dcr.RegistrationToken{KeepOnUpdate: true}}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, replacing(client)).Status)
		}, append(reads, "UpdateClient")},
		{"DELETE", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		}, append(reads, "DeleteClient", "DeleteAccessTokenSession", "RevokeClientGrants")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			store := newWatchedStore()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: row.config})
			client := s.Register(t, managed())
			require.Equal(t, row.want, store.during(func() { row.do(t, s, client) }))
		})
	}
}

// TestStorageCallsOfRefusals: a refusal writes nothing, whatever it is for, and a token
// that nobody signed is not even looked up.
func TestStorageCallsOfRefusals(t *testing.T) {
	t.Parallel()
	store := newWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client, other := s.Register(t, managed()), s.Register(t, managed())
	rows := []struct {
		name, method string
		token        string
		body         any
		status       int
		want         []string
	}{
		{"POST/bad_metadata", "POST", "", `{}`, http.StatusBadRequest, nil},
		{"GET/no_token", "GET", "", nil, http.StatusUnauthorized, nil},
		{"GET/garbage", "GET", "garbage", nil, http.StatusUnauthorized, nil},
		{"PUT/other_token", "PUT", other.Token(), replacing(client), http.StatusUnauthorized, []string{"GetDynamicClient"}},
		{"PUT/bad_metadata", "PUT", client.Token(), replacing(client, "scope", 7), http.StatusBadRequest,
			[]string{"GetDynamicClient", "GetAccessTokenSession"}},
		{"DELETE/other_token", "DELETE", other.Token(), nil, http.StatusUnauthorized, []string{"GetDynamicClient"}},
	}
	for _, row := range rows { // in turn: they share the list of calls
		var answer dcrtest.Answer
		calls := store.during(func() {
			switch {
			case row.method == "POST":
				answer = s.Post(t, row.body)
			case row.token == "":
				answer = s.Do(t, row.method, client.URI(), nil)
			default:
				answer = s.Manage(t, row.method, client, row.body, dcrtest.Bearer(row.token))
			}
		})
		require.Equal(t, row.status, answer.Status, "%s: %s", row.name, answer.Body)
		require.Equal(t, row.want, calls, row.name)
	}
}
