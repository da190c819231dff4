package main

import (
	"container/list"
	"sync"
	"time"
)

// shelf keeps values for some time, under keys that cannot be guessed. It is bounded: where it is
// full, the oldest value is evicted. So the values that anonymous callers make the server keep need
// a known amount of memory.
type shelf[V any] struct {
	size     int
	lifetime time.Duration

	mu    sync.Mutex
	order *list.List // of shelved[V], oldest first, which is also the first to expire
	items map[string]*list.Element
}

type shelved[V any] struct {
	key   string
	value V
	until time.Time
}

func newShelf[V any](size int, lifetime time.Duration) *shelf[V] {
	return &shelf[V]{size: size, lifetime: lifetime, order: list.New(), items: map[string]*list.Element{}}
}

// put keeps a value, in place of what the key had before.
func (s *shelf[V]) put(key string, value V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.items[key])
	now := time.Now()
	for first := s.order.Front(); first != nil; first = s.order.Front() {
		if s.order.Len() < s.size && now.Before(first.Value.(shelved[V]).until) {
			break
		}
		s.remove(first)
	}
	s.items[key] = s.order.PushBack(shelved[V]{key, value, now.Add(s.lifetime)})
}

// get returns the value of a key, if there still is one.
func (s *shelf[V]) get(key string) (value V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(key)
}

// take is get, and removes the value: of several calls at once one gets it.
func (s *shelf[V]) take(key string) (value V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.find(key)
	s.remove(s.items[key])
	return value, ok
}

func (s *shelf[V]) find(key string) (value V, ok bool) {
	element := s.items[key]
	if element == nil {
		return value, false
	}
	found := element.Value.(shelved[V])
	if !time.Now().Before(found.until) {
		return value, false
	}
	return found.value, true
}

func (s *shelf[V]) remove(element *list.Element) {
	if element != nil {
		delete(s.items, s.order.Remove(element).(shelved[V]).key)
	}
}
