package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestStorageFails: an outage is never "unknown", and its cause stands in the log only (T52).
func TestStorageFails(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"for_good":    {errDisk, http.StatusInternalServerError, "server_error"},
		"for_a_while": {fmt.Errorf("%w: %w", dcr.ErrUnavailable, errDisk), http.StatusServiceUnavailable, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, log := &failingStore{MemoryStore: dcr.NewMemoryStore()}, &lockedBuffer{}
			s := start(t, func(setup *dcrtest.Setup, o *admin.Options) {
				setup.Storage, o.Log = store, slog.New(slog.NewTextHandler(log, nil))
			})
			client := s.Register(t, named("App"))
			_, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
			require.NoError(t, err)
			store.fail(row.err)
			for _, r := range routes(client.ID(), token.ID) {
				answer := r.send(t, s, as("olga"))
				needsNone := strings.Contains(" /style.css /sweep /nowhere /api/nowhere  ", " "+r.path+" ") && r.method == "GET" ||
					strings.HasPrefix(r.path, "/clients?") || r.method == "GET" && strings.HasPrefix(r.path, "/tokens/") || r.method == "PUT" || r.method == "PATCH"
				if needsNone {
					require.Less(t, answer.Status, 500, r.path)
					continue
				}
				require.Equal(t, row.status, answer.Status, "%s %s: %s", r.method, r.path, answer.Body)
				require.NotContains(t, answer.Body, "10.1.2.3")
				if strings.HasPrefix(r.path, "/api/") {
					require.Equal(t, row.code, answer.Text("error"), r.path)
				}
			}
			require.Contains(t, log.String(), "10.1.2.3", "the log says why")
		})
	}
}

// TestPlainStorage: what a storage can't do is 501, and the page says so.
func TestPlainStorage(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Storage = &plainStore{dcr.NewMemoryStore(), hides{}}
	})
	client := s.Register(t, named("App"))
	for _, answer := range []dcrtest.Answer{
		s.get(t, "/api/clients"), s.get(t, "/api/summary"), s.get(t, "/api/initial-access-tokens"), s.post(t, "/api/initial-access-tokens", "{}"),
		s.delete(t, "/api/initial-access-tokens/x"), s.post(t, "/api/clients/"+client.ID()+"/revoke-tokens", ""), s.post(t, "/api/sweep", ""),
	} {
		require.Equal(t, http.StatusNotImplemented, answer.Status, answer.Body)
		require.Equal(t, "not_supported", answer.Text("error"))
	}
	for path, says := range map[string]string{"/": "cannot list clients", "/tokens": "does not support initial access tokens"} {
		page := s.get(t, path)
		require.Equal(t, http.StatusNotImplemented, page.Status)
		require.Contains(t, page.Body, says)
	}
	require.Contains(t, s.get(t, "/").Body, "Open a client by its identifier")
	require.Equal(t, http.StatusOK, s.get(t, "/clients/"+client.ID()).Status)
	require.Equal(t, http.StatusNotImplemented, s.form(t, "/clients/"+client.ID()+"/revoke", nil).Status)
	require.Equal(t, http.StatusNoContent, s.delete(t, "/api/clients/"+client.ID()).Status)
}

// failingEvents is a history that can't be read.
type failingEvents struct{}

func (failingEvents) ClientEvents(context.Context, string) ([]admin.Entry, error) {
	return nil, errDisk
}
func (failingEvents) OtherEvents(context.Context, int) ([]admin.Entry, error) { return nil, errDisk }

func TestHistoryFails(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *dcrtest.Setup, o *admin.Options) { o.History = failingEvents{} })
	client := s.Register(t, named("App"))
	for _, path := range []string{"/api/clients/" + client.ID(), "/clients/" + client.ID(), "/clients/unknown", "/events", "/api/events"} {
		answer := s.get(t, path)
		require.Equal(t, http.StatusInternalServerError, answer.Status, path)
		require.NotContains(t, answer.Body, "10.1.2.3")
	}
}

