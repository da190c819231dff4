package memory_test

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

// packedRecords notes the strings of records, and keeps none alive.
type packedRecords struct {
	mu    sync.Mutex
	known map[weak.Pointer[byte]]bool
}

func (p *packedRecords) note(data string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[weak.Make(unsafe.StringData(data))] = true
}

// alive is how many of them are left after a collection.
func (p *packedRecords) alive() (number int) {
	runtime.GC()
	p.mu.Lock()
	defer p.mu.Unlock()
	for pointer := range p.known {
		if pointer.Value() != nil {
			number++
		}
	}
	return number
}

// TestClientsKeepNoOldRecord: the keys of the store's maps are parts of records, and none keeps a record that was replaced
// or removed.
func TestClientsKeepNoOldRecord(t *testing.T) {
	t.Parallel()
	noted := &packedRecords{known: map[weak.Pointer[byte]]bool{}}
	s := newClients(100, func(o *memory.ClientOptions[record, int]) {
		brief := o.Brief
		o.Brief = func(data string) memory.Brief { noted.note(data); return brief(data) }
	})
	ctx := t.Context()
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	version := func(id string, i int) *record {
		return &record{id: id, owner: id + strings.Repeat("x", i), version: int64(i), changed: at(i)}
	}
	for i := range 40 {
		require.NoError(t, s.CreateClient(ctx, version(strconv.Itoa(i), 0)))
	}
	require.Equal(t, 40, noted.alive())
	for _, step := range []struct {
		name string
		do   func(id string) error
		left int
	}{
		{"updated_waiting", func(id string) error { return s.UpdateClient(ctx, version(id, 1), 0) }, 40},
		{"kept_waiting", func(id string) error { return s.TouchClient(ctx, id, time.Time{}, at(1)) }, 40},
		{"put_waiting", func(id string) error { memory.PutClient(s, version(id, 2)); return nil }, 40},
		{"used", func(id string) error { return s.TouchClient(ctx, id, at(1), at(2)) }, 40},
		{"used_again", func(id string) error { return s.TouchClient(ctx, id, at(2), at(3)) }, 40},
		{"updated", func(id string) error { return s.UpdateClient(ctx, version(id, 3), 2) }, 40},
		{"deleted", func(id string) error { return s.DeleteClient(ctx, id) }, 20},
		{"created", func(id string) error { return s.CreateClient(ctx, version(id, 5)) }, 40},
		{"evicting", func(id string) error {
			_, err := s.CreateClientEvicting(ctx, version("new "+id, 6), at(10))
			return err
		}, 40},
		{"static", func(id string) error { memory.PutStatic(s, &fosite.DefaultClient{ID: id}); return nil }, 20},
	} {
		for i := range 20 {
			require.NoError(t, step.do(strconv.Itoa(i)), step.name)
		}
		require.Equal(t, step.left, noted.alive(), step.name)
	}
	// The rest of a sweep that nobody goes on with.
	found, err := memory.RemoveClients(ctx, s, "sweep", memory.Filter[record]{}, 10)
	require.NoError(t, err)
	require.Len(t, found, 10)
	require.Equal(t, 10, noted.alive())
	runtime.KeepAlive(s)
}
