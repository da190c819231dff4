package consent

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

const (
	longestName = 80 // characters that are shown
	mostMarks   = 4  // on one letter, so that they do not cover the lines above
)

// line makes a text of strangers fit to be shown: what the rule text refuses is left
// out, and so is what else can't be seen; what remains is one line of bounded length.
func line(s string) string {
	s = s[:min(len(s), longestInput)]
	var shown []rune
	marks, joined := mostMarks, true // at the beginning there is nothing to mark or to join
	for _, c := range norm.NFC.String(strings.ToValidUTF8(s, "")) {
		marks++
		switch {
		case unicode.IsSpace(c) || c == 0x2800: // the empty Braille pattern
			c, marks, joined = ' ', mostMarks, true
		case isJoiner(c) && joined, isUnseen(c), unicode.In(c, unicode.Mn, unicode.Me) && marks > mostMarks:
			continue
		case isJoiner(c):
			joined = true
		case !unicode.In(c, unicode.Mn, unicode.Me):
			marks, joined = 0, false
		}
		shown = append(shown, c)
	}
	return clip(strings.TrimRight(strings.Join(strings.Fields(string(shown)), " "), "\u200c\u200d"), longestName)
}

// isJoiner reports whether c joins or parts the letters beside it, in Persian, in the
// scripts of India, in pictures of families.
func isJoiner(c rune) bool { return c == 0x200c || c == 0x200d }

// isUnseen reports whether c leaves no mark of its own: controls, direction, separators,
// fillers. Characters of private use are among them, since some fonts have logos there.
func isUnseen(c rune) bool {
	return !isJoiner(c) && !unicode.Is(unicode.Prepended_Concatenation_Mark, c) &&
		unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) ||
		c == unicode.ReplacementChar || c == 0xfffc || c == 0x1d159 // an object, a musical note without a head
}

// clip shortens a text that would push what matters off the page, at a place where it does
// not cut a character as readers see it.
func clip(s string, limit int) string {
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

// isInside reports whether the characters at i-1 and i belong together: a letter and its
// marks, a picture and its skin tone, what a joiner joins, the two letters of a flag.
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

// longestHost is how many characters a host name has at most. Of what is longer the end is
// shown, where the domain is.
const longestHost = 253

func tail(s string) string {
	if len(s) > longestHost {
		return "…" + s[len(s)-longestHost:]
	}
	return s
}

// showHost returns a host, without a port, as it may be shown, and what is suspicious about
// it (RU-11).
func showHost(host string) (shown, remark string) {
	if ascii, err := idna.Lookup.ToASCII(host); !isASCII(host) && err == nil {
		host = ascii
	}
	host = strings.ToLower(host)
	switch {
	case host == "":
		return "", ""
	case strings.Contains(host, ":"):
		shown = tail("[" + url.PathEscape(host) + "]")
	case len(host) > longestHost, strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "":
		return tail(url.QueryEscape(host)), "" // no host at all, which the caller has remarked on
	default:
		shown, remark = showName(host)
	}
	if _, err := netip.ParseAddr(host); err == nil && outbound.SpecialHost(host) && !outbound.LoopbackHost(host) {
		remark = shown + " is an address that is not on the public internet"
	}
	return shown, remark
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 })
}

// showName shows a host name in letters where every label allows it.
func showName(host string) (shown, remark string) {
	labels := strings.Split(host, ".")
	toRight, toLeft := false, false
	for i, label := range labels {
		labels[i] = fromPunycode(label)
		toRight = toRight || !scriptsOf(labels[i]).has(rightToLeft)
		toLeft = toLeft || scriptsOf(labels[i]).has(rightToLeft)
	}
	last := scriptsOf(labels[len(labels)-1])
	plain := !(toRight && toLeft) // else the labels would not stand in their order
	for _, label := range labels {
		switch {
		case isASCII(label):
		case scriptsOf(label).mixed():
			return host, host + " mixes letters of different scripts in one label"
		case posesAsLatin(label, last):
			return host, host + " looks like a name in Latin letters, but is written in others"
		case !isEveryday(label):
			plain = false
		}
	}
	if !plain {
		return host, ""
	}
	return strings.Join(labels, "."), ""
}

// fromPunycode decodes a label that stands for a name outside ASCII, if it is the one
// spelling of it.
func fromPunycode(label string) string {
	name, err := idna.Lookup.ToUnicode(label)
	if err != nil || !strings.HasPrefix(label, "xn--") {
		return label
	}
	if back, err := idna.Lookup.ToASCII(name); err != nil || back != label {
		return label
	}
	return name
}

