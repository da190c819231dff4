package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// development are the options by which a test server can be reached.
var development = Options{InsecureAllowLoopback: true, MaxBytes: 1000}

// serve starts an https server on this machine.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// listen counts the connections that reach this machine.
func listen(t *testing.T) (port string, accepted *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	accepted = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_ = conn.Close()
		}
	}()
	_, port, err = net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port, accepted
}

// resolver answers any question with the address, as a name server under the control of an attacker may.
func resolver(address string) *net.Resolver {
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for answerDNS(server, netip.MustParseAddr(address)) == nil {
			}
		}()
		return client, nil
	}
	return &net.Resolver{PreferGo: true, Dial: dial}
}

func answerDNS(conn net.Conn, address netip.Addr) error {
	var size uint16
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return err
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(conn, raw); err != nil {
		return err
	}
	var message dnsmessage.Message
	if err := message.Unpack(raw); err != nil {
		return err
	}
	question := message.Questions[0]
	message = dnsmessage.Message{
		Header:    dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true},
		Questions: message.Questions,
	}
	header := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class}
	switch {
	case question.Type == dnsmessage.TypeA && address.Is4():
		message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}}
	case question.Type == dnsmessage.TypeAAAA && address.Is6():
		message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}}
	}
	packed, err := message.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	return err
}

// TestClientRefusesAddresses has a public name resolve to addresses inside, some spelled to hide it.
func TestClientRefusesAddresses(t *testing.T) {
	t.Parallel()
	port, accepted := listen(t)
	for _, address := range []string{
		"127.0.0.1", "::1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "255.255.255.255",
		"::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
		"2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "fd00::1", "fe80::1", "ff02::1", "::",
	} {
		t.Run("T11/rebinding_to_"+strings.ReplaceAll(address, ":", "_"), func(t *testing.T) {
			t.Parallel()
			client := NewClient(Options{Resolver: resolver(address)})
			_, err := Fetch(t.Context(), client, "https://client.example.com:"+port+"/jwks")
			require.ErrorIs(t, err, ErrAddress)
		})
	}
	t.Run("T10/loopback_opened_and_nothing_else", func(t *testing.T) {
		t.Parallel()
		for _, address := range []string{"10.0.0.1", "0.0.0.0", "fd00::1", "::127.0.0.1"} {
			client := NewClient(Options{Resolver: resolver(address), InsecureAllowLoopback: true})
			_, err := Fetch(t.Context(), client, "https://client.example.com:"+port)
			require.ErrorIs(t, err, ErrAddress, address)
			_, err = Fetch(t.Context(), client, "http://dev.localhost:"+port)
			require.ErrorIs(t, err, ErrAddress, address)
		}
	})
	t.Cleanup(func() { require.Zero(t, accepted.Load()) })
}

// TestClientRefusesURLs holds URLs that are wrong on their face.
func TestClientRefusesURLs(t *testing.T) {
	t.Parallel()
	port, accepted := listen(t)
	for _, row := range []struct {
		name, url string
		options   Options
		want      error
	}{
		{"OUT-01/loopback", "https://127.0.0.1:" + port, Options{}, ErrAddress},
		{"OUT-01/localhost", "https://localhost:" + port, Options{}, ErrAddress},
		{"OUT-01/any_address", "https://0.0.0.0:" + port, Options{}, ErrAddress},
		{"OUT-01/any_address_with_loopback_open", "https://0.0.0.0:" + port, development, ErrAddress},
		{"T11/decimal", "https://2130706433:" + port, Options{}, ErrAddress},
		{"T11/decimal_with_loopback_open", "https://2130706433:" + port, development, ErrAddress},
		{"T11/full_width", "https://\uff11\uff12\uff17.0.0.1:" + port, Options{}, ErrAddress},
		{"T11/ipv4_mapped", "https://[::ffff:127.0.0.1]:" + port, Options{}, ErrAddress},
		{"T10/http", "http://example.com:" + port, Options{}, ErrScheme},
		{"T10/http_loopback", "http://127.0.0.1:" + port, Options{}, ErrScheme},
		{"T10/http_name_with_loopback_open", "http://example.com:" + port, development, ErrScheme},
		{"T10/file", "file:///etc/passwd", Options{}, ErrScheme},
		{"T10/gopher", "gopher://127.0.0.1:" + port, Options{}, ErrScheme},
		{"T10/credentials", "https://user:secret@example.com:" + port, Options{}, ErrScheme},
		{"T10/no_host", "https:///jwks", Options{}, nil},
		{"T10/no_host_but_a_port", "https://:" + port, Options{}, ErrScheme},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.options.Resolver = resolver("127.0.0.1")
			_, err := Fetch(t.Context(), NewClient(row.options), row.url)
			require.Error(t, err)
			if row.want != nil {
				require.ErrorIs(t, err, row.want)
			}
		})
	}
	t.Cleanup(func() { require.Zero(t, accepted.Load()) })
}

