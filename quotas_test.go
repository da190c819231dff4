package dcr_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// as registers in the name of a user.
func as(user string) dcrtest.Edit { return dcrtest.Header("Test-User", user) }

// quotaServer lets users register whom a header names, and whoever has an initial access
// token.
func quotaServer(t testing.TB, quotas dcr.Quotas, edit ...func(*dcrtest.Setup)) (*dcrtest.Server, *ledger, *noted) {
	t.Helper()
	store, events := newLedger(), &noted{}
	setup := dcrtest.Setup{Storage: store, Config: dcr.Config{Quotas: quotas, Events: events}}
	setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		return &dcr.Registrant{Kind: "user", Subject: r.Header.Get("Test-User")}, nil
	}))
	for _, e := range edit {
		e(&setup)
	}
	return dcrtest.Start(t, setup), store, events
}

// requireQuota: past a quota nobody is told more than that.
func requireQuota(t testing.TB, answer dcrtest.Answer, events *noted) {
	t.Helper()
	requireRefusal(t, answer, http.StatusForbidden, "access_denied")
	seen := events.take()
	require.NotEmpty(t, seen)
	event := seen[len(seen)-1]
	require.Equal(t, dcr.EventLimited, event.Kind)
	require.Equal(t, "access_denied", event.Reason())
	require.Empty(t, event.ClientID)
	require.NotNil(t, event.Registrant)
}

func uses(t testing.TB, store interface {
	GetInitialAccessToken(context.Context, string) (*dcr.InitialAccessToken, error)
}, id string) int {
	t.Helper()
	record, err := store.GetInitialAccessToken(context.Background(), id)
	require.NoError(t, err)
	return record.Uses
}

func TestQuotaOfSubject(t *testing.T) {
	t.Parallel()
	s, store, events := quotaServer(t, dcr.Quotas{PerSubject: 2})
	first := s.Register(t, limitedBody, as("alice"))
	s.Register(t, limitedBody, as("alice"))
	requireQuota(t, s.Post(t, limitedBody, as("alice")), events)
	require.Len(t, store.live(t), 2)
	s.Register(t, limitedBody, as("bob"))
	for range 5 {
		s.Register(t, limitedBody) // nobody's: without a subject there is nothing to count by
	}

	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, first, nil).Status)
	again := s.Register(t, limitedBody, as("alice"))
	requireQuota(t, s.Post(t, limitedBody, as("alice")), events)
	require.NoError(t, s.Provider.DeleteClient(context.Background(), again.ID()))
	s.Register(t, limitedBody, as("alice"))
	requireQuota(t, s.Post(t, limitedBody, as("alice")), events)

	token, record := mint(t, s, dcr.InitialAccessTokenRequest{Subject: "alice", Uses: 1})
	requireQuota(t, s.Post(t, limitedBody, dcrtest.Bearer(token)), events)
	require.Zero(t, uses(t, store, record.ID), "a token for alice is alice's, and no use is gone")
}

func TestQuotaOfInitialAccessToken(t *testing.T) {
	t.Parallel()
	s, store, events := quotaServer(t, dcr.Quotas{PerInitialAccessToken: 2})
	token, record := mint(t, s, dcr.InitialAccessTokenRequest{Uses: 3})
	first := s.Register(t, limitedBody, dcrtest.Bearer(token))
	s.Register(t, limitedBody, dcrtest.Bearer(token))
	for range 3 {
		requireQuota(t, s.Post(t, limitedBody, dcrtest.Bearer(token)), events)
		require.Equal(t, 2, uses(t, store, record.ID), "IAT-01: what a quota refuses costs no use")
	}
	other, _ := mint(t, s, dcr.InitialAccessTokenRequest{})
	s.Register(t, limitedBody, dcrtest.Bearer(other))

	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, first, nil).Status)
	third := s.Register(t, limitedBody, dcrtest.Bearer(token))
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, third, nil).Status)
	answer := s.Post(t, limitedBody, dcrtest.Bearer(token))
	require.Equal(t, "user", clientOf(t, store, answer.ID()).Origin.Kind, "IAT-01: the uses are gone, whatever places there are")
	require.Equal(t, 3, uses(t, store, record.ID))
}

func clientOf(t testing.TB, store dcr.ClientStorage, id string) *dcr.Client {
	t.Helper()
	client, err := store.GetDynamicClient(context.Background(), id)
	require.NoError(t, err, id)
	return client
}

// TestQuotaBodyUnread: who has no place left is told before anything is read.
func TestQuotaBodyUnread(t *testing.T) {
	t.Parallel()
	s, _, _ := quotaServer(t, dcr.Quotas{PerSubject: 1})
	s.Register(t, limitedBody, as("alice"))
	request := jsonPost(t.Context(), "")
	request.Header.Set("Test-User", "alice")
	request.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
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
		"T31/subject":              func(string) dcrtest.Edit { return as("alice") },
		"T31/initial_access_token": dcrtest.Bearer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, store, events := quotaServer(t, dcr.Quotas{PerSubject: quota, PerInitialAccessToken: quota})
			token, record := mint(t, s, dcr.InitialAccessTokenRequest{})
			registered := 0
			for _, answer := range allAtOnce(50, func(int) dcrtest.Answer { return s.Post(t, limitedBody, by(token)) }) {
				if answer.Status == http.StatusCreated {
					require.Contains(t, store.live(t), answer.ID())
					registered++
					continue
				}
				requireRefusal(t, answer, http.StatusForbidden, "access_denied")
			}
			require.LessOrEqual(t, registered, quota)
			requireOnly := func() {
				t.Helper()
				require.Len(t, store.live(t), registered, "no record that nobody was told of")
				require.Equal(t, registered, store.liveEntries(t), "no token that nobody was told of")
				if name != "T31/subject" {
					require.Equal(t, registered, uses(t, store, record.ID))
				}
			}
			requireOnly()
			for ; registered < quota; registered++ {
				s.Register(t, limitedBody, by(token))
			}
			requireQuota(t, s.Post(t, limitedBody, by(token)), events)
			requireOnly()
		})
	}
}