// scriptSet is a set of scripts, by their place in the list.
type scriptSet uint32

// The scripts that people write names in today (Unicode Standard Annex 31, table 5); what is
// of none of them is of otherScript.
const (
	latin scriptSet = 1 << iota
	cyrillic
	greek
	armenian
	han
	hiragana
	katakana
	hangul
	bopomofo
	arabic
	hebrew
	thaana

	otherScript scriptSet = 1 << 31

	rightToLeft = arabic | hebrew | thaana
)

var scripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Hangul, unicode.Bopomofo, unicode.Arabic, unicode.Hebrew, unicode.Thaana,
	unicode.Bengali, unicode.Devanagari, unicode.Ethiopic, unicode.Georgian, unicode.Gujarati, unicode.Gurmukhi,
	unicode.Kannada, unicode.Khmer, unicode.Lao, unicode.Malayalam, unicode.Myanmar, unicode.Oriya, unicode.Sinhala,
	unicode.Tamil, unicode.Telugu, unicode.Thai, unicode.Tibetan,
}

func (s scriptSet) has(any scriptSet) bool { return s&any != 0 }

func (s scriptSet) within(all scriptSet) bool { return s&^all == 0 }

// scriptsOf returns the scripts of a text. Digits, punctuation and marks that many scripts
// share are of none.
func scriptsOf(text string) scriptSet {
	var set scriptSet
	for _, c := range text {
		set |= scriptOf(c)
	}
	return set
}

func scriptOf(c rune) scriptSet {
	for i, table := range scripts {
		if unicode.Is(table, c) {
			return 1 << i
		}
	}
	if unicode.In(c, unicode.Common, unicode.Inherited) {
		return 0
	}
	return otherScript
}

// mixed reports whether nobody writes these scripts in one word (Unicode Technical Standard
// 39, section 5.2, highly restrictive).
func (s scriptSet) mixed() bool {
	return s&(s-1) != 0 && !s.within(latin|han|hiragana|katakana) && !s.within(latin|han|bopomofo) && !s.within(latin|han|hangul)
}

// mixesScripts reports whether one word of a text does.
func mixesScripts(text string) bool {
	between := func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsMark(c) && !isJoiner(c) }
	return slices.ContainsFunc(strings.FieldsFunc(text, between), func(word string) bool { return scriptsOf(word).mixed() })
}

// posesAsLatin reports whether a label is written in another script with nothing but letters
// that look like Latin ones. Under a top-level domain of that script nobody expects Latin.
func posesAsLatin(label string, last scriptSet) bool {
	s := scriptsOf(label)
	if !s.has(cyrillic|greek|armenian) || s.within(last) {
		return false
	}
	return !strings.ContainsFunc(label, func(c rune) bool { return c >= 0x80 && !strings.ContainsRune(looksLatin, c) })
}

const looksLatin = "аысԁеԍһіюјӏорԗԛѕԝхуъьҽпгѵѡ" + // Cyrillic
	"αικνρυωηοτ" + // Greek
	"ագզէլհյոսւօ" // Armenian

// isEveryday reports whether a label has only letters, marks and digits that readers know as
// what they are.
func isEveryday(label string) bool {
	s := scriptsOf(label)
	for _, c := range label {
		switch {
		case c < 0x80:
		case scriptOf(c) == otherScript, !unicode.In(c, unicode.L, unicode.M, unicode.Nd), isJoiner(c):
			return false
		case scriptOf(c) == latin:
			if !isEverydayLatin(c) {
				return false
			}
		case scriptOf(c) == 0 && unicode.IsLetter(c) && !s.has(hiragana|katakana):
			return false
		case scriptOf(c) == 0 && unicode.IsMark(c) && s.has(latin|cyrillic|greek|armenian):
			return false // a stroke through a letter makes it another one
		case s.has(latin) && strings.ContainsRune(looksLikeStrokes, c):
			return false
		}
	}
	return true
}

// isEverydayLatin leaves out phonetic and historical letters, and those that are taken for
// i, k, p and s.
func isEverydayLatin(c rune) bool {
	switch c {
	case 'ı', 'ĸ', 'ŉ', 'ſ', 'þ', 'ƿ', 'ƨ', 'ƽ', 'ǀ', 'ǁ', 'ǂ', 'ǃ':
		return false
	}
	return c < 0x250 || c >= 0x1e00 && c <= 0x1eff
}

// looksLikeStrokes are letters that beside Latin ones read as a slash, a hyphen or a dot.
const looksLikeStrokes = "ノンソゾ一ー丶丿乀乁〆・"
