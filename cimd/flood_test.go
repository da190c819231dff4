package cimd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// slowHost answers when it is told to, and counts.
type slowHost struct {
	*webHost
	port     string
	began    chan struct{} // receives once for each request
	proceed  chan struct{}
	underWay atomic.Int64
	most     atomic.Int64
}

func serveSlowly(t *testing.T) *slowHost {
	t.Helper()
	s := &slowHost{began: make(chan struct{}, 10_000), proceed: make(chan struct{})}
	s.webHost = serveHost(t, func(w http.ResponseWriter, r *http.Request) {
		now := s.underWay.Add(1)
		defer s.underWay.Add(-1)
		for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
		}
		s.began <- struct{}{}
		select {
		case <-s.proceed:
			says("one")(w, r)
		case <-r.Context().Done():
		}
	})
	_, s.port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return s
}

// reached returns Documents for which every name is this machine.
func reached(t *testing.T, change func(*Options)) (*Documents, *clock) {
	t.Helper()
	d, clock := newDocuments(t, change)
	d.client = newClient(d.options, names{"*": "127.0.0.1"}.resolver())
	return d, clock
}

// outcome counts how requests ended.
type outcome struct {
	group          sync.WaitGroup
	answered, busy chan struct{}
}

// ask asks for all documents at once.
func ask(t *testing.T, d *Documents, ids []string) *outcome {
	t.Helper()
	o := &outcome{answered: make(chan struct{}, len(ids)), busy: make(chan struct{}, len(ids))}
	for _, id := range ids {
		o.group.Go(func() {
			_, err := d.Document(t.Context(), id, 1, new(reader).read)
			var failure *Failure
			switch {
			case err == nil:
				o.answered <- struct{}{}
			case errors.As(err, &failure) && failure.Reason() == "busy":
				o.busy <- struct{}{}
			default:
				t.Error(id, err)
			}
		})
	}
	return o
}

func receive(from <-chan struct{}, count int) {
	for range count {
		<-from
	}
}

func numbered(count int, prefix, suffix string) (ids []string) {
	for i := range count {
		ids = append(ids, prefix+strconv.Itoa(i)+suffix)
	}
	return ids
}

// TestManyURLsOfOneHost: of two thousand documents of one domain sixty are fetched, four at a time, and another host does
// not wait for them.
func TestManyURLsOfOneHost(t *testing.T) {
	t.Parallel()
	for name, form := range map[string][2]string{
		"T51/one_host": {"https://victim.example.com:", "/c"}, "T51/one_domain": {"https://h", ".victim.co.uk:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serveSlowly(t)
			d, clock := reached(t, func(o *Options) { o.Timeout = time.Minute })
			ids := numbered(2000, form[0]+h.port+form[1], "")
			if name == "T51/one_domain" {
				ids = numbered(2000, form[0], form[1]+h.port+"/c")
			}
			all := ask(t, d, ids)
			receive(all.busy, 2000-60)
			receive(h.began, 4)
			other := ask(t, d, []string{"https://client.example.org:" + h.port + "/c"})
			receive(h.began, 1)
			require.EqualValues(t, 5, h.underWay.Load(), "another host has limits of its own")
			close(h.proceed)
			all.group.Wait()
			other.group.Wait()
			require.Len(t, all.answered, 60)
			require.EqualValues(t, 61, h.fetches.Load())
			require.EqualValues(t, 5, h.most.Load())
			require.Len(t, d.entries, 61, "nothing is kept of the others")

			again := ask(t, d, []string{h.id + "/new"})
			again.group.Wait()
			require.Len(t, again.answered, 1)
			clock.pass(time.Minute)
			again = ask(t, d, ids)
			again.group.Wait()
			require.Len(t, again.answered, 120, "a minute later: 60 that are known, and 60 more")
		})
	}
}

