package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/packed"
)

// ClientOptions say what records of registered clients are: a T in use, and a string where they are kept. What is no
// text stands beside it, a B, and is never changed. All are required.
type ClientOptions[T, B any] struct {
	// Limit bounds registered clients. Static ones do not count.
	Limit int
	// ID is the identifier of a record.
	ID func(*T) string
	// Pack appends the string to a buffer, and returns what stands beside it, which may be nil. The string begins with the
	// time of the last use and that until which it is kept, as packed.Codec has them (Fixed).
	Pack func(buffer []byte, record *T) (data []byte, beside *B)
	// Unpack makes a record of both, which is the caller's.
	Unpack func(data string, beside *B) *T
	// Head reads what filters ask for into a record, the same fields each time.
	Head func(data string, record *T)
	// Brief reads what Clients itself asks for.
	Brief func(data string) Brief
	// Replace returns the record to store in place of another one, or why not.
	Replace func(stored string, next *T, version int64) (*T, error)
	// Counted are values of a record by which records are counted under its issuer. An empty one is not.
	Counted func(data string) (issuer string, values [3]string)
	// Deleted is called with each record that DeleteClient has removed.
	Deleted func(data string)
	// Taken is the error for an identifier that is taken, Full makes the one of a table without room.
	Taken error
	Full  func() error
}

// Brief is what Clients asks of a packed record.
type Brief struct {
	ID                 string // ID shares the memory of the record
	CreatedAt, Changed time.Time
	Used               bool // one that was never used waits for that since it was changed
}

// Clients holds records of registered clients, and static clients beside them. Its methods are those of a storage of
// clients, for a type that embeds it; the rest are functions. A record is kept as one string, so that the garbage collector
// has nothing to walk. It is safe for many goroutines. A context that is done is an error, and nothing is changed then.
type Clients[T, B any] struct {
	options ClientOptions[T, B]

	seed       maphash.Seed
	shards     [shards]shard[B]
	registered atomic.Int64
	counts     Counter[string]
	buffers    sync.Pool // of *[]byte, in which records are packed before their length is known

	// waiting holds the records that were never used by the time of their last change, so that at the bound the
	// one that waits longest is found without a walk. Its keys are parts of the records. Its lock comes before those of
	// shards.
	waitingMu sync.Mutex
	waiting   Queue

	sweep sweep
}

// NewClients returns a Clients that is empty.
func NewClients[T, B any](o ClientOptions[T, B]) *Clients[T, B] {
	s := &Clients[T, B]{options: o, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].init()
	}
	return s
}

func (s *Clients[T, B]) shard(id string) *shard[B] {
	return &s.shards[maphash.String(s.seed, id)%shards]
}

// pack returns a record as it is stored, with its identifier.
func (s *Clients[T, B]) pack(record *T) (id string, next stored[B]) {
	buffer, ok := s.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	*buffer, next.beside = s.options.Pack((*buffer)[:0], record)
	next.data = string(*buffer)
	s.buffers.Put(buffer)
	return s.options.Brief(next.data).ID, next
}

func (s *Clients[T, B]) unpack(at stored[B]) *T { return s.options.Unpack(at.data, at.beside) }

// PutClient stores a record in place of any client with that identifier, without regard to the bound.
func PutClient[T, B any](s *Clients[T, B], record *T) {
	id, next := s.pack(record)
	s.registered.Add(1)
	s.put(id, next, nil)
}

// PutStatic stores a static client in place of any client with that identifier. It is not copied.
func PutStatic[T, B any](s *Clients[T, B], client fosite.Client) {
	s.put(client.GetID(), stored[B]{}, client)
}

func (s *Clients[T, B]) put(id string, next stored[B], static fosite.Client) {
	old := s.shard(id).put(id, next, static)
	if old.data != "" {
		s.registered.Add(-1)
	}
	s.count(old.data, next.data)
	s.enqueue(id)
}

// FindClient returns a record, or a static client. Both are nil where there is neither.
func FindClient[T, B any](s *Clients[T, B], id string) (record *T, static fosite.Client) {
	at, static := s.shard(id).find(id)
	if at.data == "" {
		return nil, static
	}
	return s.unpack(at), nil
}

// CreateClient stores a new record.
func (s *Clients[T, B]) CreateClient(ctx context.Context, client *T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if id := s.options.ID(client); s.shard(id).has(id) {
		return s.options.Taken
	}
	if s.registered.Add(1) > int64(s.options.Limit) {
		s.registered.Add(-1)
		return s.options.Full()
	}
	id, next := s.pack(client)
	if !s.shard(id).add(id, next) {
		s.registered.Add(-1)
		return s.options.Taken
	}
	s.count("", next.data)
	s.enqueue(id)
	return nil
}

