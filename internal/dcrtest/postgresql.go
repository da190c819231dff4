package dcrtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"
)

// PostgreSQL returns the URL of a new database, on the server that DCR_POSTGRESQL names, or else on one that is started for
// the tests of this program. Where the machine has none, the test can't be run; it fails where CI says that all services
// are there.
func PostgreSQL(t testing.TB) (source string) {
	t.Helper()
	server := os.Getenv("DCR_POSTGRESQL")
	if server == "" {
		server = postgresServer.use(t)
	}
	name := "dcr_" + strings.ToLower(rand.Text()[:16])
	onServer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { onServer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

func onServer(t testing.TB, server, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", server)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(context.Background(), statement)
	require.NoError(t, err)
}

// postgresServer is what the tests of this program have in common.
var postgresServer sharedPostgres

// sharedPostgres runs from its first user to its last one.
type sharedPostgres struct {
	mu     sync.Mutex
	users  int
	source string
	stop   func()
}

func (s *sharedPostgres) use(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		s.source, s.stop = startPostgres(t)
	}
	s.users++
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.users--; s.users == 0 {
			s.stop()
		}
	})
	return s.source
}

// postgresProgram finds a program of PostgreSQL; Debian does not put the server's into PATH.
func postgresProgram(t testing.TB, name string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	found, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("DCR_REQUIRE_SERVICES") != "" {
			t.Fatal("DCR_REQUIRE_SERVICES is set, and there is no PostgreSQL:", err)
		}
		t.Skip("there is no PostgreSQL on this machine:", err)
	}
	return found
}

// asPostgres is a command as the user postgres, since a server does not run as root.
func asPostgres(program string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		program, args = "runuser", append([]string{"-u", "postgres", "--", program}, args...)
	}
	command := exec.Command(program, args...)
	command.Dir = os.TempDir()
	return command
}

func startPostgres(t testing.TB) (source string, stop func()) {
	t.Helper()
	initdb, postgres := postgresProgram(t, "initdb"), postgresProgram(t, "postgres")
	folder, err := os.MkdirTemp("", "dcr-postgresql")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(folder, 0o777)) // the user postgres makes a folder in it
	data := filepath.Join(folder, "data")
	output, err := asPostgres(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N").CombinedOutput()
	require.NoError(t, err, "%s", output)
	for range 5 { // somebody else may take the port that was free
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		require.NoError(t, listener.Close())
		command := asPostgres(postgres, "-D", data, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", folder,
			"-c", "fsync=off", "-c", "max_connections=400", "-c", "shared_buffers=128MB")
		log, err := command.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		stop := func() {
			// The server itself is not our child where another user runs it.
			_ = asPostgres(postgresProgram(t, "pg_ctl"), "stop", "-D", data, "-m", "immediate").Run()
			_ = command.Wait()
			_ = os.RemoveAll(folder)
		}
		if postgresReady(log) {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port), stop
		}
		_ = command.Wait()
	}
	t.Fatal("PostgreSQL does not start")
	return "", nil
}

// postgresReady reads what the server says until it accepts connections, or ends.
func postgresReady(log io.Reader) bool {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			return true
		}
	}
	return false
}
