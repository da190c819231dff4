package dcr

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ory/fosite"
)

const (
	// memoryReuse is how long a refresh token that never expires is remembered after
	// it was used, so that its reuse is noticed.
	memoryReuse = 30 * 24 * time.Hour
	// memoryDropped is how many expired entries make room when one entry comes.
	memoryDropped = 4
)

// memoryEntry is one entry of a table. Of an entry in a table only inactive, expires and
// place change, under the lock of the table.
type memoryEntry struct {
	key      string
	expires  time.Time // zero means never
	place    int       // in the queue of its table
	inactive bool

	clientID string
	client   fosite.Client            // where the storage need not know it
	request  *fosite.Request          // without the client; nil for an assertion
	pushed   *fosite.AuthorizeRequest // of a pushed request, besides
}

func (e *memoryEntry) expired(now time.Time) bool {
	return !e.expires.IsZero() && !now.Before(e.expires)
}

// memoryTable holds entries of one kind until they expire, at most limit of them. They
// are found by key, by the request that they belong to and by their client.
type memoryTable struct {
	kind  string
	limit int

	mu        sync.RWMutex
	entries   map[string]*memoryEntry
	byRequest memoryIndex
	byClient  memoryIndex
	queue     memoryQueue
}

func (t *memoryTable) init(kind string, limit int) {
	t.kind, t.limit = kind, limit
	t.entries = map[string]*memoryEntry{}
	t.byRequest, t.byClient = memoryIndex{}, memoryIndex{}
}

// get returns an entry, or fosite.ErrNotFound.
func (t *memoryTable) get(now time.Time, key string) (memoryEntry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.entries[key]
	if !ok || e.expired(now) {
		return memoryEntry{}, fosite.ErrNotFound
	}
	return *e, nil
}

// put adds an entry, in place of one with that key.
func (t *memoryTable) put(now time.Time, e *memoryEntry) error {
	return t.putNew(now, e, nil)
}

// putNew adds an entry. Where there is one with that key already it returns taken, or
// replaces it if that is nil.
func (t *memoryTable) putNew(now time.Time, e *memoryEntry, taken error) error {
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
		return memoryFull(t.kind)
	}
	t.add(e)
	return nil
}

// drop removes a few expired entries: more than one, so that a table gets smaller
// again, and no more, so that nobody waits.
func (t *memoryTable) drop(now time.Time) {
	for range memoryDropped {
		if len(t.queue) == 0 || !t.queue[0].expired(now) {
			return
		}
		t.remove(t.queue[0])
	}
}

// deactivate makes an entry inactive, or returns already if it is.
func (t *memoryTable) deactivate(now time.Time, key string, already error) error {
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
func (t *memoryTable) deactivateRequest(now time.Time, requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byRequest.each(requestID, func(e *memoryEntry) { t.setInactive(now, e) })
}

func (t *memoryTable) setInactive(now time.Time, e *memoryEntry) {
	e.inactive = true
	if e.expires.IsZero() {
		e.expires = now.Add(memoryReuse)
		heap.Push(&t.queue, e)
	}
}

// delete removes the entry with a key, if there is one.
func (t *memoryTable) delete(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[key]; ok {
		t.remove(e)
	}
}

// deleteAll removes the entries that an index of the table has under a name.
func (t *memoryTable) deleteAll(index memoryIndex, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	index.each(name, t.remove)
}

func (t *memoryTable) add(e *memoryEntry) {
	t.entries[e.key] = e
	if e.request != nil {
		t.byRequest.add(e.request.ID, e)
		t.byClient.add(e.clientID, e)
	}
	if !e.expires.IsZero() {
		heap.Push(&t.queue, e)
	}
}

func (t *memoryTable) remove(e *memoryEntry) {
	delete(t.entries, e.key)
	if e.request != nil {
		t.byRequest.remove(e.request.ID, e)
		t.byClient.remove(e.clientID, e)
	}
	if !e.expires.IsZero() {
		heap.Remove(&t.queue, e.place)
	}
}

// memoryIndex finds entries by a name that several may have. Most have one: a set costs
// more than the entry.
type memoryIndex map[string]memoryNamed

type memoryNamed struct {
	one  *memoryEntry              // if it is the only one
	more map[*memoryEntry]struct{} // otherwise all
}

func (x memoryIndex) add(name string, e *memoryEntry) {
	named := x[name]
	switch {
	case named.more != nil:
		named.more[e] = struct{}{}
	case named.one != nil && named.one != e:
		x[name] = memoryNamed{more: map[*memoryEntry]struct{}{named.one: {}, e: {}}}
	default:
		x[name] = memoryNamed{one: e}
	}
}

func (x memoryIndex) remove(name string, e *memoryEntry) {
	named := x[name]
	delete(named.more, e)
	if named.one == e || named.one == nil && len(named.more) == 0 {
		delete(x, name)
	}
}

// each calls do with every entry of a name; do may remove it.
func (x memoryIndex) each(name string, do func(*memoryEntry)) {
	named := x[name]
	if named.one != nil {
		do(named.one)
		return
	}
	for e := range named.more {
		do(e)
	}
}

// memoryQueue is a heap of entries, the one that expires first at the top.
type memoryQueue []*memoryEntry

func (q memoryQueue) Len() int           { return len(q) }
func (q memoryQueue) Less(i, j int) bool { return q[i].expires.Before(q[j].expires) }
func (q memoryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push and Pop are for package container/heap.
func (q *memoryQueue) Push(e any) {
	e.(*memoryEntry).place = len(*q)
	*q = append(*q, e.(*memoryEntry))
}

func (q *memoryQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
