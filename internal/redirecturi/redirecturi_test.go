package redirecturi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

const (
	plainHTTP  = "uses http for a host that is not loopback"
	spelled    = "spells a loopback address in another way than 127.0.0.1 or [::1]"
	badHost    = "has a host that is neither a DNS name nor an IP address"
	badPort    = "has a port that is not a plain number from 1 to 65535"
	forbidden  = "has a scheme that leads to no client"
	noPeriod   = "has a scheme without a period (register a reverse domain name scheme, RFC 8252 section 7.1)"
	relative   = "is not an absolute URI"
	noHost     = "has no host"
	userInfo   = "has user information"
	control    = "has white space or a control character"
	nonASCII   = "has a character outside ASCII (encode it with percent signs, a host name with punycode)"
	percent    = "has a percent sign that two hexadecimal digits do not follow"
	character  = "has a character that is not allowed where it stands in a URI"
	dotSegment = "has a dot segment in its path"
	fragment   = "has a fragment"
	wildcard   = "has an asterisk (redirect URIs are compared as they stand, without wildcards)"
	punycode   = "has a host with an invalid punycode label"
	rootless   = "has neither a host nor a path that begins with a slash"
)

var listed = []string{"cursor", "VSCode", "javascript", "data", "urn", "http"}

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, raw string
		kind      redirecturi.Kind
	}{
		{"RU-01/https", "https://client.example/cb", redirecturi.HTTPS},
		{"RU-01/no_path", "https://client.example", redirecturi.HTTPS},
		{"RU-01/query", "https://client.example/cb?tenant=a%20b&x=1", redirecturi.HTTPS},
		{"RU-01/empty_query", "https://client.example/cb?", redirecturi.HTTPS},
		{"RU-01/encoded_number_sign", "https://client.example/cb%23x", redirecturi.HTTPS},
		{"RU-03/loopback", "http://127.0.0.1/cb", redirecturi.LoopbackIP},
		{"RU-03/loopback_port", "http://127.0.0.1:49152/cb", redirecturi.LoopbackIP},
		{"RU-03/loopback_last_address", "http://127.255.255.255/cb", redirecturi.LoopbackIP},
		{"RU-03/loopback_ipv6", "http://[::1]:51004/cb", redirecturi.LoopbackIP},
		{"RU-03/loopback_ipv6_no_path", "http://[::1]:53271", redirecturi.LoopbackIP},
		{"RU-03/loopback_https", "https://127.0.0.1/cb", redirecturi.HTTPS},
		{"RU-05/host_case", "https://CLIENT.Example/CB", redirecturi.HTTPS},
		{"RU-05/host_underscore", "https://my_client.example/cb", redirecturi.HTTPS},
		{"RU-05/host_hyphen", "https://my-client--1.example/cb", redirecturi.HTTPS},
		{"RU-05/host_single_label", "https://intranet/cb", redirecturi.HTTPS},
		{"RU-05/host_digits_first", "https://3.example/cb", redirecturi.HTTPS},
		{"RU-05/host_label_63", "https://" + strings.Repeat("a", 63) + ".example/cb", redirecturi.HTTPS},
		{"RU-05/host_253", "https://" + strings.Repeat("abc.", 63) + "d/cb", redirecturi.HTTPS},
		{"RU-05/host_0x_not_last", "https://0x7f.example/cb", redirecturi.HTTPS},
		{"RU-05/host_0x_not_hex", "https://client.0xyz/cb", redirecturi.HTTPS},
		{"RU-05/ipv4", "https://10.1.2.3/cb", redirecturi.HTTPS},
		{"RU-05/ipv6", "https://[2001:DB8::1]:8443/cb", redirecturi.HTTPS},
		{"RU-05/dots_in_segment", "https://client.example/..cb/a...b/.well-known", redirecturi.HTTPS},
		{"RU-05/dots_in_query", "https://client.example/cb?next=/../x", redirecturi.HTTPS},
		{"RU-05/at_sign_in_path", "https://client.example/@me?as=a@b.example", redirecturi.HTTPS},
		{"RU-06/one_slash", "com.example.app:/cb", redirecturi.PrivateUse},
		{"RU-06/bare_slash", "io.example.android:/", redirecturi.PrivateUse},
		{"RU-06/authority", "com.example.app://cb/path", redirecturi.PrivateUse},
		{"RU-06/authority_alone", "com.example.app://cb", redirecturi.PrivateUse},
		{"RU-06/query", "com.example.app:/cb?a=b", redirecturi.PrivateUse},
		{"RU-06/hyphen_and_digits", "com.example-2.app:/cb", redirecturi.PrivateUse},
		{"RU-06/listed", "cursor://anysphere.cursor-mcp/oauth/callback", redirecturi.PrivateUse},
		{"RU-06/listed_in_other_case", "vscode://publisher.extension/cb/3f8a1c77", redirecturi.PrivateUse},
		{"RU-08/localhost", "http://localhost/callback", redirecturi.Localhost},
		{"RU-08/localhost_port", "http://localhost:3118/callback", redirecturi.Localhost},
		{"RU-08/localhost_no_path", "http://localhost:4242", redirecturi.Localhost},
		{"RU-08/localhost_query", "http://localhost:3000/?state=5f0f4a9e", redirecturi.Localhost},
		{"RU-08/localhost_case", "http://LOCALHOST:3000/cb", redirecturi.Localhost},
		{"RU-08/localhost_https", "https://localhost/cb", redirecturi.HTTPS},
		{"RU-11/punycode", "https://xn--bcher-kva.example/cb", redirecturi.HTTPS},
		{"RU-11/punycode_case", "https://XN--BCHER-KVA.example/cb", redirecturi.HTTPS},
		{"RU-11/punycode_mixed_script", "https://xn--clint-1we.example/cb", redirecturi.HTTPS},
		{"RU-11/punycode_emoji", "https://xn--ls8h.example/cb", redirecturi.HTTPS},
		{"RU-11/punycode_right_to_left", "https://xn--mgbh0fb.xn--kgbechtv/cb", redirecturi.HTTPS},
		{"RU-13/path_characters", "https://client.example/a-._~!$&'()+,;=:@%7E//b/", redirecturi.HTTPS},
		{"RU-13/query_characters", "https://client.example/?a-._~!$&'()+,;=:@/?%5B%5d", redirecturi.HTTPS},
		{"RU-13/colon_in_path", "http://localhost:3000/oauth/clients/mcp:weather/callback", redirecturi.Localhost},
		{"RU-13/port_1", "https://client.example:1/cb", redirecturi.HTTPS},
		{"RU-13/port_65535", "https://client.example:65535/cb", redirecturi.HTTPS},
		{"7591-2-22/2048_bytes", padded(2048), redirecturi.HTTPS},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			kind, err := redirecturi.Check(row.raw, redirecturi.Options{PrivateUseSchemes: listed})
			require.NoError(t, err)
			require.Equal(t, row.kind, kind)
			require.True(t, redirecturi.Matches(row.raw, row.raw, false))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, raw, phrase string }{
		{"RU-01/empty", "", "is empty"},
		{"RU-01/path", "/cb", relative},
		{"RU-01/query_only", "?code=x", relative},
		{"RU-01/network_path", "//client.example/cb", relative},
		{"RU-01/host_only", "client.example/cb", relative},
		{"RU-01/host_and_port", "client.example:8080/cb", rootless},
		{"RU-01/scheme_digit", "1app:/cb", relative},
		{"RU-01/scheme_empty", ":/cb", relative},
		{"RU-01/scheme_underscore", "my_app.example:/cb", relative},
		{"RU-01/entity_for_colon", "javascript&colon;alert(1)", relative},
		{"RU-01/fragment", "https://client.example/cb#state", fragment},
		{"RU-01/fragment_empty", "https://client.example/cb#", fragment},
		{"RU-01/fragment_after_query", "https://client.example/cb?x=1#_=_", fragment},
		{"RU-01/fragment_twice", "https://client.example/cb#a#b", character},
		{"RU-01/fragment_without_path", "https://client.example#", fragment},
		{"RU-01/fragment_private_use", "com.example.app:/cb#x", fragment},
		{"RU-02/host", "https://*.example.com/cb", wildcard},
		{"RU-02/middle_label", "https://client.*.example/cb", wildcard},
		{"RU-02/port", "http://localhost:*/cb", wildcard},
		{"RU-02/path", "https://client.example/*", wildcard},
		{"RU-02/query", "https://client.example/cb?*", wildcard},
		{"RU-02/alone", "*", wildcard},
		{"RU-03/remote", "http://client.example/cb", plainHTTP},
		{"RU-03/remote_443", "http://client.example:443/cb", plainHTTP},
		{"RU-03/private_network", "http://192.168.1.20:8080/cb", plainHTTP},
		{"RU-03/link_local", "http://[fe80::1]/cb", plainHTTP},
		{"RU-03/unspecified", "http://0.0.0.0/cb", plainHTTP},
		{"RU-03/unspecified_ipv6", "http://[::]/cb", plainHTTP},
		{"RU-03/next_to_loopback", "http://128.0.0.1/cb", plainHTTP},
		{"RU-03/literal_as_prefix", "http://127.0.0.1.evil.example/cb", plainHTTP},
		{"RU-03/localhost_as_prefix", "http://localhost.evil.example/cb", plainHTTP},
		{"RU-03/below_localhost", "http://app.localhost/cb", plainHTTP},
		{"RU-03/localhost_dot", "http://localhost./cb", badHost},
		{"RU-03/localhost_encoded_dot", "http://localhost%2eevil.example/cb", badHost},
		{"RU-03/localhost_encoded", "http://%6cocalhost/cb", badHost},
		{"RU-03/decimal_ipv4", "http://2130706433/cb", badHost},
		{"RU-03/octal_ipv4", "http://0177.0.0.1/cb", badHost},
		{"RU-03/hexadecimal_ipv4", "http://0x7f.0.0.1/cb", badHost},
		{"RU-03/hexadecimal_number", "http://0x7F000001/cb", badHost},
		{"RU-03/hexadecimal_nothing", "http://0x/cb", badHost},
		{"RU-03/short_ipv4", "http://127.1/cb", badHost},
		{"RU-03/padded_ipv4", "http://127.0.0.001/cb", badHost},
		{"RU-03/ipv4_dot", "http://127.0.0.1./cb", badHost},
		{"RU-03/mapped_ipv4", "http://[::ffff:127.0.0.1]/cb", spelled},
		{"RU-03/long_ipv6", "http://[0:0:0:0:0:0:0:1]/cb", spelled},
		{"RU-03/padded_ipv6", "http://[::0001]/cb", spelled},
		{"RU-03/zone", "http://[::1%25lo]/cb", "has an IPv6 address with a zone"},
		{"RU-03/zone_unencoded", "http://[::1%lo]/cb", percent},
		{"RU-03/no_slashes", "http:127.0.0.1/cb", noHost},
		{"RU-04/javascript", "javascript:alert(1)", forbidden},
		{"RU-04/javascript_case", "JavaScript:alert(1)", forbidden},
		{"RU-04/javascript_authority", "javascript://client.example/%0aalert(1)", forbidden},
		{"RU-04/javascript_encoded_body", "javascript:%61lert(1)", forbidden},
		{"RU-04/javascript_encoded", "%6aavascript:alert(1)", relative},
		{"RU-04/javascript_tab", "java\tscript:alert(1)", control},
		{"RU-04/javascript_leading_control", "\x01javascript:alert(1)", control},
		{"RU-04/data", "data:text/html;base64,PHA+", forbidden},
		{"RU-04/vbscript", "vbscript:msgbox(1)", forbidden},
		{"RU-04/file", "file://server.example/share/x", forbidden},
		{"RU-04/file_no_host", "file:///etc/passwd", noHost},
		{"RU-04/about", "about:blank", forbidden},
		{"RU-04/blob", "blob:https://client.example/6f3c1f9e", forbidden},
		{"RU-04/filesystem", "filesystem:https://client.example/t/x", forbidden},
		{"RU-04/view_source", "view-source:https://client.example/", forbidden},
		{"RU-04/ws", "ws://client.example/cb", forbidden},
		{"RU-04/wss", "wss://client.example/cb", forbidden},
		{"RU-04/ftp", "ftp://client.example/cb", forbidden},
		{"RU-04/mailto", "mailto:ops%40client.example", forbidden},
		{"RU-04/tel", "tel:+15550100", forbidden},
		{"RU-04/intent", "intent://cb/#Intent;end", forbidden},
		{"RU-04/scheme_with_period", "x-apple.systempreferences:/cb", forbidden},
		{"RU-05/user", "https://user@client.example/cb", userInfo},
		{"RU-05/user_empty", "https://@client.example/cb", userInfo},
		{"RU-05/user_without_host", "https://@/cb", userInfo},
		{"RU-05/user_and_password", "https://user:pass@client.example/cb", userInfo},
		{"RU-05/user_like_a_host", "https://client.example@evil.example/cb", userInfo},
		{"RU-05/user_localhost", "http://localhost@evil.example/cb", userInfo},
		{"RU-05/user_private_use", "com.example.app://user@cb/path", userInfo},
		{"RU-05/backslash_user", `https://client.example\@evil.example/cb`, "has a backslash"},
		{"RU-05/backslash_slashes", `https:\\client.example\cb`, "has a backslash"},
		{"RU-05/newline", "https://client.example\n.evil.example/cb", control},
		{"RU-05/carriage_return", "https://client.example/cb\r\nSet-Cookie: a=b", control},
		{"RU-05/nul", "https://client.example/cb\x00", control},
		{"RU-05/delete", "https://client.example/c\x7fb", control},
		{"RU-05/space", "https://client.example/c b", control},
		{"RU-05/space_leading", " https://client.example/cb", control},
		{"RU-05/space_trailing", "https://client.example/cb ", control},
		{"RU-05/dot_segment", "https://client.example/a/./cb", dotSegment},
		{"RU-05/dot_segments", "https://client.example/a/../cb", dotSegment},
		{"RU-05/dot_segment_last", "https://client.example/a/..", dotSegment},
		{"RU-05/dot_segments_encoded", "https://client.example/a/%2e%2E/cb", dotSegment},
		{"RU-05/dot_segments_half_encoded", "https://client.example/a/.%2e/cb", dotSegment},
		{"RU-05/dot_segments_encoded_slash", "https://client.example/a%2F..%2fcb", dotSegment},
		{"RU-05/dot_segments_encoded_backslash", "https://client.example/a%5c..%5Ccb", dotSegment},
		{"RU-05/dot_segments_private_use", "com.example.app:/../cb", dotSegment},
		{"RU-05/host_missing", "https:///cb", noHost},
		{"RU-05/host_missing_all", "https://", noHost},
		{"RU-05/host_missing_port", "https://:443/cb", noHost},
		{"RU-05/host_missing_private_use", "com.example.app:///cb", noHost},
		{"RU-05/one_slash", "https:/client.example/cb", noHost},
		{"RU-05/no_slashes", "https:client.example/cb", noHost},
		{"RU-05/host_out_of_range", "https://256.256.256.256/cb", badHost},
		{"RU-05/host_numeric_label", "https://client.123/cb", badHost},
		{"RU-05/host_hexadecimal_label", "https://client.0xA/cb", badHost},
		{"RU-05/host_five_parts", "https://1.2.3.4.5/cb", badHost},
		{"RU-05/host_empty_label", "https://client..example/cb", badHost},
		{"RU-05/host_leading_dot", "https://.client.example/cb", badHost},
		{"RU-05/host_trailing_dot", "https://client.example./cb", badHost},
		{"RU-05/host_label_64", "https://" + strings.Repeat("a", 64) + ".example/cb", badHost},
		{"RU-05/host_254", "https://" + strings.Repeat("abc.", 63) + "de/cb", badHost},
		{"RU-05/host_sub_delimiter", "https://client,example/cb", badHost},
		{"RU-05/host_encoded_slash", "https://client.example%2fevil.example/cb", badHost},
		{"RU-05/host_encoded_nul", "https://client.example%00.evil.example/cb", badHost},
		{"RU-05/ipv6_unclosed", "https://[::1/cb", badHost},
		{"RU-05/ipv6_trailing", "https://[::1]a/cb", badHost},
		{"RU-05/ipv6_unbracketed", "http://::1:3000/cb", noHost},
		{"RU-05/ipv6_malformed", "https://[1::2::3]/cb", badHost},
		{"RU-05/ipv4_in_brackets", "https://[127.0.0.1]/cb", badHost},
		{"RU-05/ipv_future", "https://[v1.a]/cb", badHost},
		{"RU-05/bracket_in_name", "https://cli]ent.example/cb", badHost},
		{"RU-05/two_ports", "https://client.example:1:2/cb", badPort},
		{"RU-05/host_private_use", "com.example.app://256.1.1.1/cb", badHost},
		{"RU-06/no_period", "myapp:/cb", noPeriod},
		{"RU-06/no_period_authority", "exampleapp://oauth_redirect", noPeriod},
		{"RU-06/localhost_as_scheme", "localhost:8080/cb", noPeriod},
		{"RU-06/empty_label_last", "com.example.:/cb", "has a scheme that is not a reverse domain name (RFC 8252 section 7.1)"},
		{"RU-06/empty_label", "com..app:/cb", "has a scheme that is not a reverse domain name (RFC 8252 section 7.1)"},
		{"RU-06/no_slash", "com.example.app:cb", rootless},
		{"RU-06/nothing", "com.example.app:", rootless},
		{"RU-06/nothing_but_query", "com.example.app:?a=b", rootless},
		{"RU-06/listed_urn", "urn:ietf:wg:oauth:2.0:oob", rootless},
		{"RU-11/punycode_alone", "https://xn--.example/cb", punycode},
		{"RU-11/punycode_undecodable", "https://xn--a.example/cb", punycode},
		{"RU-11/punycode_of_ascii", "https://xn--abc-.example/cb", punycode},
		{"RU-11/punycode_overflow", "https://xn--zzzzzzzz99999.example/cb", punycode},
		{"RU-11/punycode_private_use", "com.example.app://xn--/cb", punycode},
		{"RU-13/name_unencoded", "https://m\u00fcnchen.example/cb", nonASCII},
		{"RU-13/ideographic_full_stop", "https://client\u3002example/cb", nonASCII},
		{"RU-13/full_width", "https://\uff43lient.example/cb", nonASCII},
		{"RU-13/zero_width", "https://client\u200b.example/cb", nonASCII},
		{"RU-13/right_to_left_path", "https://client.example/\u202egro", nonASCII},
		{"RU-13/invalid_utf8", "https://client.example/\xff", nonASCII},
		{"RU-13/percent_malformed", "https://client.example/%zz", percent},
		{"RU-13/percent_last", "https://client.example/cb%", percent},
		{"RU-13/percent_one_digit", "https://client.example/cb?a=%4", percent},
		{"RU-13/quote", `https://client.example/cb"onload="x`, character},
		{"RU-13/angle", "https://client.example/<b>", character},
		{"RU-13/braces", "https://client.example/{tenant}/cb", character},
		{"RU-13/pipe_in_query", "https://client.example/cb?a=b|c", character},
		{"RU-13/caret", "https://client.example/^", character},
		{"RU-13/backquote", "https://client.example/`", character},
		{"RU-13/brackets_in_path", "https://client.example/[a]", character},
		{"RU-13/brackets_in_query", "https://client.example/cb?a[]=1", character},
		{"RU-13/port_0", "https://client.example:0/cb", badPort},
		{"RU-13/port_65536", "https://client.example:65536/cb", badPort},
		{"RU-13/port_negative", "https://client.example:-1/cb", badPort},
		{"RU-13/port_letter", "https://client.example:8o80/cb", badPort},
		{"RU-13/port_empty", "https://client.example:/cb", badPort},
		{"RU-13/port_zero_padded", "https://client.example:0443/cb", badPort},
		{"RU-13/port_plus", "https://client.example:+443/cb", badPort},
		{"RU-13/port_private_use", "com.example.app://cb:port/path", badPort},
		{"RU-13/scheme_case", "HTTPS://client.example/cb", "has an upper-case letter in its scheme"},
		{"RU-13/scheme_case_private_use", "com.Example.app:/cb", "has an upper-case letter in its scheme"},
		{"RU-13/scheme_case_listed", "Cursor://host/cb", "has an upper-case letter in its scheme"},
		{"7591-2-22/2049_bytes", padded(2049), "is longer than 2048 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			kind, err := redirecturi.Check(row.raw, redirecturi.Options{PrivateUseSchemes: listed})
			require.EqualError(t, err, row.phrase)
			require.Zero(t, kind)
		})
	}
}

