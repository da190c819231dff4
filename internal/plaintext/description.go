package plaintext

import "strings"

// Description leaves of a text the characters that an error_description may have (RFC 6749, section 5.2).
func Description(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c > 0x7e:
			return '?'
		}
		return c
	}, s)
}
