package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// operatorHeader names the operator; the application's own authentication in these tests.
const operatorHeader = "Test-Operator"

func operatorOf(r *http.Request) (string, error) { return r.Header.Get(operatorHeader), nil }

// server is one with the operator's pages under /admin, and a clock to move.
type server struct {
	*dcrtest.Server
	history   *admin.History
	documents *cimd.Documents
	ahead     atomic.Int64
}

func (s *server) now() time.Time          { return time.Now().Add(time.Duration(s.ahead.Load())) }
func (s *server) forward(d time.Duration) { s.ahead.Add(int64(d)) }

type edit func(*dcrtest.Setup, *admin.Options)

func start(t testing.TB, edits ...edit) *server {
	t.Helper()
	s := &server{history: admin.NewHistory(admin.HistoryOptions{})}
	setup := dcrtest.Setup{Config: dcr.Config{
		Events: s.history, Now: s.now, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
		NamedPolicies: map[string]dcr.Policy{"few": policy.LimitScopes("openid")},
	}}
	options := admin.Options{
		Authenticate: operatorOf, Prefix: "/admin", History: s.history, Now: s.now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	options.Documents = dcrtest.NewDocuments(t, s.now)
	for _, e := range edits {
		e(&setup, &options)
	}
	if s.documents = options.Documents; s.documents != nil {
		setup.Config.Documents = s.documents
	}
	s.Server = dcrtest.Start(t, setup)
	handler, err := admin.New(s.Provider, options)
	require.NoError(t, err)
	s.Extra.PathPrefix("/admin").Handler(handler)
	return s
}

// as sends requests as an operator.
func as(name string) dcrtest.Edit { return dcrtest.Header(operatorHeader, name) }

func (s *server) get(t testing.TB, path string) dcrtest.Answer {
	t.Helper()
	return s.Do(t, http.MethodGet, "/admin"+path, nil, as("olga"))
}

func (s *server) post(t testing.TB, path, body string) dcrtest.Answer {
	t.Helper()
	return s.Do(t, http.MethodPost, "/admin"+path, []byte(body), as("olga"), dcrtest.Header("Content-Type", "application/json"))
}

func (s *server) delete(t testing.TB, path string) dcrtest.Answer {
	t.Helper()
	return s.Do(t, http.MethodDelete, "/admin"+path, nil, as("olga"))
}

func (s *server) form(t testing.TB, path string, form url.Values, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	return s.Form(t, "/admin"+path, form, append([]dcrtest.Edit{as("olga")}, edits...)...)
}

// ids are the identifiers of a list.
func ids(t testing.TB, answer dcrtest.Answer) []string {
	t.Helper()
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	found := []string{}
	for _, client := range answer.Members["clients"].([]any) {
		found = append(found, client.(map[string]any)["client_id"].(string))
	}
	return found
}

type object = map[string]any

func named(name string, pairs ...any) object {
	metadata := object{"client_name": name, "redirect_uris": []string{"https://app.example/cb"}}
	for i := 0; i < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// use has a client get a token.
func (s *server) use(t testing.TB, client dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

func service(name string) object {
	return named(name, "grant_types", []string{"authorization_code", "refresh_token", "client_credentials"})
}

// failingStore fails in every method that the operator's pages use, when told to.
type failingStore struct {
	*dcr.MemoryStore
	err atomic.Pointer[error]
}

var errDisk = errors.New("disk on fire at 10.1.2.3")

func (s *failingStore) fail(err error) { s.err.Store(&err) }

func (s *failingStore) failure() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *failingStore) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetDynamicClient(ctx, id)
}

func (s *failingStore) ListClients(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.MemoryStore.ListClients(ctx, f, from, limit)
}

func (s *failingStore) CountClients(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
	if err := s.failure(); err != nil {
		return 0, err
	}
	return s.MemoryStore.CountClients(ctx, f, most)
}

func (s *failingStore) CreateInitialAccessToken(ctx context.Context, token *dcr.InitialAccessToken) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.MemoryStore.CreateInitialAccessToken(ctx, token)
}

func (s *failingStore) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.MemoryStore.ListInitialAccessTokens(ctx, after, limit)
}

func (s *failingStore) DeleteInitialAccessToken(ctx context.Context, id string) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.MemoryStore.DeleteInitialAccessToken(ctx, id)
}

func (s *failingStore) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.MemoryStore.DeleteExpiredClients(ctx, e, limit)
}

// hides takes methods away from a storage that is embedded beside it.
type hides struct{}

func (hides) ListClients()              {}
func (hides) CountClients()             {}
func (hides) CreateInitialAccessToken() {}
func (hides) RevokeClientGrants()       {}
func (hides) DeleteExpiredClients()     {}

var _ interface {
	ListClients()
	CountClients()
	CreateInitialAccessToken()
	RevokeClientGrants()
	DeleteExpiredClients()
} = hides{}

// plainStore has no ability that is optional here.
type plainStore struct {
	*dcr.MemoryStore
	hides
}
