package cimd

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// names answers each question about a name with its address, as a name server under the control of an attacker may. Other
// names do not exist, unless there is an address for "*".
type names map[string]string

func (n names) resolver() *net.Resolver {
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for n.answer(server) == nil {
			}
		}()
		return client, nil
	}
	return &net.Resolver{PreferGo: true, Dial: dial}
}

func (n names) answer(conn net.Conn) error {
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
		Header:    dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError},
		Questions: message.Questions,
	}
	header := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class}
	known, ok := n[strings.TrimSuffix(question.Name.String(), ".")]
	if !ok {
		known, ok = n["*"]
	}
	if ok {
		message.RCode = dnsmessage.RCodeSuccess
		address := netip.MustParseAddr(known)
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}}
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}}
		}
	}
	packed, err := message.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	return err
}

// guarded returns Documents as they are in production, but for the name server.
func guarded(t *testing.T, names names, change func(*Options)) *Documents {
	t.Helper()
	d, _ := newDocuments(t, func(o *Options) {
		o.InsecureAllowLoopback = false
		if change != nil {
			change(o)
		}
	})
	d.client = newClient(d.options, names.resolver())
	d.named = d.client
	return d
}

// roots returns the authority that signed the certificate of a test server, which is for example.com.
func roots(h *webHost) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	return pool
}

// TestAddressesInside: whatever the name resolves to, no address inside is connected to.
func TestAddressesInside(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("inside"))
	port := h.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	for _, address := range []string{
		"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fd00::1", "fe80::1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:a00:1::1",
	} {
		t.Run("CIMD-06/"+strings.ReplaceAll(address, ":", "_"), func(t *testing.T) {
			t.Parallel()
			d := guarded(t, names{"client.example": address}, nil)
			failure := new(reader).fail(t, d, "https://client.example:"+portText(port)+"/c", 1, "address")
			require.Contains(t, failure.Error(), "special-use address", "for the operator")
		})
	}
	t.Run("CIMD-06/on_the_face", func(t *testing.T) {
		t.Parallel()
		d := guarded(t, nil, nil)
		for _, id := range []string{h.id, "https://10.0.0.1/c", "https://localhost/c", "https://2130706433/c", "https://0x7f.1/c", "https://[64:ff9b::a00:1]/c"} {
			new(reader).fail(t, d, id, 1, "address")
		}
	})
	t.Cleanup(func() { require.Zero(t, h.fetches.Load()) })
}

func portText(port uint16) string {
	_, text, _ := strings.Cut(netip.AddrPortFrom(netip.IPv4Unspecified(), port).String(), ":")
	return text
}

// TestRedirectIntoTheNetwork is not followed, wherever it leads.
func TestRedirectIntoTheNetwork(t *testing.T) {
	t.Parallel()
	inside := serveHost(t, says("inside"))
	for _, code := range []int{301, 302, 303, 307, 308} {
		h := serveHost(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.id, code) })
		d, _ := newDocuments(t, nil)
		require.Equal(t, code, new(reader).fail(t, d, h.id, 1, "status").Status(), "CIMD-02")
	}
	require.Zero(t, inside.fetches.Load(), "T11")
}

// TestRebinding: a name that was public a moment ago and is not any more.
func TestRebinding(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	here := "https://example.com:" + portText(h.Listener.Addr().(*net.TCPAddr).AddrPort().Port()) + "/c"
	addresses := names{"example.com": "127.0.0.1"}
	d := guarded(t, addresses, func(o *Options) {
		o.AllowPrivate, o.RootCAs = outbound.Targets{here}, roots(h)
	})
	r := new(reader)
	r.get(t, d, here, 1, "one")
	addresses["example.com"] = "169.254.169.254"
	d.options.Now = func() time.Time { return time.Unix(1_700_000_000, 0).Add(time.Hour) }
	r.get(t, d, here, 1, "one")
	require.Equal(t, readCall{previous: "one", reason: "address"}, r.seen()[1], "CIMD-06: the copy serves, nothing there is asked")
}

