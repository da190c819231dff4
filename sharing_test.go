package dcr_test

import (
	"context"
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
)

// sharingServer answers identical registrations with one client.
type sharingServer struct {
	*dcrtest.Server
	store  *watchedStore
	clock  *movableClock
	events *noted
}

func startSharing(t testing.TB, edit ...func(*dcrtest.Setup)) *sharingServer {
	t.Helper()
	s := &sharingServer{store: newWatchedStore(), clock: new(movableClock), events: &noted{}}
	setup := dcrtest.Setup{
		Storage: s.store, UnusedEnd: true,
		Config: dcr.Config{ShareIdentical: true, Now: s.clock.now, Events: s.events},
	}
	for _, e := range edit {
		e(&setup)
	}
	s.Server = dcrtest.Start(t, setup)
	return s
}

const sharedRedirect = "http://127.0.0.1/callback"

// shareable is what a tool registers each time that it starts.
func shareable(pairs ...any) members {
	m := members{
		"client_name": "Tool", "redirect_uris": []string{sharedRedirect}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// signInShared takes a user through the whole flow of a public client.
func signInShared(t testing.TB, s *dcrtest.Server, id string) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(id, sharedRedirect, "scope", "openid profile"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, sharedRedirect))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

// refreshed refreshes, and returns the answer whatever it is.
func refreshed(t testing.TB, s *dcrtest.Server, id string, tokens dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	return s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token")))
}

// records counts the clients in a storage.
func records(t testing.TB, store dcr.ClientLister) int {
	t.Helper()
	found, err := store.CountClients(context.Background(), dcr.ClientFilter{}, 1_000_000)
	require.NoError(t, err)
	return found
}

// kindsOf are the kinds of events, in order.
func kindsOf(events []dcr.Event) []dcr.EventKind {
	kinds := make([]dcr.EventKind, len(events))
	for i, event := range events {
		kinds[i] = event.Kind
	}
	return kinds
}

// TestShareIdentical: what is alike gets one client, which nobody is given power over.
func TestShareIdentical(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	first := s.Register(t, shareable())
	require.Equal(t, dcr.EventRegistered, s.events.takeOne(t).Kind)
	same := []any{
		shareable(), shareable("unknown", "ignored"), shareable("client_id", "chosen"), shareable("response_types", []string{"code"}),
		shareable("registration_access_token", "chosen", "client_secret", "chosen"),
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
		event := s.events.takeOne(t)
		require.Equal(t, dcr.EventShared, event.Kind)
		require.Equal(t, first.ID(), event.ClientID)
		require.True(t, event.After.Shared)
	}
	require.Equal(t, 1, records(t, s.store), "T15: forty-three registrations leave one record")
}

// TestShareOnlyIdentical: what differs in anything that is registered is another client,
// and what has a secret or somebody to answer for it is its own.
func TestShareOnlyIdentical(t *testing.T) {
	t.Parallel()
	t.Run("T15/differs", func(t *testing.T) {
		t.Parallel()
		s := startSharing(t, func(setup *dcrtest.Setup) { setup.Config.ExtensionMembers = []string{"extra"} })
		seen := map[string]bool{}
		for _, metadata := range []members{
			shareable(), shareable("redirect_uris", []string{"http://127.0.0.1:7777/callback"}), shareable("client_name", "Tool 2"),
			shareable("client_name", "tool"), shareable("scope", "openid"), shareable("client_name#ja", "Tool"), shareable("extra", 1),
			shareable("extra", "1"), shareable("contacts", []string{"a@app.example"}), shareable("software_version", "2"),
			shareable("redirect_uris", []string{sharedRedirect, "http://127.0.0.1/other"}),
			shareable("redirect_uris", []string{"http://127.0.0.1/other", sharedRedirect}),
			shareable("application_type", "native"), shareable("grant_types", []string{"authorization_code"}),
			shareable("client_name", "Tool\\", "software_id", "x"), shareable("client_name", "Tool", "software_id", "\\x"),
		} {
			id := s.Register(t, metadata).ID()
			require.False(t, seen[id], metadata)
			seen[id] = true
		}
	})
	own := func(name string, metadata members, edit func(*dcrtest.Setup), send func(*sharingServer) dcrtest.Edit) {
		t.Run("T15/own/"+name, func(t *testing.T) {
			t.Parallel()
			s := startSharing(t, edit)
			one, other := s.Register(t, metadata, send(s)), s.Register(t, metadata, send(s))
			require.NotEqual(t, one.ID(), other.ID())
			require.NotEmpty(t, one.Token())
			require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, one, nil).Status)
			require.False(t, clientOf(t, s.store, one.ID()).Shared)
		})
	}
	plain, none := func(*sharingServer) dcrtest.Edit { return func(*http.Request) {} }, func(*dcrtest.Setup) {}
	own("confidential", shareable("token_endpoint_auth_method", "client_secret_basic"), none, plain)
	own("by_default", managed(), none, plain)
	own("known", shareable(), vouched, plain)
	own("initial_access_token", shareable(), func(setup *dcrtest.Setup) { setup.Config.Access = dcr.InitialAccessTokens() },
		func(s *sharingServer) dcrtest.Edit {
			token, _ := mint(t, s.Server, dcr.InitialAccessTokenRequest{})
			return dcrtest.Bearer(token)
		})
	own("not_configured", shareable(), func(setup *dcrtest.Setup) { setup.Config.ShareIdentical = false }, plain)
}

