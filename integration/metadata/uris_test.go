package metadata_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// webMembers are those whose URIs are shown to people.
var webMembers = list{"client_uri", "logo_uri", "tos_uri", "policy_uri"}

// fetchedMembers are those whose URLs the server itself may call, each with whether
// it is a list.
var fetchedMembers = map[string]bool{
	"jwks_uri": false, "sector_identifier_uri": false, "request_uris": true,
	"backchannel_logout_uri": false, "backchannel_client_notification_endpoint": false,
}

// badURIs are URIs that no member takes.
var badURIs = map[string]string{
	"javascript": "javascript:alert(1)", "javascript_case": "JavaScript:alert(1)", "javascript_slashes": "javascript://client.example/%0aalert(1)",
	"data": "data:text/html,x", "vbscript": "vbscript:x", "file": "file:///etc/passwd", "ftp": "ftp://client.example/x", "ws": "wss://client.example/x",
	"blob": "blob:https://client.example/x", "relative": "/about", "no_scheme": "client.example/about", "scheme_relative": "//client.example/x",
	"words": "our home page", "no_host": "https:///x", "empty_host_port": "https://:443/x", "opaque": "https:client.example", "only_scheme": "https://",
	"user": "https://user@client.example/", "user_and_password": "https://user:pass@client.example/", "empty_user": "https://@client.example/",
	"percent": "https://client.example/%zz", "percent_end": "https://client.example/%", "space": "https://client.example/a b", "tab": "https://client.example/a\tb",
	"newline": "https://client.example/\nX-Injected: 1", "leading_space": " https://client.example/", "trailing_space": "https://client.example/ ",
	"backslash": `https:\\client.example\x`, "backslash_path": `https://client.example\@evil.example/`, "quote": `https://client.example/"><script>`,
	"angle": "https://client.example/<x>", "non_ascii": "https://client.example/ü", "non_ascii_host": "https://münchen.example/", "bidi": "https://client.example/\u202ex",
	"control": "https://client.example/\x01", "port_0": "https://client.example:0/", "port_large": "https://client.example:65536/", "port_word": "https://client.example:x/",
	"two_ports": "https://client.example:1:2/", "ipv6_without_brackets": "https://::1:3000/", "ipv6_zone": "https://[fe80::1%25eth0]/", "ipv6_broken": "https://[::1/",
	"number_host": "https://2130706433/", "ipv4_large": "https://256.256.256.256/", "empty_label": "https://client..example/", "wildcard": "https://*.client.example/",
	"too_long": "https://client.example/" + strings.Repeat("a", 100_000),
}

