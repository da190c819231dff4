package memory

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// dropped is how many expired entries are removed at most when an entry is added.
const dropped = 4

// table holds entries of one kind until they expire, at most limit units of them. They are found by key, by
// the request that they belong to and by their client.
//
// An owner that is over its share loses the first of its own. Where the table is full every new entry is
// refused.
type table struct {
	limit  int
	full   func() error // makes the error of a table that has no room
	refuse bool         // refuse what is over a share: nothing may be evicted

	// Both are called under the lock, and may be nil: removed with every entry that is removed, evicted with
	// one that is evicted for another of its owner. What evicted deletes from another table it deletes under both locks:
	// codes before PKCE sessions, and never the other way.
	removed, evicted func(*entry)

	mu        sync.RWMutex
	entries   map[string]*entry
	units     int
	byRequest index
	byClient  index
	owners    owners
	expiring  timeHeap // those that expire, all of them in entries
}

func (t *table) init(limit int, full func() error) {
	t.limit, t.full = limit, full
	t.entries = map[string]*entry{}
	t.byRequest, t.byClient, t.owners = index{}, index{}, owners{}
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

// put adds an entry, in place of one with that key. One that is inactive stays as it is: a key that was used
// is not revived.
func (t *table) put(now time.Time, e *entry) error {
	return t.putNew(now, e, nil)
}

// putNew adds an entry. Where there is one with that key already it returns taken, or
// replaces it if that is nil.
func (t *table) putNew(now time.Time, e *entry, taken error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(now)
	if old := t.entries[e.key]; old != nil && !old.expired(now) {
		if taken != nil || old.inactive {
			return taken
		}
		t.remove(old)
	} else if old != nil {
		t.remove(old)
	}
	return t.place(e)
}

// place adds an entry whose key is free, where there is room.
func (t *table) place(e *entry) error {
	for first, refuse := t.owners.first(e); first != nil; first, refuse = t.owners.first(e) {
		if t.refuse || refuse {
			return t.full()
		}
		t.remove(first)
		if t.evicted != nil {
			t.evicted(first)
		}
	}
	if t.units+e.units() > t.limit {
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
	e.inactive = true
	t.owners.spent(e, true)
	return nil
}

// delete removes the entry with a key, and reports whether there is one.
func (t *table) delete(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[key]
	if ok {
		t.remove(e)
	}
	return ok
}

// deleteRequest removes the entries of a request.
func (t *table) deleteRequest(requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byRequest.each(requestID, t.remove)
}

// keysOf returns the keys of a client's entries.
func (t *table) keysOf(clientID string) (keys []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.byClient.each(clientID, func(e *entry) { keys = append(keys, e.key) })
	return keys
}

// holds reports whether a client has an entry that can be used.
func (t *table) holds(now time.Time, clientID string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byClient.any(clientID, func(e *entry) bool {
		return !e.inactive && !e.expired(now) && (e.grant == nil || e.grant.holds(now))
	})
}

// deleteClient removes the entries of a client.
func (t *table) deleteClient(clientID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byClient.each(clientID, t.remove)
}

func (t *table) add(e *entry) {
	t.entries[e.key] = e
	t.units += e.units()
	if e.request != nil {
		t.byRequest.add(e.request.ID, e)
		t.byClient.add(e.clientID, e)
	}
	t.owners.add(e)
	if !e.at.IsZero() {
		heap.Push(&t.expiring, &e.timed)
	}
}

func (t *table) remove(e *entry) {
	delete(t.entries, e.key)
	t.units -= e.units()
	if e.request != nil {
		t.byRequest.remove(e.request.ID, e)
		t.byClient.remove(e.clientID, e)
	}
	t.owners.remove(e)
	if !e.at.IsZero() {
		heap.Remove(&t.expiring, e.place)
	}
	if t.removed != nil {
		t.removed(e)
	}
}

// expire has an entry expire at another time.
func (t *table) expire(e *entry, at time.Time) {
	switch {
	case e.at.Equal(at):
		return
	case e.at.IsZero():
		e.at = at
		heap.Push(&t.expiring, &e.timed)
	case at.IsZero():
		heap.Remove(&t.expiring, e.place)
		e.at = at
	default:
		e.at = at
		heap.Fix(&t.expiring, e.place)
	}
}
