package main

import (
	"bytes"
	"database/sql"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// databases return values of -storage, each for a new database.
var databases = map[string]func(t testing.TB) string{
	"sqlite":     func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "auth #1.db") },
	"postgresql": dcrtest.PostgreSQL,
}

// onEachDatabase runs a test with a new database of each kind.
func onEachDatabase(t *testing.T, test func(t *testing.T, storage string)) {
	t.Helper()
	t.Parallel()
	for name, create := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, create(t))
		})
	}
}

// TestDemoOnDatabases: the demo runs again where one has run before.
func TestDemoOnDatabases(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		for _, more := range [][]string{{"-tokens", tokensJWT}, {"-rotate=false"}} {
			var out, errOut bytes.Buffer
			err := run(t.Context(), append([]string{"-demo", "-storage", storage}, more...), &out, &errOut)
			require.NoError(t, err, out.String())
			require.True(t, strings.HasSuffix(out.String(), "\nAll as expected.\n"))
			require.Empty(t, errOut.String(), "the log has errors only")
		}
	})
}

const pushable = "https://app.example/cb"

// TestDatabases: what this server asks of its storage beside tokens is there in a database, too.
func TestDatabases(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		s := start(t, func(o *options) { o.storage, o.registration = storage, registrationToken })
		b := s.browser(t)
		minted := b.send(http.MethodPost, "/admin/api/initial-access-tokens", strings.NewReader(`{"label": "Partner", "uses": 2}`),
			s.operator("Content-Type", "application/json")...)
		require.Equal(t, http.StatusCreated, minted.status, minted.body)
		token := bearer(text(minted.json(t), "token"))
		client := b.register(object{"client_name": "Precious", "redirect_uris": []string{pushable}}, "Authorization", token)

		t.Run("pushed_request", func(t *testing.T) {
			auth := basic(text(client, "client_id"), text(client, "client_secret"))
			pushed := b.post("/oauth2/par", request(client, pushable), "Authorization", auth)
			require.Equal(t, http.StatusCreated, pushed.status, pushed.body)
			pointer := url.Values{"client_id": {text(client, "client_id")}, "request_uri": {text(pushed.json(t), "request_uri")}}
			require.NotEmpty(t, b.redeem(client, b.code(pointer), pushable)["id_token"])
			requireRefusal(t, s.browser(t).get("/oauth2/auth?"+pointer.Encode()), "Invalid PAR session")
		})
		t.Run("names_are_counted", func(t *testing.T) {
			other := b.register(object{"client_name": "Precious", "redirect_uris": []string{pushable}}, "Authorization", token)
			page := b.get("/oauth2/auth?" + request(other, pushable).Encode())
			require.Contains(t, page.body, "One other registration here has the same name")
			answer := b.tryRegister(object{"redirect_uris": []string{pushable}}, "Authorization", token)
			require.Equal(t, http.StatusUnauthorized, answer.status, "both uses are used")
		})
		t.Run("operator", func(t *testing.T) {
			page := "/admin/clients/" + text(client, "client_id")
			require.Contains(t, b.get("/admin/", s.operator()...).body, "Precious")
			require.Contains(t, b.get("/admin/tokens", s.operator()...).body, "Partner")
			require.Contains(t, b.get(page, s.operator()...).body, "Precious")
			require.Equal(t, http.StatusSeeOther, b.post(page+"/delete", nil, s.operator("Sec-Fetch-Site", "same-origin")...).status)
			require.Equal(t, http.StatusNotFound, b.get(page, s.operator()...).status)
		})
	})
}

// TestSharedKeys: processes that start at once with a new database have the same keys.
func TestSharedKeys(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		var group sync.WaitGroup
		found := make([]*keys, 5)
		for i := range found {
			group.Go(func() {
				store, k, err := openStorage(t.Context(), storage, "https://as.example")
				if err != nil {
					t.Error(err)
					return
				}
				found[i] = k
				if err := closeStorage(store); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, k := range found {
			require.NotNil(t, k)
			require.Equal(t, found[0], k)
		}
		d, err := parseStorage(storage)
		require.NoError(t, err)
		db, err := sql.Open(d.driver, d.driverSource)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		for value, want := range map[string]string{`{"Secret": "a-secret"`: "not the JSON of this program", `{"Secret": "YQ=="}`: "lacks a key"} {
			_, err = db.Exec(`UPDATE authserver_keys SET value = $1`, value)
			require.NoError(t, err)
			_, _, err = openStorage(t.Context(), storage, "https://as.example")
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "a-secret")
		}
	})
}

func TestSQLiteFileIsPrivate(t *testing.T) {
	t.Parallel()
	storage := databases["sqlite"](t)
	start(t, func(o *options) { o.storage = storage })
	files, err := filepath.Glob(strings.TrimPrefix(storage, "sqlite:") + "*")
	require.NoError(t, err)
	require.Len(t, files, 3, "with the write-ahead log and its index")
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}
}

// TestStorageOption: a value that can't be used is refused before anything is served, and says nothing of a password.
func TestStorageOption(t *testing.T) {
	t.Parallel()
	const want = "-storage: want memory, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE"
	for name, c := range map[string]struct{ value, want string }{
		"nothing":              {"", want},
		"unknown":              {"mysql://u:sesame@h/db", want},
		"memory_with_more":     {"memory:", want},
		"sqlite_without_file":  {"sqlite:", want},
		"sqlite_in_memory":     {"sqlite::memory:", want},
		"sqlite_like_a_url":    {"sqlite://auth.db", want},
		"sqlite_in_no_folder":  {"sqlite:/nowhere/auth.db", "-storage: SQLite, /nowhere/auth.db: open /nowhere/auth.db: no such file"},
		"sqlite_folder":        {"sqlite:/", "is a directory"},
		"no_scheme":            {"u:sesame@h/db", want},
		"no_slashes":           {"postgres:u:sesame@h/db", want},
		"no_user":              {"postgres://:sesame@h/db", want},
		"no_host":              {"postgres://u:sesame@/db", want},
		"no_database":          {"postgres://u:sesame@h", want},
		"bad_escape":           {"postgres://u:sesame%zz@h/db", want},
		"bad_port":             {"postgres://u:sesame@h:port/db", want},
		"slash_in_password":    {"postgres://u:12/sesame@h/db", want},
		"question_in_password": {"postgres://u:12?sesame@h/db", want},
		"hash_in_password":     {"postgres://u:12#sesame@h/db", want},
		"at_and_slash":         {"postgres://u:12@x/sesame@h/db", want},
		"at_and_question":      {"postgres://u:12@x/y?sesame@h/db", want},
		"bad_mode":             {"postgres://u:sesame@h/db?sslmode=sometimes", "sslmode is invalid"},
		"bad_mode_password":    {"postgres://u@h/db?sslmode=sometimes&password=sesame", "sslmode is invalid"},
		"nobody_listens":       {"postgres://u:sesame@127.0.0.1:1/db?sslmode=disable", "-storage: PostgreSQL, database db at 127.0.0.1:1: "},
		"nobody_in_the_query":  {"postgres://u@127.0.0.1:1/db?sslmode=disable&password=sesame", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-storage", c.value}, &out, &errOut)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, out.String(), "it started")
			require.NotContains(t, err.Error()+errOut.String(), "sesame")
		})
	}
	t.Run("not_after_the_flag", func(t *testing.T) {
		t.Parallel()
		_, err := parseOptions([]string{"-storage", "=", "postgres://u:sesame@h/db"}, io.Discard)
		require.ErrorContains(t, err, `unexpected argument "postgres"`)
		require.NotContains(t, err.Error(), "sesame")
	})
}
