package dcr_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// clientURI is the redirect URI of an ordinary registration.
const clientURI = "https://client.example/cb"

// missing stands for a member that is not there.
type missing struct{}

// outcome is one registration and all that becomes of it.
type outcome struct {
	name  string
	setup func(*dcrtest.Setup)
	// send is laid over an ordinary registration; raw is sent in its place.
	send map[string]any
	raw  string
	// code is that of a refusal with status 400; without it the client is registered.
	code string
	// names occur in the description of a refusal.
	names []string
	// back holds members of the answer.
	back map[string]any
}

// The two codes of a refusal for metadata.
const (
	badMetadata = "invalid_client_metadata"
	badRedirect = "invalid_redirect_uri"
)

// runOutcomes gives each row a server of its own, so that its state is the row's.
func runOutcomes(t *testing.T, common func(*dcrtest.Setup), rows []outcome) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			store := newLedger()
			setup := dcrtest.Setup{Storage: store}
			for _, change := range []func(*dcrtest.Setup){common, row.setup} {
				if change != nil {
					change(&setup)
				}
			}
			row.require(t, dcrtest.Start(t, setup), store)
		})
	}
}

func (o outcome) require(t *testing.T, s *dcrtest.Server, store *ledger) {
	t.Helper()
	var body any = o.raw
	if o.raw == "" {
		body = registration(o.send)
	}
	answer := s.Post(t, body)
	if o.code != "" {
		requireRefusal(t, answer, http.StatusBadRequest, o.code, o.names...)
		require.Empty(t, store.live(t), "a refused registration left a client behind")
		return
	}
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	requireMembers(t, answer, o.back)
	require.Equal(t, []string{answer.ID()}, store.live(t))
	read := s.Manage(t, http.MethodGet, answer, nil)
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	requireMembers(t, read, o.back)
}

// registration is an ordinary registration with changes.
func registration(changes map[string]any) map[string]any {
	body := map[string]any{"redirect_uris": []string{clientURI}}
	maps.Copy(body, changes)
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == missing{} })
	return body
}

// requireMembers compares members as JSON.
func requireMembers(t testing.TB, answer dcrtest.Answer, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if value == (missing{}) {
			require.NotContains(t, answer.Members, name, answer.Body)
			continue
		}
		require.Contains(t, answer.Members, name, answer.Body)
		require.Equal(t, viaJSON(t, value), answer.Members[name], "%s in %s", name, answer.Body)
	}
}

func viaJSON(t testing.TB, value any) (read any) {
	t.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(encoded, &read))
	return read
}

// requireRefusal holds an answer against the whole form of an error: 7591-3.2.2-01,
// 7591-3.2.2-03 and 7591-3.2.2-05.
func requireRefusal(t testing.TB, answer dcrtest.Answer, status int, code string, names ...string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	requireJSONNoStore(t, answer)
	require.Len(t, answer.Members, 2, answer.Body)
	description := answer.Text("error_description")
	require.NotEmpty(t, description)
	require.LessOrEqual(t, len(description), 400)
	require.Empty(t, strings.Map(keepUnsafe, description), "%q has characters that RFC 6749, section 5.2, does not allow", description)
	for _, name := range names {
		require.Contains(t, description, name)
	}
}

func keepUnsafe(c rune) rune {
	if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
		return c
	}
	return -1
}

func requireJSONNoStore(t testing.TB, answer dcrtest.Answer) {
	t.Helper()
	require.Equal(t, []string{"application/json"}, answer.Header.Values("Content-Type"))
	require.Equal(t, []string{"no-store"}, answer.Header.Values("Cache-Control"))
	require.Equal(t, []string{"no-cache"}, answer.Header.Values("Pragma"))
}

// vouched lets everybody register as somebody who is known.
func vouched(setup *dcrtest.Setup) {
	setup.Config.Access = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
		return &dcr.Registrant{Kind: "test", Subject: "operator"}, nil
	})
}

// ledger is a MemoryStore that knows what was created in it, and that fails on demand.
type ledger struct {
	*dcr.MemoryStore
	// These run before the operation, which fails with their error.
	beforeCreate func(*dcr.Client) error
	beforeEntry  func() error
	beforeDelete func() error

	mu           sync.Mutex
	ids, entries []string
}

func newLedger() *ledger { return &ledger{MemoryStore: dcr.NewMemoryStore()} }

func (l *ledger) CreateClient(ctx context.Context, client *dcr.Client) error {
	if l.beforeCreate != nil {
		if err := l.beforeCreate(client); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.ids = append(l.ids, client.ID)
	l.mu.Unlock()
	return l.MemoryStore.CreateClient(ctx, client)
}

func (l *ledger) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	if l.beforeEntry != nil {
		if err := l.beforeEntry(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.entries = append(l.entries, signature)
	l.mu.Unlock()
	return l.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

func (l *ledger) DeleteClient(ctx context.Context, id string) error {
	if l.beforeDelete != nil {
		if err := l.beforeDelete(); err != nil {
			return err
		}
	}
	return l.MemoryStore.DeleteClient(ctx, id)
}

// live returns the clients that are there.
func (l *ledger) live(t testing.TB) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var live []string
	for _, id := range l.ids {
		_, err := l.GetDynamicClient(context.Background(), id)
		if err == nil {
			live = append(live, id)
			continue
		}
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	return live
}

// liveEntries counts the entries of tokens that are there.
func (l *ledger) liveEntries(t testing.TB) int {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	count := 0
	for _, signature := range l.entries {
		_, err := l.GetAccessTokenSession(context.Background(), signature, nil)
		if err == nil {
			count++
			continue
		}
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	return count
}

// grantHandler is a host's token handler for grants that fosite does not have.
type grantHandler struct{ grants []string }

// handlesGrants is the factory of a grantHandler.
func handlesGrants(grants ...string) func(fosite.Configurator, any, any) any {
	return func(fosite.Configurator, any, any) any { return &grantHandler{grants} }
}

func (h *grantHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (h *grantHandler) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().HasOneOf(h.grants...)
}

func (h *grantHandler) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

func (h *grantHandler) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}

// ecJWK is a new public key on P-256 as a JWK.
func ecJWK(t testing.TB, id string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return publicJWK(t, key.Public(), id)
}

// publicJWK is a public key as a JWK, without use and alg.
func publicJWK(t testing.TB, key any, id string) map[string]any {
	t.Helper()
	jwk, ok := viaJSON(t, jose.JSONWebKey{Key: key, KeyID: id}).(map[string]any)
	require.True(t, ok)
	return jwk
}
