package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// slowStore holds a token request between what it reads and what it stores, and lets a test
// act where a removal of grants begins and where a code is stored.
type slowStore struct {
	*dcr.MemoryStore
	armed     atomic.Bool
	reached   chan struct{}
	gate      chan struct{}
	beginning func()
	onCode    func()
	failReads atomic.Int32
	failOnce  atomic.Bool
}

func newSlowStore() *slowStore {
	return &slowStore{MemoryStore: dcr.NewMemoryStore(), reached: make(chan struct{}), gate: make(chan struct{})}
}

func (s *slowStore) CreateAuthorizeCodeSession(ctx context.Context, code string, request fosite.Requester) error {
	if do := s.onCode; do != nil {
		s.onCode = nil
		do()
	}
	return s.MemoryStore.CreateAuthorizeCodeSession(ctx, code, request)
}

func (s *slowStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	if !strings.HasPrefix(signature, "dcr.") && s.armed.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.gate
	}
	return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

func (s *slowStore) RevokeClientGrants(ctx context.Context, id string) error {
	if do := s.beginning; do != nil {
		s.beginning = nil
		do()
	}
	if s.failOnce.CompareAndSwap(true, false) {
		return errors.New("the disk was busy")
	}
	return s.MemoryStore.RevokeClientGrants(ctx, id)
}

func (s *slowStore) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if s.failReads.Add(-1) >= 0 {
		return nil, errors.New("the connection was reset")
	}
	return s.MemoryStore.GetDynamicClient(ctx, id)
}

// TestTokenRequestDuringRemoval: a request that begins while grants are removed keeps nothing
// of what it stores afterwards (T36, T39).
func TestTokenRequestDuringRemoval(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"operator", "redirect_change"} {
		t.Run("T36/"+how, func(t *testing.T) {
			t.Parallel()
			store := newSlowStore()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{RevokeOnRedirectChange: true}}})
			client := s.Register(t, dcrtest.Managed())
			credentials := dcrtest.Basic(client.ID(), client.Secret())
			refresh := dcrtest.RefreshForm("", dcrtest.SignIn(t, s, client).Text("refresh_token"))
			answers := make(chan dcrtest.Answer, 1)
			store.beginning = func() {
				store.armed.Store(true)
				go func() { answers <- s.Form(t, "/oauth2/token", refresh, credentials) }()
				<-store.reached
			}
			if how == "operator" {
				require.NoError(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
			} else {
				moved := dcrtest.Replacing(client, "redirect_uris", []string{dcrtest.RedirectURI, "https://other.example/cb"})
				require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, moved).Status)
			}
			close(store.gate)
			answer := <-answers
			require.Equal(t, "invalid_grant", answer.Text("error"), answer.Body)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			again := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), credentials)
			require.Equal(t, http.StatusOK, again.Status, "the client itself stays: %s", again.Body)
		})
	}
}

// TestCodeDuringRemoval: a code that is stored while grants are removed is given to nobody.
func TestCodeDuringRemoval(t *testing.T) {
	t.Parallel()
	store := newSlowStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client := s.Register(t, dcrtest.Managed())
	store.onCode = func() { require.NoError(t, s.Provider.RevokeTokens(context.Background(), client.ID())) }
	dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), "access_denied")
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), "T36")
}

// TestRemovalCutShort: after a removal that failed the client gets no tokens, until the removal
// was done: by the operator, or by the next token request (T36).
func TestRemovalCutShort(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"operator", "token_request"} {
		t.Run("T36/"+again, func(t *testing.T) {
			t.Parallel()
			store, events := newSlowStore(), &dcrtest.Events{}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
			client := s.Register(t, dcrtest.Managed())
			credentials := dcrtest.Basic(client.ID(), client.Secret())
			refresh := dcrtest.RefreshForm("", dcrtest.SignIn(t, s, client).Text("refresh_token"))
			events.Take()
			store.failOnce.Store(true)
			require.Error(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
			require.Equal(t, []dcr.EventKind{dcr.EventCleanupFailed}, dcrtest.KindsOf(events.Take()))
			if again == "operator" {
				require.NoError(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
			}
			answer := s.Form(t, "/oauth2/token", refresh, credentials)
			require.Equal(t, "invalid_grant", answer.Text("error"), "T36: %s", answer.Body)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			answer = s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), credentials)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		})
	}
}

