package registration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestShareIdentical: what is alike gets one client, which nobody is given power over.
func TestShareIdentical(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	first := s.Register(t, dcrtest.Shareable())
	require.Equal(t, dcr.EventRegistered, s.Events.TakeOne(t).Kind)
	same := []any{
		dcrtest.Shareable(), dcrtest.Shareable("unknown", "ignored"), dcrtest.Shareable("client_id", "chosen"), dcrtest.Shareable("response_types", []string{"code"}),
		dcrtest.Shareable("registration_access_token", "chosen", "client_secret", "chosen"),
		`{ "scope" : "openid profile",
		  "grant_types":["authorization_code",  "refresh_token"], "token_endpoint_auth_method":"none",
		  "redirect_uris":["http:\/\/127.0.0.1\/callback"],"client_name":"\u0054ool" }`,
	}
	for i := range 42 {
		answer := s.Register(t, same[i%len(same)])
		require.Equal(t, first.Members, answer.Members, "T15: one client, told alike")
		for _, member := range []string{"registration_access_token", "registration_client_uri", "client_secret", "client_secret_expires_at"} {
			require.NotContains(t, answer.Members, member)
		}
		event := s.Events.TakeOne(t)
		require.Equal(t, dcr.EventShared, event.Kind)
		require.Equal(t, first.ID(), event.ClientID)
		require.True(t, event.After.Shared)
	}
	require.Equal(t, 1, dcrtest.CountRecords(t, s.Store), "T15: forty-three registrations leave one record")
}

// TestShareOnlyIdentical: what differs in anything that is registered is another client,
// and what has a secret or somebody to answer for it is its own.
func TestShareOnlyIdentical(t *testing.T) {
	t.Parallel()
	t.Run("T15/differs", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.StartSharing(t, func(setup *dcrtest.Setup) { setup.Config.Metadata.ExtensionMembers = []string{"extra"} })
		seen := map[string]bool{}
		for _, metadata := range []members{
			dcrtest.Shareable(), dcrtest.Shareable("redirect_uris", []string{"http://127.0.0.1:7777/callback"}), dcrtest.Shareable("client_name", "Tool 2"),
			dcrtest.Shareable("client_name", "tool"), dcrtest.Shareable("scope", "openid"), dcrtest.Shareable("client_name#ja", "Tool"), dcrtest.Shareable("extra", 1),
			dcrtest.Shareable("extra", "1"), dcrtest.Shareable("contacts", []string{"a@app.example"}), dcrtest.Shareable("software_version", "2"),
			dcrtest.Shareable("redirect_uris", []string{dcrtest.LoopbackURI, "http://127.0.0.1/other"}),
			dcrtest.Shareable("redirect_uris", []string{"http://127.0.0.1/other", dcrtest.LoopbackURI}),
			dcrtest.Shareable("application_type", "native"), dcrtest.Shareable("grant_types", []string{"authorization_code"}),
			dcrtest.Shareable("client_name", "Tool\\", "software_id", "x"), dcrtest.Shareable("client_name", "Tool", "software_id", "\\x"),
		} {
			id := s.Register(t, metadata).ID()
			require.False(t, seen[id], metadata)
			seen[id] = true
		}
	})
	own := func(name string, metadata members, edit func(*dcrtest.Setup), send func(*dcrtest.SharingServer) dcrtest.Edit) {
		t.Run("T15/own/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.StartSharing(t, edit)
			one, other := s.Register(t, metadata, send(s)), s.Register(t, metadata, send(s))
			require.NotEqual(t, one.ID(), other.ID())
			require.NotEmpty(t, one.Token())
			require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, one, nil).Status)
			require.False(t, dcrtest.RecordOf(t, s.Store, one.ID()).Shared)
		})
	}
	plain, none := func(*dcrtest.SharingServer) dcrtest.Edit { return func(*http.Request) {} }, func(*dcrtest.Setup) {}
	own("confidential", dcrtest.Shareable("token_endpoint_auth_method", "client_secret_basic"), none, plain)
	own("by_default", dcrtest.Managed(), none, plain)
	own("known", dcrtest.Shareable(), dcrtest.Vouched, plain)
	own("initial_access_token", dcrtest.Shareable(), func(setup *dcrtest.Setup) { setup.Config.Access = dcr.InitialAccessTokens() },
		func(s *dcrtest.SharingServer) dcrtest.Edit {
			token, _ := dcrtest.Mint(t, s.Server, dcr.InitialAccessTokenRequest{})
			return dcrtest.Bearer(token)
		})
	own("not_configured", dcrtest.Shareable(), func(setup *dcrtest.Setup) { setup.Config.Registration.ShareIdentical = false }, plain)
}