// TestLimitInAll: what has to wait for longer than the deadline is busy, and no host learns of it.
func TestLimitInAll(t *testing.T) {
	t.Parallel()
	h := serveSlowly(t)
	d, _ := reached(t, func(o *Options) { o.Timeout, o.Fetches = time.Minute, 2 })
	require.Zero(t, d.client.Timeout, "the context bounds a fetch: after the time of net/http nobody could tell busy from slow")
	slow := ask(t, d, numbered(2, "https://h", ".example:"+h.port+"/c"))
	receive(h.began, 2)
	impatient, _ := newDocuments(t, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	impatient.client = d.client
	late := ask(t, impatient, numbered(10, "https://i", ".example:"+h.port+"/c"))
	late.group.Wait()
	require.Len(t, late.busy, 10, "T51, CIMD-24")
	require.Empty(t, impatient.entries)
	close(h.proceed)
	slow.group.Wait()
	require.Len(t, slow.answered, 2)
	require.EqualValues(t, 2, h.fetches.Load(), "T51")
}

// TestKnownDocumentsInAFlood: neither they nor those that the application named wait for what others have asked for.
func TestKnownDocumentsInAFlood(t *testing.T) {
	t.Parallel()
	h, good := serveSlowly(t), serveHost(t, says("one"))
	d, clock := reached(t, func(o *Options) {
		o.Timeout, o.Fetches, o.HostFetchesPerMinute = time.Minute, 1, 2
		o.Allow = outbound.Targets{good.id + "/named", good.id + "/late", good.Listener.Addr().String(), "slow.example:" + h.port}
	})
	r := new(reader)
	r.get(t, d, good.id, 1, "one")
	slow := ask(t, d, []string{"https://slow.example:" + h.port + "/c"})
	receive(h.began, 1)
	clock.pass(5 * time.Minute)
	good.set(says("two"))
	r.get(t, d, good.id, 1, "two")
	r.get(t, d, good.id+"/named", 1, "two")
	close(h.proceed)
	slow.group.Wait()

	others := ask(t, d, numbered(10, good.id, ""))
	others.group.Wait()
	require.Len(t, others.busy, 8)
	r.get(t, d, good.id+"/late", 1, "two")
	clock.pass(5*time.Minute - 1)
	others = ask(t, d, numbered(10, good.id+"/more", ""))
	others.group.Wait()
	require.Len(t, others.busy, 8)
	clock.pass(1)
	r.get(t, d, good.id+"/named", 1, "two")
	require.EqualValues(t, 9, good.fetches.Load(), "T51")
}

// TestKnownDocumentWithoutATurn serves, and its host is not blamed.
func TestKnownDocumentWithoutATurn(t *testing.T) {
	t.Parallel()
	h, good := serveSlowly(t), serveHost(t, says("one"))
	full, _ := reached(t, func(o *Options) { o.Timeout, o.Fetches = time.Minute, 1 })
	d, clock := newDocuments(t, nil)
	r := new(reader)
	r.get(t, d, good.id, 1, "one")
	slow := ask(t, full, []string{"https://slow.example:" + h.port + "/c"})
	receive(h.began, 1)
	d.named, d.options.Timeout = full.client, 50*time.Millisecond
	clock.pass(5 * time.Minute)
	for effort := range 3 {
		r.get(t, d, good.id, effort, "one")
		settled(t, d, good.id)
	}
	require.EqualValues(t, 1, good.fetches.Load(), "CIMD-10")
	require.Equal(t, []readCall{{name: "one"}}, r.seen(), "a limit of this server is no failure of its host")
	close(h.proceed)
	slow.group.Wait()
	clock.pass(time.Minute)
	d.options.Timeout = time.Minute
	r.get(t, d, good.id, 1, "one")
	require.EqualValues(t, 2, good.fetches.Load())
}

// TestWaitsAreBounded: requests that left behind what they ordered do not pile up (T51).
func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	s := serveSlowly(t)
	d, _ := reached(t, func(o *Options) { o.MaxDocuments = 100 })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, id := range numbered(3000, "https://h", ".example:"+s.port+"/c") {
		_, err := d.Document(gone, id, 0, new(reader).read)
		require.Error(t, err)
	}
	d.mu.Lock()
	entries, waiting := len(d.entries), d.waiting
	d.mu.Unlock()
	require.LessOrEqual(t, entries, queue*d.options.Fetches)
	require.LessOrEqual(t, waiting, queue*d.options.Fetches)
	close(s.proceed)
	require.Eventually(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.waiting == 0
	}, 20*time.Second, time.Millisecond)
}
