// Package cursor has pages of a list that is ordered by a time and an identifier: the text of a place in it, and how many
// entries a page has.
package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	defaultPage = 50
	largestPage = 1000
	// timeLength is how many bytes of a text are its time.
	timeLength = 8 + 4
)

// Limit returns how many entries a page has for which a number was asked: 50 for none, at most 1000.
func Limit(asked int) int {
	if asked <= 0 {
		return defaultPage
	}
	return min(asked, largestPage)
}

// Text returns the text of a place: behind the entry of that time and identifier.
func Text(at time.Time, id string) string {
	// Seconds and nanoseconds apart: together they do not reach the zero time.
	place := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
	place = binary.BigEndian.AppendUint32(place, uint32(at.Nanosecond()))
	return base64.RawURLEncoding.EncodeToString(append(place, id...))
}

// Read reads what Text has written; an empty text is the beginning, with no identifier. ok is false for anything else.
func Read(text string) (at time.Time, id string, ok bool) {
	if text == "" {
		return at, "", true
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) <= timeLength || len(raw) > timeLength+256 {
		return at, "", false
	}
	seconds, nanoseconds, id := int64(binary.BigEndian.Uint64(raw)), binary.BigEndian.Uint32(raw[8:]), string(raw[timeLength:])
	if nanoseconds >= 1e9 || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return at, "", false
	}
	return time.Unix(seconds, int64(nanoseconds)), id, true
}