func TestShareParallel(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*dcrtest.Setup){
		"T15/new":          func(*dcrtest.Setup) {},
		"T15/for_ever":     func(setup *dcrtest.Setup) { setup.Config.Lifecycle.Unused = -1 },
		"T15/transactions": func(setup *dcrtest.Setup) { setup.Storage = &transactional{watchedStore: newWatchedStore()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSharing(t, edit)
			ids := map[string]bool{}
			for round := range 2 { // in the second the client is renewed by all of them
				for _, answer := range allAtOnce(50, func(int) dcrtest.Answer { return s.Post(t, shareable()) }) {
					require.Equal(t, http.StatusCreated, answer.Status, "round %d: %s", round, answer.Body)
					ids[answer.ID()] = true
				}
				s.clock.forward(10 * time.Minute)
			}
			require.Len(t, ids, 1)
			if name != "T15/transactions" {
				require.Equal(t, 1, records(t, s.store))
			}
		})
	}
}

// TestShareRenews: each registration gives the client the time to be used that its own
// client would have; one that is used is left alone (LIFE-01).
func TestShareRenews(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	id := s.Register(t, shareable()).ID()
	created := clientOf(t, s.store, id)
	for range 5 {
		s.clock.forward(50 * time.Minute)
		require.Equal(t, id, s.Register(t, shareable()).ID())
		now := clientOf(t, s.store, id)
		require.WithinRange(t, now.UnusedUntil, s.clock.now().Add(59*time.Minute), s.clock.now().Add(time.Hour))
		require.Equal(t, created.CreatedAt.Unix(), now.CreatedAt.Unix(), "LIFE-01: renewed, not made anew")
	}
	signInShared(t, s.Server, id)
	used := clientOf(t, s.store, id)
	s.clock.forward(50 * time.Minute)
	calls := s.store.during(func() { require.Equal(t, id, s.Register(t, shareable()).ID()) })
	require.Equal(t, []string{"GetDynamicClient"}, calls)
	require.Equal(t, used.Version, clientOf(t, s.store, id).Version)
	s.clock.forward(100 * time.Hour)
	require.Equal(t, id, s.Register(t, shareable()).ID())
	require.Equal(t, 1, records(t, s.store))
}

// TestShareAnew: a client that has ended, or that an operator removed, is registered anew;
// what it was granted stays dead (T36, T37).
func TestShareAnew(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		lifecycle dcr.Lifecycle
		unused    bool
		end       func(t *testing.T, s *sharingServer, id string)
		expired   bool
	}{
		"unused":  {dcr.Lifecycle{}, true, func(_ *testing.T, s *sharingServer, _ string) { s.clock.forward(2 * time.Hour) }, true},
		"idle":    {dcr.Lifecycle{Idle: time.Hour}, false, func(_ *testing.T, s *sharingServer, _ string) { s.clock.forward(60 * 24 * time.Hour) }, true},
		"maximum": {dcr.Lifecycle{Maximum: time.Hour}, false, func(_ *testing.T, s *sharingServer, _ string) { s.clock.forward(2 * time.Hour) }, true},
		"operator_ends": {dcr.Lifecycle{}, false, func(t *testing.T, s *sharingServer, id string) {
			require.NoError(t, s.Provider.ExpireClient(t.Context(), id))
		}, true},
		"operator_deletes": {dcr.Lifecycle{}, false, func(t *testing.T, s *sharingServer, id string) {
			require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
		}, false},
	} {
		t.Run("T37/"+name, func(t *testing.T) {
			t.Parallel()
			s := startSharing(t, func(setup *dcrtest.Setup) { setup.Config.Lifecycle = row.lifecycle })
			id := s.Register(t, shareable()).ID()
			before := clientOf(t, s.store, id)
			code := s.Code(t, dcrtest.AuthorizeQuery(id, sharedRedirect))
			var tokens dcrtest.Answer
			if !row.unused {
				tokens = signInShared(t, s.Server, id)
			}
			row.end(t, s, id)
			s.events.take()

			require.Equal(t, id, s.Register(t, shareable()).ID())
			want := []dcr.EventKind{dcr.EventRegistered}
			if row.expired {
				want = []dcr.EventKind{dcr.EventExpired, dcr.EventRegistered}
			}
			require.Equal(t, want, kindsOf(s.events.take()))
			now := clientOf(t, s.store, id)
			require.True(t, now.CreatedAt.After(before.CreatedAt))
			if row.unused || name == "operator_deletes" {
				require.True(t, now.LastUsedAt.IsZero())
			} else { // a record that is taken up counts as used today
				require.Equal(t, now.CreatedAt, now.LastUsedAt)
			}
			answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, sharedRedirect))
			require.Equal(t, "invalid_grant", answer.Text("error"), answer.Body)
			if !row.unused {
				require.Equal(t, "invalid_grant", refreshed(t, s.Server, id, tokens).Text("error"), "T36: the grants of the old one")
			}
			signInShared(t, s.Server, id)
		})
	}
}

