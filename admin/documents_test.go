package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const callback = "https://app.example/cb"

// signIn takes a client with a document through a sign-in, and returns its tokens.
func (s *server) signIn(t testing.TB, id string) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(id, callback))
	answer := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, callback))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

func publicDocument(pairs ...any) object {
	return named("Documented", append([]any{"token_endpoint_auth_method", "none", "grant_types", []string{"authorization_code", "refresh_token"}}, pairs...)...)
}

// signInByDocument publishes a document, and signs its client in.
func (s *server) signInByDocument(t testing.TB) (id string, tokens dcrtest.Answer) {
	t.Helper()
	id = dcrtest.StartDocumentHost(t).Publish(t, "/documented", publicDocument())
	return id, s.signIn(t, id)
}

// introspecting lets a test ask whether a token is active.
func introspecting(t testing.TB) edit {
	return func(setup *dcrtest.Setup, _ *admin.Options) { setup.Static = []fosite.Client{dcrtest.Introspector(t)} }
}

// keptInStorage has documents kept in the storage, beyond the process.
func keptInStorage(t testing.TB) edit {
	return func(setup *dcrtest.Setup, o *admin.Options) {
		store := dcr.NewMemoryStore()
		for _, client := range setup.Static {
			store.AddClient(client)
		}
		setup.Storage = store
		o.Documents = dcrtest.NewDocuments(t, o.Now, func(options *cimd.Options) { options.Storage = store })
	}
}

// get1 returns what the API says of a document, and its page.
func (s *server) get1(t testing.TB, id string) (document dcrtest.Answer, page string) {
	t.Helper()
	shown := s.get(t, "/document?"+query(id))
	document = s.get(t, "/api/document?"+query(id))
	require.Equal(t, document.Status, shown.Status)
	return document, html.UnescapeString(shown.Body)
}

// TestDocuments: operators see clients with documents beside registered ones, and looking changes nothing.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]edit{"memory": nil, "storage": {keptInStorage(t)}} {
		t.Run("CIMD-15/"+name, func(t *testing.T) {
			t.Parallel()
			host := dcrtest.StartDocumentHost(t)
			s := start(t, edits...)
			id := host.Publish(t, "/client?tenant=1&x=%C3%A4", publicDocument("client_name", "Notes", "logo_uri", "https://app.example/logo.png"))
			host.PublishBytes("/client", []byte(strings.ReplaceAll(`{"client_id":"ID","client_name":"Notes","redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"none",
				"grant_types":["authorization_code","refresh_token","urn:unknown"],"jwks":{"keys":[{"kty":"EC","crv":"P-256","kid":"key-1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}}`, "ID", id)))
			require.Equal(t, []any{}, s.get(t, "/api/documents").Members["documents"])
			require.Equal(t, http.StatusNotFound, s.get(t, "/document?"+query(id)).Status)
			require.Zero(t, host.Asked("/client"), "a look fetches nothing")
			s.signIn(t, id)

			list := s.get(t, "/api/documents").Members["documents"].([]any)
			require.Len(t, list, 1)
			before := list[0].(object)
			require.Equal(t, []string{"blocked", "client_id", "fetched_at", "fresh_until", "host", "last_used_at"}, sortedKeys(before))
			require.Equal(t, []any{id, host.Listener.Addr().String(), false}, []any{before["client_id"], before["host"], before["blocked"]})
			s.forward(2 * time.Hour)
			document, page := s.get1(t, id)
			for name := range before {
				require.Equal(t, before[name], document.Members[name], "%s: a look is no use", name)
			}
			client := document.Members["client"].(object)
			metadata := client["metadata"].(object)
			require.Equal(t, []any{"authorization_code", "refresh_token"}, metadata["grant_types"], "what the server made of it")
			require.NotContains(t, metadata, "jwks")
			require.Equal(t, []any{object{"kty": "EC", "kid": "key-1"}}, client["keys"])
			require.Equal(t, []any{"app.example"}, client["display"].(object)["redirect_hosts"])
			for _, text := range []string{"<h1><bdi>" + host.Listener.Addr().String() + "</bdi></h1>", id, "<bdi>Notes</bdi>", "<bdi class=\"line\">app.example</bdi>", "kid <bdi>key-1</bdi>", "2 hours ago", "At the next use", "Fetch now"} {
				require.Contains(t, page, text)
			}
			require.Equal(t, 1, host.Asked("/client"), "though its lifetime is over")

			require.Empty(t, ids(t, s.get(t, "/api/clients")), "it is no registration")
			require.NotEqual(t, http.StatusOK, s.get(t, "/api/clients/"+url.PathEscape(id)).Status)
			opened := s.get(t, "/clients?"+query(id))
			require.Equal(t, "/admin/document?"+query(id), opened.Header.Get("Location"))
			require.Contains(t, html.UnescapeString(s.get(t, "/documents").Body), `href="/admin/document?`+query(id)+`"><bdi>`+host.Listener.Addr().String()+`</bdi>`)
		})
	}
	t.Run("CIMD-15/without", func(t *testing.T) {
		t.Parallel()
		s := start(t, func(_ *dcrtest.Setup, o *admin.Options) { o.Documents = nil })
		for _, r := range documentRoutes("https://client.example/") {
			require.Equal(t, http.StatusNotFound, r.send(t, s, as("olga")).Status, r.path)
		}
		require.NotContains(t, s.get(t, "/").Body, "Documents")
		require.Contains(t, s.get(t, "/clients?"+query("https://client.example/")).Header.Get("Location"), "/admin/clients/https:")
	})
}