// TestAllowPrivate: what is named exactly may lie inside, and its neighbour may not.
func TestAllowPrivate(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	port := portText(h.Listener.Addr().(*net.TCPAddr).AddrPort().Port())
	wiki := "https://example.com:" + port
	inside := names{"example.com": "127.0.0.1", "neighbour.example": "127.0.0.1"}
	for name, row := range map[string]struct {
		private outbound.Targets
		id      string
		reason  string
	}{
		"CIMD-25/host":              {outbound.Targets{"example.com:" + port}, wiki + "/c", ""},
		"CIMD-25/identifier":        {outbound.Targets{wiki + "/c"}, wiki + "/c", ""},
		"CIMD-25/address":           {outbound.Targets{"127.0.0.1:" + port}, "https://127.0.0.1:" + port + "/c", ""},
		"CIMD-25/another_path":      {outbound.Targets{wiki + "/c"}, wiki + "/d", "address"},
		"CIMD-25/another_port":      {outbound.Targets{"example.com"}, wiki + "/c", "address"},
		"CIMD-25/neighbour":         {outbound.Targets{"example.com:" + port}, "https://neighbour.example:" + port + "/c", "address"},
		"CIMD-25/certificate":       {outbound.Targets{"neighbour.example:" + port}, "https://neighbour.example:" + port + "/c", "tls"},
		"CIMD-25/nobody_by_default": {nil, wiki + "/c", "address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := guarded(t, inside, func(o *Options) { o.AllowPrivate, o.RootCAs = row.private, roots(h) })
			if row.reason != "" {
				new(reader).fail(t, d, row.id, 1, row.reason)
				return
			}
			new(reader).get(t, d, row.id, 1, "one")
		})
	}
}

// TestNothingIsShownOfInside: what answers inside, and whether anything does, shows neither in the answer nor in its time.
func TestNothingIsShownOfInside(t *testing.T) {
	t.Parallel()
	html := serveHost(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") })
	missing := serveHost(t, status(http.StatusNotFound))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	port := func(a net.Addr) string { return portText(a.(*net.TCPAddr).AddrPort().Port()) }
	for name, row := range map[string]struct{ id, reason string }{
		"CIMD-24/html":    {"https://inside.example:" + port(html.Listener.Addr()) + "/c", "address"},
		"CIMD-24/404":     {"https://inside.example:" + port(missing.Listener.Addr()) + "/c", "address"},
		"CIMD-24/closed":  {"https://inside.example:" + port(closed.Addr()) + "/c", "address"},
		"CIMD-24/address": {"https://10.0.0.1/c", "address"},
		"CIMD-24/no_name": {"https://nothing.example/c", "lookup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := guarded(t, names{"inside.example": "127.0.0.1"}, nil)
			d.held = 300 * time.Millisecond
			since := time.Now()
			new(reader).fail(t, d, row.id, 1, row.reason)
			require.GreaterOrEqual(t, time.Since(since), d.held)
		})
	}
	t.Cleanup(func() { require.Zero(t, html.fetches.Load()+missing.fetches.Load()) })
}

// TestNothingIsShownBehindOthers: the time that a failure takes begins when it has its turn. Else whoever keeps others waiting
// could see how long the rest took.
func TestNothingIsShownBehindOthers(t *testing.T) {
	t.Parallel()
	slow := serveSlowly(t)
	d := guarded(t, names{"slow.example": "127.0.0.1", "inside.example": "10.0.0.1"}, func(o *Options) {
		o.Fetches, o.InsecureAllowLoopback = 1, true
	})
	d.held = 300 * time.Millisecond
	ended := make(chan time.Time, 1)
	go func() {
		_, _ = d.Document(context.WithoutCancel(t.Context()), "https://slow.example:"+slow.port+"/c", 1, new(reader).read)
	}()
	<-slow.began
	go func() {
		_, _ = d.Document(context.WithoutCancel(t.Context()), "https://inside.example/c", 1, new(reader).read)
		ended <- time.Now()
	}()
	<-time.After(d.held + 100*time.Millisecond) // which it waits for its turn
	turn := time.Now()
	close(slow.proceed)
	require.GreaterOrEqual(t, (<-ended).Sub(turn), d.held, "CIMD-24/behind_others")
}

// TestNothingIsShownOfExceptions: of a host that may lie inside, nobody outside learns what it has that is no document.
func TestNothingIsShownOfExceptions(t *testing.T) {
	t.Parallel()
	refusal := errors.New("redirect_uris is missing")
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"CIMD-24/other_json": {says("one"), ""}, "CIMD-24/missing": {status(404), "status"}, "CIMD-24/gone": {status(410), "status"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, row.answer)
			d := guarded(t, nil, func(o *Options) { o.AllowPrivate, o.RootCAs = outbound.Targets{h.id}, roots(h) })
			d.held = 300 * time.Millisecond
			r := &reader{err: refusal}
			since := time.Now()
			_, err := d.Document(t.Context(), h.id, 1, r.read)
			require.GreaterOrEqual(t, time.Since(since), d.held)
			require.Error(t, err)
			require.NotErrorIs(t, err, refusal)
			require.NotErrorIs(t, err, fs.ErrNotExist)
			require.Equal(t, row.reason, r.seen()[0].reason, "its reader, and so the operator, learns of it")
		})
	}
	t.Run("CIMD-10/gone_inside", func(t *testing.T) {
		t.Parallel()
		h := serveHost(t, says("one"))
		d := guarded(t, nil, func(o *Options) { o.AllowPrivate, o.RootCAs, o.MinAge = outbound.Targets{h.id}, roots(h), 1 })
		r := new(reader)
		r.get(t, d, h.id, 1, "one")
		h.set(status(410))
		later := d.options.Now().Add(time.Hour)
		d.options.Now = func() time.Time { return later }
		_, err := d.Document(t.Context(), h.id, 1, r.read)
		require.ErrorIs(t, err, fs.ErrNotExist, "a document that was known")
	})
}

