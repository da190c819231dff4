package memory_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

// record is what the clients of these tests are.
type record struct {
	id, owner string
	version   int64
	changed   time.Time
	used      bool
}

var errOld = errors.New("another version")

func newClients(limit int) *memory.Clients[record, string] {
	return memory.NewClients(memory.ClientOptions[record, string]{
		Limit: limit,
		ID:    func(r *record) string { return r.id },
		Clone: func(r *record) *record { c := *r; return &c },
		Replace: func(stored, next *record, version int64) (*record, error) {
			if stored.version != version {
				return nil, errOld
			}
			c := *next
			return &c, nil
		},
		Touch: func(stored *record, _, _ time.Time) *record { c := *stored; c.used = true; return &c },
		Waits: func(r *record) (time.Time, bool) { return r.changed, !r.used },
		Keys:  func(r *record) [3]string { return [3]string{r.owner} },
		Taken: errTaken, Full: func() error { return errFull },
	})
}

func TestClients(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newClients(2)
	memory.PutStatic(s, &fosite.DefaultClient{ID: "static"})
	require.ErrorIs(t, s.CreateClient(ctx, &record{id: "static"}), errTaken)
	a := &record{id: "a", owner: "alice", version: 1}
	require.NoError(t, s.CreateClient(ctx, a))
	a.owner = "changed by the caller"
	got, err := s.GetDynamicClient(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, &record{id: "a", owner: "alice", version: 1}, got)
	require.ErrorIs(t, s.CreateClient(ctx, &record{id: "a"}), errTaken)
	require.NoError(t, s.CreateClient(ctx, &record{id: "b", owner: "alice"}))
	require.ErrorIs(t, s.CreateClient(ctx, &record{id: "c"}), errFull)
	require.Equal(t, 2, memory.CountClients(s, "alice"))

	require.ErrorIs(t, s.UpdateClient(ctx, &record{id: "a"}, 7), errOld)
	require.NoError(t, s.UpdateClient(ctx, &record{id: "a", owner: "bob", version: 2}, 1))
	require.Equal(t, []int{1, 1}, []int{memory.CountClients(s, "alice"), memory.CountClients(s, "bob")})
	require.NoError(t, s.DeleteClient(ctx, "b"))
	for _, id := range []string{"b", "static", "unknown"} {
		require.ErrorIs(t, s.DeleteClient(ctx, id), fosite.ErrNotFound, id)
		require.ErrorIs(t, s.UpdateClient(ctx, &record{id: id}, 1), fosite.ErrNotFound, id)
		_, err = s.GetDynamicClient(ctx, id)
		require.ErrorIs(t, err, fosite.ErrNotFound, id)
		require.NoError(t, s.TouchClient(ctx, id, time.Time{}, time.Time{}), id)
	}
	require.Zero(t, memory.CountClients(s, "alice"))
	found, static := memory.FindClient(s, "static")
	require.Nil(t, found)
	require.Equal(t, "static", static.GetID())

	memory.PutStatic(s, &fosite.DefaultClient{ID: "a"})
	require.Zero(t, memory.CountClients(s, "bob"), "a static client took its place")
	memory.PutClient(s, &record{id: "a", owner: "bob"})
	found, static = memory.FindClient(s, "a")
	require.Equal(t, &record{id: "a", owner: "bob"}, found)
	require.Nil(t, static)

	require.Nil(t, memory.RemoveIf(s, "a", func(r *record) bool { return r.owner == "alice" }))
	require.NotNil(t, memory.RemoveIf(s, "a", func(r *record) bool { return r.owner == "bob" }))
	require.Nil(t, memory.RemoveIf(s, "a", func(*record) bool { return true }), "it is gone")
}

// TestClientsEvicting: who waits longest for its first use is evicted, as it is at this moment.
func TestClientsEvicting(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newClients(4)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	for i := range 4 {
		require.NoError(t, s.CreateClient(ctx, &record{id: strconv.Itoa(i), changed: at(i)}))
	}
	require.NoError(t, s.TouchClient(ctx, "0", time.Time{}, time.Time{}))
	require.NoError(t, s.UpdateClient(ctx, &record{id: "1", changed: at(60)}, 0))
	_, err := s.CreateClientEvicting(ctx, &record{id: "2"}, at(100))
	require.ErrorIs(t, err, errTaken)
	evicted, err := s.CreateClientEvicting(ctx, &record{id: "new", changed: at(70)}, at(50))
	require.NoError(t, err)
	require.Equal(t, "2", evicted.id)
	evicted, err = s.CreateClientEvicting(ctx, &record{id: "newer", changed: at(80)}, at(50))
	require.NoError(t, err)
	require.Equal(t, "3", evicted.id)
	_, err = s.CreateClientEvicting(ctx, &record{id: "newest"}, at(50))
	require.ErrorIs(t, err, errFull)
	_, err = s.GetDynamicClient(ctx, "newest")
	require.ErrorIs(t, err, fosite.ErrNotFound)
	var ids []string
	memory.EachClient(ctx, s, func(r *record) bool { ids = append(ids, r.id); return true })
	slices.Sort(ids)
	require.Equal(t, []string{"0", "1", "new", "newer"}, ids)
	seen := 0
	memory.EachClient(ctx, s, func(*record) bool { seen++; return false })
	require.Equal(t, 1, seen)
}

// TestClientsContext: a context that is done does nothing.
func TestClientsContext(t *testing.T) {
	t.Parallel()
	s := newClients(2)
	require.NoError(t, s.CreateClient(t.Context(), &record{id: "a", version: 1}))
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, read := s.GetDynamicClient(done, "a")
	_, evict := s.CreateClientEvicting(done, &record{id: "b"}, start)
	for i, err := range []error{read, evict, s.CreateClient(done, &record{id: "b"}), s.UpdateClient(done, &record{id: "a"}, 1), s.DeleteClient(done, "a"),
		s.TouchClient(done, "a", start, start)} {
		require.ErrorIs(t, err, context.Canceled, "%d", i)
	}
	found, _ := memory.FindClient(s, "a")
	require.Equal(t, &record{id: "a", version: 1}, found)
}
