package members_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
)

func TestRules(t *testing.T) {
	t.Parallel()
	type claims map[string]string
	bound := limits()
	bound.URI = 30
	for _, rule := range []struct {
		name  string
		judge members.Rule
		// claims are values, each with the phrase that it gets.
		claims claims
	}{
		{"RedirectURI", members.RedirectURI, claims{
			"https://a.example/cb":            "",
			"http://127.0.0.1:1/":             "",
			"cursor://a/cb":                   "",
			"com.example.app:/cb":             "",
			"other://a/cb":                    "has a scheme without a period (register a reverse domain name scheme, RFC 8252 section 7.1)",
			"http://a.example/cb":             "uses http for a host that is not loopback",
			"https://a.example/cb#":           "has a fragment",
			"":                                "is empty",
			"https://a.example/012345678901":  "",
			"https://a.example/0123456789012": "is longer than 30 bytes",
		}},
		{"ShortName", members.ShortName, claims{
			"": "", "12345678": "", "123456789": "is longer than 8 characters", "ééééé": "is longer than 8 characters",
		}},
		{"AssertionAlgorithm", members.AssertionAlgorithm, claims{
			"RS256": "", "PS512": "", "ES384": "",
			"HS256": "is not a supported asymmetric algorithm", "none": "is not a supported asymmetric algorithm",
			"es256": "is not a supported asymmetric algorithm", "": "is not a supported asymmetric algorithm",
		}},
		{"OneOf", members.OneOf("is none of poll, ping and push", "poll", "ping", "push"), claims{
			"poll": "", "ping": "", "push": "", "pull": "is none of poll, ping and push", "": "is none of poll, ping and push",
		}},
		{"Text", members.Text, claims{
			"": "", "éééééééééé": "", "ééééééééééé": "is longer than 10 characters",
			"a\tb": "has a control character", "a\x7f": "has a control character", "a\u0085": "has a control character",
			"a\u202eb": "has a character that changes the direction of text", "\u202a": "has a character that changes the direction of text",
			"\u2066": "has a character that changes the direction of text", "\u2069": "has a character that changes the direction of text",
			"\u2029": "has a line or paragraph separator", "\u2028": "has a line or paragraph separator",
			"\u200f\u202f": "",
		}},
		{"WebURL", members.WebURL, claims{
			"https://a.example/#f": "", "http://a.example": "", "https://127.0.0.1/": "",
			"ftp://a.example": "is not an https or http URL", "https://a.example/0123456789012": "is longer than 30 bytes",
		}},
		{"FetchedURL", members.FetchedURL, claims{
			"https://a.example/":    "",
			"https://a.example/#f":  "has a fragment",
			"http://a.example/":     "is not an https URL",
			"https://127.0.0.1/":    "names an address that this server does not call",
			"https://localhost/":    "names an address that this server does not call",
			"https://10.0.0.1/":     "names an address that this server does not call",
			"https://2130706433/":   "has a host that is neither a DNS name nor an IP address",
			"https://[::1]/":        "names an address that this server does not call",
			"https://a.localhost/x": "names an address that this server does not call",
		}},
		{"FetchedURLWithFragment", members.FetchedURLWithFragment, claims{
			"https://a.example/":              "",
			"https://a.example/#f":            "",
			"http://a.example/#f":             "is not an https URL",
			"https://127.0.0.1/#f":            "names an address that this server does not call",
			"https://a.example/#012345678901": "is longer than 30 bytes",
		}},
		{"HTTPSURL", members.HTTPSURL, claims{
			"https://a.example/#f": "", "https://127.0.0.1/": "", "http://a.example/": "is not an https URL",
		}},
		{"ScopeTokens", members.ScopeTokens, claims{
			"": "", "a b:c/d": "", "123456789012": "", "1234567890123": "is longer than 12 characters",
			"a\"": "has a character that scopes can not have (RFC 6749, section 3.3)",
			`a\`:  "has a character that scopes can not have (RFC 6749, section 3.3)",
			"a\t": "has a character that scopes can not have (RFC 6749, section 3.3)",
			"é":   "has a character that scopes can not have (RFC 6749, section 3.3)",
		}},
	} {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for value, want := range rule.claims {
				require.Equal(t, want, rule.judge(bound, value), value)
			}
		})
	}
}

// Loopback is called only where the configuration allows it, and no other special address then (T10).
func TestAllowLoopback(t *testing.T) {
	t.Parallel()
	l := limits()
	l.AllowLoopback = true
	for _, judge := range []members.Rule{members.FetchedURL, members.FetchedURLWithFragment} {
		require.Empty(t, judge(l, "https://127.0.0.1/"))
		require.Empty(t, judge(l, "https://localhost/"))
		require.Equal(t, "names an address that this server does not call", judge(l, "https://10.0.0.1/"))
	}
}

// Without a bound of the configuration a URI has the default length.
func TestDefaultLengthOfURI(t *testing.T) {
	t.Parallel()
	long := "https://a.example/" + strings.Repeat("a", 2048)
	for _, judge := range []members.Rule{members.RedirectURI, members.WebURL, members.FetchedURL, members.HTTPSURL} {
		require.Equal(t, "is longer than 2048 bytes", judge(&members.Limits{}, long))
	}
}

// A rule of OneOf does not follow its arguments.
func TestOneOfCopies(t *testing.T) {
	t.Parallel()
	values := []string{"a"}
	judge := members.OneOf("is not a", values...)
	values[0] = "b"
	require.Empty(t, judge(nil, "a"))
	require.Equal(t, "is not a", judge(nil, "b"))
}
