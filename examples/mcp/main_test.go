package main

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Regexp(t, `All as expected\.\n$`, out.String())
	require.Regexp(t, `ory_at_[\w-]{4}…`, out.String())
	require.NotRegexp(t, `ory_(at|rt|ac)_[\w-]{5}`, out.String(), "a secret in full")
}

// startWorld starts what is closed with the test.
func startWorld(t *testing.T, documents bool, change ...func(*dcr.Config)) *world {
	t.Helper()
	w, err := newWorld(io.Discard, documents, change...)
	require.NoError(t, err)
	t.Cleanup(w.close)
	return w
}

// TestConversation plays the steps, and asks after each what has become of the client and its tokens.
func TestConversation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		documents bool
		act       func(t *testing.T, w *world, a *actor)
	}{
		"INTRO-02/registers":    {false, actOfRegistration},
		"INTRO-02/is_known":     {false, actOfKnownClient},
		"INTRO-02/has_document": {true, actOfDocument},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, test.documents)
			test.act(t, w, w.newActor())
		})
	}
}

// requireReader demands that a token is good for reading, and that more is needed for writing.
func requireReader(t *testing.T, w *world, token string) {
	t.Helper()
	require.Equal(t, verdict{status: http.StatusOK}, w.ask(t, token, "read_notes"))
	require.Equal(t, verdict{http.StatusForbidden, "insufficient_scope", "notes:read notes:write"}, w.ask(t, token, "add_note"))
}

func actOfRegistration(t *testing.T, w *world, a *actor) {
	steps := a.registers()
	require.Len(t, steps, 5)
	play := func(i int) (before string) {
		if a.token != nil {
			before = a.token.AccessToken
		}
		require.NoError(t, w.play(t.Context(), steps[i]))
		return before
	}

	play(0)
	requireReader(t, w, a.token.AccessToken)
	first := a.oauth.ClientID
	require.Equal(t, http.StatusOK, w.page(t, first))

	require.Equal(t, play(1), a.token.AccessToken)

	before := play(2)
	require.Equal(t, verdict{status: http.StatusOK}, w.ask(t, a.token.AccessToken, "add_note"))
	requireReader(t, w, before)

	before = play(3)
	require.Equal(t, verdict{status: http.StatusOK}, w.ask(t, a.token.AccessToken, "add_note"))
	require.Equal(t, verdict{http.StatusUnauthorized, "invalid_token", "notes:read"}, w.ask(t, before, "read_notes"))

	before = play(4)
	requireReader(t, w, a.token.AccessToken)
	require.Equal(t, verdict{http.StatusUnauthorized, "invalid_token", "notes:read"}, w.ask(t, before, "read_notes"))
	require.Equal(t, http.StatusUnauthorized, w.page(t, first))
	require.Equal(t, http.StatusOK, w.page(t, a.oauth.ClientID))
}

func actOfKnownClient(t *testing.T, w *world, a *actor) {
	w.mcp.notes[w.user] = []string{"buy milk"} // of the act before
	for _, step := range a.isKnown() {
		require.NoError(t, w.play(t.Context(), step))
		require.Equal(t, "desk", a.oauth.ClientID)
		requireReader(t, w, a.token.AccessToken)
	}
}

func actOfDocument(t *testing.T, w *world, a *actor) {
	steps := a.hasDocument()
	require.Len(t, steps, 3)
	require.NoError(t, w.play(t.Context(), steps[0]))
	requireReader(t, w, a.token.AccessToken)
	require.NoError(t, w.play(t.Context(), steps[1]))
	require.Equal(t, verdict{status: http.StatusOK}, w.ask(t, a.token.AccessToken, "add_note"))
	before := a.token.AccessToken
	require.NoError(t, w.play(t.Context(), steps[2]))
	require.Equal(t, verdict{status: http.StatusOK}, w.ask(t, a.token.AccessToken, "add_note"))
	require.Equal(t, verdict{http.StatusUnauthorized, "invalid_token", "notes:read"}, w.ask(t, before, "read_notes"))
	require.Equal(t, w.documentURL(), a.oauth.ClientID)
	require.Nil(t, a.registered)
}

// TestNotAsExpected: a step that ends in another way is an error, which the exit status shows.
func TestNotAsExpected(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		w := startWorld(t, false, func(c *dcr.Config) { c.Access = dcr.AccessToken() })
		require.ErrorContains(t, w.play(t.Context(), w.newActor().registers()[0]), "failed to register client")
	})
	t.Run("another_exchange", func(t *testing.T) {
		t.Parallel()
		w := startWorld(t, false)
		step := w.newActor().registers()[0]
		step.want = noToken
		require.ErrorContains(t, w.play(t.Context(), step), "want\n"+noToken)
	})
}
