package storagetest_test

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// broken is a MemoryStore in which a defect replaces some methods.
type broken struct {
	*dcr.MemoryStore

	create      func(context.Context, *dcr.Client) error
	read        func(context.Context, string) (*dcr.Client, error)
	getClient   func(context.Context, string) (fosite.Client, error)
	update      func(context.Context, *dcr.Client, int64) error
	delete      func(context.Context, string) error
	touch       func(context.Context, string, time.Time, time.Time) error
	revoke      func(context.Context, string) error
	createToken func(context.Context, string, fosite.Requester) error
	getToken    func(context.Context, string, fosite.Session) (fosite.Requester, error)
	deleteToken func(context.Context, string) error
	setJTI      func(context.Context, string, time.Time) error
	validJTI    func(context.Context, string) error
	initial     brokenInitial
	expire      func(context.Context, dcr.Expiry, int) ([]string, error) // nil: the store's
	list        func(context.Context, dcr.ClientFilter, dcr.ClientCursor, int) ([]*dcr.Client, error)
	count       func(context.Context, dcr.ClientFilter, int) (int, error)
	room        func(context.Context, time.Time) (string, error)

	static ids // of clients of the operator's own
	defect func(*broken)
	bound  int // of registered clients; 0 where the store's default is
}

// newBroken returns a store with one defect.
func newBroken(defect func(*broken)) *broken { return newBounded(defect, 0) }

// newBounded returns one that has room for so many clients.
func newBounded(defect func(*broken), clients int) *broken {
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: clients}))
	b := &broken{
		defect:      defect,
		bound:       clients,
		MemoryStore: s,
		create:      s.CreateClient,
		read:        s.GetDynamicClient,
		getClient:   s.GetClient,
		update:      s.UpdateClient,
		delete:      s.DeleteClient,
		touch:       s.TouchClient,
		revoke:      s.RevokeClientGrants,
		createToken: s.CreateAccessTokenSession,
		getToken:    s.GetAccessTokenSession,
		deleteToken: s.DeleteAccessTokenSession,
		setJTI:      s.SetClientAssertionJWT,
		validJTI:    s.ClientAssertionJWTValid,
		initial:     soundInitial(s),
		list:        s.ListClients,
		count:       s.CountClients,
		room:        s.MakeRoom,
	}
	defect(b)
	return b
}

func (b *broken) CreateClient(ctx context.Context, c *dcr.Client) error { return b.create(ctx, c) }

func (b *broken) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	return b.read(ctx, id)
}

func (b *broken) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	return b.getClient(ctx, id)
}

func (b *broken) UpdateClient(ctx context.Context, c *dcr.Client, version int64) error {
	return b.update(ctx, c, version)
}

func (b *broken) DeleteClient(ctx context.Context, id string) error { return b.delete(ctx, id) }

func (b *broken) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	return b.touch(ctx, id, lastUsed, keepUntil)
}

func (b *broken) RevokeClientGrants(ctx context.Context, id string) error { return b.revoke(ctx, id) }

func (b *broken) CreateAccessTokenSession(ctx context.Context, key string, r fosite.Requester) error {
	return b.createToken(ctx, key, r)
}

func (b *broken) GetAccessTokenSession(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
	return b.getToken(ctx, key, s)
}

func (b *broken) DeleteAccessTokenSession(ctx context.Context, key string) error {
	return b.deleteToken(ctx, key)
}

func (b *broken) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	return b.setJTI(ctx, jti, exp)
}

func (b *broken) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	return b.validJTI(ctx, jti)
}

// AddClient is the store's.
func (b *broken) AddClient(client fosite.Client) {
	if !dcr.IsDynamic(client) {
		b.static.add(client.GetID())
	}
	b.MemoryStore.AddClient(client)
}

// overwrite stores a record whatever was there before, as AddClient does.
func (b *broken) overwrite(c *dcr.Client) error {
	b.AddClient(c)
	return nil
}

// ids remembers identifiers.
type ids struct {
	mu   sync.Mutex
	seen []string
}

func (k *ids) add(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = append(k.seen, id)
}

func (k *ids) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string{}, k.seen...)
}

// remember returns the identifiers of the clients that are created from now on.
func (b *broken) remember() *ids {
	known := &ids{}
	b.create = func(ctx context.Context, c *dcr.Client) error {
		known.add(c.ID)
		return b.MemoryStore.CreateClient(ctx, c)
	}
	return known
}

// yield lets the others do what they are about to do.
func yield() {
	for range 200 {
		runtime.Gosched()
	}
}
