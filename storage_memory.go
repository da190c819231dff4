package dcr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// What a MemoryStore embeds. The aliases keep the fields unexported.
type (
	sessions       = memory.Sessions
	initialRecords = memory.InitialTokens[InitialAccessToken]
	clientRecords  = memory.Clients[Client, countKey]
)

// MemoryStore is a complete fosite storage in memory, for one process, with every interface of this package and of fosite,
// but for users of the password grant and keys of the JWT bearer grant (compose.ComposeAllEnabled).
//
// It is safe for many goroutines. Everything is bounded and shared out (MemoryLimits): a new entry is refused with ErrFull,
// and only clients that were never used are evicted. Of used refresh tokens the last 64 of a grant are known.
//
// Sessions are copied, and get the client as it is when they are read. Where it is gone they are not found (ResolveClient).
type MemoryStore struct {
	*sessions
	*initialRecords
	*clientRecords

	now       func() time.Time
	limit     MemoryLimits
	grace     time.Duration
	graceUses int

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

// MemoryLimits bounds a MemoryStore; zero means the default. The bounds are shared out (T59): of what a user agreed to, one
// user has a fiftieth, with one client a tenth of that; of what needs no user, one client has a hundredth, a public one for
// each caller; without a subject, half. Over a share, of 100 at least, one's oldest goes or one is refused.
type MemoryLimits struct {
	// Clients bounds registered clients; default 100,000. Static clients do not count. At the bound the oldest that
	// was never used is evicted for a new one, unless it is still in its eviction grace (Lifecycle).
	Clients int
	// Tokens bounds access tokens of users, and as many each of access tokens without a user (client
	// credentials), grants with refresh tokens, and registration access tokens; default 500,000.
	Tokens int
	// Codes bounds authorization codes, and as many each of PKCE sessions, OpenID Connect sessions and
	// pushed requests; default 100,000. One with more than 4 KiB of parameters counts as several.
	Codes int
	// Assertions bounds identifiers of client assertions ("jti"); default 1,000,000. Clients with documents have half together.
	Assertions int
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

// WithMemoryRefreshGrace lets each of the last four used refresh tokens of a grant be used again so often, for a time from
// its first use, by clients that lost the answer. Each use yields another pair of tokens.
func WithMemoryRefreshGrace(grace time.Duration, uses int) MemoryOption {
	return func(s *MemoryStore) { s.grace, s.graceUses = grace, uses }
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
		Client: s.sessionClient, Full: memoryFull, Slim: IsRegistrationTokenEntry, Slims: l.Tokens, Caller: CallerOf,
		RefreshGrace: s.grace, RefreshGraceUses: s.graceUses,
	})
	s.clientRecords = memory.NewClients(memory.ClientOptions[Client, countKey]{
		Limit: l.Clients, ID: func(c *Client) string { return c.ID }, Clone: (*Client).Clone, Replace: Replace, Touch: touched,
		Waits: func(c *Client) (time.Time, bool) { return c.UpdatedAt, c.LastUsedAt.IsZero() },
		Keys:  countKeys, Taken: ErrClientExists, Full: func() error { return memoryFull("registered client") },
	})
	return s
}

// touched shares what it does not change: neither record is ever changed.
func touched(stored *Client, lastUsed, keepUntil time.Time) *Client {
	next := *stored
	next.LastUsedAt = later(lastUsed, stored.LastUsedAt)
	next.KeepUntil = later(keepUntil, stored.KeepUntil)
	return &next
}

// CallerOf is for storages that share out room: the network of who sends the request of ctx ("": not known), and whether its
// client has a document. Such clients are free to make, so have a share together, too.
func CallerOf(ctx context.Context) (network string, document bool) {
	c := crossingOf(ctx)
	if c != nil && c.address.IsValid() {
		network = ratelimit.Network(c.address, 32, 64)
	}
	return network, c != nil && c.document != nil
}

// AddClient adds a static client, in place of any client with that identifier. It is returned by GetClient
// as it is, not copied, and can be neither read nor changed nor deleted through ClientStorage.
//
// A *Client is no static client: it is copied and taken for registered, as with CreateClient, but without
// regard to the bound.
func (s *MemoryStore) AddClient(client fosite.Client) {
	if record, registered := RegisteredClient(client); registered {
		memory.PutClient(s.clientRecords, record)
		return
	}
	memory.PutStatic(s.clientRecords, client)
}

// GetClient returns a copy of a registered client, or a static client.
func (s *MemoryStore) GetClient(_ context.Context, id string) (fosite.Client, error) {
	switch record, static := memory.FindClient(s.clientRecords, id); {
	case record != nil:
		return record, nil
	case static != nil:
		return static, nil
	}
	return nil, fosite.ErrNotFound
}

// sessionClient is GetClient, for the client of a session.
func (s *MemoryStore) sessionClient(ctx context.Context, id string) (fosite.Client, error) {
	client, err := s.GetClient(ctx, id)
	if err != nil {
		return ResolveClient(ctx, id)
	}
	return client, nil
}

func memoryFull(kind string) error {
	return fmt.Errorf("%w for another %s in the memory store", ErrFull, kind)
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
		s.expired, s.expiredBy = nil, e
		memory.EachClient(ctx, s.clientRecords, func(stored *Client) bool {
			if e.Expired(stored) {
				s.expired = append(s.expired, stored.ID)
			}
			return true
		})
	}
	var removed []*Client
	for len(s.expired) > 0 && len(removed) < limit && ctx.Err() == nil {
		last := len(s.expired) - 1
		if gone := memory.RemoveIf(s.clientRecords, s.expired[last], e.Expired); gone != nil {
			removed = append(removed, gone)
		}
		s.expired = s.expired[:last]
	}
	return removed, ctx.Err()
}

// countKey is a value that clients have in common, under one issuer: of is what the value is. The clients of each
// subject, initial access token and name are counted, so that quotas and consent pages cost no walk.
type countKey struct{ issuer, of, value string }

// countKeys are those of a record. A key without a value is not counted.
func countKeys(c *Client) (keys [3]countKey) {
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
		return min(memory.CountClients(s.clientRecords, key), most), nil
	}
	number := 0
	memory.EachClient(ctx, s.clientRecords, func(stored *Client) bool {
		if number < most && filter.Matches(stored) {
			number++
		}
		return number < most
	})
	return number, ctx.Err()
}

// ListClients lists clients, as ClientLister has it. It walks over all of them.
func (s *MemoryStore) ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error) {
	var page []*Client
	memory.EachClient(ctx, s.clientRecords, func(stored *Client) bool {
		if from.Follows(stored) && filter.Matches(stored) {
			page = append(page, stored)
		}
		if len(page) >= 2*min(limit, 1<<20)+1024 && limit < len(page) {
			page = newest(page, limit)
		}
		return true
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
