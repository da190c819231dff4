package management_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const secondRedirect = "https://app.example/second"

// redirectChange is a client with two redirect URIs, users and a code that is under way.
type redirectChange struct {
	*dcrtest.Server
	events *dcrtest.Events
	client dcrtest.Answer
	tokens dcrtest.Answer
	code   string
}

func startRedirectChange(t *testing.T, edit func(*dcr.Config), jwt bool) *redirectChange {
	t.Helper()
	r := &redirectChange{events: &dcrtest.Events{}}
	setup := dcrtest.Setup{JWT: jwt, Config: dcr.Config{Management: dcr.Management{RevokeOnRedirectChange: true}, Events: r.events}}
	edit(&setup.Config)
	r.Server = dcrtest.Start(t, setup)
	r.Store.AddClient(dcrtest.Introspector(t))
	r.client = r.Register(t, dcrtest.Managed("redirect_uris", []string{dcrtest.RedirectURI, secondRedirect}))
	r.tokens = dcrtest.SignIn(t, r.Server, r.client)
	r.code = r.Code(t, dcrtest.AuthorizeQuery(r.client.ID(), dcrtest.RedirectURI, "scope", "openid"))
	r.events.Take()
	return r
}

// update replaces the registration, and returns the answer.
func (r *redirectChange) update(t *testing.T, pairs ...any) dcrtest.Answer {
	t.Helper()
	answer := r.Manage(t, http.MethodPut, r.client, dcrtest.Replacing(r.client, pairs...))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

// requireGrants holds every grant that was there before against what became of it.
func (r *redirectChange) requireGrants(t *testing.T, alive bool) {
	t.Helper()
	basic := dcrtest.Basic(r.client.ID(), r.client.Secret())
	require.Equal(t, alive, dcrtest.Introspected(t, r.Server, r.tokens.Text("access_token"))["active"], "access token")
	refresh := r.Form(t, "/oauth2/token", dcrtest.RefreshForm("", r.tokens.Text("refresh_token")), basic)
	exchange := r.Form(t, "/oauth2/token", dcrtest.CodeForm("", r.code, dcrtest.RedirectURI), basic)
	for what, answer := range map[string]dcrtest.Answer{"refresh token": refresh, "code": exchange} {
		if alive {
			require.Equal(t, http.StatusOK, answer.Status, "%s: %s", what, answer.Body)
			continue
		}
		require.Equal(t, http.StatusBadRequest, answer.Status, "%s: %s", what, answer.Body)
		require.Equal(t, "invalid_grant", answer.Text("error"), what)
	}
}

var (
	redirectsAdded    = []string{dcrtest.RedirectURI, secondRedirect, "https://app.example/third"}
	redirectsRemoved  = []string{dcrtest.RedirectURI}
	redirectsReplaced = []string{dcrtest.RedirectURI, "https://evil.example/cb"}
	redirectsReversed = []string{secondRedirect, dcrtest.RedirectURI}
	redirectsSame     = []string{dcrtest.RedirectURI, secondRedirect}
)

// TestRedirectChangeRevokes: grants are dead exactly where the redirect URIs changed, and
// whoever changed them can go on managing the client (T39).
func TestRedirectChangeRevokes(t *testing.T) {
	t.Parallel()
	tokens := map[string]dcr.RegistrationToken{
		"rotation": {}, "keep": {KeepOnUpdate: true}, "grace": {Grace: time.Hour}, "keep_and_rotate_on_read": {KeepOnUpdate: true, RotateOnRead: true},
	}
	for tokenName, token := range tokens {
		for name, redirects := range map[string][]string{
			"added": redirectsAdded, "removed": redirectsRemoved, "replaced": redirectsReplaced, "reordered": redirectsReversed, "same": redirectsSame,
		} {
			t.Run("T39/"+tokenName+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := startRedirectChange(t, func(c *dcr.Config) { c.Management.Token = token }, false)
				changed := !slices.Equal(redirects, redirectsSame) // the order counts: it is a change that somebody made
				answer := r.update(t, "redirect_uris", redirects, "client_name", "New")
				told := dcrtest.KindsOf(r.events.Take())
				require.Equal(t, changed, slices.Contains(told, dcr.EventGrantsRevoked), told)
				require.Contains(t, told, dcr.EventUpdated)
				require.NotContains(t, told, dcr.EventCleanupFailed)
				if token.Grace > 0 {
					require.Equal(t, http.StatusOK, r.Manage(t, http.MethodGet, r.client, nil).Status, "T35: the answer may have been lost")
				}
				r.requireGrants(t, !changed)

				again := r.Manage(t, http.MethodGet, answer, nil)
				require.Equal(t, http.StatusOK, again.Status, again.Body)
				if !token.KeepOnUpdate {
					dcrtest.RequireUniformRefusal(t, r.Manage(t, http.MethodGet, r.client, nil))
				}
				r.client = again
				require.Equal(t, http.StatusOK, r.Manage(t, http.MethodPut, again, dcrtest.Replacing(again, "redirect_uris", redirectsSame)).Status)
			})
		}
	}
}

// TestRedirectChangeByDefault: without the option nothing is revoked.
func TestRedirectChangeByDefault(t *testing.T) {
	t.Parallel()
	r := startRedirectChange(t, func(c *dcr.Config) { c.Management.RevokeOnRedirectChange = false }, false)
	r.update(t, "redirect_uris", redirectsAdded)
	require.NotContains(t, dcrtest.KindsOf(r.events.Take()), dcr.EventGrantsRevoked)
	r.requireGrants(t, true)
}

// TestRedirectChangeOfJWTs: access tokens that are JWTs are inactive at introspection, too.
func TestRedirectChangeOfJWTs(t *testing.T) {
	t.Parallel()
	r := startRedirectChange(t, func(*dcr.Config) {}, true)
	r.update(t, "redirect_uris", redirectsReplaced)
	r.requireGrants(t, false)
}

// TestRedirectChangeStaysApart: other clients keep their grants, and so does a client that
// reads, is refused, or changes something else (T39).
func TestRedirectChangeStaysApart(t *testing.T) {
	t.Parallel()
	r := startRedirectChange(t, func(c *dcr.Config) { c.Management.Token.RotateOnRead = true }, false)
	other := r.Register(t, dcrtest.Managed())
	require.Equal(t, http.StatusOK, r.Manage(t, http.MethodPut, other, dcrtest.Replacing(other, "redirect_uris", redirectsReplaced)).Status)
	read := r.Manage(t, http.MethodGet, r.client, nil)
	require.Equal(t, http.StatusOK, read.Status)
	require.Equal(t, http.StatusBadRequest, r.Manage(t, http.MethodPut, read, dcrtest.Replacing(read, "redirect_uris", []string{"javascript:alert(1)"})).Status)
	require.Equal(t, http.StatusOK, r.Manage(t, http.MethodPut, read, dcrtest.Replacing(read, "redirect_uris", redirectsSame, "client_name", "New")).Status)
	r.requireGrants(t, true)
}

// TestRedirectChangeComposition: the option takes a storage that can revoke.
func TestRedirectChangeComposition(t *testing.T) {
	t.Parallel()
	compose := func(storage any) error {
		_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{Storage: storage, Config: dcr.Config{Management: dcr.Management{RevokeOnRedirectChange: true}}})
		return err
	}
	require.NoError(t, compose(dcr.NewMemoryStore()))
	require.ErrorContains(t, compose(dcrtest.UnrevokingStore{MemoryStore: dcr.NewMemoryStore()}), "GrantRevoker")
}