func sortedKeys(o object) []string {
	var names []string
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestDocumentChanges: the history says what a newer document changed, and that no operator did it.
func TestDocumentChanges(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]edit{"memory": nil, "storage": {keptInStorage(t)}} {
		t.Run("CIMD-11/"+name, func(t *testing.T) {
			t.Parallel()
			host := dcrtest.StartDocumentHost(t)
			s := start(t, edits...)
			id := host.Publish(t, "/client", publicDocument())
			s.signIn(t, id)
			newer, err := json.Marshal(publicDocument("client_id", id, "client_name", "Renamed", "redirect_uris", []string{"https://evil.example/cb"}))
			require.NoError(t, err)
			host.Handle("/client", func(w http.ResponseWriter, _ *http.Request) {
				<-time.After(100 * time.Millisecond) // a slow host: the operator's request waits for it
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(newer)
			})
			s.forward(time.Minute)
			document := s.post(t, "/api/document/refresh?"+query(id), "")
			require.Equal(t, http.StatusOK, document.Status, document.Body)
			require.Equal(t, 2, host.Asked("/client"), "now, though the copy was fresh")
			require.NotContains(t, document.Members, "failure")
			entries, err := s.history.ClientEvents(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, []string{"document_changed  client_name,redirect_uris"}, kindsOf(entries))
			document, page := s.get1(t, id)
			require.Equal(t, []string{"document_changed"}, kindsIn(t, document, "history"))
			require.Contains(t, page, "<b>document changed</b>: <bdi>client_<wbr>name</bdi>, <bdi>redirect_<wbr>uris</bdi></li>")
			require.Contains(t, page, "evil.example")
			answer := s.form(t, "/document/refresh?"+query(id), nil)
			require.Equal(t, "/admin/document?"+query(id)+"&done=refresh", answer.Header.Get("Location"))
			require.Contains(t, s.get(t, strings.TrimPrefix(answer.Header.Get("Location"), "/admin")).Body, "The document was fetched.")
		})
	}
}

