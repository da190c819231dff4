package management_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// hostStore is a host's storage as one finds them: it keeps sessions with the very
// client object, and knows nothing of removing what a client was granted.
type hostStore struct {
	*storage.MemoryStore

	mu      sync.Mutex
	clients map[string]*dcr.Client
}

func newHostStore(static ...fosite.Client) *hostStore {
	s := &hostStore{MemoryStore: storage.NewMemoryStore(), clients: map[string]*dcr.Client{}}
	for _, client := range static {
		s.Clients[client.GetID()] = client
	}
	return s
}

func (s *hostStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if client, err := s.GetDynamicClient(ctx, id); err == nil {
		return client, nil
	}
	return s.MemoryStore.GetClient(ctx, id)
}

func (s *hostStore) CreateClient(_ context.Context, client *dcr.Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[client.ID] != nil || s.Clients[client.ID] != nil {
		return dcr.ErrClientExists
	}
	s.clients[client.ID] = client.Clone()
	return nil
}

func (s *hostStore) GetDynamicClient(_ context.Context, id string) (*dcr.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if client := s.clients[id]; client != nil {
		return client.Clone(), nil
	}
	return nil, fosite.ErrNotFound
}

func (s *hostStore) UpdateClient(_ context.Context, client *dcr.Client, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch stored := s.clients[client.ID]; {
	case stored == nil:
		return fosite.ErrNotFound
	case stored.Version != version:
		return dcr.ErrConflict
	}
	s.clients[client.ID] = client.Clone()
	return nil
}

func (s *hostStore) DeleteClient(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[id] == nil {
		return fosite.ErrNotFound
	}
	delete(s.clients, id)
	return nil
}

// overStorages runs a test on each kind of storage with each kind of token.
func overStorages(t *testing.T, setup dcrtest.Setup, run func(t *testing.T, s *dcrtest.Server)) {
	t.Helper()
	stores := map[string]func() any{
		"memory": func() any {
			store := dcr.NewMemoryStore()
			store.AddClient(dcrtest.Introspector(t))
			return store
		},
		"host": func() any { return newHostStore(dcrtest.Introspector(t)) },
	}
	for name, store := range stores {
		for kind, tokensAreJWTs := range map[string]bool{"opaque": false, "jwt": true} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				setup := setup
				setup.Storage, setup.JWT = store(), tokensAreJWTs
				run(t, dcrtest.Start(t, setup))
			})
		}
	}
}

// TestDeletion: what a deletion answers, and that everything is dead at once, on any
// storage (7592-2.3-01, 7592-2.3-02, 7592-2.3-03, T36).
func TestDeletion(t *testing.T) {
	t.Parallel()
	t.Run("7592-2.3-02,T36", func(t *testing.T) {
		t.Parallel()
		overStorages(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
			client, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
			kept, had := dcrtest.SignIn(t, s, other), dcrtest.SignIn(t, s, client)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"))
			pushed := dcrtest.Push(t, s, client)
			require.Equal(t, true, dcrtest.Introspected(t, s, had.Text("access_token"))["active"])
			refresh := url.Values{"token": {had.Text("refresh_token")}}
			require.Equal(t, true, s.Form(t, "/oauth2/introspect", refresh, dcrtest.Basic(client.ID(), client.Secret())).Members["active"])

			deleted := s.Manage(t, "DELETE", client, nil)
			require.Equal(t, http.StatusNoContent, deleted.Status, deleted.Body)
			require.Empty(t, deleted.Body)
			require.Equal(t, "no-store", deleted.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", deleted.Header.Get("Pragma"))
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
			}
			dcrtest.RequireGrantsDead(t, s, client, had, code, pushed)
			require.Equal(t, true, dcrtest.Introspected(t, s, kept.Text("access_token"))["active"], "another client's stay")
			require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", kept.Text("refresh_token")),
				dcrtest.Basic(other.ID(), other.Secret())).Status)
			require.True(t, dcrtest.TokenWorks(t, s, other, other.Token()))
		})
	})
	t.Run("7592-2.3-02/public", func(t *testing.T) {
		t.Parallel()
		overStorages(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
			client := s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none"))
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"))
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, dcrtest.RedirectURI))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
			dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm(client.ID(), tokens.Text("refresh_token"))),
				http.StatusUnauthorized, "invalid_client")
			require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, tokens.Text("access_token")))
			require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, tokens.Text("refresh_token")))
		})
	})
}

// TestDeletionOfCodeOnOtherClient: a code of a deleted client is no use to another one
// either (T36).
func TestDeletionOfCodeOnOtherClient(t *testing.T) {
	t.Parallel()
	overStorages(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
		client, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
		had := dcrtest.SignIn(t, s, client)
		code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"))
		pushed := dcrtest.Push(t, s, client)
		require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		basic := dcrtest.Basic(other.ID(), other.Secret())
		dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), basic), http.StatusBadRequest, "invalid_grant")
		dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", had.Text("refresh_token")), basic), http.StatusBadRequest, "invalid_grant")
		answer := s.Authorize(t, url.Values{"client_id": {other.ID()}, "request_uri": {pushed}})
		require.GreaterOrEqual(t, answer.Status, 400)
		require.Less(t, answer.Status, 500, answer.Body)
		require.Empty(t, answer.Header.Get("Location"))
	})
}

// TestDeletionClears: a storage that can remove what a client was granted is told to
// (7592-2.3-03).
func TestDeletionClears(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	dcrtest.SignIn(t, s, client)
	dcrtest.SignIn(t, s, other)
	require.Len(t, store.Stored(), 4, "two access tokens and two registration access tokens")
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
	for _, request := range store.Stored() {
		require.Equal(t, other.ID(), request.GetClient().GetID())
	}
	require.Len(t, store.Stored(), 2)
}