// GetDynamicClient returns a record, or fosite.ErrNotFound.
func (s *Clients[T, B]) GetDynamicClient(ctx context.Context, id string) (*T, error) {
	at, err := s.record(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.unpack(at), nil
}

// record returns a record as it is stored.
func (s *Clients[T, B]) record(ctx context.Context, id string) (stored[B], error) {
	if err := ctx.Err(); err != nil {
		return stored[B]{}, err
	}
	at, _ := s.shard(id).find(id)
	if at.data == "" {
		return at, fosite.ErrNotFound
	}
	return at, nil
}

// UpdateClient replaces a record, as ClientOptions.Replace allows.
func (s *Clients[T, B]) UpdateClient(ctx context.Context, client *T, version int64) error {
	for {
		at, err := s.record(ctx, s.options.ID(client))
		if err != nil {
			return err
		}
		record, err := s.options.Replace(at.data, client, version)
		if err != nil {
			return err
		}
		if id, next := s.pack(record); s.swap(id, at, next) {
			s.count(at.data, next.data)
			return nil
		}
	}
}

// swap puts a record in place of another one, if that is still stored.
func (s *Clients[T, B]) swap(id string, at, next stored[B]) bool {
	swapped := s.shard(id).swap(id, at, next)
	if swapped && !s.options.Brief(at.data).Used {
		s.enqueue(id)
	}
	return swapped
}

// DeleteClient removes a record, or returns fosite.ErrNotFound. Of several calls at once exactly one succeeds.
func (s *Clients[T, B]) DeleteClient(ctx context.Context, id string) error {
	for {
		at, err := s.record(ctx, id)
		if err != nil {
			return err
		}
		if s.remove(id, at) {
			s.options.Deleted(at.data)
			return nil
		}
	}
}

// remove removes a record, if it is still stored.
func (s *Clients[T, B]) remove(id string, at stored[B]) bool {
	taken := s.take(id, at)
	if taken {
		s.registered.Add(-1)
		s.enqueue(id)
	}
	return taken
}

// take is remove without the bound and the queue of those that wait.
func (s *Clients[T, B]) take(id string, at stored[B]) bool {
	taken := s.shard(id).swap(id, at, stored[B]{})
	if taken {
		s.count(at.data, "")
	}
	return taken
}

// TouchClient notes a use. An unknown client is no error.
func (s *Clients[T, B]) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	for {
		at, err := s.record(ctx, id)
		if err != nil {
			return ctx.Err()
		}
		next := stored[B]{packed.Later(at.data, lastUsed, keepUntil), at.beside}
		if next == at || s.swap(s.options.Brief(next.data).ID, at, next) {
			return nil
		}
	}
}

// CreateClientEvicting stores a new record, and removes the one that waits longest for its first use, if it was
// last changed before a time. It evicts where it can although there may be room by now.
func (s *Clients[T, B]) CreateClientEvicting(ctx context.Context, client *T, before time.Time) (*T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The identifier comes first, so that nothing is evicted for one that is taken.
	id, next := s.pack(client)
	if !s.shard(id).add(id, stored[B]{}) {
		return nil, s.options.Taken
	}
	evicted := s.evict(before)
	if evicted == nil && s.registered.Add(1) > int64(s.options.Limit) {
		s.registered.Add(-1)
		s.shard(id).swap(id, stored[B]{}, stored[B]{})
		return nil, s.options.Full()
	}
	if s.shard(id).swap(id, stored[B]{}, next) {
		s.count("", next.data)
	} else { // PutClient or PutStatic has replaced it already
		s.registered.Add(-1)
	}
	s.enqueue(id)
	return evicted, nil
}

// evict removes the client that waits longest for its first use. Its room is kept. It returns nil where no
// client can be evicted.
func (s *Clients[T, B]) evict(before time.Time) *T {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	for id, since, ok := s.waiting.First(); ok; id, since, ok = s.waiting.First() {
		at, _ := s.shard(id).find(id)
		if at.data == "" { // gone this moment
			s.waiting.Drop(id)
			continue
		}
		now := s.options.Brief(at.data)
		switch {
		case now.Used: // this moment
			s.waiting.Drop(id)
		case instantOf(now.Changed) > instantOf(since):
			s.waiting.Set(id, now.Changed)
		case !since.Before(before):
			return nil
		default:
			if s.take(id, at) { // unless it was used or changed this moment
				s.waiting.Drop(id)
				return s.unpack(at)
			}
		}
	}
	return nil
}

// enqueue has a client wait for its first use or not, as its record is now: calls for one client may come
// in another order than its changes. The key is part of that record, so that it keeps no earlier one.
func (s *Clients[T, B]) enqueue(id string) {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	if at, _ := s.shard(id).find(id); at.data != "" {
		if now := s.options.Brief(at.data); !now.Used {
			s.waiting.Set(now.ID, now.Changed)
			return
		}
	}
	s.waiting.Drop(id)
}
