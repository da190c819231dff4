package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// connected returns a client that has registered and has a token.
func connected(t *testing.T) (*world, *actor) {
	t.Helper()
	w := startWorld(t, false)
	a := w.newActor()
	require.NoError(t, w.play(t.Context(), a.registers()[0]))
	return w, a
}

// TestClient: what is not good any more is forgotten, and nothing else.
func TestClient(t *testing.T) {
	t.Parallel()
	t.Run("AUTH-01/expired_and_deleted", func(t *testing.T) {
		t.Parallel()
		w, a := connected(t)
		before := a.oauth.ClientID
		a.expire()
		require.NoError(t, w.server.provider.DeleteClient(t.Context(), before))
		require.NoError(t, a.calls("read_notes", "", "")(t.Context()))
		require.Equal(t, notKnown+noToken+discovers+registered+signsIn+accepted, w.take())
		require.NotEqual(t, before, a.oauth.ClientID)
	})
	t.Run("tokens_revoked", func(t *testing.T) {
		t.Parallel()
		w, a := connected(t)
		before := a.oauth.ClientID
		client, err := w.server.provider.FindClient(t.Context(), before)
		require.NoError(t, err)
		require.NoError(t, w.server.provider.RevokeTokens(t.Context(), client.ID))
		require.NoError(t, a.calls("read_notes", "", "")(t.Context()))
		require.Equal(t, noGood+"client > authorization server: POST /token 400\n"+discovers+signsIn+accepted, w.take())
		require.Equal(t, before, a.oauth.ClientID)
	})
	t.Run("AUTH-01/deleted_without_tokens", func(t *testing.T) {
		t.Parallel()
		w, a := connected(t)
		a.source, a.token = nil, nil
		require.NoError(t, w.server.provider.DeleteClient(t.Context(), a.oauth.ClientID))
		require.ErrorIs(t, a.calls("read_notes", "", "")(t.Context()), errNobodyCame)
		require.Equal(t, noToken+discovers+"browser > authorization server: GET /authorize 401\n", w.take())
		require.NoError(t, a.calls("read_notes", "", "")(t.Context()))
		require.Equal(t, noToken+discovers+registered+signsIn+accepted, w.take())
	})
	t.Run("keeps_its_scopes", func(t *testing.T) {
		t.Parallel()
		_, a := connected(t)
		require.Equal(t, []string{"notes:read", "other"}, a.signIn().ScopeFilter([]string{"other"}), "a server may name only what is missing")
	})
	t.Run("AUTH-02/server_down", func(t *testing.T) {
		t.Parallel()
		w, a := connected(t)
		token, registration := *a.token, *a.registered
		w.stopServer()
		require.Error(t, a.calls("read_notes", "", "")(t.Context()))
		a.expire()
		require.Error(t, a.calls("read_notes", "", "")(t.Context()))
		require.Equal(t, token.RefreshToken, a.token.RefreshToken)
		require.Equal(t, registration, *a.registered)
	})
}
