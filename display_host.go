package dcr

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// RedirectHost returns what a consent page shows of a redirect URI: host and port of a web
// address, the scheme and a colon of any other, nothing of what is no URI.
//
// A host name is shown in its own letters only where they can't be taken for others;
// otherwise it stays in punycode ("xn--80ak6aa92e.com"), as browsers show it.
func RedirectHost(uri *url.URL) string {
	switch {
	case uri == nil || uri.Scheme == "":
		return ""
	case !isWeb(uri):
		return tail(uri.Scheme) + ":"
	}
	shown, _ := showHost(uri.Hostname())
	if shown == "" {
		return ""
	}
	return shown + portOf(uri)
}

func isWeb(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "http" }

// portOf returns the port of a web address with its colon, where it says something.
func portOf(u *url.URL) string {
	port := u.Port()
	if port == "" || len(port) > 5 || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return ""
	}
	return ":" + port
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