func TestShareParallel(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*dcrtest.Setup){
		"T15/new":      func(*dcrtest.Setup) {},
		"T15/for_ever": func(setup *dcrtest.Setup) { setup.Config.Lifecycle.Unused = -1 },
		"T15/transactions": func(setup *dcrtest.Setup) {
			setup.Storage = &dcrtest.TransactionalStore{WatchedStore: dcrtest.NewWatchedStore()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.StartSharing(t, edit)
			ids := map[string]bool{}
			for round := range 2 { // in the second the client is renewed by all of them
				for _, answer := range dcrtest.AllAtOnce(50, func(int) dcrtest.Answer { return s.Post(t, dcrtest.Shareable()) }) {
					require.Equal(t, http.StatusCreated, answer.Status, "round %d: %s", round, answer.Body)
					ids[answer.ID()] = true
				}
				s.Clock.Forward(10 * time.Minute)
			}
			require.Len(t, ids, 1)
			if name != "T15/transactions" {
				require.Equal(t, 1, dcrtest.CountRecords(t, s.Store))
			}
		})
	}
}

// TestShareRenews: each registration gives the client the time to be used that its own
// client would have; one that is used is left alone (LIFE-01).
func TestShareRenews(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	id := s.Register(t, dcrtest.Shareable()).ID()
	created := dcrtest.RecordOf(t, s.Store, id)
	for range 5 {
		s.Clock.Forward(50 * time.Minute)
		require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
		now := dcrtest.RecordOf(t, s.Store, id)
		require.WithinRange(t, now.UnusedUntil, s.Clock.Now().Add(59*time.Minute), s.Clock.Now().Add(time.Hour))
		require.Equal(t, created.CreatedAt.Unix(), now.CreatedAt.Unix(), "LIFE-01: renewed, not made anew")
	}
	dcrtest.SignInPublic(t, s.Server, id)
	used := dcrtest.RecordOf(t, s.Store, id)
	s.Clock.Forward(50 * time.Minute)
	calls := s.Store.During(func() { require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID()) })
	require.Equal(t, []string{"GetDynamicClient"}, calls)
	require.Equal(t, used.Version, dcrtest.RecordOf(t, s.Store, id).Version)
	s.Clock.Forward(100 * time.Hour)
	require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
	require.Equal(t, 1, dcrtest.CountRecords(t, s.Store))
}

