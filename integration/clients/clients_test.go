// Package clients_test runs clients that others wrote against the composed provider. Each registers, gets a token
// that works, and is managed to its end.
package clients_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// forEachTokenKind runs a test on a server whose access tokens are opaque (fosite's
// HMAC strategy), and on one where they are JWTs.
func forEachTokenKind(t *testing.T, setup dcrtest.Setup, run func(t *testing.T, s *dcrtest.Server)) {
	t.Helper()
	for name, tokensAreJWTs := range map[string]bool{"token=opaque": false, "token=jwt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := setup
			setup.JWT = tokensAreJWTs
			setup.Static = append(slices.Clone(setup.Static), dcrtest.Introspector(t))
			run(t, dcrtest.Start(t, setup))
		})
	}
}

// visit goes to an authorization URL like a browser whose user consents, and returns
// what the redirect brings to the client.
func visit(ctx context.Context, authorizationURL, redirectURI string) (url.Values, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizationURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := dcrtest.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	location, err := response.Location()
	if err != nil {
		return nil, fmt.Errorf("the browser got status %d and %w", response.StatusCode, err)
	}
	answer := location.Query()
	location.RawQuery = ""
	switch {
	case location.String() != redirectURI:
		return nil, fmt.Errorf("the browser landed at %s instead of %s", location, redirectURI)
	case answer.Get("code") == "":
		return nil, fmt.Errorf("the browser brought no code: %v", answer)
	}
	return answer, nil
}

// holder is a registered client that holds a token.
type holder struct {
	*dcrtest.Server
	// client is the answer to its registration.
	client dcrtest.Answer
	token  *oauth2.Token
	// again gets another token with the client's library.
	again func(*oauth2.Token) (*oauth2.Token, error)
}

// refresher refreshes with x/oauth2, without waiting for the token to expire.
func refresher(ctx context.Context, config *oauth2.Config) func(*oauth2.Token) (*oauth2.Token, error) {
	return func(token *oauth2.Token) (*oauth2.Token, error) {
		return config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	}
}

// manageToItsEnd reads, updates and deletes the registration. The client works until
// then; afterwards everything of it is dead.
func (h *holder) manageToItsEnd(t *testing.T) {
	t.Helper()
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"7592-2.1-01/read", h.read},
		{"7592-2.2-06,7592-2.2-10/update", h.update},
		{"7592-2.3-01/delete", h.delete},
		{"7592-2.3-02,7592-2.3-03,AUTH-01/dead", h.dead},
	} {
		require.True(t, t.Run(step.name, step.run))
	}
}

func (h *holder) read(t *testing.T) {
	dcrtest.RequireActive(t, h.Server, h.token.AccessToken, h.client.ID())
	answer := h.Manage(t, http.MethodGet, h.client, nil)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	want := maps.Clone(h.client.Members)
	delete(want, "client_secret") // 7592-2.1-02
	require.Equal(t, want, answer.Members)
}

// update sends back what was registered, with another name. The client goes on with
// the credentials that it had.
func (h *holder) update(t *testing.T) {
	metadata := maps.Clone(h.client.Members)
	for _, member := range []string{
		"registration_access_token", "registration_client_uri", "client_id_issued_at", "client_secret_expires_at",
	} {
		delete(metadata, member)
	}
	metadata["client_name"] = "Another name"
	answer := h.Manage(t, http.MethodPut, h.client, metadata)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	require.Equal(t, "Another name", answer.Text("client_name"))
	require.NotEqual(t, h.client.Token(), answer.Token())
	require.Equal(t, http.StatusUnauthorized, h.Manage(t, http.MethodGet, h.client, nil).Status)
	h.client = answer

	dcrtest.RequireActive(t, h.Server, h.token.AccessToken, h.client.ID())
	token, err := h.again(h.token)
	require.NoError(t, err)
	require.NotEqual(t, h.token.AccessToken, token.AccessToken)
	dcrtest.RequireActive(t, h.Server, token.AccessToken, h.client.ID())
	h.token = token
}

func (h *holder) delete(t *testing.T) {
	answer := h.Manage(t, http.MethodDelete, h.client, nil)
	require.Equal(t, http.StatusNoContent, answer.Status, answer.Body)
	require.Empty(t, answer.Body)
}

func (h *holder) dead(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		require.Equal(t, http.StatusUnauthorized, h.Manage(t, method, h.client, nil).Status)
	}
	dcrtest.RequireInactive(t, h.Server, h.token.AccessToken)
	if h.token.RefreshToken != "" {
		dcrtest.RequireInactive(t, h.Server, h.token.RefreshToken)
	}
	_, err := h.again(h.token)
	requireRefused(t, err, http.StatusUnauthorized, "invalid_client")
}

// requireRefused demands that the token endpoint refused what x/oauth2 asked for.
func requireRefused(t testing.TB, err error, status int, code string) {
	t.Helper()
	var refusal *oauth2.RetrieveError
	require.True(t, errors.As(err, &refusal), "%v", err)
	require.Equal(t, code, refusal.ErrorCode, string(refusal.Body))
	require.Equal(t, status, refusal.Response.StatusCode)
}
