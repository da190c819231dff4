package ratelimit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Caller returns the address that a request comes from: that of the peer, unless the peer is a trusted proxy. Then
// it is the last address in X-Forwarded-For that is none of the proxies: what stands before it was written by the
// caller (T16). An entry that is no address ends the search at the proxy that wrote it.
//
// The address is never an IPv4 address within IPv6 and has no zone. It is not valid where the peer has none, as with
// a Unix socket, and no other address is trusted. The prefixes are as Plain returns them.
func Caller(r *http.Request, trusted []netip.Prefix) netip.Addr {
	caller := parseAddress(r.RemoteAddr)
	if len(trusted) == 0 {
		return caller
	}
	lines := r.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		for line := lines[i]; line != "" && isProxy(caller, trusted); {
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

// isProxy reports whether an address is one of a trusted proxy. A peer without an address is one: a program that
// reaches a Unix socket runs on this machine.
func isProxy(address netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return !address.IsValid()
}

// Network names a caller by the network that its address lies in, as in 192.0.2.0/24, behind a prefix that says what for.
// The numbers say how many bits of an address name a network. It is "unknown" where there is no address: with a Unix socket, or an adapter that
// leaves RemoteAddr empty.
func Network(prefix string, address netip.Addr, ipv4Bits, ipv6Bits int) string {
	bits := ipv6Bits
	if address.Is4() {
		bits = ipv4Bits
	}
	network, err := address.Prefix(bits)
	if err != nil || !network.IsValid() {
		return prefix + "unknown"
	}
	return string(network.AppendTo(append(make([]byte, 0, 64), prefix...)))
}

// Plain returns a copy of prefixes in the form in which Caller compares them: a prefix of IPv4 within IPv6 becomes
// one of IPv4.
func Plain(prefixes []netip.Prefix) []netip.Prefix {
	plain := slices.Clone(prefixes)
	for i, p := range plain {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			plain[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return plain
}

// parseAddress reads an address, with or without a port and brackets. An IPv4 address within IPv6 is the IPv4
// address. Zones, of which there may be any number, don't count.
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
