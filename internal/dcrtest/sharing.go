package dcrtest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// SharingServer answers identical registrations with one client.
type SharingServer struct {
	*Server
	// Store is the storage of the server.
	Store *WatchedStore
	// Clock is the clock of the server.
	Clock *Clock
	// Events are the events of the server.
	Events *Events
}

// StartSharing starts a SharingServer, whose unused clients expire after the package's default.
func StartSharing(t testing.TB, edit ...func(*Setup)) *SharingServer {
	t.Helper()
	s := &SharingServer{Store: NewWatchedStore(), Clock: new(Clock), Events: &Events{}}
	setup := Setup{
		Storage: s.Store, UnusedEnd: true,
		Config: dcr.Config{Registration: dcr.Registration{ShareIdentical: true}, Now: s.Clock.Now, Events: s.Events},
	}
	for _, e := range edit {
		e(&setup)
	}
	s.Server = Start(t, setup)
	return s
}

// Shareable returns what a tool registers each time that it starts. Pairs of name and value replace what is there.
func Shareable(pairs ...any) map[string]any {
	m := map[string]any{
		"client_name": "Tool", "redirect_uris": []string{LoopbackURI}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// SignInPublic takes a user through the whole flow of a public client with LoopbackURI, and returns its tokens.
func SignInPublic(t testing.TB, s *Server, id string) Answer {
	t.Helper()
	code := s.Code(t, AuthorizeQuery(id, LoopbackURI, "scope", "openid profile"))
	tokens := s.Form(t, "/oauth2/token", CodeForm(id, code, LoopbackURI))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

// Refresh refreshes the tokens of a public client, and returns the answer whatever it is.
func Refresh(t testing.TB, s *Server, id string, tokens Answer) Answer {
	t.Helper()
	return s.Form(t, "/oauth2/token", RefreshForm(id, tokens.Text("refresh_token")))
}
