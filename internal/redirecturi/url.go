package redirecturi

import (
	"net/url"
	"slices"
	"strings"
)

// URLOptions says which URLs are acceptable for a member. The zero value accepts https without a fragment.
type URLOptions struct {
	// Schemes are the acceptable ones, in lower case. The default is https alone.
	Schemes []string
	// AllowFragment accepts a fragment.
	AllowFragment bool
	// MaxLength is the length of a URL in bytes. The default is DefaultMaxLength.
	MaxLength int
}

// CheckURL judges a URL that is shown to people or called by the server, such as logo_uri or jwks_uri, and
// returns its host: without port and brackets, in lower case. The error is a phrase that continues the
// member's name ("is not an https URL").
//
// Acceptable is an absolute URL with a host, made of the characters that RFC 3986 allows in each part, and
// without user information. Whether the host may be called is for others to judge. Unlike in a redirect
// URI, dot segments, asterisks and an upper-case scheme are accepted: nothing is compared with the URL.
func CheckURL(raw string, o URLOptions) (host string, err error) {
	schemes := o.Schemes
	if len(schemes) == 0 {
		schemes = []string{"https"}
	}
	u, err := parse(raw, o.MaxLength)
	if err == nil && !slices.Contains(schemes, strings.ToLower(u.scheme)) || err == errRelative {
		return "", notA(schemes)
	}
	if err != nil {
		return "", err
	}
	if !u.hasAuthority {
		return "", errNoHost
	}
	if u.hasFragment && !o.AllowFragment {
		return "", errFragment
	}
	// The caller of the URL uses net/url, which has to see the same host.
	if !IsPlain(raw) {
		if parsed, err := url.Parse(raw); err != nil || parsed.Hostname() != strings.Trim(u.host, "[]") {
			return "", errUnstable
		}
	}
	return strings.ToLower(strings.Trim(u.host, "[]")), nil
}

// notA returns the phrase for a URL of another scheme.
func notA(schemes []string) error {
	return phrase("is not an " + strings.Join(schemes, " or ") + " URL")
}

// Origin returns what stands before the path of a URL.
func Origin(raw string) string {
	scheme, rest, _ := strings.Cut(raw, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}
