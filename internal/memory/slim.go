package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// slimEntry is a session that holds nothing but its client, its scopes and its expiry.
type slimEntry struct {
	clientID    string
	requestedAt time.Time
	expires     time.Time
	scopes      []string
}

// slimTable holds slim sessions by their keys until they are removed, at most limit.
type slimTable struct {
	limit int
	full  func() error

	mu      sync.RWMutex
	entries map[string]slimEntry
}

func (t *slimTable) put(key string, request fosite.Requester) error {
	e := slimEntry{requestedAt: request.GetRequestedAt(), scopes: slices.Clone(request.GetGrantedScopes())}
	if client := request.GetClient(); client != nil {
		e.clientID = client.GetID()
	}
	if session := request.GetSession(); session != nil {
		e.expires = session.GetExpiresAt(fosite.AccessToken)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, replaced := t.entries[key]; !replaced && len(t.entries) >= t.limit {
		return t.full()
	}
	t.entries[key] = e
	return nil
}

// get reads a session into the one that is given, or into one of fosite's if that is nil.
func (t *slimTable) get(now time.Time, key string, session fosite.Session) (fosite.Requester, error) {
	t.mu.RLock()
	e, ok := t.entries[key]
	t.mu.RUnlock()
	if !ok || past(now, e.expires) {
		return nil, fosite.ErrNotFound
	}
	if session == nil {
		session = &fosite.DefaultSession{}
	}
	session.SetExpiresAt(fosite.AccessToken, e.expires)
	return &fosite.Request{
		RequestedAt: e.requestedAt, Client: &fosite.DefaultClient{ID: e.clientID}, Session: session,
		RequestedScope: slices.Clone(e.scopes), GrantedScope: slices.Clone(e.scopes),
	}, nil
}

func (t *slimTable) delete(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, key)
}
