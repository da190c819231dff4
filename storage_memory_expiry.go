package dcr

import (
	"context"
	"sync"
)

// memoryWaiting holds the clients in the order of their registration, so that at the bound
// the oldest that was never used is found without a walk.
type memoryWaiting struct {
	mu  sync.Mutex
	ids []string
}

// push adds a client. When most of the queue is gone or used, it is made anew, so that it
// does not outgrow the clients; stillWaits tells which stay.
func (q *memoryWaiting) push(id string, live int64, stillWaits func(id string) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ids = append(q.ids, id)
	if len(q.ids) < 1024 || int64(len(q.ids)) < 2*live {
		return
	}
	q.ids = keep(q.ids, stillWaits)
}

var _ ExpiredDeleter = (*MemoryStore)(nil)

// DeleteExpiredClients removes clients that have ended, as ExpiredDeleter has it.
func (s *MemoryStore) DeleteExpiredClients(ctx context.Context, e Expiry, limit int) ([]string, error) {
	var removed []string
	s.clients.Range(func(key, value any) bool {
		stored, ok := value.(*Client)
		if ok && e.Ended(stored) && s.clients.CompareAndDelete(key, stored) {
			s.registered.Add(-1)
			removed = append(removed, stored.ID)
		}
		return len(removed) < limit && ctx.Err() == nil
	})
	return removed, ctx.Err()
}

// makeRoom removes the oldest client that was never used, unless it is so young that
// somebody may be reading its consent page (LIFE-02, LIFE-07).
func (s *MemoryStore) makeRoom(ctx context.Context) bool {
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	for len(s.waiting.ids) > 0 {
		id := s.waiting.ids[0]
		stored, err := s.record(id)
		if err == nil && stored.LastUsedAt.IsZero() {
			if s.now().Sub(stored.CreatedAt) < s.limit.Young {
				return false
			}
			if !s.clients.CompareAndDelete(id, stored) {
				continue // it was used or changed this moment: look again
			}
			s.registered.Add(-1)
			s.waiting.ids = s.waiting.ids[1:]
			_ = s.RevokeClientGrants(context.WithoutCancel(ctx), id)
			return true
		}
		s.waiting.ids = s.waiting.ids[1:] // gone, or used: it stays for good
	}
	return false
}