// TestFailedFetches: an operator sees why a document was not fetched, or not accepted, while its copy serves.
func TestFailedFetches(t *testing.T) {
	t.Parallel()
	writes := func(status int, mediaType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const page = "<!DOCTYPE html><title>Just a moment...</title>"
	for name, row := range map[string]struct {
		answer    http.HandlerFunc
		reason    string
		status    any
		mediaType any
		words     string
		described string
	}{
		"challenge":     {writes(403, "text/html; charset=UTF-8", page), "status", 403.0, "text/html; charset=UTF-8", "no document (status 403, <bdi>text/html; charset=UTF-8</bdi>)", "status 403, text/html; charset=UTF-8"},
		"missing":       {http.NotFound, "status", 404.0, "text/plain; charset=utf-8", "no document (status 404", "status 404, text/plain; charset=utf-8"},
		"no_media_type": {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; w.WriteHeader(500) }, "status", 500.0, nil, "no document (status 500)", "status 500"},
		"html":          {writes(200, "text/html", page), "media_type", 200.0, "text/html", "not JSON (status 200, <bdi>text/html</bdi>)", "status 200, text/html"},
		"hostile_type":  {writes(200, "text/x; a=\"<script>\u202e\"", ""), "media_type", 200.0, "text/x; a=\"<script>\u202e\"", "not JSON (status 200, <bdi>text/x; a=\"<script>[U+202E]\"</bdi>)", "status 200, text/x; a=\"<script>\u202e\""},
		"large":         {writes(200, "application/json", `{"a":"`+strings.Repeat("a", 6<<10)+`"}`), "size", 200.0, "application/json", "too large", "status 200, application/json"},
		"no_object":     {writes(200, "application/json", `[]`), "json", 200.0, "application/json", "not a JSON object", "status 200, application/json"},
		"hung_up":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection", nil, nil, "no connection", ""},
		"rule":          {writes(200, "application/json", `{"client_name":"x","redirect_uris":["javascript:alert(1)"]}`), "invalid_redirect_uri", nil, nil, "breaks a rule: invalid_redirect_uri", "redirect_uris[0] "},
	} {
		t.Run("CIMD-24/"+name, func(t *testing.T) {
			t.Parallel()
			host := dcrtest.StartDocumentHost(t)
			s := start(t)
			id := host.Publish(t, "/client", publicDocument())
			tokens := s.signIn(t, id)
			host.Handle("/client", row.answer)
			s.forward(time.Hour)
			answer := s.post(t, "/api/document/refresh?"+query(id), "")
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			failure := answer.Members["failure"].(object)
			require.Equal(t, []any{row.reason, row.status, row.mediaType}, []any{failure["reason"], failure["status"], failure["media_type"]})
			require.Equal(t, row.status == nil, failure["description"] != nil, "what there is to say beside the answer")
			require.NotEmpty(t, failure["at"])

			document, page := s.get1(t, id)
			require.Equal(t, failure, document.Members["failure"])
			require.Contains(t, document.Members, "client", "the copy serves")
			event := document.Members["history"].([]any)[0].(object)
			require.Equal(t, []any{"document_failed", row.reason}, []any{event["kind"], event["reason"]})
			if row.described == "" {
				require.NotContains(t, event, "description")
			} else {
				require.Contains(t, event["description"], row.described)
			}
			list := html.UnescapeString(s.get(t, "/documents").Body)
			for _, shown := range []string{page, list} {
				require.Contains(t, shown, row.words)
			}
			require.Contains(t, page, "<b>document not fetched or refused</b>: <bdi>"+strings.SplitN(row.words, " (", 2)[0]+"</bdi>")
			sent := s.form(t, "/document/refresh?"+query(id), nil).Header.Get("Location")
			require.Equal(t, "/admin/document?"+query(id)+"&done=not-refreshed", sent)
			require.Contains(t, s.get(t, strings.TrimPrefix(sent, "/admin")).Body, `role="alert">The document was not renewed.`)
			require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token"))).Status)
		})
	}
}

// TestDocumentNeverFetched: nothing is kept of a client whose document was never had, but operators see why.
func TestDocumentNeverFetched(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	s := start(t)
	id := host.URL + "/client"
	host.Handle("/client", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
	})
	require.GreaterOrEqual(t, s.Authorize(t, dcrtest.AuthorizeQuery(id, callback)).Status, 500)
	t.Run("CIMD-24/never_had", func(t *testing.T) {
		require.Equal(t, []any{}, s.get(t, "/api/documents").Members["documents"])
		document, page := s.get1(t, id)
		require.Equal(t, http.StatusNotFound, document.Status)
		require.Contains(t, page, "The server keeps no document of this client.")
		require.Contains(t, page, "</b>: <bdi>no document</bdi> <span class=\"soft why\">(<bdi>status 403, text/html</bdi>)")
		require.Contains(t, page, "Block this client")
		event := s.get(t, "/api/events").Members["events"].([]any)[0].(object)
		require.Equal(t, []any{"document_failed", id, "status", "status 403, text/html"}, []any{event["kind"], event["client_id"], event["reason"], event["description"]})
		require.Contains(t, html.UnescapeString(s.get(t, "/events").Body), `<a href="/admin/document?`+query(id)+`"><bdi class="code">`+id)
	})
	t.Run("CIMD-10/gone", func(t *testing.T) {
		s.signIn(t, host.Publish(t, "/client", publicDocument()))
		host.Handle("/client", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
		require.Equal(t, http.StatusNotFound, s.post(t, "/api/document/refresh?"+query(id), "").Status)
		_, page := s.get1(t, id)
		require.Contains(t, page, "(<bdi>status 410</bdi>)")
	})
}

