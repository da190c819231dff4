package lifecycle_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// roomServer is a server whose storage has a bound.
type roomServer struct {
	*dcrtest.Server
	store  *dcrtest.Ledger
	clock  *dcrtest.Clock
	events *dcrtest.Events
}

func startRoom(t testing.TB, limits dcr.MemoryLimits, young time.Duration, edit ...func(*dcrtest.Setup)) *roomServer {
	t.Helper()
	s := &roomServer{clock: new(dcrtest.Clock), events: &dcrtest.Events{}}
	s.store = &dcrtest.Ledger{MemoryStore: dcr.NewMemoryStore(dcr.WithMemoryLimits(limits))}
	setup := dcrtest.Setup{Storage: s.store, Config: dcr.Config{
		Now: s.clock.Now, Events: s.events, Lifecycle: dcr.Lifecycle{EvictionGrace: young}, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
	}}
	for _, e := range edit {
		e(&setup)
	}
	s.Server = dcrtest.Start(t, setup)
	return s
}

// TestYoungIsConfigurable: nobody gives way who is younger than Young, and whoever is
// older does.
func TestYoungIsConfigurable(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ young, safe time.Duration }{
		"LIFE-07/by_default": {0, 10 * time.Minute},
		"LIFE-07/longer":     {time.Hour, time.Hour},
		"LIFE-07/shorter":    {time.Minute, time.Minute},
		"LIFE-07/not_at_all": {-1, 0},
		"LIFE-07/below_zero": {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRoom(t, dcr.MemoryLimits{Clients: 2}, row.young)
			first := s.Register(t, dcrtest.ServiceRegistration)
			second := s.Register(t, dcrtest.ServiceRegistration)
			if row.safe > 0 {
				s.clock.Forward(row.safe - 10*time.Second)
				answer := s.Post(t, dcrtest.ServiceRegistration)
				dcrtest.RequireFailure(t, answer, http.StatusServiceUnavailable)
				require.True(t, dcrtest.Lives(t, s.Server, first))
				require.True(t, dcrtest.Lives(t, s.Server, second))
				require.Len(t, s.store.Live(t), 2)
				s.clock.Forward(10 * time.Second)
			}
			s.events.Take()
			third := s.Register(t, dcrtest.ServiceRegistration)
			require.Equal(t, []dcr.EventKind{dcr.EventExpired, dcr.EventRegistered}, dcrtest.KindsOf(s.events.Take()))
			require.False(t, dcrtest.Lives(t, s.Server, first), "LIFE-02: the oldest")
			require.True(t, dcrtest.Lives(t, s.Server, second))
			require.True(t, dcrtest.Lives(t, s.Server, third))
		})
	}
}

// TestWhatGivesWayIsGone: with the client go its registration access token and the codes
// that it was given, and the host is told which it was.
func TestWhatGivesWayIsGone(t *testing.T) {
	t.Parallel()
	s := startRoom(t, dcr.MemoryLimits{Clients: 2}, 0)
	first := s.Register(t, dcrtest.Managed())
	used := s.Register(t, dcrtest.ServiceRegistration)
	dcrtest.Use(t, s.Server, used)
	code := s.Code(t, dcrtest.AuthorizeQuery(first.ID(), dcrtest.RedirectURI))
	entries := s.store.LiveEntries(t) // two registration access tokens and an access token
	s.clock.Forward(11 * time.Minute)
	s.events.Take()
	next := s.Register(t, dcrtest.Managed())
	told := s.events.Take()
	require.Equal(t, dcr.EventExpired, told[0].Kind)
	require.Equal(t, first.ID(), told[0].ClientID)

	require.Equal(t, entries, s.store.LiveEntries(t), "one token went and one came")
	dcrtest.RequireUniformRefusal(t, s.Manage(t, http.MethodGet, first, nil))
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), dcrtest.Basic(first.ID(), first.Secret()))
	require.Equal(t, "invalid_client", answer.Text("error"), answer.Body)
	_, err := s.store.GetAuthorizeCodeSession(t.Context(), code, nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	require.True(t, dcrtest.Lives(t, s.Server, used), "LIFE-02: it is used")
	require.True(t, dcrtest.Lives(t, s.Server, next))
}

// TestUpdateKeepsYoung: a client that was updated just now is as young as a new one.
func TestUpdateKeepsYoung(t *testing.T) {
	t.Parallel()
	s := startRoom(t, dcr.MemoryLimits{Clients: 2}, 0)
	first, second := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	s.clock.Forward(11 * time.Minute)
	first = s.Manage(t, http.MethodPut, first, dcrtest.Replacing(first))
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	s.Register(t, dcrtest.Managed())
	require.True(t, dcrtest.Lives(t, s.Server, first))
	require.False(t, dcrtest.Lives(t, s.Server, second))
}

