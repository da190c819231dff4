package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	provider := dcrtest.Start(t, dcrtest.Setup{}).Provider
	_, err := admin.New(provider, admin.Options{Prefix: "/admin"})
	require.EqualError(t, err, "admin: set Options.Authenticate: without it, everybody who reaches these pages could delete every client")
	_, err = admin.New(nil, admin.Options{Authenticate: operatorOf})
	require.ErrorContains(t, err, "no provider")
	for _, prefix := range []string{"admin", "/admin/", "/", "https://as.example/admin"} {
		_, err = admin.New(provider, admin.Options{Authenticate: operatorOf, Prefix: prefix})
		require.EqualError(t, err, `admin: Options.Prefix "`+prefix+`" must begin with a slash and must not end with one; leave it empty for the root`)
	}
	for _, prefix := range []string{"//admin", "/a?b", "/a#b", "/a b", "/{x}", "/%41", "/a/../b", "/."} {
		_, err = admin.New(provider, admin.Options{Authenticate: operatorOf, Prefix: prefix})
		require.ErrorContains(t, err, `Options.Prefix "`+prefix+`" must be a plain path such as "/admin"`)
	}
}

// route is a request, and whether it would change something.
type route struct{ method, path, body, kind string }

func (r route) changes() bool { return r.method != http.MethodGet }

func (r route) send(t testing.TB, s *server, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	if r.kind != "" {
		edits = append(edits, dcrtest.Header("Content-Type", r.kind))
	}
	return s.Do(t, r.method, "/admin"+r.path, []byte(r.body), edits...)
}

const (
	isForm = "application/x-www-form-urlencoded"
	isJSON = "application/json"
)

// routes are all that there are, for one client and one initial access token.
func routes(client, token string) []route {
	c, k := "/clients/"+client, "/api/initial-access-tokens"
	return []route{
		{"GET", "/", "", ""}, {"GET", "", "", ""}, {"GET", "/?search=x", "", ""}, {"GET", "/style.css", "", ""},
		{"GET", "/clients?id=" + client, "", ""}, {"GET", c, "", ""}, {"GET", "/tokens", "", ""}, {"GET", "/events", "", ""},
		{"GET", c + "/revoke", "", ""}, {"GET", c + "/expire", "", ""}, {"GET", c + "/delete", "", ""},
		{"GET", "/tokens/" + token + "/revoke", "", ""}, {"GET", "/sweep", "", ""}, {"GET", "/nowhere", "", ""},
		{"GET", "/api/summary", "", ""}, {"GET", "/api/clients", "", ""}, {"GET", "/api" + c, "", ""},
		{"GET", k, "", ""}, {"GET", "/api/events", "", ""}, {"GET", "/api/nowhere", "", ""},
		{"POST", "/tokens", "uses=1&lifetime=7&unit=days", isForm}, {"POST", k, "{}", isJSON},
		{"POST", c + "/revoke", "", isForm}, {"POST", "/api" + c + "/revoke-tokens", "", isJSON},
		{"POST", c + "/expire", "", isForm}, {"POST", "/api" + c + "/expire", "", isJSON},
		{"POST", "/sweep", "", isForm}, {"POST", "/api/sweep", "", isJSON},
		{"POST", c + "/delete", "", isForm}, {"DELETE", "/api" + c, "", ""},
		{"POST", "/tokens/" + token + "/revoke", "", isForm}, {"DELETE", k + "/" + token, "", ""},
		{"PUT", "/api" + c, "{}", isJSON}, {"PATCH", "/", "", ""},
	}
}

// documentRoutes are those for one document.
func documentRoutes(id string) []route {
	found := []route{{"GET", "/documents", "", ""}, {"GET", "/document?" + query(id), "", ""}, {"GET", "/api/documents", "", ""}, {"GET", "/api/document?" + query(id), "", ""}}
	for _, change := range []string{"refresh", "block", "unblock", "revoke"} {
		page, api := "/document/"+change+"?"+query(id), strings.Replace("/api/document/"+change+"?"+query(id), "revoke", "revoke-tokens", 1)
		found = append(found, route{"GET", page, "", ""}, route{"POST", page, "", isForm}, route{"POST", api, "", isJSON})
	}
	return found
}

