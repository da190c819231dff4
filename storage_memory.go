package dcr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
	"github.com/fosite-contrib/fosite-dcr/internal/packed"
	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// What a MemoryStore embeds. The aliases keep the fields unexported.
type (
	sessions       = memory.Sessions
	initialRecords = memory.InitialTokens[InitialAccessToken]
	clientRecords  = memory.Clients[Client, jose.JSONWebKeySet]
)

// MemoryStore is a complete fosite storage in memory, for one process, with every interface of this package and of fosite,
// but for users of the password grant and keys of the JWT bearer grant (compose.ComposeAllEnabled).
//
// It is safe for many goroutines. Everything is bounded and shared out (MemoryLimits): a new entry is refused with ErrFull,
// and only clients that were never used are evicted. Of used refresh tokens the last 64 of a grant are known. A client's
// times are in UTC.
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
	s.clientRecords = memory.NewClients(memory.ClientOptions[Client, jose.JSONWebKeySet]{
		Limit: l.Clients, ID: func(c *Client) string { return c.ID }, Replace: replacePacked,
		Pack: packClient, Unpack: unpackClient, Head: unpackHead, Brief: briefOf,
		Counted: counted, Deleted: s.clearEntries, Taken: ErrClientExists, Full: func() error { return memoryFull("registered client") },
	})
	return s
}

// packClient packs a record, but for its keys, which would have to be parsed again each time.
func packClient(buffer []byte, c *Client) ([]byte, *jose.JSONWebKeySet) {
	w := packed.Writer(buffer)
	c.packHead(&w)
	c.packRest(&w)
	return w.Bytes(), copyKeys(c.Metadata.JWKS)
}

func unpackClient(data string, keys *jose.JSONWebKeySet) *Client {
	r, c := packed.Reader(data), new(Client)
	c.packHead(&r)
	c.packRest(&r)
	c.Metadata.JWKS = copyKeys(keys)
	c.Metadata.Scope = strings.Clone(c.Metadata.Scope) // sessions have it, and the audience, for longer than the record lasts
	for i, audience := range c.Audience {
		c.Audience[i] = strings.Clone(audience)
	}
	return c
}

// clearEntries removes the entries that a record names, as ClientStorage.DeleteClient has it.
func (s *MemoryStore) clearEntries(removed string) {
	var c Client
	unpackHead(removed, &c)
	for _, entry := range c.RegistrationTokenEntries() {
		_ = s.DeleteAccessTokenSession(context.Background(), entry) // never fails
	}
}

func copyKeys(keys *jose.JSONWebKeySet) *jose.JSONWebKeySet {
	if keys == nil {
		return nil
	}
	return &jose.JSONWebKeySet{Keys: slices.Clone(keys.Keys)}
}

// unpackHead reads no more than Expiry needs, and most filters.
func unpackHead(data string, c *Client) {
	r := packed.BriefReader(data)
	c.packHead(&r)
}

func briefOf(data string) memory.Brief {
	var c Client
	unpackHead(data, &c)
	return memory.Brief{ID: c.ID, CreatedAt: c.CreatedAt, Changed: c.UpdatedAt, Used: !c.LastUsedAt.IsZero()}
}

func replacePacked(data string, next *Client, version int64) (*Client, error) {
	var stored Client
	unpackHead(data, &stored)
	return replacement(&stored, next, version)
}

// packHead writes or reads what most look at. What others keep of a client is Owned.
func (c *Client) packHead(p *packed.Codec) {
	p.Fixed(&c.LastUsedAt, &c.KeepUntil)
	p.Times(&c.CreatedAt, &c.UpdatedAt, &c.UnusedUntil, &c.ExpiresAt)
	p.Owned(&c.ID)
	p.Owned(&c.Issuer, &c.Origin.Kind, &c.Origin.Subject, &c.Origin.InitialAccessToken, &c.Origin.ClientID)
	p.Ints(&c.Version)
	p.Texts(&c.Metadata.ClientName, &c.RegistrationToken.Signature, &c.PreviousRegistrationToken.Signature)
}

func (c *Client) packRest(p *packed.Codec) {
	p.Ints(&c.GrantsRevoked)
	p.Flags(&c.Origin.Anonymous, &c.AlwaysAskConsent, &c.RequirePKCE, &c.Shared)
	p.Texts(&c.Origin.Policy, &c.StatementIssuer)
	p.Times(&c.SecretExpiresAt, &c.RegistrationToken.ExpiresAt, &c.PreviousRegistrationToken.ExpiresAt)
	p.Lists(&c.Origin.GrantTypes, &c.StatementMembers, &c.Audience)
	p.Data(&c.SecretHash)
	packed.Slice(p, &c.RotatedSecrets)
	for i := range c.RotatedSecrets {
		p.Data(&c.RotatedSecrets[i].Hash)
		p.Times(&c.RotatedSecrets[i].ExpiresAt)
	}
	table.Pack(p, &c.Metadata, "client_name")
}

// CallerOf is for storages that share out room: the network of who sends the request of ctx ("": not known), and whether its
// client has a document. Such clients are free to make, so have a share together, too.
func CallerOf(ctx context.Context) (network string, document bool) {
	c := crossingOf(ctx)
	if c != nil && c.address.IsValid() {
		network = ratelimit.Network("", c.address, c.prefixes[0], c.prefixes[1])
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
	return memory.RemoveClients(ctx, s.clientRecords, e, memory.Filter[Client]{Head: e.Expired}, limit)
}

// counted are the values that clients have in common, under one issuer, so that quotas and consent pages cost no walk.
func counted(data string) (issuer string, values [3]string) {
	var c Client
	unpackHead(data, &c)
	return c.Issuer, [3]string{c.Origin.Subject, c.Origin.InitialAccessToken, c.NameKey()}
}

// CountClients counts clients, as ClientLister has it. For one subject, initial access token or name it is
// a look-up, and otherwise a walk.
func (s *MemoryStore) CountClients(ctx context.Context, filter ClientFilter, most int) (int, error) {
	f := filter
	if f == (ClientFilter{Issuer: f.Issuer, Subject: f.Subject, InitialAccessToken: f.InitialAccessToken, NameKey: f.NameKey}) {
		number, ok := memory.CountClients(s.clientRecords, f.Issuer, [3]string{f.Subject, f.InitialAccessToken, f.NameKey})
		if ok {
			return min(number, most), ctx.Err()
		}
	}
	return memory.CountWalking(ctx, s.clientRecords, walk(filter, ClientCursor{}), most)
}

// ListClients lists clients, as ClientLister has it. It walks over all of them.
func (s *MemoryStore) ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error) {
	return memory.ListClients(ctx, s.clientRecords, walk(filter, from), limit)
}

// walk asks as much of a filter as the head of a record can tell, and then all of it if that is more.
func walk(filter ClientFilter, from ClientCursor) memory.Filter[Client] {
	head := filter
	head.SoftwareID, head.RedirectHost = "", ""
	f := memory.Filter[Client]{Head: func(c *Client) bool { return from.Follows(c) && head.Matches(c) }}
	if head != filter {
		f.Whole = filter.Matches
	}
	return f
}
