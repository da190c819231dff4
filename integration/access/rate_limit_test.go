package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// limitedServer is a server with a limit and a clock that stands still.
type limitedServer struct {
	*dcrtest.Server
	clock  *dcrtest.StillClock
	events *dcrtest.Events
}

func startLimited(t testing.TB, limit dcr.RateLimit, edit ...func(*dcrtest.Setup)) *limitedServer {
	t.Helper()
	s := &limitedServer{clock: dcrtest.NewStillClock(), events: &dcrtest.Events{}}
	setup := dcrtest.Setup{CallersLimited: true, Config: dcr.Config{Limits: dcr.Limits{Rate: limit}, Now: s.clock.Now, Events: s.events}}
	for _, e := range edit {
		e(&setup)
	}
	s.Server = dcrtest.Start(t, setup)
	return s
}

// nobody refuses everybody, cheaply: 403 means that no limit was in the way.
func nobody(setup *dcrtest.Setup) {
	setup.Config.Access = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) { return nil, dcr.ErrAccessDenied })
}

// unlogged leaves the events away, for tests that cause very many.
func unlogged(setup *dcrtest.Setup) { setup.Config.Events = nil }

// from asks for a registration as a caller at an address does, such as 192.0.2.1:1024.
func (s *limitedServer) from(peer string, edits ...dcrtest.Edit) dcrtest.Answer {
	request := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(dcrtest.PlainRegistration))
	request.RemoteAddr = peer
	request.Header.Set("Content-Type", "application/json")
	for _, edit := range edits {
		edit(request)
	}
	recorder := httptest.NewRecorder()
	s.Provider.RegistrationHandler().ServeHTTP(recorder, request)
	answer := dcrtest.Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.String()}
	_ = json.Unmarshal(recorder.Body.Bytes(), &answer.Members)
	return answer
}

// requireLimited returns what Retry-After says.
func requireLimited(t testing.TB, answer dcrtest.Answer) time.Duration {
	t.Helper()
	dcrtest.RequireError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
	seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	return time.Duration(seconds) * time.Second
}

const (
	peerA = "192.0.2.1:1024"
	peerB = "198.51.100.7:2048"
	peerC = "203.0.113.9:4096"
)

// TestRateLimitAnswer: past a limit the answer is 429, and says truly how long to wait.
func TestRateLimitAnswer(t *testing.T) {
	t.Parallel()
	for _, rate := range []dcr.Rate{
		{Count: 1, Per: time.Second}, {Count: 5, Per: 300 * time.Millisecond}, {Count: 3, Per: 10 * time.Second},
		{Count: 7, Per: time.Minute}, {Count: 60, Per: time.Minute}, {Count: 13, Per: time.Hour}, {Count: 1, Per: 24 * time.Hour},
	} {
		for which, limit := range map[string]dcr.RateLimit{"caller": {PerCaller: rate}, "total": {PerCaller: dcr.Rate{Count: -1}, Total: rate}} {
			t.Run(fmt.Sprintf("7591-3-05/%s/%d_in_%s", which, rate.Count, rate.Per), func(t *testing.T) {
				t.Parallel()
				s := startLimited(t, limit)
				for range rate.Count {
					require.Equal(t, http.StatusCreated, s.from(peerA).Status)
				}
				s.events.Take()
				wait := requireLimited(t, s.from(peerA))
				require.LessOrEqual(t, wait, (rate.Per/time.Duration(rate.Count)).Truncate(time.Second)+time.Second)
				event := s.events.TakeOne(t)
				require.Equal(t, dcr.EventLimited, event.Kind)
				require.Equal(t, "temporarily_unavailable", event.Reason())
				require.Equal(t, "192.0.2.1", event.Address.String())

				s.clock.Advance(wait - time.Second)
				requireLimited(t, s.from(peerA))
				s.clock.Advance(time.Second)
				require.Equal(t, http.StatusCreated, s.from(peerA).Status, "what Retry-After says is enough")
			})
		}
	}
}

// TestRateLimitBodyUnread: who is refused costs no reading (T13, T43).
func TestRateLimitBodyUnread(t *testing.T) {
	t.Parallel()
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 1, Per: time.Minute}})
	require.Equal(t, http.StatusCreated, s.from(peerA).Status)
	requireLimited(t, s.from(peerA, func(r *http.Request) {
		r.ContentLength = -1
		r.Body = io.NopCloser(dcrtest.ReaderFunc(func([]byte) (int, error) {
			t.Error("the body is read")
			return 0, io.EOF
		}))
	}))
}