func query(id string) string { return url.Values{"id": {id}}.Encode() }

// state is all that requests could change.
func (s *server) state(t testing.TB) string {
	t.Helper()
	tokens, err := s.Provider.ListInitialAccessTokens(t.Context(), "", 100)
	require.NoError(t, err)
	page, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, "", 100)
	require.NoError(t, err)
	var b strings.Builder
	for _, token := range tokens {
		fmt.Fprintln(&b, token.ID)
	}
	for _, client := range page.Clients {
		fmt.Fprintln(&b, client.ID, client.Version, client.ExpiresAt)
	}
	documents, err := s.documents.List(t.Context(), "", 100)
	require.NoError(t, err)
	fmt.Fprintln(&b, documents)
	return b.String()
}

// TestDoor: nobody but an operator reads or changes anything, on pages or in the API.
func TestDoor(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		edits  []dcrtest.Edit
		option func(*admin.Options)
		reads  bool // may read
		status int
	}{
		"anonymous": {status: http.StatusForbidden},
		"deny_hook": {status: http.StatusUnauthorized, option: func(o *admin.Options) {
			o.Deny = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", "Basic")
				w.WriteHeader(http.StatusUnauthorized)
			})
		}},
		"outage": {edits: []dcrtest.Edit{as("olga")}, status: http.StatusInternalServerError, option: func(o *admin.Options) {
			o.Authenticate = func(*http.Request) (string, error) { return "olga", errors.New("sessions of 10.1.2.3 are gone") }
		}},
		"outage_for_a_while": {edits: []dcrtest.Edit{as("olga")}, status: http.StatusServiceUnavailable, option: func(o *admin.Options) {
			o.Authenticate = func(*http.Request) (string, error) { return "", dcr.ErrUnavailable }
		}},
		"not_found_is_no_answer": {status: http.StatusInternalServerError, option: func(o *admin.Options) {
			o.Authenticate = func(*http.Request) (string, error) { return "", dcr.ErrBadArgument }
		}},
		"cross_site": {edits: []dcrtest.Edit{as("olga"), dcrtest.Header("Sec-Fetch-Site", "cross-site")}, reads: true, status: http.StatusForbidden},
		"same_site":  {edits: []dcrtest.Edit{as("olga"), dcrtest.Header("Sec-Fetch-Site", "same-site")}, reads: true, status: http.StatusForbidden},
		"origin":     {edits: []dcrtest.Edit{as("olga"), dcrtest.Header("Origin", "https://evil.example")}, reads: true, status: http.StatusForbidden},
		"no_origin":  {edits: []dcrtest.Edit{as("olga"), dcrtest.Header("Origin", "null")}, reads: true, status: http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(_ *dcrtest.Setup, o *admin.Options) {
				if row.option != nil {
					row.option(o)
				}
			})
			client := s.Register(t, service("Precious"))
			access := s.use(t, client).Text("access_token")
			secret, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Label: "Precious"})
			require.NoError(t, err)
			id, document := s.signInByDocument(t)
			before := s.state(t)
			for _, r := range append(routes(client.ID(), token.ID), documentRoutes(id)...) {
				if row.reads && !r.changes() {
					continue
				}
				answer := r.send(t, s, row.edits...)
				require.Equal(t, row.status, answer.Status, "%s %s: %s", r.method, r.path, answer.Body)
				for _, told := range []string{"Precious", token.ID, secret, "10.1.2.3", "<form", "/documented"} {
					require.NotContains(t, answer.Body, told, "%s %s", r.method, r.path)
				}
			}
			require.Equal(t, before, s.state(t))
			live := s.Form(t, "/oauth2/introspect", map[string][]string{"token": {access}}, dcrtest.Basic(client.ID(), client.Secret()))
			require.Equal(t, true, live.Members["active"], "the tokens live")
			renewed := s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, document.Text("refresh_token")))
			require.Equal(t, http.StatusOK, renewed.Status, renewed.Body)
		})
	}
}

