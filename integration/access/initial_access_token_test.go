package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestInitialAccessToken(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartInitial(t)
	t.Run("7591-3-04/missing", func(t *testing.T) {
		t.Parallel()
		answer := s.Post(t, dcrtest.ScopedRegistration)
		require.Equal(t, http.StatusUnauthorized, answer.Status)
		require.Equal(t, "Bearer", answer.Header.Get("WWW-Authenticate"))
	})
	t.Run("IAT-01/registers", func(t *testing.T) {
		t.Parallel()
		token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Label: "for the partner", Subject: "partner", Uses: 2})
		require.True(t, strings.HasPrefix(token, "dcri_"+record.ID))
		client := s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
		stored, err := s.Store.GetDynamicClient(context.Background(), client.ID())
		require.NoError(t, err)
		require.Equal(t, dcr.Registrant{Kind: "initial_access_token", Subject: "partner", InitialAccessToken: record.ID}, stored.Origin)
		s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
		requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)))
	})
	t.Run("IAT-04/a_refusal_costs_nothing", func(t *testing.T) {
		t.Parallel()
		token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Uses: 1})
		require.Equal(t, http.StatusBadRequest, s.Post(t, `{}`, dcrtest.Bearer(token)).Status)
		require.Equal(t, http.StatusUnsupportedMediaType, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token), dcrtest.Header("Content-Type", "text/plain")).Status)
		s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
	})
	t.Run("IAT-01/revoked", func(t *testing.T) {
		t.Parallel()
		token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
		client := s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
		require.NoError(t, s.Provider.RevokeInitialAccessToken(context.Background(), record.ID))
		requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)))
		require.ErrorIs(t, s.Provider.RevokeInitialAccessToken(context.Background(), record.ID), fosite.ErrNotFound)
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status, "its clients stay")
	})
	t.Run("IAT-02/policy_binds_updates", func(t *testing.T) {
		t.Parallel()
		token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Policy: "partner"})
		client := s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
		require.Equal(t, "profile", client.Text("scope"))
		updated := s.Manage(t, http.MethodPut, client, `{"client_id":"`+client.ID()+`","redirect_uris":["https://app.example/cb"],"scope":"profile email"}`)
		require.Equal(t, http.StatusOK, updated.Status, updated.Body)
		require.Equal(t, "profile", updated.Text("scope"))
	})
	t.Run("IAT-02/grant_types_bound", func(t *testing.T) {
		t.Parallel()
		token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{GrantTypes: []string{"client_credentials"}})
		dcrtest.RequireMemberRefused(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)), "invalid_client_metadata", "grant_types")
		s.Register(t, `{"grant_types":["client_credentials"]}`, dcrtest.Bearer(token))
	})
}

func requireBadInitialToken(t testing.TB, answer dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	require.Equal(t, `Bearer error="invalid_token"`, answer.Header.Get("WWW-Authenticate"))
	require.Equal(t, "invalid_token", answer.Text("error"))
}

// TestInitialAccessTokenExpires: by time, and under its own issuer only (T41).
func TestInitialAccessTokenExpires(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := dcrtest.StartInitial(t, func(setup *dcrtest.Setup) {
		setup.Config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Lifetime: time.Hour})
	s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
	ahead.Store(int64(time.Hour))
	requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)))

	other, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
	foreign := *record
	foreign.ID, foreign.Issuer, foreign.ExpiresAt = "FOREIGN", "https://other.example", time.Time{}
	require.NoError(t, s.Store.CreateInitialAccessToken(context.Background(), &foreign))
	requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(strings.Replace(token, record.ID, "FOREIGN", 1))))
	s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(other))
}

