package plaintext

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// RedirectHost returns what a consent page shows of a redirect URI: host and port of a web address, the
// scheme and a colon of any other, nothing of what is no URI. The port is left out where it is that of the
// scheme. The result is ASCII; a host is shown as Host shows it.
func RedirectHost(u *url.URL) string {
	switch {
	case u == nil || u.Scheme == "":
		return ""
	case u.Scheme != "https" && u.Scheme != "http":
		return tail(url.PathEscape(u.Scheme)) + ":"
	}
	shown, _ := Host(u.Hostname())
	if shown == "" {
		return ""
	}
	return shown + port(u)
}

// port returns the port of a web address with its colon, where it says something.
func port(u *url.URL) string {
	port := u.Port()
	if port == "" || len(port) > 5 || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return ""
	}
	return ":" + port
}

// Host returns the host in a URL, without a port, as it may be shown, and a remark on it where users should
// look twice: a phrase in English that begins with the host as shown. Both are ASCII; shown is empty for
// an empty host only. An IPv6 address, which url.URL.Hostname returns without brackets, gets them.
//
// An internationalised name is shown in punycode and has a remark (RU-11). Its own letters are in neither,
// since they can look like those of another name. The other remark is on addresses that are not on the
// public internet; loopback addresses have none.
//
// What is no host at all is shown with percent signs, and has no remark: the rules of redirect URIs have.
func Host(host string) (shown, remark string) {
	if !isASCII(host) && utf8.ValidString(host) {
		if ascii, err := idna.Lookup.ToASCII(host); err == nil && ascii != "" {
			host = ascii
		}
	}
	host = strings.ToLower(host)
	switch {
	case host == "":
		return "", ""
	case strings.Contains(host, ":"):
		shown = tail("[" + url.PathEscape(host) + "]")
	case len(host) > longestHost, strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "":
		return tail(strings.ReplaceAll(url.QueryEscape(host), "~", "%7E")), ""
	case hasPunycode(host):
		return host, host + " is the technical form of a name with letters other than a to z, which can look like another name"
	default:
		shown = host
	}
	if _, err := netip.ParseAddr(host); err == nil && outbound.SpecialHost(host) && !outbound.LoopbackHost(host) {
		remark = shown + " is an address that is not on the public internet"
	}
	return shown, remark
}

// hasPunycode reports whether a label of a host stands for a name outside ASCII (RFC 5890, section
// 2.3.2.1). Whether the label is a valid one does not matter: software disagrees on that.
func hasPunycode(host string) bool {
	return strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--")
}

// longestHost is how many characters a host name has at most (RFC 1035, section 2.3.4). Of what is longer
// the end is shown, where the domain is (T20).
const longestHost = 253

func tail(s string) string {
	const sign = "..."
	if len(s) > longestHost {
		return sign + s[len(s)-longestHost+len(sign):]
	}
	return s
}
