package plaintext_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/idna"

	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
)

const (
	isPunycode = " is the technical form of a name with letters other than a to z, which can look like another name"
	isPrivate  = " is an address that is not on the public internet"
)

// TestHostInPunycode: no letters of an internationalised name are shown, whatever they look like.
func TestHostInPunycode(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{
		"german": "münchen.example", "vietnamese": "tiếng-việt.example", "polish": "łódź.example", "russian": "пример.example",
		"russian_lookalike_under_its_tld": "сор.рф", "greek": "παράδειγμα.example", "japanese": "東京のストアー.example",
		"japanese_with_latin": "abcストア.example", "korean_with_latin": "kt한국.example", "thai": "ไทย.example", "hindi": "हिन्दी.example",
		"arabic": "مثال.إختبار", "hebrew": "דוגמה.טעסט", "each_label_by_itself": "пример.münchen.example", "last_label": "example.рф",
		"cyrillic_apple": "аррӏе.com", "greek_lookalike": "ηακ.com", "armenian_lookalike": "ոսւ.com", "lookalike_with_digits": "аррӏе24.com",
		"cyrillic_in_latin": "аpple.example", "greek_in_latin": "gοogle.example", "over_a_hyphen": "google-рф.example", "cyrillic_and_greek": "жω.example",
		"persian_digit": "app۵.example", "devanagari_digit": "app०.example", "phonetic_g": "ɡoogle.example", "dotless_i": "pıng.example",
		"thorn": "þing.example", "click": "goǃ.example", "hawaiian_letter": "hawaiʻi.example", "stroke": "go\u0338ogle.example",
		"slash_of_kana": "googleノcom.example", "hyphen_of_han": "google一com.example", "kana_without_kana": "google一login.example",
		"cherokee": "ꮪꮲ.example", "snowman": "☃.example", "right_to_left_in_left_to_right": "דוגמה.example", "joiner": "نامه\u200cای.example",
	} {
		t.Run("RU-11/"+name, func(t *testing.T) {
			t.Parallel()
			ascii, err := idna.Lookup.ToASCII(host)
			require.NoError(t, err)
			for _, given := range []string{ascii, strings.ToUpper(ascii), host} {
				shown, remark := plaintext.Host(given)
				require.Equal(t, ascii, shown)
				require.Equal(t, ascii+isPunycode, remark)
			}
		})
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ host, shown, remark string }{
		"T20/ascii":             {"app.example", "app.example", ""},
		"T20/upper_case":        {"App.EXAMPLE", "app.example", ""},
		"T20/underscore":        {"a_b.example", "a_b.example", ""},
		"T20/full_width":        {"ａｐｐ.example", "app.example", ""},
		"T20/hyphens":           {"a--b.xn.example", "a--b.xn.example", ""},
		"T20/inside_a_label":    {"axn--b.example", "axn--b.example", ""},
		"T20/empty":             {"", "", ""},
		"RU-11/private_ip":      {"10.0.0.1", "10.0.0.1", "10.0.0.1" + isPrivate},
		"RU-11/full_width_ip":   {"１０.0.0.1", "10.0.0.1", "10.0.0.1" + isPrivate},
		"RU-11/link_local":      {"169.254.169.254", "169.254.169.254", "169.254.169.254" + isPrivate},
		"RU-11/private_ipv6":    {"fd00::1", "[fd00::1]", "[fd00::1]" + isPrivate},
		"RU-11/mapped":          {"::ffff:10.0.0.1", "[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]" + isPrivate},
		"RU-11/zone":            {"fe80::1%eth0", "[fe80::1%25eth0]", "[fe80::1%25eth0]" + isPrivate},
		"RU-11/public_ip":       {"8.8.8.8", "8.8.8.8", ""},
		"RU-11/public_ipv6":     {"2001:4860::1", "[2001:4860::1]", ""},
		"T50/loopback":          {"127.0.0.1", "127.0.0.1", ""},
		"T50/loopback_ipv6":     {"::1", "[::1]", ""},
		"T50/localhost":         {"localhost", "localhost", ""},
		"stored/decimal_ip":     {"2130706433", "2130706433", ""},
		"stored/bad_punycode":   {"xn--", "xn--", "xn--" + isPunycode},
		"stored/bad_punycode_2": {"xn--a.example", "xn--a.example", "xn--a.example" + isPunycode},
		"stored/bidi":           {"a\u202eb.example", "a%E2%80%AEb.example", ""},
		"stored/space":          {"a b\n.example", "a+b%0A.example", ""},
		"stored/not_utf8":       {"a\xff.example", "a%EF%BF%BD.example", ""},
		"stored/no_ipv6":        {"a:b\u202e", "[a:b%E2%80%AE]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown, remark := plaintext.Host(c.host)
			require.Equal(t, c.shown, shown)
			require.Equal(t, c.remark, remark)
		})
	}
	t.Run("T20/long_host_shows_its_domain", func(t *testing.T) {
		t.Parallel()
		shown, _ := plaintext.Host("google.com." + strings.Repeat("a.", 5000) + "evil.example")
		require.True(t, strings.HasPrefix(shown, "..."))
		require.True(t, strings.HasSuffix(shown, ".a.evil.example"))
		require.Len(t, shown, 253)
	})
}

