package requests_test

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

// writtenPort stands in the requests for a port of this machine to which their URLs point, in
// many spellings; openTrap says which one it is.
const writtenPort = "47391"

// guardTrap fails the test if anything connects to the trap before its subtests have ended, or a moment
// after. Nothing of a registration is a reason to call this machine (OUT-01, T10, T11).
func guardTrap(t *testing.T) {
	t.Helper()
	trap, err := openTrap()
	require.NoError(t, err)
	// Not require, which would end the cleanup before the subtests have reported.
	t.Cleanup(func() {
		assert.Never(t, func() bool { return trap.calls.Load() > 0 }, 200*time.Millisecond, 20*time.Millisecond,
			"the server called a URL of a client")
	})
}

// trap counts who connects to a port.
type trap struct {
	port  string
	calls atomic.Int64
}

// openTrap listens on both loopback addresses, on one port that is free on both, until the process ends.
var openTrap = sync.OnceValues(func() (*trap, error) {
	var last error
	for range 100 {
		opened := new(trap)
		if last = opened.listen("127.0.0.1", "0"); last != nil {
			return nil, last
		}
		last = opened.listen("::1", opened.port)
		if last == nil || errors.Is(last, syscall.EADDRNOTAVAIL) { // a machine without IPv6
			return opened, nil
		}
	}
	return nil, last
})

func (c *trap) listen(host, port string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	_, c.port, _ = net.SplitHostPort(listener.Addr().String())
	go countCalls(listener, &c.calls)
	return nil
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
