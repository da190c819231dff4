package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/ory/fosite"
)

// Records keeps a few records by their identifiers. Records are copied on their way in and out. A
// context that is done is an error, and nothing is changed then. It is safe for many goroutines.
type Records[T any] struct {
	clone func(*T) *T
	taken error

	mu   sync.Mutex
	byID map[string]*T
}

// NewRecords returns an empty Records. clone makes a deep copy, and taken is the error for an
// identifier that is taken.
func NewRecords[T any](clone func(*T) *T, taken error) *Records[T] {
	return &Records[T]{clone: clone, taken: taken, byID: map[string]*T{}}
}

// Add stores a new record.
func (r *Records[T]) Add(ctx context.Context, id string, record *T) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, taken := r.byID[id]; taken {
		return r.taken
	}
	r.byID[id] = r.clone(record)
	return nil
}

// Get returns a record, or fosite.ErrNotFound.
func (r *Records[T]) Get(ctx context.Context, id string) (found *T, err error) {
	err = r.Change(ctx, id, func(record *T) error {
		found = r.clone(record)
		return nil
	})
	return found, err
}

// Change has a function change the stored record. Its error is returned, and fosite.ErrNotFound
// where there is no record.
func (r *Records[T]) Change(ctx context.Context, id string, change func(*T) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	record, ok := r.byID[id]
	if !ok {
		return fosite.ErrNotFound
	}
	return change(record)
}

// Delete removes a record, or returns fosite.ErrNotFound.
func (r *Records[T]) Delete(ctx context.Context, id string) error {
	return r.Change(ctx, id, func(*T) error {
		delete(r.byID, id)
		return nil
	})
}

// After returns up to limit records in the order of their identifiers, byte by byte, from the one
// after the given identifier on.
func (r *Records[T]) After(ctx context.Context, id string, limit int) ([]*T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
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
	return list, nil
}
