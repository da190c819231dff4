package processes_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serviceToken gets a token for a client that uses no browser.
func (p *process) serviceToken(t testing.TB, client dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	return p.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
}

// processesTokens takes a user through both processes by turns: each step at another one.
func processesTokens(t *testing.T, p *processes) {
	const callback = "https://client.example/callback"
	one, other := p.all[0], p.all[1]
	client := one.Register(t, map[string]any{
		"client_name": "Calendar", "redirect_uris": []string{callback}, "grant_types": []string{"authorization_code", "refresh_token"},
		"scope": "openid offline_access",
	})
	basic := dcrtest.Basic(client.ID(), client.Secret())
	pushed := one.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), callback, "scope", "openid offline_access"), basic)
	require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
	code := other.Code(t, url.Values{"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}})

	// A wrong verifier at one does not open the code at the other; a code works once.
	wrong := dcrtest.CodeForm("", code, callback)
	wrong.Set("code_verifier", dcrtest.Verifier+"-not")
	require.Equal(t, http.StatusBadRequest, one.Form(t, "/oauth2/token", wrong, basic).Status)
	bare := dcrtest.CodeForm("", code, callback)
	bare.Del("code_verifier")
	require.Equal(t, http.StatusBadRequest, other.Form(t, "/oauth2/token", bare, basic).Status)
	first := one.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, callback), basic)
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	require.NotEmpty(t, first.Text("id_token"))
	dcrtest.RequireActive(t, other.Server, first.Text("access_token"), client.ID())

	second := other.Form(t, "/oauth2/token", dcrtest.RefreshForm("", first.Text("refresh_token")), basic)
	require.Equal(t, http.StatusOK, second.Status, second.Body)
	dcrtest.RequireActive(t, one.Server, second.Text("access_token"), client.ID())
	dcrtest.RequireInactive(t, one.Server, first.Text("access_token"))

	p.requireUsedOnce(t, basic, dcrtest.RefreshForm("", second.Text("refresh_token")))
	dcrtest.RequireInactive(t, other.Server, second.Text("access_token"))
	for range 4 {
		code = one.Code(t, dcrtest.AuthorizeQuery(client.ID(), callback, "scope", "openid offline_access"))
		p.requireUsedOnce(t, basic, dcrtest.CodeForm("", code, callback))
	}

	// A client that is deleted at one is dead at the other at once, with all that it has.
	code = other.Code(t, dcrtest.AuthorizeQuery(client.ID(), callback, "scope", "openid offline_access"))
	last := other.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, callback), basic)
	require.Equal(t, http.StatusOK, last.Status, last.Body)
	dcrtest.RequireActive(t, other.Server, last.Text("access_token"), client.ID())
	require.Equal(t, http.StatusNoContent, one.manage(t, http.MethodDelete, client, nil).Status)
	dcrtest.RequireInactive(t, other.Server, last.Text("access_token"))
	refused := other.Form(t, "/oauth2/token", dcrtest.RefreshForm("", last.Text("refresh_token")), basic)
	require.Equal(t, http.StatusUnauthorized, refused.Status, refused.Body)
	require.Equal(t, "invalid_client", refused.Text("error"))
	p.requireRead(t, http.StatusUnauthorized, client)
	require.NoError(t, p.store.Sweep(t.Context()))
	require.Zero(t, p.rows(t, client))
}

// requireUsedOnce: of requests at all processes with one code or refresh token one succeeds, and none does afterwards.
func (p *processes) requireUsedOnce(t *testing.T, basic dcrtest.Edit, form url.Values) {
	t.Helper()
	ask := func(_ int, to *process) dcrtest.Answer { return to.Form(t, "/oauth2/token", form, basic) }
	found := statuses(p.atOnce(16, ask))
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 15}, found)
	for _, process := range p.all {
		require.Equal(t, http.StatusBadRequest, ask(0, process).Status)
	}
}

// processesAssertion: an assertion is good for one request at one of the processes.
func processesAssertion(t *testing.T, p *processes) {
	client := dcrtest.NewSigningClient(t, jose.ES256)
	client.ID, client.Audience = p.all[0].Register(t, client.Metadata()).ID(), publicIssuer
	form := func() url.Values {
		assertion, err := client.Assertion()
		require.NoError(t, err)
		form := url.Values{"grant_type": {"client_credentials"}}
		maps.Copy(form, assertion)
		return form
	}
	used := form()
	require.Equal(t, http.StatusOK, p.all[0].Form(t, "/oauth2/token", used).Status)
	replayed := p.all[1].Form(t, "/oauth2/token", used)
	require.Equal(t, http.StatusUnauthorized, replayed.Status, replayed.Body)
	require.Equal(t, "invalid_client", replayed.Text("error"))

	raced := form()
	answers := p.atOnce(16, func(_ int, to *process) dcrtest.Answer { return to.Form(t, "/oauth2/token", raced) })
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusUnauthorized: 15}, statuses(answers))
}
