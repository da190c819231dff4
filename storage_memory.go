package dcr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// What a MemoryStore embeds. The aliases keep the fields unexported.
type (
	sessions       = memory.Sessions
	initialRecords = memory.InitialTokens[InitialAccessToken]
)

// MemoryStore is a complete fosite storage in memory: registered clients, static clients, authorization
// codes, access and refresh tokens, PKCE and OpenID Connect sessions, pushed requests and identifiers of
// client assertions. It has no users for the password grant and no keys for the JWT bearer grant, so it
// does not go with compose.ComposeAllEnabled. It is for one process and forgets everything when that ends.
//
// It implements fosite.Storage, oauth2.CoreStorage, oauth2.TokenRevocationStorage, pkce.PKCERequestStorage,
// openid.OpenIDConnectRequestStorage, fosite.PARStorage and every interface of this package.
//
// It is safe for many goroutines. What has expired is dropped a little at a time as new entries come, never
// in one walk, and everything is bounded ([MemoryLimits]). At a bound a new entry is refused with an error
// that wraps ErrFull, and nothing but clients that were never used is evicted. Nobody fills the store for
// everybody else: see [MemoryLimits]. Of the refresh tokens of a grant that were used, the last 64 are
// remembered, so that reuse ends the grant.
//
// A session is kept with the identifier of its client, and gets the client as it is when the session is
// read. Where the client is gone the session is not found. A client without an identifier, or whose
// identifier is an https URL unknown to the store, is kept as it came. Sessions are copied on their way in
// and out with their Clone method; what comes back is the stored session, whatever a Get method is given.
type MemoryStore struct {
	*sessions
	*initialRecords

	now   func() time.Time
	limit MemoryLimits

	// clients holds *Client for what was registered and any other fosite.Client for static clients. A
	// *Client in it is never changed, only replaced. A *memoryPlace keeps an identifier while room is made
	// for its client.
	clients    sync.Map
	registered atomic.Int64
	counts     memory.Counter[countKey]

	// waiting holds the clients that were never used by the time of their last change, so that at the bound
	// the one that waits longest is found without a walk. A change that comes later is noticed when its
	// client comes up.
	waitingMu sync.Mutex
	waiting   memory.Queue

	// expired holds what the last walk for a sweep has found and nobody has removed yet.
	sweepMu   sync.Mutex
	expired   []string
	expiredBy Expiry
}

var (
	_ fosite.Storage            = (*MemoryStore)(nil)
	_ ClientStorage             = (*MemoryStore)(nil)
	_ UseRecorder               = (*MemoryStore)(nil)
	_ GrantRevoker              = (*MemoryStore)(nil)
	_ ExpiredDeleter            = (*MemoryStore)(nil)
	_ ClientEvicter             = (*MemoryStore)(nil)
	_ ClientLister              = (*MemoryStore)(nil)
	_ InitialAccessTokenStorage = (*MemoryStore)(nil)
)

// MemoryLimits bounds a MemoryStore. Zero means the default. A bound for all is shared out (T59). Of what a user
// agreed to, one user has at most a fiftieth, and a tenth of that with one client. Of what needs no user, one client has
// at most a hundredth, and a public client for each caller. Each share is at least 100. Whoever is over a share loses
// the oldest of his own, and is refused where that would be unsafe.
type MemoryLimits struct {
	// Clients bounds registered clients; default 100,000. Static clients do not count. At the bound the
	// oldest that was never used is evicted for a new one, unless it is still in its eviction grace
	// (Lifecycle).
	Clients int
	// Tokens bounds access tokens of users, and as many each of access tokens without a user (client
	// credentials), grants with refresh tokens, and registration access tokens; default 500,000.
	Tokens int
	// Codes bounds authorization codes, and as many each of PKCE sessions, OpenID Connect sessions and
	// pushed requests; default 100,000. One with more than 4 KiB of parameters counts as several.
	Codes      int
	Assertions int // Assertions bounds identifiers of client assertions ("jti"); default 1,000,000
}

// MemoryOption is an option of NewMemoryStore.
type MemoryOption func(*MemoryStore)

// WithMemoryLimits sets the bounds of a MemoryStore.
func WithMemoryLimits(limits MemoryLimits) MemoryOption {
	return func(s *MemoryStore) { s.limit = limits }
}

