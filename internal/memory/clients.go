package memory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"
)

// ClientOptions say what records of registered clients are. All are required. A record that was stored is never
// changed, only replaced.
type ClientOptions[T any, K comparable] struct {
	// Limit bounds registered clients. Static ones do not count.
	Limit int
	// ID is the identifier of a record, Clone a deep copy.
	ID    func(*T) string
	Clone func(*T) *T
	// Replace returns the record to store in place of another one, or why not.
	Replace func(stored, next *T, version int64) (*T, error)
	// Touch returns the record with later times of use, and whether it was used before.
	Touch func(stored *T, lastUsed, keepUntil time.Time) *T
	// Waits returns since when a record waits for its first use; false for one that was used.
	Waits func(*T) (since time.Time, ok bool)
	// Keys are those by which records are counted. The zero key is not counted.
	Keys func(*T) [3]K
	// Taken is the error for an identifier that is taken, Full makes the one of a table without room.
	Taken error
	Full  func() error
}

// Clients holds records of registered clients, and static clients beside them. Its methods are those of a storage of
// clients, for a type that embeds it; the rest are functions. Records are copied on their way in and out. It is safe for many goroutines. A context that is done is an error, and nothing is changed then.
type Clients[T any, K comparable] struct {
	options ClientOptions[T, K]

	byID       sync.Map // of identifier to *T, staticClient or *place
	registered atomic.Int64
	counts     Counter[K]

	// waiting holds the records that were never used by the time of their last change, so that at the bound the
	// one that waits longest is found without a walk. A change that comes later is noticed when its client comes
	// up.
	waitingMu sync.Mutex
	waiting   Queue
}

type staticClient struct{ fosite.Client }

// place keeps an identifier for a client that is about to be stored. Nothing but a creation finds it.
type place struct{ id string }

// NewClients returns a Clients that is empty.
func NewClients[T any, K comparable](o ClientOptions[T, K]) *Clients[T, K] {
	return &Clients[T, K]{options: o}
}

// PutClient stores a record in place of any client with that identifier, without regard to the bound.
func PutClient[T any, K comparable](s *Clients[T, K], record *T) {
	record = s.options.Clone(record)
	s.registered.Add(1)
	s.swap(s.options.ID(record), record, record)
}

// PutStatic stores a static client in place of any client with that identifier. It is not copied.
func PutStatic[T any, K comparable](s *Clients[T, K], client fosite.Client) {
	s.swap(client.GetID(), staticClient{client}, nil)
}

func (s *Clients[T, K]) swap(id string, value any, record *T) {
	found, _ := s.byID.Swap(id, value)
	old, wasRegistered := found.(*T)
	if wasRegistered {
		s.registered.Add(-1)
	}
	s.count(old, record)
	s.enqueue(id)
}

// FindClient returns a copy of a record, or a static client. Both are nil where there is neither.
func FindClient[T any, K comparable](s *Clients[T, K], id string) (record *T, static fosite.Client) {
	found, _ := s.byID.Load(id)
	switch client := found.(type) {
	case *T:
		return s.options.Clone(client), nil
	case staticClient:
		return nil, client.Client
	}
	return nil, nil
}

// CreateClient stores a new record.
func (s *Clients[T, K]) CreateClient(ctx context.Context, client *T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id := s.options.ID(client)
	if _, taken := s.byID.Load(id); taken {
		return s.options.Taken
	}
	if s.registered.Add(1) > int64(s.options.Limit) {
		s.registered.Add(-1)
		return s.options.Full()
	}
	stored := s.options.Clone(client)
	if _, taken := s.byID.LoadOrStore(id, stored); taken {
		s.registered.Add(-1)
		return s.options.Taken
	}
	s.count(nil, stored)
	s.enqueue(id)
	return nil
}

// GetDynamicClient returns a copy of a record, or fosite.ErrNotFound.
func (s *Clients[T, K]) GetDynamicClient(ctx context.Context, id string) (*T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stored, err := s.record(id)
	if err != nil {
		return nil, err
	}
	return s.options.Clone(stored), nil
}

// record returns the stored record itself, which is not to be changed.
func (s *Clients[T, K]) record(id string) (*T, error) {
	found, _ := s.byID.Load(id)
	stored, ok := found.(*T)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return stored, nil
}

// UpdateClient replaces a record, as ClientOptions.Replace allows.
func (s *Clients[T, K]) UpdateClient(ctx context.Context, client *T, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id := s.options.ID(client)
	for {
		stored, err := s.record(id)
		if err != nil {
			return err
		}
		next, err := s.options.Replace(stored, client, version)
		if err != nil {
			return err
		}
		if s.byID.CompareAndSwap(id, stored, next) {
			s.count(stored, next)
			return nil
		}
	}
}