// TestQuotaOfOtherIssuer: clients under another issuer are those of another server (T41).
func TestQuotaOfOtherIssuer(t *testing.T) {
	t.Parallel()
	one, store, events := quotaServer(t, dcr.Quotas{PerSubject: 1})
	other, _, otherEvents := quotaServer(t, dcr.Quotas{PerSubject: 1}, func(setup *dcrtest.Setup) { setup.Storage = store })
	one.Register(t, limitedBody, as("alice"))
	other.Register(t, limitedBody, as("alice"))
	requireQuota(t, one.Post(t, limitedBody, as("alice")), events)
	requireQuota(t, other.Post(t, limitedBody, as("alice")), otherEvents)
	require.Len(t, store.live(t), 2)
}

// TestQuotaOfEndedClients: those that have ended count until they are swept, as
// documented.
func TestQuotaOfEndedClients(t *testing.T) {
	t.Parallel()
	clock := new(movableClock)
	s, _, events := quotaServer(t, dcr.Quotas{PerSubject: 1}, func(setup *dcrtest.Setup) {
		setup.Config.Now, setup.Config.Lifecycle.Unused = clock.now, time.Hour
	})
	s.Register(t, limitedBody, as("alice"))
	clock.forward(2 * time.Hour)
	requireQuota(t, s.Post(t, limitedBody, as("alice")), events)
	removed, err := s.Provider.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	s.Register(t, limitedBody, as("alice"))
}

// TestQuotaComposition: a quota takes a storage that counts, and is no number below zero.
func TestQuotaComposition(t *testing.T) {
	t.Parallel()
	compose := func(storage any, quotas dcr.Quotas) error {
		_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{Storage: storage, Config: dcr.Config{Quotas: quotas}})
		return err
	}
	for _, quotas := range []dcr.Quotas{{PerSubject: 1}, {PerInitialAccessToken: 1}} {
		require.NoError(t, compose(dcr.NewMemoryStore(), quotas))
		require.ErrorContains(t, compose(uncountedStore{dcr.NewMemoryStore()}, quotas), "ClientLister")
	}
	require.NoError(t, compose(uncountedStore{dcr.NewMemoryStore()}, dcr.Quotas{}))
	require.Error(t, compose(dcr.NewMemoryStore(), dcr.Quotas{PerSubject: -1}))
	require.Error(t, compose(dcr.NewMemoryStore(), dcr.Quotas{PerInitialAccessToken: -1}))
}

// uncountedStore hides CountClients by a method of another form.
type uncountedStore struct{ *dcr.MemoryStore }

func (uncountedStore) CountClients() {}

// committedStore is a MemoryStore with transactions as databases have them: what one has
// written is seen by others once it is committed.
type committedStore struct {
	*dcr.MemoryStore
	counted func(inTransaction bool) // runs when clients were counted
}

type openTransaction struct{ created []*dcr.Client }

func (s *committedStore) BeginTX(ctx context.Context) (context.Context, error) {
	return context.WithValue(ctx, transactionKey{}, &openTransaction{}), nil
}

func (s *committedStore) Commit(ctx context.Context) error {
	for _, client := range ctx.Value(transactionKey{}).(*openTransaction).created {
		if err := s.MemoryStore.CreateClient(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

func (s *committedStore) Rollback(context.Context) error { return nil }

func (s *committedStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	if tx, ok := ctx.Value(transactionKey{}).(*openTransaction); ok {
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
	tx, open := ctx.Value(transactionKey{}).(*openTransaction)
	if open {
		for _, client := range tx.created {
			if filter.Matches(client) {
				found++
			}
		}
	}
	s.counted(open)
	return min(found, most), err
}

// TestQuotaInTransactions: also where a transaction hides what others are about to write,
// registrations at once don't pass a quota together (T31, LIFE-06).
func TestQuotaInTransactions(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup // two registrations that have both counted before either commits
	both.Add(2)
	store := &committedStore{MemoryStore: dcr.NewMemoryStore(), counted: func(inTransaction bool) {
		if inTransaction {
			both.Done()
			both.Wait()
		}
	}}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Quotas: dcr.Quotas{PerSubject: 1},
		Access: dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "user", Subject: "alice"}, nil
		}),
	}})
	allAtOnce(2, func(int) dcrtest.Answer { return s.Post(t, limitedBody) })
	found, err := store.MemoryStore.CountClients(t.Context(), dcr.ClientFilter{Subject: "alice"}, 10)
	require.NoError(t, err)
	require.LessOrEqual(t, found, 1)
}
