// Package lifecycle_test shows how clients, their secrets and their grants end, what the operator does, and the events,
// spans and warnings that are recorded.
package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestUnusedClientsEnd(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		lifecycle dcr.Lifecycle
		known     bool // somebody vouches for the registrant
		ends      time.Duration
	}{
		"LIFE-01/anonymous_by_default": {ends: time.Hour},
		"LIFE-01/known_by_default":     {known: true},
		"LIFE-01/configured":           {lifecycle: dcr.Lifecycle{Unused: 10 * time.Minute}, known: true, ends: 10 * time.Minute},
		"LIFE-01/never":                {lifecycle: dcr.Lifecycle{Unused: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := dcrtest.StartLifecycle(t, row.lifecycle, func(setup *dcrtest.Setup) {
				if row.known {
					setup.Config.Access = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
						return &dcr.Registrant{Kind: "known"}, nil
					})
				}
			})
			unused, used := s.Register(t, dcrtest.ServiceRegistration), s.Register(t, dcrtest.ServiceRegistration)
			dcrtest.Use(t, s, used)
			if row.ends == 0 {
				clock.Forward(10 * 365 * 24 * time.Hour)
				require.True(t, dcrtest.Lives(t, s, unused))
				require.True(t, dcrtest.Lives(t, s, used))
				return
			}
			clock.Forward(row.ends - time.Minute)
			require.True(t, dcrtest.Lives(t, s, unused))
			clock.Forward(2 * time.Minute)
			require.False(t, dcrtest.Lives(t, s, unused), "before any sweep")
			require.True(t, dcrtest.Lives(t, s, used))

			removed, err := s.Provider.Sweep(context.Background())
			require.NoError(t, err)
			require.Equal(t, 1, removed)
			_, err = s.Store.GetDynamicClient(context.Background(), unused.ID())
			require.Error(t, err)
			require.True(t, dcrtest.Lives(t, s, used))
		})
	}
}

func TestIdleClientsEnd(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-01/idle", func(t *testing.T) {
		t.Parallel()
		s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Idle: 24 * time.Hour})
		client := s.Register(t, dcrtest.ServiceRegistration)
		dcrtest.Use(t, s, client)
		clock.Forward(23 * time.Hour)
		dcrtest.Use(t, s, client)
		clock.Forward(23 * time.Hour)
		require.True(t, dcrtest.Lives(t, s, client), "use renews")
		clock.Forward(2 * time.Hour)
		require.False(t, dcrtest.Lives(t, s, client))
	})
	t.Run("LIFE-01/holds_a_refresh_token", func(t *testing.T) {
		t.Parallel()
		s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Idle: 24 * time.Hour})
		client := s.Register(t, dcrtest.ServiceRegistration)
		code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), "https://app.example/cb"))
		tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, "https://app.example/cb"), dcrtest.Basic(client.ID(), client.Secret()))
		require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
		clock.Forward(29 * 24 * time.Hour) // fosite's refresh tokens live for thirty days
		require.True(t, dcrtest.Lives(t, s, client))
		removed, err := s.Provider.Sweep(context.Background())
		require.NoError(t, err)
		require.Zero(t, removed)
		clock.Forward(2 * 24 * time.Hour)
		require.False(t, dcrtest.Lives(t, s, client))
	})
	t.Run("LIFE-01/maximum", func(t *testing.T) {
		t.Parallel()
		s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Maximum: 24 * time.Hour})
		client := s.Register(t, dcrtest.ServiceRegistration)
		dcrtest.Use(t, s, client)
		clock.Forward(25 * time.Hour)
		require.False(t, dcrtest.Lives(t, s, client))
		answer := s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
		require.Equal(t, http.StatusUnauthorized, answer.Status)
		require.Equal(t, "invalid_client", answer.Text("error"), "T37/AUTH-01")
	})
}

