package cimd

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnswers holds answers by status and media type, both judged before the body.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		code      int
		mediaType string
		reason    string
	}{
		"CIMD-02/200": {200, "application/json", ""}, "CIMD-02/charset": {200, "application/json; charset=utf-8", ""},
		"CIMD-02/upper_case": {200, "Application/JSON", ""}, "CIMD-02/ld_json": {200, "application/ld+json", ""},
		"CIMD-02/201": {201, "application/json", "status"}, "CIMD-02/206": {206, "application/json", "status"},
		"CIMD-02/300": {300, "application/json", "status"}, "CIMD-02/301": {301, "application/json", "status"},
		"CIMD-02/404": {404, "text/html", "status"}, "CIMD-02/500": {500, "application/json", "status"},
		"CIMD-02/html": {200, "text/html", "media_type"}, "CIMD-02/plain": {200, "text/plain", "media_type"},
		"CIMD-02/text_json": {200, "text/json", "media_type"}, "CIMD-02/jsonp": {200, "application/json-p", "media_type"},
		"CIMD-02/javascript": {200, "application/javascript", "media_type"}, "CIMD-02/none": {200, "", "media_type"},
		"CIMD-02/broken": {200, "application/json; =", "media_type"}, "CIMD-02/two": {200, "application/json, text/html", "media_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{row.mediaType}
				w.WriteHeader(row.code)
				filler := 0
				if row.reason != "" {
					filler = 6_000 // larger than allowed, which is not what is wrong with it
				}
				_, _ = io.WriteString(w, `{"client_name":"one"}`+strings.Repeat(" ", filler))
			})
			d, _ := newDocuments(t, nil)
			if row.reason == "" {
				new(reader).get(t, d, h.id, 1, "one")
				return
			}
			r := new(reader)
			failure := r.fail(t, d, h.id, 1, row.reason)
			require.Equal(t, row.code, failure.Status())
			if row.code < 300 || row.code > 399 {
				require.Equal(t, row.mediaType, failure.MediaType(), "CIMD-24")
				require.Contains(t, failure.Error(), strconv.Quote(row.mediaType))
			}
			require.Equal(t, []readCall{{reason: row.reason}}, r.seen())
		})
	}
	t.Run("CIMD-02/204", func(t *testing.T) {
		t.Parallel()
		d, _ := newDocuments(t, nil)
		new(reader).fail(t, d, serveHost(t, status(204)).id, 1, "status")
	})
}

// raw answers with bytes as they are, and closes the connection.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
	}
}

const rawHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// body answers with a body in pieces, each sent at once.
func body(pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, piece := range pieces {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// trickle never ends, one byte at a time, and is answered to by nobody.
func trickle(w http.ResponseWriter, r *http.Request) {
	body(`{`)(w, r)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			body(` `)(w, r)
		case <-r.Context().Done():
			return
		}
	}
}

func bomb(w http.ResponseWriter, _ *http.Request) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write([]byte(`{"client_name":"one"}`))
	_, _ = writer.Write(bytes.Repeat([]byte(" "), 3_000_000)) // packed it is smaller than allowed
	_ = writer.Close()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed.Bytes())
}

// TestBodies meets hosts that answer badly on purpose.
func TestBodies(t *testing.T) {
	t.Parallel()
	document := `{"client_name":"one"}`
	full := document + strings.Repeat(" ", 5<<10-len(document))
	for name, row := range map[string]struct {
		answer  http.HandlerFunc
		timeout time.Duration
		reason  string
	}{
		"CIMD-07/at_the_bound":        {body(full), 0, ""},
		"CIMD-07/one_byte_more":       {body(full + " "), 0, "size"},
		"CIMD-07/5_MB":                {body(full + strings.Repeat(" ", 5_000_000)), 0, "size"},
		"CIMD-07/no_content_length":   {body(document[:5], document[5:]), 0, ""},
		"CIMD-07/gzip_bomb":           {bomb, 0, "size"},
		"CIMD-07/short_length":        {raw(rawHead + "Content-Length: 5\r\n\r\n" + full), 0, "json"},
		"CIMD-07/large_length":        {raw(rawHead + "Content-Length: 5000000\r\n\r\n" + document), 0, "connection"},
		"CIMD-07/false_length_larger": {raw(rawHead + "Content-Length: 5000000\r\n\r\n" + full + " "), 0, "size"},
		"CIMD-07/byte_by_byte":        {trickle, 200 * time.Millisecond, "timeout"},
		"CIMD-07/no_answer":           {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 200 * time.Millisecond, "timeout"},
		"CIMD-07/unknown_coding":      {says("one", "Content-Encoding", "br"), 0, "media_type"},
		"CIMD-07/large_header":        {says("one", "X-Large", strings.Repeat("a", 100_000)), 0, "connection"},
		"CIMD-07/array":               {body(`[` + document + `]`), 0, "json"},
		"CIMD-07/string":              {body(`"a"`), 0, "json"},
		"CIMD-07/null":                {body(`null`), 0, "json"},
		"CIMD-07/half":                {body(document[:10]), 0, "json"},
		"CIMD-07/two":                 {body(document, document), 0, "json"},
		"CIMD-07/nothing":             {body(), 0, "json"},
		"CIMD-07/white_space":         {body("\r\n\t ", document, "\n"), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, row.answer)
			d, _ := newDocuments(t, func(o *Options) { o.Timeout = row.timeout })
			if row.reason == "" {
				new(reader).get(t, d, h.id, 1, "one")
				return
			}
			new(reader).fail(t, d, h.id, 1, row.reason)
			require.Empty(t, d.entries, "T12: nothing is kept")
		})
	}
}

// TestConnections: the reasons for which there is no answer at all.
func TestConnections(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(says("one"))
	t.Cleanup(plain.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	for name, row := range map[string]struct{ id, reason string }{
		"CIMD-24/plain_http":       {"https://" + plain.Listener.Addr().String() + "/c", "tls"},
		"CIMD-24/closed_port":      {"https://" + closed.Addr().String() + "/c", "connection"},
		"CIMD-24/silent_handshake": {"https://" + silent.Addr().String() + "/c", "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := newDocuments(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
			new(reader).fail(t, d, row.id, 1, row.reason)
		})
	}
	t.Run("CIMD-25/http_on_loopback", func(t *testing.T) {
		t.Parallel()
		d, _ := newDocuments(t, nil)
		new(reader).get(t, d, plain.URL+"/c", 1, "one")
	})
}
