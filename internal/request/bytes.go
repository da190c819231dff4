package request

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a request refers to, in bytes.
const (
	maxIdentifier = 2048
	maxToken      = 16 << 10
)

// unknown takes the place of a value that can be none. It is nobody's.
const unknown = "-"

// IsIdentifier reports whether a text can be a client identifier or a request URI: valid UTF-8 of at most 2,048 bytes,
// without control characters. A database may fail on any other.
func IsIdentifier(s string) bool { return len(s) <= maxIdentifier && isText(s) }

// IsToken reports whether a text can be a token or a code: as IsIdentifier, of at most 16 KB.
func IsToken(s string) bool { return len(s) <= maxToken && isText(s) }

var errNoText = errors.New("a parameter is not UTF-8, or has a NUL")

// stored refuses what a database may fail on. Secrets, verifiers and tokens are compared and not kept.
func stored(form url.Values) error {
	for name, values := range form {
		switch name {
		case "client_secret", "password", "code_verifier", "access_token":
			continue
		}
		if !storable(name) || slices.ContainsFunc(values, func(text string) bool { return !storable(text) }) {
			return fmt.Errorf("%w: %w", ErrUnreadable, errNoText)
		}
	}
	return nil
}

func storable(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

func isText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		case c < ' ', c == 0x7f:
			return false
		}
	}
	return true
}

// replaceImpossible puts an unknown value in the place of each reference that can be none, so that it is answered like
// an unknown one and reaches no storage.
func replaceImpossible(r *http.Request) {
	for name := range r.Form { // which has all of PostForm
		possible := IsToken
		switch name {
		case "client_id":
			possible = IsIdentifier
		case "code", "refresh_token", "token", "device_code":
		default:
			continue
		}
		for _, form := range []url.Values{r.Form, r.PostForm} {
			if form.Has(name) && !possible(form.Get(name)) {
				form.Set(name, unknown)
			}
		}
	}
}