// DeleteClient removes a record, or returns fosite.ErrNotFound. Of several calls at once exactly one succeeds.
func (s *Clients[T, K]) DeleteClient(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		stored, err := s.record(id)
		if err != nil {
			return err
		}
		if s.remove(stored) {
			return nil
		}
	}
}

// remove removes a record, if it is still the one that is stored.
func (s *Clients[T, K]) remove(stored *T) bool {
	taken := s.take(stored)
	if taken {
		s.registered.Add(-1)
		s.enqueue(s.options.ID(stored))
	}
	return taken
}

// take is remove without the bound and the queue of those that wait.
func (s *Clients[T, K]) take(stored *T) bool {
	if !s.byID.CompareAndDelete(s.options.ID(stored), stored) {
		return false
	}
	s.count(stored, nil)
	return true
}

// TouchClient notes a use. An unknown client is no error.
func (s *Clients[T, K]) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		stored, err := s.record(id)
		if err != nil {
			return nil
		}
		next := s.options.Touch(stored, lastUsed, keepUntil)
		if s.byID.CompareAndSwap(id, stored, next) {
			_, waited := s.options.Waits(stored)
			if _, waits := s.options.Waits(next); waited && !waits {
				s.enqueue(id)
			}
			return nil
		}
	}
}

// EachClient calls do with every stored record, which do may not change, until it returns false or ctx is done.
func EachClient[T any, K comparable](ctx context.Context, s *Clients[T, K], do func(stored *T) bool) {
	s.byID.Range(func(_, value any) bool {
		stored, ok := value.(*T)
		return (!ok || do(stored)) && ctx.Err() == nil
	})
}

// RemoveIf removes a record that is so now, and returns a copy; nil where it is not.
func RemoveIf[T any, K comparable](s *Clients[T, K], id string, is func(*T) bool) *T {
	stored, err := s.record(id)
	if err != nil || !is(stored) || !s.remove(stored) {
		return nil
	}
	return s.options.Clone(stored) // others may still read the stored one
}

// CreateClientEvicting stores a new record, and removes the one that waits longest for its first use, if it was
// last changed before a time. It evicts where it can although there may be room by now.
func (s *Clients[T, K]) CreateClientEvicting(ctx context.Context, client *T, before time.Time) (*T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The identifier comes first, so that nothing is evicted for one that is taken.
	id := s.options.ID(client)
	kept, stored := &place{id}, s.options.Clone(client)
	if _, taken := s.byID.LoadOrStore(id, kept); taken {
		return nil, s.options.Taken
	}
	evicted := s.evict(before)
	if evicted == nil && s.registered.Add(1) > int64(s.options.Limit) {
		s.registered.Add(-1)
		s.byID.CompareAndDelete(id, kept)
		return nil, s.options.Full()
	}
	if s.byID.CompareAndSwap(id, kept, stored) {
		s.count(nil, stored)
	} else { // PutClient or PutStatic has replaced it already
		s.registered.Add(-1)
	}
	s.enqueue(id)
	return evicted, nil
}

// evict removes the client that waits longest for its first use. Its room is kept. It returns nil where no
// client can be evicted.
func (s *Clients[T, K]) evict(before time.Time) *T {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	for id, since, ok := s.waiting.First(); ok; id, since, ok = s.waiting.First() {
		stored, err := s.record(id)
		if err != nil { // gone this moment
			s.waiting.Drop(id)
			continue
		}
		changed, waits := s.options.Waits(stored)
		switch {
		case !waits: // used this moment
			s.waiting.Drop(id)
		case changed.After(since):
			s.waiting.Set(id, changed)
		case !since.Before(before):
			return nil
		case s.take(stored): // unless it was used or changed this moment
			s.waiting.Drop(id)
			return s.options.Clone(stored) // others may still read the stored one
		}
	}
	return nil
}

// enqueue has a client wait for its first use or not, as its record is now: calls for one client may come
// in another order than its changes.
func (s *Clients[T, K]) enqueue(id string) {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	if stored, err := s.record(id); err == nil {
		if since, waits := s.options.Waits(stored); waits {
			s.waiting.Set(id, since)
			return
		}
	}
	s.waiting.Drop(id)
}

// count counts one record instead of another; either may be nil.
func (s *Clients[T, K]) count(old, record *T) {
	var before, after [3]K
	if old != nil {
		before = s.options.Keys(old)
	}
	if record != nil {
		after = s.options.Keys(record)
	}
	if before != after {
		s.counts.Replace(before[:], after[:])
	}
}

// CountClients returns how many records have a key.
func CountClients[T any, K comparable](s *Clients[T, K], key K) int { return s.counts.Of(key) }
