package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

func connect(t *testing.T, address string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: address})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// TestStorage checks the storage against the whole contract.
func TestStorage(t *testing.T) {
	t.Parallel()
	storage := NewStorage(connect(t, dcrtest.Redis(t)), newSession)
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return storage }, storagetest.Options{
		AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
			s.(*Storage).addStatic(client)
			return nil
		},
	})
}

// TestRun: another server finds the client.
func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, "redis://"+dcrtest.Redis(t)))
	require.Regexp(t, `^Notes is registered as \w{26}\n$`, out.String())
}

// TestFlows: clients sign in, refresh and are deleted at a server on the storage.
func TestFlows(t *testing.T) {
	t.Parallel()
	client := connect(t, dcrtest.Redis(t))
	empty := func() fosite.Session { return dcrtest.NewSession("") }
	storage := NewStorage(client, empty, dcrtest.Introspector(t))
	s := dcrtest.Start(t, dcrtest.Setup{Storage: storage, Config: dcr.Config{Storage: dcr.Storage{NewSession: empty}}})
	registered := dcrtest.RegisterFor(t, s, "client_secret_basic")
	tokens := registered.Tokens(t, s, "scope", "openid")
	dcrtest.RequireActive(t, s, tokens.Text("access_token"), registered.ID())
	refresh := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
	next := registered.Send(t, "/oauth2/token", registered.Method, refresh)
	require.Equal(t, http.StatusOK, next.Status, next.Body)
	dcrtest.RequireInactive(t, s, tokens.Text("access_token"))
	again := registered.Send(t, "/oauth2/token", registered.Method, refresh)
	require.Equal(t, "invalid_grant", again.Text("error"), again.Body)
	dcrtest.RequireInactive(t, s, next.Text("access_token"))
	dcrtest.Push(t, s, registered.Answer)
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, registered.Answer, nil).Status)

	// Nothing of the client is left but what expires by itself.
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		left, err := client.TTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.Greater(t, left, time.Duration(0), key)
		for _, secret := range []string{tokens.Text("access_token"), tokens.Text("refresh_token")} {
			require.NotContains(t, key, secret)
		}
	}
}

// TestRedisAway: a Redis that is away is no unknown client.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	storage := NewStorage(redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1}), newSession)
	_, err := storage.GetClient(t.Context(), "client")
	require.ErrorIs(t, err, dcr.ErrUnavailable)
	require.ErrorIs(t, storage.CreateClient(t.Context(), &dcr.Client{ID: "client"}), dcr.ErrUnavailable)
	_, err = storage.GetAccessTokenSession(t.Context(), "signature", nil)
	require.ErrorIs(t, err, dcr.ErrUnavailable)
}
