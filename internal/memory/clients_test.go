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
	"github.com/fosite-contrib/fosite-dcr/internal/packed"
)

// record is what the clients of these tests are.
type record struct {
	id, owner           string
	version             int64
	changed, used, kept time.Time
	beside              *int
}

var errOld = errors.New("another version")

func newClients(limit int, options ...func(*memory.ClientOptions[record, int])) *memory.Clients[record, int] {
	o := memory.ClientOptions[record, int]{
		Limit: limit,
		ID:    func(r *record) string { return r.id },
		Pack: func(buffer []byte, r *record) ([]byte, *int) {
			w := packed.Writer(buffer)
			r.pack(&w)
			return w.Bytes(), r.beside
		},
		Unpack: func(data string, beside *int) *record {
			r := head(data)
			r.beside = beside
			return &r
		},
		Head: func(data string, r *record) { *r = head(data) },
		Brief: func(data string) memory.Brief {
			r := head(data)
			return memory.Brief{ID: r.id, Changed: r.changed, Used: !r.used.IsZero()}
		},
		Replace: func(stored string, next *record, version int64) (*record, error) {
			if head(stored).version != version {
				return nil, errOld
			}
			c := *next
			return &c, nil
		},
		Counted: func(data string) (string, [3]string) { return "issuer", [3]string{head(data).owner} },
		Deleted: func(string) {},
		Taken:   errTaken, Full: func() error { return errFull },
	}
	for _, option := range options {
		option(&o)
	}
	return memory.NewClients(o)
}

func (r *record) pack(c *packed.Codec) {
	c.Fixed(&r.used, &r.kept)
	c.Texts(&r.id, &r.owner)
	c.Ints(&r.version)
	c.Times(&r.changed)
}

func head(data string) (r record) {
	c := packed.BriefReader(data)
	r.pack(&c)
	return r
}

// owned counts the records of an owner.
func owned(s *memory.Clients[record, int], owner string) int {
	number, _ := memory.CountClients(s, "issuer", [3]string{owner})
	return number
}

// remove sweeps the records of an owner.
func remove(t *testing.T, s *memory.Clients[record, int], owner string, limit int) []*record {
	t.Helper()
	fits := memory.Filter[record]{Head: func(r *record) bool { return r.owner == owner }}
	removed, err := memory.RemoveClients(t.Context(), s, owner, fits, limit)
	require.NoError(t, err)
	return removed
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
	require.Equal(t, 2, owned(s, "alice"))

	require.ErrorIs(t, s.UpdateClient(ctx, &record{id: "a"}, 7), errOld)
	require.NoError(t, s.UpdateClient(ctx, &record{id: "a", owner: "bob", version: 2}, 1))
	require.Equal(t, []int{1, 1}, []int{owned(s, "alice"), owned(s, "bob")})
	require.NoError(t, s.DeleteClient(ctx, "b"))
	for _, id := range []string{"b", "static", "unknown"} {
		require.ErrorIs(t, s.DeleteClient(ctx, id), fosite.ErrNotFound, id)
		require.ErrorIs(t, s.UpdateClient(ctx, &record{id: id}, 1), fosite.ErrNotFound, id)
		_, err = s.GetDynamicClient(ctx, id)
		require.ErrorIs(t, err, fosite.ErrNotFound, id)
		require.NoError(t, s.TouchClient(ctx, id, time.Time{}, time.Time{}), id)
	}
	require.Zero(t, owned(s, "alice"))
	found, static := memory.FindClient(s, "static")
	require.Nil(t, found)
	require.Equal(t, "static", static.GetID())

	memory.PutStatic(s, &fosite.DefaultClient{ID: "a"})
	require.Zero(t, owned(s, "bob"), "a static client took its place")
	memory.PutClient(s, &record{id: "a", owner: "bob"})
	found, static = memory.FindClient(s, "a")
	require.Equal(t, &record{id: "a", owner: "bob"}, found)
	require.Nil(t, static)

	require.Empty(t, remove(t, s, "alice", 10))
	require.Len(t, remove(t, s, "bob", 10), 1)
	require.Empty(t, remove(t, s, "bob", 10), "it is gone")
}

// TestClientsEvicting: who waits longest for its first use is evicted, as it is at this moment.
func TestClientsEvicting(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), newClients(4)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	for i := range 4 {
		require.NoError(t, s.CreateClient(ctx, &record{id: strconv.Itoa(i), changed: at(i)}))
	}
	require.NoError(t, s.TouchClient(ctx, "0", start, time.Time{}))
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
	all, err := memory.ListClients(ctx, s, memory.Filter[record]{}, 10)
	require.NoError(t, err)
	var ids []string
	for _, r := range all {
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	require.Equal(t, []string{"0", "1", "new", "newer"}, ids)
}

// TestClientsEvictingFarTimes: a record that was changed beyond the times that the queue tells apart waits like any other.
func TestClientsEvictingFarTimes(t *testing.T) {
	t.Parallel()
	for year, evicted := range map[int]bool{1: true, 1600: true, 2300: false, 9999: false} {
		s := newClients(1)
		changed := time.Date(year, 5, 4, 3, 2, 1, 0, time.UTC)
		require.NoError(t, s.CreateClient(t.Context(), &record{id: "far", changed: changed}))
		found, err := s.CreateClientEvicting(t.Context(), &record{id: "new", changed: start}, start.Add(time.Hour))
		require.Equal(t, evicted, found != nil, year)
		require.Equal(t, !evicted, errors.Is(err, errFull), year)
	}
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
