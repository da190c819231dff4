package access_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// requireQuota: past a quota nobody is told more than that.
func requireQuota(t testing.TB, answer dcrtest.Answer, events *dcrtest.Events) {
	t.Helper()
	dcrtest.RequireRefusal(t, answer, http.StatusForbidden, "access_denied")
	seen := events.Take()
	require.NotEmpty(t, seen)
	event := seen[len(seen)-1]
	require.Equal(t, dcr.EventLimited, event.Kind)
	require.Equal(t, "access_denied", event.Reason())
	require.Empty(t, event.ClientID)
	require.NotNil(t, event.Registrant)
}

func TestQuotaOfSubject(t *testing.T) {
	t.Parallel()
	s, store, events := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 2})
	first := s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), events)
	require.Len(t, store.Live(t), 2)
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("bob"))
	for range 5 {
		s.Register(t, dcrtest.PlainRegistration) // nobody's: without a subject there is nothing to count by
	}

	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, first, nil).Status)
	again := s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), events)
	require.NoError(t, s.Provider.DeleteClient(context.Background(), again.ID()))
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), events)

	token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Subject: "alice", Uses: 1})
	requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), events)
	require.Zero(t, dcrtest.UsesOf(t, store, record.ID), "a token for alice is alice's, and no use is gone")
}

func TestQuotaOfInitialAccessToken(t *testing.T) {
	t.Parallel()
	s, store, events := dcrtest.StartQuota(t, dcr.Quotas{PerInitialAccessToken: 2})
	token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Uses: 3})
	first := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	for range 3 {
		requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), events)
		require.Equal(t, 2, dcrtest.UsesOf(t, store, record.ID), "IAT-01: what a quota refuses costs no use")
	}
	other, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
	s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(other))

	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, first, nil).Status)
	third := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, third, nil).Status)
	answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	require.Equal(t, "user", dcrtest.RecordOf(t, store, answer.ID()).Origin.Kind, "IAT-01: the uses are gone, whatever places there are")
	require.Equal(t, 3, dcrtest.UsesOf(t, store, record.ID))
}

// TestQuotaBodyUnread: who has no place left is told before anything is read.
func TestQuotaBodyUnread(t *testing.T) {
	t.Parallel()
	s, _, _ := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 1})
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	request := dcrtest.JSONPost(t.Context(), "")
	request.Header.Set("Test-User", "alice")
	request.Body = io.NopCloser(dcrtest.ReaderFunc(func([]byte) (int, error) {
		t.Error("the body is read")
		return 0, io.EOF
	}))
	_, err := s.Provider.NewRegistrationRequest(t.Context(), request)
	require.ErrorIs(t, err, dcr.ErrAccessDenied)
}

// TestQuotaParallel: registrations at once never pass a quota together. Those that found
// too many clients leave nothing behind, and no use of a token (T31, T34).
func TestQuotaParallel(t *testing.T) {
	t.Parallel()
	const quota = 5
	for name, by := range map[string]func(token string) dcrtest.Edit{
		"T31/subject":              func(string) dcrtest.Edit { return dcrtest.AsUser("alice") },
		"T31/initial_access_token": dcrtest.Bearer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, store, events := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: quota, PerInitialAccessToken: quota})
			token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
			registered := 0
			for _, answer := range dcrtest.AllAtOnce(50, func(int) dcrtest.Answer { return s.Post(t, dcrtest.PlainRegistration, by(token)) }) {
				if answer.Status == http.StatusCreated {
					require.Contains(t, store.Live(t), answer.ID())
					registered++
					continue
				}
				dcrtest.RequireRefusal(t, answer, http.StatusForbidden, "access_denied")
			}
			require.LessOrEqual(t, registered, quota)
			requireOnly := func() {
				t.Helper()
				require.Len(t, store.Live(t), registered, "no record that nobody was told of")
				require.Equal(t, registered, store.LiveEntries(t), "no token that nobody was told of")
				if name != "T31/subject" {
					require.Equal(t, registered, dcrtest.UsesOf(t, store, record.ID))
				}
			}
			requireOnly()
			for ; registered < quota; registered++ {
				s.Register(t, dcrtest.PlainRegistration, by(token))
			}
			requireQuota(t, s.Post(t, dcrtest.PlainRegistration, by(token)), events)
			requireOnly()
		})
	}
}

// TestQuotaOfOtherIssuer: clients under another issuer are those of another server (T41).
func TestQuotaOfOtherIssuer(t *testing.T) {
	t.Parallel()
	one, store, events := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 1})
	other, _, otherEvents := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 1}, func(setup *dcrtest.Setup) { setup.Storage = store })
	one.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	other.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	requireQuota(t, one.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), events)
	requireQuota(t, other.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), otherEvents)
	require.Len(t, store.Live(t), 2)
}

