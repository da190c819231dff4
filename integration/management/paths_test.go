package management_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// routers are the ways to put the two handlers behind a router.
var routers = map[string]func(*dcr.Provider) http.Handler{
	"mux": func(p *dcr.Provider) http.Handler {
		router := mux.NewRouter().UseEncodedPath()
		p.Mount(router)
		return router
	},
	"net_http": func(p *dcr.Provider) http.Handler {
		router := http.NewServeMux()
		router.Handle("/register", p.RegistrationHandler())
		router.Handle("/register/{client_id}", p.ManagementHandler())
		return router
	},
	"net_http_subtree": func(p *dcr.Provider) http.Handler {
		router := http.NewServeMux()
		router.Handle("/register", p.RegistrationHandler())
		router.Handle("/register/", p.ManagementHandler())
		return router
	},
	"chi": func(p *dcr.Provider) http.Handler {
		router := chi.NewRouter()
		router.Handle("/register", p.RegistrationHandler())
		router.Handle("/register/{client_id}", p.ManagementHandler())
		return router
	},
	"bare": func(p *dcr.Provider) http.Handler { return p.ManagementHandler() },
}

// behind puts a provider that runs already behind another router.
func behind(t *testing.T, s *dcrtest.Server, router string) *dcrtest.Server {
	t.Helper()
	listener := httptest.NewServer(routers[router](s.Provider))
	t.Cleanup(listener.Close)
	return &dcrtest.Server{URL: listener.URL, Provider: s.Provider, Store: s.Store}
}

// TestRouters: management works behind each router, and so does what is refused.
func TestRouters(t *testing.T) {
	t.Parallel()
	for name := range routers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside := dcrtest.Start(t, dcrtest.Setup{})
			s, client := behind(t, inside, name), inside.Register(t, dcrtest.Managed())
			path := "/register/" + client.ID()
			require.Equal(t, http.StatusOK, s.Do(t, "GET", path, nil, dcrtest.Bearer(client.Token())).Status)
			dcrtest.RequireUniformRefusal(t, s.Do(t, "GET", path, nil, dcrtest.Bearer("garbage")))
			dcrtest.RequireError(t, s.Do(t, "PATCH", path, nil, dcrtest.Bearer(client.Token())), http.StatusMethodNotAllowed, "invalid_request")
			require.Equal(t, http.StatusNoContent, s.Do(t, "DELETE", path, nil, dcrtest.Bearer(client.Token())).Status)
		})
	}
}

// TestPathTricks: a path that is not a client's own leads to no client (T42, HTTP-03).
func TestPathTricks(t *testing.T) {
	t.Parallel()
	for name := range routers {
		t.Run("T42/"+name, func(t *testing.T) {
			t.Parallel()
			inside := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}})
			s, client := behind(t, inside, name), inside.Register(t, dcrtest.Managed())
			id := client.ID()
			paths := []string{
				"/register/", "/register/..", "/register/.", "/register/%2e%2e", "/register/%2E",
				"/register/..%2fregister", "/register/..%2f" + id, "/register/%2e%2e%2f" + id, "/register/%2f" + id,
				"/register/x%2f" + id, "/register/x%2f..%2f" + id, "/register/" + id + "%2f", "/register/" + id + "%2f..",
				"/register/" + id + "%00", "/register/%00" + id, "/register/%00", "/register/" + id + "%20", "/register/" + id + "%0a",
				"/register/" + id + ";a=b", "/register/" + id + ".json", "/register/" + id + "/", "/register/" + id + "/x",
				"/register/" + strings.Repeat("A", 65), "/register/" + strings.Repeat("A", 100_000), "/register/" + id + strings.Repeat("A", 4096),
				"/register/" + strings.Repeat("../", 1000) + "etc", "/register/" + strings.Repeat("%2e%2e%2f", 1000) + "etc",
				"/register/https:%2f%2fclient.example%2f" + id, "/register/%5c" + id, "/register/%ff" + id,
				"/register/%25" + id, "/register/*", "/register/" + dcrtest.IntrospectorID, "/register/" + strings.ToLower(id),
			}
			for _, path := range paths {
				for _, method := range []string{"GET", "PUT", "DELETE"} {
					requireNobody(t, s, method, path, client)
				}
			}
			require.True(t, dcrtest.TokenWorks(t, inside, client, client.Token()), "nothing changes")
		})
	}
}