// TestInitialAccessTokenIsNoOther: no kind of token passes for another (IAT-03, T02), and
// none of it can be guessed from what is stored (T27) or printed (T26).
func TestInitialAccessTokenIsNoOther(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartInitial(t)
	token, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
	client := s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
	for name, wrong := range map[string]string{
		"registration_access_token": client.Token(), "another_secret": token[:len(token)-1] + "x", "id_only": "dcri_" + record.ID,
		"no_prefix": strings.TrimPrefix(token, "dcri_"), "unknown": strings.Replace(token, record.ID, "UNKNOWN", 1),
		"long": token + strings.Repeat("x", 200), "empty_id": "dcri__x",
	} {
		t.Run("IAT-03/"+name, func(t *testing.T) {
			requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(wrong)))
		})
	}
	t.Run("IAT-03/T02/for_management", func(t *testing.T) {
		require.Equal(t, http.StatusUnauthorized, s.Manage(t, http.MethodGet, client, nil, dcrtest.Bearer(token)).Status)
	})
	t.Run("IAT-03/not_introspected", func(t *testing.T) {
		_, _, err := s.Provider.IntrospectToken(context.Background(), token, fosite.AccessToken, dcrtest.NewSession(""))
		require.Error(t, err)
	})
	t.Run("T26/T27/record", func(t *testing.T) {
		secret := token[strings.LastIndexByte(token, '_')+1:]
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", record, *record, record, record), string(record.Hash))
		require.NotContains(t, string(record.Hash), secret)
		require.Len(t, record.Hash, 32)
	})
}

// TestInitialAccessTokenCountsAtomically: fifty at once, one use, one client (IAT-01, T31).
func TestInitialAccessTokenCountsAtomically(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartInitial(t)
	token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Uses: 1})
	var created atomic.Int32
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			switch answer := s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)); answer.Status {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusUnauthorized:
			default:
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, created.Load())
}

// failingInitial is a storage that fails where it is told to.
type failingInitial struct {
	*dcr.MemoryStore
	create, use, get error
}

func (s *failingInitial) CreateClient(ctx context.Context, client *dcr.Client) error {
	if s.create != nil {
		return s.create
	}
	return s.MemoryStore.CreateClient(ctx, client)
}

func (s *failingInitial) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	if s.use != nil {
		return s.use
	}
	return s.MemoryStore.UseInitialAccessToken(ctx, id, now)
}

func (s *failingInitial) GetInitialAccessToken(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
	if s.get != nil {
		return nil, s.get
	}
	return s.MemoryStore.GetInitialAccessToken(ctx, id)
}

// TestInitialAccessTokenAndFailures: a failure of the storage costs no use, and is no
// invalid token (T52).
func TestInitialAccessTokenAndFailures(t *testing.T) {
	t.Parallel()
	storage := &failingInitial{MemoryStore: dcr.NewMemoryStore()}
	s := dcrtest.StartInitial(t, func(setup *dcrtest.Setup) { setup.Storage = storage })
	token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Uses: 1})

	storage.get = errors.New("down")
	require.Equal(t, http.StatusInternalServerError, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)).Status)
	storage.get, storage.use = nil, dcr.ErrUnavailable
	require.Equal(t, http.StatusServiceUnavailable, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)).Status)
	storage.use, storage.create = nil, errors.New("down")
	require.Equal(t, http.StatusInternalServerError, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)).Status)
	storage.create = nil
	s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
	requireBadInitialToken(t, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)))
}

func TestMintingInitialAccessTokens(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartInitial(t)
	ctx := context.Background()
	for name, request := range map[string]dcr.InitialAccessTokenRequest{
		"unknown_policy": {Policy: "nobody's"}, "negative_lifetime": {Lifetime: -1}, "negative_uses": {Uses: -1},
	} {
		_, _, err := s.Provider.MintInitialAccessToken(ctx, request)
		require.Error(t, err, name)
	}
	ids := map[string]bool{}
	for range 5 {
		_, record := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
		ids[record.ID] = true
	}
	first, err := s.Provider.ListInitialAccessTokens(ctx, "", 3)
	require.NoError(t, err)
	require.Len(t, first, 3)
	rest, err := s.Provider.ListInitialAccessTokens(ctx, first[2].ID, 10)
	require.NoError(t, err)
	require.Len(t, rest, 2)
	for _, record := range append(first, rest...) {
		require.True(t, ids[record.ID])
		delete(ids, record.ID)
	}

	bare := dcrtest.Start(t, dcrtest.Setup{Storage: fourMethods{dcr.NewMemoryStore()}})
	_, _, err = bare.Provider.MintInitialAccessToken(ctx, dcr.InitialAccessTokenRequest{})
	require.ErrorContains(t, err, "InitialAccessTokenStorage")
}

// fourMethods is a storage without initial access tokens.
type fourMethods struct{ *dcr.MemoryStore }

// CreateInitialAccessToken hides the method by one of another form.
func (fourMethods) CreateInitialAccessToken() {}