// TestShareAnewWithoutRevoker: a client with the identifier of one that was removed gets
// none of its grants, also where the storage could not remove them (T36).
func TestShareAnewWithoutRevoker(t *testing.T) {
	t.Parallel()
	revive := func(t *testing.T, s *sharingServer, fail func()) {
		id := s.Register(t, shareable()).ID()
		tokens := signInShared(t, s.Server, id)
		fail()
		require.NoError(t, s.Provider.DeleteClient(t.Context(), id))
		require.Equal(t, http.StatusUnauthorized, refreshed(t, s.Server, id, tokens).Status, "T36: dead with its client")
		again := s.Post(t, shareable())
		if again.Status != http.StatusCreated {
			requireFailure(t, again, http.StatusInternalServerError) // the identifier can't be given out again yet
			return
		}
		answer := refreshed(t, s.Server, again.ID(), tokens)
		require.NotEqual(t, http.StatusOK, answer.Status, "T36: alive again with the next one")
	}
	t.Run("T36/storage_can_not", func(t *testing.T) {
		t.Parallel()
		setup := dcrtest.Setup{
			UnusedEnd: true, Config: dcr.Config{ShareIdentical: true},
			Storage: unrevokingStore{dcr.NewMemoryStore()},
		}
		if _, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(setup); err != nil {
			require.ErrorContains(t, err, "GrantRevoker")
			return
		}
		revive(t, &sharingServer{Server: dcrtest.Start(t, setup)}, func() {})
	})
	t.Run("T36/storage_failed", func(t *testing.T) {
		t.Parallel()
		s := startSharing(t)
		revive(t, s, func() { s.store.set(failCall("RevokeClientGrants")) })
	})
}

// unrevokingStore hides RevokeClientGrants by a method of another form.
type unrevokingStore struct{ *dcr.MemoryStore }

func (unrevokingStore) RevokeClientGrants() {}

// TestShareAcrossProcesses: servers with one secret and one storage agree on the
// identifier; another secret or another issuer means another (LIFE-06, T41).
func TestShareAcrossProcesses(t *testing.T) {
	t.Parallel()
	store := newWatchedStore()
	start := func(issuer, secret string) *sharingServer {
		return startSharing(t, func(setup *dcrtest.Setup) {
			setup.Storage = store
			setup.Fosite = func(c *fosite.Config) {
				c.AccessTokenIssuer, c.GlobalSecret = issuer, []byte("a secret of thirty-two bytes, or "+secret)
			}
		})
	}
	one, two := start("https://as.example", "more"), start("https://as.example", "more")
	id := one.Register(t, shareable()).ID()
	require.Equal(t, id, two.Register(t, shareable()).ID(), "LIFE-06")
	tokens := signInShared(t, one.Server, id)
	require.Equal(t, http.StatusOK, refreshed(t, two.Server, id, tokens).Status)

	require.NotEqual(t, id, start("https://as.example", "else").Register(t, shareable()).ID())
	other := start("https://other.example", "more")
	require.NotEqual(t, id, other.Register(t, shareable()).ID(), "T41")
	_, err := other.Provider.Store.GetClient(t.Context(), id)
	require.ErrorIs(t, err, fosite.ErrNotFound, "T41")
	require.Equal(t, 3, records(t, store))
}

