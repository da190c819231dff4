// Package requests_test sends requests that lie as data in testdata, and requests that fuzzing makes.
package requests_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestRequests registers what testdata holds: what deployed clients send, and what attackers do.
// Each row states the whole outcome and the rule that decides.
func TestRequests(t *testing.T) {
	t.Parallel()
	guardTrap(t)
	forEachRequest(t, func(requestRow) bool { return true }, func(t *testing.T, s *requestServer, row requestRow) {
		answer := s.Post(t, row.body(), dcrtest.Header("Content-Type", row.contentType()))
		if answer.Status == http.StatusCreated {
			s.registered(answer)
		}
		require.Empty(t, judge(row, answer, http.StatusCreated), "%s\n%s", row.Why, answer.Body)
		if answer.Status == http.StatusCreated {
			requireStored(t, s, answer)
		}
		s.register(t)
	})
}

// TestRequestsAsUpdates sends the same as updates of a client, which a refusal leaves as it was
// (7592-2.2-01, 7592-2.2-05). Members that are not the client's to set are refused here (7592-2.2-02 to -04).
func TestRequestsAsUpdates(t *testing.T) {
	t.Parallel()
	guardTrap(t)
	forEachRequest(t, requestRow.isUpdate, func(t *testing.T, s *requestServer, row requestRow) {
		client := s.register(t)
		before := s.Manage(t, http.MethodGet, client, nil)
		require.Equal(t, http.StatusOK, before.Status, before.Body)

		row = row.asUpdate()
		answer := s.Manage(t, http.MethodPut, client, row.updateBody(client.ID()), dcrtest.Header("Content-Type", row.contentType()))
		require.Empty(t, judge(row, answer, http.StatusOK), "%s\n%s", row.Why, answer.Body)
		if answer.Status == http.StatusOK {
			require.Equal(t, client.ID(), answer.ID())
			requireStored(t, s, answer)
			return
		}
		after := s.Manage(t, http.MethodGet, client, nil)
		require.Equal(t, http.StatusOK, after.Status, after.Body)
		require.Equal(t, before.Members, after.Members)
	})
}

// TestRequestsReadBack: what a deployed client reads it may send back, the members apart that it must not
// send, and nothing changes by it (7592-2.2-10).
func TestRequestsReadBack(t *testing.T) {
	t.Parallel()
	s := startForRequests(t)
	for _, row := range loadRequests(t, "real") {
		if row.Outcome == outcomeRefuse {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, row.body(), dcrtest.Header("Content-Type", row.contentType()))
			s.registered(client)
			read := s.Manage(t, http.MethodGet, client, nil)
			require.Equal(t, http.StatusOK, read.Status, read.Body)

			back := maps.Clone(read.Members)
			for _, name := range []string{
				"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at",
			} {
				delete(back, name)
			}
			updated := s.Manage(t, http.MethodPut, client, back)
			require.Equal(t, http.StatusOK, updated.Status, updated.Body)
			require.Equal(t, lasting(read), lasting(updated))
			requireStored(t, s, updated)
		})
	}
}

// forEachRequest runs the rows that are wanted as subtests, each class on a server of its own, which holds
// in the end exactly the clients that it answered.
func forEachRequest(t *testing.T, wanted func(requestRow) bool, run func(*testing.T, *requestServer, requestRow), changes ...func(*dcr.Config)) {
	for _, class := range requestClasses {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			s := startForRequests(t, changes...)
			for _, row := range loadRequests(t, class) {
				if !wanted(row) {
					continue
				}
				t.Run(row.Name, func(t *testing.T) {
					t.Parallel()
					run(t, s, row)
				})
			}
		})
	}
}

// requestServer is an open server that knows which clients it should have.
type requestServer struct {
	*dcrtest.Server
	store *recordingStore

	mu       sync.Mutex
	answered []string
}

// startForRequests starts a server with what deployed clients need of it, and with the implicit grant, so
// that rules about that grant are met and not only its absence.
func startForRequests(t *testing.T, changes ...func(*dcr.Config)) *requestServer {
	t.Helper()
	config := dcr.Config{
		Metadata: dcr.Metadata{
			PrivateUseSchemes:   []string{"cursor", "vscode", "vscode-insiders", "windsurf", "oc"},
			AnonymousGrantTypes: []string{"client_credentials", "implicit"},
		},
		Authorization: dcr.Authorization{AllowAnyLocalhostPort: true},
	}
	for _, change := range changes {
		change(&config)
	}
	store := &recordingStore{MemoryStore: dcr.NewMemoryStore()}
	s := &requestServer{store: store, Server: dcrtest.Start(t, dcrtest.Setup{
		Storage: store,
		Factories: append(slices.Clone(dcrtest.DefaultFactories),
			compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectImplicitFactory),
		Config: config,
	})}
	// Not require, which would end the cleanup before the subtests have reported.
	t.Cleanup(func() { assert.ElementsMatch(t, s.answered, store.created, "the clients that exist") })
	return s
}

// registered notes a client that was answered.
func (s *requestServer) registered(client dcrtest.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = append(s.answered, client.ID())
}

// register registers an ordinary client.
func (s *requestServer) register(t testing.TB) dcrtest.Answer {
	t.Helper()
	client := s.Register(t, `{"redirect_uris":["https://before.example.com/cb"],"client_name":"Ordinary"}`)
	s.registered(client)
	return client
}

// requireStored reads a client that was registered or updated: it is there as it was answered.
func requireStored(t testing.TB, s *requestServer, answer dcrtest.Answer) {
	t.Helper()
	read := s.Manage(t, http.MethodGet, answer, nil)
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	require.Equal(t, lasting(answer), lasting(read))
}

// lasting returns what one answer has in common with the next: all but the secret, which is shown once,
// and the token, which an update replaces.
func lasting(answer dcrtest.Answer) map[string]any {
	members := maps.Clone(answer.Members)
	delete(members, "client_secret")
	delete(members, "registration_access_token")
	return members
}

// recordingStore notes which clients are created.
type recordingStore struct {
	*dcr.MemoryStore

	mu      sync.Mutex
	created []string
}

func (s *recordingStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	s.mu.Lock()
	s.created = append(s.created, client.ID)
	s.mu.Unlock()
	return s.MemoryStore.CreateClient(ctx, client)
}
