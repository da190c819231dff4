package ratelimit_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// clock is a time that moves by hand.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(1_800_000_000, c.offset.Load()) }

func (c *clock) advance(by time.Duration) { c.offset.Add(int64(by)) }

func TestTake(t *testing.T) {
	t.Parallel()
	hands := &clock{}
	buckets := ratelimit.New(hands.now)
	take := func(key string) time.Duration { return buckets.Take(key, 3, time.Minute) }
	for range 3 {
		require.Zero(t, take("a"))
	}
	require.Equal(t, 20*time.Second, take("a").Round(time.Millisecond))
	require.Equal(t, 20*time.Second, take("a").Round(time.Millisecond), "a refusal takes nothing")
	require.Zero(t, take("b"), "each key has its own bucket")

	hands.advance(19 * time.Second)
	require.Equal(t, time.Second, take("a").Round(time.Millisecond))
	hands.advance(2 * time.Second)
	require.Zero(t, take("a"))
	require.Positive(t, take("a"))

	hands.advance(time.Hour)
	for range 3 {
		require.Zero(t, take("a"))
	}
	require.Positive(t, take("a"), "no more than count is saved up")
}

func TestTakeRates(t *testing.T) {
	t.Parallel()
	year := 366 * 24 * time.Hour
	for _, row := range []struct {
		name  string
		count int
		per   time.Duration
		want  time.Duration
	}{
		{"one_a_second", 1, time.Second, time.Second},
		{"one_a_year", 1, year, year},
		{"many", 1000, time.Second, time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			buckets := ratelimit.New((&clock{}).now)
			for range row.count {
				require.Zero(t, buckets.Take("key", row.count, row.per))
			}
			require.InDelta(t, row.want, buckets.Take("key", row.count, row.per), float64(row.want)/1000)
		})
	}
}

func TestTakeParallel(t *testing.T) {
	t.Parallel()
	buckets := ratelimit.New((&clock{}).now)
	var taken atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 50 {
				if buckets.Take("key", 100, time.Minute) == 0 {
					taken.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 100, taken.Load())
}

// TestForgottenKeys: many keys cost no more memory, the one that was seen longest ago is forgotten, and one that is
// in use is not.
func TestForgottenKeys(t *testing.T) {
	t.Parallel()
	buckets := ratelimit.New((&clock{}).now)
	require.Zero(t, buckets.Take("old", 1, time.Hour))
	require.Zero(t, buckets.Take("used", 1, time.Hour))
	for i := range 80_000 {
		require.Zero(t, buckets.Take(strconv.Itoa(i), 1, time.Hour))
		if i%100 == 0 {
			require.Positive(t, buckets.Take("used", 1, time.Hour))
		}
	}
	require.Zero(t, buckets.Take("old", 1, time.Hour))
}
