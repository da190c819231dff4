// Package documents_test has the tests of clients whose identifiers are URLs of metadata documents.
package documents_test

import (
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const callback = "https://app.example/callback"

// publicClient is an ordinary document.
func publicClient() map[string]any {
	return map[string]any{
		"redirect_uris": []string{callback}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "profile offline_access",
	}
}

// TestSignIn: a client that nobody registered signs in, refreshes, and revokes.
func TestSignIn(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	s := dcrtest.Start(t, dcrtest.Setup{Closed: true, Static: []fosite.Client{dcrtest.Introspector(t)}, Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil)}})
	id := host.Publish(t, "/client", publicClient())

	code := s.Code(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile offline_access"))
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, callback))
	require.Equal(t, 200, answer.Status, string(answer.Body))
	dcrtest.RequireActive(t, s, answer.Text("access_token"), id)
	answer = s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, answer.Text("refresh_token")))
	require.Equal(t, 200, answer.Status, string(answer.Body))
	require.Equal(t, 1, host.Asked("/client"), "CIMD-08: one sign-in fetches once")
}
