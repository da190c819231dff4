package memory

import (
	"slices"
	"sync"

	"github.com/ory/fosite"
)

// shards is how many locks clients are shared out to.
const shards = 64

// stored is a record as it is kept.
type stored[B any] struct {
	data   string
	beside *B
}

// shard holds some of the clients. An identifier that is known is in one of the maps, either records or static.
type shard[B any] struct {
	mu sync.RWMutex
	// records are packed. Each key is part of its record: an assignment to a map replaces the key, too, where that is
	// a string. An empty record keeps an identifier for a client that is about to be stored.
	records map[string]string
	beside  map[string]*B // of the records that have something
	static  map[string]fosite.Client
}

func (h *shard[B]) init() {
	h.records, h.beside, h.static = map[string]string{}, map[string]*B{}, map[string]fosite.Client{}
}

// find returns a record, an empty one where there is none, or a static client.
func (h *shard[B]) find(id string) (stored[B], fosite.Client) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return stored[B]{h.records[id], h.beside[id]}, h.static[id]
}

// has reports whether an identifier is taken.
func (h *shard[B]) has(id string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.holds(id)
}

func (h *shard[B]) holds(id string) bool {
	_, record := h.records[id]
	_, static := h.static[id]
	return record || static
}

// add stores a record, or reports that its identifier is taken.
func (h *shard[B]) add(id string, next stored[B]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds(id) {
		return false
	}
	h.set(id, next)
	return true
}

// swap puts a record in place of another one, if that is still stored. An empty next removes it.
func (h *shard[B]) swap(id string, at, next stored[B]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if data, ok := h.records[id]; !ok || at != (stored[B]{data, h.beside[id]}) {
		return false
	}
	if next.data == "" {
		delete(h.records, id)
		delete(h.beside, id)
	} else {
		h.set(id, next)
	}
	return true
}

// put stores a record or a static client in place of what is there, and returns the record that was.
func (h *shard[B]) put(id string, next stored[B], static fosite.Client) (old stored[B]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old = stored[B]{h.records[id], h.beside[id]}
	delete(h.static, id)
	if static == nil {
		h.set(id, next)
		return old
	}
	delete(h.records, id)
	delete(h.beside, id)
	h.static[id] = static
	return old
}

func (h *shard[B]) set(id string, next stored[B]) {
	h.records[id] = next.data
	if delete(h.beside, id); next.beside != nil {
		h.beside[id] = next.beside
	}
}

// all appends the records of the shard to a list.
func (h *shard[B]) all(list []stored[B]) []stored[B] {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list = slices.Grow(list, len(h.records))
	for id, data := range h.records {
		if data != "" {
			list = append(list, stored[B]{data, h.beside[id]})
		}
	}
	return list
}