// TestOperatorsOwnPage: what a browser says of the pages' own forms lets them through.
func TestOperatorsOwnPage(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]dcrtest.Edit{
		"browser":     {dcrtest.Header("Sec-Fetch-Site", "same-origin"), dcrtest.Header("Origin", "null")},
		"old_browser": {},
		"typed":       {dcrtest.Header("Sec-Fetch-Site", "none")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			client := s.Register(t, named("App"))
			answer := s.form(t, "/clients/"+client.ID()+"/delete", nil, edits...)
			require.Equal(t, http.StatusSeeOther, answer.Status, answer.Body)
			require.Equal(t, "/admin/?done=delete", answer.Header.Get("Location"))
			require.Equal(t, http.StatusNotFound, s.get(t, "/api/clients/"+client.ID()).Status)
		})
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.Register(t, named("App"))
	_, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	for _, r := range append(routes(client.ID(), token.ID), documentRoutes("https://client.example/")...) {
		for _, edits := range [][]dcrtest.Edit{{as("olga")}, nil} {
			h := r.send(t, s, edits...).Header
			require.Equal(t, "no-store", h.Get("Cache-Control"), r.path)
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), r.path)
			require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), r.path)
			policy := h.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'", r.path)
			require.Contains(t, policy, "frame-ancestors 'none'", r.path)
			require.NotContains(t, policy, "unsafe", r.path)
			require.Empty(t, h.Get("Access-Control-Allow-Origin"), r.path)
		}
	}
}

// TestSignInPage: what Deny writes is the application's, which may need scripts and other servers.
func TestSignInPage(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *dcrtest.Setup, o *admin.Options) {
		o.Deny = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Referrer-Policy", "same-origin")
			fmt.Fprint(w, `<form action="https://login.example/"><script src="/login.js"></script></form>`)
		})
	})
	h := s.Do(t, http.MethodGet, "/admin/", nil).Header
	for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy"} {
		require.Empty(t, h.Get(name), name)
	}
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "same-origin", h.Get("Referrer-Policy"), "the application may change it")
	for name, edits := range map[string][]dcrtest.Edit{
		"operator": {as("olga")}, "cross_site": {dcrtest.Header("Sec-Fetch-Site", "cross-site")},
	} {
		guarded := s.Do(t, http.MethodPost, "/admin/", nil, edits...).Header
		require.Contains(t, guarded.Get("Content-Security-Policy"), "default-src 'none'", name)
		require.Equal(t, "DENY", guarded.Get("X-Frame-Options"), name)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := start(t)
	for path, allow := range map[string]string{
		"/": "GET, HEAD", "/tokens": "GET, HEAD, POST", "/clients/x": "GET, HEAD", "/clients/x/delete": "GET, HEAD, POST", "/style.css": "GET, HEAD",
		"/api/summary": "GET, HEAD", "/api/clients": "GET, HEAD", "/api/clients/x": "DELETE, GET, HEAD", "/api/clients/x/expire": "POST",
		"/api/clients/x/revoke-tokens": "POST", "/api/initial-access-tokens": "GET, HEAD, POST", "/api/initial-access-tokens/x": "DELETE", "/api/sweep": "POST",
		"/documents": "GET, HEAD", "/document": "GET, HEAD", "/document/block": "GET, HEAD, POST", "/api/documents": "GET, HEAD", "/api/document": "GET, HEAD",
		"/api/document/refresh": "POST", "/api/document/block": "POST", "/api/document/unblock": "POST", "/api/document/revoke-tokens": "POST",
	} {
		answer := s.Do(t, http.MethodPut, "/admin"+path, nil, as("olga"))
		require.Equal(t, http.StatusMethodNotAllowed, answer.Status, path)
		require.Equal(t, allow, answer.Header.Get("Allow"), path)
		require.Equal(t, strings.HasPrefix(path, "/api/"), answer.Text("error") == "invalid_request", path)
	}
	head := s.Do(t, http.MethodHead, "/admin/api/clients", nil, as("olga"))
	require.Equal(t, http.StatusOK, head.Status)
	require.Empty(t, head.Body)
	for path, to := range map[string]string{"": "/admin/", "//x": "/admin/x", "/tokens/../events": "/admin/events"} {
		require.Equal(t, to, s.get(t, path).Header.Get("Location"))
	}
}