// TestShareAnew: a client that has ended, or that an operator removed, is registered anew;
// what it was granted stays dead (T36, T37).
func TestShareAnew(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		lifecycle dcr.Lifecycle
		unused    bool
		end       func(t *testing.T, s *dcrtest.SharingServer, id string)
		expired   bool
	}{
		"unused":  {dcr.Lifecycle{}, true, func(_ *testing.T, s *dcrtest.SharingServer, _ string) { s.Clock.Forward(2 * time.Hour) }, true},
		"idle":    {dcr.Lifecycle{Idle: time.Hour}, false, func(_ *testing.T, s *dcrtest.SharingServer, _ string) { s.Clock.Forward(60 * 24 * time.Hour) }, true},
		"maximum": {dcr.Lifecycle{Maximum: time.Hour}, false, func(_ *testing.T, s *dcrtest.SharingServer, _ string) { s.Clock.Forward(2 * time.Hour) }, true},
		"operator_ends": {dcr.Lifecycle{}, false, func(t *testing.T, s *dcrtest.SharingServer, id string) {
			require.NoError(t, s.Provider.ExpireClient(t.Context(), id))
		}, true},
		"operator_deletes": {dcr.Lifecycle{}, false, func(t *testing.T, s *dcrtest.SharingServer, id string) {
			require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
		}, false},
	} {
		t.Run("T37/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.StartSharing(t, func(setup *dcrtest.Setup) { setup.Config.Lifecycle = row.lifecycle })
			id := s.Register(t, dcrtest.Shareable()).ID()
			before := dcrtest.RecordOf(t, s.Store, id)
			code := s.Code(t, dcrtest.AuthorizeQuery(id, dcrtest.LoopbackURI))
			var tokens dcrtest.Answer
			if !row.unused {
				tokens = dcrtest.SignInPublic(t, s.Server, id)
			}
			row.end(t, s, id)
			s.Events.Take()

			require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
			want := []dcr.EventKind{dcr.EventRegistered}
			if row.expired {
				want = []dcr.EventKind{dcr.EventExpired, dcr.EventRegistered}
			}
			require.Equal(t, want, dcrtest.KindsOf(s.Events.Take()))
			now := dcrtest.RecordOf(t, s.Store, id)
			require.True(t, now.CreatedAt.After(before.CreatedAt))
			if row.unused || name == "operator_deletes" {
				require.True(t, now.LastUsedAt.IsZero())
			} else { // a record that is taken up counts as used today
				require.Equal(t, now.CreatedAt, now.LastUsedAt)
			}
			answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, dcrtest.LoopbackURI))
			require.Equal(t, "invalid_grant", answer.Text("error"), answer.Body)
			if !row.unused {
				require.Equal(t, "invalid_grant", dcrtest.Refresh(t, s.Server, id, tokens).Text("error"), "T36: the grants of the old one")
			}
			dcrtest.SignInPublic(t, s.Server, id)
		})
	}
}

// TestShareAnewWithoutRevoker: a client with the identifier of one that was removed gets
// none of its grants: a storage that can't remove them shares no clients, and while it fails to the
// identifier is not given out again (T36).
func TestShareAnewWithoutRevoker(t *testing.T) {
	t.Parallel()
	t.Run("T36/storage_can_not", func(t *testing.T) {
		t.Parallel()
		_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{
			UnusedEnd: true, Config: dcr.Config{Registration: dcr.Registration{ShareIdentical: true}},
			Storage: dcrtest.UnrevokingStore{MemoryStore: dcr.NewMemoryStore()},
		})
		require.ErrorContains(t, err, "GrantRevoker")
	})
	t.Run("T36/storage_failed", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.StartSharing(t)
		id := s.Register(t, dcrtest.Shareable()).ID()
		tokens := dcrtest.SignInPublic(t, s.Server, id)
		s.Store.Watch(dcrtest.FailCall("RevokeClientGrants"))
		require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
		require.Equal(t, http.StatusUnauthorized, dcrtest.Refresh(t, s.Server, id, tokens).Status, "T36: dead with its client")
		dcrtest.RequireFailure(t, s.Post(t, dcrtest.Shareable()), http.StatusInternalServerError) // the grants are still there
		s.Store.Watch(nil)
		require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
		require.Equal(t, "invalid_grant", dcrtest.Refresh(t, s.Server, id, tokens).Text("error"), "T36: not alive again with the next one")
	})
}

