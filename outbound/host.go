package outbound

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"code.dny.dev/ssrf"
	"golang.org/x/net/idna"
)

// SpecialHost reports whether a host shows on its face that no server but one inside can be meant: it is
// localhost or a name under it, or an IP address in a special-use range (RFC 6890 and its successors).
// An IPv4-mapped, NAT64 or 6to4 address is judged by the IPv4 address inside. The host is that of a URL,
// as url.URL.Hostname returns it, with or without the brackets of IPv6, in any case, without a port.
//
// What some resolvers take for an address counts as special, whichever it is: 2130706433, 0x7f.0.0.1,
// 0177.0.0.1, 127.1. So does what cannot be a host. Names are not looked up: the client of this package
// judges the address when it connects.
func SpecialHost(host string) bool {
	addr, name, ok := parseHost(host)
	switch {
	case !ok:
		return true
	case addr.IsValid():
		return specialAddr(addr)
	}
	return localName(name) || numericName(name)
}

// LoopbackHost reports whether a host shows on its face that it is this machine: localhost or a name under
// it, 127.0.0.0/8 or ::1. It is the part of SpecialHost that Options.InsecureAllowLoopback opens.
func LoopbackHost(host string) bool {
	addr, name, ok := parseHost(host)
	if !ok {
		return false
	}
	return localName(name) || addr.Unmap().IsLoopback()
}

// parseHost reads a host as net/http does, which maps names to ASCII before it looks them up: full-width
// digits and dots make an address, too (T11). The result is an address without a zone or a lower-case
// name without a final dot.
func parseHost(host string) (addr netip.Addr, name string, ok bool) {
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return addr.WithZone(""), "", closed && err == nil && addr.Is6()
	}
	name, err := idna.Lookup.ToASCII(host)
	if err != nil || !utf8.ValidString(host) {
		name = host // which notInName judges
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.WithZone(""), "", true
	}
	return netip.Addr{}, name, name != "" && !strings.ContainsFunc(name, notInName)
}

// notInName reports whether no host name has this character. The underscore is not asked for by any
// standard and yet in use.
func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}

// localName reports whether a name is localhost or under it (RFC 6761, section 6.3).
func localName(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// numericName reports whether the last label of a name is a number, decimal, octal or hexadecimal. No
// such top-level domain exists, and inet_aton reads the whole as an address.
func numericName(name string) bool {
	last := name[strings.LastIndex(name, ".")+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// specialAddr reports whether an address is in a special-use range. What is not in the global unicast
// range of IPv6 is special, Teredo and the remaining forms that carry an IPv4 address too.
func specialAddr(addr netip.Addr) bool {
	return ssrf.New().SafeAddr(embeddedAddr(addr)) != nil
}

// privateAddr reports whether an address lies in a range for networks of one's own: private (RFC 1918, RFC 4193), shared
// (RFC 6598) or loopback. Link-local ones are not among them.
func privateAddr(addr netip.Addr) bool {
	addr = embeddedAddr(addr)
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)
	return addr.IsPrivate() || addr.IsLoopback() || shared.Contains(addr)
}

// embeddedAddr returns the IPv4 address that a gateway on the way would connect to, or else the address:
// IPv4-mapped (RFC 4291, section 2.5.5.2), NAT64 (RFC 6052, section 2.1), 6to4 (RFC 3056, section 2).
func embeddedAddr(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	octets := addr.As16()
	switch {
	case ssrf.IPv6NAT64Prefix.Contains(addr):
		return netip.AddrFrom4([4]byte(octets[12:]))
	case addr.Is6() && octets[0] == 0x20 && octets[1] == 0x02:
		return netip.AddrFrom4([4]byte(octets[2:6]))
	}
	return addr
}
