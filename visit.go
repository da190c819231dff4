package dcr

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
)

// visit is what is known of one request besides what it asks for: events tell it, and
// limits count by it.
type visit struct {
	address netip.Addr
	began   time.Time
	// unheeded says that the peer named a caller whom nobody believes.
	unheeded bool
	// looksUp says that fosite authenticates a client in this request; clientID is then
	// the one that it found.
	looksUp  bool
	clientID string
	// registrant is whom the access rule let in.
	registrant *Registrant
}

type visitKey struct{}

// visited returns a context that knows of the request, once for all steps.
func (r *registry) visited(ctx context.Context, request *http.Request) context.Context {
	if visitOf(ctx) != nil {
		return ctx
	}
	unheeded := len(r.cfg.TrustedProxies) == 0 && request.Header.Get("X-Forwarded-For") != ""
	return withVisit(ctx, &visit{address: callerAddress(request, r.cfg.TrustedProxies), began: time.Now(), unheeded: unheeded})
}

// atEndpoint is visited for an endpoint of fosite's, at which a client authenticates.
func (r *registry) atEndpoint(ctx context.Context, request *http.Request) context.Context {
	return withVisit(ctx, &visit{address: callerAddress(request, r.cfg.TrustedProxies), began: time.Now(), looksUp: true})
}

func withVisit(ctx context.Context, v *visit) context.Context {
	if v == nil || visitOf(ctx) == v {
		return ctx
	}
	return context.WithValue(ctx, visitKey{}, v)
}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// noteClient notes the client that fosite found in this request.
func noteClient(ctx context.Context, client fosite.Client) {
	if v := visitOf(ctx); v != nil && v.looksUp && v.clientID == "" {
		v.clientID = client.GetID()
	}
}

// refusal is an error with what an event says of it: the steps of a request do not share
// a context where a host calls them.
type refusal struct {
	clientID string
	visit    *visit
	cause    error
}

func (e *refusal) Error() string { return e.cause.Error() }
func (e *refusal) Unwrap() error { return e.cause }

// refuse wraps an error for the event that follows it.
func refuse(ctx context.Context, clientID string, err error) error {
	return &refusal{clientID, visitOf(ctx), err}
}

func asRefusal(err error) *refusal {
	var known *refusal
	if !errors.As(err, &known) {
		known = &refusal{cause: err}
	}
	return known
}

// callerAddress returns the address that a request comes from: that of the peer, unless
// the peer is one of the host's own proxies. Then it is the last address in
// X-Forwarded-For that is none of them: what stands before it is the caller's to choose
// (T16). An entry that is no address ends the search at the proxy that wrote it.
//
// It is not valid where the peer has none, as with a Unix socket, and nobody else is
// believed.
func callerAddress(request *http.Request, proxies []netip.Prefix) netip.Addr {
	caller := parseAddress(request.RemoteAddr)
	if len(proxies) == 0 {
		return caller
	}
	trusted := func(a netip.Addr) bool {
		for _, proxy := range proxies {
			if proxy.Contains(a) {
				return true
			}
		}
		return !a.IsValid() // who reaches a Unix socket runs on this machine
	}
	lines := request.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		for line := lines[i]; line != "" && trusted(caller); {
			cut := strings.LastIndexByte(line, ',')
			next := parseAddress(strings.TrimSpace(line[cut+1:]))
			if !next.IsValid() {
				return caller
			}
			caller, line = next, line[:max(cut, 0)]
		}
	}
	return caller
}

// plainPrefixes returns prefixes as addresses are compared with them: one of IPv4 in IPv6 is
// one of IPv4.
func plainPrefixes(prefixes []netip.Prefix) []netip.Prefix {
	plain := slices.Clone(prefixes)
	for i, p := range plain {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			plain[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return plain
}

// parseAddress reads an address, with or without a port and brackets. An IPv4 address in
// an IPv6 one is the former, and zones, of which there may be any number, don't count.
func parseAddress(s string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}
