package dcr_test

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
			store.AddClient(operatorsOwn(t))
			return store
		},
		"host": func() any { return newHostStore(operatorsOwn(t)) },
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
			client, other := s.Register(t, managed()), s.Register(t, managed())
			kept, had := signIn(t, s, other), signIn(t, s, client)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", "openid"))
			pushed := push(t, s, client)
			require.Equal(t, true, introspected(t, s, had.Text("access_token"))["active"])
			require.Equal(t, true, introspected(t, s, had.Text("refresh_token"))["active"])

			deleted := s.Manage(t, "DELETE", client, nil)
			require.Equal(t, http.StatusNoContent, deleted.Status, deleted.Body)
			require.Empty(t, deleted.Body)
			require.Equal(t, "no-store", deleted.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", deleted.Header.Get("Pragma"))
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				requireUniformRefusal(t, s.Manage(t, method, client, replacing(client)))
			}
			requireGrantsDead(t, s, client, had, code, pushed)
			require.Equal(t, true, introspected(t, s, kept.Text("access_token"))["active"], "another client's stay")
			require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", kept.Text("refresh_token")),
				dcrtest.Basic(other.ID(), other.Secret())).Status)
			require.True(t, works(t, s, other, other.Token()))
		})
	})
	t.Run("7592-2.3-02/public", func(t *testing.T) {
		t.Parallel()
		overStorages(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
			client := s.Register(t, managed("token_endpoint_auth_method", "none"))
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", "openid"))
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(client.ID(), code, managedRedirect))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
			requireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm(client.ID(), tokens.Text("refresh_token"))),
				http.StatusUnauthorized, "invalid_client")
			require.Equal(t, inactiveToken, introspected(t, s, tokens.Text("access_token")))
			require.Equal(t, inactiveToken, introspected(t, s, tokens.Text("refresh_token")))
		})
	})
}

// push pushes an authorization request and returns its request_uri.
func push(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) string {
	t.Helper()
	form := dcrtest.AuthorizeQuery("", managedRedirect, "client_id", client.ID(), "scope", "openid")
	answer := s.Form(t, "/oauth2/par", form, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	return answer.Text("request_uri")
}

func requireGrantsDead(t *testing.T, s *dcrtest.Server, client, had dcrtest.Answer, code, pushed string) {
	t.Helper()
	basic := dcrtest.Basic(client.ID(), client.Secret())
	requests := map[string]url.Values{
		"secret":        dcrtest.RefreshForm("", "nobody's"),
		"code":          dcrtest.CodeForm("", code, managedRedirect),
		"refresh_token": dcrtest.RefreshForm("", had.Text("refresh_token")),
	}
	for name, form := range requests {
		answer := s.Form(t, "/oauth2/token", form, basic)
		require.Equal(t, http.StatusUnauthorized, answer.Status, "%s: %s", name, answer.Body)
		require.Equal(t, "invalid_client", answer.Text("error"), name)
	}
	for _, token := range []string{had.Text("access_token"), had.Text("refresh_token"), client.Token()} {
		require.Equal(t, inactiveToken, introspected(t, s, token))
	}
	for name, query := range map[string]url.Values{
		"pushed": {"client_id": {client.ID()}, "request_uri": {pushed}},
		"direct": dcrtest.AuthorizeQuery(client.ID(), managedRedirect),
	} {
		answer := s.Authorize(t, query)
		require.GreaterOrEqual(t, answer.Status, 400, name)
		require.Less(t, answer.Status, 500, name)
		require.Empty(t, answer.Header.Get("Location"), name)
	}
	answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {"x"}}, dcrtest.Bearer(had.Text("access_token")))
	require.Equal(t, http.StatusUnauthorized, answer.Status, "a dead access token is no credential: %s", answer.Body)
}

// TestDeletionOfCodeOnOtherClient: a code of a deleted client is no use to another one
// either (T36).
func TestDeletionOfCodeOnOtherClient(t *testing.T) {
	t.Parallel()
	overStorages(t, dcrtest.Setup{}, func(t *testing.T, s *dcrtest.Server) {
		client, other := s.Register(t, managed()), s.Register(t, managed())
		had := signIn(t, s, client)
		code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", "openid"))
		pushed := push(t, s, client)
		require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		basic := dcrtest.Basic(other.ID(), other.Secret())
		requireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, managedRedirect), basic), http.StatusBadRequest, "invalid_grant")
		requireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", had.Text("refresh_token")), basic), http.StatusBadRequest, "invalid_grant")
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
	store := newWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client, other := s.Register(t, managed()), s.Register(t, managed())
	signIn(t, s, client)
	signIn(t, s, other)
	require.Len(t, store.stored(), 4, "two access tokens and two registration access tokens")
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
	for _, request := range store.stored() {
		require.Equal(t, other.ID(), request.GetClient().GetID())
	}
	require.Len(t, store.stored(), 2)
}