// TestIssuers: under one issuer nothing of another's is seen or changed (T41).
func TestIssuers(t *testing.T) {
	t.Parallel()
	var issuer atomic.Value
	issuer.Store("https://one.example")
	s := start(t, func(setup *dcrtest.Setup, options *admin.Options) {
		options.Documents = nil // they do not go with several issuers
		setup.Config.Endpoints.Issuer = func(context.Context) string { return issuer.Load().(string) }
	})
	client := s.Register(t, service("Tenant"))
	s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), "wrong"))
	gone := s.Register(t, named("Gone tenant")).ID()
	require.Equal(t, http.StatusNoContent, s.delete(t, "/api/clients/"+gone).Status)
	minted := s.post(t, "/api/initial-access-tokens", `{"label":"Tenant"}`)
	token := minted.Members["initial_access_token"].(object)["id"].(string)
	require.Contains(t, s.get(t, "/clients/"+gone).Body, "deleted")
	s.plant(t, "unheard-of", func(c *dcr.Client) { // a client from before the history
		c.Issuer, c.Metadata.TokenEndpointAuthMethod = "https://one.example", "client_secret_basic"
	})
	s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic("unheard-of", "wrong"))
	require.Contains(t, s.get(t, "/events").Body, "unheard-of")
	require.Contains(t, s.get(t, "/api/events").Body, "unheard-of")

	issuer.Store("https://two.example")
	s.Register(t, named("Tenant")) // the same name does not count either
	for _, r := range routes(client.ID(), token) {
		if r.changes() || strings.HasPrefix(r.path, "/tokens/") || strings.HasSuffix(r.path, "tokens") {
			continue
		}
		answer := r.send(t, s, as("olga"))
		require.NotContains(t, answer.Body, "https://one.example", "T41: %s", r.path)
		require.NotContains(t, answer.Body, "unheard-of", "T41: %s", r.path)
		if strings.Contains(r.path, "/clients/") {
			require.Equal(t, http.StatusNotFound, answer.Status, r.path)
			require.NotContains(t, answer.Body, "registered</b>", "T41: %s", r.path)
		}
	}
	require.NotContains(t, s.get(t, "/clients/"+gone).Body, "deleted", "T41: nor what is gone")
	for _, path := range []string{"/revoke-tokens", "/expire"} {
		require.Equal(t, http.StatusNotFound, s.post(t, "/api/clients/"+client.ID()+path, "").Status)
	}
	require.Equal(t, http.StatusNotFound, s.delete(t, "/api/clients/"+client.ID()).Status)
	require.Len(t, ids(t, s.get(t, "/api/clients")), 1)
	t.Run("T41/initial_access_tokens", func(t *testing.T) {
		require.NotContains(t, s.get(t, "/api/initial-access-tokens").Body, token)
		require.Equal(t, http.StatusNotFound, s.delete(t, "/api/initial-access-tokens/"+token).Status)
	})
	issuer.Store("https://one.example")
	require.Equal(t, http.StatusOK, s.get(t, "/api/clients/"+client.ID()).Status, "nothing happened to it")
}

// sharedEvents are an application's, of all issuers, in memory that it keeps.
type sharedEvents struct{ entries []admin.Entry }

func (e sharedEvents) ClientEvents(context.Context, string) ([]admin.Entry, error) { return nil, nil }
func (e sharedEvents) OtherEvents(_ context.Context, _ int) ([]admin.Entry, error) {
	return e.entries, nil
}

// TestUserOfAnotherIssuer: where a client is not named, its user is not either (T41).
func TestUserOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	shared := sharedEvents{[]admin.Entry{{Kind: dcr.EventShared, ClientID: "theirs", Subject: "dana"}, {Kind: dcr.EventShared, ClientID: "ours", Subject: "olaf"}}}
	s := start(t, func(_ *dcrtest.Setup, o *admin.Options) { o.History = shared })
	s.plant(t, "theirs", func(c *dcr.Client) { c.Issuer = "https://two.example" })
	s.plant(t, "ours", func(*dcr.Client) {})
	for _, path := range []string{"/events", "/api/events"} {
		answer := s.get(t, path).Body
		require.NotContains(t, answer, "theirs", "T41: %s", path)
		require.NotContains(t, answer, "dana", "T41: %s", path)
		require.Contains(t, answer, "olaf", path)
	}
	require.Equal(t, "theirs", shared.entries[0].ClientID, "the memory of the application is not written to")
}