// TestBlock: an operator who blocks a client takes its tokens, too.
func TestBlock(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]edit{"memory": {introspecting(t)}, "storage": {introspecting(t), keptInStorage(t)}} {
		t.Run("CIMD-11/T49/"+name, func(t *testing.T) {
			t.Parallel()
			host := dcrtest.StartDocumentHost(t)
			s := start(t, edits...)
			id := host.Publish(t, "/client", publicDocument())
			tokens := s.signIn(t, id)
			dcrtest.RequireActive(t, s.Server, tokens.Text("access_token"), id)
			asked := s.get(t, "/document/block?"+query(id))
			require.Contains(t, html.UnescapeString(asked.Body), `<form method="post" action="/admin/document/block?`+query(id)+`"`)
			done := s.form(t, "/document/block?"+query(id), nil)
			require.Equal(t, "/admin/document?"+query(id)+"&done=block", done.Header.Get("Location"))
			dcrtest.RequireInactive(t, s.Server, tokens.Text("access_token"))
			require.NotEqual(t, http.StatusOK, s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token"))).Status)
			require.Equal(t, http.StatusUnauthorized, s.Authorize(t, dcrtest.AuthorizeQuery(id, callback)).Status)
			document, page := s.get1(t, id)
			require.Equal(t, true, document.Members["blocked"])
			require.Contains(t, document.Members, "client", "an operator still sees what was blocked")
			require.Contains(t, page, "This client is blocked.")
			require.NotContains(t, page, "Fetch now")
			require.Contains(t, page, "<b>all tokens revoked</b> <span class=\"by\">by operator <bdi>olga</bdi>")
			require.Contains(t, s.get(t, "/documents").Body, `<span class="tag warn">blocked</span>`)
			refused := s.post(t, "/api/document/refresh?"+query(id), "")
			require.Equal(t, http.StatusBadRequest, refused.Status)
			require.Contains(t, refused.Text("error_description"), "blocked")

			require.Equal(t, http.StatusNoContent, s.post(t, "/api/document/unblock?"+query(id), "").Status)
			tokens = s.signIn(t, id)
			require.Equal(t, http.StatusNoContent, s.post(t, "/api/document/revoke-tokens?"+query(id), "").Status)
			dcrtest.RequireInactive(t, s.Server, tokens.Text("access_token"))
			s.signIn(t, id)

			unknown := "https://client.example/first"
			require.Equal(t, http.StatusNoContent, s.post(t, "/api/document/block?"+query(unknown), "").Status)
			document, page = s.get1(t, unknown)
			require.Equal(t, object{"client_id": unknown, "host": "client.example", "blocked": true, "history_kept": true}, without(document.Members, "history"))
			require.Contains(t, page, "Unblock this client")
		})
	}
}

func without(o object, name string) object {
	delete(o, name)
	return o
}

