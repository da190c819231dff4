package sqlstore_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// TestKeys: identifiers and keys of any length are one only if all their bytes are.
func TestKeys(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-09/keys", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			long := strings.Repeat("日", 2000)
			keys := []string{"Key", "key", "key ", " key", "kéy", "ke\u0301y", long, long + "a", strings.Repeat("s", 700) + "." + rand.Text()}
			for _, key := range keys {
				require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: key, Version: 1, Issuer: long}))
				grant := s.grant(key, time.Hour)
				require.NoError(t, s.CreateAccessTokenSession(ctx, key, grant))
				require.NoError(t, s.SetClientAssertionJWT(ctx, key, time.Now().Add(time.Minute)))
			}
			for _, key := range keys {
				client, err := s.GetDynamicClient(ctx, key)
				require.NoError(t, err)
				require.Equal(t, key, client.ID)
				got, err := s.GetAccessTokenSession(ctx, key, nil)
				require.NoError(t, err)
				require.Equal(t, key, got.GetID())
				require.ErrorIs(t, s.ClientAssertionJWTValid(ctx, key), fosite.ErrJTIKnown)
			}
			_, err := s.GetDynamicClient(ctx, "KEY")
			require.ErrorIs(t, err, fosite.ErrNotFound)
		})
	})
}

// TestLarge: what was accepted comes back byte for byte.
func TestLarge(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-10/large", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			want := s.grant("large", time.Hour)
			for i := range 100 {
				want.GrantScope("scope:🎈" + strconv.Itoa(i))
			}
			want.Form.Set("nonce", strings.Repeat("𝔘", 10_000))
			want.Session = &fosite.DefaultSession{Subject: "s", Extra: map[string]any{"text": strings.Repeat("x\u2028\"\\", 16_384)}}
			require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", want))
			got, err := s.GetAuthorizeCodeSession(ctx, "code", new(fosite.DefaultSession))
			require.NoError(t, err)
			require.Equal(t, want.GrantedScope, got.GetGrantedScopes())
			require.Equal(t, want.Form, got.GetRequestForm())
			require.Equal(t, want.Session.(*fosite.DefaultSession).Extra, got.GetSession().(*fosite.DefaultSession).Extra)
		})
	})
}

// TestForeignBytes: bytes that a database may refuse have the answer of anything else that is unknown.
func TestForeignBytes(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-11/T60", func(t *testing.T) {
			store := d.open(t, d.create(t), sqlstore.Options{})
			s := serve(t, store)
			client := s.Register(t, app)
			for _, bad := range []string{"\x00", "a\x00b", "\xff", "\xc3\x28", "\xed\xa0\x80"} {
				grant := &dcr.Client{ID: bad, Version: 1}
				require.NoError(t, store.CreateClient(t.Context(), grant), "any bytes are an identifier")
				require.NoError(t, store.DeleteClient(t.Context(), bad))
				unknown := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(url.QueryEscape(bad), "secret"))
				require.Equal(t, http.StatusUnauthorized, unknown.Status, unknown.Body)
				for _, form := range []url.Values{dcrtest.CodeForm("", "ory_ac_"+bad+".x", dcrtest.RedirectURI), dcrtest.RefreshForm("", "ory_rt_"+bad+".x")} {
					answer := s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
					require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
					require.Equal(t, "invalid_grant", answer.Text("error"))
				}
				dcrtest.RequireInactive(t, s, "ory_at_"+bad+".x")
				require.Less(t, s.Authorize(t, dcrtest.AuthorizeQuery(bad, dcrtest.RedirectURI)).Status, 500)
			}
		})
	})
}

