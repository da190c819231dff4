package memory_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

type ticket struct{ uses int }

func tickets() *memory.Records[ticket] {
	return memory.NewRecords(func(t *ticket) *ticket { c := *t; return &c })
}

func TestRecords(t *testing.T) {
	t.Parallel()
	r := tickets()
	given := &ticket{uses: 1}
	require.True(t, r.Add("b", given))
	require.False(t, r.Add("b", &ticket{uses: 9}), "the identifier is taken")
	given.uses = 7
	found, err := r.Get("b")
	require.NoError(t, err)
	require.Equal(t, 1, found.uses, "copied in")
	found.uses = 8
	again, err := r.Get("b")
	require.NoError(t, err)
	require.Equal(t, 1, again.uses, "copied out")

	full := errors.New("full")
	require.ErrorIs(t, r.Change("b", func(*ticket) error { return full }), full)
	require.NoError(t, r.Change("b", func(x *ticket) error { x.uses++; return nil }))
	changed, err := r.Get("b")
	require.NoError(t, err)
	require.Equal(t, 2, changed.uses)

	for _, unknown := range []error{
		r.Change("x", func(*ticket) error { return nil }), r.Delete("x"),
		func() error { _, err := r.Get("x"); return err }(),
	} {
		require.ErrorIs(t, unknown, fosite.ErrNotFound)
	}
	require.NoError(t, r.Delete("b"))
	require.ErrorIs(t, r.Delete("b"), fosite.ErrNotFound)
	require.True(t, r.Add("b", given), "free again")
}

func TestRecordsAfter(t *testing.T) {
	t.Parallel()
	r := tickets()
	for i, id := range []string{"c", "a", "e", "B"} {
		require.True(t, r.Add(id, &ticket{uses: i}))
	}
	uses := func(list []*ticket) (found []int) {
		for _, x := range list {
			found = append(found, x.uses)
		}
		return found
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
			require.Equal(t, c.want, uses(r.After(c.after, c.limit)))
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
