package dcr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// countFaults is a storage whose n-th count of clients fails.
type countFaults struct {
	*ledger
	failAt, counts atomic.Int64
	cause          error
}

func (s *countFaults) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error) {
	if s.counts.Add(1) == s.failAt.Load() {
		return 0, s.cause
	}
	return s.ledger.CountClients(ctx, filter, most)
}

// TestQuotaFaults: where clients can't be counted, before one is created or after, nobody
// registers and nothing is left behind (T34).
func TestQuotaFaults(t *testing.T) {
	t.Parallel()
	for count, when := range map[int64]string{1: "before", 2: "after"} {
		for status, cause := range map[int]error{500: errBroken, 503: fmt.Errorf("%w: %w", dcr.ErrUnavailable, errBroken)} {
			for by, edit := range map[string]func(token string) dcrtest.Edit{"subject": func(string) dcrtest.Edit { return as("alice") }, "token": dcrtest.Bearer} {
				t.Run(fmt.Sprintf("T34/%s/%s/%d", when, by, status), func(t *testing.T) {
					t.Parallel()
					store := &countFaults{ledger: newLedger(), cause: cause}
					s, _, events := quotaServer(t, dcr.Quotas{PerSubject: 1, PerInitialAccessToken: 1}, func(setup *dcrtest.Setup) { setup.Storage = store })
					token, record := mint(t, s, dcr.InitialAccessTokenRequest{Uses: 1})
					events.take()
					store.failAt.Store(count)
					requireFailure(t, s.Post(t, limitedBody, edit(token)), status)
					require.Empty(t, store.live(t))
					require.Zero(t, store.liveEntries(t))
					require.Zero(t, uses(t, store, record.ID), "IAT-01: nor a use")
					event := events.takeOne(t)
					require.Equal(t, dcr.EventRefused, event.Kind)
					require.ErrorIs(t, event.Err, errBroken)
					s.Register(t, limitedBody, edit(token))
				})
			}
		}
	}
}

// TestShareFaults fails every call of a registration that is answered with a client which
// others have. Whatever happens to it, they keep theirs (T34).
func TestShareFaults(t *testing.T) {
	t.Parallel()
	for call, name := range map[int]string{1: "GetDynamicClient", 2: "UpdateClient"} {
		forEachFault(t, "POST/shared/"+name, func(t *testing.T, mode how, cause error, status int) {
			s := startSharing(t)
			id := s.Register(t, shareable()).ID()
			code := s.Code(t, dcrtest.AuthorizeQuery(id, sharedRedirect, "scope", "openid"))
			s.clock.forward(5 * time.Minute) // so that it is renewed
			s.events.take()
			s.store.set(failAt(call, mode, cause))
			var answer dcrtest.Answer
			calls := s.store.during(func() { answer = s.Post(t, shareable()) })
			s.store.set(nil)
			require.Equal(t, name, calls[call-1])
			requireFailure(t, answer, status)
			require.Equal(t, id, clientOf(t, s.store, id).ID, "the client of others is not ours to remove")
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, sharedRedirect))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			require.Equal(t, id, s.Register(t, shareable()).ID(), "and the next one is answered")
			require.Equal(t, 1, records(t, s.store))
		})
	}
}

// TestShareFaultsOfTheFirst: where the first registration of its kind fails, nothing is
// half registered, and the next one is answered.
func TestShareFaultsOfTheFirst(t *testing.T) {
	t.Parallel()
	forEachFault(t, "POST/first/CreateClient", func(t *testing.T, mode how, cause error, status int) {
		s := startSharing(t)
		s.store.set(failAt(1, mode, cause))
		requireFailure(t, s.Post(t, shareable()), status)
		s.store.set(nil)
		id := s.Register(t, shareable()).ID()
		require.Equal(t, 1, records(t, s.store))
		signInShared(t, s.Server, id)
	})
}

// TestShareEndedRequest: who breaks a registration off takes nobody's client away, as
// anybody could who knows what others register (T34).
func TestShareEndedRequest(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	id := s.Register(t, shareable()).ID()
	tokens := signInShared(t, s.Server, id)
	ctx, cancel := context.WithCancel(t.Context())
	request, err := s.Provider.NewRegistrationRequest(ctx, jsonPost(ctx, encoded(t, shareable())))
	require.NoError(t, err)
	cancel()
	_, err = s.Provider.NewRegistrationResponse(ctx, request)
	require.Error(t, err)
	require.Equal(t, id, clientOf(t, s.store, id).ID)
	require.Equal(t, http.StatusOK, refreshed(t, s.Server, id, tokens).Status)
}