// TestRateLimitDefault: anonymous registrants have a limit that nobody has to set.
func TestRateLimitDefault(t *testing.T) {
	t.Parallel()
	passing := func(t *testing.T, s *limitedServer, edits ...dcrtest.Edit) int {
		passed := 0
		for range 100 {
			if answer := s.from(peerA, edits...); answer.Status != http.StatusTooManyRequests {
				passed++
			}
		}
		return passed
	}
	known := func(setup *dcrtest.Setup) {
		setup.Config.Access = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "known"}, nil
		})
	}
	t.Run("7591-3-05/anonymous", func(t *testing.T) {
		t.Parallel()
		s := startLimited(t, dcr.RateLimit{})
		require.Equal(t, 60, passing(t, s))
		require.Equal(t, http.StatusCreated, s.from(peerB).Status, "others are not concerned")
		require.Equal(t, time.Second, requireLimited(t, s.from(peerA)))
		s.clock.Advance(time.Minute)
		require.Equal(t, 60, passing(t, s))
	})
	t.Run("7591-3-05/known", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 100, passing(t, startLimited(t, dcr.RateLimit{}, known)))
	})
	t.Run("7591-3-05/known_but_set", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 9, passing(t, startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 9, Per: time.Hour}}, known)))
	})
	t.Run("7591-3-05/none", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 100, passing(t, startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: -1}, Total: dcr.Rate{Count: -1}})))
	})
	t.Run("7591-3-05/either", func(t *testing.T) {
		t.Parallel()
		s := startLimited(t, dcr.RateLimit{}, func(setup *dcrtest.Setup) {
			setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open())
		})
		token, _ := dcrtest.Mint(t, s.Server, dcr.InitialAccessTokenRequest{})
		require.Equal(t, 60, passing(t, s))
		require.Equal(t, 100, passing(t, s, dcrtest.Bearer(token)), "who brings a token is not anonymous")
		require.Zero(t, passing(t, s, dcrtest.Bearer("wrong")), "who brings a wrong one is")
	})
}

// TestRateLimitCountsRefused: a limit that is set counts what is refused for other reasons
// as well, so that guessing is bounded (T13).
func TestRateLimitCountsRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		access dcr.Access
		edit   dcrtest.Edit
		status int
	}{
		"T13/wrong_token":  {dcr.InitialAccessTokens(), dcrtest.Bearer("dcri_guess_guess"), http.StatusUnauthorized},
		"T13/no_token":     {dcr.AccessToken(), func(*http.Request) {}, http.StatusUnauthorized},
		"T13/bad_metadata": {dcr.Open(), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }, http.StatusBadRequest},
	} {
		for which, limit := range map[string]dcr.RateLimit{
			"set":         {PerCaller: dcr.Rate{Count: 3, Per: time.Minute}},
			"total":       {Total: dcr.Rate{Count: 3, Per: time.Minute}},
			"not_limited": {PerCaller: dcr.Rate{Count: -1}},
		} {
			t.Run(name+"/"+which, func(t *testing.T) {
				t.Parallel()
				s := startLimited(t, limit, func(setup *dcrtest.Setup) { setup.Config.Access = row.access })
				for range 3 {
					require.Equal(t, row.status, s.from(peerA, row.edit).Status)
				}
				answer := s.from(peerA, row.edit)
				if which == "not_limited" {
					require.Equal(t, row.status, answer.Status)
					return
				}
				requireLimited(t, answer)
			})
		}
	}
}

// TestRateLimitTotal: who floods uses up no more of the total than what was let pass.
func TestRateLimitTotal(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		limit dcr.RateLimit
		pass  int
	}{
		"T15/set":     {dcr.RateLimit{PerCaller: dcr.Rate{Count: 2, Per: time.Minute}, Total: dcr.Rate{Count: 5, Per: time.Minute}}, 2},
		"T15/default": {dcr.RateLimit{Total: dcr.Rate{Count: 65, Per: time.Minute}}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startLimited(t, row.limit)
			passed := 0
			for range 100 {
				if s.from(peerA).Status == http.StatusCreated {
					passed++
				}
			}
			require.Equal(t, row.pass, passed)
			require.Equal(t, http.StatusCreated, s.from(peerB).Status, "a caller who floods locks nobody else out")
			require.Equal(t, http.StatusCreated, s.from(peerB).Status)
			require.Equal(t, http.StatusCreated, s.from(peerC).Status)
			left := row.limit.Total.Count - row.pass - 3
			for i := range left {
				require.Equal(t, http.StatusCreated, s.from(fmt.Sprintf("203.0.113.%d:1", 20+i)).Status)
			}
			requireLimited(t, s.from("203.0.113.200:1"))
		})
	}
}

