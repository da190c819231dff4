package redirecturi_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	const never, localhost, always = 0, 1, 2 // localhost: only where any port of localhost is allowed
	for _, row := range []struct {
		name, registered, requested string
		when                        int
	}{
		{"RU-02/equal", "https://client.example/cb", "https://client.example/cb", always},
		{"RU-02/equal_private_use", "com.example.app:/cb", "com.example.app:/cb", always},
		{"RU-02/host_case", "https://client.example/cb", "https://CLIENT.example/cb", never},
		{"RU-02/default_port", "https://client.example/cb", "https://client.example:443/cb", never},
		{"RU-02/port", "https://client.example:1/cb", "https://client.example:2/cb", never},
		{"RU-02/path_below", "https://client.example/cb", "https://client.example/cb/x", never},
		{"RU-02/slash", "https://client.example", "https://client.example/", never},
		{"RU-02/query_added", "https://client.example/cb", "https://client.example/cb?a=b", never},
		{"RU-02/private_use_port", "com.example.app://cb:1/x", "com.example.app://cb:2/x", never},
		{"RU-02/asterisk", "https://client.example/*", "https://client.example/cb", never},
		{"RU-02/asterisk_loopback", "http://127.0.0.1:*/cb", "http://127.0.0.1:8080/cb", never},
		{"RU-02/empty", "", "http://127.0.0.1/cb", never},
		{"RU-02/empty_requested", "http://127.0.0.1/cb", "", never},

		{"RU-07/equal", "http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb", always},
		{"RU-07/port_added", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", always},
		{"RU-07/port_changed", "http://127.0.0.1:8080/cb", "http://127.0.0.1:49152/cb", always},
		{"RU-07/port_dropped", "http://127.0.0.1:8080/cb", "http://127.0.0.1/cb", always},
		{"RU-07/port_without_path", "http://127.0.0.1", "http://127.0.0.1:49152", always},
		{"RU-07/port_before_query", "http://127.0.0.1?a=b", "http://127.0.0.1:49152?a=b", always},
		{"RU-07/ipv6", "http://[::1]/cb", "http://[::1]:49152/cb", always},
		{"RU-07/ipv6_without_path", "http://[::1]:53271", "http://[::1]:1", always},
		{"RU-07/query_kept", "http://127.0.0.1/cb?a=b:1", "http://127.0.0.1:1/cb?a=b:1", always},
		{"RU-07/port_0", "http://127.0.0.1/cb", "http://127.0.0.1:0/cb", never},
		{"RU-07/port_65535", "http://127.0.0.1/cb", "http://127.0.0.1:65535/cb", always},
		{"RU-07/port_65536", "http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", never},
		{"RU-07/port_empty", "http://127.0.0.1/cb", "http://127.0.0.1:/cb", never},
		{"RU-07/port_zero_padded", "http://127.0.0.1/cb", "http://127.0.0.1:080/cb", never},
		{"RU-07/port_plus", "http://127.0.0.1/cb", "http://127.0.0.1:+80/cb", never},
		{"RU-07/port_letters", "http://127.0.0.1/cb", "http://127.0.0.1:80a/cb", never},
		{"RU-07/port_space", "http://127.0.0.1/cb", "http://127.0.0.1:80 /cb", never},
		{"RU-07/two_ports", "http://127.0.0.1/cb", "http://127.0.0.1:80:80/cb", never},
		{"RU-07/scheme", "http://127.0.0.1/cb", "https://127.0.0.1/cb", never},
		{"RU-07/scheme_and_port", "http://127.0.0.1/cb", "https://127.0.0.1:443/cb", never},
		{"RU-07/scheme_case", "http://127.0.0.1/cb", "HTTP://127.0.0.1:80/cb", never},
		{"RU-07/https_registered", "https://127.0.0.1/cb", "https://127.0.0.1:8443/cb", never},
		{"RU-07/other_address", "http://127.0.0.1/cb", "http://127.0.0.2:80/cb", never},
		{"RU-07/other_family", "http://127.0.0.1/cb", "http://[::1]:80/cb", never},
		{"RU-07/name_for_address", "http://127.0.0.1/cb", "http://localhost:80/cb", never},
		{"RU-07/address_for_name", "http://localhost/cb", "http://127.0.0.1:80/cb", never},
		{"RU-07/other_spelling", "http://127.0.0.1/cb", "http://2130706433:80/cb", never},
		{"RU-07/other_spelling_ipv6", "http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:80/cb", never},
		{"RU-07/host_appended", "http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", never},
		{"RU-07/host_appended_ipv6", "http://[::1]/cb", "http://[::1].evil.example:80/cb", never},
		{"RU-07/user", "http://127.0.0.1/cb", "http://user@127.0.0.1:80/cb", never},
		{"RU-07/user_empty", "http://127.0.0.1/cb", "http://@127.0.0.1:80/cb", never},
		{"RU-07/user_like_the_host", "http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb", never},
		{"RU-07/user_like_the_host_and_port", "http://127.0.0.1/cb", "http://127.0.0.1:x@evil.example:80/cb", never},
		{"RU-07/backslash", "http://127.0.0.1/cb", `http://127.0.0.1:80\@evil.example/cb`, never},
		{"RU-07/path", "http://127.0.0.1/cb", "http://127.0.0.1:80/other", never},
		{"RU-07/path_encoded", "http://127.0.0.1/cb", "http://127.0.0.1:80/c%62", never},
		{"RU-07/path_encoding_case", "http://127.0.0.1/c%2Fb", "http://127.0.0.1:80/c%2fb", never},
		{"RU-07/path_case", "http://127.0.0.1/cb", "http://127.0.0.1:80/CB", never},
		{"RU-07/path_slash", "http://127.0.0.1/cb", "http://127.0.0.1:80/cb/", never},
		{"RU-07/path_none", "http://127.0.0.1/", "http://127.0.0.1:80", never},
		{"RU-07/path_dots", "http://127.0.0.1/cb", "http://127.0.0.1:80/x/../cb", never},
		{"RU-07/query_added", "http://127.0.0.1/cb", "http://127.0.0.1:80/cb?a=b", never},
		{"RU-07/query_empty", "http://127.0.0.1/cb", "http://127.0.0.1:80/cb?", never},
		{"RU-07/query_changed", "http://127.0.0.1/cb?a=b", "http://127.0.0.1:80/cb?a=c", never},
		{"RU-07/fragment_added", "http://127.0.0.1/cb", "http://127.0.0.1:80/cb#x", never},
		{"RU-07/fragment_registered", "http://127.0.0.1/cb#x", "http://127.0.0.1:80/cb#x", never},
		{"RU-07/not_loopback", "http://192.168.1.20/cb", "http://192.168.1.20:80/cb", never},
		{"RU-07/remote", "http://client.example/cb", "http://client.example:80/cb", never},

		{"RU-08/equal", "http://localhost:3000/cb", "http://localhost:3000/cb", always},
		{"RU-08/port_added", "http://localhost/callback", "http://localhost:3118/callback", localhost},
		{"RU-08/port_changed", "http://localhost:3000/cb", "http://localhost:3001/cb", localhost},
		{"RU-08/port_dropped", "http://localhost:3000/cb", "http://localhost/cb", localhost},
		{"RU-08/host_as_registered", "http://LOCALHOST/cb", "http://LOCALHOST:3000/cb", localhost},
		{"RU-08/host_case", "http://localhost/cb", "http://LOCALHOST:3000/cb", never},
		{"RU-08/scheme", "http://localhost/cb", "https://localhost:3000/cb", never},
		{"RU-08/https_registered", "https://localhost/cb", "https://localhost:3000/cb", never},
		{"RU-08/host_appended", "http://localhost/cb", "http://localhost.evil:3000/cb", never},
		{"RU-08/host_dot", "http://localhost/cb", "http://localhost.:3000/cb", never},
		{"RU-08/user", "http://localhost/cb", "http://user@localhost:3000/cb", never},
		{"RU-08/user_like_the_host", "http://localhost/cb", "http://localhost:3000@evil.example/cb", never},
		{"RU-08/path", "http://localhost/cb", "http://localhost:3000/other", never},
		{"RU-08/query", "http://localhost/cb", "http://localhost:3000/cb?a=b", never},
		{"RU-08/port_0", "http://localhost/cb", "http://localhost:0/cb", never},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.when == always, redirecturi.Matches(row.registered, row.requested, false))
			require.Equal(t, row.when >= localhost, redirecturi.Matches(row.registered, row.requested, true))
		})
	}
}
