package memory

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ory/fosite"
)

const (
	// remembered is how long a refresh token that never expires is remembered after it was
	// used, so that its reuse is noticed.
	remembered = 30 * 24 * time.Hour
	// dropped is how many expired entries are removed at most when an entry is added.
	dropped = 4
)

// table holds entries of one kind until they expire, at most limit of them. They are found
// by key, by the request that they belong to and by their client.
type table struct {
	limit int
	full  func() error // makes the error of a table that has no room

	mu        sync.RWMutex
	entries   map[string]*entry
	byRequest index
	byClient  index
	expiring  timeHeap // those that expire, all of them in entries
}

func (t *table) init(limit int, full func() error) {
	t.limit, t.full = limit, full
	t.entries = map[string]*entry{}
	t.byRequest, t.byClient = index{}, index{}
}

// get returns an entry, or fosite.ErrNotFound.
func (t *table) get(now time.Time, key string) (entry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.entries[key]
	if !ok || e.expired(now) {
		return entry{}, fosite.ErrNotFound
	}
	return *e, nil
}

// put adds an entry, in place of one with that key.
func (t *table) put(now time.Time, e *entry) error {
	return t.putNew(now, e, nil)
}

// putNew adds an entry. Where there is one with that key already it returns taken, or
// replaces it if that is nil.
func (t *table) putNew(now time.Time, e *entry, taken error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(now)
	old := t.entries[e.key]
	switch {
	case old != nil && taken != nil && !old.expired(now):
		return taken
	case old != nil:
		t.remove(old)
	case len(t.entries) >= t.limit:
		return t.full()
	}
	t.add(e)
	return nil
}

// drop removes a few expired entries: more than one, so that a table gets smaller again,
// and no more, so that no caller waits.
func (t *table) drop(now time.Time) {
	for range dropped {
		if len(t.expiring) == 0 || !t.expiring[0].expired(now) {
			return
		}
		t.remove(t.entries[t.expiring[0].key])
	}
}

// deactivate makes an entry inactive, or returns already if it is.
func (t *table) deactivate(now time.Time, key string, already error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[key]
	switch {
	case !ok || e.expired(now):
		return fosite.ErrNotFound
	case e.inactive:
		return already
	}
	t.setInactive(now, e)
	return nil
}

// deactivateRequest makes all entries of a request inactive.
func (t *table) deactivateRequest(now time.Time, requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byRequest.each(requestID, func(e *entry) { t.setInactive(now, e) })
}

func (t *table) setInactive(now time.Time, e *entry) {
	e.inactive = true
	if e.at.IsZero() {
		e.at = now.Add(remembered)
		heap.Push(&t.expiring, &e.timed)
	}
}

// delete removes the entry with a key, if there is one.
func (t *table) delete(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[key]; ok {
		t.remove(e)
	}
}

// deleteRequest removes the entries of a request.
func (t *table) deleteRequest(requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byRequest.each(requestID, t.remove)
}

// deleteClient removes the entries of a client, without those that spare reports. A nil
// spare reports none.
func (t *table) deleteClient(clientID string, spare func(key string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byClient.each(clientID, func(e *entry) {
		if spare == nil || !spare(e.key) {
			t.remove(e)
		}
	})
}

func (t *table) add(e *entry) {
	t.entries[e.key] = e
	if e.request != nil {
		t.byRequest.add(e.request.ID, e)
		t.byClient.add(e.clientID, e)
	}
	if !e.at.IsZero() {
		heap.Push(&t.expiring, &e.timed)
	}
}

func (t *table) remove(e *entry) {
	delete(t.entries, e.key)
	if e.request != nil {
		t.byRequest.remove(e.request.ID, e)
		t.byClient.remove(e.clientID, e)
	}
	if !e.at.IsZero() {
		heap.Remove(&t.expiring, e.place)
	}
}

// index finds entries by a name that several may have. Most names have one: a set costs
// more than the entry.
type index map[string]named

type named struct {
	one  *entry              // if it is the only one
	more map[*entry]struct{} // otherwise all
}

func (x index) add(name string, e *entry) {
	found := x[name]
	switch {
	case found.more != nil:
		found.more[e] = struct{}{}
	case found.one != nil && found.one != e:
		x[name] = named{more: map[*entry]struct{}{found.one: {}, e: {}}}
	default:
		x[name] = named{one: e}
	}
}

func (x index) remove(name string, e *entry) {
	found := x[name]
	delete(found.more, e)
	if found.one == e || found.one == nil && len(found.more) == 0 {
		delete(x, name)
	}
}

// each calls do with every entry of a name; do may remove it.
func (x index) each(name string, do func(*entry)) {
	found := x[name]
	if found.one != nil {
		do(found.one)
		return
	}
	for e := range found.more {
		do(e)
	}
}
