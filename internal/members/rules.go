package members

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Limits bounds values, and has what else the rules need to know of the configuration. The numbers have no
// default here, unless they say so.
type Limits struct {
	// RedirectURIs is how many redirect URIs a client may have, for the row whose Most says so.
	RedirectURIs int
	// Elements is how many elements any other list may have.
	Elements int
	// Keys is how many keys a key set may have. Zero is keyset.DefaultKeys.
	Keys int
	// StoredKeys reads keys that an earlier version accepted: see keyset.Limits.
	StoredKeys bool
	// URI is the length of a URI in bytes. Zero is redirecturi.DefaultMaxLength.
	URI int
	// Text is the length of a text for people in characters.
	Text int
	// Name is the length of a name, such as that of a method or a grant type, in bytes.
	Name int
	// Scope is the length of a scope in bytes.
	Scope int
	// Localized is how many members with a language tag there may be.
	Localized int
	// Extension is the length of the value of an extension member in bytes.
	Extension int

	// PrivateUseSchemes are the schemes of redirect URIs that are accepted though they have no period.
	PrivateUseSchemes []string
	// AllowLoopback accepts URLs on loopback among those that the server itself calls.
	AllowLoopback bool
	// Extensions names the members that are kept although no row knows them.
	Extensions []string
	// AnyExtension keeps every unknown member.
	AnyExtension bool
}

// Stored returns new limits that bound nothing, for Set to read what a storage holds. Callers keep them.
func Stored() *Limits {
	return &Limits{
		RedirectURIs: math.MaxInt, Elements: math.MaxInt, Keys: math.MaxInt, StoredKeys: true, URI: math.MaxInt, Text: math.MaxInt,
		Name: math.MaxInt, Scope: math.MaxInt, Localized: math.MaxInt, Extension: math.MaxInt,
		AllowLoopback: true, AnyExtension: true,
	}
}

// Rule judges one value. It returns a phrase that continues the member's name ("is not an https URL"), or ""
// where the value is fine. The phrase repeats nothing of the value.
type Rule func(l *Limits, value string) string

// judge returns the phrase of the first rule that finds something wrong.
func judge(rules []Rule, l *Limits, value string) string {
	for _, rule := range rules {
		if phrase := rule(l, value); phrase != "" {
			return phrase
		}
	}
	return ""
}

// RedirectURI accepts what redirecturi.Check accepts.
func RedirectURI(l *Limits, value string) string {
	_, err := redirecturi.Check(value, redirecturi.Options{PrivateUseSchemes: l.PrivateUseSchemes, MaxLength: l.URI})
	return phrase(err)
}

// ShortName accepts a name of at most Limits.Name bytes.
func ShortName(l *Limits, value string) string {
	if len(value) > l.Name {
		return "is longer than " + strconv.Itoa(l.Name) + " characters"
	}
	return ""
}

// AssertionAlgorithm accepts the JWS algorithms that can verify a client assertion here.
func AssertionAlgorithm(_ *Limits, value string) string {
	if !slices.Contains(keyset.SupportedAlgorithms(), value) {
		return "is not a supported asymmetric algorithm"
	}
	return ""
}

// OneOf returns a rule that accepts the values, and refuses others with the phrase.
func OneOf(phrase string, values ...string) Rule {
	values = slices.Clone(values)
	return func(_ *Limits, value string) string {
		if !slices.Contains(values, value) {
			return phrase
		}
		return ""
	}
}

// Text accepts a text for people: no controls, nothing that changes the direction of what follows, no line
// separators (T21, T45), and at most Limits.Text characters.
func Text(l *Limits, value string) string {
	if utf8.RuneCountInString(value) > l.Text {
		return "is longer than " + strconv.Itoa(l.Text) + " characters"
	}
	for _, c := range value {
		if unicode.Is(unicode.Cc, c) {
			return "has a control character"
		}
		if c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return "has a character that changes the direction of text"
		}
		if c == 0x2028 || c == 0x2029 {
			return "has a line or paragraph separator"
		}
	}
	return ""
}

// WebURL accepts an https or http URL for people, which the server never calls.
func WebURL(l *Limits, value string) string {
	_, err := redirecturi.CheckURL(value, redirecturi.URLOptions{
		Schemes: []string{"https", "http"}, AllowFragment: true, MaxLength: l.URI,
	})
	return phrase(err)
}

// FetchedURL accepts an https URL without a fragment that the server itself may call: its host shows no
// address of a special network (T10).
func FetchedURL(l *Limits, value string) string {
	host, err := redirecturi.CheckURL(value, redirecturi.URLOptions{
		Schemes: []string{"https"}, MaxLength: l.URI,
	})
	if err == nil && outbound.SpecialHost(host) && !(l.AllowLoopback && outbound.LoopbackHost(host)) {
		return "names an address that this server does not call"
	}
	return phrase(err)
}

// FetchedURLWithFragment accepts what FetchedURL accepts, with or without a fragment.
func FetchedURLWithFragment(l *Limits, value string) string {
	base, _, _ := strings.Cut(value, "#")
	if fault := FetchedURL(l, base); fault != "" {
		return fault
	}
	return HTTPSURL(l, value)
}

// HTTPSURL accepts an https URL, with or without a fragment.
func HTTPSURL(l *Limits, value string) string {
	_, err := redirecturi.CheckURL(value, redirecturi.URLOptions{Schemes: []string{"https"}, AllowFragment: true, MaxLength: l.URI})
	return phrase(err)
}

// ScopeTokens accepts scopes divided by spaces, of at most Limits.Scope bytes.
func ScopeTokens(l *Limits, value string) string {
	if len(value) > l.Scope {
		return "is longer than " + strconv.Itoa(l.Scope) + " characters"
	}
	for _, c := range []byte(value) {
		// RFC 6749, section 3.3: scope-token, and the space that divides them.
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return "has a character that scopes can not have (RFC 6749, section 3.3)"
		}
	}
	return ""
}

func phrase(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
