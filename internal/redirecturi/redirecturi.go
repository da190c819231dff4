// Package redirecturi tells which redirect URIs are acceptable, and which of them match.
//
// Browsers, URL libraries and RFC 3986 read an unusual URI in different ways, and a redirect URI that is
// read in two ways sends an authorization code to the wrong place. So a URI is taken apart by the grammar
// of RFC 3986, with nothing repaired, and net/url has to agree with the result.
//
// [Check] judges redirect URIs, [CheckURL] the other URIs that a client has, [Matches] compares a
// registered redirect URI with a requested one. uri.go takes a URI apart, host.go judges hosts and ports.
package redirecturi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// DefaultMaxLength is how many bytes a URI has at most where nothing else is said.
const DefaultMaxLength = 2048

// Kind is how a redirect URI leads back to its client. The zero Kind belongs to no acceptable URI.
type Kind int

const (
	// HTTPS is an https URI, whatever its host.
	HTTPS Kind = 1 + iota
	// LoopbackIP is an http URI whose host is an address of 127.0.0.0/8 or [::1].
	LoopbackIP
	// Localhost is an http URI whose host is the name localhost, in any case.
	Localhost
	// PrivateUse is a URI whose scheme belongs to an application (RFC 8252, section 7.1).
	PrivateUse
)

// Options is what hosts can choose. The zero value is the strictest.
type Options struct {
	// PrivateUseSchemes are schemes that are acceptable though they have no period ("cursor", "vscode"),
	// in any case. Any application on a device can claim such a name. Schemes that mean something to a
	// browser or an operating system are refused even when they are listed. The default is none.
	PrivateUseSchemes []string
	// MaxLength is the length of a URI in bytes. The default is DefaultMaxLength.
	MaxLength int
}

// phrase is why a URI is refused. It is ASCII, has neither quotes nor backslashes, repeats nothing of the
// input, and continues the name of the member that holds the URI.
type phrase string

func (p phrase) Error() string { return string(p) }

// The phrases about schemes and the URI as a whole; those about parts are where the parts are judged.
const (
	errEmpty      phrase = "is empty"
	errRelative   phrase = "is not an absolute URI"
	errFragment   phrase = "has a fragment"
	errWildcard   phrase = "has an asterisk (redirect URIs are compared as they stand, without wildcards)"
	errDot        phrase = "has a dot segment in its path"
	errPlain      phrase = "uses http for a host that is not loopback"
	errSpelling   phrase = "spells a loopback address in another way than 127.0.0.1 or [::1]"
	errForbidden  phrase = "has a scheme that leads to no client"
	errUpper      phrase = "has an upper-case letter in its scheme"
	errNoPeriod   phrase = "has a scheme without a period (register a reverse domain name scheme, RFC 8252 section 7.1)"
	errEmptyLabel phrase = "has a scheme that is not a reverse domain name (RFC 8252 section 7.1)"
	errRootless   phrase = "has neither a host nor a path that begins with a slash"
	errUnstable   phrase = "changes when it is parsed"
)

// Check judges a redirect URI and tells its kind. The error is a phrase that continues the member's name
// ("has a fragment").
//
// Acceptable is an absolute URI without a fragment (RFC 6749, section 3.1.2), user information, dot
// segment or asterisk, that is https, http to a loopback address or localhost (RFC 8252, section 7.3), or
// has the private-use scheme of an application, which is a reverse domain name or listed in the options
// (sections 7.1 and 8.4). A private-use URI has a host, a path that begins with a slash, or both; without
// the slash, client.example.com:8080/cb would be one.
func Check(raw string, o Options) (Kind, error) {
	if strings.Contains(raw, "*") {
		return 0, errWildcard
	}
	u, err := parse(raw, o.MaxLength)
	if err != nil {
		return 0, err
	}
	kind, err := kindOf(u, o.PrivateUseSchemes)
	if err != nil {
		return 0, err
	}
	switch {
	case u.hasFragment:
		return 0, errFragment
	case hasDotSegment(u.path):
		return 0, errDot
	case !stable(raw):
		return 0, errUnstable
	}
	return kind, nil
}