// WithMemoryClock sets the clock of a MemoryStore; the default is time.Now.
func WithMemoryClock(now func() time.Time) MemoryOption {
	return func(s *MemoryStore) { s.now = now }
}

// NewMemoryStore returns an empty store.
func NewMemoryStore(options ...MemoryOption) *MemoryStore {
	s := &MemoryStore{now: time.Now, initialRecords: memory.NewInitialTokens(memory.InitialTokenOptions[InitialAccessToken]{
		Clone: (*InitialAccessToken).clone, Taken: ErrClientExists, Exhausted: ErrExhausted, Usable: (*InitialAccessToken).Usable,
		ID: func(t *InitialAccessToken) string { return t.ID }, Uses: func(t *InitialAccessToken) *int { return &t.Uses },
	})}
	for _, option := range options {
		option(s)
	}
	l := &s.limit
	setDefault(&l.Clients, 100_000)
	setDefault(&l.Tokens, 500_000)
	setDefault(&l.Codes, 100_000)
	setDefault(&l.Assertions, 1_000_000)
	s.sessions = memory.New(memory.Options{
		Now: s.now, Tokens: l.Tokens, Codes: l.Codes, Assertions: l.Assertions,
		Client: s.GetClient, Full: memoryFull, Slim: IsRegistrationTokenEntry, Slims: l.Tokens, Caller: callerNetwork,
	})
	return s
}

// callerNetwork names who pushes a request, where this package knows.
func callerNetwork(ctx context.Context) string {
	if c := crossingOf(ctx); c != nil && c.address.IsValid() {
		return ratelimit.Network(c.address, 32, 64)
	}
	return ""
}

// AddClient adds a static client, in place of any client with that identifier. It is returned by GetClient
// as it is, not copied, and can be neither read nor changed nor deleted through ClientStorage.
//
// A *Client is no static client: it is copied and taken for registered, as with CreateClient, but without
// regard to the bound.
func (s *MemoryStore) AddClient(client fosite.Client) {
	record, registered := RegisteredClient(client)
	if registered {
		record = record.Clone()
		client = record
		s.registered.Add(1)
	}
	found, _ := s.clients.Swap(client.GetID(), client)
	old, wasRegistered := found.(*Client)
	if wasRegistered {
		s.registered.Add(-1)
	}
	s.count(old, record)
	s.enqueue(client.GetID())
}

// GetClient returns a copy of a registered client, or a static client.
func (s *MemoryStore) GetClient(_ context.Context, id string) (fosite.Client, error) {
	found, ok := s.clients.Load(id)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	if record, ok := found.(*Client); ok {
		return record.Clone(), nil
	}
	if client, ok := found.(fosite.Client); ok {
		return client, nil
	}
	return nil, fosite.ErrNotFound // a memoryPlace
}

// CreateClient stores a new record, as ClientStorage has it.
func (s *MemoryStore) CreateClient(ctx context.Context, client *Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, taken := s.clients.Load(client.ID); taken {
		return ErrClientExists
	}
	if s.registered.Add(1) > int64(s.limit.Clients) {
		s.registered.Add(-1)
		return memoryFull("registered client")
	}
	stored := client.Clone()
	if _, taken := s.clients.LoadOrStore(client.ID, stored); taken {
		s.registered.Add(-1)
		return ErrClientExists
	}
	s.count(nil, stored)
	s.enqueue(stored.ID)
	return nil
}

func memoryFull(kind string) error {
	return fmt.Errorf("%w for another %s in the memory store", ErrFull, kind)
}

// GetDynamicClient returns the record of a registered client, as ClientStorage has it.
func (s *MemoryStore) GetDynamicClient(ctx context.Context, id string) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stored, err := s.record(id)
	if err != nil {
		return nil, err
	}
	return stored.Clone(), nil
}

// record returns the stored record itself, which is not to be changed.
func (s *MemoryStore) record(id string) (*Client, error) {
	found, _ := s.clients.Load(id)
	stored, ok := found.(*Client)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return stored, nil
}

