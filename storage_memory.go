package dcr

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
)

// MemoryStore is a complete fosite storage in memory: registered clients, clients of
// the operator's own, authorization codes, access and refresh tokens, PKCE and OpenID
// Connect sessions, pushed requests and identifiers of client assertions. It has no users
// for the password grant and no keys for the JWT bearer grant, so it does not go with
// compose.ComposeAllEnabled. It is for one process and forgets everything when that ends.
//
// It is safe for many goroutines. What has expired is dropped a little at a time as
// new entries come, never in one walk, and everything is bounded ([MemoryLimits]). At
// a bound a new entry is refused with an error that wraps ErrUnavailable and nothing
// but clients that were never used gives way: an identifier of an assertion that were forgotten early could be
// replayed, and a PKCE session that were gone would let its code pass without a
// verifier.
//
// A session is kept with the identifier of its client, and gets the client as it is
// when the session is read. Where the client is gone the session is not found. A
// client without an identifier, or whose identifier is an https URL unknown to the
// store, is kept as it came. Sessions are copied on their way in and out with their
// Clone method; what comes back is the stored session, whatever a Get method is given.
type MemoryStore struct {
	now   func() time.Time
	limit MemoryLimits

	// clients holds *Client for what was registered and any other fosite.Client for
	// what the operator added. A *Client in it is never changed, only replaced.
	clients    sync.Map
	registered atomic.Int64
	waiting    memoryWaiting
	counts     memoryCounts

	codes, challenges, openIDs, pushed memoryTable
	access, refresh                    memoryTable
	assertions                         memoryTable
	initial                            memoryInitialTokens
}

var (
	_ fosite.Storage                     = (*MemoryStore)(nil)
	_ ClientStorage                      = (*MemoryStore)(nil)
	_ UseRecorder                        = (*MemoryStore)(nil)
	_ GrantRevoker                       = (*MemoryStore)(nil)
	_ oauth2.CoreStorage                 = (*MemoryStore)(nil)
	_ oauth2.TokenRevocationStorage      = (*MemoryStore)(nil)
	_ pkce.PKCERequestStorage            = (*MemoryStore)(nil)
	_ openid.OpenIDConnectRequestStorage = (*MemoryStore)(nil)
	_ fosite.PARStorage                  = (*MemoryStore)(nil)
)

// MemoryLimits bounds a MemoryStore. Zero means the default.
type MemoryLimits struct {
	// Clients bounds registered clients; default 100,000. Those of the operator's own
	// do not count. At the bound the oldest that was never used gives way to a new one
	// (Lifecycle.Young).
	Clients int
	// Tokens bounds access tokens, and refresh tokens as many again; default 500,000.
	// Each registered client has one access token entry for its registration access
	// token.
	Tokens int
	// Codes bounds authorization codes, and as many each of PKCE sessions, OpenID
	// Connect sessions and pushed requests; default 100,000.
	Codes int
	// Assertions bounds identifiers of client assertions ("jti"); default 1,000,000.
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

// NewMemoryStore returns an empty store.
func NewMemoryStore(options ...MemoryOption) *MemoryStore {
	s := &MemoryStore{now: time.Now}
	for _, option := range options {
		option(s)
	}
	l := &s.limit
	setDefault(&l.Clients, 100_000)
	setDefault(&l.Tokens, 500_000)
	setDefault(&l.Codes, 100_000)
	setDefault(&l.Assertions, 1_000_000)
	s.codes.init("authorization code", l.Codes)
	s.challenges.init("PKCE session", l.Codes)
	s.openIDs.init("OpenID Connect session", l.Codes)
	s.pushed.init("pushed request", l.Codes)
	s.access.init("access token", l.Tokens)
	s.refresh.init("refresh token", l.Tokens)
	s.assertions.init("client assertion", l.Assertions)
	return s
}

// AddClient adds a client of the operator's own, in place of any client with that
// identifier. It is returned by GetClient as it is, not copied, and can be neither
// read nor changed nor deleted through ClientStorage.
//
// A *Client is not one of the operator's own: it is copied and taken for registered,
// as with CreateClient, but without regard to the bound.
func (s *MemoryStore) AddClient(client fosite.Client) {
	record, registered := client.(*Client)
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
	s.counts.replace(old, record)
	s.settle(client.GetID())
}

// GetClient returns a copy of a registered client, or a client of the operator's own.
func (s *MemoryStore) GetClient(_ context.Context, id string) (fosite.Client, error) {
	found, ok := s.clients.Load(id)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	if record, ok := found.(*Client); ok {
		return record.Clone(), nil
	}
	return found.(fosite.Client), nil
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
	s.counts.replace(nil, stored)
	s.settle(stored.ID)
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
	next := client.Clone()
	for {
		stored, err := s.record(client.ID)
		if err != nil {
			return err
		}
		if stored.Version != version {
			return ErrConflict
		}
		next.LastUsedAt = later(client.LastUsedAt, stored.LastUsedAt)
		next.KeepUntil = later(client.KeepUntil, stored.KeepUntil)
		if s.clients.CompareAndSwap(client.ID, stored, next) {
			s.counts.replace(stored, next)
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
		s.settle(stored.ID)
	}
	return taken
}

// takeRecord is removeRecord without the queue of those that wait.
func (s *MemoryStore) takeRecord(stored *Client) bool {
	if !s.clients.CompareAndDelete(stored.ID, stored) {
		return false
	}
	s.registered.Add(-1)
	s.counts.replace(stored, nil)
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
				s.settle(id)
			}
			return nil
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ClientAssertionJWTValid returns fosite.ErrJTIKnown for an identifier that is known
// and has not expired.
func (s *MemoryStore) ClientAssertionJWTValid(_ context.Context, jti string) error {
	if _, err := s.assertions.get(s.now(), jti); err == nil {
		return fosite.ErrJTIKnown
	}
	return nil
}

// SetClientAssertionJWT notes an identifier until some time after it expires. Of
// several calls at once with one identifier exactly one succeeds, the others get
// fosite.ErrJTIKnown.
func (s *MemoryStore) SetClientAssertionJWT(_ context.Context, jti string, expires time.Time) error {
	// fosite takes an assertion until the end of the second in which it expires.
	entry := &memoryEntry{key: jti, expires: expires.Add(memoryMargin)}
	return s.assertions.putNew(s.now(), entry, fosite.ErrJTIKnown)
}
