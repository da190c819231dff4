package dcrtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Watcher stands around a call of the storage. It decides whether the call is done,
// and what it answers.
type Watcher func(ctx context.Context, call string, do func() error) error

// WatchedStore is a MemoryStore that notes its calls and what is written, and lets a
// test stand around each call.
type WatchedStore struct {
	*dcr.MemoryStore

	mu      sync.Mutex
	watch   Watcher
	calls   []string
	written []string
	entries map[string]fosite.Requester
	clients []string // the identifiers that were ever to be created
}

// ClientIDs returns the identifiers that were ever to be created.
func (s *WatchedStore) ClientIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

// Watch puts a watcher in place; nil takes it away.
func (s *WatchedStore) Watch(watch Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = watch
}

// During returns the calls that do makes.
func (s *WatchedStore) During(do func()) []string {
	s.mu.Lock()
	s.calls = nil
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Content is everything that was ever written, as text.
func (s *WatchedStore) Content() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.written, "\n")
}

// Stored returns the token entries that lie in the storage now.
func (s *WatchedStore) Stored() map[string]fosite.Requester {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]fosite.Requester, len(s.entries))
	for key, request := range s.entries {
		if _, err := s.MemoryStore.GetAccessTokenSession(context.Background(), key, nil); err == nil {
			now[key] = request
		}
	}
	return now
}

func (s *WatchedStore) call(ctx context.Context, name string, do func() error) error {
	s.mu.Lock()
	s.calls = append(s.calls, name)
	watch := s.watch
	s.mu.Unlock()
	if watch == nil {
		return do()
	}
	return watch(ctx, name, do)
}

func (s *WatchedStore) write(what ...any) {
	var text strings.Builder
	for _, part := range what {
		js, err := json.Marshal(part)
		fmt.Fprintf(&text, "%s %v ", js, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, text.String())
}

// GetClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) GetClient(ctx context.Context, id string) (client fosite.Client, err error) {
	err = s.call(ctx, "GetClient", func() (err error) {
		client, err = s.MemoryStore.GetClient(ctx, id)
		return err
	})
	return client, err
}

// CreateClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	s.write(client)
	s.mu.Lock()
	s.clients = append(s.clients, client.ID)
	s.mu.Unlock()
	return s.call(ctx, "CreateClient", func() error { return s.MemoryStore.CreateClient(ctx, client) })
}

// GetDynamicClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) GetDynamicClient(ctx context.Context, id string) (client *dcr.Client, err error) {
	err = s.call(ctx, "GetDynamicClient", func() (err error) {
		client, err = s.MemoryStore.GetDynamicClient(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return client, nil
}

// UpdateClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	s.write(client)
	return s.call(ctx, "UpdateClient", func() error { return s.MemoryStore.UpdateClient(ctx, client, version) })
}

// DeleteClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) DeleteClient(ctx context.Context, id string) error {
	return s.call(ctx, "DeleteClient", func() error { return s.MemoryStore.DeleteClient(ctx, id) })
}

// TouchClient calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	return s.call(ctx, "TouchClient", func() error { return s.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil) })
}

// RevokeClientGrants calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) RevokeClientGrants(ctx context.Context, id string) error {
	return s.call(ctx, "RevokeClientGrants", func() error { return s.MemoryStore.RevokeClientGrants(ctx, id) })
}

// CreateAccessTokenSession calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	s.write(signature, request)
	return s.call(ctx, "CreateAccessTokenSession", func() error {
		s.mu.Lock()
		s.entries[signature] = request
		s.mu.Unlock()
		return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
	})
}

// GetAccessTokenSession calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (request fosite.Requester, err error) {
	err = s.call(ctx, "GetAccessTokenSession", func() (err error) {
		request, err = s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
		return err
	})
	return request, err
}

// DeleteAccessTokenSession calls the MemoryStore under the Watcher, and notes the call.
func (s *WatchedStore) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	return s.call(ctx, "DeleteAccessTokenSession", func() error {
		s.mu.Lock()
		delete(s.entries, signature)
		s.mu.Unlock()
		return s.MemoryStore.DeleteAccessTokenSession(ctx, signature)
	})
}

// NewWatchedStore returns an empty WatchedStore.
func NewWatchedStore() *WatchedStore {
	return &WatchedStore{MemoryStore: dcr.NewMemoryStore(), entries: map[string]fosite.Requester{}}
}

// FailCall returns a Watcher that lets the named calls fail with ErrBroken.
func FailCall(names ...string) Watcher {
	return func(_ context.Context, call string, do func() error) error {
		for _, name := range names {
			if call == name {
				return ErrBroken
			}
		}
		return do()
	}
}
