package access_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// countingLimiter lets each key pass as often as the rate says, and never again.
type countingLimiter struct {
	mu    sync.Mutex
	taken map[string]int
}

func (l *countingLimiter) Take(_ context.Context, key string, r dcr.Rate) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken == nil {
		l.taken = map[string]int{}
	}
	if l.taken[key] == r.Count {
		return 1500 * time.Millisecond, nil
	}
	l.taken[key]++
	return 0, nil
}

// TestSharedLimiter: several providers with one Limiter have one limit.
func TestSharedLimiter(t *testing.T) {
	t.Parallel()
	limit := dcr.RateLimit{PerCaller: dcr.Rate{Count: 3, Per: time.Minute}, Total: dcr.Rate{Count: 4, Per: time.Minute}, Limiter: new(countingLimiter)}
	one, other := startLimited(t, limit), startLimited(t, limit)
	for _, s := range []*limitedServer{one, other, one} {
		require.Equal(t, http.StatusCreated, s.from(peerA).Status)
	}
	require.Equal(t, 2*time.Second, requireLimited(t, other.from(peerA)), "LIFE-06: the wait of the limiter, in whole seconds")
	require.Equal(t, http.StatusCreated, other.from(peerB).Status)
	requireLimited(t, one.from(peerC))
}

// TestLimiterFails: where the limiter fails nobody registers, and nothing is said of why.
func TestLimiterFails(t *testing.T) {
	t.Parallel()
	minute := dcr.Rate{Count: 3, Per: time.Minute}
	for which, limit := range map[string]dcr.RateLimit{"caller": {PerCaller: minute}, "total": {Total: minute}, "default": {}} {
		for status, cause := range map[int]error{500: errLimiterDown, 503: fmt.Errorf("%w: %w", dcr.ErrUnavailable, errLimiterDown)} {
			t.Run(fmt.Sprintf("T52/%s/%d", which, status), func(t *testing.T) {
				t.Parallel()
				store := dcrtest.NewLedger()
				failing := limit
				failing.Limiter = limiterFunc(func() (time.Duration, error) { return time.Hour, cause })
				s := startLimited(t, failing, func(setup *dcrtest.Setup) { setup.Storage = store })
				dcrtest.RequireFailure(t, s.from(peerA), status)
				require.Empty(t, store.Live(t))
				event := s.events.TakeOne(t)
				require.Equal(t, dcr.EventRefused, event.Kind)
				require.ErrorIs(t, event.Err, errLimiterDown)
			})
		}
	}
}

// TestLimiterContext: the limiter's context is that of the request, which ends.
func TestLimiterContext(t *testing.T) {
	t.Parallel()
	type mark struct{}
	called := false
	limiter := contextLimiter(func(ctx context.Context) error {
		called = true
		require.Equal(t, "here", ctx.Value(mark{}))
		return ctx.Err()
	})
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 3, Per: time.Minute}, Limiter: limiter})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), mark{}, "here"))
	cancel()
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/register", strings.NewReader(dcrtest.PlainRegistration))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	s.Provider.RegistrationHandler().ServeHTTP(recorder, request)
	require.True(t, called)
	require.Equal(t, http.StatusInternalServerError, recorder.Code)
}

type contextLimiter func(context.Context) error

func (f contextLimiter) Take(ctx context.Context, _ string, _ dcr.Rate) (time.Duration, error) {
	return 0, f(ctx)
}

// redisLimiter is a Limiter on a Redis, as a host writes it: one script, a bucket that
// fills with time. A host takes the client library that it has anyway.
type redisLimiter struct {
	address string
	now     func() time.Time
}

// The bucket holds the time at which it is full again. A request moves that on by what one
// costs, unless it would lie more than the whole rate ahead.
const redisBucket = `
local now, cost, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + cost
if full - now > most then return full - now - most end
redis.call('SET', KEYS[1], string.format('%d', full), 'PX', string.format('%d', math.ceil((full - now) / 1000) + 1000))
return 0`

func (l redisLimiter) Take(ctx context.Context, key string, r dcr.Rate) (time.Duration, error) {
	cost := r.Per.Microseconds() / int64(r.Count)
	wait, err := redisCall(ctx, l.address, "EVAL", redisBucket, "1", "dcr:"+key,
		strconv.FormatInt(l.now().UnixMicro(), 10), strconv.FormatInt(cost, 10), strconv.FormatInt(cost*int64(r.Count), 10))
	return time.Duration(wait) * time.Microsecond, err
}

// redisCall sends one command, and reads an answer that is a number.
func redisCall(ctx context.Context, address string, words ...string) (int64, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	switch {
	case err != nil:
		return 0, err
	case !strings.HasPrefix(line, ":"):
		return 0, errors.New("redis answers " + strings.TrimSpace(line))
	}
	return strconv.ParseInt(strings.TrimSpace(line[1:]), 10, 64)
}

// TestRedisLimiter: two servers that count in one Redis let as many pass together as the
// limit says, and tell truly how long to wait (LIFE-06, 7591-3-05).
func TestRedisLimiter(t *testing.T) {
	t.Parallel()
	clock := dcrtest.NewStillClock()
	limit := dcr.RateLimit{
		PerCaller: dcr.Rate{Count: 10, Per: time.Minute}, Total: dcr.Rate{Count: 15, Per: time.Minute},
		Limiter: redisLimiter{dcrtest.Redis(t), clock.Now},
	}
	servers := []*limitedServer{startLimited(t, limit, nobody), startLimited(t, limit, nobody)}
	flood := func(peer string) int {
		passed := 0
		for _, answer := range dcrtest.AllAtOnce(100, func(i int) dcrtest.Answer { return servers[i%2].from(peer) }) {
			if answer.Status == http.StatusForbidden {
				passed++
				continue
			}
			requireLimited(t, answer)
		}
		return passed
	}
	require.Equal(t, 10, flood(peerA))
	require.Equal(t, 5, flood(peerB), "what is left of the total")
	wait := requireLimited(t, servers[0].from(peerA))
	require.Equal(t, 6*time.Second, wait)
	clock.Advance(wait - time.Second)
	requireLimited(t, servers[1].from(peerA))
	clock.Advance(time.Second)
	require.Equal(t, http.StatusForbidden, servers[0].from(peerA).Status)
	requireLimited(t, servers[1].from(peerA))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := limit.Limiter.Take(ended, "caller", limit.PerCaller)
	require.ErrorIs(t, err, context.Canceled)
}

// TestRedisLimiterDown: without its Redis nobody registers.
func TestRedisLimiterDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 10, Per: time.Minute}, Limiter: redisLimiter{listener.Addr().String(), time.Now}})
	dcrtest.RequireFailure(t, s.from(peerA), http.StatusInternalServerError)
}