// TestWithoutUseRecorder: where nobody knows which clients are used, none ends unused, and
// who wants them to is told (LIFE-01).
func TestWithoutUseRecorder(t *testing.T) {
	t.Parallel()
	blind := func(setup *dcrtest.Setup) { setup.Storage = blindStore{dcr.NewMemoryStore()} }
	s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{}, blind)
	client := s.Register(t, dcrtest.ServiceRegistration)
	clock.Forward(100 * time.Hour)
	require.True(t, dcrtest.Lives(t, s, client))

	for _, lifecycle := range []dcr.Lifecycle{{Unused: time.Minute}, {Idle: time.Minute}} {
		setup := dcrtest.Setup{Config: dcr.Config{Lifecycle: lifecycle}}
		blind(&setup)
		_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(setup)
		require.ErrorContains(t, err, "UseRecorder")
	}
}

// blindStore hides TouchClient by a method of another form.
type blindStore struct{ *dcr.MemoryStore }

func (blindStore) TouchClient() {}

func TestSweep(t *testing.T) {
	t.Parallel()
	var expired atomic.Int32
	s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{}, func(setup *dcrtest.Setup) {
		setup.Config.Events = sinkFunc(func(e dcr.Event) {
			if e.Kind == dcr.EventExpired && e.ClientID != "" {
				expired.Add(1)
			}
		})
	})
	for range 1200 {
		s.Register(t, dcrtest.ServiceRegistration)
	}
	kept := s.Register(t, dcrtest.ServiceRegistration)
	dcrtest.Use(t, s, kept)
	clock.Forward(2 * time.Hour)
	done := make(chan int, 4)
	for range 4 { // several processes at once
		go func() {
			removed, err := s.Provider.Sweep(context.Background())
			if err != nil {
				t.Error(err)
			}
			done <- removed
		}()
	}
	total := 0
	for range 4 {
		total += <-done
	}
	require.Equal(t, 1200, total, "each is removed once")
	require.EqualValues(t, 1200, expired.Load())
	require.True(t, dcrtest.Lives(t, s, kept))

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.Provider.RunSweeper(ended, time.Hour) // returns
}

type sinkFunc func(dcr.Event)

func (f sinkFunc) Record(_ context.Context, e dcr.Event) { f(e) }

// TestOldestUnusedGivesWay: at the bound the oldest that was never used gives way, but no young one.
func TestOldestUnusedGivesWay(t *testing.T) {
	t.Parallel()
	clock := new(dcrtest.Clock)
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 3}), dcr.WithMemoryClock(clock.Now))
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Now: clock.Now, Lifecycle: dcr.Lifecycle{Unused: -1}, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}})
	first, second, third := s.Register(t, dcrtest.ServiceRegistration), s.Register(t, dcrtest.ServiceRegistration), s.Register(t, dcrtest.ServiceRegistration)
	dcrtest.Use(t, s, first)

	answer := s.Post(t, dcrtest.ServiceRegistration)
	require.Equal(t, http.StatusServiceUnavailable, answer.Status, "LIFE-07: none is old enough")
	require.NotEmpty(t, answer.Header.Get("Retry-After"))
	require.True(t, dcrtest.Lives(t, s, second), "LIFE-07: the first client still signs in")

	clock.Forward(11 * time.Minute)
	fourth := s.Register(t, dcrtest.ServiceRegistration)
	require.True(t, dcrtest.Lives(t, s, first), "LIFE-02: it is used")
	require.False(t, dcrtest.Lives(t, s, second), "LIFE-02: the oldest that was never used")
	require.True(t, dcrtest.Lives(t, s, third))
	require.True(t, dcrtest.Lives(t, s, fourth))

	dcrtest.Use(t, s, third)
	require.Equal(t, http.StatusServiceUnavailable, s.Post(t, dcrtest.ServiceRegistration).Status, "the fourth is young, the others are used")
	_, err := store.GetDynamicClient(context.Background(), second.ID())
	require.Error(t, err)
	require.ErrorIs(t, store.CreateClient(context.Background(), &dcr.Client{ID: "x"}), dcr.ErrUnavailable)
	require.False(t, errors.Is(store.CreateClient(context.Background(), &dcr.Client{ID: first.ID()}), dcr.ErrUnavailable))
}
