package cimd

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOneSignIn: authorization, token and refresh fetch once, though the host forbids every cache.
func TestOneSignIn(t *testing.T) {
	t.Parallel()
	for _, control := range []string{"", "no-store", "private, max-age=0", "s-maxage=60"} {
		t.Run("CIMD-08/one_fetch_"+control, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one", "Cache-Control", control))
			d, clock := newDocuments(t, nil)
			r := new(reader)
			r.get(t, d, h.id, 1, "one")
			h.set(says("two", "Cache-Control", control))
			r.get(t, d, h.id, 0, "one")
			clock.pass(5*time.Minute - 1)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 1, h.fetches.Load())
			clock.pass(1)
			r.get(t, d, h.id, 1, "two")
			require.Equal(t, []readCall{{name: "one"}, {previous: "one", name: "two"}}, r.seen())
		})
	}
}

// TestRevalidation: 304 renews the lifetime of what is known, and no other answer to a question that was not asked does.
func TestRevalidation(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][2]string{
		"CIMD-08/etag": {"Etag", `"v1"`}, "CIMD-08/last_modified": {"Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var whole atomic.Int32 // answers that were not conditional
			asked := map[string]string{"Etag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[header[0]]
			h := serveHost(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(asked) == header[1] {
					w.Header().Set("Cache-Control", "max-age=600")
					w.WriteHeader(http.StatusNotModified)
					return
				}
				name := "one"
				if whole.Add(1) > 1 {
					name = "asked without condition"
				}
				says(name, header[0], header[1])(w, r)
			})
			d, clock := newDocuments(t, nil)
			r := new(reader)
			r.get(t, d, h.id, 0, "one")
			clock.pass(5 * time.Minute)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 2, h.fetches.Load())
			require.Equal(t, readCall{previous: "one", name: "one"}, r.seen()[1], "the document, though it was not sent again")
			clock.pass(10*time.Minute - 1)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 2, h.fetches.Load(), "the lifetime is that of the 304")
			clock.pass(1)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 3, h.fetches.Load(), "the validator of the first answer is still good")
		})
	}
	t.Run("CIMD-08/validator_that_is_too_long", func(t *testing.T) {
		t.Parallel()
		conditions := make(chan string, 2)
		h := serveHost(t, func(w http.ResponseWriter, r *http.Request) {
			conditions <- r.Header.Get("If-None-Match")
			says("one", "Etag", `"`+strings.Repeat("a", 300)+`"`)(w, r)
		})
		d, clock := newDocuments(t, nil)
		for range 2 {
			new(reader).get(t, d, h.id, 1, "one")
			require.Empty(t, <-conditions)
			clock.pass(5 * time.Minute)
		}
	})
	t.Run("CIMD-02/304_that_nobody_asked_for", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, status(http.StatusNotModified))
		d, _ := newDocuments(t, nil)
		require.Equal(t, 304, new(reader).fail(t, d, h.id, 1, "status").Status())
	})
}

// TestErrorsAreNotCached: what fails at the first contact is tried again by the next request.
func TestErrorsAreNotCached(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]http.HandlerFunc{
		"404": status(http.StatusNotFound), "410": status(http.StatusGone), "no_object": says(`","a":`),
	} {
		t.Run("CIMD-09/fails_once_"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, first)
			d, _ := newDocuments(t, nil)
			_, err := d.Document(t.Context(), h.id, 1, new(reader).read)
			require.Error(t, err)
			require.Empty(t, d.entries, "nothing is remembered")
			h.set(says("one"))
			new(reader).get(t, d, h.id, 0, "one")
		})
	}
	t.Run("CIMD-09/refused_by_its_reader", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, says("one"))
		d, _ := newDocuments(t, nil)
		refusal := errors.New("client_id is another")
		r := &reader{err: refusal}
		for range 2 {
			_, err := d.Document(t.Context(), h.id, 1, r.read)
			require.ErrorIs(t, err, refusal)
		}
		require.EqualValues(t, 2, h.fetches.Load())
		r.refuse(nil)
		r.get(t, d, h.id, 1, "one")
	})
}