// TestRateLimitParallel: of requests at once exactly as many pass as the limit says.
func TestRateLimitParallel(t *testing.T) {
	t.Parallel()
	rate := dcr.Rate{Count: 20, Per: time.Minute}
	for name, limit := range map[string]dcr.RateLimit{
		"7591-3-05/caller": {PerCaller: rate}, "7591-3-05/total": {PerCaller: dcr.Rate{Count: -1}, Total: rate}, "7591-3-05/default": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := rate.Count
			if limit == (dcr.RateLimit{}) {
				want = 60
			}
			store := dcrtest.NewLedger()
			s := startLimited(t, limit, func(setup *dcrtest.Setup) { setup.Storage = store })
			passed := 0
			for _, answer := range dcrtest.AllAtOnce(200, func(int) dcrtest.Answer { return s.Post(t, dcrtest.PlainRegistration) }) {
				if answer.Status == http.StatusCreated {
					passed++
					continue
				}
				requireLimited(t, answer)
			}
			require.Equal(t, want, passed)
			require.Len(t, store.Live(t), want)
		})
	}
}

// TestRateLimitRefusedTakeNothing: a refusal takes nothing from anybody, also where many
// are refused at once: the one who waited as told is let pass.
func TestRateLimitRefusedTakeNothing(t *testing.T) {
	t.Parallel()
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: -1}, Total: dcr.Rate{Count: 1, Per: time.Second}}, nobody, unlogged)
	require.Equal(t, http.StatusForbidden, s.from(peerA).Status)
	var passed atomic.Int32
	dcrtest.InParallel(16, func(i int) {
		for range 2000 {
			if s.from(fmt.Sprintf("192.0.2.%d:1", i)).Status == http.StatusForbidden {
				passed.Add(1)
			}
		}
	})
	require.Zero(t, passed.Load())
	require.Equal(t, time.Second, requireLimited(t, s.from(peerB)), "T15: the wait does not grow by what is refused")
	s.clock.Advance(time.Second)
	require.Equal(t, http.StatusForbidden, s.from(peerB).Status)
}

// TestRateLimitManagement: updates have a limit of their own, reads and deletions none.
func TestRateLimitManagement(t *testing.T) {
	t.Parallel()
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 1, Per: time.Hour}, Total: dcr.Rate{Count: 1, Per: time.Hour}})
	client := s.Register(t, dcrtest.Managed())
	requireLimited(t, s.Post(t, dcrtest.Managed()))
	client = s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, client.Status, client.Body)
	for range 5 {
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status)
		requireLimited(t, s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client)))
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status, "T15: nothing changed")
	}
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client, nil).Status)
}

// TestRateLimitCallers: an address names a caller by its network, which is all that a
// limit on IPv6 can go by.
func TestRateLimitCallers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		one, other string
		v4, v6     int
		same       bool
	}{
		"T16/v4_port":         {one: "192.0.2.1:1", other: "192.0.2.1:2", same: true},
		"T16/v4_neighbour":    {one: "192.0.2.1:1", other: "192.0.2.2:1"},
		"T16/v4_24":           {one: "192.0.2.1:1", other: "192.0.2.254:1", v4: 24, same: true},
		"T16/v4_24_other":     {one: "192.0.2.1:1", other: "192.0.3.1:1", v4: 24},
		"T16/v4_mapped":       {one: "192.0.2.1:1", other: "[::ffff:192.0.2.1]:1", same: true},
		"T16/v4_mapped_other": {one: "[::ffff:192.0.2.1]:1", other: "[::ffff:192.0.2.2]:1"},
		"T16/v6_64":           {one: "[2001:db8::1]:1", other: "[2001:db8::ffff:ffff:ffff:ffff]:1", same: true},
		"T16/v6_64_other":     {one: "[2001:db8::1]:1", other: "[2001:db8:0:1::1]:1"},
		"T16/v6_128":          {one: "[2001:db8::1]:1", other: "[2001:db8::2]:1", v6: 128},
		"T16/v6_48":           {one: "[2001:db8::1]:1", other: "[2001:db8:0:ffff::1]:1", v6: 48, same: true},
		"T16/v6_zone":         {one: "[fe80::1%eth0]:1", other: "[fe80::1%eth1]:1", v6: 128, same: true},
		"T16/no_address":      {one: "@", other: "", same: true},
		"T16/v4_and_none":     {one: "0.0.0.0:1", other: "@"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 1, Per: time.Hour}, IPv4Prefix: row.v4, IPv6Prefix: row.v6}, nobody)
			require.Equal(t, http.StatusForbidden, s.from(row.one).Status)
			want := http.StatusForbidden
			if row.same {
				want = http.StatusTooManyRequests
			}
			require.Equal(t, want, s.from(row.other).Status)
		})
	}
}

