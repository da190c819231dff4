package management_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// requireUnmixed: what is registered is one of the updates that succeeded, whole.
func requireUnmixed(t *testing.T, now dcrtest.Answer, won []dcrtest.Answer) {
	t.Helper()
	for _, answer := range won {
		if answer.Text("client_name") != now.Text("client_name") {
			continue
		}
		for _, member := range []string{"software_version", "client_uri", "redirect_uris"} {
			require.Equal(t, answer.Members[member], now.Members[member], member)
		}
		return
	}
	require.Fail(t, "not one of the updates that succeeded", now.Body)
}

// TestParallelUpdates: exactly one update wins a version, nothing is mixed, and exactly
// one token is alive in the end (7592-2.2-08, T32).
func TestParallelUpdates(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		tokens dcr.RegistrationToken
		lost   []int // the statuses of an update that lost
		wins   func(int) bool
	}{
		"rotation_on":  {dcr.RegistrationToken{}, []int{401}, func(n int) bool { return n == 1 }},
		"rotation_off": {dcr.RegistrationToken{KeepOnUpdate: true}, []int{503}, func(n int) bool { return n >= 1 }},
		"grace":        {dcr.RegistrationToken{Grace: time.Hour}, []int{401, 503}, func(n int) bool { return n >= 1 }},
	}
	for name, row := range rows {
		t.Run("7592-2.2-08/"+name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewWatchedStore()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{Token: row.tokens}}})
			client := s.Register(t, dcrtest.Managed())
			answers := dcrtest.AllAtOnce(32, func(i int) dcrtest.Answer { return s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, i)) })
			var won []dcrtest.Answer
			issued := map[string]bool{}
			for _, answer := range answers {
				if answer.Status == http.StatusOK {
					won = append(won, answer)
					issued[answer.Token()] = true
					continue
				}
				require.Contains(t, row.lost, answer.Status, answer.Body)
				requireLost(t, answer)
			}
			require.True(t, row.wins(len(won)), "%d succeeded", len(won))
			record, err := store.GetDynamicClient(t.Context(), client.ID())
			require.NoError(t, err)
			require.EqualValues(t, 1+len(won), record.Version, "one version each")
			requireOneAlive(t, s, client, issued, row.tokens.Grace > 0)
			require.Len(t, store.Stored(), 1, "the new token was used, so nothing else is left")
			for token := range issued {
				if dcrtest.TokenWorks(t, s, client, token) {
					requireUnmixed(t, s.Do(t, "GET", client.URI(), nil, dcrtest.Bearer(token)), won)
				}
			}
		})
	}
}

func requireLost(t *testing.T, answer dcrtest.Answer) {
	t.Helper()
	if answer.Status == http.StatusServiceUnavailable {
		dcrtest.RequireError(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable")
		require.NotEmpty(t, answer.Header.Get("Retry-After"))
		return
	}
	dcrtest.RequireUniformRefusal(t, answer)
}

// requireOneAlive: of the tokens that were issued one works; the first one works beside
// it during a grace.
func requireOneAlive(t *testing.T, s *dcrtest.Server, client dcrtest.Answer, issued map[string]bool, grace bool) {
	t.Helper()
	if !issued[client.Token()] {
		require.Equal(t, grace, dcrtest.TokenWorks(t, s, client, client.Token()))
	}
	alive := 0
	for token := range issued {
		if dcrtest.TokenWorks(t, s, client, token) {
			alive++
		}
	}
	require.Equal(t, 1, alive)
}

// TestParallelRotatingReads: reads that rotate are no different (T32).
func TestParallelRotatingReads(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{RotateOnRead: true}}}})
	client := s.Register(t, dcrtest.Managed())
	won := 0
	for _, answer := range dcrtest.AllAtOnce(32, func(int) dcrtest.Answer { return s.Manage(t, "GET", client, nil) }) {
		if answer.Status == http.StatusOK {
			won++
			client.Members["registration_access_token"] = answer.Token()
			continue
		}
		dcrtest.RequireUniformRefusal(t, answer)
	}
	require.Equal(t, 1, won)
	require.Len(t, store.Stored(), 1)
	require.Equal(t, http.StatusOK, s.Manage(t, "GET", client, nil).Status)
}

// overtaken lets something happen right before a call of the storage, once.
func overtaken(s *dcrtest.WatchedStore, call string, happens func()) {
	var once sync.Once
	s.Watch(func(_ context.Context, name string, do func() error) error {
		if name == call {
			once.Do(func() {
				s.Watch(nil)
				happens()
			})
		}
		return do()
	})
}

func startWatched(t *testing.T, tokens dcr.RegistrationToken) (*dcrtest.WatchedStore, *dcrtest.Server, dcrtest.Answer) {
	t.Helper()
	store := dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{Token: tokens}}})
	return store, s, s.Register(t, dcrtest.Managed())
}