// TestFarTimes: a time that does not fit into a column is in the far future, or in the far past.
func TestFarTimes(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-12/far", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
			require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "far", Version: 1, ExpiresAt: far, UnusedUntil: far}))
			require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "1970", Version: 1, ExpiresAt: time.Unix(0, 0)}))
			require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "long past", Version: 1, ExpiresAt: far.AddDate(-9000, 0, 0)}))
			removed, err := s.DeleteExpiredClients(ctx, dcr.Expiry{Now: time.Now()}, 10)
			require.NoError(t, err)
			require.Len(t, removed, 2)
			client, err := s.GetDynamicClient(ctx, "far")
			require.NoError(t, err)
			require.True(t, client.ExpiresAt.Equal(far))

			for signature, year := range map[string]int{"2050": 2050, "9999": 9999} {
				grant := s.grant(signature, 0)
				grant.Session.SetExpiresAt(fosite.AccessToken, time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC))
				require.NoError(t, s.CreateAccessTokenSession(ctx, signature, grant))
			}
			got, err := s.GetAccessTokenSession(ctx, "2050", nil)
			require.NoError(t, err)
			require.Equal(t, time.Date(2050, 1, 2, 3, 4, 5, 0, time.UTC), got.GetSession().GetExpiresAt(fosite.AccessToken))
			s.ahead.Store(int64(time.Until(time.Date(2050, 1, 2, 3, 4, 6, 0, time.UTC))))
			s.requireAccess(t, fosite.ErrNotFound, "2050")
			s.requireAccess(t, nil, "9999")
		})
	})
}

// TestTimeZones runs tests of times in processes with other time zones, on a server with another one.
func TestTimeZones(t *testing.T) {
	t.Parallel()
	if os.Getenv("DCR_TEST_ZONE") != "" {
		return
	}
	for _, zone := range []string{"America/Los_Angeles", "Pacific/Kiritimati", "Europe/Berlin"} {
		t.Run("SQL-12/"+zone, func(t *testing.T) {
			t.Parallel()
			command := exec.Command(os.Args[0], "-test.run=^(TestWhole|TestCode|TestRefresh|TestFarTimes)$")
			command.Env = append(os.Environ(), "TZ="+zone, "PGTZ=Etc/GMT-14", "DCR_TEST_ZONE=1")
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}

// TestDump: a dump of the database holds nothing that anybody could present.
func TestDump(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-25/dump/T27", func(t *testing.T) {
			source := d.create(t)
			s := serve(t, d.open(t, source, sqlstore.Options{RefreshGrace: time.Minute}))
			minted, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
			require.NoError(t, err)
			client := s.Register(t, app)
			secrets := map[string]string{"initial access token": minted, "client secret": client.Secret(), "registration token": client.Token()}
			basic := dcrtest.Basic(client.ID(), client.Secret())
			push := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid offline_access", "nonce", "known to both")
			pushed := s.Form(t, "/oauth2/par", push, basic)
			require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
			secrets["request URI"] = pushed.Text("request_uri")
			code := s.Code(t, url.Values{"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}})
			unused := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"))
			secrets["code"], secrets["unused code"], secrets["verifier"] = code, unused, dcrtest.Verifier
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), basic)
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			fresh := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), basic)
			require.Equal(t, http.StatusOK, fresh.Status, fresh.Body)
			for _, name := range []string{"access_token", "refresh_token", "id_token"} {
				secrets[name], secrets["fresh "+name] = tokens.Text(name), fresh.Text(name)
			}
			service := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, basic)
			secrets["service token"] = service.Text("access_token")

			dump := d.dump(t, source)
			require.Contains(t, dump, "App", "the dump has the clients")
			for name, secret := range secrets {
				require.NotEmpty(t, secret, name)
				require.NotContains(t, dump, secret, name)
				random, signature, _ := strings.Cut(secret, ".")
				if signature != "" && !strings.HasPrefix(secret, "ey") {
					require.NotContains(t, dump, random[len(random)-20:], name)
				}
				if signature != "" && name != "registration token" { // whose signature the record names
					require.NotContains(t, dump, signature[:20], name)
				}
			}
		})
	})
}

// dump is everything that is in the database.
func (d database) dump(t *testing.T, source string) string {
	t.Helper()
	if d.dialect == sqlstore.SQLite {
		var all []byte
		for _, name := range []string{source, source + "-wal"} {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			all = append(all, content...)
		}
		return string(all)
	}
	db := d.raw(t, source)
	var all bytes.Buffer
	for _, table := range []string{"clients", "initial_access_tokens", "grants", "tokens", "revocations", "assertions"} {
		found, err := db.QueryContext(t.Context(), `SELECT * FROM dcr_`+table)
		require.NoError(t, err)
		columns, err := found.Columns()
		require.NoError(t, err)
		for found.Next() {
			values, places := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				places[i] = &values[i]
			}
			require.NoError(t, found.Scan(places...))
			for _, value := range values {
				fmt.Fprintf(&all, "%s\n", value)
			}
		}
		require.NoError(t, found.Err())
		require.NoError(t, found.Close())
	}
	return all.String()
}
