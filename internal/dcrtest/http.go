package dcrtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// JSONPost returns a registration as a request for a handler.
func JSONPost(ctx context.Context, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// ReaderFunc is an io.Reader.
type ReaderFunc func([]byte) (int, error)

// Read calls f.
func (f ReaderFunc) Read(p []byte) (int, error) { return f(p) }

// RawExchange sends a registration byte by byte as given, and no more, and reads the
// answer.
func RawExchange(t testing.TB, s *Server, headers, body string) Answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "POST /register HTTP/1.1\r\nHost: as.example\r\nContent-Type: application/json\r\n"+headers+body)
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	answer := Answer{Status: response.StatusCode, Header: response.Header, Body: string(read)}
	_ = json.Unmarshal(read, &answer.Members)
	return answer
}