// UpdateClient replaces a record, as ClientStorage has it.
func (s *MemoryStore) UpdateClient(ctx context.Context, client *Client, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		stored, err := s.record(client.ID)
		if err != nil {
			return err
		}
		next, err := Replace(stored, client, version)
		if err != nil {
			return err
		}
		if s.clients.CompareAndSwap(client.ID, stored, next) {
			s.count(stored, next)
			return nil
		}
	}
}

// DeleteClient removes a record, as ClientStorage has it.
func (s *MemoryStore) DeleteClient(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		stored, err := s.record(id)
		if err != nil {
			return err
		}
		if s.removeRecord(stored) {
			return nil
		}
	}
}

// removeRecord removes a record, if it is still the one that is stored.
func (s *MemoryStore) removeRecord(stored *Client) bool {
	taken := s.takeRecord(stored)
	if taken {
		s.registered.Add(-1)
		s.enqueue(stored.ID)
	}
	return taken
}

// takeRecord is removeRecord without the bound and the queue of those that wait.
func (s *MemoryStore) takeRecord(stored *Client) bool {
	if !s.clients.CompareAndDelete(stored.ID, stored) {
		return false
	}
	s.count(stored, nil)
	return true
}

// TouchClient notes a use, as UseRecorder has it.
func (s *MemoryStore) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		stored, err := s.record(id)
		if err != nil {
			return nil
		}
		next := *stored // the rest is shared: neither is ever changed
		next.LastUsedAt = later(lastUsed, stored.LastUsedAt)
		next.KeepUntil = later(keepUntil, stored.KeepUntil)
		if s.clients.CompareAndSwap(id, stored, &next) {
			if stored.LastUsedAt.IsZero() && !next.LastUsedAt.IsZero() {
				s.enqueue(id)
			}
			return nil
		}
	}
}

// DeleteExpiredClients removes clients that have expired, as ExpiredDeleter has it. It walks over all clients once for
// an Expiry, and the calls that follow with the same one go on with what the walk has found.
func (s *MemoryStore) DeleteExpiredClients(ctx context.Context, e Expiry, limit int) ([]*Client, error) {
	if err := ctx.Err(); err != nil || limit <= 0 {
		return nil, err
	}
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	if len(s.expired) == 0 || s.expiredBy != e {
		s.expired, s.expiredBy = s.findExpired(ctx, e), e
	}
	var removed []*Client
	for len(s.expired) > 0 && len(removed) < limit && ctx.Err() == nil {
		last := len(s.expired) - 1
		stored, err := s.record(s.expired[last])
		s.expired = s.expired[:last]
		if err == nil && e.Expired(stored) && s.removeRecord(stored) {
			removed = append(removed, stored.Clone()) // others may still read the stored one
		}
	}
	return removed, ctx.Err()
}

// findExpired returns the identifiers of clients that have expired.
func (s *MemoryStore) findExpired(ctx context.Context, e Expiry) (ids []string) {
	s.clients.Range(func(_, value any) bool {
		if stored, ok := value.(*Client); ok && e.Expired(stored) {
			ids = append(ids, stored.ID)
		}
		return ctx.Err() == nil
	})
	return ids
}

// memoryPlace keeps an identifier for a client that is about to be stored. Nothing but a creation finds it.
type memoryPlace struct{ id string }

// CreateClientEvicting makes room and creates, as ClientEvicter has it. It evicts where it can although the
// store may have room for another client by now: it may be the tokens that have none.
func (s *MemoryStore) CreateClientEvicting(ctx context.Context, client *Client, before time.Time) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The identifier comes first, so that nothing is evicted for one that is taken.
	place, stored := &memoryPlace{client.ID}, client.Clone()
	if _, taken := s.clients.LoadOrStore(client.ID, place); taken {
		return nil, ErrClientExists
	}
	evicted := s.evict(before)
	if evicted == nil && s.registered.Add(1) > int64(s.limit.Clients) {
		s.registered.Add(-1)
		s.clients.CompareAndDelete(client.ID, place)
		return nil, memoryFull("registered client")
	}
	if s.clients.CompareAndSwap(client.ID, place, stored) {
		s.count(nil, stored)
	} else { // AddClient has replaced it already
		s.registered.Add(-1)
	}
	s.enqueue(client.ID)
	return evicted, nil
}

