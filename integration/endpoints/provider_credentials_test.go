package endpoints_test

import (
	"context"
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

// pushSpy keeps the parameters of pushed requests as the storage gets them.
type pushSpy struct {
	*dcr.MemoryStore
	pushed chan map[string][]string
}

func (s pushSpy) CreatePARSession(ctx context.Context, uri string, request fosite.AuthorizeRequester) error {
	s.pushed <- request.GetRequestForm()
	return s.MemoryStore.CreatePARSession(ctx, uri, request)
}

// TestPushedCredentials: what a client authenticates with is not stored with what it pushes
// (T27).
func TestPushedCredentials(t *testing.T) {
	t.Parallel()
	for _, method := range dcrtest.AuthMethods {
		t.Run("T27/"+method, func(t *testing.T) {
			t.Parallel()
			spy := pushSpy{dcr.NewMemoryStore(), make(chan map[string][]string, 1)}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: spy})
			client := dcrtest.RegisterFor(t, s, method)
			query := pushedQuery(t, client, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))
			stored := <-spy.pushed
			require.Contains(t, stored, "code_challenge")
			for _, credential := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
				require.NotContains(t, stored, credential)
			}
			answer := client.Send(t, "/oauth2/token", method, dcrtest.CodeForm("", s.Code(t, query), dcrtest.RedirectURI))
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		})
	}
}

// TestCodeUsedAtOnce: of requests with one code one is answered, and the others are told
// that the code is no good, not that the server has failed.
func TestCodeUsedAtOnce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for range 10 {
		code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
		var taken atomic.Int32
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				answer := client.Send(t, "/oauth2/token", "client_secret_basic", dcrtest.CodeForm("", code, dcrtest.RedirectURI))
				if answer.Status == http.StatusOK {
					taken.Add(1)
				} else if answer.Status != http.StatusBadRequest || answer.Text("error") != "invalid_grant" {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 1, taken.Load())
	}
}

// TestCodeOfTheLastMinute: a client that was never used does not end between the consent of
// a user and the token (LIFE-01).
func TestCodeOfTheLastMinute(t *testing.T) {
	t.Parallel()
	s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{})
	client := s.Register(t, dcrtest.ServiceRegistration)
	clock.Forward(59 * time.Minute)
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), "https://app.example/cb"))
	clock.Forward(5 * time.Minute)
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, "https://app.example/cb"), dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, "LIFE-01: %s", answer.Body)

	unused := s.Register(t, dcrtest.ServiceRegistration)
	clock.Forward(59 * time.Minute)
	s.Code(t, dcrtest.AuthorizeQuery(unused.ID(), "https://app.example/cb"))
	clock.Forward(30 * time.Minute)
	require.False(t, dcrtest.Lives(t, s, unused), "LIFE-01: a code that nobody redeems saves it for its own time only")
}

// TestEndsAt: when a client ends if nothing happens to it.
func TestEndsAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Lifecycle: dcr.Lifecycle{Idle: 24 * time.Hour}}})
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	for name, row := range map[string]struct {
		client dcr.Client
		ends   time.Time
	}{
		"LIFE-01/never":              {dcr.Client{}, time.Time{}},
		"LIFE-01/unused":             {dcr.Client{UnusedUntil: at(1)}, at(1)},
		"LIFE-01/used":               {dcr.Client{UnusedUntil: at(1), LastUsedAt: now}, at(24)},
		"LIFE-01/refresh_token":      {dcr.Client{LastUsedAt: now, KeepUntil: at(100)}, at(100)},
		"LIFE-01/maximum":            {dcr.Client{LastUsedAt: now, KeepUntil: at(100), ExpiresAt: at(50)}, at(50)},
		"LIFE-01/maximum_after_that": {dcr.Client{UnusedUntil: at(1), ExpiresAt: at(50)}, at(1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.ends, s.Provider.ExpiresAt(&row.client))
		})
	}
}
