package storage_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// miscounting is a storage with transactions whose second count fails.
type miscounting struct {
	*dcrtest.TransactionalStore
	counts int
}

func (s *miscounting) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error) {
	if s.counts++; s.counts == 2 {
		return 0, dcrtest.ErrBroken
	}
	return s.TransactionalStore.CountClients(ctx, filter, most)
}

// startUser starts a server at which one user registers, over a storage that has room for one client.
func startUser(t *testing.T, storage any) (*dcrtest.Server, *dcrtest.Events) {
	events := &dcrtest.Events{}
	return dcrtest.Start(t, dcrtest.Setup{Storage: storage, Config: dcr.Config{
		Events: events, Lifecycle: dcr.Lifecycle{EvictionGrace: -1}, Limits: dcr.Limits{Quotas: dcr.Quotas{PerSubject: 5}},
		Access: dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "user", Subject: "ann"}, nil
		}),
	}}), events
}

func roomForOne() *dcrtest.WatchedStore {
	store := dcrtest.NewWatchedStore()
	store.MemoryStore = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}))
	return store
}

// TestEvictedBeforeQuotaFails: a client that was evicted in a transaction which was committed is gone, and its
// grants and its event follow, although the registration fails after it (LIFE-02, T36).
func TestEvictedBeforeQuotaFails(t *testing.T) {
	t.Parallel()
	store := &miscounting{TransactionalStore: &dcrtest.TransactionalStore{WatchedStore: roomForOne()}, counts: 10}
	s, events := startUser(t, store)
	old := s.Register(t, dcrtest.PlainRegistration)
	events.Take()
	store.counts = 0
	dcrtest.RequireFailure(t, s.Post(t, dcrtest.PlainRegistration), http.StatusInternalServerError)
	seen := events.Take()
	require.False(t, dcrtest.Lives(t, s, old))
	require.Equal(t, []dcr.EventKind{dcr.EventExpired, dcr.EventRefused}, dcrtest.KindsOf(seen))
	require.Equal(t, old.ID(), seen[0].ClientID)
}

// halfEvicting is a storage that evicts and creates, and then fails.
type halfEvicting struct{ *dcrtest.WatchedStore }

func (s halfEvicting) CreateClientEvicting(ctx context.Context, client *dcr.Client, before time.Time) (*dcr.Client, error) {
	evicted, err := s.WatchedStore.CreateClientEvicting(ctx, client, before)
	if err != nil {
		return nil, err
	}
	return evicted, dcrtest.ErrBroken
}

// TestEvictionThatFailsAfterwards: a storage that fails after it has created leaves no client that nobody
// holds (T34).
func TestEvictionThatFailsAfterwards(t *testing.T) {
	t.Parallel()
	store := halfEvicting{roomForOne()}
	s, events := startUser(t, store)
	s.Register(t, dcrtest.PlainRegistration)
	events.Take()
	require.GreaterOrEqual(t, s.Post(t, dcrtest.PlainRegistration).Status, 500)
	require.Zero(t, dcrtest.CountRecords(t, store), "the client that was created is taken back")
	require.Contains(t, dcrtest.KindsOf(events.Take()), dcr.EventExpired)
}
