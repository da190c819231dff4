package sqlstore_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// TestSmallRows: what a stranger sends takes no more room than it has, once, and what nobody reads again takes none.
func TestSmallRows(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-15/small/T59", func(t *testing.T) {
			source := d.create(t)
			s := serve(t, d.open(t, source, sqlstore.Options{SweepEvery: -1}))
			longest := func(table, column, where string) int {
				return d.count(t, source, fmt.Sprintf(`SELECT max(length(%s)) FROM dcr_%s WHERE %s`, column, table, where))
			}
			long := strings.Repeat("<>&", 200)
			client := s.Register(t, app)
			basic := dcrtest.Basic(client.ID(), client.Secret())
			push := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid offline_access")
			pushed := func(state string) url.Values {
				push.Set("state", state)
				answer := s.Form(t, "/oauth2/par", push, basic)
				require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
				return url.Values{"client_id": {client.ID()}, "request_uri": {answer.Text("request_uri")}}
			}
			pushed("12345678")
			before := longest("tokens", "request", "kind = 6")
			again := pushed(long)
			require.Equal(t, before+len(long)-8, longest("tokens", "request", "kind = 6"))
			location := s.Authorize(t, again).Location(t)
			require.Equal(t, long, location.Query().Get("state"))
			require.Less(t, longest("tokens", "request", "kind = 6 AND state <> 0"), 10, "a pushed request that was used")

			machine := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "response_type": {long}}, basic)
			require.Equal(t, http.StatusOK, machine.Status, machine.Body)
			require.Less(t, longest("tokens", "request", "kind = 8"), len(long))

			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", location.Query().Get("code"), dcrtest.RedirectURI), basic)
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			used := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
			require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/token", used, basic).Status)
			require.Less(t, longest("tokens", "request", "kind IN (4, 5) AND state <> 0"), 10, "a spent pair")
			require.Equal(t, "invalid_grant", s.Form(t, "/oauth2/token", used, basic).Text("error"))
			require.Zero(t, d.count(t, source, `SELECT count(*) FROM dcr_tokens WHERE kind IN (4, 5) AND state = 0`), "its grant is known")
		})
	})
}

// TestEarlierRows: rows that an earlier version has written are read as they were.
func TestEarlierRows(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
		want := fosite.NewAuthorizeRequest()
		want.Request = *s.grant("request", time.Hour)
		require.NoError(t, s.CreatePARSession(ctx, "urn:handle", want))
		d.exec(t, d.raw(t, s.source), `UPDATE dcr_tokens SET request = $1`, []byte(
			`{"id":"request","client":"client","requested_at":0,"form":{"state":["\u003cstate\u003e"]},"pushed":{"state":"\u003cstate\u003e"}}`))
		got, err := s.GetPARSession(ctx, "urn:handle")
		require.NoError(t, err)
		require.Equal(t, "<state>", got.GetState())
		require.Equal(t, url.Values{"state": {"<state>"}}, got.GetRequestForm())
	})
}

// TestGraceBegins: a refresh token that was used before the store had a grace is spent: its request is gone.
func TestGraceBegins(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-02/begins", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			s.pair(t, "refresh", s.grant("grant", time.Hour))
			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "refresh"))
			_, err := d.open(t, s.source, sqlstore.Options{RefreshGrace: time.Hour}).GetRefreshTokenSession(ctx, "refresh", nil)
			require.ErrorIs(t, err, fosite.ErrInactiveToken)
		})
	})
}
