package storage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// countFaults is a storage whose n-th count of clients fails.
type countFaults struct {
	*dcrtest.Ledger
	failAt, counts atomic.Int64
	cause          error
}

func (s *countFaults) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error) {
	if s.counts.Add(1) == s.failAt.Load() {
		return 0, s.cause
	}
	return s.Ledger.CountClients(ctx, filter, most)
}

// TestQuotaFaults: where clients can't be counted, before one is created or after, nobody
// registers and nothing is left behind (T34).
func TestQuotaFaults(t *testing.T) {
	t.Parallel()
	for count, when := range map[int64]string{1: "before", 2: "after"} {
		for status, cause := range map[int]error{500: dcrtest.ErrBroken, 503: fmt.Errorf("%w: %w", dcr.ErrUnavailable, dcrtest.ErrBroken)} {
			for by, edit := range map[string]func(token string) dcrtest.Edit{"subject": func(string) dcrtest.Edit { return dcrtest.AsUser("alice") }, "token": dcrtest.Bearer} {
				t.Run(fmt.Sprintf("T34/%s/%s/%d", when, by, status), func(t *testing.T) {
					t.Parallel()
					store := &countFaults{Ledger: dcrtest.NewLedger(), cause: cause}
					s, _, events := dcrtest.StartQuota(t, dcr.Quotas{PerSubject: 1, PerInitialAccessToken: 1}, func(setup *dcrtest.Setup) { setup.Storage = store })
					token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Uses: 1})
					events.Take()
					store.failAt.Store(count)
					dcrtest.RequireFailure(t, s.Post(t, dcrtest.PlainRegistration, edit(token)), status)
					require.Empty(t, store.Live(t))
					require.Zero(t, store.LiveEntries(t))
					require.Zero(t, dcrtest.UsesOf(t, store, record.ID), "IAT-01: nor a use")
					event := events.TakeOne(t)
					require.Equal(t, dcr.EventRefused, event.Kind)
					require.ErrorIs(t, event.Err, dcrtest.ErrBroken)
					s.Register(t, dcrtest.PlainRegistration, edit(token))
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
			s := dcrtest.StartSharing(t)
			id := s.Register(t, dcrtest.Shareable()).ID()
			code := s.Code(t, dcrtest.AuthorizeQuery(id, dcrtest.LoopbackURI, "scope", "openid"))
			s.Clock.Forward(5 * time.Minute) // so that it is renewed
			s.Events.Take()
			s.Store.Watch(failAt(call, mode, cause))
			var answer dcrtest.Answer
			calls := s.Store.During(func() { answer = s.Post(t, dcrtest.Shareable()) })
			s.Store.Watch(nil)
			require.Equal(t, name, calls[call-1])
			dcrtest.RequireFailure(t, answer, status)
			require.Equal(t, id, dcrtest.RecordOf(t, s.Store, id).ID, "the client of others is not ours to remove")
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, dcrtest.LoopbackURI))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID(), "and the next one is answered")
			require.Equal(t, 1, dcrtest.CountRecords(t, s.Store))
		})
	}
}

// TestShareFaultsOfTheFirst: where the first registration of its kind fails, nothing is
// half registered, and the next one is answered.
func TestShareFaultsOfTheFirst(t *testing.T) {
	t.Parallel()
	forEachFault(t, "POST/first/CreateClient", func(t *testing.T, mode how, cause error, status int) {
		s := dcrtest.StartSharing(t)
		s.Store.Watch(failAt(1, mode, cause))
		dcrtest.RequireFailure(t, s.Post(t, dcrtest.Shareable()), status)
		s.Store.Watch(nil)
		id := s.Register(t, dcrtest.Shareable()).ID()
		require.Equal(t, 1, dcrtest.CountRecords(t, s.Store))
		dcrtest.SignInPublic(t, s.Server, id)
	})
}

// TestShareEndedRequest: who breaks a registration off takes nobody's client away, as
// anybody could who knows what others register (T34).
func TestShareEndedRequest(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	id := s.Register(t, dcrtest.Shareable()).ID()
	tokens := dcrtest.SignInPublic(t, s.Server, id)
	ctx, cancel := context.WithCancel(t.Context())
	request, err := s.Provider.NewRegistrationRequest(ctx, dcrtest.JSONPost(ctx, dcrtest.JSONText(t, dcrtest.Shareable())))
	require.NoError(t, err)
	cancel()
	_, err = s.Provider.NewRegistrationResponse(ctx, request)
	require.Error(t, err)
	require.Equal(t, id, dcrtest.RecordOf(t, s.Store, id).ID)
	require.Equal(t, http.StatusOK, dcrtest.Refresh(t, s.Server, id, tokens).Status)
}