// evict removes the client that waits longest for its first use. Its room is kept. It returns nil where no
// client can be evicted.
func (s *MemoryStore) evict(before time.Time) *Client {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	for id, since, ok := s.waiting.First(); ok; id, since, ok = s.waiting.First() {
		stored, err := s.record(id)
		switch {
		case err != nil, !stored.LastUsedAt.IsZero(): // gone or used this moment
			s.waiting.Drop(id)
		case stored.UpdatedAt.After(since):
			s.waiting.Set(id, stored.UpdatedAt)
		case !since.Before(before):
			return nil
		case s.takeRecord(stored): // unless it was used or changed this moment
			s.waiting.Drop(id)
			return stored.Clone() // others may still read the stored one
		}
	}
	return nil
}

// enqueue has a client wait for its first use or not, as its record is now: calls for one client may come
// in another order than its changes.
func (s *MemoryStore) enqueue(id string) {
	s.waitingMu.Lock()
	defer s.waitingMu.Unlock()
	stored, err := s.record(id)
	if err != nil || !stored.LastUsedAt.IsZero() {
		s.waiting.Drop(id)
		return
	}
	s.waiting.Set(id, stored.UpdatedAt)
}

// countKey is a value that clients have in common, under one issuer: of is what the value is.
type countKey struct{ issuer, of, value string }

// count counts one record instead of another; either may be nil. The clients of each subject, initial
// access token and name are counted, so that quotas and consent pages cost no walk.
func (s *MemoryStore) count(old, record *Client) {
	before, after := countKeys(old), countKeys(record)
	if before != after {
		s.counts.Replace(before[:], after[:])
	}
}

// countKeys are those of a record, which may be nil. A key without a value is not counted.
func countKeys(c *Client) (keys [3]countKey) {
	if c == nil {
		return keys
	}
	for i, key := range []countKey{
		{c.Issuer, "subject", c.Origin.Subject},
		{c.Issuer, "initial access token", c.Origin.InitialAccessToken},
		{c.Issuer, "name", c.NameKey()},
	} {
		if key.value != "" {
			keys[i] = key
		}
	}
	return keys
}

// counted returns the key of the clients that fit, if the filter is for one of the values only.
func counted(f ClientFilter) (key countKey, ok bool) {
	key.issuer = f.Issuer
	switch f {
	case ClientFilter{Issuer: f.Issuer, Subject: f.Subject}:
		key.of, key.value = "subject", f.Subject
	case ClientFilter{Issuer: f.Issuer, InitialAccessToken: f.InitialAccessToken}:
		key.of, key.value = "initial access token", f.InitialAccessToken
	case ClientFilter{Issuer: f.Issuer, NameKey: f.NameKey}:
		key.of, key.value = "name", f.NameKey
	}
	return key, key.issuer != "" && key.value != ""
}

// CountClients counts clients, as ClientLister has it. For one subject, initial access token or name it is
// a look-up, and otherwise a walk.
func (s *MemoryStore) CountClients(ctx context.Context, filter ClientFilter, most int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if key, ok := counted(filter); ok {
		return min(s.counts.Of(key), most), nil
	}
	number := 0
	s.clients.Range(func(_, value any) bool {
		if stored, ok := value.(*Client); ok && number < most && filter.Matches(stored) {
			number++
		}
		return number < most && ctx.Err() == nil
	})
	return number, ctx.Err()
}

// ListClients lists clients, as ClientLister has it. It walks over all of them.
func (s *MemoryStore) ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error) {
	var page []*Client
	s.clients.Range(func(_, value any) bool {
		stored, ok := value.(*Client)
		if ok && from.Follows(stored) && filter.Matches(stored) {
			page = append(page, stored)
		}
		if len(page) >= 2*min(limit, 1<<20)+1024 && limit < len(page) {
			page = newest(page, limit)
		}
		return ctx.Err() == nil
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	page = newest(page, limit)
	for i := range page {
		page[i] = page[i].Clone()
	}
	return page, nil
}

// newest returns the first of a list in its order.
func newest(clients []*Client, limit int) []*Client {
	slices.SortFunc(clients, func(a, b *Client) int {
		if order := b.CreatedAt.Compare(a.CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(b.ID, a.ID)
	})
	return clients[:min(len(clients), max(limit, 0))]
}