// TestShareFaultsOfTheEnded fails each call of a registration that finds a client which has
// ended. It is answered or fails; the next one is answered, with a client that works.
func TestShareFaultsOfTheEnded(t *testing.T) {
	t.Parallel()
	for call := 1; call <= 6; call++ {
		forEachFault(t, fmt.Sprintf("POST/ended/call_%d", call), func(t *testing.T, mode how, cause error, status int) {
			s := startSharing(t)
			id := s.Register(t, shareable()).ID()
			s.clock.forward(2 * time.Hour)
			s.events.take()
			s.store.set(failAt(call, mode, cause))
			var answer dcrtest.Answer
			calls := s.store.during(func() { answer = s.Post(t, shareable()) })
			s.store.set(nil)
			told := kindsOf(s.events.take())
			switch {
			case answer.Status != http.StatusCreated:
				requireFailure(t, answer, status)
			case len(calls) >= call:
				require.Contains(t, told, dcr.EventLeftover, "answered although %s failed", calls[call-1])
			}
			require.Equal(t, id, s.Register(t, shareable()).ID())
			signInShared(t, s.Server, id)
			require.Equal(t, 1, records(t, s.store))
		})
	}
}

// TestShareOvertaken: where others get ahead every time, it is a failure that is answered.
// They may be processes whose clocks are behind, so that what they register has ended.
func TestShareOvertaken(t *testing.T) {
	t.Parallel()
	for _, overtaken := range []int{1, 2, 3, 4} {
		t.Run(fmt.Sprintf("LIFE-06/%d_times", overtaken), func(t *testing.T) {
			t.Parallel()
			s := startSharing(t)
			id := s.Register(t, shareable()).ID()
			old := clientOf(t, s.store, id)
			require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
			s.clock.forward(2 * time.Hour)
			ahead := 0
			s.store.set(func(ctx context.Context, call string, do func() error) error {
				if call == "CreateClient" && ahead < overtaken {
					ahead++
					if err := s.store.MemoryStore.CreateClient(ctx, old); err != nil {
						return err
					}
				}
				return do()
			})
			ctx := t.Context()
			var response *dcr.ClientInformation
			var err error
			require.NotPanics(t, func() {
				var request *dcr.RegistrationRequest
				request, err = s.Provider.NewRegistrationRequest(ctx, jsonPost(ctx, encoded(t, shareable())))
				require.NoError(t, err)
				response, err = s.Provider.NewRegistrationResponse(ctx, request)
			})
			if err == nil {
				require.Equal(t, id, response.ClientID)
				return
			}
			require.GreaterOrEqual(t, overtaken, 3, "it is tried again: %v", err)
			recorder := httptest.NewRecorder()
			s.Provider.WriteRegistrationError(ctx, recorder, err)
			require.GreaterOrEqual(t, recorder.Code, 500)
		})
	}
}

// TestShareEndedAndOvertaken: who finds that a client has ended removes that one, and not
// the one that another process registered in its place meanwhile.
func TestShareEndedAndOvertaken(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	id := s.Register(t, shareable()).ID()
	s.clock.forward(2 * time.Hour)
	var tokens dcrtest.Answer
	s.store.set(func(_ context.Context, call string, do func() error) error {
		if call == "DeleteClient" || call == "UpdateClient" {
			s.store.set(nil)
			require.Equal(t, id, s.Register(t, shareable()).ID()) // the other one is faster
			tokens = signInShared(t, s.Server, id)
		}
		return do()
	})
	require.Equal(t, id, s.Register(t, shareable()).ID())
	answer := refreshed(t, s.Server, id, tokens)
	require.Equal(t, http.StatusOK, answer.Status, "LIFE-06: %s", answer.Body)
}

// roomFaults is a full storage whose MakeRoom fails.
type roomFaults struct {
	*dcr.MemoryStore
	cause error
}

func (s *roomFaults) MakeRoom(context.Context, time.Time) (string, error) { return "", s.cause }

// TestRoomFaults: where no room can be made the answer is 503, and the host is told why.
func TestRoomFaults(t *testing.T) {
	t.Parallel()
	events := &noted{}
	store := &roomFaults{MemoryStore: dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1})), cause: errBroken}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events, Lifecycle: dcr.Lifecycle{Young: -1}}})
	client := s.Register(t, limitedBody)
	events.take()
	requireFailure(t, s.Post(t, limitedBody), http.StatusServiceUnavailable)
	seen := events.take()
	require.Equal(t, []dcr.EventKind{dcr.EventLeftover, dcr.EventLimited}, kindsOf(seen), "LIFE-02")
	require.ErrorIs(t, seen[0].Err, errBroken)
	require.ErrorIs(t, seen[1].Err, dcr.ErrFull)
	require.True(t, lives(t, s, client))
}

