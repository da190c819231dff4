package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const metadata = `{"client_name":"Some Editor","redirect_uris":["http://127.0.0.1:33418/callback","https://editor.example/redirect"],` +
	`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none",` +
	`"client_uri":"https://editor.example/","scope":"profile email","application_type":"native"}`

// composed returns the server under test, its routes, and a request that registers a client as often as its body is
// rewound.
func composed(t testing.TB) (s *server, routes http.Handler, register *http.Request, rewind func()) {
	s = new(server)
	routes, err := s.compose("http://127.0.0.1:8080")
	require.NoError(t, err)
	body := strings.NewReader(metadata)
	register = httptest.NewRequest(http.MethodPost, "/register", io.NopCloser(body))
	register.Header.Set("Content-Type", "application/json")
	return s, routes, register, func() { body.Reset(metadata) }
}

// BenchmarkStage measures what a registration consists of. The stage rules includes decode, and register includes copy,
// token and store; encode follows it.
func BenchmarkStage(b *testing.B) {
	s, _, request, rewind := composed(b)
	ctx := b.Context()
	read, err := s.extended.NewRegistrationRequest(ctx, request)
	require.NoError(b, err)
	information, err := s.extended.NewRegistrationResponse(ctx, read)
	require.NoError(b, err)
	client, err := s.extended.FindClient(ctx, information.ClientID)
	require.NoError(b, err)
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1 << 30, Tokens: 1 << 30}))
	strategy := compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte("thirty-two bytes or more, kept safe")})
	entry, stored := fosite.NewRequest(), 0
	for _, stage := range []struct {
		name string
		run  func() error
	}{
		{"decode", func() error { return new(dcr.ClientMetadata).UnmarshalJSON([]byte(metadata)) }},
		{"rules", func() error {
			rewind()
			_, err := s.extended.NewRegistrationRequest(ctx, request)
			return err
		}},
		{"copy", func() error { client.Clone(); return nil }},
		{"token", func() error { _, _, err := strategy.GenerateAccessToken(ctx, entry); return err }},
		{"store", func() error {
			stored++
			record := *client
			record.ID = strconv.Itoa(stored)
			return store.CreateClient(ctx, &record)
		}},
		{"register", func() error { _, err := s.extended.NewRegistrationResponse(ctx, read); return err }},
		{"encode", func() error { _, err := information.MarshalJSON(); return err }},
	} {
		b.Run("stage="+stage.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				if err := stage.run(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkConcurrent is for -cpu 1,2: with two processors as much should take half the time. Each goroutine sends its own
// requests.
func BenchmarkConcurrent(b *testing.B) {
	_, routes, _, _ := composed(b)
	send := func(b *testing.B, method, path, token, body string, status int) []byte {
		request, answer := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+token)
		if routes.ServeHTTP(answer, request); answer.Code != status {
			b.Errorf("%s %s: status %d", method, path, answer.Code)
		}
		return answer.Body.Bytes()
	}
	register := func(b *testing.B) []byte {
		return send(b, http.MethodPost, "/register", "", metadata, http.StatusCreated)
	}
	b.Run("operation=register", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				register(b)
			}
		})
	})
	b.Run("operation=read", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			var client struct {
				ID    string `json:"client_id"`
				Token string `json:"registration_access_token"`
			}
			if err := json.Unmarshal(register(b), &client); err != nil {
				b.Error(err)
			}
			for pb.Next() {
				send(b, http.MethodGet, "/register/"+client.ID, client.Token, "", http.StatusOK)
			}
		})
	})
}

// cpuTime is what the program has used of all processors, which says more than the time that passed on a machine that is
// shared.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// status keeps the status of an answer and throws its body away.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

// A registration and a read through the handlers allocate a fifth more than was measured at most: the race detector makes pools forget. The test is not
// parallel, since it counts allocations.
func TestAllocations(t *testing.T) {
	s, routes, register, rewind := composed(t)
	created, err := s.extended.NewRegistrationRequest(t.Context(), register)
	require.NoError(t, err)
	client, err := s.extended.NewRegistrationResponse(t.Context(), created)
	require.NoError(t, err)
	read := httptest.NewRequest(http.MethodGet, "/register/"+client.ClientID, nil)
	read.Header.Set("Authorization", "Bearer "+client.RegistrationAccessToken)
	for _, row := range []struct {
		name     string
		request  *http.Request
		code     int
		measured float64
	}{
		{"registration", register, http.StatusCreated, 90},
		{"read", read, http.StatusOK, 43},
	} {
		answer := &status{header: http.Header{}}
		found := testing.AllocsPerRun(1000, func() {
			rewind()
			clear(answer.header)
			routes.ServeHTTP(answer, row.request)
		})
		require.Equal(t, row.code, answer.code, row.name)
		require.LessOrEqual(t, found, 1.2*row.measured, row.name)
	}
}