// TestOvertakenUpdate has each interleaving of an update with another request once, in
// a fixed order (7592-2.2-08, 7592-2.3-04, T32, T33).
func TestOvertakenUpdate(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"CreateAccessTokenSession", "UpdateClient"} {
		t.Run("7592-2.2-08/rotation_on/"+call, func(t *testing.T) {
			t.Parallel()
			store, s, client := startWatched(t, dcr.RegistrationToken{})
			var first dcrtest.Answer
			overtaken(store, call, func() { first = s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 1)) })
			dcrtest.RequireUniformRefusal(t, s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 2)))
			require.Equal(t, http.StatusOK, first.Status, first.Body)
			require.Equal(t, "Update 1", s.Manage(t, "GET", first, nil).Text("client_name"))
			require.Len(t, store.Stored(), 1)
		})
		t.Run("7592-2.3-04/deleted/"+call, func(t *testing.T) {
			t.Parallel()
			store, s, client := startWatched(t, dcr.RegistrationToken{})
			var deleted dcrtest.Answer
			overtaken(store, call, func() { deleted = s.Manage(t, "DELETE", client, nil) })
			dcrtest.RequireUniformRefusal(t, s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 2)))
			require.Equal(t, http.StatusNoContent, deleted.Status, deleted.Body)
			_, err := store.GetDynamicClient(t.Context(), client.ID())
			require.ErrorIs(t, err, fosite.ErrNotFound, "T33")
			require.Empty(t, store.Stored(), "no entry of a client that is gone")
		})
	}
	t.Run("7592-2.2-08/rotation_off", func(t *testing.T) {
		t.Parallel()
		store, s, client := startWatched(t, dcr.RegistrationToken{KeepOnUpdate: true})
		var first dcrtest.Answer
		overtaken(store, "UpdateClient", func() { first = s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 1)) })
		second := s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 2))
		require.Equal(t, http.StatusOK, first.Status, first.Body)
		require.Equal(t, http.StatusOK, second.Status, "it starts over, and the last wins")
		requireUnmixed(t, s.Manage(t, "GET", client, nil), []dcrtest.Answer{second})
	})
	t.Run("7592-2.2-08/secret_of_both", func(t *testing.T) {
		t.Parallel()
		store, s, _ := startWatched(t, dcr.RegistrationToken{KeepOnUpdate: true})
		client := s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none"))
		var first dcrtest.Answer
		overtaken(store, "UpdateClient", func() { first = s.Manage(t, "PUT", client, dcrtest.Replacing(client)) })
		second := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
		require.Equal(t, http.StatusOK, second.Status, second.Body)
		require.NotEmpty(t, first.Secret())
		require.Empty(t, second.Secret(), "the client has one already")
		requireSecret(t, s, client, "client_secret_basic", first.Secret(), true)
	})
	t.Run("7592-2.3-01/ENTRY-01/rotated_while_deleting", func(t *testing.T) {
		t.Parallel()
		store, s, client := startWatched(t, dcr.RegistrationToken{})
		var updated dcrtest.Answer
		overtaken(store, "DeleteClient", func() { updated = s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 1)) })
		require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		require.Equal(t, http.StatusOK, updated.Status)
		dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", updated, nil))
		require.Empty(t, store.Stored())
	})
}

// TestLostRounds: an update that loses is tried three times (7592-2.2-08).
func TestLostRounds(t *testing.T) {
	t.Parallel()
	for _, tokens := range []dcr.RegistrationToken{{}, {KeepOnUpdate: true}} {
		for rounds := range 5 {
			t.Run(fmt.Sprintf("7592-2.2-08/keep=%v/lost=%d", tokens.KeepOnUpdate, rounds), func(t *testing.T) {
				t.Parallel()
				store := dcrtest.NewWatchedStore()
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{Token: tokens}}})
				client := s.Register(t, dcrtest.Managed())
				left := rounds
				store.Watch(func(_ context.Context, name string, do func() error) error {
					if name == "UpdateClient" && left > 0 {
						left--
						return fmt.Errorf("host: %w", dcr.ErrConflict)
					}
					return do()
				})
				answer := s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, 1))
				store.Watch(nil)
				if rounds < 3 {
					require.Equal(t, http.StatusOK, answer.Status, answer.Body)
					require.Equal(t, "Update 1", s.Manage(t, "GET", answer, nil).Text("client_name"))
				} else {
					require.Equal(t, http.StatusServiceUnavailable, answer.Status, answer.Body)
					requireLost(t, answer)
					require.Equal(t, "Managed", s.Manage(t, "GET", client, nil).Text("client_name"))
				}
				require.Len(t, store.Stored(), 1)
			})
		}
	}
}

