package memory

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/ory/fosite"
)

// Records keeps a few records by their identifiers. Records are copied on their way in and out.
// It is safe for many goroutines.
type Records[T any] struct {
	clone func(*T) *T

	mu   sync.Mutex
	byID map[string]*T
}

// NewRecords returns an empty Records. clone makes a deep copy.
func NewRecords[T any](clone func(*T) *T) *Records[T] {
	return &Records[T]{clone: clone, byID: map[string]*T{}}
}

// Add stores a new record. It reports false, and changes nothing, where the identifier is taken.
func (r *Records[T]) Add(id string, record *T) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.byID[id]; taken {
		return false
	}
	r.byID[id] = r.clone(record)
	return true
}

// Get returns a record, or fosite.ErrNotFound.
func (r *Records[T]) Get(id string) (found *T, err error) {
	err = r.Change(id, func(record *T) error {
		found = r.clone(record)
		return nil
	})
	return found, err
}

// Change has a function change the stored record. Its error is returned, and fosite.ErrNotFound
// where there is no record.
func (r *Records[T]) Change(id string, change func(*T) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	record, ok := r.byID[id]
	if !ok {
		return fosite.ErrNotFound
	}
	return change(record)
}

// Delete removes a record, or returns fosite.ErrNotFound.
func (r *Records[T]) Delete(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.byID[id]; !ok {
		return fosite.ErrNotFound
	}
	delete(r.byID, id)
	return nil
}

// After returns up to limit records in the order of their identifiers, byte by byte, from the one
// after the given identifier on.
func (r *Records[T]) After(id string, limit int) []*T {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(r.byID), cmp.Compare)
	first, found := slices.BinarySearch(ids, id)
	if found {
		first++
	}
	ids = ids[first:]
	var list []*T
	for _, id := range ids[:min(len(ids), max(limit, 0))] {
		list = append(list, r.clone(r.byID[id]))
	}
	return list
}
