package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// asProgram is set where this program is to be the server instead of its test.
const asProgram = "AUTHSERVER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a server that runs as a program of its own.
type process struct {
	testServer
	t       *testing.T
	command *exec.Cmd
	notice  string
	output  chan string // what it printed in all
}

// startProcess starts one, at a free port.
func startProcess(t *testing.T, flags ...string) *process {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, output: make(chan string, 1)}
	p.command = exec.Command(program, append([]string{"-addr", "127.0.0.1:0", "-resource-server", "rs:rs-secret"}, flags...)...)
	p.command.Env = append(os.Environ(), asProgram+"=yes")
	read, write, err := os.Pipe()
	require.NoError(t, err)
	p.command.Stdout, p.command.Stderr = write, write
	require.NoError(t, p.command.Start())
	t.Cleanup(func() { _ = p.command.Process.Kill() })
	require.NoError(t, write.Close())

	lines := bufio.NewReader(read)
	for line := ""; !strings.Contains(line, " storage "); { // the last but what depends on the flags
		line, err = lines.ReadString('\n')
		p.notice += line
		require.NoError(t, err, p.notice)
	}
	go func() {
		rest, _ := io.ReadAll(lines)
		_ = read.Close()
		p.output <- p.notice + string(rest)
	}()
	p.testServer = testServer{&server{
		options:   options{issuer: p.word("authserver is at")},
		users:     &users{p.word("sign in as    demo, password")},
		operators: &operators{p.word(" as admin, password")},
	}, "http://" + p.word("listens on")}
	return p
}

// word returns the word of the notice that follows a text.
func (p *process) word(after string) string {
	_, rest, found := strings.Cut(p.notice, after+" ")
	require.True(p.t, found, p.notice)
	return strings.Fields(rest)[0]
}

// end ends the process and returns what it has printed.
func (p *process) end(signal os.Signal) (output string, err error) {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(signal))
	output = <-p.output
	return output, p.command.Wait()
}

// manage sends a request to the client configuration endpoint of this process.
func (b *browser) manage(method string, client object, body string) reply {
	b.t.Helper()
	target, ok := strings.CutPrefix(text(client, "registration_client_uri"), b.s.options.issuer)
	require.True(b.t, ok, "the URL is that of the issuer")
	return b.send(method, target, strings.NewReader(body), "Authorization", bearer(text(client, "registration_access_token")),
		"Content-Type", "application/json")
}

func (b *browser) active(token string) any {
	b.t.Helper()
	return b.post("/oauth2/introspect", url.Values{"token": {token}}, "Authorization", basic("rs", "rs-secret")).json(b.t)["active"]
}

// requireAlive checks that a client manages itself and that its tokens are good.
func (b *browser) requireAlive(client, tokens object) {
	b.t.Helper()
	answer := b.manage(http.MethodGet, client, "")
	require.Equal(b.t, http.StatusOK, answer.status, answer.body)
	require.Equal(b.t, client["client_name"], answer.json(b.t)["client_name"])
	require.Equal(b.t, true, b.active(text(tokens, "access_token")))
	require.Equal(b.t, http.StatusOK, b.get("/userinfo", "Authorization", bearer(text(tokens, "access_token"))).status)
	for _, token := range []string{"id_token", "access_token"} {
		if strings.Count(text(tokens, token), ".") < 2 {
			continue // an opaque one
		}
		_, claims := b.verifyJWT(text(tokens, token))
		require.Equal(b.t, b.s.options.issuer, claims["iss"])
		require.Equal(b.t, demoUser, claims["sub"])
	}
}

// TestRestart: a server that is ended, or killed, goes on where it was.
func TestRestart(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		first := startProcess(t, "-storage", storage, "-tokens", tokensJWT)
		restart := func() *process {
			return startProcess(t, "-storage", storage, "-tokens", tokensJWT, "-issuer", first.options.issuer)
		}
		b := first.browser(t)
		client := b.publicClient(loopbackURI)
		tokens := b.redeem(client, b.code(request(client, loopbackURI)), loopbackURI)
		waiting := b.get("/oauth2/auth?" + request(client, loopbackURI, "prompt", "login").Encode())
		_, err := first.end(syscall.SIGKILL)
		require.Error(t, err)

		second := restart()
		require.Equal(t, first.users, second.users, "the password is the same")
		require.Equal(t, first.operators, second.operators)
		b.s = second.testServer
		b.requireAlive(client, tokens)
		require.NotEmpty(t, queryOf(b.decide(b.signIn(waiting), "allow").location).Get("code"), "a sign-in page from before")
		output, err := second.end(syscall.SIGTERM)
		require.NoError(t, err, output)
		require.NotContains(t, output, "level=ERROR")

		third := restart()
		b.s = third.testServer
		again := b.tokens(b.refreshFields(client, tokens))
		b.requireAlive(client, again)
		require.Equal(t, false, b.active(text(tokens, "access_token")), "it was refreshed")
		require.Equal(t, http.StatusBadRequest, b.post("/oauth2/token", b.refreshFields(client, tokens)).status, "used twice")
		require.Equal(t, false, b.active(text(again, "access_token")), "all of the grant ends")
		_, err = third.end(syscall.SIGTERM)
		require.NoError(t, err)
	})
}