func TestRedirectHost(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"http://127.0.0.1:49152/cb": "127.0.0.1:49152", "https://xn--mnchen-3ya.example:8443/": "xn--mnchen-3ya.example:8443",
		"https://XN--MNCHEN-3YA.Example/cb": "xn--mnchen-3ya.example", "https://аpple.example/cb": "xn--pple-43d.example",
		"https://xn--80ak6aa92e.com/": "xn--80ak6aa92e.com", "cursor://anysphere.cursor/cb": "cursor:", "/cb": "", "https:///cb": "", "": "",
		"com.example.app:/cb": "com.example.app:", "a+b-c.d:x": "a+b-c.d:", "https://app.example:443/": "app.example", "http://localhost:80/": "localhost",
		"https://app.example:80/": "app.example:80", "http://app.example:443/": "app.example:443", "https://app.example:/": "app.example",
		"https://[2001:4860::1]:8443/client": "[2001:4860::1]:8443", "https://google.com@evil.example/cb": "evil.example",
		"https://app.example:123456/": "app.example", "javascript:alert(1)": "javascript:",
	} {
		t.Run("T20/"+uri, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(uri)
			require.NoError(t, err)
			require.Equal(t, want, plaintext.RedirectHost(u))
		})
	}
	require.Empty(t, plaintext.RedirectHost(nil))
	require.Len(t, plaintext.RedirectHost(&url.URL{Scheme: strings.Repeat("a", 1000)}), 253+len(":"))
	require.Equal(t, "%E2%80%AE:", plaintext.RedirectHost(&url.URL{Scheme: "\u202e"}))
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"app.example", "xn--mnchen-3ya.example", "münchen.example", "аpple.example", "xn--", "fe80::1%a", "10.0.0.1", "１２７.1", "a\u202eb", "\xff:", "K_.example", "\ufe0b", "Xn--~",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		shown, remark := plaintext.Host(host)
		requirePrintable(t, shown)
		requirePrintable(t, remark)
		require.Equal(t, host == "", shown == "")
		require.True(t, remark == "" || strings.HasPrefix(remark, shown+" "))
		require.LessOrEqual(t, len(shown), 253)
		if strings.HasPrefix(shown, "xn--") || strings.Contains(shown, ".xn--") {
			require.True(t, remark != "" || !plainHost(shown), "RU-11: %q", shown)
		}
		requirePrintable(t, plaintext.RedirectHost(&url.URL{Scheme: "https", Host: host}))
		requirePrintable(t, plaintext.RedirectHost(&url.URL{Scheme: host}))
	})
}

// plainHost reports whether a shown host is all there and not escaped.
func plainHost(shown string) bool {
	return !strings.HasPrefix(shown, "...") && !strings.ContainsAny(shown, "%+[")
}

// requirePrintable: every character is one of ASCII that can be seen, or a space.
func requirePrintable(t *testing.T, s string) {
	t.Helper()
	require.False(t, strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }), "%+q", s)
}
