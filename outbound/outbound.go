// Package outbound is the guarded HTTP client for URLs that somebody else chose: a client's jwks_uri, its
// sector_identifier_uri or request_uris, a client identifier that is a URL. Such URLs are how others
// make this server call into its own network (server-side request forgery), or wait for ever.
//
//	client := outbound.NewClient(outbound.Options{})
//	body, err := outbound.Fetch(ctx, client, uri, "application/json")
//
// The guard lies where a connection is made: the address actually connected to must be public, whatever
// the name resolved to a moment before. NewClient has it for net/http, NewRetryableClient for
// fosite.Config.HTTPClient, and NewJWKSFetcher for fosite.Config.JWKSFetcherStrategy:
//
//	config.HTTPClient = outbound.NewRetryableClient(outbound.Options{})
//	config.JWKSFetcherStrategy = outbound.NewJWKSFetcher(outbound.Options{})
//
// SpecialHost tells what a URL shows on its face, so that it can be refused before anybody calls it.
//
// The zero Options are safe: https with verified certificates only, public addresses only, no redirects,
// 5 seconds, 64 KiB, no proxy, no retries, no cookies, four requests at once with one host. An address that stands for
// another (NAT64, 6to4, IPv4-mapped) is judged by the address inside. Errors name addresses of the network that this
// server sees: they are for the operator, not for the client that chose the URL.
package outbound

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Reasons why a request is refused, for errors.Is. What else goes wrong (a name that does not resolve, a
// certificate, the time) is the error of net/http.
var (
	// ErrScheme: the URL is not an https URL with a host, or carries credentials.
	ErrScheme = errors.New("outbound: not an https URL")
	// ErrAddress: the address to connect to is not public.
	ErrAddress = errors.New("outbound: special-use address")
	// ErrRedirect: the answer is a redirect (any 3xx). It could lead into the network.
	ErrRedirect = errors.New("outbound: redirects are not followed")
	// ErrBusy: other requests with the host, or in all, did not end in time (Options.HostRequests, Options.Requests).
	ErrBusy = errors.New("outbound: other requests did not end in time")
	// ErrTLS: the host was reached, but there is no secure connection with it: its certificate is not accepted, or what
	// it speaks is not TLS.
	ErrTLS = errors.New("outbound: no secure connection")
	// ErrTooLarge: the body is larger than Options.MaxBytes.
	ErrTooLarge = errors.New("outbound: body too large")
	// ErrStatus: Fetch was answered by another status than 200. See StatusError, too.
	ErrStatus = errors.New("outbound: unexpected status")
	// ErrMediaType: Fetch was answered with none of the media types it asked for.
	ErrMediaType = errors.New("outbound: unexpected media type")
)

// StatusError is the error of an answer with a status that is not wanted: ErrRedirect for 3xx, else ErrStatus.
type StatusError struct {
	// Status is the status code.
	Status int
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%v: %d", e.Unwrap(), e.Status)
}

// Unwrap returns ErrRedirect or ErrStatus.
func (e *StatusError) Unwrap() error {
	if e.Status >= 300 && e.Status < 400 {
		return ErrRedirect
	}
	return ErrStatus
}

// Options of the client. The zero value is safe and the one to use outside tests.
type Options struct {
	// Timeout bounds a whole exchange, from the name to the last byte of the body. Default: 5 seconds.
	Timeout time.Duration
	// MaxBytes bounds the body of a response after decompression. Reading past it fails with ErrTooLarge.
	// Default: 64 KiB.
	MaxBytes int64
	// Resolver resolves the names. It cannot weaken the guard, which judges the addresses it returns.
	// Default: that of the system.
	Resolver *net.Resolver
	// RootCAs are the authorities that sign acceptable certificates. Default: those of the system.
	RootCAs *x509.CertPool
	// InsecureAllowLoopback lets requests reach this machine (127.0.0.0/8 and ::1), with https and an
	// unverified certificate, or with http where the host of the URL shows that it is this machine. Every
	// other address is guarded as before. For tests and development: set elsewhere, it lets each client
	// call whatever listens on this machine.
	InsecureAllowLoopback bool
	// AllowPrivate lists exact URLs, or hosts, that may lie in the network of this server: at a private address, a shared
	// one (100.64.0.0/10) or a loopback one. They need https and a certificate that RootCAs verify, as others do. Link-local
	// addresses, where clouds have their metadata, stay closed. Default: none.
	AllowPrivate Targets
	// Proxy is the HTTP proxy through which all requests go. It resolves the names and connects, so it is the proxy that
	// has to refuse special-use addresses: this package then sees only those that a URL shows. Default: none; the
	// environment is not asked.
	Proxy *url.URL
	// UserAgent is sent with each request. Default: "fosite-dcr".
	UserAgent string
	// HostRequests is how many requests with one host are under way at once; others wait within Timeout. Hosts with one
	// registrable domain count as one. Default: 4.
	HostRequests int
	// Requests is how many requests are under way at once in all. Default: 64.
	Requests int
	// JWKS is read by NewJWKSFetcher only.
	JWKS JWKSOptions
	// Now is the clock of JWKSFetcher. Default: time.Now.
	Now func() time.Time
}

// JWKSOptions bounds how often a JWKSFetcher fetches, and how much it remembers.
type JWKSOptions struct {
	// Lifetime is how long a fetched set is used: a client that withdraws a key waits that long until the
	// key no longer counts. A Cache-Control header of the answer can shorten it. Default: 5 minutes.
	Lifetime time.Duration
	// RefetchInterval is the least time between two fetches of one URL after a successful one, whatever
	// asks for them: an assertion with an unknown kid costs its sender nothing. A client that has just
	// rotated its keys waits that long at most. Default: 1 minute.
	RefetchInterval time.Duration
	// RetryInterval is how long a failed fetch is remembered where no earlier set can be used: its error
	// is returned without another attempt. Default: 5 seconds.
	RetryInterval time.Duration
	// Entries is how many URLs are remembered; the one fetched longest ago makes room. Default: 1000.
	Entries int
	// Keys is how many keys a set may hold. Default: 32.
	Keys int
}

// withDefaults returns the options with every field set.
func (o Options) withDefaults() Options {
	setDefault(&o.Timeout, 5*time.Second)
	setDefault(&o.MaxBytes, 64<<10)
	setDefault(&o.HostRequests, 4)
	setDefault(&o.Requests, 64)
	setDefault(&o.JWKS.Lifetime, 5*time.Minute)
	setDefault(&o.JWKS.RefetchInterval, time.Minute)
	setDefault(&o.JWKS.RetryInterval, 5*time.Second)
	setDefault(&o.JWKS.Entries, 1000)
	if o.UserAgent == "" {
		o.UserAgent = "fosite-dcr"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// setDefault replaces a value that is not positive: none of the bounds can be switched off.
func setDefault[T ~int | ~int64](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}
