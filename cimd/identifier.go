package cimd

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxIdentifier bounds an identifier, in bytes.
const maxIdentifier = 2048

// documentURL reports whether a client identifier can be the URL of a document, and returns its scheme, http or https, and
// its host without a port (client identifier metadata documents, section 3). Nothing is normalised: whatever two parties
// could read in two ways is refused.
func documentURL(id string) (scheme, host string, ok bool) {
	scheme, rest, _ := strings.Cut(id, "://")
	if len(id) > maxIdentifier || scheme != "https" && scheme != "http" || strings.ContainsFunc(id, notInURL) {
		return "", "", false
	}
	authority, path, found := strings.Cut(rest, "/")
	host, known := hostOf(authority)
	path, _, _ = strings.Cut(path, "?")
	if !found || !known || hasDotSegment(path) || !wellEscaped(id) {
		return "", "", false
	}
	parsed, err := url.Parse(id)
	return scheme, host, err == nil && parsed.String() == id // else another URL would be fetched
}

// notInURL reports whether no URL without a fragment has this character (RFC 3986, section 2). The brackets of an IPv6
// address are common in queries, too.
func notInURL(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._~!$&'()*+,;=:@/?[]%", r)
}

// hostOf returns the host of an authority that is a host, or a host and a port, and nothing else.
func hostOf(authority string) (host string, ok bool) {
	host, port, hasPort := strings.Cut(authority, ":")
	if inner, bracketed := strings.CutPrefix(authority, "["); bracketed {
		inner, rest, _ := strings.Cut(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if err != nil || !addr.Is6() || addr.Zone() != "" || rest != "" && rest[0] != ':' {
			return "", false
		}
		host, port, hasPort = inner, strings.TrimPrefix(rest, ":"), rest != ""
	} else if host == "" || strings.ContainsFunc(host, notInHost) {
		return "", false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return host, !hasPort || err == nil && number > 0 && strconv.FormatUint(number, 10) == port
}

func notInHost(r rune) bool {
	return notInURL(r) || strings.ContainsRune("~!$&'()*+,;=:@/?[]%", r)
}

// hasDotSegment reports whether a server could read a segment of the path as "." or "..", once percent-encoded or not.
func hasDotSegment(path string) bool {
	decoded := strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/").Replace(path)
	segments := strings.Split(decoded, "/")
	return slices.Contains(segments, ".") || slices.Contains(segments, "..")
}

// wellEscaped reports whether each percent sign begins an encoded byte.
func wellEscaped(id string) bool {
	for rest := id; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return true
		}
		if len(after) < 2 || strings.Trim(after[:2], "0123456789abcdefABCDEF") != "" {
			return false
		}
		rest = after
	}
}
