package cimd

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// webHost is a host with one document, in every respect under the control of the test.
type webHost struct {
	*httptest.Server
	id      string // of its document
	fetches atomic.Int32

	mu     sync.Mutex
	answer http.HandlerFunc
}

// serveHost starts a host on this machine.
func serveHost(t testing.TB, answer http.HandlerFunc) *webHost {
	t.Helper()
	h := &webHost{answer: answer}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetches.Add(1)
		h.mu.Lock()
		answer := h.answer
		h.mu.Unlock()
		answer(w, r)
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	h.id = h.URL + "/client"
	return h
}

func (h *webHost) set(answer http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// says answers with a document, which is name, and with members of a header in pairs.
func says(name string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, `{"client_name":"`+name+`"}`)
	}
}

// status answers with a status and some JSON.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			_, _ = io.WriteString(w, `{}`)
		}
	}
}

// clock is the time of a test.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(1_700_000_000, c.passed.Load()).UTC() }
func (c *clock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// newDocuments returns Documents that reach this machine, with a clock of their own.
func newDocuments(t *testing.T, change func(*Options)) (*Documents, *clock) {
	t.Helper()
	c := new(clock)
	o := Options{InsecureAllowLoopback: true, Now: c.now}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	require.NoError(t, err)
	d.held = 0
	return d, c
}

// reader is a caller of Document: what it makes of a document is its client_name.
type reader struct {
	mu    sync.Mutex
	calls []readCall
	err   error // refuses documents
}

type readCall struct {
	previous any
	name     string
	reason   string
}

func (r *reader) read(_ context.Context, previous any, document []byte, failure error) (any, error) {
	call := readCall{previous: previous, name: nameIn(document)}
	if failure != nil {
		call.reason = failure.(*Failure).Reason()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	switch {
	case failure != nil:
		return nil, failure
	case r.err != nil:
		return nil, r.err
	}
	return call.name, nil
}

func (r *reader) seen() []readCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]readCall(nil), r.calls...)
}

func (r *reader) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func nameIn(document []byte) string {
	_, name, _ := strings.Cut(string(document), `"client_name":"`)
	name, _, _ = strings.Cut(name, `"`)
	return name
}

// get asks for a document and requires what was made of it.
func (r *reader) get(t *testing.T, d *Documents, id string, effort int, want string) {
	t.Helper()
	value, err := d.Document(t.Context(), id, effort, r.read)
	require.NoError(t, err)
	require.Equal(t, want, value)
}

// fail asks for a document and requires a failure with a reason.
func (r *reader) fail(t *testing.T, d *Documents, id string, effort int, reason string) *Failure {
	t.Helper()
	value, err := d.Document(t.Context(), id, effort, r.read)
	require.Nil(t, value)
	var failure *Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, reason, failure.Reason(), err.Error())
	return failure
}

// settled waits until no fetch is under way.
func settled(t *testing.T, d *Documents, id string) {
	t.Helper()
	d.mu.Lock()
	var f *flight
	if e := d.entries[id]; e != nil {
		f = e.flight
	}
	d.mu.Unlock()
	if f != nil {
		<-f.done
	}
}
