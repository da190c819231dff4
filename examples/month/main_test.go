package main

import (
	"context"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// printed runs the program, and returns what it prints without heap and CPU, which are of
// the whole process.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, run(args, &out, io.Discard), out.String())
	var lines []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(strings.TrimSpace(line), "heap ") && !strings.HasPrefix(strings.TrimSpace(line), "CPU ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// figures returns the three numbers of a row.
func figures(t *testing.T, text, row string) [3]int {
	t.Helper()
	var found [3]int
	for line := range strings.Lines(text) {
		values, ok := strings.CutPrefix(strings.TrimSpace(line), row)
		if !ok {
			continue
		}
		fields := strings.Fields(values)
		require.Len(t, fields, 3, line)
		for i, field := range fields {
			n, err := strconv.Atoi(strings.ReplaceAll(field, ",", ""))
			require.NoError(t, err, line)
			found[i] = n
		}
		return found
	}
	require.Fail(t, "no such row", "%q in\n%s", row, text)
	return found
}

func TestMonth(t *testing.T) {
	t.Parallel()
	out := printed(t, "-registrations", "2000")
	figure := func(row string) [3]int { return figures(t, out, row) }
	live, used := figure("live clients, in the end"), figure("of them got a token")

	t.Run("LIFE-01/users_within_the_rules_are_not_refused", func(t *testing.T) {
		require.Equal(t, [3]int{}, figure("WITHIN THE RULES (has to be 0)"))
		require.Positive(t, figure("refreshes")[2])
		require.Positive(t, figure("first sign-in later than an hour")[1], "the others notice")
		require.Positive(t, figure("away for 14 days, and the refresh token had expired")[2])
	})
	t.Run("LIFE-01/what_is_never_used_expires", func(t *testing.T) {
		require.Equal(t, 2000, live[0])
		require.Less(t, 4*live[1], live[0])
		require.Equal(t, used[0], used[1], "and nothing else does")
		require.Less(t, live[1]-used[1], 30, "an hour's registrations")
		require.Greater(t, figure("removed by sweeps")[1], 1500)
	})
	t.Run("LIFE-01/shared_and_idle", func(t *testing.T) {
		require.Less(t, 4*live[2], 3*live[1])
		require.Greater(t, figure("of them answered with a shared client")[2], 1200)
	})
	t.Run("LIFE-02/the_used_ones_stay_at_the_bound", func(t *testing.T) {
		n := thousands(used[0])
		require.Contains(t, out, "room for 1,000 clients: 1,000 clients were evicted; "+n+" of the "+n+" used ones are there; 0 users lost theirs")
	})
	t.Run("the_seed_decides", func(t *testing.T) {
		first := printed(t, "-registrations", "300")
		require.Equal(t, first, printed(t, "-registrations", "300"))
		require.NotEqual(t, first, strings.Replace(printed(t, "-registrations", "300", "-seed", "2"), "seed 2", "seed 1", 1))
	})
}

// TestDefectsAreNoticed: the program fails where a server has a defect.
func TestDefectsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]variant{
		"LIFE-01/hardly_time_to_sign_in":  {lifecycle: dcr.Lifecycle{Unused: 2 * time.Minute}, sweeps: true},
		"LIFE-01/refresh_token_forgotten": {lifecycle: dcr.Lifecycle{Idle: idleLife}, sweeps: true, storage: forgetful},
		"LIFE-02/the_oldest_is_evicted":   {lifecycle: dcr.Lifecycle{Unused: -1}, bound: 300, storage: unjust},
		"refresh_tokens_get_lost":         {sweeps: true, storage: careless},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options{registrations: 600, days: 30, seed: 1, begin: begin}
			r, err := simulate(v, o)
			require.NoError(t, err)
			require.ErrorContains(t, check(r), "users within the rules were refused")
		})
	}
}

// forgetfulStore does not record when refresh tokens expire.
type forgetfulStore struct{ *dcr.MemoryStore }

func forgetful(s *dcr.MemoryStore) any { return forgetfulStore{s} }

func (s forgetfulStore) TouchClient(ctx context.Context, id string, used, _ time.Time) error {
	return s.MemoryStore.TouchClient(ctx, id, used, time.Time{})
}

// unjustStore evicts the oldest client, used or not.
type unjustStore struct{ *dcr.MemoryStore }

func unjust(s *dcr.MemoryStore) any { return unjustStore{s} }

func (s unjustStore) CreateClientEvicting(ctx context.Context, c *dcr.Client, _ time.Time) (*dcr.Client, error) {
	all, err := s.ListClients(ctx, dcr.ClientFilter{}, dcr.ClientCursor{}, 1<<20)
	if err != nil {
		return nil, err
	}
	oldest := all[len(all)-1]
	if err := s.DeleteClient(ctx, oldest.ID); err != nil {
		return nil, err
	}
	return oldest, s.CreateClient(ctx, c)
}

// carelessStore does not find every tenth refresh token.
type carelessStore struct {
	*dcr.MemoryStore
	asked int
}

func careless(s *dcr.MemoryStore) any { return &carelessStore{MemoryStore: s} }

func (s *carelessStore) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if s.asked++; s.asked%10 == 0 {
		return nil, fosite.ErrNotFound
	}
	return s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
}

// TestClock: all times of clients and tokens are simulated.
func TestClock(t *testing.T) {
	t.Parallel()
	s, err := newServer(variant{}, &clock{now: begin}, 10)
	require.NoError(t, err)
	w, p := &world{server: s}, &person{rng: rand.New(rand.NewPCG(1, 1)), program: &programs[1]}
	p.metadata, p.redirectURI = p.program.metadata(p.rng)
	require.NoError(t, w.newClient(p))

	s.clock.now = begin.Add(30 * time.Minute)
	gone, err := w.signIn(p)
	require.NoError(t, err)
	require.False(t, gone)
	client, err := s.provider.FindClient(context.Background(), p.id)
	require.NoError(t, err)
	require.Equal(t, begin.Add(time.Hour), client.UnusedUntil)
	require.Equal(t, s.clock.now, client.LastUsedAt)
	require.Equal(t, s.clock.now.Add(refreshLife), client.KeepUntil)

	for _, row := range []struct {
		later time.Duration
		dead  bool
	}{{refreshLife - time.Minute, false}, {refreshLife + time.Minute, true}} {
		s.clock.now = s.clock.now.Add(row.later)
		_, dead, err := w.refresh(p)
		require.NoError(t, err)
		require.Equal(t, row.dead, dead, "the refresh token, after %s", row.later)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	require.Error(t, run([]string{"-registrations", "0"}, io.Discard, io.Discard))
	require.Error(t, run([]string{"-days", "0"}, io.Discard, io.Discard))
	require.Contains(t, printed(t, "-registrations", "1", "-days", "1"), "1 registrations in 1 days")
}
