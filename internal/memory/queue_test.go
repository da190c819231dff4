package memory_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

type queued struct {
	key string
	at  time.Time
}

func TestQueue(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for _, row := range []struct {
		name string
		do   func(q *memory.Queue)
		want []queued
	}{
		{"empty", func(*memory.Queue) {}, nil},
		{"unknown_dropped", func(q *memory.Queue) { q.Drop("a") }, nil},
		{"in_order", func(q *memory.Queue) { q.Set("a", at(1)); q.Set("b", at(2)) }, []queued{{"a", at(1)}, {"b", at(2)}}},
		{"out_of_order", func(q *memory.Queue) { q.Set("a", at(2)); q.Set("b", at(1)) }, []queued{{"b", at(1)}, {"a", at(2)}}},
		{"moved_back", func(q *memory.Queue) { q.Set("a", at(1)); q.Set("b", at(2)); q.Set("a", at(3)) }, []queued{{"b", at(2)}, {"a", at(3)}}},
		{"moved_forward", func(q *memory.Queue) { q.Set("a", at(1)); q.Set("b", at(2)); q.Set("b", at(0)) }, []queued{{"b", at(0)}, {"a", at(1)}}},
		{"first_dropped", func(q *memory.Queue) { q.Set("a", at(1)); q.Set("b", at(2)); q.Drop("a") }, []queued{{"b", at(2)}}},
		{"last_dropped", func(q *memory.Queue) { q.Set("a", at(1)); q.Set("b", at(2)); q.Drop("b") }, []queued{{"a", at(1)}}},
		{"dropped_and_set", func(q *memory.Queue) { q.Set("a", at(1)); q.Drop("a"); q.Set("a", at(2)) }, []queued{{"a", at(2)}}},
		{"zero_time_first", func(q *memory.Queue) { q.Set("a", at(0)); q.Set("b", time.Time{}) }, []queued{{"b", time.Time{}}, {"a", at(0)}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var q memory.Queue
			row.do(&q)
			require.Equal(t, len(row.want), q.Len())
			require.Equal(t, row.want, drain(&q))
			_, _, ok := q.First()
			require.False(t, ok)
		})
	}
}

func drain(q *memory.Queue) (all []queued) {
	for {
		key, at, ok := q.First()
		if !ok {
			return all
		}
		all = append(all, queued{key, at})
		q.Drop(key)
	}
}

// TestQueueRandom: whatever is set, moved and dropped, the queue is a sorted slice.
func TestQueueRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		var q memory.Queue
		var model []queued // sorted
		times := random.Perm(2000)
		for _, offset := range times {
			key := strconv.Itoa(random.IntN(100))
			model = slices.DeleteFunc(model, func(m queued) bool { return m.key == key })
			if random.IntN(3) == 0 {
				q.Drop(key)
			} else {
				added := queued{key, start.Add(time.Duration(offset))}
				q.Set(key, added.at)
				model = append(model, added)
				slices.SortFunc(model, func(a, b queued) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.key, b.key)) })
			}
			gotKey, gotAt, ok := q.First()
			require.Equal(t, len(model) > 0, ok)
			require.Equal(t, len(model), q.Len())
			if ok {
				require.Equal(t, model[0], queued{gotKey, gotAt})
			}
		}
		require.Equal(t, model, drain(&q))
	}
}
