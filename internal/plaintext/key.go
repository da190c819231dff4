package plaintext

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Key returns what names have in common that people take for one another, to search and count by: case,
// width, repeated spaces and what can't be seen do not count. It is the Key of itself. Names that differ
// only after LongestName characters have one Key.
func Key(name string) string {
	if isPlain(name) {
		return lower(name)
	}
	key := onceKey(name)
	for range mostRounds { // NFKC makes spaces and marks, which Line drops
		next := onceKey(key)
		if next == key {
			break
		}
		key = next
	}
	return key
}

// mostRounds is how often a key is made of a key at most, until it does not change any more.
const mostRounds = 4

func onceKey(name string) string {
	if !isPlain(name) {
		name = norm.NFKC.String(strings.Map(withoutSelectors, Line(name)))
		name = cases.Fold().String(name)
	}
	return lower(name)
}

func lower(name string) string { return strings.Join(strings.Fields(strings.ToLower(name)), " ") }

// withoutSelectors leaves out what only chooses the form of the characters beside it.
func withoutSelectors(c rune) rune {
	if isJoiner(c) || unicode.Is(unicode.Variation_Selector, c) {
		return -1
	}
	return c
}

// isPlain reports whether a name is short, and ASCII without control characters.
func isPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return len(name) <= LongestName
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 })
}
