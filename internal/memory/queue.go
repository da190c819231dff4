package memory

import (
	"container/heap"
	"math"
	"time"
)

// Queue orders keys by a time, the earliest first. Of keys with the same time any may be
// the first. The zero value is empty and ready to use.
//
// It does not lock: the caller does. There may be hundreds of thousands of keys, so what it keeps of each is small, and
// has no more pointers than the one to the key.
type Queue struct {
	waiting []waiting
	places  map[string]int32 // where each key is in waiting
}

type waiting struct {
	key string
	at  instant
}

// instant is a time in nanoseconds since 1970, without a pointer to a zone; the least one is the zero time, "never". It
// holds the years 1678 to 2262, and takes what lies beyond for their begin or end.
type instant int64

const never instant = math.MinInt64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return never
	}
	switch seconds := t.Unix(); {
	case seconds <= math.MinInt64/int64(time.Second):
		return never + 1
	case seconds >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return instant(t.UnixNano())
}

// time returns the instant in UTC.
func (i instant) time() time.Time {
	if i == never {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// Set adds a key, or moves one that is there, to a time. The memory of the key that is given takes the place of an earlier
// one's: an assignment to a map replaces the key, too, where that is a string.
func (q *Queue) Set(key string, at time.Time) {
	if place, found := q.places[key]; found {
		q.waiting[place], q.places[key] = waiting{key, instantOf(at)}, place
		heap.Fix((*queueHeap)(q), int(place))
		return
	}
	if q.places == nil {
		q.places = map[string]int32{}
	}
	q.waiting = append(q.waiting, waiting{key, instantOf(at)})
	q.places[key] = int32(len(q.waiting) - 1)
	heap.Fix((*queueHeap)(q), len(q.waiting)-1)
}

// Drop removes a key. One that is unknown is no error.
func (q *Queue) Drop(key string) {
	place, found := q.places[key]
	if !found {
		return
	}
	last := len(q.waiting) - 1
	if int(place) != last {
		(*queueHeap)(q).Swap(int(place), last)
	}
	delete(q.places, key)
	q.waiting[last] = waiting{}
	q.waiting = q.waiting[:last]
	if int(place) != last {
		heap.Fix((*queueHeap)(q), int(place))
	}
}

// First returns the key with the earliest time, and false if there is none.
func (q *Queue) First() (key string, at time.Time, ok bool) {
	if len(q.waiting) == 0 {
		return "", time.Time{}, false
	}
	return q.waiting[0].key, q.waiting[0].at.time(), true
}

// Len returns how many keys there are.
func (q *Queue) Len() int { return len(q.waiting) }

// queueHeap has the earliest time at the top. Keys are added and removed by the Queue itself.
type queueHeap Queue

// Len, Less, Swap, Push and Pop are for package container/heap.
func (h *queueHeap) Len() int           { return len(h.waiting) }
func (h *queueHeap) Less(i, j int) bool { return h.waiting[i].at < h.waiting[j].at }
func (h *queueHeap) Swap(i, j int) {
	h.waiting[i], h.waiting[j] = h.waiting[j], h.waiting[i]
	h.places[h.waiting[i].key], h.places[h.waiting[j].key] = int32(i), int32(j)
}

func (h *queueHeap) Push(any) {}
func (h *queueHeap) Pop() any { return nil }

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
