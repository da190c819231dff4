package documents_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// TestRestart: what a client has goes on at a server that has just started, though the host of its document is down: a token, a
// refresh, a code that was not exchanged, a new sign-in. It ends when it is revoked.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (*sqlstore.Dialect, string){
		"sqlite": func(t *testing.T) (*sqlstore.Dialect, string) {
			return sqlstore.SQLite, filepath.Join(t.TempDir(), "as.db")
		},
		"postgresql": func(t *testing.T) (*sqlstore.Dialect, string) { return sqlstore.PostgreSQL, dcrtest.PostgreSQL(t) },
	} {
		t.Run("CIMD-22/"+name, func(t *testing.T) {
			t.Parallel()
			dialect, source := open(t)
			start := func() *dcrtest.Server {
				store, err := sqlstore.Open(t.Context(), dialect, source, sqlstore.Options{})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, store.Close()) })
				store.AddClient(dcrtest.Introspector(t))
				return dcrtest.Start(t, dcrtest.Setup{
					Closed: true, Storage: store,
					Fosite: func(config *fosite.Config) {
						config.AccessTokenIssuer, config.TokenURL = "https://as.example", "https://as.example/oauth2/token"
					},
					Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Storage = store })},
				})
			}
			host := dcrtest.StartDocumentHost(t)
			id := host.Publish(t, "/client", publicClient())
			before := start()
			code := func(s *dcrtest.Server) string {
				return s.Code(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile offline_access"))
			}
			tokens := before.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code(before), callback))
			require.Equal(t, 200, tokens.Status, string(tokens.Body))
			pending := code(before)
			host.Close()

			after := start()
			dcrtest.RequireActive(t, after, tokens.Text("access_token"), id)
			fresh := after.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token")))
			require.Equal(t, 200, fresh.Status, string(fresh.Body))
			dcrtest.RequireInactive(t, before, tokens.Text("access_token"))
			dcrtest.RequireActive(t, before, fresh.Text("access_token"), id)
			exchanged := after.Form(t, "/oauth2/token", dcrtest.CodeForm(id, pending, callback))
			require.Equal(t, 200, exchanged.Status, string(exchanged.Body))
			again := after.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code(after), callback))
			require.Equal(t, 200, again.Status, string(again.Body))

			revoked := after.Form(t, "/oauth2/revoke", url.Values{"token": {fresh.Text("refresh_token")}, "client_id": {id}})
			require.Equal(t, 200, revoked.Status, string(revoked.Body))
			dcrtest.RequireInactive(t, before, fresh.Text("access_token"))
			require.NoError(t, after.Provider.RevokeTokens(t.Context(), id))
			dcrtest.RequireInactive(t, before, again.Text("access_token"))
			require.Equal(t, 1, host.Asked("/client"))
		})
	}
}