// TestHostThatFails: the last valid copy serves, but for a host that says it is gone, and not for longer than the limit.
func TestHostThatFails(t *testing.T) {
	t.Parallel()
	html := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"403_challenge": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=UTF-8")
			w.WriteHeader(http.StatusForbidden)
		}, "status"},
		"404": {status(404), "status"}, "429": {status(429), "status"}, "500": {status(500), "status"}, "302": {status(302), "status"},
		"html": {html, "media_type"}, "no_json": {says(`"`), "json"},
		"silent": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection"},
	} {
		t.Run("CIMD-10/"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one"))
			d, clock := newDocuments(t, nil)
			r := new(reader)
			r.get(t, d, h.id, 1, "one")
			h.set(row.answer)
			clock.pass(5 * time.Minute)
			r.get(t, d, h.id, 1, "one")
			require.Equal(t, readCall{previous: "one", reason: row.reason}, r.seen()[1], "the reader learns of it")
			for effort := range 3 {
				r.get(t, d, h.id, effort, "one")
			}
			require.EqualValues(t, 2, h.fetches.Load(), "the next attempt is a minute later")
			clock.pass(24*time.Hour - 1)
			r.get(t, d, h.id, 0, "one")
			settled(t, d, h.id)
			require.EqualValues(t, 3, h.fetches.Load())
			clock.pass(1)
			r.fail(t, d, h.id, 0, row.reason)
			h.set(says("two"))
			r.get(t, d, h.id, 0, "two")
			require.Equal(t, readCall{previous: "one", name: "two"}, r.seen()[len(r.seen())-1])
		})
	}
	t.Run("CIMD-10/410", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, says("one", "Cache-Control", "max-age=600"))
		d, clock := newDocuments(t, nil)
		r := new(reader)
		r.get(t, d, h.id, 1, "one")
		h.set(status(410))
		clock.pass(10 * time.Minute)
		_, err := d.Document(t.Context(), h.id, 1, r.read)
		require.ErrorIs(t, err, fs.ErrNotExist)
		r.fail(t, d, h.id, 0, "status")
		require.Equal(t, readCall{reason: "status"}, r.seen()[2], "nothing is known any more")
	})
	t.Run("CIMD-10/newer_one_is_refused", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, says("one"))
		d, clock := newDocuments(t, nil)
		r := new(reader)
		r.get(t, d, h.id, 1, "one")
		h.set(says("two"))
		r.refuse(errors.New("no redirect URI"))
		clock.pass(5 * time.Minute)
		for effort := range 3 {
			r.get(t, d, h.id, effort, "one")
		}
		require.EqualValues(t, 2, h.fetches.Load())
		r.refuse(nil)
		clock.pass(time.Minute)
		r.get(t, d, h.id, 1, "two")
		require.Equal(t, "one", r.seen()[2].previous)
	})
	t.Run("CIMD-10/turned_off", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, says("one"))
		d, clock := newDocuments(t, func(o *Options) { o.StaleFor = -1 })
		r := new(reader)
		r.get(t, d, h.id, 1, "one")
		h.set(status(500))
		clock.pass(5*time.Minute - 1)
		r.get(t, d, h.id, 0, "one")
		clock.pass(1)
		r.fail(t, d, h.id, 0, "status")
	})
}

// TestUnknownKeys: junk key identifiers fetch once a minute, and a new key is found within a minute.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	d, clock := newDocuments(t, nil)
	r := new(reader)
	r.get(t, d, h.id, 2, "one")
	h.set(says("two"))
	clock.pass(time.Minute - 1)
	for range 1000 {
		r.get(t, d, h.id, 2, "one")
	}
	require.EqualValues(t, 1, h.fetches.Load())
	clock.pass(1)
	r.get(t, d, h.id, 2, "two")
	require.EqualValues(t, 2, h.fetches.Load())
	h.set(status(500))
	clock.pass(time.Minute)
	r.get(t, d, h.id, 2, "two")
	r.get(t, d, h.id, 2, "two")
	require.EqualValues(t, 3, h.fetches.Load(), "also where the host fails")
}

// TestRenewalBeside: a token request is answered while the host of the document still thinks.
func TestRenewalBeside(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	d, clock := newDocuments(t, nil)
	r := new(reader)
	r.get(t, d, h.id, 0, "one")
	asked, proceed := make(chan struct{}), make(chan struct{})
	h.set(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-proceed
		says("two")(w, r)
	})
	clock.pass(5 * time.Minute)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "of the request"))
	value, err := d.Document(ctx, h.id, 0, func(ctx context.Context, previous any, document []byte, failure error) (any, error) {
		require.Equal(t, "of the request", ctx.Value(valueKey{}))
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		require.NoError(t, ctx.Err(), "the request is over, this is not")
		return r.read(ctx, previous, document, failure)
	})
	require.NoError(t, err)
	require.Equal(t, "one", value, "CIMD-23")
	<-asked
	cancel()
	for range 100 {
		r.get(t, d, h.id, 0, "one")
	}
	close(proceed)
	settled(t, d, h.id)
	r.get(t, d, h.id, 0, "two")
	require.EqualValues(t, 2, h.fetches.Load(), "CIMD-23: one renewal for all")
}

type valueKey struct{}

// TestOneFetchForAll: a thousand requests wait for one fetch, and who goes takes it from nobody.
func TestOneFetchForAll(t *testing.T) {
	t.Parallel()
	asked, proceed := make(chan struct{}), make(chan struct{})
	h := serveHost(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-proceed
		says("one")(w, r)
	})
	d, _ := newDocuments(t, nil)
	r := new(reader)
	first, cancel := context.WithCancelCause(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := d.Document(first, h.id, 1, r.read)
		gone <- err
	}()
	<-asked
	cancel(errors.New("the browser left"))
	require.ErrorContains(t, <-gone, "the browser left")
	var group sync.WaitGroup
	for effort := range 1000 {
		group.Go(func() {
			if value, err := d.Document(t.Context(), h.id, effort%3, r.read); err != nil || value != "one" {
				t.Error(value, err)
			}
		})
	}
	close(proceed)
	group.Wait()
	require.EqualValues(t, 1, h.fetches.Load(), "T51, CIMD-09")
	require.Equal(t, []readCall{{name: "one"}}, r.seen())
}

// TestReaderThatPanics ends neither the process nor the wait of others.
func TestReaderThatPanics(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	d, _ := newDocuments(t, nil)
	_, err := d.Document(t.Context(), h.id, 1, func(context.Context, any, []byte, error) (any, error) { panic("a policy") })
	require.ErrorContains(t, err, "panic: a policy")
	new(reader).get(t, d, h.id, 1, "one")
}

// TestForgetsTheLongestUnused: memory is bounded, and what is used stays.
func TestForgetsTheLongestUnused(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	d, _ := newDocuments(t, func(o *Options) { o.MaxDocuments = 2 })
	r := new(reader)
	for _, path := range []string{"/a", "/b", "/a", "/c", "/a"} {
		r.get(t, d, h.URL+path, 0, "one")
	}
	require.EqualValues(t, 3, h.fetches.Load())
	require.Len(t, d.entries, 2)
	r.get(t, d, h.URL+"/b", 0, "one")
	require.EqualValues(t, 4, h.fetches.Load())
}