// failNth fails the nth call of one name, after it was done or instead.
func failNth(name string, nth int, mode how) watcher {
	seen := 0
	return func(_ context.Context, called string, do func() error) error {
		if called != name {
			return do()
		}
		if seen++; seen != nth {
			return do()
		}
		if mode == doneYet {
			_ = do()
		}
		return errBroken
	}
}

// TestRedirectChangeUnrevoked: an update whose grants could not be removed is taken back
// and fails; sent again it does both (T34, T39).
func TestRedirectChangeUnrevoked(t *testing.T) {
	t.Parallel()
	for _, keepToken := range []bool{false, true} {
		for _, mode := range []how{once, doneYet} {
			t.Run(fmt.Sprintf("T39/keep_token=%t/%s", keepToken, mode), func(t *testing.T) {
				t.Parallel()
				store, events := newWatchedStore(), &noted{}
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
					RevokeOnRedirectChange: true, Events: events, RegistrationToken: dcr.RegistrationToken{KeepOnUpdate: keepToken},
				}})
				client := s.Register(t, managed())
				tokens := signIn(t, s, client)
				events.take()
				store.set(failNth("RevokeClientGrants", 1, mode))
				moved := replacing(client, "redirect_uris", []string{"https://other.example/cb"})
				requireFailure(t, s.Manage(t, http.MethodPut, client, moved), http.StatusInternalServerError)
				store.set(nil)
				require.Equal(t, []dcr.EventKind{dcr.EventRefused}, kindsOf(events.take()), "nothing was updated, and nothing is left")

				now := s.Manage(t, http.MethodGet, client, nil)
				require.Equal(t, http.StatusOK, now.Status, "the token that was presented is good still")
				require.Equal(t, []any{managedRedirect}, now.Members["redirect_uris"])
				require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, moved).Status)
				require.Contains(t, kindsOf(events.take()), dcr.EventGrantsRevoked)
				refresh := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.Basic(client.ID(), client.Secret()))
				require.NotEqual(t, http.StatusOK, refresh.Status)
			})
		}
	}
}

// TestRedirectChangeEntryLost: where the entry of the new token can't be put back, the
// update has happened, the grants are gone, and the host is told (T34, T39).
func TestRedirectChangeEntryLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []how{once, doneYet} {
		t.Run("T39/"+string(mode), func(t *testing.T) {
			t.Parallel()
			store, events := newWatchedStore(), &noted{}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{RevokeOnRedirectChange: true, Events: events}})
			client := s.Register(t, managed())
			tokens := signIn(t, s, client)
			events.take()
			store.set(failNth("CreateAccessTokenSession", 2, mode))
			updated := s.Manage(t, http.MethodPut, client, replacing(client, "redirect_uris", []string{"https://other.example/cb"}))
			store.set(nil)
			require.Equal(t, http.StatusOK, updated.Status, updated.Body)
			told := events.take()
			leftover := slices.IndexFunc(told, func(e dcr.Event) bool { return e.Kind == dcr.EventLeftover })
			require.GreaterOrEqual(t, leftover, 0, told)
			require.ErrorIs(t, told[leftover].Err, errBroken)
			require.Equal(t, client.ID(), told[leftover].ClientID)
			require.Contains(t, kindsOf(told), dcr.EventUpdated)
			require.Contains(t, kindsOf(told), dcr.EventGrantsRevoked)

			refresh := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.Basic(client.ID(), client.Secret()))
			require.NotEqual(t, http.StatusOK, refresh.Status)
			managedNow := s.Manage(t, http.MethodGet, updated, nil).Status
			require.Equal(t, mode == once, managedNow == http.StatusUnauthorized, "only a token whose entry is gone is dead")
		})
	}
}

// displayFaults is a storage that can't count.
type displayFaults struct{ *dcr.MemoryStore }

var errNoCount = errors.New("the index at 10.0.0.7 is on fire")

func (displayFaults) CountClients(context.Context, dcr.ClientFilter, int) (int, error) {
	return 7, errNoCount
}

// TestDisplayFaults: a consent page can be shown where nobody can count.
func TestDisplayFaults(t *testing.T) {
	t.Parallel()
	store := displayFaults{dcr.NewMemoryStore()}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client := clientOf(t, store, s.Register(t, managed()).ID())
	d, err := s.Provider.Display(t.Context(), client)
	require.ErrorIs(t, err, errNoCount)
	require.Equal(t, client.Display(), d, "T21")
	require.Equal(t, "Managed", d.Name)
}
