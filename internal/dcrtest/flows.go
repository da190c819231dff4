package dcrtest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// Use lets a client get a token by client_credentials.
func Use(t testing.TB, s *Server, client Answer) {
	t.Helper()
	answer := s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
}

// Push pushes an authorization request and returns its request_uri.
func Push(t testing.TB, s *Server, client Answer) string {
	t.Helper()
	form := AuthorizeQuery("", RedirectURI, "client_id", client.ID(), "scope", "openid")
	answer := s.Form(t, "/oauth2/par", form, Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	return answer.Text("request_uri")
}

// SignIn takes a confidential client through the code flow and returns its tokens.
func SignIn(t testing.TB, s *Server, client Answer) Answer {
	t.Helper()
	code := s.Code(t, AuthorizeQuery(client.ID(), RedirectURI, "scope", "openid"))
	tokens := s.Form(t, "/oauth2/token", CodeForm("", code, RedirectURI), Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

// Introspect asks about a token as the Introspector, which has to be a client of the server.
func Introspect(t testing.TB, s *Server, token string) Answer {
	t.Helper()
	require.NotEmpty(t, token)
	answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, Basic(IntrospectorID, IntrospectorSecret))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

// Introspected returns the members of what Introspect is answered.
func Introspected(t testing.TB, s *Server, token string) map[string]any {
	t.Helper()
	return Introspect(t, s, token).Members
}

// Inactive is all that introspection says about a token that is not active (RFC 7662, section 2.2).
var Inactive = map[string]any{"active": false}

// RequireActive requires that a token is active and the client's.
func RequireActive(t testing.TB, s *Server, token, clientID string) Answer {
	t.Helper()
	answer := Introspect(t, s, token)
	require.Equal(t, true, answer.Members["active"], answer.Body)
	require.Equal(t, clientID, answer.ID(), answer.Body)
	return answer
}

// RequireInactive requires that introspection says nothing about a token but that it is not active.
func RequireInactive(t testing.TB, s *Server, token string) {
	t.Helper()
	require.Equal(t, Inactive, Introspect(t, s, token).Members)
}

// TokenWorks reports whether a registration access token reads the client's registration.
func TokenWorks(t testing.TB, s *Server, client Answer, token string) bool {
	t.Helper()
	answer := s.Do(t, "GET", "/register/"+client.ID(), nil, Bearer(token))
	if answer.Status != http.StatusOK {
		RequireUniformRefusal(t, answer)
		return false
	}
	return true
}