// TestClientReachesLoopback is how tests and development use it.
func TestClientReachesLoopback(t *testing.T) {
	t.Parallel()
	hello := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	secure := serve(t, hello)
	plain := httptest.NewServer(http.HandlerFunc(hello))
	t.Cleanup(plain.Close)
	for name, url := range map[string]string{
		"https":      secure.URL,
		"https_name": strings.Replace(secure.URL, "127.0.0.1", "client.example.com", 1),
		"http":       plain.URL,
		"http_name":  strings.Replace(plain.URL, "127.0.0.1", "dev.localhost", 1),
	} {
		t.Run("OUT-01/"+name, func(t *testing.T) {
			t.Parallel()
			client := NewClient(Options{InsecureAllowLoopback: true, Resolver: resolver("127.0.0.1")})
			body, err := Fetch(t.Context(), client, url)
			require.NoError(t, err)
			require.Equal(t, "hello", string(body))
		})
	}
}

// TestClientBounds meets servers that answer badly on purpose.
func TestClientBounds(t *testing.T) {
	t.Parallel()
	port, accepted := listen(t)
	redirect := func(status int, location string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
		}
	}
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"T11/redirect_into_the_network": {redirect(302, "https://127.0.0.1:"+port), ErrRedirect},
		"T11/permanent_redirect":        {redirect(308, "https://10.0.0.1/"), ErrRedirect},
		"T11/redirect_to_http":          {redirect(301, "http://127.0.0.1:"+port), ErrRedirect},
		"T11/multiple_choices":          {redirect(300, "https://example.com/"), ErrRedirect},
		"T11/not_modified":              {redirect(304, ""), ErrRedirect},
		"T12/endless_body":              {endless, ErrTooLarge},
		"T12/compressed_bomb":           {bomb, ErrTooLarge},
		"T12/slow_body":                 {slowBody, context.DeadlineExceeded},
		"T12/slow_header":               {stall, context.DeadlineExceeded},
		"T12/large_header":              {largeHeader, nil},
		"T12/one_byte_too_many":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1001)) }, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, row.handler)
			options := development
			options.Timeout = 10 * time.Second
			if row.want == context.DeadlineExceeded {
				options.Timeout = 100 * time.Millisecond
			}
			body, err := Fetch(t.Context(), NewClient(options), server.URL)
			require.Error(t, err)
			require.Nil(t, body)
			if row.want != nil {
				require.ErrorIs(t, err, row.want)
			}
		})
	}
	t.Cleanup(func() { require.Zero(t, accepted.Load()) })
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 500)); err != nil {
			return
		}
	}
}

func bomb(w http.ResponseWriter, _ *http.Request) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(make([]byte, 100_000))
	_ = writer.Close()
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed.Bytes())
}

func slowBody(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "a")
	_ = http.NewResponseController(w).Flush()
	stall(w, r)
}

// stall says nothing for as long as the client waits, and does not end the answer properly afterwards.
func stall(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func largeHeader(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Large", strings.Repeat("a", 2*maxHeaderBytes))
}

// TestClientStalledHandshake meets a server that accepts and then says nothing.
func TestClientStalledHandshake(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	client := NewClient(Options{InsecureAllowLoopback: true, Timeout: 50 * time.Millisecond})
	_, err = Fetch(t.Context(), client, "https://"+listener.Addr().String())
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestClientBodyAtTheBound(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
	body, err := Fetch(t.Context(), NewClient(development), server.URL)
	require.NoError(t, err)
	require.Len(t, body, 1000)
}

// TestCertificateOfOtherMachines: loopback is the only peer whose certificate may go unverified.
func TestCertificateOfOtherMachines(t *testing.T) {
	t.Parallel()
	for address, loopback := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "8.8.8.8:1": false, "0.0.0.0:1": false} {
		peer := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
		require.Equal(t, loopback, loopbackPeer(peerConn{peer: peer}), address)
	}
}

type peerConn struct {
	net.Conn
	peer net.Addr
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// TestClientKeepsNothing: neither the environment nor an earlier exchange has a say in the next.
func TestClientKeepsNothing(t *testing.T) {
	t.Parallel()
	require.Nil(t, NewClient(Options{}).Jar)
	require.Nil(t, newTransport(Options{}).Proxy)
	require.True(t, newTransport(Options{}).DisableKeepAlives)
}

func TestRetryableClientTriesOnce(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	client := NewRetryableClient(development)
	response, err := client.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.EqualValues(t, 1, requests.Load())

	_, err = client.Get("https://10.0.0.1/")
	require.ErrorIs(t, err, ErrAddress)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		status            int
		mediaType, coding string
		want              error
	}{
		"T10/json":             {200, "application/json", "", nil},
		"T10/json_charset":     {200, "Application/JSON; charset=utf-8", "", nil},
		"T10/html":             {200, "text/html", "", ErrMediaType},
		"T10/no_media_type":    {200, "", "", ErrMediaType},
		"T10/broken_type":      {200, "application/json; =", "", ErrMediaType},
		"T12/unknown_coding":   {200, "application/json", "br", ErrMediaType},
		"T10/created":          {201, "application/json", "", ErrStatus},
		"T10/not_found":        {404, "application/json", "", ErrStatus},
		"T10/error_with_a_set": {500, "application/json", "", ErrStatus},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = []string{row.mediaType}
				w.Header().Set("Content-Encoding", row.coding)
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, r.Header.Get("Accept"))
			})
			body, err := Fetch(t.Context(), NewClient(development), server.URL, "application/a", "application/json")
			if row.want == nil {
				require.NoError(t, err)
				require.Equal(t, "application/a, application/json", string(body))
				return
			}
			require.ErrorIs(t, err, row.want)
			require.Nil(t, body)
		})
	}
}
