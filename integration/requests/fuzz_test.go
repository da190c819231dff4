package requests_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// fuzzServer is one in process: a fuzz target has no time for sockets.
func fuzzServer(f *testing.F) (http.Handler, *dcr.Provider) {
	s := &dcrtest.Server{URL: "http://127.0.0.1"}
	provider, err := s.Compose(dcrtest.Setup{Config: dcr.Config{
		Metadata:      dcr.Metadata{PrivateUseSchemes: []string{"cursor"}, AnonymousGrantTypes: []string{"client_credentials"}},
		Authorization: dcr.Authorization{AllowAnyLocalhostPort: true},
		Lifecycle:     dcr.Lifecycle{Unused: -1, EvictionGrace: -1}, // at the store's bound an early client is evicted, and nothing is refused
	}})
	require.NoError(f, err)
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	return router, provider
}

func serve(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func jsonRequest(method, target, token string, body []byte) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

var fuzzSeeds = []string{
	dcrtest.PublicRegistration, dcrtest.BasicRegistration, `{}`, `[]`, `null`, ``, `{"redirect_uris":["cursor://host/cb"],"client_name#fr":"N","scope":"openid  openid"}`,
	`{"grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]}}`,
	`{"redirect_uris":["https://a.example/cb"],"default_max_age":1e9,"require_auth_time":true,"request_uris":["https://a.example/#x"]}`,
	`{"redirect_uris":["https://a.example/cb"],"a":{"b":[{"c":null}]},"client_id":7,"client_secret":{}}`,
}

// FuzzRegister: whatever is posted, the answer is 201 or an error of the protocol, in
// JSON, never 5xx; and what is accepted can be read back, sent back, and is the same.
func FuzzRegister(f *testing.F) {
	for _, seed := range fuzzSeeds {
		f.Add([]byte(seed))
	}
	handler, _ := fuzzServer(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := serve(handler, jsonRequest(http.MethodPost, "/register", "", body))
		var members map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &members))
		if w.Code != http.StatusCreated {
			require.Contains(t, []int{400, 413}, w.Code, w.Body.String())
			require.NotEmpty(t, members["error"])
			return
		}
		readBack(t, handler, members)
	})
}

func readBack(t *testing.T, handler http.Handler, members map[string]any) {
	uri, token := members["registration_client_uri"].(string), members["registration_access_token"].(string)
	w := serve(handler, jsonRequest(http.MethodGet, uri, token, nil))
	require.Equal(t, http.StatusOK, w.Code)
	var read map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &read))
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at", "client_secret"} {
		delete(read, name)
		delete(members, name)
	}
	require.Equal(t, members, read)

	sent, err := json.Marshal(read)
	require.NoError(t, err)
	w = serve(handler, jsonRequest(http.MethodPut, uri, token, sent))
	require.Equal(t, http.StatusOK, w.Code, "%s: %s", sent, w.Body.String())
	var updated map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &updated))
	for name, value := range read {
		require.Equal(t, value, updated[name], name)
	}
	w = serve(handler, jsonRequest(http.MethodDelete, uri, updated["registration_access_token"].(string), nil))
	require.Equal(t, http.StatusNoContent, w.Code)
}

// FuzzManagement: whatever path, header, method and body arrive at a client's URL,
// nobody without the token gets in, nothing is 5xx, and the client is as it was.
func FuzzManagement(f *testing.F) {
	handler, provider := fuzzServer(f)
	management := provider.ManagementHandler()
	w := serve(handler, jsonRequest(http.MethodPost, "/register", "", []byte(dcrtest.PublicRegistration)))
	require.Equal(f, http.StatusCreated, w.Code)
	var client map[string]any
	require.NoError(f, json.Unmarshal(w.Body.Bytes(), &client))
	token := client["registration_access_token"].(string)

	f.Add("GET", "/register/x", "Bearer "+token, []byte(nil))
	f.Add("PUT", "/register/"+client["client_id"].(string), "Bearer x", []byte(dcrtest.PublicRegistration))
	f.Add("DELETE", "/register/..%2f", "bearer  "+token, []byte(`{"client_id":"x"}`))
	f.Add("HEAD", "/register/%00", "Basic eDp4", []byte(nil))
	f.Fuzz(func(t *testing.T, method, path, authorization string, body []byte) {
		if strings.Contains(authorization, token) && strings.HasSuffix(path, client["client_id"].(string)) {
			return // that is the client itself
		}
		r := jsonRequest(http.MethodGet, "/register/x", "", body)
		r.Method, r.URL.Path, r.URL.RawPath = method, path, ""
		r.Header.Set("Authorization", authorization)
		w := serve(management, r)
		require.Contains(t, []int{401, 405}, w.Code, w.Body.String())
		if method == http.MethodGet {
			require.Equal(t, http.StatusUnauthorized, w.Code)
		}
	})
}
