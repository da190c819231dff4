package memory

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// slimEntry is a session that holds nothing but its client, its scopes and its expiry. Its times have no zone, and its
// scopes are those of other entries where they are the same, so that there may be hundreds of thousands.
type slimEntry struct {
	clientID    string
	requestedAt instant
	expires     instant
	scopes      *[]string
}

// slimTable holds slim sessions by the digests of their keys until they are removed, at most limit.
type slimTable struct {
	limit int
	full  func() error

	mu      sync.RWMutex
	entries map[[sha256.Size]byte]slimEntry
	scopes  *[]string // of the last entry that was put
}

func (t *slimTable) put(key string, request fosite.Requester) error {
	digest := sha256.Sum256([]byte(key))
	e := slimEntry{requestedAt: instantOf(request.GetRequestedAt()), expires: never}
	if client := request.GetClient(); client != nil {
		e.clientID = client.GetID()
	}
	if session := request.GetSession(); session != nil {
		e.expires = instantOf(session.GetExpiresAt(fosite.AccessToken))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, replaced := t.entries[digest]; !replaced && len(t.entries) >= t.limit {
		return t.full()
	}
	if scopes := request.GetGrantedScopes(); t.scopes == nil || !slices.Equal(*t.scopes, scopes) {
		scopes := []string(slices.Clone(scopes))
		t.scopes = &scopes
	}
	e.scopes = t.scopes
	t.entries[digest] = e
	return nil
}

// get reads a session into the one that is given, or into one of fosite's if that is nil.
func (t *slimTable) get(now time.Time, key string, session fosite.Session) (fosite.Requester, error) {
	digest := sha256.Sum256([]byte(key))
	t.mu.RLock()
	e, ok := t.entries[digest]
	t.mu.RUnlock()
	if !ok || past(now, e.expires.time()) {
		return nil, fosite.ErrNotFound
	}
	if session == nil {
		session = &fosite.DefaultSession{}
	}
	session.SetExpiresAt(fosite.AccessToken, e.expires.time())
	found := &struct { // in one piece
		fosite.Request
		client fosite.DefaultClient
	}{client: fosite.DefaultClient{ID: e.clientID}}
	found.Request = fosite.Request{
		RequestedAt: e.requestedAt.time(), Client: &found.client, Session: session,
		RequestedScope: slices.Clone(*e.scopes), GrantedScope: slices.Clone(*e.scopes),
	}
	return &found.Request, nil
}

func (t *slimTable) delete(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, sha256.Sum256([]byte(key)))
}
