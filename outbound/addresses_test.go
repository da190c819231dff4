package outbound

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAddressesByWhatIsInside: an address that stands for another is judged by it, in both directions, and an exception
// opens what is one's own and no more.
func TestAddressesByWhatIsInside(t *testing.T) {
	t.Parallel()
	for address, row := range map[string]struct{ open, asException, inDevelopment bool }{
		"8.8.8.8":             {true, true, true},
		"2606:4700:4700::64":  {true, true, true},
		"64:ff9b::808:808":    {true, true, true},
		"64:ff9b::8.8.8.8":    {true, true, true},
		"2002:808:808::1":     {true, true, true},
		"::ffff:8.8.8.8":      {true, true, true},
		"64:ff9b::a00:1":      {false, true, false},
		"64:ff9b::7f00:1":     {false, true, false},
		"2002:a00:1::1":       {false, true, false},
		"10.0.0.1":            {false, true, false},
		"172.31.0.1":          {false, true, false},
		"192.168.0.1":         {false, true, false},
		"100.64.0.1":          {false, true, false},
		"fd00::1":             {false, true, false},
		"127.0.0.1":           {false, true, true},
		"::1":                 {false, true, true},
		"64:ff9b:1::808:808":  {false, false, false},
		"64:ff9b::a9fe:a9fe":  {false, false, false},
		"2002:a9fe:a9fe::":    {false, false, false},
		"169.254.169.254":     {false, false, false},
		"fe80::1":             {false, false, false},
		"0.0.0.0":             {false, false, false},
		"::":                  {false, false, false},
		"224.0.0.1":           {false, false, false},
		"::127.0.0.1":         {false, false, false},
		"2001:0:7f00:1::":     {false, false, false},
		"255.255.255.255":     {false, false, false},
		"fd00::1%eth0":        {false, true, false},
		"100.128.0.1":         {true, true, true},
		"::ffff:169.254.1.1":  {false, false, false},
		"::ffff:192.168.17.1": {false, true, false},
	} {
		t.Run("CIMD-06/"+strings.ReplaceAll(address, ":", "_"), func(t *testing.T) {
			t.Parallel()
			peer := net.JoinHostPort(address, "443")
			exception := context.WithValue(t.Context(), privateKey{}, true)
			require.Equal(t, row.open, control(Options{})(t.Context(), "tcp", peer, nil) == nil)
			require.Equal(t, row.asException, control(Options{})(exception, "tcp", peer, nil) == nil)
			require.Equal(t, row.inDevelopment, control(development)(t.Context(), "tcp", peer, nil) == nil)
		})
	}
	require.ErrorIs(t, control(Options{})(t.Context(), "tcp", "no address", nil), ErrAddress)
}

// TestNotModified is an answer where the request asked for it, with what was sent.
func TestNotModified(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", r.Header.Get("User-Agent"))
		w.WriteHeader(http.StatusNotModified)
	})
	o := development
	o.UserAgent = "Example/1.0"
	for name, value := range map[string]string{"If-None-Match": `"1"`, "If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT", "Range": "bytes=0-1"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		request.Header.Set(name, value)
		response, err := NewClient(o).Do(request)
		if name == "Range" {
			var status *StatusError
			require.ErrorAs(t, err, &status)
			require.Equal(t, http.StatusNotModified, status.Status)
			require.ErrorIs(t, err, ErrRedirect)
			require.NotErrorIs(t, err, ErrStatus)
			continue
		}
		require.NoError(t, err, "CIMD-08")
		_, _ = io.Copy(io.Discard, response.Body)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "Example/1.0", response.Header.Get("Etag"), "CIMD-26")
		require.Empty(t, request.Header.Get("User-Agent"), "the caller's request is not changed")
	}
}

// TestProxyIsWhereItIs: the application chose its address, which is not judged, and it is spoken to as a proxy, with TLS or
// without.
func TestProxyIsWhereItIs(t *testing.T) {
	t.Parallel()
	transport := newTransport(Options{Timeout: time.Second, Proxy: &url.URL{Scheme: "http", Host: "proxy.example:3128"}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	conn, err := transport.DialContext(ctx, "tcp", "192.0.2.1:3128")
	if err == nil {
		_ = conn.Close()
	}
	require.NotErrorIs(t, err, ErrAddress, "CIMD-25")
	require.Nil(t, transport.DialTLSContext, "CIMD-25: it would guard a proxy with TLS")
}