// requireNobody follows the redirects of a router, as a client would, to 401 or 404.
func requireNobody(t *testing.T, s *dcrtest.Server, method, path string, client dcrtest.Answer) {
	t.Helper()
	for range 3 {
		answer := s.Do(t, method, path, dcrtest.JSONBody(t, dcrtest.Replacing(client)), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
		require.NotContains(t, answer.Body, "Managed", path)
		if answer.Status/100 == 3 {
			path = answer.Location(t).RequestURI()
			continue
		}
		if strings.HasSuffix(path, "/register") { // a resource of its own, which has no such method
			require.Equal(t, http.StatusMethodNotAllowed, answer.Status, path)
			return
		}
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusNotFound}, answer.Status, "%s %s: %s", method, path, answer.Body)
		return
	}
	require.Fail(t, "redirects without end", path)
}

// TestStalledBody: the handler does not outlive the context of its request, although
// the body never ends (HTTP-04, T43).
func TestStalledBody(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, dcrtest.Managed())
	rows := map[string]struct {
		handler http.Handler
		method  string
		target  string
	}{
		"registration": {s.Provider.RegistrationHandler(), "POST", s.URL + "/register"},
		"management":   {s.Provider.ManagementHandler(), "PUT", client.URI()},
	}
	for name, row := range rows {
		t.Run("HTTP-04/"+name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			body, sender := io.Pipe()
			t.Cleanup(func() { _ = sender.Close() })
			request := httptest.NewRequestWithContext(ctx, row.method, row.target, body)
			request.ContentLength = 1000
			request.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
			recorder, returned := httptest.NewRecorder(), make(chan struct{})
			go func() {
				defer close(returned)
				row.handler.ServeHTTP(recorder, request)
			}()
			_, err := sender.Write([]byte(`{"client_id":`)) // returns when the handler has begun to read
			require.NoError(t, err)
			cancel()
			select {
			case <-returned:
				require.GreaterOrEqual(t, recorder.Code, 400)
			case <-time.After(10 * time.Second):
				require.Fail(t, "the handler still waits for the body")
			}
		})
	}
}

// TestNothingWhereAClientShouldBe: a storage that answers nothing and no error has
// broken its contract; the server says that it failed and does not panic (T44).
func TestNothingWhereAClientShouldBe(t *testing.T) {
	t.Parallel()
	t.Run("T44/no_client", func(t *testing.T) {
		t.Parallel()
		store := &emptyHanded{MemoryStore: dcr.NewMemoryStore(), noClient: true}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		client := s.Register(t, dcrtest.Managed())
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			dcrtest.RequireError(t, s.Manage(t, method, client, dcrtest.Replacing(client)), http.StatusInternalServerError, "server_error")
		}
	})
	for name, entry := range map[string]fosite.Requester{
		"no_entry": nil, "entry_without_client": &fosite.Request{Session: dcrtest.NewSession("")},
		"entry_without_anything": &fosite.Request{},
		"entry_of_nobody":        &fosite.Request{Client: &fosite.DefaultClient{}},
		"entry_of_another":       &fosite.Request{Client: &fosite.DefaultClient{ID: dcrtest.IntrospectorID}},
	} {
		t.Run("T44/"+name, func(t *testing.T) {
			t.Parallel()
			store := &emptyHanded{MemoryStore: dcr.NewMemoryStore(), noEntry: true, entry: entry}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			client := s.Register(t, dcrtest.Managed())
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
			}
		})
	}
}

// emptyHanded is a storage that finds nothing and says nothing.
type emptyHanded struct {
	*dcr.MemoryStore
	noClient, noEntry bool
	entry             fosite.Requester
}

func (s *emptyHanded) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if s.noClient {
		return nil, nil
	}
	return s.MemoryStore.GetDynamicClient(ctx, id)
}

func (s *emptyHanded) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if s.noEntry {
		return s.entry, nil
	}
	return s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
}