// TestShareAcrossProcesses: servers with one secret and one storage agree on the
// identifier; another secret or another issuer means another (LIFE-06, T41).
func TestShareAcrossProcesses(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	start := func(issuer, secret string) *dcrtest.SharingServer {
		return dcrtest.StartSharing(t, func(setup *dcrtest.Setup) {
			setup.Storage = store
			setup.Fosite = func(c *fosite.Config) {
				c.AccessTokenIssuer, c.GlobalSecret = issuer, []byte("a secret of thirty-two bytes, or "+secret)
			}
		})
	}
	one, two := start("https://as.example", "more"), start("https://as.example", "more")
	id := one.Register(t, dcrtest.Shareable()).ID()
	require.Equal(t, id, two.Register(t, dcrtest.Shareable()).ID(), "LIFE-06")
	tokens := dcrtest.SignInPublic(t, one.Server, id)
	require.Equal(t, http.StatusOK, dcrtest.Refresh(t, two.Server, id, tokens).Status)

	require.NotEqual(t, id, start("https://as.example", "else").Register(t, dcrtest.Shareable()).ID())
	other := start("https://other.example", "more")
	require.NotEqual(t, id, other.Register(t, dcrtest.Shareable()).ID(), "T41")
	_, err := other.Provider.Store.GetClient(t.Context(), id)
	require.ErrorIs(t, err, fosite.ErrNotFound, "T41")
	require.Equal(t, 3, dcrtest.CountRecords(t, store))
}

// TestShareUnmanaged: what many use none of them can manage, whatever token they bring.
func TestShareUnmanaged(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	id, own := s.Register(t, dcrtest.Shareable()).ID(), s.Register(t, dcrtest.Managed())
	tokens := dcrtest.SignInPublic(t, s.Server, id)
	for name, token := range map[string]string{
		"access_token": tokens.Text("access_token"), "refresh_token": tokens.Text("refresh_token"), "other": own.Token(), "garbage": "x.y",
		"identifier": id,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			body, err := json.Marshal(dcrtest.Shareable("client_id", id, "redirect_uris", []string{"https://evil.example/cb"}))
			require.NoError(t, err)
			answer := s.Do(t, method, "/register/"+id, body, dcrtest.Bearer(token), dcrtest.Header("Content-Type", "application/json"))
			t.Run(fmt.Sprintf("T03/%s/%s", method, name), func(t *testing.T) { dcrtest.RequireUniformRefusal(t, answer) })
		}
	}
	require.Equal(t, http.StatusUnauthorized, s.Do(t, http.MethodDelete, "/register/"+id, nil).Status)
	require.Equal(t, []string{dcrtest.LoopbackURI}, dcrtest.RecordOf(t, s.Store, id).Metadata.RedirectURIs)
	require.Equal(t, http.StatusOK, dcrtest.Refresh(t, s.Server, id, tokens).Status)
}

// TestShareUsersApart: users of one shared client have grants of their own.
func TestShareUsersApart(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	s.Store.AddClient(dcrtest.Introspector(t))
	id := s.Register(t, dcrtest.Shareable()).ID()
	require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
	alice, bob := dcrtest.SignInPublic(t, s.Server, id), dcrtest.SignInPublic(t, s.Server, id)
	active := func(tokens dcrtest.Answer) any {
		return dcrtest.Introspected(t, s.Server, tokens.Text("access_token"))["active"]
	}

	revoked := s.Form(t, "/oauth2/revoke", url.Values{"token": {alice.Text("refresh_token")}, "client_id": {id}})
	require.Equal(t, http.StatusOK, revoked.Status, revoked.Body)
	require.Equal(t, false, active(alice))
	require.Equal(t, true, active(bob))
	bobAgain := dcrtest.Refresh(t, s.Server, id, bob)
	require.Equal(t, http.StatusOK, bobAgain.Status, bobAgain.Body)
	require.Equal(t, "invalid_grant", dcrtest.Refresh(t, s.Server, id, bob).Text("error"), "reuse ends bob's grant")
	carol := dcrtest.SignInPublic(t, s.Server, id)
	require.Equal(t, true, active(carol))

	// A public client can't authenticate, and so it asks about nobody's tokens.
	for _, edit := range []dcrtest.Edit{dcrtest.Basic(id, ""), dcrtest.Basic(id, "x"), func(*http.Request) {}} {
		answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {carol.Text("access_token")}, "client_id": {id}}, edit)
		require.NotEqual(t, true, answer.Members["active"], "INTRO-01: %s", answer.Body)
	}
}