// TestUpdateRacingDeletion: whoever is first, a client that was deleted stays so
// (7592-2.3-04, T33).
func TestUpdateRacingDeletion(t *testing.T) {
	t.Parallel()
	for name, tokens := range map[string]dcr.RegistrationToken{"rotation_on": {}, "rotation_off": {KeepOnUpdate: true}} {
		t.Run("7592-2.3-04/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: tokens}}})
			for range 1000 {
				client := s.Register(t, dcrtest.Managed())
				answers := dcrtest.AllAtOnce(2, func(i int) dcrtest.Answer {
					return s.Manage(t, []string{"PUT", "DELETE"}[i], client, dcrtest.NumberedUpdate(client, i))
				})
				requireRaceOutcome(t, s, client, answers[0], answers[1], tokens.KeepOnUpdate)
			}
		})
	}
}

func requireRaceOutcome(t *testing.T, s *dcrtest.Server, client, update, deletion dcrtest.Answer, kept bool) {
	t.Helper()
	_, err := s.Store.GetDynamicClient(t.Context(), client.ID())
	if deletion.Status != http.StatusNoContent {
		require.False(t, kept, "with a token that stays, the deletion can't lose")
		dcrtest.RequireUniformRefusal(t, deletion)
		require.Equal(t, http.StatusOK, update.Status, update.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, s.Manage(t, "GET", update, nil).Status)
		return
	}
	require.ErrorIs(t, err, fosite.ErrNotFound)
	dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", client, nil))
	if update.Status == http.StatusOK {
		dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", update, nil))
		return
	}
	dcrtest.RequireUniformRefusal(t, update)
}

// TestParallelDeletions: one is 204, the others get the uniform refusal (7592-2.3-01).
func TestParallelDeletions(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for range 20 {
		client := s.Register(t, dcrtest.Managed())
		done := 0
		for _, answer := range dcrtest.AllAtOnce(16, func(int) dcrtest.Answer { return s.Manage(t, "DELETE", client, nil) }) {
			if answer.Status == http.StatusNoContent {
				done++
				continue
			}
			dcrtest.RequireUniformRefusal(t, answer)
		}
		require.Equal(t, 1, done)
	}
}

// TestCancelledManagement: a request whose client is gone stops, and the handler
// returns (HTTP-04).
func TestCancelledManagement(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"GetDynamicClient", "GetAccessTokenSession", "CreateAccessTokenSession", "UpdateClient"} {
		t.Run("HTTP-04/"+call, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewWatchedStore()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			client := s.Register(t, dcrtest.Managed())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stopped := false
			store.Watch(func(inside context.Context, name string, do func() error) error {
				if name != call {
					return do()
				}
				cancel()
				<-inside.Done() // a storage that hangs until it is told
				stopped = true
				return inside.Err()
			})
			request := httptest.NewRequestWithContext(ctx, "PUT", client.URI(), bytes.NewReader(dcrtest.JSONBody(t, dcrtest.NumberedUpdate(client, 1))))
			request.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
			recorder := httptest.NewRecorder()
			s.Provider.ManagementHandler().ServeHTTP(recorder, request)
			require.True(t, stopped)
			require.Equal(t, http.StatusInternalServerError, recorder.Code)
			store.Watch(nil)
			require.Equal(t, "Managed", s.Manage(t, "GET", client, nil).Text("client_name"), "nothing changes")
		})
	}
}

// TestLostManagement: what follows the commit is done although the client has gone meanwhile, by a storage that refuses a
// context that has ended, and does not wait for ever.
func TestLostManagement(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, commit string
		afterwards     []string
		events         []dcr.EventKind
	}{
		{"PUT", "UpdateClient", []string{"DeleteAccessTokenSession"}, []dcr.EventKind{dcr.EventUpdated, dcr.EventTokenRotated}},
		{"DELETE", "DeleteClient", []string{"DeleteAccessTokenSession", "RevokeClientGrants"}, []dcr.EventKind{dcr.EventDeleted}},
	} {
		t.Run("HTTP-04/"+row.method, func(t *testing.T) {
			t.Parallel()
			store, events := dcrtest.NewWatchedStore(), new(dcrtest.Events)
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
			client := s.Register(t, dcrtest.Managed())
			events.Take()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var bounded []string
			store.Watch(func(inside context.Context, name string, do func() error) error {
				if err := inside.Err(); err != nil {
					return err
				}
				err := do()
				if _, ends := inside.Deadline(); ctx.Err() != nil && ends {
					bounded = append(bounded, name)
				}
				if name == row.commit {
					cancel()
				}
				return err
			})
			request := httptest.NewRequestWithContext(ctx, row.method, client.URI(), bytes.NewReader(dcrtest.JSONBody(t, dcrtest.NumberedUpdate(client, 1))))
			request.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
			s.Provider.ManagementHandler().ServeHTTP(httptest.NewRecorder(), request)
			require.Equal(t, row.afterwards, bounded)
			require.Equal(t, row.events, events.Kinds())
		})
	}
}
