package redirecturi_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

// page are the options for a member that is shown to people.
var page = redirecturi.URLOptions{Schemes: []string{"http", "https"}, AllowFragment: true}

func TestCheckURLAccepts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, raw string
		options   redirecturi.URLOptions
		host      string
	}{
		{"URI-01/https", "https://client.example/keys", redirecturi.URLOptions{}, "client.example"},
		{"URI-01/no_path", "https://client.example", redirecturi.URLOptions{}, "client.example"},
		{"URI-01/http", "http://client.example/privacy", page, "client.example"},
		{"URI-01/query", "https://client.example/logo.png?v=2", page, "client.example"},
		{"URI-01/fragment", "https://client.example/tos.html#s1", page, "client.example"},
		{"URI-01/host_case_and_port", "https://CLIENT.example:8443/", page, "client.example"},
		{"URI-01/scheme_case", "HTTPS://client.example/", page, "client.example"},
		{"URI-01/ipv4", "https://192.0.2.1/", page, "192.0.2.1"},
		{"URI-01/ipv6", "https://[2001:DB8::1]:8443/", page, "2001:db8::1"},
		{"URI-01/mapped_ipv4", "https://[::ffff:10.0.0.1]/", page, "::ffff:10.0.0.1"},
		{"URI-01/localhost", "https://localhost/", page, "localhost"},
		{"URI-01/punycode", "https://xn--bcher-kva.example/", page, "xn--bcher-kva.example"},
		{"URI-01/dot_segments", "https://client.example/a/../b", page, "client.example"},
		{"URI-01/asterisk", "https://client.example/*", page, "client.example"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			host, err := redirecturi.CheckURL(row.raw, row.options)
			require.NoError(t, err)
			require.Equal(t, row.host, host)
		})
	}
}

func TestCheckURLRefuses(t *testing.T) {
	t.Parallel()
	const noPage = "is not an http or https URL"
	for _, row := range []struct {
		name, raw string
		options   redirecturi.URLOptions
		phrase    string
	}{
		{"URI-01/empty", "", page, "is empty"},
		{"URI-01/relative", "/about", page, noPage},
		{"URI-01/network_path", "//evil.example/tos", page, noPage},
		{"URI-01/words", "our home page", page, control},
		{"URI-01/javascript", "javascript:alert(1)", page, noPage},
		{"URI-01/javascript_case", "JavaScript:alert(document.cookie)", page, noPage},
		{"URI-01/data", "data:image/svg+xml;base64,PHN2Zz4=", page, noPage},
		{"URI-01/ftp", "ftp://client.example/policy", page, noPage},
		{"URI-01/private_use", "com.example.app:/cb", page, noPage},
		{"URI-01/http_where_https", "http://client.example/keys", redirecturi.URLOptions{}, "is not an https URL"},
		{"URI-01/no_slashes", "https:client.example", page, noHost},
		{"URI-01/host_missing", "https:///logo.png", page, noHost},
		{"URI-01/host_malformed", "https://256.256.256.256/", page, badHost},
		{"URI-01/host_number", "https://2130706433/", page, badHost},
		{"URI-01/host_trailing_dot", "https://localhost./", page, badHost},
		{"URI-01/punycode", "https://xn--/", page, punycode},
		{"URI-01/zone", "https://[fe80::1%25eth0]/", page, "has an IPv6 address with a zone"},
		{"URI-01/user", "https://user@host/", page, userInfo},
		{"URI-01/user_empty", "https://@host/", page, userInfo},
		{"URI-01/percent", "https://client.example/%zz", page, percent},
		{"URI-01/percent_in_fragment", "https://client.example/#%z", page, percent},
		{"URI-01/backslash", `https:\\client.example\logo.png`, page, "has a backslash"},
		{"URI-01/quote", `https://client.example/"><script>`, page, character},
		{"URI-01/brackets_in_fragment", "https://client.example/#[1]", page, character},
		{"URI-01/newline", "https://client.example/tos\nX-Injected: 1", page, control},
		{"URI-01/non_ascii", "https://client.example/\u00fc", page, nonASCII},
		{"URI-01/port", "https://client.example:65536/", page, badPort},
		{"URI-01/port_empty", "https://client.example:/", page, badPort},
		{"URI-01/fragment", "https://client.example/bc#x", redirecturi.URLOptions{}, fragment},
		{"URI-01/fragment_empty", "https://client.example/bc#", redirecturi.URLOptions{}, fragment},
		{"7591-2-22/2049_bytes", padded(2049), page, "is longer than 2048 bytes"},
		{"7591-2-22/length", padded(41), redirecturi.URLOptions{MaxLength: 40}, "is longer than 40 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			host, err := redirecturi.CheckURL(row.raw, row.options)
			require.EqualError(t, err, row.phrase)
			require.Empty(t, host)
		})
	}
}
