package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/hashicorp/go-retryablehttp"
)

const maxHeaderBytes = 32 << 10

// NewClient returns a client that is safe to use on a URL of unknown origin. It speaks https only, and
// connects to public addresses only, judged after the name is resolved and right before each connection,
// so that a name that changes its address gains nothing (T10, T11). It returns an error for every 3xx,
// and bounds the time, the headers and the decompressed body of an exchange (T12); 304 is returned where the
// request was conditional. Four exchanges with one host are under way at once, and 64 in all; others wait for
// their turn, before the name is resolved (T68). It uses no proxy of the environment, keeps no cookies, repeats
// nothing and keeps no connection open.
func NewClient(o Options) *http.Client {
	o = o.withDefaults()
	return &http.Client{
		Transport: &guard{options: o, base: newTransport(o), slots: newSlots(o)},
		Timeout:   o.Timeout,
	}
}

// NewRetryableClient returns the client of NewClient in the type of fosite.Config.HTTPClient, by which
// fosite fetches request_uris. In spite of its type it tries once and logs nothing.
func NewRetryableClient(o Options) *retryablehttp.Client {
	client := retryablehttp.NewClient()
	client.HTTPClient = NewClient(o)
	client.RetryMax = 0
	client.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	client.Logger = nil
	return client
}

// newTransport returns a transport whose connections are guarded. A kept connection would be one more
// thing that others can hold on to, for fetches that are rare.
func newTransport(o Options) *http.Transport {
	plain := net.Dialer{Timeout: o.Timeout, Resolver: o.Resolver, Control: controlLoopback}
	transport := &http.Transport{
		DialContext:            plain.DialContext,
		DialTLSContext:         dialTLS(o),
		DisableKeepAlives:      true,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	if o.Proxy != nil {
		plain.Control = nil
		transport.Proxy, transport.DialTLSContext = http.ProxyURL(o.Proxy), nil
		transport.TLSClientConfig = &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	}
	return transport
}

// dialTLS connects for https. The certificate of a loopback address goes unverified where that address may
// be reached at all: what counts is the peer, not its name.
func dialTLS(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: o.Timeout, Resolver: o.Resolver, ControlContext: control(o)}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, o.Timeout)
		defer cancel()
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, &tls.Config{
			ServerName: host, RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: o.InsecureAllowLoopback && loopbackPeer(conn),
		})
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("%w: %w", ErrTLS, err)
		}
		return secure, nil
	}
}

func loopbackPeer(conn net.Conn) bool {
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && peer.IP.IsLoopback()
}

// privateKey marks, in its context, a request for one of Options.AllowPrivate.
type privateKey struct{}

// control returns what refuses to connect to a special-use address, but for those that the options open. It is a
// net.Dialer.ControlContext: it runs for each address of a name, after the socket is created and before it is connected.
func control(o Options) func(ctx context.Context, network, address string, conn syscall.RawConn) error {
	return func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		peer, err := netip.ParseAddrPort(address)
		private := ctx.Value(privateKey{}) != nil
		switch addr := peer.Addr(); {
		case err != nil:
		case !specialAddr(addr), private && privateAddr(addr), o.InsecureAllowLoopback && addr.Unmap().IsLoopback():
			return nil
		}
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
}

// controlLoopback refuses to connect to any other machine.
func controlLoopback(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	return nil
}

// guard checks what the transport does not: the URL on its way out, status and size on the way back.
type guard struct {
	options Options
	base    http.RoundTripper
	slots   *slots
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	private := g.options.AllowPrivate.Has(r.URL.String(), false)
	if err := g.permit(r, private); err != nil {
		closeBody(r)
		return nil, err
	}
	release, err := g.slots.take(r.Context(), r.URL.Hostname())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := g.base.RoundTrip(g.prepared(r, private))
	if err == nil && response.StatusCode >= 300 && response.StatusCode < 400 && !notModified(r, response) {
		_ = response.Body.Close()
		err = &StatusError{response.StatusCode}
	}
	if err != nil {
		release()
		return nil, err
	}
	// A caller that forgets to close the body gives the slot back when the time of the client is over.
	context.AfterFunc(r.Context(), release)
	response.Body = &boundedBody{ReadCloser: response.Body, left: g.options.MaxBytes, release: release}
	return response, nil
}

// prepared returns the request as it is sent.
func (g *guard) prepared(r *http.Request, private bool) *http.Request {
	ctx := r.Context()
	if private {
		ctx = context.WithValue(ctx, privateKey{}, true)
	}
	r = r.Clone(ctx)
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", g.options.UserAgent)
	}
	return r
}

// notModified reports whether a response says that what the client has is still good, and the client has asked that.
func notModified(r *http.Request, response *http.Response) bool {
	asked := r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	return asked && response.StatusCode == http.StatusNotModified
}

// closeBody is what a RoundTripper owes to a request that it does not send.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

func (g *guard) permit(r *http.Request, private bool) error {
	host := r.URL.Hostname()
	plain := r.URL.Scheme == "http" && g.options.InsecureAllowLoopback && LoopbackHost(host)
	switch {
	case r.URL.Scheme != "https" && !plain, host == "", r.URL.User != nil:
		return ErrScheme
	case SpecialHost(host) && !private && !(g.options.InsecureAllowLoopback && LoopbackHost(host)):
		return fmt.Errorf("%w: %s", ErrAddress, host)
	}
	return nil
}

// boundedBody fails where io.LimitReader would end: half a document is no document.
type boundedBody struct {
	io.ReadCloser
	left    int64
	release func()
}

// Close implements io.Closer. It ends the exchange.
func (b *boundedBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// Read implements io.Reader. It reads one byte past the bound to tell a body that ends there from a
// longer one.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}
