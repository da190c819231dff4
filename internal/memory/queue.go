package memory

import (
	"container/heap"
	"time"
)

// Queue orders keys by a time, the earliest first. Of keys with the same time any may be
// the first. The zero value is empty and ready to use.
//
// It does not lock: the caller does.
type Queue struct {
	heap  timeHeap
	byKey map[string]*timed
}

// Set adds a key, or moves one that is there, to a time.
func (q *Queue) Set(key string, at time.Time) {
	if found := q.byKey[key]; found != nil {
		found.at = at
		heap.Fix(&q.heap, found.place)
		return
	}
	if q.byKey == nil {
		q.byKey = map[string]*timed{}
	}
	added := &timed{key: key, at: at}
	q.byKey[key] = added
	heap.Push(&q.heap, added)
}

// Drop removes a key. One that is unknown is no error.
func (q *Queue) Drop(key string) {
	if found := q.byKey[key]; found != nil {
		delete(q.byKey, key)
		heap.Remove(&q.heap, found.place)
	}
}

// First returns the key with the earliest time, and false if there is none.
func (q *Queue) First() (key string, at time.Time, ok bool) {
	if len(q.heap) == 0 {
		return "", time.Time{}, false
	}
	return q.heap[0].key, q.heap[0].at, true
}

// Len returns how many keys there are.
func (q *Queue) Len() int { return len(q.heap) }

// timed is a key with a time.
type timed struct {
	key   string
	at    time.Time
	place int // in its heap
}

// expired reports whether the time has come; the zero time never does.
func (x *timed) expired(now time.Time) bool {
	return !x.at.IsZero() && !now.Before(x.at)
}

// timeHeap has the earliest time at the top.
type timeHeap []*timed

// Len, Less, Swap, Push and Pop are for package container/heap.
func (h timeHeap) Len() int           { return len(h) }
func (h timeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *timeHeap) Push(x any) {
	added := x.(*timed)
	added.place = len(*h)
	*h = append(*h, added)
}

func (h *timeHeap) Pop() any {
	last := len(*h) - 1
	removed := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return removed
}
