package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/examples/databasestorage/store"
)

// server is one of several authorization servers that share a database, the issuer and the global
// secret.
type server struct {
	store    *store.Store
	provider *dcr.Provider
	router   http.Handler
}

// newServer opens the file and composes a server on it.
func newServer(ctx context.Context, file string, now func() time.Time) (*server, error) {
	newSession := func() fosite.Session { return new(fosite.DefaultSession) }
	storage, err := store.Open(ctx, file, store.Options{NewSession: newSession})
	if err != nil {
		return nil, err
	}
	config := &fosite.Config{
		AccessTokenIssuer: "https://as.example",
		TokenURL:          "https://as.example/oauth2/token",
		GlobalSecret:      []byte("thirty-two bytes or more, kept safe"),
	}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory,
		dcr.NewFactory(dcr.Config{
			// Anonymous registration of services keeps the example short. A server on the internet
			// uses initial access tokens or signed-in users.
			Access:    dcr.Open(),
			Metadata:  dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
			Scopes:    []string{"invoices"},
			Storage:   dcr.Storage{NewSession: newSession},
			Lifecycle: dcr.Lifecycle{Unused: time.Hour},
			Now:       now,
		}),
	))
	if err != nil {
		_ = storage.Close()
		return nil, err
	}
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	s := &server{store: storage, provider: provider, router: router}
	router.HandleFunc("/oauth2/token", s.serveToken)
	return s, nil
}

// serveToken is the token endpoint.
func (s *server) serveToken(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

// registration is what a client reads of the answer to its registration.
type registration struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
	Token  string `json:"registration_access_token"`
}

// register registers a service, as a client does.
func (s *server) register(name string) registration {
	body, _ := json.Marshal(map[string]any{"client_name": name, "grant_types": []string{"client_credentials"}})
	request := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(string(body)))
	request.Header.Set("Content-Type", "application/json")
	var answer registration
	_ = json.Unmarshal(s.answer(request).Body.Bytes(), &answer)
	return answer
}

// read reads the registration of a client, and returns the status.
func (s *server) read(client registration) string {
	request := httptest.NewRequest(http.MethodGet, "/register/"+client.ID, nil)
	request.Header.Set("Authorization", "Bearer "+client.Token)
	return status(s.answer(request).Code)
}

// token gets an access token for a client, and returns the status.
func (s *server) token(client registration) string {
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	request := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(client.ID, client.Secret)
	return status(s.answer(request).Code)
}

// answer serves a request in process.
func (s *server) answer(request *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.router.ServeHTTP(w, request)
	return w
}
