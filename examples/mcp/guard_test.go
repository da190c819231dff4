package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// TestGuard: the MCP server says of each token that it does not take what is wrong with it (RFC 6750, section 3.1).
func TestGuard(t *testing.T) {
	t.Parallel()
	const other = "https://other.example/mcp"
	w := startWorld(t, false, func(c *dcr.Config) { c.Authorization.Audience = append(c.Authorization.Audience, other) })
	access, refresh := w.tokens(t, "notes:read", w.mcp.resource())
	foreign, _ := w.tokens(t, "notes:read notes:write", other)
	writer, _ := w.tokens(t, "notes:write", w.mcp.resource())
	full, _ := w.tokens(t, "notes:read notes:write", w.mcp.resource())
	requireReader(t, w, access)

	none := verdict{http.StatusUnauthorized, "", "notes:read"}
	invalid := verdict{http.StatusUnauthorized, "invalid_token", "notes:read"}
	for name, test := range map[string]struct {
		token, tool string
		want        verdict
	}{
		"INTRO-02/no_token":             {"", "add_note", none},
		"INTRO-02/two_tokens":           {access + " " + access, "read_notes", none},
		"INTRO-02/unknown_token":        {access + "x", "read_notes", invalid},
		"INTRO-02/refresh_token":        {refresh, "read_notes", invalid},
		"INTRO-02/for_another_resource": {foreign, "read_notes", invalid},
		"INTRO-02/without_any_scope":    {writer, "read_notes", verdict{http.StatusForbidden, "insufficient_scope", "notes:read"}},
		"INTRO-02/without_the_scope_of_the_tool": {access, "add_note",
			verdict{http.StatusForbidden, "insufficient_scope", "notes:read notes:write"}},
		"INTRO-02/with_both_scopes": {full, "add_note", verdict{status: http.StatusOK}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, w.ask(t, test.token, test.tool))
		})
	}
}

// TestToolLooksAtTheScope: what the guard does not recognise as a call, the tool refuses.
func TestToolLooksAtTheScope(t *testing.T) {
	t.Parallel()
	w := startWorld(t, false)
	access, _ := w.tokens(t, "notes:read", w.mcp.resource())
	found, body := w.post(t, access, `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note","arguments":{"text":"buy milk"}}}]`)
	require.Equal(t, verdict{status: http.StatusOK}, found)
	require.Contains(t, body, "the token lacks a scope")
	require.Empty(t, w.mcp.notes)
}

// TestGuardWithoutServer: while the authorization server is down, no client is told that its token is no good.
func TestGuardWithoutServer(t *testing.T) {
	t.Parallel()
	w := startWorld(t, false)
	access, _ := w.tokens(t, "notes:read", w.mcp.resource())
	w.stopServer()
	require.Equal(t, verdict{status: http.StatusServiceUnavailable}, w.ask(t, access, "read_notes"))
	require.Equal(t, verdict{http.StatusUnauthorized, "", "notes:read"}, w.ask(t, "", "read_notes"))
}
