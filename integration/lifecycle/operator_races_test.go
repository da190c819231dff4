package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// meddler is a storage in which something else happens at a call.
type meddler struct {
	*dcr.MemoryStore
	at      string
	meddle  func() error
	refresh string // the signature of the last refresh token
}

func (m *meddler) happens(call string) error {
	do := m.meddle
	if call != m.at || do == nil {
		return nil
	}
	m.meddle = nil
	return do()
}

func (m *meddler) CreateRefreshTokenSession(ctx context.Context, signature, access string, request fosite.Requester) error {
	if err := m.happens("CreateRefreshTokenSession"); err != nil {
		return err
	}
	m.refresh = signature
	return m.MemoryStore.CreateRefreshTokenSession(ctx, signature, access, request)
}

func (m *meddler) RevokeClientGrants(ctx context.Context, id string) error {
	if err := m.happens("RevokeClientGrants"); err != nil {
		return err
	}
	if err := m.MemoryStore.RevokeClientGrants(ctx, id); err != nil {
		return err
	}
	return m.happens("RevokeClientGrants done")
}

// TestRevocationDuringTokenRequest: what a token request stores after its client's grants were
// revoked is taken back, whether it redeems a code or a refresh token (T36).
func TestRevocationDuringTokenRequest(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"code", "refresh_token"} {
		for _, how := range []string{"operator", "redirect_change"} {
			t.Run("T36/"+kind+"/"+how, func(t *testing.T) {
				t.Parallel()
				store := &meddler{MemoryStore: dcr.NewMemoryStore()}
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{RevokeOnRedirectChange: true}}})
				client := s.Register(t, dcrtest.Managed())
				credentials := dcrtest.Basic(client.ID(), client.Secret())
				form := dcrtest.CodeForm("", s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), dcrtest.RedirectURI)
				if kind == "refresh_token" {
					form = dcrtest.RefreshForm("", s.Form(t, "/oauth2/token", form, credentials).Text("refresh_token"))
				}
				store.at = "CreateRefreshTokenSession"
				store.meddle = func() error {
					if how == "operator" {
						return s.Provider.RevokeTokens(context.Background(), client.ID())
					}
					moved := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "redirect_uris", []string{dcrtest.RedirectURI, "https://other.example/cb"}))
					require.Equal(t, http.StatusOK, moved.Status, moved.Body)
					return nil
				}
				answer := s.Form(t, "/oauth2/token", form, credentials)
				require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
				require.Equal(t, "invalid_grant", answer.Text("error"))
				require.Nil(t, store.meddle, "it happened")
				_, err := store.GetRefreshTokenSession(t.Context(), store.refresh, dcrtest.NewSession(""))
				require.Error(t, err, "what was stored after the removal does not live on")

				code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
				again := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), credentials)
				require.Equal(t, http.StatusOK, again.Status, "the client itself stays: %s", again.Body)
			})
		}
	}
}

// TestTakingBackIsOvertaken: an update that comes between a failed removal of grants and its
// taking back does not leave the redirect changed and the grants alive (T39).
func TestTakingBackIsOvertaken(t *testing.T) {
	t.Parallel()
	store := &meddler{MemoryStore: dcr.NewMemoryStore()}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Management: dcr.Management{RevokeOnRedirectChange: true, Token: dcr.RegistrationToken{KeepOnUpdate: true}},
	}})
	client := s.Register(t, dcrtest.Managed())
	tokens := dcrtest.SignIn(t, s, client)
	moved := dcrtest.Replacing(client, "redirect_uris", []string{"https://evil.example/cb"})
	store.at, store.meddle = "RevokeClientGrants", func() error {
		second := dcrtest.Replacing(client, "redirect_uris", []string{"https://evil.example/cb"}, "client_name", "Second")
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, second).Status)
		return errors.New("the disk was busy")
	}
	dcrtest.RequireFailure(t, s.Manage(t, http.MethodPut, client, moved), http.StatusInternalServerError)
	refresh := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.Basic(client.ID(), client.Secret()))
	require.NotEqual(t, http.StatusOK, refresh.Status, "T39")
	require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status)
}

