package storagetest_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	once        brokenOnce
	initial     brokenInitial
	documents   brokenDocuments
	expire      func(context.Context, dcr.Expiry, int) ([]*dcr.Client, error)
	list        func(context.Context, dcr.ClientFilter, dcr.ClientCursor, int) ([]*dcr.Client, error)
	count       func(context.Context, dcr.ClientFilter, int) (int, error)
	evict       func(context.Context, *dcr.Client, time.Time) (*dcr.Client, error)
	purge       func(context.Context, time.Time) error

	static ids      // of static clients
	tokens sync.Map // of the key of an access token to its request
	defect func(*broken)
	bound  int // of registered clients; 0 where the store's default is
}

// newBroken returns a store with one defect.
func newBroken(defect func(*broken)) *broken { return newBounded(defect, 0) }

// newBounded returns one that has room for so many clients.
func newBounded(defect func(*broken), clients int, options ...dcr.MemoryOption) *broken {
	s := dcr.NewMemoryStore(append(options, dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: clients}))...)
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
		documents:   soundDocuments(s),
		list:        s.ListClients,
		count:       s.CountClients,
		evict:       s.CreateClientEvicting,
		expire:      s.DeleteExpiredClients,
	}
	b.purge = func(ctx context.Context, before time.Time) error {
		return b.purging(ctx, before, dcr.IsRegistrationTokenEntry)
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
	b.tokens.Store(key, r)
	return b.createToken(ctx, key, r)
}

// dropTokens removes access tokens, and entries of registration access tokens.
func (b *broken) dropTokens(ctx context.Context, which func(key string, r fosite.Requester) bool) {
	b.tokens.Range(func(key, r any) bool {
		if which(key.(string), r.(fosite.Requester)) {
			_ = b.MemoryStore.DeleteAccessTokenSession(ctx, key.(string))
		}
		return true
	})
}

// purging removes what was requested before a time, but for the keys that are spared.
func (b *broken) purging(ctx context.Context, before time.Time, spared func(key string) bool) error {
	b.dropTokens(ctx, func(key string, r fosite.Requester) bool { return r.GetRequestedAt().Before(before) && !spared(key) })
	return ctx.Err()
}

func (b *broken) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
	return b.expire(ctx, e, limit)
}

func (b *broken) CreateClientEvicting(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
	return b.evict(ctx, c, before)
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

func (b *broken) ListClients(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
	return b.list(ctx, f, from, limit)
}

func (b *broken) CountClients(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
	return b.count(ctx, f, most)
}

// everything is all that fits, in order.
func (b *broken) everything(ctx context.Context, f dcr.ClientFilter) ([]*dcr.Client, error) {
	return b.MemoryStore.ListClients(ctx, f, dcr.ClientCursor{}, 1000)
}

// choosing makes the list another choice from all that fits, which is in order.
func (b *broken) choosing(choose func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		all, err := b.everything(ctx, f)
		if err != nil {
			return nil, err
		}
		return choose(all, from, limit), nil
	}
}

// following is a choice of those that come after the cursor, as comes has it.
func (b *broken) following(comes func(c *dcr.Client, from dcr.ClientCursor) bool) {
	b.choosing(func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client {
		return first(slices.DeleteFunc(all, func(c *dcr.Client) bool { return from.ID != "" && !comes(c, from) }), limit)
	})
}

// ordering puts the list into another order, and begins behind the client of the cursor.
func (b *broken) ordering(order func(x, y *dcr.Client) int) {
	b.choosing(func(all []*dcr.Client, from dcr.ClientCursor, limit int) []*dcr.Client {
		slices.SortStableFunc(all, order)
		return first(all[1+slices.IndexFunc(all, func(c *dcr.Client) bool { return c.ID == from.ID }):], limit)
	})
}

// showing changes the records that are listed.
func (b *broken) showing(change func(*dcr.Client)) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
		for _, c := range found {
			change(c)
		}
		return found, err
	}
}

// filtering changes the filter of lists, and counting that of counts.
func (b *broken) filtering(change func(*dcr.ClientFilter)) {
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		change(&f)
		return b.MemoryStore.ListClients(ctx, f, from, limit)
	}
}

func (b *broken) counting(change func(*dcr.ClientFilter)) {
	b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
		change(&f)
		return b.MemoryStore.CountClients(ctx, f, most)
	}
}

// matching has another idea of which clients fit: what reduce leaves of the filter, and
// matches besides. Lists and counts agree.
func (b *broken) matching(reduce func(*dcr.ClientFilter), matches func(f dcr.ClientFilter, c *dcr.Client) bool) {
	fitting := func(ctx context.Context, f dcr.ClientFilter) ([]*dcr.Client, error) {
		rest := f
		reduce(&rest)
		all, err := b.everything(ctx, rest)
		return slices.DeleteFunc(all, func(c *dcr.Client) bool { return !matches(f, c) }), err
	}
	b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
		all, err := fitting(ctx, f)
		return first(slices.DeleteFunc(all, func(c *dcr.Client) bool { return !from.Follows(c) }), limit), err
	}
	b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
		all, err := fitting(ctx, f)
		return min(len(all), most), err
	}
}

func first(clients []*dcr.Client, limit int) []*dcr.Client { return clients[:min(len(clients), limit)] }

// byID is the order of those that were registered at one time.
func byID(x, y *dcr.Client) int { return strings.Compare(y.ID, x.ID) }

// stirred counts what is created, updated and deleted.
func (b *broken) stirred() *atomic.Int64 {
	n := new(atomic.Int64)
	b.create = func(ctx context.Context, c *dcr.Client) error {
		defer n.Add(1)
		return b.MemoryStore.CreateClient(ctx, c)
	}
	b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
		defer n.Add(1)
		return b.MemoryStore.UpdateClient(ctx, c, version)
	}
	b.delete = func(ctx context.Context, id string) error {
		defer n.Add(1)
		return b.MemoryStore.DeleteClient(ctx, id)
	}
	return n
}