// TestTwoProcesses: what one process of an issuer has begun, another one finishes.
func TestTwoProcesses(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		first := startProcess(t, "-storage", storage)
		second := startProcess(t, "-storage", storage, "-issuer", first.options.issuer)
		require.NotEqual(t, first.base, second.base)
		a, b := first.browser(t), second.browser(t)
		require.Equal(t, a.get("/.well-known/jwks.json").body, b.get("/.well-known/jwks.json").body)

		client := a.publicClient(loopbackURI)
		require.Equal(t, http.StatusOK, b.manage(http.MethodGet, client, "").status)
		tokens := a.redeem(client, b.code(request(client, loopbackURI)), loopbackURI)
		a.requireAlive(client, tokens)
		b.requireAlive(client, tokens)
		again := b.tokens(b.refreshFields(client, tokens))
		require.Equal(t, false, a.active(text(tokens, "access_token")))
		a.requireAlive(client, again)

		updated := b.manage(http.MethodPut, client, `{"client_id": "`+text(client, "client_id")+`", "client_name": "Renamed",
			"redirect_uris": ["`+loopbackURI+`"], "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"]}`)
		require.Equal(t, http.StatusOK, updated.status, updated.body)
		require.Equal(t, http.StatusUnauthorized, a.manage(http.MethodGet, client, "").status, "the token was replaced")
		renamed := updated.json(t)
		a.requireAlive(renamed, again)
		page := "/admin/clients/" + text(client, "client_id")
		operator := first.operator()
		require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte(adminUser+":"+second.operators.password)), operator[1])
		require.Contains(t, b.get(page, operator...).body, "Renamed")

		require.Equal(t, http.StatusNoContent, a.manage(http.MethodDelete, renamed, "").status)
		require.Equal(t, http.StatusUnauthorized, b.manage(http.MethodGet, renamed, "").status)
		require.Equal(t, false, b.active(text(again, "access_token")))
		require.Equal(t, http.StatusUnauthorized, b.post("/oauth2/token", b.refreshFields(client, again)).status)
	})
}

// TestAnotherIssuer: a process of another issuer does not start on the database, and says what to do.
func TestAnotherIssuer(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		first := startProcess(t, "-storage", storage)
		program, err := os.Executable()
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		second := exec.CommandContext(ctx, program, "-addr", "127.0.0.1:0", "-storage", storage)
		second.Env = append(os.Environ(), asProgram+"=yes")
		output, err := second.CombinedOutput()
		require.ErrorContains(t, err, "exit status 1")
		require.Regexp(t, `^authserver: -storage: .*: it belongs to the issuer `+first.options.issuer+`, and this process would be http://127\.0\.0\.1:\d+: `+
			`start it with -issuer `+first.options.issuer+`, or with another -storage\n$`, string(output))
		first.browser(t).publicClient(loopbackURI) // it goes on
	})
}

// TestDocumentsOutliveTheProcess: a client with a document needs its host once, for all processes, and not to go on (CIMD-22).
func TestDocumentsOutliveTheProcess(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, storage string) {
		host := dcrtest.StartDocumentHost(t)
		id := host.Publish(t, "/app", object{"redirect_uris": []string{loopbackURI}, "grant_types": []string{"authorization_code", "refresh_token"}})
		flags := []string{"-storage", storage, "-insecure-outbound-loopback", "-tokens", tokensJWT}
		first := startProcess(t, flags...)
		flags = append(flags, "-issuer", first.options.issuer)
		second := startProcess(t, flags...)
		client := object{"client_id": id}
		a, b := first.browser(t), second.browser(t)
		tokens := a.redeem(client, b.code(request(client, loopbackURI)), loopbackURI)
		require.Equal(t, 1, host.Asked("/app"), "two processes, one fetch")

		host.Close()
		for _, process := range []*process{first, second} {
			_, err := process.end(syscall.SIGKILL)
			require.Error(t, err)
		}
		third := startProcess(t, flags...)
		c := third.browser(t)
		tokens = c.tokens(c.refreshFields(client, tokens))
		require.Equal(t, true, c.active(text(tokens, "access_token")))
		require.NotEmpty(t, c.code(request(client, loopbackURI)), "a new sign-in, too, while the document is fresh")
		output, err := third.end(syscall.SIGTERM)
		require.NoError(t, err)
		require.NotContains(t, output, "level=ERROR")
	})
}

// TestPasswordIsNotShown: neither the notice nor the log has the password of the database, also while nobody gets into it.
func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	source, err := url.Parse(databases["postgresql"](t))
	require.NoError(t, err)
	withPassword := *source
	withPassword.User = url.UserPassword(source.User.Username(), "open-sesame") // the server trusts without asking
	query := source.Query()
	maps.Copy(query, url.Values{"password": {"open-sesame"}})
	inQuery := *source
	inQuery.RawQuery = query.Encode()
	for name, storage := range map[string]string{"of_the_user": withPassword.String(), "in_the_query": inQuery.String()} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, "-storage", storage, "-issuer", "http://127.0.0.1:8080")
			require.Contains(t, p.notice, "PostgreSQL, database "+source.Path[1:]+" at "+source.Host+": what is registered stays")
			b := p.browser(t)
			client := b.publicClient(loopbackURI)
			closeDatabase(t, *source, true)
			for range 20 { // more than the pool has connections that were cut
				require.GreaterOrEqual(t, b.manage(http.MethodGet, client, "").status, 500)
			}
			require.GreaterOrEqual(t, b.get("/oauth2/auth?"+request(client, loopbackURI).Encode()).status, 500)
			closeDatabase(t, *source, false)
			require.Equal(t, http.StatusOK, b.manage(http.MethodGet, client, "").status)
			output, err := p.end(syscall.SIGTERM)
			require.NoError(t, err)
			require.Contains(t, output, "is not currently accepting connections", "the log says what was wrong")
			require.NotContains(t, output, "sesame")
		})
	}
}

// closeDatabase closes a database to all, or opens it again.
func closeDatabase(t *testing.T, source url.URL, closed bool) {
	t.Helper()
	name := source.Path[1:]
	source.Path = "/postgres"
	db, err := sql.Open("pgx", source.String())
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, !closed))
	require.NoError(t, err)
	if closed {
		_, err = db.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
		require.NoError(t, err)
	}
}
