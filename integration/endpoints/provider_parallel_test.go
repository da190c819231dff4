package endpoints_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		t.Run(fmt.Sprintf("ERR-02/%d", round), func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}})
			client := dcrtest.RegisterFor(t, s, "client_secret_basic")
			form := dcrtest.RefreshForm("", client.Tokens(t, s).Text("refresh_token"))
			send := func() dcrtest.Answer {
				return s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
			}
			won := []dcrtest.Answer{}
			for _, answer := range dcrtest.AllAtOnce(8, func(int) dcrtest.Answer { return send() }) {
				if answer.Status == http.StatusOK {
					won = append(won, answer)
					continue
				}
				lost(t, answer)
			}
			require.LessOrEqual(t, len(won), 1)
			lost(t, send()) // a later reuse ends the whole grant
			for _, tokens := range won {
				dcrtest.RequireInactive(t, s, tokens.Text("access_token"))
				lost(t, client.Send(t, "/oauth2/token", client.Method, dcrtest.RefreshForm("", tokens.Text("refresh_token"))))
			}
		})
	}
}

// lost judges the answer to a refresh that came too late.
func lost(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	dcrtest.RequireTokenError(t, a, http.StatusBadRequest, "invalid_grant")
	for _, word := range []string{"retry", "again", "concurrent"} {
		require.NotContains(t, strings.ToLower(a.Body), word)
	}
}

// contendedStore is a MemoryStore whose RotateRefreshToken fails, before or after it has rotated.
type contendedStore struct {
	*dcr.MemoryStore
	err   error
	spent bool
}

func (s *contendedStore) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	if s.spent {
		if err := s.MemoryStore.RotateRefreshToken(ctx, requestID, signature); err != nil {
			return err
		}
	}
	return s.err
}

func TestRefreshThatTheStorageRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		spent  bool
		status int
		code   string
	}{
		"inactive":             {fosite.ErrInactiveToken, false, http.StatusBadRequest, "invalid_grant"},
		"gone":                 {fosite.ErrNotFound, false, http.StatusBadRequest, "invalid_grant"},
		"serialization/spent":  {fosite.ErrSerializationFailure, true, http.StatusBadRequest, "invalid_grant"},
		"serialization/unused": {fosite.ErrSerializationFailure, false, http.StatusServiceUnavailable, "temporarily_unavailable"},
	} {
		t.Run("ERR-02/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: &contendedStore{dcr.NewMemoryStore(), row.err, row.spent}})
			client := dcrtest.RegisterFor(t, s, "client_secret_basic")
			answer := client.Send(t, "/oauth2/token", client.Method, dcrtest.RefreshForm("", client.Tokens(t, s).Text("refresh_token")))
			dcrtest.RequireTokenError(t, answer, row.status, row.code)
			if row.status == http.StatusBadRequest {
				lost(t, answer)
			}
		})
	}
}

func TestPushedRequestPickedUpAtOnce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for round := range 10 {
		t.Run(fmt.Sprintf("ERR-01/pushed_at_once/%d", round), func(t *testing.T) {
			t.Parallel() // RFC 9126, section 4
			client := dcrtest.RegisterFor(t, s, "client_secret_basic")
			query := url.Values{"client_id": {client.ID()}, "request_uri": {dcrtest.Push(t, s, client.Answer)}}
			codes := 0
			for _, answer := range dcrtest.AllAtOnce(8, func(int) dcrtest.Answer { return s.Authorize(t, query) }) {
				if answer.Status == http.StatusSeeOther {
					require.NotEmpty(t, answer.Location(t).Query().Get("code"))
					codes++
					continue
				}
				require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
				require.Equal(t, "invalid_request_uri", errorOf(answer))
			}
			require.Equal(t, 1, codes)
		})
	}
	t.Run("ERR-01/pushed_at_once/lost", func(t *testing.T) {
		t.Parallel() // whoever is between the look-up and the removal
		s := dcrtest.Start(t, dcrtest.Setup{Storage: &lateStore{dcr.NewMemoryStore()}})
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		page := s.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {dcrtest.Push(t, s, client.Answer)}})
		require.Equal(t, http.StatusBadRequest, page.Status, page.Body)
		require.Equal(t, "invalid_request_uri", errorOf(page))
		require.Empty(t, page.Header.Get("Location"))
	})
}

// lateStore is a MemoryStore at which another request is always faster to remove a pushed one.
type lateStore struct{ *dcr.MemoryStore }

func (s *lateStore) DeletePARSession(ctx context.Context, uri string) error {
	if err := s.MemoryStore.DeletePARSession(ctx, uri); err != nil {
		return err
	}
	return s.MemoryStore.DeletePARSession(ctx, uri)
}

func TestShortNonce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.StaticClient(t, "static", "openid", "profile")}})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for id, send := range map[string]dcrtest.Edit{client.ID(): dcrtest.Basic(client.ID(), client.Secret()), "static": dcrtest.Basic("static", "a static secret")} {
		for _, nonce := range []string{"n", "1234567"} {
			t.Run("NONCE-01/"+nonce, func(t *testing.T) {
				t.Parallel()
				query := dcrtest.AuthorizeQuery(id, dcrtest.RedirectURI, "scope", "openid", "nonce", nonce)
				parameters := dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_request")
				require.Contains(t, parameters.Get("error_description"), "nonce")
				require.Empty(t, parameters.Get("code"))
				dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/par", query, send), http.StatusBadRequest, "invalid_request")
			})
		}
		for name, pairs := range map[string][]string{
			"8_characters": {"scope", "openid", "nonce", "12345678"}, "none": {"scope", "openid", "nonce", ""}, "without_openid": {"nonce", "n", "scope", "profile"},
		} {
			t.Run("NONCE-01/works/"+name, func(t *testing.T) {
				t.Parallel()
				code := s.Code(t, dcrtest.AuthorizeQuery(id, dcrtest.RedirectURI, pairs...))
				answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), send)
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			})
		}
	}
}
