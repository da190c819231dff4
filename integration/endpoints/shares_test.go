package endpoints_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// crowded is a server with little room, behind a proxy.
func crowded(t *testing.T, limits dcr.MemoryLimits) *dcrtest.Server {
	t.Helper()
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(limits))
	store.AddClient(dcrtest.Introspector(t))
	return dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{
		Limits:   dcr.Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Rate: dcr.RateLimit{IPv6Prefix: 48}},
		Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"}},
	}})
}

// TestRefreshInALoop: a client that refreshes without pause keeps nobody out, itself included.
func TestRefreshInALoop(t *testing.T) {
	t.Parallel() // T59
	s := crowded(t, dcr.MemoryLimits{Tokens: 3})
	client := dcrtest.RegisterFor(t, s, "none")
	answer := client.Tokens(t, s)
	first := answer.Text("refresh_token")
	for range 200 {
		answer = client.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", answer.Text("refresh_token")))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	}
	other := dcrtest.RegisterFor(t, s, "none")
	tokens := other.Tokens(t, s)

	reused := client.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", first))
	require.Equal(t, "invalid_grant", reused.Text("error"), reused.Body)
	last := client.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", answer.Text("refresh_token")))
	require.Equal(t, http.StatusOK, last.Status, "one of which nothing is known any more ends nothing: %s", last.Body)
	reused = client.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", answer.Text("refresh_token")))
	require.Equal(t, "invalid_grant", reused.Text("error"), reused.Body)
	last = client.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", last.Text("refresh_token")))
	require.Equal(t, "invalid_grant", last.Text("error"), last.Body)
	require.Equal(t, http.StatusOK, other.Send(t, "/oauth2/token", "none", dcrtest.RefreshForm("", tokens.Text("refresh_token"))).Status)
}

// TestClientCredentialsInALoop: the tokens of one client take no room of users, of registrations and of other clients.
func TestClientCredentialsInALoop(t *testing.T) {
	t.Parallel() // T59
	s := crowded(t, dcr.MemoryLimits{Tokens: 20_000})
	metadata := map[string]any{"redirect_uris": list{dcrtest.RedirectURI}, "grant_types": list{"authorization_code", "refresh_token", "client_credentials"}}
	loop, other := s.Register(t, metadata), s.Register(t, metadata)
	calls := 0
	request := func(client dcrtest.Answer) string {
		calls++ // fosite splits the grant type at spaces
		grant := strings.Repeat(" ", calls%2) + "client_credentials" + strings.Repeat(" ", calls%3)
		answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {grant}}, dcrtest.Basic(client.ID(), client.Secret()))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		return answer.Text("access_token")
	}
	kept := request(other)
	mine := dcrtest.SignIn(t, s, loop).Text("access_token")
	first := request(loop)
	for range 200 {
		request(loop)
	}
	dcrtest.RequireActive(t, s, kept, other.ID())
	dcrtest.RequireActive(t, s, mine, loop.ID())
	dcrtest.RequireInactive(t, s, first)
	s.Register(t, dcrtest.Managed())
}

// TestPushedInALoop: what is pushed in the name of a public client takes no room of others who use it.
func TestPushedInALoop(t *testing.T) {
	t.Parallel() // T59
	s := crowded(t, dcr.MemoryLimits{Codes: 400})
	client := dcrtest.RegisterFor(t, s, "none")
	push := func(address string, pairs ...string) string {
		form := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, pairs...)
		answer := s.Form(t, "/oauth2/par", form, dcrtest.Header("X-Forwarded-For", address))
		require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
		return answer.Text("request_uri")
	}
	honest, first := push("192.0.2.1"), push("192.0.2.2")
	for range 150 {
		push("192.0.2.2")
	}
	for i := range 300 { // of one caller
		push(fmt.Sprintf("2001:db8:1:%x::1", i))
	}
	large := strings.Repeat("x", 30_000)
	for range 20 {
		push("192.0.2.2", "nonce", large)
	}
	pick := func(uri string) dcrtest.Answer {
		return s.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {uri}})
	}
	require.Contains(t, pick(honest).Header.Get("Location"), "code=")
	require.NotContains(t, pick(first).Header.Get("Location"), "code=", "the oldest of the same caller")
}

// TestCallerIsNoParameter: the address of a caller stays out of what hosts log, and callers do not choose it.
func TestCallerIsNoParameter(t *testing.T) {
	t.Parallel() // T59
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "none")
	query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "dcr.pushed_by", "192.0.2.1")
	request, err := s.Provider.NewPushedAuthorizeRequest(t.Context(), formRequest("/par", query))
	require.NoError(t, err)
	_, err = s.Provider.NewPushedAuthorizeResponse(t.Context(), request, dcrtest.NewSession(""))
	require.NoError(t, err)
	require.NotContains(t, request.GetRequestForm(), "dcr.pushed_by")

	query.Set("redirect_uri", "https://evil.example/cb")
	request, err = s.Provider.NewPushedAuthorizeRequest(t.Context(), formRequest("/par", query))
	require.Error(t, err)
	require.NotContains(t, request.GetRequestForm(), "dcr.pushed_by")
}
