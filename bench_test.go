package dcr_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// What the benchmarks register: an ordinary native client, and the same as a
// confidential one.
const (
	benchPublic = `{"client_name":"Some Editor","redirect_uris":["http://127.0.0.1:33418/callback","https://editor.example/redirect"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none",` +
		`"client_uri":"https://editor.example/","scope":"openid profile","application_type":"native"}`
	benchBasic = `{"client_name":"Some Service","redirect_uris":["https://service.example/callback","https://service.example/other"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_basic",` +
		`"client_uri":"https://service.example/","scope":"openid profile","application_type":"web"}`
)

// bareServer is what there is to compare with: it decodes with encoding/json, stores
// in a map and answers. It checks nothing, hashes nothing and manages nothing.
type bareServer struct {
	mu      sync.Mutex
	clients map[string]map[string]any
}

func (s *bareServer) routes() http.Handler {
	router := mux.NewRouter().UseEncodedPath()
	router.HandleFunc("/register", s.register)
	router.HandleFunc("/register/{client_id}", s.manage)
	return router
}

func (s *bareServer) register(w http.ResponseWriter, r *http.Request) {
	var metadata map[string]any
	if json.NewDecoder(r.Body).Decode(&metadata) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	id := rand.Text()
	metadata["client_id"], metadata["client_id_issued_at"] = id, time.Now().Unix()
	metadata["registration_access_token"] = randomToken()
	metadata["registration_client_uri"] = "http://127.0.0.1/register/" + id
	if metadata["token_endpoint_auth_method"] != "none" {
		metadata["client_secret"], metadata["client_secret_expires_at"] = randomToken(), 0
	}
	s.mu.Lock()
	s.clients[id] = metadata
	s.mu.Unlock()
	answer(w, http.StatusCreated, metadata)
}

func (s *bareServer) manage(w http.ResponseWriter, r *http.Request) {
	id := mux.Vars(r)["client_id"]
	s.mu.Lock()
	metadata := s.clients[id]
	s.mu.Unlock()
	if metadata == nil || r.Header.Get("Authorization") != "Bearer "+metadata["registration_access_token"].(string) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPut {
		var next map[string]any
		if json.NewDecoder(r.Body).Decode(&next) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		for _, name := range []string{"client_id", "client_id_issued_at", "registration_access_token", "registration_client_uri"} {
			next[name] = metadata[name]
		}
		metadata = next
		s.mu.Lock()
		s.clients[id] = metadata
		s.mu.Unlock()
	}
	answer(w, http.StatusOK, metadata)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func randomToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// benchServers are the two that run side by side.
func benchServers(b *testing.B) map[string]http.Handler {
	var s dcrtest.Server
	s.URL = "http://127.0.0.1"
	provider, err := s.Compose(dcrtest.Setup{
		Storage: dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1 << 30, Tokens: 1 << 30})),
		Config:  dcr.Config{RegistrationToken: dcr.RegistrationToken{KeepOnUpdate: true}},
	})
	require.NoError(b, err)
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	bare := &bareServer{clients: map[string]map[string]any{}}
	return map[string]http.Handler{"dcr": router, "bare": bare.routes()}
}

// eachServer runs a benchmark on both servers, in process and over HTTP.
func eachServer(b *testing.B, run func(b *testing.B, send sender)) {
	for name, handler := range benchServers(b) {
		b.Run("server="+name+"/way=handler", func(b *testing.B) { run(b, inProcess(handler)) })
		b.Run("server="+name+"/way=http", func(b *testing.B) {
			server := httptest.NewServer(handler)
			defer server.Close()
			run(b, overHTTP(server))
		})
	}
}

// sender sends a request and returns status and body.
type sender func(method, path, token string, body []byte) (int, []byte)

func inProcess(handler http.Handler) sender {
	return func(method, path, token string, body []byte) (int, []byte) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, benchRequest(method, path, token, body))
		return w.Code, w.Body.Bytes()
	}
}

func overHTTP(server *httptest.Server) sender {
	client := server.Client()
	return func(method, path, token string, body []byte) (int, []byte) {
		response, err := client.Do(benchRequest(method, server.URL+path, token, body))
		if err != nil {
			panic(err)
		}
		read, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		return response.StatusCode, read
	}
}

func benchRequest(method, target, token string, body []byte) *http.Request {
	r, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// measure reports CPU time, since these machines are shared.
func measure(b *testing.B, loop func()) {
	b.ReportAllocs()
	before := cpuTime()
	loop()
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkRegister(b *testing.B) {
	for auth, metadata := range map[string]string{"none": benchPublic, "basic": benchBasic} {
		b.Run("auth="+auth, func(b *testing.B) {
			eachServer(b, func(b *testing.B, send sender) {
				body := []byte(metadata)
				measure(b, func() {
					for b.Loop() {
						if status, answer := send(http.MethodPost, "/register", "", body); status != http.StatusCreated {
							b.Fatalf("%d %s", status, answer)
						}
					}
				})
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	eachServer(b, func(b *testing.B, send sender) {
		id, token := registered(b, send)
		measure(b, func() {
			for b.Loop() {
				if status, answer := send(http.MethodGet, "/register/"+id, token, nil); status != http.StatusOK {
					b.Fatalf("%d %s", status, answer)
				}
			}
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	eachServer(b, func(b *testing.B, send sender) {
		id, token := registered(b, send)
		body := []byte(strings.Replace(benchPublic, "{", `{"client_id":"`+id+`",`, 1))
		measure(b, func() {
			for b.Loop() {
				if status, answer := send(http.MethodPut, "/register/"+id, token, body); status != http.StatusOK {
					b.Fatalf("%d %s", status, answer)
				}
			}
		})
	})
}

func registered(b *testing.B, send sender) (id, token string) {
	status, body := send(http.MethodPost, "/register", "", []byte(benchPublic))
	require.Equal(b, http.StatusCreated, status)
	var info map[string]any
	require.NoError(b, json.Unmarshal(body, &info))
	return info["client_id"].(string), info["registration_access_token"].(string)
}