// TestDocumentRequests: what an operator mistypes is refused, and does nothing.
func TestDocumentRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	const unknown = "id=https%3A%2F%2Fclient.example%2F"
	for path, status := range map[string]int{
		"GET /api/document": 400, "GET /document?id=+": 400, "GET /api/document?id=x&a;b": 400, "POST /api/document/block": 400, "POST /document/block": 400,
		"GET /document/block": 400, "POST /api/document/block?id=client.example": 400, "POST /api/document/block?id=https%3A%2F%2Fclient.example": 400,
		"POST /api/document/revoke-tokens?id=client.example": 404, "GET /api/document?id=client.example": 404, "GET /document?id=client.example": 404,
		"POST /api/document/refresh?" + unknown: 404, "POST /document/refresh?" + unknown: 303, "GET /document/forget?" + unknown: 404, "POST /document/forget?" + unknown: 404,
		"GET /api/documents?limit=0": 400, "GET /documents?limit=x": 400, "GET /api/documents?before=x": 400, "GET /api/documents?after=a&after=b": 400,
	} {
		method, path, _ := strings.Cut(path, " ")
		answer := s.Do(t, method, "/admin"+path, nil, as("olga"), dcrtest.Header("Content-Type", isForm))
		require.Equal(t, status, answer.Status, "%s %s: %s", method, path, answer.Body)
	}
	require.Equal(t, []any{}, s.get(t, "/api/documents").Members["documents"])
	require.Contains(t, s.get(t, "/document?id=client.example").Body, "cannot be the URL of a document")
}

// TestDocumentPages: a list goes on after the last identifier.
func TestDocumentPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("https://client.example/%d", i))
		require.NoError(t, s.documents.Block(t.Context(), want[i], true))
	}
	var found []string
	after := ""
	for round := 0; round == 0 || after != ""; round++ {
		answer := s.get(t, "/api/documents?limit=2&after="+url.QueryEscape(after))
		page := html.UnescapeString(s.get(t, "/documents?limit=2&after="+url.QueryEscape(after)).Body)
		for _, document := range answer.Members["documents"].([]any) {
			id := document.(object)["client_id"].(string)
			found = append(found, id)
			require.Contains(t, page, `href="/admin/document?`+query(id)+`"`)
		}
		after = answer.Text("next")
		require.Equal(t, after != "", strings.Contains(page, `href="/admin/documents?`+url.Values{"after": {after}, "limit": {"2"}}.Encode()+`" rel="next"`), page)
		require.Equal(t, round > 0, strings.Contains(page, ">First documents</a>"))
		require.Less(t, round, 5)
	}
	require.Equal(t, want, found)
}

// TestLongIdentifiers: in lists the host stands first and whole, and the identifier is cut on the left (CIMD-12).
func TestLongIdentifiers(t *testing.T) {
	t.Parallel()
	s := start(t)
	host := strings.Repeat("a.", 116) + "example"
	id := "https://" + host + "/" + strings.Repeat("very/long/", 170) + "end?x='&$"
	require.NoError(t, s.documents.Block(t.Context(), id, true))
	s.history.Record(t.Context(), dcr.Event{Kind: dcr.EventDocumentFailed, ClientID: id, Err: errDisk, Time: time.Now()})
	for _, path := range []string{"/documents", "/events"} {
		text := html.UnescapeString(tagIn.ReplaceAllString(s.get(t, path).Body, ""))
		require.Contains(t, text, host, path)
		require.NotContains(t, text, id, path)
		require.Contains(t, text, "…"+id[len(id)-100:], path)
	}
	for _, path := range []string{"/document?", "/document/unblock?"} {
		text := html.UnescapeString(tagIn.ReplaceAllString(s.get(t, path+query(id)).Body, ""))
		require.Contains(t, text, id, "whole: %s", path)
	}
}

// TestHostileDocuments: what a document says is text, wherever it stands (T21).
func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	s := start(t)
	id := host.Publish(t, "/a'b&c;d", publicDocument("client_name", `<script>alert(1)</script>`, "software_id", `"><img src=x onerror=alert(1)>`, "scope", "openid"))
	s.signIn(t, id)
	host.Publish(t, "/a'b&c;d", publicDocument("client_name", `<script>alert(2)</script>`))
	require.Equal(t, http.StatusOK, s.post(t, "/api/document/refresh?"+query(id), "").Status)
	for _, path := range []string{"/documents", "/document?" + query(id), "/document/block?" + query(id), "/document?id=%3Cscript%3E%E2%80%AE", "/document/block?id=%22%3E%3Cimg+src%3Dx%3E", "/document?" + query(id) + "&done=%3Cscript%3E"} {
		page := s.get(t, path)
		for _, bad := range []string{"<script", "<img", "\u202e", "/a'b"} {
			require.NotContains(t, page.Body, bad, path)
		}
		for _, found := range linkOf.FindAllStringSubmatch(page.Body, -1) {
			require.True(t, strings.HasPrefix(found[1], "/admin/") || found[1] == "#main", "%s leads to %s", path, found[1])
		}
	}
	require.Contains(t, html.UnescapeString(s.get(t, "/document?"+query(id)).Body), "alert(2)")
}

