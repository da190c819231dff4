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
	if !isASCII(name) || len(name) > LongestName || strings.ContainsFunc(name, unicode.IsControl) {
		name = norm.NFKC.String(strings.Map(withoutSelectors, Line(name)))
		name = cases.Fold().String(name)
	}
	return strings.Join(strings.Fields(strings.ToLower(name)), " ")
}

// withoutSelectors leaves out what only chooses the form of the characters beside it.
func withoutSelectors(c rune) rune {
	if isJoiner(c) || unicode.Is(unicode.Variation_Selector, c) {
		return -1
	}
	return c
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 })
}