// TestShareUnmanaged: what many use none of them can manage, whatever token they bring.
func TestShareUnmanaged(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	id, own := s.Register(t, shareable()).ID(), s.Register(t, managed())
	tokens := signInShared(t, s.Server, id)
	for name, token := range map[string]string{
		"access_token": tokens.Text("access_token"), "refresh_token": tokens.Text("refresh_token"), "other": own.Token(), "garbage": "x.y",
		"identifier": id,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			body, err := json.Marshal(shareable("client_id", id, "redirect_uris", []string{"https://evil.example/cb"}))
			require.NoError(t, err)
			answer := s.Do(t, method, "/register/"+id, body, dcrtest.Bearer(token), dcrtest.Header("Content-Type", "application/json"))
			t.Run(fmt.Sprintf("T03/%s/%s", method, name), func(t *testing.T) { requireUniformRefusal(t, answer) })
		}
	}
	require.Equal(t, http.StatusUnauthorized, s.Do(t, http.MethodDelete, "/register/"+id, nil).Status)
	require.Equal(t, []string{sharedRedirect}, clientOf(t, s.store, id).Metadata.RedirectURIs)
	require.Equal(t, http.StatusOK, refreshed(t, s.Server, id, tokens).Status)
}

// TestShareUsersApart: users of one shared client have grants of their own.
func TestShareUsersApart(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	s.store.AddClient(operatorsOwn(t))
	id := s.Register(t, shareable()).ID()
	require.Equal(t, id, s.Register(t, shareable()).ID())
	alice, bob := signInShared(t, s.Server, id), signInShared(t, s.Server, id)
	active := func(tokens dcrtest.Answer) any {
		return introspected(t, s.Server, tokens.Text("access_token"))["active"]
	}

	revoked := s.Form(t, "/oauth2/revoke", url.Values{"token": {alice.Text("refresh_token")}, "client_id": {id}})
	require.Equal(t, http.StatusOK, revoked.Status, revoked.Body)
	require.Equal(t, false, active(alice))
	require.Equal(t, true, active(bob))
	bobAgain := refreshed(t, s.Server, id, bob)
	require.Equal(t, http.StatusOK, bobAgain.Status, bobAgain.Body)
	require.Equal(t, "invalid_grant", refreshed(t, s.Server, id, bob).Text("error"), "reuse ends bob's grant")
	carol := signInShared(t, s.Server, id)
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
	s := startSharing(t)
	id := s.Register(t, shareable()).ID()
	tokens := signInShared(t, s.Server, id)
	for range 3 {
		next := refreshed(t, s.Server, id, tokens)
		require.Equal(t, http.StatusOK, next.Status, next.Body)
		tokens = next
	}
	location := s.Authorize(t, dcrtest.AuthorizeQuery(id, sharedRedirect, "code_challenge", "", "code_challenge_method", "")).Location(t)
	require.Equal(t, "invalid_request", location.Query().Get("error"))
	code := s.Code(t, dcrtest.AuthorizeQuery(id, sharedRedirect))
	form := dcrtest.CodeForm(id, code, sharedRedirect)
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
		"LIFE-07/short":      {dcr.Lifecycle{Young: 30 * time.Second}, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSharing(t, func(setup *dcrtest.Setup) {
				setup.Config.Lifecycle = row.lifecycle
				setup.Storage = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 2}))
			})
			id, other := s.Register(t, shareable()).ID(), s.Register(t, shareable("client_name", "Other")).ID()
			s.clock.forward(row.after)
			require.Equal(t, id, s.Register(t, shareable()).ID(), "somebody reads its consent page now")
			third := s.Register(t, shareable("client_name", "Third")).ID()
			for _, kept := range []string{id, third} {
				_, err := s.Provider.Store.GetClient(t.Context(), kept)
				require.NoError(t, err)
			}
			_, err := s.Provider.Store.GetClient(t.Context(), other)
			require.ErrorIs(t, err, fosite.ErrNotFound)
			require.Equal(t, http.StatusServiceUnavailable, s.Post(t, shareable("client_name", "Fourth")).Status)
			require.Equal(t, http.StatusCreated, s.Post(t, shareable()).Status, "what is there takes no room")
		})
	}
}

// TestShareAndPolicies: what a policy decides for a registration holds for the client that
// it is answered with, also where another registration came first.
func TestShareAndPolicies(t *testing.T) {
	t.Parallel()
	store := newWatchedStore()
	start := func(policies ...dcr.Policy) *sharingServer {
		return startSharing(t, func(setup *dcrtest.Setup) {
			setup.Storage, setup.Config.Policies = store, policies
			setup.Fosite = func(c *fosite.Config) { c.AccessTokenIssuer = "https://as.example" }
		})
	}
	start().Register(t, shareable())
	strict := start(dcr.AlwaysAskConsent())
	id := strict.Register(t, shareable()).ID()
	require.True(t, clientOf(t, store, id).AlwaysAskConsent, "T20: the host wants its users asked")
	short := start(dcr.Lifetime(time.Hour))
	id = short.Register(t, shareable()).ID()
	require.False(t, clientOf(t, store, id).ExpiresAt.IsZero(), "LIFE-01: the host wants it to end")
}
