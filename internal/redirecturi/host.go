package redirecturi

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// The phrases about the authority.
const (
	errUser     phrase = "has user information"
	errNoHost   phrase = "has no host"
	errHost     phrase = "has a host that is neither a DNS name nor an IP address"
	errZone     phrase = "has an IPv6 address with a zone"
	errPunycode phrase = "has a host with an invalid punycode label"
	errPort     phrase = "has a port that is not a plain number from 1 to 65535"
)

// setAuthority takes the authority apart and judges its parts.
func (u *uri) setAuthority(authority string) error {
	if !u.hasAuthority {
		return nil
	}
	if strings.Contains(authority, "@") {
		return errUser
	}
	u.host, u.port, u.hasPort = splitPort(authority)
	if err := checkHost(u.host); err != nil {
		return err
	}
	if u.hasPort && !isPort(u.port) {
		return errPort
	}
	return nil
}

// splitPort cuts an authority without user information at the colon before its port. The colons of an
// address in brackets do not count; of several others the first does, which leaves no valid port.
func splitPort(authority string) (host, port string, hasPort bool) {
	end := strings.IndexByte(authority, ']') + 1
	colon := strings.IndexByte(authority[end:], ':')
	if colon < 0 {
		return authority, "", false
	}
	return authority[:end+colon], authority[end+colon+1:], true
}

// isPort reports whether s is a number from 1 to 65535, in its one spelling without leading zeros.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// checkHost accepts a DNS name, an IPv4 address in four decimal parts, and an IPv6 address in brackets.
func checkHost(host string) error {
	switch {
	case host == "":
		return errNoHost
	case host[0] == '[':
		return checkIPv6(host)
	case endsInNumber(host):
		return checkIPv4(host)
	}
	return checkName(host)
}

func checkIPv6(host string) error {
	inner, closed := strings.CutSuffix(host[1:], "]")
	if strings.Contains(inner, "%") {
		return errZone
	}
	if addr, err := netip.ParseAddr(inner); !closed || err != nil || !addr.Is6() {
		return errHost
	}
	return nil
}

func checkIPv4(host string) error {
	if addr, err := netip.ParseAddr(host); err != nil || !addr.Is4() {
		return errHost
	}
	return nil
}

// endsInNumber reports whether the last label is decimal or hexadecimal digits. Browsers read such a host
// as an IPv4 address in one of many spellings (WHATWG URL, section 3.5), others as a name.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits, valid := last, isDigit
	if len(last) >= 2 && (last[:2] == "0x" || last[:2] == "0X") {
		digits, valid = last[2:], isHex
	} else if last == "" {
		return false
	}
	for _, c := range []byte(digits) {
		if !valid(c) {
			return false
		}
	}
	return true
}

// checkName judges a DNS name. A period at the end is refused: with it the name is another string for the
// same host.
func checkName(host string) error {
	if len(host) > 253 {
		return errHost
	}
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return errHost
		}
		if len(label) >= 4 && strings.EqualFold(label[:4], "xn--") && !isPunycode(label) {
			return errPunycode
		}
	}
	return nil
}

// isLabel reports whether s is made of letters, digits, hyphens and underscores, of which there are up to 63.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isPunycode reports whether a label that begins with xn-- stands for a name outside ASCII, and is the one
// spelling of it.
func isPunycode(label string) bool {
	label = strings.ToLower(label)
	name, err := idna.Lookup.ToUnicode(label)
	if err != nil || isLabel(name) {
		return false
	}
	back, err := idna.Lookup.ToASCII(name)
	return err == nil && back == label
}

// isSpelledLoopback reports whether host is a loopback address of IPv6 in another spelling than [::1].
func isSpelledLoopback(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// isLoopbackIP reports whether host is an address of 127.0.0.0/8 in four decimal parts, or [::1] in
// exactly these characters (RFC 8252, section 7.3). It presumes that checkHost accepts host.
func isLoopbackIP(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "[::1]" || err == nil && addr.Is4() && addr.IsLoopback()
}