// TestShareFlow: a shared client signs users in as any public client does, PKCE included.
func TestShareFlow(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t)
	id := s.Register(t, dcrtest.Shareable()).ID()
	tokens := dcrtest.SignInPublic(t, s.Server, id)
	for range 3 {
		next := dcrtest.Refresh(t, s.Server, id, tokens)
		require.Equal(t, http.StatusOK, next.Status, next.Body)
		tokens = next
	}
	location := s.Authorize(t, dcrtest.AuthorizeQuery(id, dcrtest.LoopbackURI, "code_challenge", "", "code_challenge_method", "")).Location(t)
	require.Equal(t, "invalid_request", location.Query().Get("error"))
	code := s.Code(t, dcrtest.AuthorizeQuery(id, dcrtest.LoopbackURI))
	form := dcrtest.CodeForm(id, code, dcrtest.LoopbackURI)
	form.Set("code_verifier", "another-code-verifier-of-more-than-forty-three")
	require.Equal(t, "invalid_grant", s.Form(t, "/oauth2/token", form).Text("error"))
	require.Equal(t, http.StatusBadRequest, s.Authorize(t, dcrtest.AuthorizeQuery(id, "https://evil.example/cb")).Status)
}

// TestShareAndRoom: at the bound a client that was registered once more is as young as any
// other of that moment (LIFE-07).
func TestShareAndRoom(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		lifecycle dcr.Lifecycle
		after     time.Duration
	}{
		"LIFE-07/by_default": {dcr.Lifecycle{}, 11 * time.Minute},
		"LIFE-07/for_ever":   {dcr.Lifecycle{Unused: -1}, 11 * time.Minute},
		"LIFE-07/short":      {dcr.Lifecycle{EvictionGrace: 30 * time.Second}, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.StartSharing(t, func(setup *dcrtest.Setup) {
				setup.Config.Lifecycle = row.lifecycle
				setup.Storage = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 2}))
			})
			id, other := s.Register(t, dcrtest.Shareable()).ID(), s.Register(t, dcrtest.Shareable("client_name", "Other")).ID()
			s.Clock.Forward(row.after)
			require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID(), "somebody reads its consent page now")
			third := s.Register(t, dcrtest.Shareable("client_name", "Third")).ID()
			for _, kept := range []string{id, third} {
				_, err := s.Provider.Store.GetClient(t.Context(), kept)
				require.NoError(t, err)
			}
			_, err := s.Provider.Store.GetClient(t.Context(), other)
			require.ErrorIs(t, err, fosite.ErrNotFound)
			require.Equal(t, http.StatusServiceUnavailable, s.Post(t, dcrtest.Shareable("client_name", "Fourth")).Status)
			require.Equal(t, http.StatusCreated, s.Post(t, dcrtest.Shareable()).Status, "what is there takes no room")
		})
	}
}

// TestShareAndPolicies: what a policy decides for a registration holds for the client that
// it is answered with, also where another registration came first.
func TestShareAndPolicies(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	start := func(policies ...dcr.Policy) *dcrtest.SharingServer {
		return dcrtest.StartSharing(t, func(setup *dcrtest.Setup) {
			setup.Storage, setup.Config.Policies = store, policies
			setup.Fosite = func(c *fosite.Config) { c.AccessTokenIssuer = "https://as.example" }
		})
	}
	start().Register(t, dcrtest.Shareable())
	strict := start(policy.AlwaysAskConsent())
	id := strict.Register(t, dcrtest.Shareable()).ID()
	require.True(t, dcrtest.RecordOf(t, store, id).AlwaysAskConsent, "T20: the host wants its users asked")
	short := start(policy.Lifetime(time.Hour))
	id = short.Register(t, dcrtest.Shareable()).ID()
	require.False(t, dcrtest.RecordOf(t, store, id).ExpiresAt.IsZero(), "LIFE-01: the host wants it to end")
}
