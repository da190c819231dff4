package integration

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trapPort is a port of this machine to which URLs of the requests point, in many spellings.
const trapPort = "47391"

// guardTrap fails the test if anything connects to trapPort before its subtests have ended, or a moment
// after. Nothing of a registration is a reason to call this machine (OUT-01, T10, T11).
func guardTrap(t *testing.T) {
	t.Helper()
	calls, err := trap()
	require.NoError(t, err, "the port has to be free")
	// Not require, which would end the cleanup before the subtests have reported.
	t.Cleanup(func() {
		assert.Never(t, func() bool { return calls.Load() > 0 }, 200*time.Millisecond, 20*time.Millisecond,
			"the server called a URL of a client")
	})
}

// trap listens on both loopback addresses until the process ends, and returns how many have called.
var trap = sync.OnceValues(func() (*atomic.Int64, error) {
	calls := new(atomic.Int64)
	for _, host := range []string{"127.0.0.1", "::1"} {
		listener, err := listenPatiently(net.JoinHostPort(host, trapPort))
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue // a machine without IPv6
		}
		if err != nil {
			return nil, err
		}
		go countCalls(listener, calls)
	}
	return calls, nil
})

// listenPatiently waits for another run of these tests to give the port back.
func listenPatiently(address string) (net.Listener, error) {
	deadline := time.After(time.Minute)
	for tick := time.Tick(50 * time.Millisecond); ; {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		select {
		case <-tick:
		case <-deadline:
			return nil, err
		}
	}
}

func countCalls(listener net.Listener, calls *atomic.Int64) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		calls.Add(1)
		_ = conn.Close()
	}
}

func TestTrapCounts(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	calls := new(atomic.Int64)
	go countCalls(listener, calls)
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return calls.Load() == 1 }, 10*time.Second, time.Millisecond)
}