// TestReadFailsAfterRotation: a read that fails when the refresh token is spent already does not
// cost the user the grant (T52).
func TestReadFailsAfterRotation(t *testing.T) {
	t.Parallel()
	for name, failures := range map[string]int32{"T52/once": 1, "T52/for_long": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, events := newSlowStore(), &dcrtest.Events{}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
			client := s.Register(t, dcrtest.Managed())
			tokens := dcrtest.SignIn(t, s, client)
			events.Take()
			store.failReads.Store(failures)
			answer := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.Basic(client.ID(), client.Secret()))
			store.failReads.Store(0)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, failures > 2, len(events.Take()) > 0, "the host is told where nobody knows")
		})
	}
}

// TestRevocationStorageIsTheHosts: tokens are taken back from where they lie, also where
// registration access tokens lie elsewhere (T36).
func TestRevocationStorageIsTheHosts(t *testing.T) {
	t.Parallel()
	store := &meddler{MemoryStore: dcr.NewMemoryStore()}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Storage: dcr.Storage{Tokens: dcr.NewMemoryStore()}}})
	client := s.Register(t, dcrtest.Managed())
	form := dcrtest.CodeForm("", s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), dcrtest.RedirectURI)
	store.at = "CreateRefreshTokenSession"
	store.meddle = func() error { return s.Provider.RevokeTokens(context.Background(), client.ID()) }
	answer := s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, "invalid_grant", answer.Text("error"), answer.Body)
	_, err := store.GetRefreshTokenSession(t.Context(), store.refresh, dcrtest.NewSession(""))
	require.Error(t, err, "T36")
}

// TestIdentifierComesBackAtOnce: a client that is registered under an identifier while another
// is removed under it can give way like any other (LIFE-02).
func TestIdentifierComesBackAtOnce(t *testing.T) {
	t.Parallel()
	for range 500 {
		store := dcr.NewMemoryStore()
		client := &dcr.Client{ID: "x", UpdatedAt: time.Unix(1, 0)}
		require.NoError(t, store.CreateClient(t.Context(), client))
		var group sync.WaitGroup
		group.Go(func() { _ = store.DeleteClient(t.Context(), "x") })
		group.Go(func() {
			for store.CreateClient(t.Context(), client) != nil {
			}
		})
		group.Wait()
		evicted, err := store.CreateClientEvicting(t.Context(), &dcr.Client{ID: "y"}, time.Now())
		require.NoError(t, err, "LIFE-02")
		require.Equal(t, "x", evicted.ID)
	}
}

// TestNameKeyIsItsOwnKey: what a key is made of again is the key (T21).
func TestNameKeyIsItsOwnKey(t *testing.T) {
	t.Parallel()
	for c := rune(0x20); c < 0x30000; c++ {
		for _, name := range []string{"a" + string(c) + "b", string(c) + "\u0301"} {
			if key := dcr.NameKey(name); dcr.NameKey(key) != key {
				t.Fatalf("T21: %+q -> %+q -> %+q", name, key, dcr.NameKey(key))
			}
		}
	}
	s := dcrtest.Start(t, dcrtest.Setup{})
	var last dcrtest.Answer
	for range 3 {
		last = s.Register(t, dcrtest.Managed("client_name", "Acme\u00b4s"))
	}
	shown, err := consent.Describe(t.Context(), s.Provider, dcrtest.RecordOf(t, s.Store, last.ID()))
	require.NoError(t, err)
	require.Equal(t, 2, shown.SameName, "T21")
}
