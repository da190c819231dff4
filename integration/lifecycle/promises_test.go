package lifecycle_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func promisesMetadata(host string) string {
	return `{"redirect_uris":["https://` + host + `/cb"],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`
}

func signedIn(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), "https://app.example/cb"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, "https://app.example/cb"))
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

func exists(s *dcrtest.Server, client dcrtest.Answer) error {
	_, err := s.Provider.Store.GetClient(context.Background(), client.ID())
	return err
}

// TestEndlessRefreshToken: a refresh token that never ends (fosite's RefreshTokenLifespan
// below zero) keeps its client, however idle.
func TestEndlessRefreshToken(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-01/endless_refresh_token", func(t *testing.T) {
		t.Parallel()
		s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Idle: 24 * time.Hour}, func(setup *dcrtest.Setup) {
			setup.Fosite = func(c *fosite.Config) { c.RefreshTokenLifespan = -1 }
		})
		client := s.Register(t, promisesMetadata("app.example"))
		tokens := signedIn(t, s, client)
		clock.Forward(48 * time.Hour)
		removed, err := s.Provider.Sweep(context.Background())
		require.NoError(t, err)
		require.Zero(t, removed)
		again := s.Form(t, "/oauth2/token", dcrtest.RefreshForm(client.ID(), tokens.Text("refresh_token")))
		require.Equal(t, http.StatusOK, again.Status, again.Body)
	})
}

// TestSharedClientIsNew: who is answered with a client that others have has as much time
// to sign in as with one of its own.
func TestSharedClientIsNew(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-01/shared_at_the_end_of_idle", func(t *testing.T) {
		t.Parallel()
		s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Idle: 31 * 24 * time.Hour}, func(setup *dcrtest.Setup) { setup.Config.Registration.ShareIdentical = true })
		first := s.Register(t, promisesMetadata("app.example"))
		signedIn(t, s, first)
		clock.Forward(31*24*time.Hour - 30*time.Second)
		second := s.Register(t, promisesMetadata("app.example"))
		require.Equal(t, first.ID(), second.ID())
		clock.Forward(2 * time.Minute)
		require.NoError(t, exists(s, second), "it was registered two minutes ago, and has an hour")
	})
	t.Run("LIFE-07/shared_at_the_bound", func(t *testing.T) {
		t.Parallel()
		clock := new(dcrtest.Clock)
		store := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 2}), dcr.WithMemoryClock(clock.Now))
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Now: clock.Now, Lifecycle: dcr.Lifecycle{Unused: -1}, Registration: dcr.Registration{ShareIdentical: true}}})
		s.Register(t, promisesMetadata("app.example"))
		clock.Forward(11 * time.Minute)
		second := s.Register(t, promisesMetadata("app.example"))
		s.Register(t, promisesMetadata("other.example"))
		require.Equal(t, http.StatusServiceUnavailable, s.Post(t, promisesMetadata("third.example")).Status, "all are young")
		require.NoError(t, exists(s, second), "it was registered a moment ago")
	})
}
