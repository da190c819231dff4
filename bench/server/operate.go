package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// now is the clock of the package. It is slow while clients are registered that are to be old.
func (s *server) now() time.Time { return time.Now().Add(-time.Duration(s.slow.Load())) }

// operate adds what only the benchmark asks for, and what an operator does.
func (s *server) operate(routes *http.ServeMux) {
	routes.HandleFunc("POST /fill", s.fill)
	routes.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		slow, err := time.ParseDuration(r.URL.Query().Get("slow"))
		s.slow.Store(int64(slow))
		answer(w, 0, err)
	})
	routes.HandleFunc("POST /sweep", func(w http.ResponseWriter, r *http.Request) {
		removed, err := s.extended.Sweep(r.Context())
		answer(w, removed, err)
	})
	routes.HandleFunc("GET /list", func(w http.ResponseWriter, r *http.Request) {
		page, err := s.extended.ListClients(r.Context(), dcr.ClientFilter{}, "", 50)
		if err != nil {
			page = new(dcr.ClientPage)
		}
		answer(w, len(page.Clients), err)
	})
}

func answer(w http.ResponseWriter, number int, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, number)
}

// fill registers so many clients with the metadata of the body, as if they had come by HTTP. It answers with the first
// few, which are to be kept.
func (s *server) fill(w http.ResponseWriter, r *http.Request) {
	metadata, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query := r.URL.Query()
	clients, _ := strconv.Atoi(query.Get("clients"))
	keep, _ := strconv.Atoi(query.Get("keep"))
	kept := make([]*dcr.ClientInformation, 0, keep)
	for n := range clients {
		request := r.Clone(r.Context())
		request.Body = io.NopCloser(bytes.NewReader(metadata))
		registration, err := s.extended.NewRegistrationRequest(r.Context(), request)
		if err == nil {
			var information *dcr.ClientInformation
			if information, err = s.extended.NewRegistrationResponse(r.Context(), registration); n < keep {
				kept = append(kept, information)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(kept)
}
