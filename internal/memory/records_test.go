package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

type ticket struct{ uses int }

var errTaken = errors.New("taken")

func tickets() *memory.Records[ticket] {
	return memory.NewRecords(func(t *ticket) *ticket { c := *t; return &c }, errTaken)
}

func TestRecords(t *testing.T) {
	t.Parallel()
	ctx, r := t.Context(), tickets()
	given := &ticket{uses: 1}
	require.NoError(t, r.Add(ctx, "b", given))
	require.ErrorIs(t, r.Add(ctx, "b", &ticket{uses: 9}), errTaken)
	given.uses = 7
	found, err := r.Get(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, 1, found.uses, "copied in")
	found.uses = 8
	again, err := r.Get(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, 1, again.uses, "copied out")

	full := errors.New("full")
	require.ErrorIs(t, r.Change(ctx, "b", func(*ticket) error { return full }), full)
	require.NoError(t, r.Change(ctx, "b", func(x *ticket) error { x.uses++; return nil }))
	changed, err := r.Get(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, 2, changed.uses)

	_, err = r.Get(ctx, "x")
	for _, unknown := range []error{r.Change(ctx, "x", func(*ticket) error { return nil }), r.Delete(ctx, "x"), err} {
		require.ErrorIs(t, unknown, fosite.ErrNotFound)
	}
	require.NoError(t, r.Delete(ctx, "b"))
	require.ErrorIs(t, r.Delete(ctx, "b"), fosite.ErrNotFound)
	require.NoError(t, r.Add(ctx, "b", given), "free again")
}

func TestRecordsEndedContext(t *testing.T) {
	t.Parallel()
	r := tickets()
	require.NoError(t, r.Add(t.Context(), "a", &ticket{}))
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, got := r.Get(done, "a")
	_, listed := r.After(done, "", 1)
	for _, err := range []error{
		r.Add(done, "b", &ticket{}), got, listed, r.Delete(done, "a"),
		r.Change(done, "a", func(*ticket) error { return errors.New("called") }),
	} {
		require.ErrorIs(t, err, context.Canceled)
	}
	all, err := r.After(t.Context(), "", 10)
	require.NoError(t, err)
	require.Len(t, all, 1, "nothing has changed")
}

func TestRecordsAfter(t *testing.T) {
	t.Parallel()
	r := tickets()
	for i, id := range []string{"c", "a", "e", "B"} {
		require.NoError(t, r.Add(t.Context(), id, &ticket{uses: i}))
	}
	for name, c := range map[string]struct {
		after string
		limit int
		want  []int
	}{
		"all":       {"", 10, []int{3, 1, 0, 2}},
		"limited":   {"", 2, []int{3, 1}},
		"known":     {"a", 10, []int{0, 2}},
		"unknown":   {"b", 10, []int{0, 2}},
		"last":      {"e", 10, nil},
		"no_limit":  {"", 0, nil},
		"bad_limit": {"", -1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := r.After(t.Context(), c.after, c.limit)
			require.NoError(t, err)
			var uses []int
			for _, x := range list {
				uses = append(uses, x.uses)
			}
			require.Equal(t, c.want, uses)
		})
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	var c memory.Counter[string]
	require.Zero(t, c.Of("a"))
	c.Replace(nil, []string{"a", "", "b"})
	c.Replace([]string{"b", ""}, []string{"a"})
	require.Equal(t, []int{2, 0, 0}, []int{c.Of("a"), c.Of("b"), c.Of("")})
	c.Replace([]string{"a"}, nil)
	c.Replace([]string{"a"}, nil)
	c.Replace([]string{"a"}, nil)
	require.Zero(t, c.Of("a"), "never below zero")

	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 100 {
				c.Replace(nil, []string{fmt.Sprint(i % 2)})
			}
		})
	}
	wait.Wait()
	require.Equal(t, []int{400, 400}, []int{c.Of("0"), c.Of("1")})
}
