package dcrtest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Redis starts a Redis server of the test's own and returns its address. Where the machine has none, the test can't
// be run; it fails where CI says that all services are there.
func Redis(t testing.TB) (address string) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("DCR_REQUIRE_SERVICES") != "" {
			t.Fatal("DCR_REQUIRE_SERVICES is set, and there is no redis-server:", err)
		}
		t.Skip("there is no redis-server on this machine:", err)
	}
	for range 5 { // somebody else may take the port that was free
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address = listener.Addr().String()
		require.NoError(t, listener.Close())
		_, port, _ := net.SplitHostPort(address)
		command := exec.Command(binary, "--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", port)
		command.Dir = t.TempDir()
		output, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		t.Cleanup(func() {
			_ = command.Process.Kill()
			_ = command.Wait()
		})
		if redisReady(output) {
			go func() { _, _ = io.Copy(io.Discard, output) }()
			return address
		}
	}
	t.Fatal("redis-server does not start")
	return ""
}

// redisReady reads what the server says until it accepts connections, or ends.
func redisReady(output io.Reader) bool {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.Contains(strings.ToLower(lines.Text()), "ready to accept connections") {
			return true
		}
	}
	return false
}
