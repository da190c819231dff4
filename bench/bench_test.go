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
		positive(t, out.String(), `\| `+regexp.QuoteMeta(row.name)+` \| ([0-9.]+) \| ([0-9.]+) \| `+row.peer+` \| ([0-9.]+) \| ([0-9.]+) to ([0-9.]+) \|`, 1)
	}
	require.Len(t, regexp.MustCompile(`(?m)^\| (the package on fosite.*|a bare net/http handler) \| -?\d+ \| -?[0-9.]+ \|$`).FindAllString(out.String(), -1), 2)
	// Two servers are filled with 4 and with 16 clients. Each operation runs 16 times on both in two rounds, one of which
	// warms up. Each of 4 connections makes what its operation needs: on both a token to introspect in each round, and two codes to
	// begin grants once; on one two clients. What two rows register is deleted.
	const filled, operations, made, deleted = 2 * (4 + 16), 10 * 2 * 2 * 16, 4 * (2*2 + 2*2 + 2), 2 * 2 * 2 * 16
	require.Contains(t, out.String(), strconv.Itoa(filled+operations+made+deleted)+" requests, 0 failed.")
}

// positive finds lines of a table by a pattern, and wants so many of them, with figures above 0.
func positive(t *testing.T, out, pattern string, want int) {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^`+pattern+`$`).FindAllStringSubmatch(out, -1)
	require.Len(t, lines, want, "%s in\n%s", pattern, out)
	for _, line := range lines {
		for _, figure := range line[1:] {
			value, err := strconv.ParseFloat(figure, 64)
			require.NoError(t, err)
			require.Positive(t, value, line[0])
		}
	}
}

// Each operation is measured with each number of clients.
func TestScale(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	require.NoError(t, run(t.Context(), []string{"-scale", "-rounds", "1", "-requests", "16", "-clients", "1600"}, &out, &errOut))
	require.Contains(t, out.String(), "| 16 clients | 160 clients | Ratio | 1600 clients | Ratio |")
	const number = `([0-9.]+)`
	for _, operation := range scaleOperations {
		positive(t, out.String(), `\| `+operation.name+strings.Repeat(` \| `+number, 5)+` \|`, 1)
	}
	positive(t, out.String(), `\| (?:collecting|a collection|live heap, ).*?`+strings.Repeat(` \| `+number, 5)+` \|`, 3)
	// Three servers are filled, in 4 requests each for the services and the others. Each operation runs in two rounds.
	const filled, operations = 3 * (4 + 4), 3 * 5 * 2 * 16
	require.Contains(t, out.String(), strconv.Itoa(filled+operations)+" requests, 0 failed.")
}

// Honest requests are measured in each phase, and in theirs clients were evicted and swept.
func TestLatency(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	require.NoError(t, run(t.Context(), []string{"-latency", "-rounds", "2", "-requests", "20", "-clients", "2000"}, &out, &errOut))
	for _, phase := range phases() {
		positive(t, out.String(), `\| honest, beside `+phase.name+strings.Repeat(` \| ([0-9.]+)`, 4)+` \|`, 1)
	}
	positive(t, out.String(), `\| registrations that .*?`+strings.Repeat(` \| ([0-9.]+)`, 4)+` \|`, 2)
	positive(t, out.String(), `.* (\d+) clients were swept, (\d+) were evicted\.`, 1)
}

// An attacker holds its connections, and is answered, while both servers answer the honest client.
func TestAttack(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	require.NoError(t, run(t.Context(), []string{"-attack", "-rounds", "1", "-requests", "20", "-clients", "100"}, &out, &errOut))
	const attacked = `: 100 of 100 connections held when it began, with a limit of \d+ open files\. The server used ([0-9.]+) processors\. ` +
		`Answers a second: garbage: 400, ([0-9.]+); wrong registration access token: `
	positive(t, out.String(), `- the package on fosite .*?`+attacked+`401, ([0-9.]+); wrong secret: 401, ([0-9.]+)`, 1)
	positive(t, out.String(), `- fosite .*? without the package`+attacked+`404, ([0-9.]+); wrong secret: 401, ([0-9.]+)`, 1)
	positive(t, out.String(), `\| (?:dcr|fosite), (?:idle|during the attack) \| 20`+strings.Repeat(` \| ([0-9.]+)`, 3)+` \|`, 4)
	positive(t, out.String(), `\| (?:dcr|fosite), (?:resident|live heap)`+strings.Repeat(` \| ([0-9.]+)`, 3)+` \|`, 4)
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
