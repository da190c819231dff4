package dcrtest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// RequireGrantsDead requires that a deleted client, its secret, and all that it was granted open nothing: the tokens
// that it had, a code that was not exchanged, and a request that was pushed.
func RequireGrantsDead(t testing.TB, s *Server, client, had Answer, code, pushed string) {
	t.Helper()
	basic := Basic(client.ID(), client.Secret())
	requests := map[string]url.Values{
		"secret":        RefreshForm("", "nobody's"),
		"code":          CodeForm("", code, RedirectURI),
		"refresh_token": RefreshForm("", had.Text("refresh_token")),
	}
	for name, form := range requests {
		answer := s.Form(t, "/oauth2/token", form, basic)
		require.Equal(t, http.StatusUnauthorized, answer.Status, "%s: %s", name, answer.Body)
		require.Equal(t, "invalid_client", answer.Text("error"), name)
	}
	for _, token := range []string{had.Text("access_token"), had.Text("refresh_token"), client.Token()} {
		require.Equal(t, Inactive, Introspected(t, s, token))
	}
	for name, query := range map[string]url.Values{
		"pushed": {"client_id": {client.ID()}, "request_uri": {pushed}},
		"direct": AuthorizeQuery(client.ID(), RedirectURI),
	} {
		answer := s.Authorize(t, query)
		require.GreaterOrEqual(t, answer.Status, 400, name)
		require.Less(t, answer.Status, 500, name)
		require.Empty(t, answer.Header.Get("Location"), name)
	}
	answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {"x"}}, Bearer(had.Text("access_token")))
	require.Equal(t, http.StatusUnauthorized, answer.Status, "a dead access token is no credential: %s", answer.Body)
}