// TestRateLimitMemory: what is kept of callers is bounded. Of a hundred thousand the
// first is forgotten, the last is not (T15).
func TestRateLimitMemory(t *testing.T) {
	t.Parallel()
	s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: 1, Per: time.Hour}}, nobody, unlogged)
	for range 3 {
		s.from(peerA)
	}
	requireLimited(t, s.from(peerA))
	last := ""
	for i := range 100_000 {
		last = fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)
		if status := s.from(last).Status; status != http.StatusForbidden {
			t.Fatalf("%s, never seen before, is answered %d", last, status)
		}
	}
	require.Equal(t, http.StatusForbidden, s.from(peerA).Status, "it was forgotten, and starts anew")
	requireLimited(t, s.from(last))
}

// TestRateLimitProblems: a limit that could not work is told at composition, and never
// means no limit (7591-3-05).
func TestRateLimitProblems(t *testing.T) {
	t.Parallel()
	minute := dcr.Rate{Count: 10, Per: time.Minute}
	for name, limit := range map[string]dcr.RateLimit{
		"per_below_zero":      {PerCaller: dcr.Rate{Count: 10, Per: -time.Minute}},
		"for_ever":            {PerCaller: dcr.Rate{Count: 1, Per: 1<<63 - 1}},
		"century":             {Total: dcr.Rate{Count: 1, Per: 100 * 365 * 24 * time.Hour}},
		"caller_without_time": {PerCaller: dcr.Rate{Count: 10}},
		"total_without_time":  {Total: dcr.Rate{Count: 10}},
		"v4_too_long":         {PerCaller: minute, IPv4Prefix: 33},
		"v4_below_zero":       {PerCaller: minute, IPv4Prefix: -1},
		"v6_too_long":         {PerCaller: minute, IPv6Prefix: 129},
	} {
		t.Run("7591-3-05/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{CallersLimited: true, Config: dcr.Config{Limits: dcr.Limits{Rate: limit}}})
			require.Error(t, err)
		})
	}
}

// TestRateLimitLongWait: however long the wait is, the header is a number that a client
// can read.
func TestRateLimitLongWait(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]dcr.RateLimit{
		"7591-3-05/longest":   {PerCaller: dcr.Rate{Count: 1, Per: time.Minute}, Limiter: limiterFunc(func() (time.Duration, error) { return 1<<63 - 1, nil })},
		"7591-3-05/shortest":  {PerCaller: dcr.Rate{Count: 1, Per: time.Minute}, Limiter: limiterFunc(func() (time.Duration, error) { return 1, nil })},
		"7591-3-05/some_days": {PerCaller: dcr.Rate{Count: 1, Per: 72 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startLimited(t, limit)
			s.from(peerA)
			require.LessOrEqual(t, requireLimited(t, s.from(peerA)), 366*24*time.Hour)
		})
	}
}

// limiterFunc is a Limiter that answers always alike.
type limiterFunc func() (time.Duration, error)

func (f limiterFunc) Take(context.Context, string, dcr.Rate) (time.Duration, error) { return f() }

var errLimiterDown = errors.New("redis at 10.0.0.7 is on fire")

// TestRateLimitBehindAProxy: an operator whose proxy is taken for one caller reads so in the
// log, and the caller does not.
func TestRateLimitBehindAProxy(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{"7591-3-05/forwarded": "192.0.2.7", "7591-3-05/direct": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
				Limits: dcr.Limits{Rate: dcr.RateLimit{PerCaller: dcr.Rate{Count: 1, Per: time.Hour}}},
				Events: dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil))),
			}})
			edit := func(r *http.Request) {
				if header != "" {
					r.Header.Set("X-Forwarded-For", header)
				}
			}
			s.Register(t, dcrtest.PlainRegistration, edit)
			answer := s.Post(t, dcrtest.PlainRegistration, edit)
			require.Equal(t, http.StatusTooManyRequests, answer.Status)
			require.NotContains(t, answer.Body, "TrustedProxies")
			require.Equal(t, header != "", strings.Contains(log.String(), "Config.Limits.TrustedProxies"), log.String())
		})
	}
}