// padded returns an acceptable URI of n bytes.
func padded(n int) string {
	const start = "https://client.example/"
	return start + strings.Repeat("a", n-len(start))
}

func TestCheckOptions(t *testing.T) {
	t.Parallel()
	t.Run("RU-06/nothing_listed", func(t *testing.T) {
		t.Parallel()
		_, err := redirecturi.Check("cursor://host/cb", redirecturi.Options{})
		require.EqualError(t, err, noPeriod)
	})
	t.Run("RU-06/another_listed", func(t *testing.T) {
		t.Parallel()
		_, err := redirecturi.Check("cursor://host/cb", redirecturi.Options{PrivateUseSchemes: []string{"cursors", "curs"}})
		require.EqualError(t, err, noPeriod)
	})
	t.Run("RU-03/http_listed", func(t *testing.T) {
		t.Parallel()
		_, err := redirecturi.Check("http://client.example/cb", redirecturi.Options{PrivateUseSchemes: []string{"http"}})
		require.EqualError(t, err, plainHTTP)
	})
	t.Run("7591-2-22/length", func(t *testing.T) {
		t.Parallel()
		_, err := redirecturi.Check(padded(30), redirecturi.Options{MaxLength: 30})
		require.NoError(t, err)
		_, err = redirecturi.Check(padded(31), redirecturi.Options{MaxLength: 30})
		require.EqualError(t, err, "is longer than 30 bytes")
	})
}
