package access_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// asUser names the user of SignedIn.
func asUser(name string) dcrtest.Edit {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: name}) }
}

// TestSignedInDefaults: who registers by signing in has a quota, a rate and an expiry without any setting (T67).
func TestSignedInDefaults(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, change func(*dcrtest.Setup)) *dcrtest.Server {
		s, _ := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
			setup.Config.Access = dcr.AnyOf(dcr.SignedIn(cookieUser, nil), dcr.AccessToken())
			if change != nil {
				change(setup)
			}
		}, "dcr:register", "profile")
		return s
	}
	seed := func(t *testing.T, s *dcrtest.Server, first dcrtest.Answer, count int) {
		t.Helper()
		for range count {
			record := dcrtest.RecordOf(t, s.Store, first.ID())
			record.ID = rand.Text()
			require.NoError(t, s.Store.CreateClient(t.Context(), record))
		}
	}
	for name, row := range map[string]struct {
		quota, stored int
		status        int
	}{
		"by_default": {0, 99, 403}, "room_for_one": {0, 98, 201}, "none": {-1, 150, 201}, "own": {3, 2, 403},
	} {
		t.Run("T67/quota/"+name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(setup *dcrtest.Setup) { setup.Config.Limits.Quotas.PerSubject = row.quota })
			first := s.Register(t, dcrtest.PlainRegistration, asUser("alice"))
			seed(t, s, first, row.stored)
			require.Equal(t, row.status, s.Post(t, dcrtest.PlainRegistration, asUser("alice")).Status)
			s.Register(t, dcrtest.PlainRegistration, asUser("bob"))
		})
	}
	t.Run("T67/quota/by_access_token", func(t *testing.T) {
		t.Parallel()
		s := start(t, nil)
		tokens, _ := userTokens(t, s, "dcr:register")
		token := dcrtest.Bearer(tokens.Text("access_token"))
		seed(t, s, s.Register(t, dcrtest.PlainRegistration, token), 99)
		require.Equal(t, http.StatusForbidden, s.Post(t, dcrtest.PlainRegistration, token).Status)
	})
	t.Run("T67/quota/storage_can_not_count", func(t *testing.T) {
		t.Parallel()
		store := dcr.NewMemoryStore()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: dcrtest.UncountedStore{MemoryStore: store}, Config: dcr.Config{Access: dcr.SignedIn(cookieUser, nil)}})
		first := s.Register(t, dcrtest.PlainRegistration, asUser("alice"))
		for range 100 {
			record := dcrtest.RecordOf(t, store, first.ID())
			record.ID = rand.Text()
			require.NoError(t, store.CreateClient(t.Context(), record))
		}
		s.Register(t, dcrtest.PlainRegistration, asUser("alice"))
	})
	t.Run("T67/rate", func(t *testing.T) {
		t.Parallel()
		s := start(t, func(setup *dcrtest.Setup) { setup.CallersLimited = true })
		client := s.Register(t, dcrtest.Managed(), asUser("alice"))
		for range 59 {
			require.Equal(t, http.StatusBadRequest, s.Post(t, `{}`, asUser("alice")).Status)
		}
		require.Equal(t, http.StatusTooManyRequests, s.Post(t, `{}`, asUser("alice")).Status)
		update := dcrtest.Replacing(client, "redirect_uris", []string{"x"})
		for range 60 {
			require.Equal(t, http.StatusBadRequest, s.Manage(t, http.MethodPut, client, update).Status)
		}
		require.Equal(t, http.StatusTooManyRequests, s.Manage(t, http.MethodPut, client, update).Status)
	})
	for name, row := range map[string]struct {
		unused time.Duration
		want   time.Duration // 0: for ever
	}{"by_default": {0, 24 * time.Hour}, "own": {time.Minute, time.Minute}, "for_ever": {-1, 0}} {
		t.Run("T67/unused/"+name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(setup *dcrtest.Setup) { setup.UnusedEnd, setup.Config.Lifecycle.Unused = true, row.unused })
			service := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"dcr:register"}}, dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret))
			for _, edit := range []dcrtest.Edit{asUser("alice"), dcrtest.Bearer(service.Text("access_token"))} {
				record := dcrtest.RecordOf(t, s.Store, s.Register(t, dcrtest.PlainRegistration, edit).ID())
				if row.want == 0 {
					require.Zero(t, record.UnusedUntil)
					continue
				}
				require.Equal(t, row.want, record.UnusedUntil.Sub(record.CreatedAt).Round(time.Second))
			}
		})
	}
	t.Run("T67/initial_access_tokens_are_not_bounded", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{UnusedEnd: true, CallersLimited: true, Config: dcr.Config{Access: dcr.InitialAccessTokens()}})
		token, _, err := s.Provider.MintInitialAccessToken(context.Background(), dcr.InitialAccessTokenRequest{Subject: "partner"})
		require.NoError(t, err)
		for range 110 {
			first := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
			require.Zero(t, dcrtest.RecordOf(t, s.Store, first.ID()).UnusedUntil)
		}
	})
}