// failingDocuments is a storage of documents that fails, when told to.
type failingDocuments struct {
	*failingStore
}

func (s failingDocuments) ListDocuments(ctx context.Context, after string, limit int, each func(string, []byte, time.Time, bool)) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.failingStore.ListDocuments(ctx, after, limit, each)
}

func (s failingDocuments) BlockDocument(ctx context.Context, id string, blocked bool) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.failingStore.BlockDocument(ctx, id, blocked)
}

var errGrants = fmt.Errorf("grants at 10.1.2.3: %w", dcr.ErrUnavailable)

// TestDocumentStorageFails: an outage is never "unknown", and its cause is not told. A block without the tokens says so.
func TestDocumentStorageFails(t *testing.T) {
	t.Parallel()
	t.Run("T52/outage", func(t *testing.T) {
		t.Parallel()
		store := failingDocuments{&failingStore{MemoryStore: dcr.NewMemoryStore()}}
		s := start(t, func(setup *dcrtest.Setup, o *admin.Options) {
			setup.Storage = store
			o.Documents = dcrtest.NewDocuments(t, o.Now, func(options *cimd.Options) { options.Storage = store })
		})
		id, _ := s.signInByDocument(t)
		store.fail(fmt.Errorf("%w: %w", dcr.ErrUnavailable, errDisk))
		for _, r := range documentRoutes(id) {
			answer := r.send(t, s, as("olga"))
			if r.method == "GET" && strings.HasPrefix(r.path, "/document/") {
				require.Equal(t, http.StatusOK, answer.Status, r.path)
				continue
			}
			require.Equal(t, http.StatusServiceUnavailable, answer.Status, "%s %s: %s", r.method, r.path, answer.Body)
			require.NotContains(t, answer.Body, "10.1.2.3")
		}
	})
	for name, row := range map[string]struct {
		store  dcr.ClientStorage
		status int
	}{
		"not_supported":  {&plainStore{dcr.NewMemoryStore(), hides{}}, http.StatusNotImplemented},
		"outage_between": {grantsFail{&failingStore{MemoryStore: dcr.NewMemoryStore()}}, http.StatusServiceUnavailable},
	} {
		t.Run("CIMD-11/half_blocked_"+name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) { setup.Storage = row.store })
			const id = "https://client.example/"
			answer := s.post(t, "/api/document/block?"+query(id), "")
			require.Equal(t, row.status, answer.Status, answer.Body)
			require.Contains(t, answer.Text("error_description"), "The client is blocked, but its tokens were not revoked. ")
			require.NotContains(t, answer.Body, "10.1.2.3")
			require.Equal(t, true, s.get(t, "/api/document?"+query(id)).Members["blocked"])
		})
	}
}

// grantsFail is a storage that can't remove grants for a while.
type grantsFail struct{ *failingStore }

func (grantsFail) RevokeClientGrants(context.Context, string) error { return errGrants }

// TestDocumentsPushOutNoClient: anybody can publish documents that change, and no history of a registered client is lost
// by that. Failures start none.
func TestDocumentsPushOutNoClient(t *testing.T) {
	t.Parallel()
	h := admin.NewHistory(admin.HistoryOptions{Clients: 4})
	happen(t, h, dcr.EventRegistered, "registered", nil)
	id := func(i int) string { return fmt.Sprint("https://client.example/", i) }
	for i := range 100 {
		happen(t, h, dcr.EventDocumentFailed, id(i), dcr.ErrInvalidClientMetadata)
		happen(t, h, dcr.EventDocumentChanged, id(i), nil)
	}
	require.Equal(t, []string{"registered"}, past(t, h, "registered"))
	require.Empty(t, past(t, h, id(97)))
	require.Equal(t, []string{"document_changed"}, past(t, h, id(98)))
	for i := range 100 {
		happen(t, h, dcr.EventRegistered, fmt.Sprint(i), nil)
	}
	require.Equal(t, []string{"document_changed"}, past(t, h, id(99)))
	require.Empty(t, past(t, h, "registered"))
}