// kindOf judges the scheme, and the host as far as it depends on the scheme.
func kindOf(u uri, privateUse []string) (Kind, error) {
	scheme := strings.ToLower(u.scheme)
	switch {
	case slices.Contains(forbidden, scheme):
		return 0, errForbidden
	case scheme != u.scheme:
		return 0, errUpper
	case scheme == "https":
		return HTTPS, requireHost(u)
	case scheme == "http":
		return plainKind(u)
	case !isPrivateUse(scheme, privateUse):
		return 0, errNoPeriod
	case strings.HasSuffix(scheme, ".") || strings.Contains(scheme, ".."):
		return 0, errEmptyLabel
	case !u.hasAuthority && !strings.HasPrefix(u.path, "/"):
		return 0, errRootless
	}
	return PrivateUse, nil
}

// plainKind tells which kind of loopback host a URI without TLS has.
func plainKind(u uri) (Kind, error) {
	switch {
	case !u.hasAuthority:
		return 0, errNoHost
	case isLoopbackIP(u.host):
		return LoopbackIP, nil
	case strings.EqualFold(u.host, "localhost"):
		return Localhost, nil
	case isSpelledLoopback(u.host):
		return 0, errSpelling
	}
	return 0, errPlain
}

func requireHost(u uri) error {
	if !u.hasAuthority {
		return errNoHost
	}
	return nil
}

func isPrivateUse(scheme string, listed []string) bool {
	return strings.Contains(scheme, ".") || slices.ContainsFunc(listed, func(s string) bool {
		return strings.EqualFold(s, scheme)
	})
}

// forbidden are schemes that a browser or an operating system acts upon by itself: they run what they
// carry, show something that is no client, or hand the code to whoever asks for it.
var forbidden = []string{
	"about", "android-app", "blob", "chrome", "chrome-extension", "content", "data", "edge", "feed",
	"file", "filesystem", "ftp", "ftps", "gopher", "imap", "intent", "itms-apps", "itms-services",
	"jar", "javascript", "ldap", "ldaps", "livescript", "magnet", "mailto", "market", "mhtml", "mms",
	"mocha", "moz-extension", "ms-appinstaller", "ms-excel", "ms-msdt", "ms-officecmd",
	"ms-powerpoint", "ms-search", "ms-settings", "ms-word", "news", "nfs", "nntp", "opera",
	"resource", "rtsp", "search-ms", "sftp", "shell", "sip", "sips", "smb", "sms", "smsto", "ssh",
	"tel", "telnet", "vbs", "vbscript", "view-source", "vnc", "webcal", "ws", "wss", "wyciwyg",
	"x-apple.systempreferences", "xmpp",
}

// stable reports whether net/url, through which redirect URIs pass later, gives back what it was given. raw is a URI
// that parse accepts.
func stable(raw string) bool {
	if IsPlain(raw) {
		return true
	}
	u, err := url.Parse(raw)
	return err == nil && u.String() == raw
}

// IsPlain reports whether a URI that Check or CheckURL accepts is of those that nearly all are, which net/url sees as they
// stand: https or http, and no character that is encoded anywhere, or delimits anything but scheme, host, port and path.
func IsPlain(raw string) bool {
	rest, secure := strings.CutPrefix(raw, "https://")
	if !secure {
		var plain bool
		if rest, plain = strings.CutPrefix(raw, "http://"); !plain {
			return false
		}
	}
	for _, c := range []byte(rest) {
		if !isLetter(c) && !isDigit(c) && c != '/' && c != '.' && c != '-' && c != '_' && c != ':' {
			return false
		}
	}
	return true
}

// Parse is url.Parse of a URI that Check or CheckURL accepts, without parsing where there is nothing to parse.
func Parse(raw string) (*url.URL, error) {
	if !IsPlain(raw) {
		return url.Parse(raw)
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	return &url.URL{Scheme: scheme, Host: rest[:end], Path: rest[end:]}, nil
}

// tooLong returns the phrase for a URI of more than limit bytes, and nil for any other.
func tooLong(raw string, limit int) error {
	if limit <= 0 {
		limit = DefaultMaxLength
	}
	if len(raw) > limit {
		return phrase("is longer than " + strconv.Itoa(limit) + " bytes")
	}
	return nil
}
