package dcrtest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// RequireChallenge requires a refusal with the challenge of the Bearer scheme (RFC 6750, section 3).
func RequireChallenge(t testing.TB, answer Answer, status int, code string) {
	t.Helper()
	RequireRefusal(t, answer, status, code)
	require.Equal(t, []string{`Bearer error="` + code + `"`}, answer.Header.Values("WWW-Authenticate"))
}

// RequireUniformRefusal requires the one answer to a registration access token that does not fit, to the byte.
func RequireUniformRefusal(t testing.TB, answer Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	header := answer.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	require.Equal(t, http.Header{
		"Www-Authenticate": {`Bearer error="invalid_token"`},
		"Content-Type":     {"application/json"},
		"Cache-Control":    {"no-store"},
		"Pragma":           {"no-cache"},
	}, header)
	require.Equal(t, "invalid_token", answer.Text("error"), answer.Body)
	require.NotEmpty(t, answer.Text("error_description"), answer.Body)
	require.Len(t, answer.Members, 2, answer.Body)
}

// RequireError requires an error of the protocol, as JSON and never cached, whose description has the given words.
func RequireError(t testing.TB, answer Answer, status int, code string, named ...string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	require.Equal(t, "no-cache", answer.Header.Get("Pragma"))
	for _, name := range named {
		require.Contains(t, answer.Text("error_description"), name)
	}
}

// RequireTokenError requires a status and an error code (RFC 6749, section 5.2).
func RequireTokenError(t testing.TB, answer Answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
}

// RequireRedirectError requires an authorization error that goes back to the client, and returns its parameters.
func RequireRedirectError(t testing.TB, a Answer, code string) url.Values {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	values := a.Location(t).Query()
	require.Equal(t, code, values.Get("error"), a.Location(t))
	require.Empty(t, values.Get("code"))
	return values
}

// RequireRetryAfter requires that 503 says when to come back, and any other status does not.
func RequireRetryAfter(t testing.TB, answer Answer) {
	t.Helper()
	after := answer.Header.Get("Retry-After")
	if answer.Status != http.StatusServiceUnavailable {
		require.Empty(t, after)
		return
	}
	seconds, err := strconv.Atoi(after)
	require.NoError(t, err)
	require.Positive(t, seconds)
}

// RequireMembers requires that an answer has members with these values, compared as JSON. Missing stands for a member
// that is not there.
func RequireMembers(t testing.TB, answer Answer, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if value == (Missing{}) {
			require.NotContains(t, answer.Members, name, answer.Body)
			continue
		}
		require.Contains(t, answer.Members, name, answer.Body)
		require.Equal(t, ViaJSON(t, value), answer.Members[name], "%s in %s", name, answer.Body)
	}
}

// RequireRefusal holds an answer against the whole form of an error: 7591-3.2.2-01,
// 7591-3.2.2-03 and 7591-3.2.2-05. The description has the given names.
func RequireRefusal(t testing.TB, answer Answer, status int, code string, names ...string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	RequireJSONNoStore(t, answer)
	require.Len(t, answer.Members, 2, answer.Body)
	description := answer.Text("error_description")
	require.NotEmpty(t, description)
	require.LessOrEqual(t, len(description), 400)
	require.Empty(t, strings.Map(keepUnsafe, description), "%q has characters that RFC 6749, section 5.2, does not allow", description)
	for _, name := range names {
		require.Contains(t, description, name)
	}
}

// keepUnsafe drops what an error_description may have (RFC 6749, section 5.2).
func keepUnsafe(c rune) rune {
	if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
		return c
	}
	return -1
}

// RequireJSONNoStore requires JSON that is not to be cached.
func RequireJSONNoStore(t testing.TB, answer Answer) {
	t.Helper()
	require.Equal(t, []string{"application/json"}, answer.Header.Values("Content-Type"))
	require.Equal(t, []string{"no-store"}, answer.Header.Values("Cache-Control"))
	require.Equal(t, []string{"no-cache"}, answer.Header.Values("Pragma"))
}

// RequireMemberRefused requires a refusal with status 400 whose description names a member.
func RequireMemberRefused(t testing.TB, answer Answer, code, member string) {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	require.Contains(t, answer.Text("error_description"), member)
}

// RequireFailure requires what a client is answered when a storage fails: a failure of the server's own, of which
// nothing is said (7591-3.2.2-04, 7591-3.2.2-05, T52).
func RequireFailure(t testing.TB, answer Answer, status int) {
	t.Helper()
	code := map[int]string{500: "server_error", 503: "temporarily_unavailable"}[status]
	RequireError(t, answer, status, code)
	require.Len(t, answer.Members, 2, answer.Body)
	require.NotContains(t, answer.Body, "fire")
	require.NotContains(t, answer.Body, "10.0.0.7")
	require.NotContains(t, answer.Body, "storage")
	require.Empty(t, answer.Header.Get("WWW-Authenticate"))
	require.Equal(t, status == 503, answer.Header.Get("Retry-After") != "")
}