// TestUpdatesOvertakeEachOther: two changes of redirect URIs at once leave a client that can
// manage itself, and a deletion in between leaves no entry behind (T34, T39).
func TestUpdatesOvertakeEachOther(t *testing.T) {
	t.Parallel()
	t.Run("T34/two_updates", func(t *testing.T) {
		t.Parallel()
		store := &meddler{MemoryStore: dcr.NewMemoryStore()}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
			Management: dcr.Management{RevokeOnRedirectChange: true, Token: dcr.RegistrationToken{Grace: time.Hour}},
		}})
		client := s.Register(t, dcrtest.Managed())
		var second dcrtest.Answer
		store.at, store.meddle = "RevokeClientGrants", func() error {
			second = s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "redirect_uris", []string{"https://two.example/cb"}, "client_name", "Two"))
			return nil
		}
		first := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "redirect_uris", []string{"https://one.example/cb"}))
		require.Equal(t, http.StatusOK, first.Status)
		require.Equal(t, http.StatusOK, second.Status)
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, second, nil).Status, "who came last has the token")
	})
	t.Run("T34/deletion", func(t *testing.T) {
		t.Parallel()
		memory := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Tokens: 1}))
		store := &meddler{MemoryStore: memory}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
			Management: dcr.Management{RevokeOnRedirectChange: true, Token: dcr.RegistrationToken{KeepOnUpdate: true}},
		}})
		client := s.Register(t, dcrtest.Managed())
		store.at, store.meddle = "RevokeClientGrants done", func() error {
			return s.Provider.DeleteClient(context.Background(), client.ID())
		}
		s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "redirect_uris", []string{"https://other.example/cb"}))
		require.Equal(t, http.StatusCreated, s.Post(t, dcrtest.Managed()).Status, "T15: nothing of the client holds the room of one entry")
	})
}

// TestAllowedClientKeepsItsRoom: who was allowed this moment does not give way to strangers
// before its code is redeemed (LIFE-07).
func TestAllowedClientKeepsItsRoom(t *testing.T) {
	t.Parallel()
	s := startRoom(t, dcr.MemoryLimits{Clients: 3}, 0)
	client := s.Register(t, dcrtest.Managed())
	s.clock.Forward(11 * time.Minute)
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
	for range 5 {
		s.Post(t, dcrtest.Managed())
	}
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
}

// TestStrangersDoNotUseUpTotal: callers whom the rule refuses have a limit of their own, so
// that nobody without a token locks out those who have one (T15).
func TestStrangersDoNotUseUpTotal(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{CallersLimited: true, Config: dcr.Config{
		Access: dcr.InitialAccessTokens(), Limits: dcr.Limits{Rate: dcr.RateLimit{Total: dcr.Rate{Count: 70, Per: time.Hour}}},
	}})
	token, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	statuses := map[int]int{}
	for range 150 {
		statuses[s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer("junk")).Status]++
	}
	require.Less(t, statuses[http.StatusUnauthorized], 70, "%v", statuses)
	s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
}

// TestEventOfAnotherIssuer: a failed authentication at one issuer names no client of another
// (T41).
func TestEventOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	type issuer struct{}
	events := &dcrtest.Events{}
	provider, err := (&dcrtest.Server{URL: "https://a.example"}).Compose(dcrtest.Setup{Config: dcr.Config{Events: events, Endpoints: dcr.Endpoints{Issuer: func(ctx context.Context) string {
		if other, ok := ctx.Value(issuer{}).(string); ok {
			return other
		}
		return "https://a.example"
	}}}})
	require.NoError(t, err)
	request := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(dcrtest.PlainRegistration))
	request.Header.Set("Content-Type", "application/json")
	provider.RegistrationHandler().ServeHTTP(httptest.NewRecorder(), request)
	id := events.TakeOne(t).ClientID
	for name, at := range map[string]struct{ issuer, names string }{"own": {"https://a.example", id}, "other": {"https://b.example", ""}} {
		ctx := context.WithValue(context.Background(), issuer{}, at.issuer)
		request = httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(id, "wrong")
		_, err = provider.NewAccessRequest(ctx, request, dcrtest.NewSession(""))
		require.Error(t, err)
		require.Equal(t, at.names, events.TakeOne(t).ClientID, "T41/%s", name)
	}
}

// TestPlainPKCEByPolicy: what a policy requires is S256, whatever is allowed to public clients
// (PKCE-01).
func TestPlainPKCEByPolicy(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{
		Fosite: func(c *fosite.Config) { c.EnablePKCEPlainChallengeMethod = true },
		Config: dcr.Config{Authorization: dcr.Authorization{AllowPlainPKCE: true}, Policies: []dcr.Policy{policy.RequirePKCE()}},
	})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge", dcrtest.Verifier, "code_challenge_method", "plain")
	dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_request")
}