// TestQuotaOfEndedClients: those that have ended count until they are swept, as
// documented.
func TestQuotaOfEndedClients(t *testing.T) {
	t.Parallel()
	clock := new(dcrtest.Clock)
	s, _, events := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 1}, func(setup *dcrtest.Setup) {
		setup.Config.Now, setup.Config.Lifecycle.Unused = clock.Now, time.Hour
	})
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
	clock.Forward(2 * time.Hour)
	requireQuota(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice")), events)
	removed, err := s.Provider.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	s.Register(t, dcrtest.PlainRegistration, dcrtest.AsUser("alice"))
}

// TestQuotaComposition: a quota takes a storage that counts. Below zero that of a subject means none (T67).
func TestQuotaComposition(t *testing.T) {
	t.Parallel()
	compose := func(storage any, quotas dcr.Quotas) error {
		_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{Storage: storage, Config: dcr.Config{Limits: dcr.Limits{Quotas: quotas}}})
		return err
	}
	for _, quotas := range []dcr.Quotas{{PerSubject: 1}, {PerInitialAccessToken: 1}} {
		require.NoError(t, compose(dcr.NewMemoryStore(), quotas))
		require.ErrorContains(t, compose(dcrtest.UncountedStore{MemoryStore: dcr.NewMemoryStore()}, quotas), "ClientLister")
	}
	require.NoError(t, compose(dcrtest.UncountedStore{MemoryStore: dcr.NewMemoryStore()}, dcr.Quotas{}))
	require.NoError(t, compose(dcrtest.UncountedStore{MemoryStore: dcr.NewMemoryStore()}, dcr.Quotas{PerSubject: -1}))
	require.Error(t, compose(dcr.NewMemoryStore(), dcr.Quotas{PerInitialAccessToken: -1}))
}

// committedStore is a MemoryStore with transactions as databases have them: what one has
// written is seen by others once it is committed.
type committedStore struct {
	*dcr.MemoryStore
	counted func() // runs when clients were counted
	commits atomic.Int64
}

// openTransactionKey is the key of an openTransaction in a context.
type openTransactionKey struct{}

type openTransaction struct{ created []*dcr.Client }

func (s *committedStore) BeginTX(ctx context.Context) (context.Context, error) {
	return context.WithValue(ctx, openTransactionKey{}, &openTransaction{}), nil
}

func (s *committedStore) Commit(ctx context.Context) error {
	s.commits.Add(1)
	for _, client := range ctx.Value(openTransactionKey{}).(*openTransaction).created {
		if err := s.MemoryStore.CreateClient(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

func (s *committedStore) Rollback(context.Context) error { return nil }

func (s *committedStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	if tx, ok := ctx.Value(openTransactionKey{}).(*openTransaction); ok {
		tx.created = append(tx.created, client.Clone())
		return nil
	}
	return s.MemoryStore.CreateClient(ctx, client)
}

func (s *committedStore) CreateAccessTokenSession(_ context.Context, signature string, r fosite.Requester) error {
	return s.MemoryStore.CreateAccessTokenSession(context.Background(), signature, r)
}

func (s *committedStore) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error) {
	found, err := s.MemoryStore.CountClients(ctx, filter, most)
	tx, open := ctx.Value(openTransactionKey{}).(*openTransaction)
	if open {
		for _, client := range tx.created {
			if filter.Matches(client) {
				found++
			}
		}
	}
	s.counted()
	return min(found, most), err
}

// TestQuotaInTransactions: also where a transaction hides what others are about to write,
// registrations at once don't pass a quota together (T31, LIFE-06).
func TestQuotaInTransactions(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup // two registrations that have both counted before either writes
	both.Add(2)
	var counts atomic.Int64
	store := &committedStore{MemoryStore: dcr.NewMemoryStore(), counted: func() {
		if counts.Add(1) <= 2 {
			both.Done()
			both.Wait()
		}
	}}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Limits: dcr.Limits{Quotas: dcr.Quotas{PerSubject: 1}},
		Access: dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "user", Subject: "alice"}, nil
		}),
	}})
	registered := 0
	for _, answer := range dcrtest.AllAtOnce(2, func(int) dcrtest.Answer { return s.Post(t, dcrtest.PlainRegistration) }) {
		if answer.Status == http.StatusCreated {
			registered++
		} else {
			dcrtest.RequireError(t, answer, http.StatusForbidden, "access_denied")
		}
	}
	require.EqualValues(t, 2, store.commits.Load(), "both wrote, in transactions of their own")
	require.LessOrEqual(t, registered, 1)
	alice := func() int {
		found, err := store.MemoryStore.CountClients(t.Context(), dcr.ClientFilter{Subject: "alice"}, 10)
		require.NoError(t, err)
		return found
	}
	require.Equal(t, registered, alice(), "what was refused is gone")
	s.Post(t, dcrtest.PlainRegistration)
	require.Equal(t, 1, alice(), "the quota is not used up by what was refused")
}
