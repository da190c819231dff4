package dcr

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// memoryWaiting holds the clients that were never used by the time of their last change, the
// earliest first, so that at the bound the one that waits longest is found without a walk. A
// change that comes later is noticed when its client comes up.
type memoryWaiting struct {
	mu    sync.Mutex
	queue waitingQueue
	byID  map[string]*waitingClient
}

type waitingClient struct {
	since time.Time
	id    string
	place int // in the queue
}

// waitingQueue is a heap.
type waitingQueue []*waitingClient

func (q waitingQueue) Len() int           { return len(q) }
func (q waitingQueue) Less(i, j int) bool { return q[i].since.Before(q[j].since) }
func (q waitingQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *waitingQueue) Push(x any) {
	c := x.(*waitingClient)
	c.place = len(*q)
	*q = append(*q, c)
}

func (q *waitingQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return c
}

func (w *memoryWaiting) drop(id string) {
	if waiting := w.byID[id]; waiting != nil {
		heap.Remove(&w.queue, waiting.place)
		delete(w.byID, id)
	}
}

var _ ExpiredDeleter = (*MemoryStore)(nil)

// DeleteExpiredClients removes clients that have ended, as ExpiredDeleter has it.
func (s *MemoryStore) DeleteExpiredClients(ctx context.Context, e Expiry, limit int) ([]string, error) {
	var removed []string
	s.clients.Range(func(_, value any) bool {
		stored, ok := value.(*Client)
		if ok && e.Ended(stored) && s.removeRecord(stored) {
			removed = append(removed, stored.ID)
		}
		return len(removed) < limit && ctx.Err() == nil
	})
	return removed, ctx.Err()
}

var _ RoomMaker = (*MemoryStore)(nil)

// MakeRoom removes the client that waits longest for its first use, as RoomMaker has it.
func (s *MemoryStore) MakeRoom(ctx context.Context, before time.Time) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	for queue := &s.waiting.queue; len(*queue) > 0; {
		first := (*queue)[0]
		stored, err := s.record(first.id)
		switch {
		case err != nil, !stored.LastUsedAt.IsZero(): // gone or used this moment
			s.waiting.drop(first.id)
		case stored.UpdatedAt.After(first.since):
			first.since = stored.UpdatedAt
			heap.Fix(queue, 0)
		case !first.since.Before(before):
			return "", fosite.ErrNotFound
		case s.takeRecord(stored): // unless it was used or changed this moment
			s.waiting.drop(first.id)
			return first.id, nil
		}
	}
	return "", fosite.ErrNotFound
}

// settle has a client wait or not, as its record is now: calls for one client may come in
// another order than its changes.
func (s *MemoryStore) settle(id string) {
	w := &s.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(id)
	stored, err := s.record(id)
	if err != nil || !stored.LastUsedAt.IsZero() {
		return
	}
	if w.byID == nil {
		w.byID = map[string]*waitingClient{}
	}
	w.byID[id] = &waitingClient{since: stored.UpdatedAt, id: id}
	heap.Push(&w.queue, w.byID[id])
}