// TestRoomParallel: at the bound the bound holds, and who was answered 201 is there unless
// an event tells that it gave way.
func TestRoomParallel(t *testing.T) {
	t.Parallel()
	const bound = 5
	for name, edit := range map[string]func(*dcrtest.Setup){
		"LIFE-02/plain": func(*dcrtest.Setup) {},
		"LIFE-02/sharing": func(setup *dcrtest.Setup) {
			setup.Config.Registration.ShareIdentical = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRoom(t, dcr.MemoryLimits{Clients: bound}, -1, edit)
			var answered []dcrtest.Answer
			for _, answer := range dcrtest.AllAtOnce(80, func(i int) dcrtest.Answer {
				return s.Post(t, dcrtest.Shareable("client_name", string(rune('A'+i%20))))
			}) {
				if answer.Status == http.StatusCreated {
					answered = append(answered, answer)
					continue
				}
				dcrtest.RequireFailure(t, answer, http.StatusServiceUnavailable)
			}
			require.LessOrEqual(t, dcrtest.CountRecords(t, s.store), bound)
			require.GreaterOrEqual(t, len(answered), bound)
			gone := map[string]int{}
			for _, event := range s.events.Take() {
				if event.Kind == dcr.EventExpired {
					gone[event.ClientID]++
				}
				require.NotEqual(t, dcr.EventCleanupFailed, event.Kind)
			}
			for _, answer := range answered {
				if _, err := s.store.GetDynamicClient(t.Context(), answer.ID()); err != nil {
					require.Positive(t, gone[answer.ID()], "%s is gone, and nobody was told", answer.ID())
				}
			}
		})
	}
}

// TestRoomForAllAtOnce: while there are old clients to evict, none of many registrations at once is refused for the
// room that another one has taken.
func TestRoomForAllAtOnce(t *testing.T) {
	t.Parallel() // LIFE-02
	const bound = 40
	s := startRoom(t, dcr.MemoryLimits{Clients: bound}, 0)
	for range bound {
		s.Register(t, dcrtest.Managed())
	}
	s.clock.Forward(11 * time.Minute)
	for _, answer := range dcrtest.AllAtOnce(bound, func(int) dcrtest.Answer { return s.Post(t, dcrtest.Managed()) }) {
		require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	}
	require.Equal(t, bound, dcrtest.CountRecords(t, s.store))
}

// roomless hides CreateClientEvicting by a method of another form.
type roomless struct{ *dcr.MemoryStore }

func (roomless) CreateClientEvicting() {}

// TestWithoutClientEvicter: where the storage can't make room the answer is 503 (LIFE-02).
func TestWithoutClientEvicter(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{
		Storage: roomless{dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}))},
		Config:  dcr.Config{Events: events, Lifecycle: dcr.Lifecycle{EvictionGrace: -1}},
	})
	client := s.Register(t, dcrtest.PlainRegistration)
	events.Take()
	dcrtest.RequireFailure(t, s.Post(t, dcrtest.PlainRegistration), http.StatusServiceUnavailable)
	event := events.TakeOne(t)
	require.Equal(t, dcr.EventLimited, event.Kind)
	require.Equal(t, "temporarily_unavailable", event.Reason())
	require.True(t, dcrtest.Lives(t, s, client))
}

// TestRoomForEntries: where it is the tokens that have no room left, nothing half
// registered stays, and the oldest client gives way with its token.
func TestRoomForEntries(t *testing.T) {
	t.Parallel()
	s := startRoom(t, dcr.MemoryLimits{Clients: 100, Tokens: 3}, 0)
	first, second, third := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	s.events.Take()
	dcrtest.RequireFailure(t, s.Post(t, dcrtest.Managed()), http.StatusServiceUnavailable)
	require.Equal(t, dcr.EventLimited, s.events.TakeOne(t).Kind)
	require.Len(t, s.store.Live(t), 3, "T34: no client without a token")

	s.clock.Forward(11 * time.Minute)
	next := s.Register(t, dcrtest.Managed())
	require.False(t, dcrtest.Lives(t, s.Server, first))
	for _, kept := range []dcrtest.Answer{second, third, next} {
		require.True(t, dcrtest.Lives(t, s.Server, kept))
	}
	require.Len(t, distinct(s.store.Live(t)), 3)
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// TestRoomCostsNoUse: an initial access token whose registration found no room has its use
// still (T31).
func TestRoomCostsNoUse(t *testing.T) {
	t.Parallel()
	s := startRoom(t, dcr.MemoryLimits{Clients: 1}, 0, func(setup *dcrtest.Setup) { setup.Config.Access = dcr.InitialAccessTokens() })
	token, record := dcrtest.Mint(t, s.Server, dcr.InitialAccessTokenRequest{Uses: 2})
	s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	for range 3 {
		dcrtest.RequireFailure(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), http.StatusServiceUnavailable)
		require.Equal(t, 1, dcrtest.UsesOf(t, s.store, record.ID))
	}
	s.clock.Forward(11 * time.Minute)
	s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	require.Equal(t, 2, dcrtest.UsesOf(t, s.store, record.ID))
	_, err := s.Provider.Sweep(context.Background())
	require.NoError(t, err)
}