// TestRequest: what a host sees of this server.
func TestRequest(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*Options)
		agent  string
	}{
		"CIMD-26/default": {nil, "fosite-dcr"},
		"CIMD-26/set":     {func(o *Options) { o.UserAgent = "Example/1.0 (+https://example.com)" }, "Example/1.0 (+https://example.com)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan *http.Request, 2)
			h := serveHost(t, func(w http.ResponseWriter, r *http.Request) {
				seen <- r
				says("one", "Set-Cookie", "a=b; Path=/")(w, r)
			})
			d, clock := newDocuments(t, row.change)
			for range 2 {
				new(reader).get(t, d, h.id+"?a=%2f&b", 1, "one")
				r := <-seen
				require.Equal(t, http.MethodGet, r.Method)
				require.Equal(t, "/client?a=%2f&b", r.RequestURI, "CIMD-01: nothing is normalised")
				require.Equal(t, http.Header{
					"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Connection": {"close"}, "User-Agent": {row.agent},
				}, r.Header)
				clock.pass(time.Hour)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	id := "https://example.com:" + portText(h.Listener.Addr().(*net.TCPAddr).AddrPort().Port()) + "/c"
	for name, row := range map[string]struct {
		roots  *x509.CertPool
		reason string
	}{"CIMD-26/roots": {roots(h), ""}, "CIMD-26/system": {nil, "tls"}, "CIMD-26/none": {x509.NewCertPool(), "tls"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := guarded(t, names{"example.com": "127.0.0.1"}, func(o *Options) {
				o.AllowPrivate, o.RootCAs = outbound.Targets{id}, row.roots
			})
			if row.reason != "" {
				new(reader).fail(t, d, id, 1, row.reason)
				return
			}
			new(reader).get(t, d, id, 1, "one")
		})
	}
}

// connectProxy connects to a host, whatever it is asked for.
func connectProxy(t *testing.T, h *webHost) (proxy *url.URL, asked *atomic.Value) {
	t.Helper()
	asked = new(atomic.Value)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI)
		there, err := net.Dial("tcp", h.Listener.Addr().String())
		if err != nil {
			return
		}
		defer there.Close()
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		go func() { _, _ = io.Copy(there, buffered) }()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(server.Close)
	proxy, err := url.Parse(server.URL)
	require.NoError(t, err)
	return proxy, asked
}

func TestProxy(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	proxy, asked := connectProxy(t, h)
	through := func(o *Options) { o.Proxy, o.RootCAs = proxy, roots(h) }
	t.Run("CIMD-25/configured", func(t *testing.T) {
		d := guarded(t, nil, through) // no name is looked up here
		new(reader).get(t, d, "https://example.com/c", 1, "one")
		require.Equal(t, "CONNECT example.com:443", asked.Load())
	})
	t.Run("CIMD-25/certificate_of_another", func(t *testing.T) {
		d, since := guarded(t, nil, through), time.Now()
		d.held = 200 * time.Millisecond
		new(reader).fail(t, d, "https://other.example/c", 1, "tls")
		require.GreaterOrEqual(t, time.Since(since), d.held, "CIMD-24: the proxy may lead inside")
	})
	t.Run("CIMD-25/address_on_the_face", func(t *testing.T) {
		new(reader).fail(t, guarded(t, nil, through), "https://10.0.0.1/c", 1, "address")
	})
}

// TestProxyOfTheEnvironment is not asked. It sets the environment, so it runs alone.
func TestProxyOfTheEnvironment(t *testing.T) {
	h := serveHost(t, says("one"))
	proxy, asked := connectProxy(t, h)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.String())
	}
	d := guarded(t, nil, func(o *Options) { o.RootCAs = roots(h) })
	new(reader).fail(t, d, "https://example.com/c", 1, "lookup")
	require.Nil(t, asked.Load(), "CIMD-25")
}
