// Package plaintext makes the names and hosts that clients choose fit to be shown to users, and to be
// compared.
//
// Line makes one line of a text, without characters that can't be seen or that change the order of others.
// Key is what the names have in common that people take for one another. Host and RedirectHost show where
// a URL leads, in ASCII. What they return is text, not HTML: a page escapes it.
package plaintext

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const (
	// LongestName is how many characters of a text Line returns, besides the sign that it was cut.
	LongestName = 80
	// LongestInput is how many bytes of a text are looked at. What follows is left out.
	LongestInput = 4096

	// mostMarks is how many marks one letter keeps, so that they do not cover the lines above (T21).
	mostMarks = 4
)

// Line returns a text of a client as one line: white space is one space, and what can't be seen is left
// out. It cuts the line after LongestName characters. The result is valid UTF-8, empty where nothing of
// the text can be seen, and it is the Line of itself (T21).
func Line(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), LongestInput)], "")
	s = norm.NFC.String(strings.Map(seen, s))
	if kept := withoutPiles(s); len(kept) != len(s) {
		s = norm.NFC.String(kept) // what stood between two characters may be gone
	}
	return Clip(strings.TrimRight(strings.Join(strings.Fields(s), " "), "\u200c\u200d"), LongestName)
}

// seen returns a space for white space, and -1 for what leaves no mark of its own.
func seen(c rune) rune {
	switch {
	case unicode.IsSpace(c) || c == 0x2800: // the empty Braille pattern
		return ' '
	case isUnseen(c):
		return -1
	}
	return c
}

// withoutPiles leaves out marks and joiners that stand on nothing, joiners that follow a joiner, and what
// is more than mostMarks on one letter.
func withoutPiles(s string) string {
	var line strings.Builder
	line.Grow(len(s))
	marks, joined := mostMarks, true // at the beginning there is nothing to mark or to join
	for _, c := range s {
		marks++
		mark := unicode.In(c, unicode.Mn, unicode.Me)
		switch {
		case c == ' ':
			marks, joined = mostMarks, true
		case isJoiner(c) && joined, mark && marks > mostMarks:
			continue
		case isJoiner(c):
			joined = true
		case !mark:
			marks, joined = 0, false
		}
		line.WriteRune(c)
	}
	return line.String()
}

// isJoiner reports whether c joins or parts the letters beside it, in Persian, in the scripts of India, in
// pictures of families.
func isJoiner(c rune) bool { return c == 0x200c || c == 0x200d }

// isUnseen reports whether c leaves no mark of its own: controls, direction, separators, fillers. Characters
// of private use are among them, since some fonts have logos there.
func isUnseen(c rune) bool {
	return !isJoiner(c) && !unicode.Is(unicode.Prepended_Concatenation_Mark, c) &&
		unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) ||
		c == unicode.ReplacementChar || c == 0xfffc || c == 0x1d159 // an object, a musical note without a head
}

// Clip returns a text of up to limit characters as it is, and the beginning of a longer one, which
// would push what matters off the page, with "…" behind it. It does not cut a character as readers see it,
// unless that is longer than the limit. A negative limit is 0.
func Clip(s string, limit int) string {
	limit = max(limit, 0)
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	end := limit
	for end > 0 && isInside(runes, end) {
		end--
	}
	if end == 0 {
		end = limit
	}
	return strings.TrimRight(string(runes[:end]), " ") + "…"
}

// isInside reports whether the characters at i-1 and i belong together: a letter and its marks, a picture
// and its skin tone, what a joiner joins, the two letters of a flag.
func isInside(runes []rune, i int) bool {
	c := runes[i]
	if unicode.IsMark(c) || isJoiner(c) || runes[i-1] == 0x200d || c >= 0x1f3fb && c <= 0x1f3ff {
		return true
	}
	letters := 0
	for ; letters < i && unicode.Is(unicode.Regional_Indicator, runes[i-1-letters]); letters++ {
	}
	return unicode.Is(unicode.Regional_Indicator, c) && letters%2 == 1
}

// writtenTogether are the scripts that are written in one word (Unicode Technical Standard 39, section 5.2,
// highly restrictive).
var writtenTogether = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Latin, unicode.Han, unicode.Bopomofo},
	{unicode.Latin, unicode.Han, unicode.Hangul},
}

// MixesScripts reports whether one word of a text has letters of scripts that nobody writes in one word, as
// names do that are to be taken for others (T21). It is for names that Line has shortened.
func MixesScripts(text string) bool {
	between := func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsMark(c) && !isJoiner(c) }
	return slices.ContainsFunc(strings.FieldsFunc(text, between), isMixed)
}

func isMixed(word string) bool {
	within := func(scripts []*unicode.RangeTable) bool {
		return !strings.ContainsFunc(word, func(c rune) bool { return hasScript(c) && !unicode.In(c, scripts...) })
	}
	first := strings.IndexFunc(word, hasScript)
	return first >= 0 && !slices.ContainsFunc(writtenTogether, within) && !within(scriptOf([]rune(word[first:])[0]))
}

// hasScript reports whether c is of one script, and not a mark or a letter that many share.
func hasScript(c rune) bool { return !unicode.In(c, unicode.Common, unicode.Inherited) }

// scriptOf returns the script of a letter; none for what Unicode did not know yet.
func scriptOf(c rune) []*unicode.RangeTable {
	for _, script := range unicode.Scripts {
		if unicode.Is(script, c) {
			return []*unicode.RangeTable{script}
		}
	}
	return nil
}
