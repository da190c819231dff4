package lifecycle_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// entryBook is a store that knows the keys of its access tokens.
type entryBook struct {
	*dcr.MemoryStore
	keys sync.Map
}

func (b *entryBook) CreateAccessTokenSession(ctx context.Context, key string, r fosite.Requester) error {
	b.keys.Store(key, true)
	return b.MemoryStore.CreateAccessTokenSession(ctx, key, r)
}

func (b *entryBook) DeleteAccessTokenSession(ctx context.Context, key string) error {
	b.keys.Delete(key)
	return b.MemoryStore.DeleteAccessTokenSession(ctx, key)
}

// entries counts the entries of registration access tokens.
func (b *entryBook) entries(t testing.TB) (number int) {
	t.Helper()
	b.keys.Range(func(key, _ any) bool {
		require.True(t, dcr.IsRegistrationTokenEntry(key.(string)))
		number++
		return true
	})
	return number
}

// grantless hides RevokeClientGrants by a method of another form.
type grantless struct{ *entryBook }

func (grantless) RevokeClientGrants() {}

// TestEntriesGoWithTheirClient: a client that expires, is evicted or is forgotten takes the
// entry of its registration access token along, also where the storage can't revoke grants
// (ENTRY-01).
func TestEntriesGoWithTheirClient(t *testing.T) {
	t.Parallel()
	const clients = 20
	for name, end := range map[string]func(t *testing.T, s *dcrtest.Server, store *entryBook, clock *dcrtest.Clock){
		"expired": func(t *testing.T, s *dcrtest.Server, _ *entryBook, clock *dcrtest.Clock) {
			clock.Forward(2 * time.Hour)
			removed, err := s.Provider.Sweep(t.Context())
			require.NoError(t, err)
			require.Equal(t, clients, removed)
		},
		"evicted": func(t *testing.T, s *dcrtest.Server, store *entryBook, clock *dcrtest.Clock) {
			clock.Forward(11 * time.Minute)
			for range clients {
				s.Register(t, dcrtest.Managed())
			}
			require.Len(t, listed(t, store.MemoryStore), clients)
		},
		"forgotten": func(t *testing.T, s *dcrtest.Server, store *entryBook, _ *dcrtest.Clock) {
			for _, c := range listed(t, store.MemoryStore) {
				require.NoError(t, store.MemoryStore.DeleteClient(t.Context(), c.ID))
				require.NoError(t, s.Provider.Forget(t.Context(), c))
				require.NoError(t, s.Provider.Forget(t.Context(), c), "it is no error to forget a client twice")
			}
		},
	} {
		for hidden, of := range map[string]func(*entryBook) any{
			"with_revoker":    func(l *entryBook) any { return l },
			"without_revoker": func(l *entryBook) any { return grantless{l} },
		} {
			t.Run("ENTRY-01/"+name+"/"+hidden, func(t *testing.T) {
				t.Parallel()
				store := &entryBook{MemoryStore: dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: clients}))}
				clock := new(dcrtest.Clock)
				s := dcrtest.Start(t, dcrtest.Setup{Storage: of(store), Config: dcr.Config{
					Now: clock.Now, Lifecycle: dcr.Lifecycle{Unused: time.Hour},
				}})
				for range clients {
					s.Register(t, dcrtest.Managed())
				}
				end(t, s, store, clock)
				require.Equal(t, len(listed(t, store.MemoryStore)), store.entries(t), "ENTRY-01")
			})
		}
	}
}

// listed returns all clients of a store.
func listed(t testing.TB, store dcr.ClientLister) []*dcr.Client {
	t.Helper()
	clients, err := store.ListClients(t.Context(), dcr.ClientFilter{}, dcr.ClientCursor{}, 1000)
	require.NoError(t, err)
	return clients
}

func TestForgetNothing(t *testing.T) {
	t.Parallel()
	require.Error(t, dcrtest.Start(t, dcrtest.Setup{}).Provider.Forget(t.Context(), nil))
}
