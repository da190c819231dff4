package main

import (
	"slices"
	"sync"
	"time"
)

// shelf keeps values for some time, under keys that cannot be guessed. It is bounded for each owner: who
// has as many as that loses the oldest of his own, and nobody else does.
type shelf[V any] struct {
	size     int
	lifetime time.Duration

	mu    sync.Mutex
	items map[string]shelved[V]
	keys  map[string][]string // by owner, oldest first, which is also the first to expire
}

type shelved[V any] struct {
	value V
	until time.Time
}

func newShelf[V any](size int, lifetime time.Duration) *shelf[V] {
	return &shelf[V]{size: size, lifetime: lifetime, items: map[string]shelved[V]{}, keys: map[string][]string{}}
}

// put keeps a value of an owner, in place of what the key had before. It reports whether there was
// nothing: of several calls at once with one key, one is the first.
func (s *shelf[V]) put(owner, key string, value V) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before, ok := s.items[key]
	keys := s.keys[owner]
	if ok {
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == key })
	}
	for len(keys) > 0 && (len(keys) >= s.size || !now.Before(s.items[keys[0]].until)) {
		delete(s.items, keys[0])
		keys = keys[1:]
	}
	s.items[key] = shelved[V]{value, now.Add(s.lifetime)}
	s.keys[owner] = append(slices.Clone(keys), key)
	return !ok || !now.Before(before.until)
}

// get returns the value of a key, if there still is one.
func (s *shelf[V]) get(key string) (value V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.items[key]
	if !ok || !time.Now().Before(found.until) {
		return value, false
	}
	return found.value, true
}

// remove forgets a value of an owner.
func (s *shelf[V]) remove(owner, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, key)
	s.keys[owner] = slices.DeleteFunc(s.keys[owner], func(k string) bool { return k == key })
}
