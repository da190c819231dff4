package dcrtest

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/cimd"
)

// DocumentHost is a host on this machine that publishes client metadata documents, over TLS.
type DocumentHost struct {
	*httptest.Server

	mu    sync.Mutex
	pages map[string]http.HandlerFunc
	asked map[string]int
}

// StartDocumentHost runs a host until the test ends.
func StartDocumentHost(t testing.TB) *DocumentHost {
	t.Helper()
	h := &DocumentHost{pages: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	h.Server = httptest.NewUnstartedServer(h)
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// ServeHTTP serves what was published at a path, and otherwise 404.
func (h *DocumentHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked[r.URL.Path]++
	page := h.pages[r.URL.Path]
	h.mu.Unlock()
	if page == nil {
		http.NotFound(w, r)
		return
	}
	page(w, r)
}

// Handle answers a path by a handler.
func (h *DocumentHost) Handle(path string, page http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages[path] = page
}

// Publish publishes a document at a path, in place of an earlier one, and returns its URL. What the document lacks of
// client_id and client_name is filled in; a member that is nil is left out.
func (h *DocumentHost) Publish(t testing.TB, path string, document map[string]any) (id string) {
	t.Helper()
	id = h.URL + path
	full := map[string]any{"client_id": id, "client_name": "Documented"}
	for name, value := range document {
		if full[name] = value; value == nil {
			delete(full, name)
		}
	}
	body, err := json.Marshal(full)
	require.NoError(t, err)
	h.PublishBytes(path, body)
	return id
}

// PublishBytes publishes anything as a document.
func (h *DocumentHost) PublishBytes(path string, body []byte) {
	h.Handle(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}

// Asked returns how often a path was asked for.
func (h *DocumentHost) Asked(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[path]
}

// NewDocuments returns documents that may be fetched from this machine, by the clock of a test; nil means the real one.
func NewDocuments(t testing.TB, now func() time.Time, changes ...func(*cimd.Options)) *cimd.Documents {
	t.Helper()
	options := cimd.Options{InsecureAllowLoopback: true, HostFetchesPerMinute: 100_000, Now: now}
	for _, change := range changes {
		change(&options)
	}
	documents, err := cimd.New(options)
	require.NoError(t, err)
	return documents
}
