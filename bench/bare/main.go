// Command bare is the least that a server can do with a registration: it decodes the JSON, stores it in a map and
// answers. It checks nothing but the token of a client, hashes nothing and forgets nothing.
package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/fosite-contrib/fosite-dcr/bench/program"
)

func main() {
	program.Serve("a bare net/http handler", func(url string) (http.Handler, error) { return newServer(url), nil })
}

type server struct {
	url     string
	mu      sync.Mutex
	clients map[string]map[string]any
}

func newServer(url string) http.Handler {
	s := &server{url: url, clients: map[string]map[string]any{}}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /register", s.register)
	routes.HandleFunc("GET /register/{client_id}", s.manage)
	routes.HandleFunc("PUT /register/{client_id}", s.manage)
	routes.HandleFunc("DELETE /register/{client_id}", s.manage)
	return routes
}

func (s *server) register(w http.ResponseWriter, r *http.Request) {
	var metadata map[string]any
	if json.NewDecoder(r.Body).Decode(&metadata) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	id := rand.Text()
	metadata["client_id"], metadata["client_id_issued_at"] = id, time.Now().Unix()
	metadata["registration_access_token"], metadata["registration_client_uri"] = rand.Text(), s.url+"/register/"+id
	if metadata["token_endpoint_auth_method"] != "none" {
		metadata["client_secret"], metadata["client_secret_expires_at"] = rand.Text(), 0
	}
	s.keep(id, metadata)
	answer(w, http.StatusCreated, metadata)
}

func (s *server) manage(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("client_id")
	s.mu.Lock()
	metadata := s.clients[id]
	s.mu.Unlock()
	if metadata == nil || r.Header.Get("Authorization") != "Bearer "+metadata["registration_access_token"].(string) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	switch r.Method {
	case http.MethodPut:
		var next map[string]any
		if json.NewDecoder(r.Body).Decode(&next) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		next["registration_access_token"] = rand.Text()
		for _, name := range []string{"client_id", "client_id_issued_at", "registration_client_uri"} {
			next[name] = metadata[name]
		}
		metadata = next
		s.keep(id, metadata)
	case http.MethodDelete:
		s.mu.Lock()
		delete(s.clients, id)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, http.StatusOK, metadata)
}

func (s *server) keep(id string, metadata map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[id] = metadata
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
