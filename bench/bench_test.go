package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run of few requests has a line for each row and for each heap, and every request was answered as it should be.
func TestRun(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	require.NoError(t, run(t.Context(), []string{"-rounds", "1", "-requests", "16", "-clients", "16"}, &out, &errOut))
	for _, row := range rows(false) {
		line := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row.name) + ` \| ([0-9.]+) \| ([0-9.]+) \| ` + row.peer + ` \| ([0-9.]+) \| ([0-9.]+) to ([0-9.]+) \|$`)
		figures := line.FindStringSubmatch(out.String())
		require.NotNil(t, figures, "%s in\n%s", row.name, &out)
		for _, figure := range figures[1:] {
			value, err := strconv.ParseFloat(figure, 64)
			require.NoError(t, err)
			require.Positive(t, value, figures[0])
		}
	}
	require.Len(t, regexp.MustCompile(`(?m)^\| (the package on fosite.*|a bare net/http handler) \| -?\d+ \| -?[0-9.]+ \|$`).FindAllString(out.String(), -1), 2)
	// Two servers are filled with 4 and with 16 clients. Each operation runs 16 times on both in two rounds, one of which
	// warms up. Each of 4 connections makes what its operation needs: on both a token to introspect in each round, and once a code to
	// begin a grant; on one two clients and a code. What two rows register is deleted.
	const filled, operations, made, deleted = 2 * (4 + 16), 10 * 2 * 2 * 16, 4 * (2*2 + 2 + 3), 2 * 2 * 2 * 16
	require.Contains(t, out.String(), strconv.Itoa(filled+operations+made+deleted)+" requests, 0 failed.")
}

// A run ends at the first request that is not answered as it should be, and names it.
func TestFailedRequest(t *testing.T) {
	t.Parallel()
	reads := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/heap":
			_, _ = w.Write([]byte("1"))
		case "/register":
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]string{"client_id": "some-client", "registration_access_token": "t"})
		default:
			if reads++; reads > 20 {
				http.Error(w, "full", http.StatusServiceUnavailable)
			}
		}
	}))
	t.Cleanup(web.Close)
	p := &process{name: "some server", address: web.Listener.Addr().String(), command: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	p.workers = []*worker{{address: p.address}}
	b := &bench{
		options: options{rounds: 1, requests: 16, clients: 16, only: regexp.MustCompile("^read$")},
		servers: map[string]*process{tested: p, bare: p},
	}
	require.EqualError(t, b.measure(), "read: some server: GET /register/some-client: status 503 instead of 200: full\n")
}

// Only servers of this machine get the load.
func TestLoopback(t *testing.T) {
	t.Parallel()
	for where, fine := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true,
		"http://192.0.2.1:8080": false, "http://localhost:8080": false, "http://127.0.0.1": false, "": false,
	} {
		_, err := loopback(where)
		require.Equal(t, fine, err == nil, where)
	}
}

// A program that ends before it says where it listens is an error, which names it.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := start(t.Context(), "true")
	require.ErrorContains(t, err, "true did not start")
}
