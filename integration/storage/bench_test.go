package storage_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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

	"github.com/go-jose/go-jose/v3"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
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
		Config:  dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}},
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
	for auth, metadata := range map[string]string{"none": dcrtest.PublicRegistration, "basic": dcrtest.BasicRegistration} {
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
		body := []byte(strings.Replace(dcrtest.PublicRegistration, "{", `{"client_id":"`+id+`",`, 1))
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
	status, body := send(http.MethodPost, "/register", "", []byte(dcrtest.PublicRegistration))
	require.Equal(b, http.StatusCreated, status)
	var info map[string]any
	require.NoError(b, json.Unmarshal(body, &info))
	return info["client_id"].(string), info["registration_access_token"].(string)
}

// benchEverything is a registration with a value for nearly every member that the server
// keeps.
const benchEverything = `{"redirect_uris":["https://service.example/callback","https://service.example/other"],"token_endpoint_auth_method":"private_key_jwt",` +
	`"token_endpoint_auth_signing_alg":"ES256","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"application_type":"web",` +
	`"client_name":"Some Service","client_name#fr":"Un service","client_uri":"https://service.example/","logo_uri":"https://service.example/logo.png",` +
	`"tos_uri":"https://service.example/tos","policy_uri":"https://service.example/policy","scope":"openid profile email","contacts":["a@service.example","b@service.example"],` +
	`"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}]},` +
	`"software_id":"some-service","software_version":"1.2.3","subject_type":"public","id_token_signed_response_alg":"RS256","request_object_signing_alg":"ES256",` +
	`"default_max_age":3600,"require_auth_time":false,"response_modes":["query","form_post"],"require_pushed_authorization_requests":true,` +
	`"default_acr_values":["urn:acr:1"],"initiate_login_uri":"https://service.example/login","post_logout_redirect_uris":["https://service.example/out"],` +
	`"frontchannel_logout_uri":"https://service.example/front","backchannel_logout_uri":"https://service.example/back"}`

// BenchmarkRegisterMembers sets a registration with all members against one with five.
func BenchmarkRegisterMembers(b *testing.B) {
	five := `{"redirect_uris":["https://service.example/callback"],"client_name":"Some Service","grant_types":["authorization_code"],"response_types":["code"],"token_endpoint_auth_method":"none"}`
	for name, metadata := range map[string]string{"five": five, "all": benchEverything} {
		b.Run("members="+name, func(b *testing.B) {
			send, body := inProcess(benchServers(b)["dcr"]), []byte(metadata)
			measure(b, func() {
				for b.Loop() {
					if status, answer := send(http.MethodPost, "/register", "", body); status != http.StatusCreated {
						b.Fatalf("%d %s", status, answer)
					}
				}
			})
		})
	}
}

// BenchmarkStatement registers with a software statement, for each kind of key.
func BenchmarkStatement(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	for alg, key := range map[jose.SignatureAlgorithm]crypto.Signer{
		jose.RS256: rsaKey, jose.PS256: rsaKey, jose.ES256: ecKey(b, elliptic.P256()), jose.ES384: ecKey(b, elliptic.P384()), jose.ES512: ecKey(b, elliptic.P521()),
	} {
		b.Run("alg="+string(alg), func(b *testing.B) {
			s := &dcrtest.Server{URL: "http://127.0.0.1"}
			provider, err := s.Compose(dcrtest.Setup{
				Storage: dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1 << 30, Tokens: 1 << 30})),
				Config: dcr.Config{Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{
					Issuer: dcrtest.DirectoryIssuer, Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), Algorithm: string(alg)}}},
				}}}},
			})
			require.NoError(b, err)
			send := inProcess(provider.RegistrationHandler())
			body := []byte(`{"software_statement":"` + dcrtest.SignClaims(b, alg, key, nil, dcrtest.StatementClaims()) + `"}`)
			measure(b, func() {
				for b.Loop() {
					if status, answer := send(http.MethodPost, "/register", "", body); status != http.StatusCreated {
						b.Fatalf("%d %s", status, answer)
					}
				}
			})
		})
	}
}

func ecKey(b *testing.B, curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(b, err)
	return key
}
