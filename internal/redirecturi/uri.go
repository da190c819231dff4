package redirecturi

import "strings"

// The phrases about characters.
const (
	errBackslash phrase = "has a backslash"
	errSpace     phrase = "has white space or a control character"
	errNonASCII  phrase = "has a character outside ASCII (encode it with percent signs, a host name with punycode)"
	errPercent   phrase = "has a percent sign that two hexadecimal digits do not follow"
	errCharacter phrase = "has a character that is not allowed where it stands in a URI"
)

// uri is a URI taken apart as RFC 3986, section 3, has it. Every part is a piece of the input.
type uri struct {
	scheme       string
	hasAuthority bool
	host         string // with its brackets, where it is an IPv6 address
	port         string
	hasPort      bool
	path         string
	query        string
	hasQuery     bool
	fragment     string
	hasFragment  bool
}

// parse takes an absolute URI apart and judges what holds for every scheme: length, characters, user
// information, host and port.
func parse(raw string, limit int) (uri, error) {
	if raw == "" {
		return uri{}, errEmpty
	}
	if err := tooLong(raw, limit); err != nil {
		return uri{}, err
	}
	if err := checkBytes(raw); err != nil {
		return uri{}, err
	}
	u, authority, ok := split(raw)
	if !ok {
		return uri{}, errRelative
	}
	if err := u.checkCharacters(); err != nil {
		return uri{}, err
	}
	return u, u.setAuthority(authority)
}

// split cuts a URI at its delimiters, and judges none of the parts but the scheme.
func split(raw string) (u uri, authority string, ok bool) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || !isScheme(scheme) {
		return uri{}, "", false
	}
	u.scheme = scheme
	rest, u.fragment, u.hasFragment = strings.Cut(rest, "#")
	rest, u.query, u.hasQuery = strings.Cut(rest, "?")
	if !strings.HasPrefix(rest, "//") {
		u.path = rest
		return u, "", true
	}
	u.hasAuthority = true
	authority = rest[2:]
	if slash := strings.IndexByte(authority, '/'); slash >= 0 {
		authority, u.path = authority[:slash], authority[slash:]
	}
	return u, authority, true
}

// checkBytes refuses what no part of a URI has, with a phrase for each frequent mistake.
func checkBytes(raw string) error {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c >= 0x80:
			return errNonASCII
		case c <= ' ' || c == 0x7f:
			return errSpace
		case c == '\\':
			return errBackslash
		case c == '%' && !(i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2])):
			return errPercent
		case c == '"' || c == '<' || c == '>' || c == '^' || c == '`' || c >= '{' && c <= '}':
			return errCharacter
		}
	}
	return nil
}

// checkCharacters refuses the delimiters that are left where they delimit nothing.
func (u uri) checkCharacters() error {
	if strings.ContainsAny(u.path, "[]") || strings.ContainsAny(u.query, "[]") || strings.ContainsAny(u.fragment, "[]#") {
		return errCharacter
	}
	return nil
}

// isScheme reports whether s is a letter, and letters, digits, plus, minus and periods after it.
func isScheme(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for _, c := range []byte(s) {
		if !isLetter(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// hasDotSegment reports whether a segment of the path is one or two periods. Periods, slashes and
// backslashes count in their encoded form too: servers and proxies differ in when they decode them.
func hasDotSegment(path string) bool {
	decoded := path
	if strings.Contains(path, "%") {
		decoded = dotDecoder.Replace(path)
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

var dotDecoder = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/")

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
