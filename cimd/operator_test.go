package cimd

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestList: what operators see, in memory and from a storage.
func TestList(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]Storage{"memory": nil, "storage": newShelf()} {
		t.Run("CIMD-24/list_of_"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one"))
			d, clock := newDocuments(t, func(o *Options) {
				o.Storage, o.Own = storage, map[string][]byte{"https://own.example/c": []byte(`{}`)}
			})
			r := new(reader)
			a, b, c := h.URL+"/a", h.URL+"/b", "https://z.example/c"
			r.get(t, d, b, 1, "one")
			r.get(t, d, a, 1, "one")
			r.get(t, d, "https://own.example/c", 1, "")
			fetched := clock.now()
			require.NoError(t, d.Block(t.Context(), c, true))
			require.NoError(t, d.Block(t.Context(), b, true))
			clock.pass(5 * time.Minute)
			h.set(status(http.StatusForbidden))
			r.get(t, d, a, 1, "one")
			host := h.Listener.Addr().String()

			list, err := d.List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Len(t, list, 3)
			var failure *Failure
			require.ErrorAs(t, list[0].Failure, &failure)
			require.Equal(t, []any{"status", 403, "application/json"}, []any{failure.Reason(), failure.Status(), failure.MediaType()})
			list[0].Failure = nil
			used := clock.now()
			if storage != nil {
				used = fetched // exact to an hour
			}
			require.Equal(t, []Known{
				{ID: a, Host: host, Fetched: fetched, Expires: fetched.Add(5 * time.Minute), Used: used, Failed: clock.now()},
				{ID: b, Host: host, Fetched: fetched, Expires: fetched.Add(5 * time.Minute), Used: fetched, Blocked: true},
				{ID: c, Host: "z.example", Blocked: true},
			}, list)

			list, err = d.List(t.Context(), a, 1)
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, b, list[0].ID)
			list, err = d.List(t.Context(), c, 10)
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
}

// TestRefresh: the next use fetches, whatever the lifetime, and what is known serves until then.
func TestRefresh(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]Storage{"memory": nil, "storage": newShelf()} {
		t.Run("CIMD-24/refresh_in_"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one", "Cache-Control", "max-age=86400"))
			d, _ := newDocuments(t, func(o *Options) { o.Storage = storage })
			r := new(reader)
			require.ErrorIs(t, d.Refresh(t.Context(), h.id), fs.ErrNotExist)
			r.get(t, d, h.id, 1, "one")
			h.set(status(http.StatusInternalServerError))
			require.NoError(t, d.Refresh(t.Context(), h.id))
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 2, h.fetches.Load())
			h.set(says("two"))
			require.NoError(t, d.Refresh(t.Context(), h.id))
			r.get(t, d, h.id, 0, "one")
			settled(t, d, h.id)
			r.get(t, d, h.id, 1, "two")
			require.EqualValues(t, 3, h.fetches.Load())
		})
	}
}

// TestOperatorsOfAStorageThatFails learn of it.
func TestOperatorsOfAStorageThatFails(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.err = errors.New("no connection")
	d, _ := newDocuments(t, func(o *Options) { o.Storage = s })
	_, err := d.List(t.Context(), "", 1)
	require.ErrorIs(t, err, s.err)
	require.ErrorIs(t, d.Refresh(t.Context(), "https://h/c"), s.err)
	require.ErrorIs(t, d.Block(t.Context(), "https://h/c", true), s.err)
}

// lateShelf is a shelf whose answer to a look comes late.
type lateShelf struct {
	*shelf
	looked, answer chan struct{}
}

func (s *lateShelf) FindDocument(ctx context.Context, id string) (record []byte, blocked bool, err error) {
	record, blocked, err = s.shelf.FindDocument(ctx, id)
	s.looked <- struct{}{}
	<-s.answer
	return record, blocked, err
}

// TestBlockDuringALook: a look into the storage that began before does not undo what the operator did meanwhile.
func TestBlockDuringALook(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	late := &lateShelf{shelf: newShelf(), looked: make(chan struct{}, 9), answer: make(chan struct{}, 9)}
	d, clock := newDocuments(t, func(o *Options) { o.Storage = late })
	late.answer <- struct{}{}
	r := new(reader)
	r.get(t, d, h.id, 1, "one")
	<-late.looked
	for _, blocked := range []bool{true, false} {
		clock.pass(trusted)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = d.Document(context.WithoutCancel(t.Context()), h.id, 0, r.read)
		}()
		<-late.looked
		require.NoError(t, d.Block(t.Context(), h.id, blocked))
		late.answer <- struct{}{}
		<-ended
		_, err := d.Document(t.Context(), h.id, 0, r.read)
		require.Equal(t, blocked, errors.Is(err, errBlocked), "CIMD-13/block_during_a_look: %v", err)
	}
}