func TestURIsForPeople(t *testing.T) {
	t.Parallel()
	var rows []dcrtest.Outcome
	for _, name := range webMembers {
		for kind, uri := range badURIs {
			rows = append(rows, dcrtest.Outcome{Name: "7591-2-15/URI-01/T09/" + name + "/" + kind, Send: members{name: uri}, Code: dcrtest.BadMetadata, Names: list{name}})
		}
		for _, kind := range []string{"javascript", "data", "relative", "user", "percent", "bidi"} {
			rows = append(rows, dcrtest.Outcome{Name: "7591-2-15/URI-01/7591-2-18/" + name + "#fr/" + kind, Send: members{name + "#fr": badURIs[kind]},
				Code: dcrtest.BadMetadata, Names: list{name}})
		}
		for kind, uri := range map[string]string{
			"https": "https://client.example/", "http": "http://client.example/x", "fragment": "https://client.example/#about", "query": "https://client.example/?a=b&c=d%20e",
			"port": "https://client.example:8443/x", "ipv4": "https://192.0.2.7/", "ipv6": "https://[2001:db8::7]/", "underscore": "https://my_client.example/",
			"loopback": "http://localhost:3000/logo.png", "2000_characters": "https://client.example/" + strings.Repeat("a", 1977), "punycode": "https://xn--mnchen-3ya.example/",
		} {
			rows = append(rows, dcrtest.Outcome{Name: "7591-2-15/" + name + "/" + kind, Send: members{name: uri, name + "#fr": uri}, Back: members{name: uri, name + "#fr": uri}})
		}
		rows = append(rows, dcrtest.Outcome{Name: "URI-01/" + name + "/empty", Send: members{name: "", name + "#fr": ""}, Back: members{name: dcrtest.Missing{}, name + "#fr": dcrtest.Missing{}}})
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestOtherURIMembers(t *testing.T) {
	t.Parallel()
	var rows []dcrtest.Outcome
	one := func(name string, isList bool, uri string) members {
		if isList {
			return members{name: list{uri}}
		}
		return members{name: uri}
	}
	for name, isList := range map[string]bool{
		"jwks_uri": false, "sector_identifier_uri": false, "initiate_login_uri": false, "frontchannel_logout_uri": false, "backchannel_logout_uri": false,
		"backchannel_client_notification_endpoint": false, "request_uris": true, "post_logout_redirect_uris": true,
	} {
		for kind, uri := range badURIs {
			rows = append(rows, dcrtest.Outcome{Name: "URI-01/T09/" + name + "/" + kind, Send: one(name, isList, uri), Code: dcrtest.BadMetadata, Names: list{name}})
		}
		if !isList {
			rows = append(rows, dcrtest.Outcome{Name: "URI-01/" + name + "/empty", Send: one(name, false, ""), Back: members{name: dcrtest.Missing{}}})
		}
	}
	for _, name := range []string{"jwks_uri", "sector_identifier_uri", "initiate_login_uri", "request_uris", "backchannel_client_notification_endpoint"} {
		rows = append(rows, dcrtest.Outcome{Name: "URI-01/" + name + "/http", Send: one(name, name == "request_uris", "http://client.example/x"), Code: dcrtest.BadMetadata, Names: list{name}})
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

// insideURLs lead into the network of the server.
var insideURLs = map[string]string{
	"loopback": "https://127.0.0.1/jwks", "loopback_range": "https://127.8.8.8/jwks", "localhost": "https://localhost/jwks", "localhost_case": "https://LocalHost/jwks",
	"localhost_dot": "https://localhost./jwks", "localhost_under": "https://a.localhost/jwks", "localhost_under_dot": "https://a.LOCALHOST./jwks", "ten": "https://10.0.0.1/",
	"private_172": "https://172.16.0.1/", "private_192": "https://192.168.0.1/", "link_local": "https://169.254.169.254/latest/", "unspecified": "https://0.0.0.0/",
	"shared": "https://100.64.0.1/", "broadcast": "https://255.255.255.255/", "multicast": "https://224.0.0.1/", "ipv6_loopback": "https://[::1]/", "ipv6_unspecified": "https://[::]/",
	"ipv6_link_local": "https://[fe80::1]/", "ipv6_unique_local": "https://[fd00::1]/", "ipv6_multicast": "https://[ff02::1]/", "mapped": "https://[::ffff:10.0.0.1]/",
	"mapped_hex": "https://[::ffff:a00:1]/", "nat64": "https://[64:ff9b::10.0.0.1]/", "six_to_four": "https://[2002:a00:1::]/",
}

func TestURLsThatTheServerCalls(t *testing.T) {
	t.Parallel()
	everything := dcrtest.Configured(func(cfg *dcr.Config) {
		cfg.Metadata.Supports = map[string][]string{"sector_identifier_uri": nil, "request_uris": nil, "backchannel_logout_uri": nil, "backchannel_client_notification_endpoint": nil}
	})
	var rows []dcrtest.Outcome
	for name, isList := range fetchedMembers {
		one := func(uri string) members {
			if isList {
				return members{name: list{uri}}
			}
			return members{name: uri}
		}
		for kind, uri := range insideURLs {
			rows = append(rows, dcrtest.Outcome{Name: "OUT-01/T10/T11/" + name + "/" + kind, Setup: everything, Send: one(uri), Code: dcrtest.BadMetadata, Names: list{name}})
		}
		rows = append(rows, dcrtest.Outcome{Name: "OUT-01/T10/" + name + "/without_support", Send: one("https://10.0.0.1/"), Code: dcrtest.BadMetadata, Names: list{name}})
	}
	opened := func(setup *dcrtest.Setup) { setup.Config.Outbound.Options.InsecureAllowLoopback = true }
	for _, kind := range []string{"loopback", "localhost", "ipv6_loopback"} {
		rows = append(rows, dcrtest.Outcome{Name: "OUT-01/opened/" + kind, Setup: opened, Send: members{"jwks_uri": insideURLs[kind]}, Back: members{"jwks_uri": insideURLs[kind]}})
	}
	rows = append(rows, dcrtest.Outcome{Name: "OUT-01/opened/ten", Setup: opened, Send: members{"jwks_uri": insideURLs["ten"]}, Code: dcrtest.BadMetadata, Names: list{"jwks_uri"}})
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestRegistrationConnectsToNobody(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connected := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(connected)
				return
			}
			connected <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	closed := dcrtest.Start(t, dcrtest.Setup{})
	var opening dcrtest.Setup
	opening.Config.Outbound.Options.InsecureAllowLoopback = true
	opened := dcrtest.Start(t, opening)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"} {
		uri := "https://" + host + ":" + port + "/"
		for name, isList := range fetchedMembers {
			body := members{name: uri}
			if isList {
				body = members{name: list{uri}}
			}
			dcrtest.RequireRefusal(t, closed.Post(t, dcrtest.Registration(body)), 400, dcrtest.BadMetadata, name)
			opened.Post(t, dcrtest.Registration(body))
		}
		closed.Post(t, dcrtest.Registration(members{"logo_uri": uri, "client_uri": uri, "redirect_uris": list{"http://" + host + ":" + port + "/"}}))
	}
	require.NoError(t, listener.Close())
	for from := range connected {
		t.Errorf("7591-2-13, OUT-01: registration connected to a URL of the client, from %s", from)
	}
}
