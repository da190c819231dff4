package dcr

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// memoryWaiting holds the clients by the time of their last change, the earliest first, so
// that at the bound the one that waits longest is found without a walk. A change that comes
// later is noticed when its client comes up.
type memoryWaiting struct {
	mu    sync.Mutex
	queue waitingQueue
}

type waitingClient struct {
	since time.Time
	id    string
}

// waitingQueue is a heap.
type waitingQueue []waitingClient

func (q waitingQueue) Len() int           { return len(q) }
func (q waitingQueue) Less(i, j int) bool { return q[i].since.Before(q[j].since) }
func (q waitingQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *waitingQueue) Push(x any)        { *q = append(*q, x.(waitingClient)) }
func (q *waitingQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// push adds a client. When most of the queue is gone or used, it is made anew, so that it
// does not outgrow the clients; stillWaits tells which stay.
func (w *memoryWaiting) push(c *Client, live int64, stillWaits func(id string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	heap.Push(&w.queue, waitingClient{c.UpdatedAt, c.ID})
	if len(w.queue) < 1024 || int64(len(w.queue)) < 2*live {
		return
	}
	seen := make(map[string]bool, live)
	w.queue = slices.DeleteFunc(w.queue, func(e waitingClient) bool {
		twice := seen[e.id] // an identifier may come back (Config.ShareIdentical)
		seen[e.id] = true
		return twice || !stillWaits(e.id)
	})
	heap.Init(&w.queue)
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
		first := &(*queue)[0]
		stored, err := s.record(first.id)
		switch {
		case err != nil, !stored.LastUsedAt.IsZero(): // gone, or used: it stays for good
			heap.Pop(queue)
		case stored.UpdatedAt.After(first.since):
			first.since = stored.UpdatedAt
			heap.Fix(queue, 0)
		case !first.since.Before(before):
			return "", fosite.ErrNotFound
		case s.removeRecord(stored): // unless it was used or changed this moment
			id := first.id
			heap.Pop(queue)
			return id, nil
		}
	}
	return "", fosite.ErrNotFound
}