// TestShareFaultsOfTheEnded fails each call of a registration that finds a client which has
// ended. It is answered or fails; the next one is answered, with a client that works.
func TestShareFaultsOfTheEnded(t *testing.T) {
	t.Parallel()
	for call := 1; call <= 6; call++ {
		forEachFault(t, fmt.Sprintf("POST/ended/call_%d", call), func(t *testing.T, mode how, cause error, status int) {
			s := dcrtest.StartSharing(t)
			id := s.Register(t, dcrtest.Shareable()).ID()
			s.Clock.Forward(2 * time.Hour)
			s.Events.Take()
			s.Store.Watch(failAt(call, mode, cause))
			var answer dcrtest.Answer
			calls := s.Store.During(func() { answer = s.Post(t, dcrtest.Shareable()) })
			s.Store.Watch(nil)
			told := dcrtest.KindsOf(s.Events.Take())
			switch {
			case answer.Status != http.StatusCreated:
				dcrtest.RequireFailure(t, answer, status)
			case len(calls) >= call:
				require.Contains(t, told, dcr.EventCleanupFailed, "answered although %s failed", calls[call-1])
			}
			require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
			dcrtest.SignInPublic(t, s.Server, id)
			require.Equal(t, 1, dcrtest.CountRecords(t, s.Store))
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
			s := dcrtest.StartSharing(t)
			id := s.Register(t, dcrtest.Shareable()).ID()
			old := dcrtest.RecordOf(t, s.Store, id)
			require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
			s.Clock.Forward(2 * time.Hour)
			ahead := 0
			s.Store.Watch(func(ctx context.Context, call string, do func() error) error {
				if call == "CreateClient" && ahead < overtaken {
					ahead++
					if err := s.Store.MemoryStore.CreateClient(ctx, old); err != nil {
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
				request, err = s.Provider.NewRegistrationRequest(ctx, dcrtest.JSONPost(ctx, dcrtest.JSONText(t, dcrtest.Shareable())))
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
	s := dcrtest.StartSharing(t)
	id := s.Register(t, dcrtest.Shareable()).ID()
	s.Clock.Forward(2 * time.Hour)
	var tokens dcrtest.Answer
	s.Store.Watch(func(_ context.Context, call string, do func() error) error {
		if call == "DeleteClient" || call == "UpdateClient" {
			s.Store.Watch(nil)
			require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID()) // the other one is faster
			tokens = dcrtest.SignInPublic(t, s.Server, id)
		}
		return do()
	})
	require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
	answer := dcrtest.Refresh(t, s.Server, id, tokens)
	require.Equal(t, http.StatusOK, answer.Status, "LIFE-06: %s", answer.Body)
}

// roomFaults is a full storage whose CreateClientEvicting fails.
type roomFaults struct {
	*dcr.MemoryStore
	cause error
}

func (s *roomFaults) CreateClientEvicting(context.Context, *dcr.Client, time.Time) (*dcr.Client, error) {
	return nil, s.cause
}

// TestRoomFaults: where no room can be made the answer is 503, and the host is told why.
func TestRoomFaults(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	store := &roomFaults{MemoryStore: dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1})), cause: dcrtest.ErrBroken}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events, Lifecycle: dcr.Lifecycle{EvictionGrace: -1}}})
	client := s.Register(t, dcrtest.PlainRegistration)
	events.Take()
	dcrtest.RequireFailure(t, s.Post(t, dcrtest.PlainRegistration), http.StatusServiceUnavailable)
	seen := events.Take()
	require.Equal(t, []dcr.EventKind{dcr.EventCleanupFailed, dcr.EventLimited}, dcrtest.KindsOf(seen), "LIFE-02")
	require.ErrorIs(t, seen[0].Err, dcrtest.ErrBroken)
	require.ErrorIs(t, seen[1].Err, dcr.ErrFull)
	require.True(t, dcrtest.Lives(t, s, client))
}

// failNth fails the nth call of one name, after it was done or instead.
func failNth(name string, nth int, mode how) dcrtest.Watcher {
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
		return dcrtest.ErrBroken
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
				store, events := dcrtest.NewWatchedStore(), &dcrtest.Events{}
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
					Events:     events,
					Management: dcr.Management{RevokeOnRedirectChange: true, Token: dcr.RegistrationToken{KeepOnUpdate: keepToken}},
				}})
				client := s.Register(t, dcrtest.Managed())
				tokens := dcrtest.SignIn(t, s, client)
				events.Take()
				store.Watch(failNth("RevokeClientGrants", 1, mode))
				moved := dcrtest.Replacing(client, "redirect_uris", []string{"https://other.example/cb"})
				dcrtest.RequireFailure(t, s.Manage(t, http.MethodPut, client, moved), http.StatusInternalServerError)
				store.Watch(nil)
				require.Equal(t, []dcr.EventKind{dcr.EventRefused}, dcrtest.KindsOf(events.Take()), "nothing was updated, and nothing is left")

				now := s.Manage(t, http.MethodGet, client, nil)
				require.Equal(t, http.StatusOK, now.Status, "the token that was presented is good still")
				require.Equal(t, []any{dcrtest.RedirectURI}, now.Members["redirect_uris"])
				require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, moved).Status)
				require.Contains(t, dcrtest.KindsOf(events.Take()), dcr.EventGrantsRevoked)
				refresh := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.Basic(client.ID(), client.Secret()))
				require.NotEqual(t, http.StatusOK, refresh.Status)
			})
		}
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
	client := dcrtest.RecordOf(t, store, s.Register(t, dcrtest.Managed()).ID())
	d, err := consent.Describe(t.Context(), s.Provider, client)
	require.ErrorIs(t, err, errNoCount)
	uncounted, err := consent.Describe(t.Context(), nil, client)
	require.NoError(t, err)
	require.Equal(t, uncounted, d, "T21")
	require.Equal(t, "Managed", d.Name)
}
