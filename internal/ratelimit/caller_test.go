package ratelimit_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// proxies are the trusted ones in these tests.
var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}

const (
	proxy   = "10.0.0.1:443"
	another = "192.0.2.1:5000" // a peer that is no proxy
)

// callerRow is one request, and where it comes from.
type callerRow struct {
	peer  string
	lines []string // of X-Forwarded-For
	want  string   // empty means that there is no address
}

// writtenRows are about who wrote what.
var writtenRows = map[string]callerRow{
	"peer_not_trusted":       {another, []string{"203.0.113.5"}, "192.0.2.1"},
	"peer_not_trusted/poses": {another, []string{"203.0.113.5, 10.0.0.2"}, "192.0.2.1"},
	"no_header":              {proxy, nil, "10.0.0.1"},
	"empty_header":           {proxy, []string{""}, "10.0.0.1"},
	"one":                    {proxy, []string{"203.0.113.5"}, "203.0.113.5"},
	"forged_prefix":          {proxy, []string{"1.1.1.1, 10.0.0.9, 203.0.113.5"}, "203.0.113.5"},
	"forged_line":            {proxy, []string{"1.1.1.1", "203.0.113.5"}, "203.0.113.5"},
	"forged_garbage":         {proxy, []string{"\x00, ,,%%%, [", "203.0.113.5"}, "203.0.113.5"},
	"two_proxies":            {proxy, []string{"203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
	"two_proxies/lines":      {proxy, []string{"203.0.113.5", "10.0.0.2"}, "203.0.113.5"},
	"two_proxies/forged":     {proxy, []string{"1.1.1.1, 203.0.113.5 ,10.0.0.2"}, "203.0.113.5"},
	"not_trusted_between":    {proxy, []string{"203.0.113.5, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
	"all_trusted":            {proxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
	"spaces":                 {proxy, []string{"1.1.1.1 , \t203.0.113.5\t "}, "203.0.113.5"},
	"unix_socket":            {"@", []string{"203.0.113.5"}, "203.0.113.5"},
	"unix_socket/named":      {"/run/proxy.sock", []string{"1.1.1.1, 203.0.113.5"}, "203.0.113.5"},
	"unix_socket/no_header":  {"@", nil, ""},
	"unix_socket/garbage":    {"@", []string{"unknown"}, ""},
	"no_peer":                {"", nil, ""},
	"many":                   {proxy, []string{strings.Repeat("10.0.0.2, ", 9_999) + "10.0.0.3"}, "10.0.0.2"},
	"many_lines":             {proxy, slices.Repeat([]string{"10.0.0.2"}, 10_000), "10.0.0.2"},
	"many_empty_lines":       {proxy, append([]string{"203.0.113.5"}, slices.Repeat([]string{""}, 10_000)...), "203.0.113.5"},
}

// spelledRows are about how it is spelled.
var spelledRows = map[string]callerRow{
	"port":                  {proxy, []string{"203.0.113.5:61234"}, "203.0.113.5"},
	"trusted_port":          {proxy, []string{"203.0.113.5, 10.0.0.2:443"}, "203.0.113.5"},
	"v6":                    {proxy, []string{"2001:db8::5"}, "2001:db8::5"},
	"v6_brackets":           {proxy, []string{"[2001:db8::5]"}, "2001:db8::5"},
	"v6_port":               {proxy, []string{"[2001:db8::5]:61234"}, "2001:db8::5"},
	"v6_zone":               {proxy, []string{"fe80::5%eth0"}, "fe80::5"},
	"v6_zone_port":          {proxy, []string{"[fe80::5%25eth0]:1"}, "fe80::5"},
	"v6_long":               {proxy, []string{"2001:0DB8:0000:0000:0000:0000:0000:0005"}, "2001:db8::5"},
	"v6_proxy":              {"[2001:db8:ffff::1]:1", []string{"203.0.113.5, 2001:db8:ffff::2"}, "203.0.113.5"},
	"v6_peer_zone":          {"[fe80::1%eth0]:1", []string{"203.0.113.5"}, "fe80::1"},
	"v4_mapped":             {proxy, []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
	"v4_mapped_peer":        {"[::ffff:10.0.0.1]:443", []string{"203.0.113.5"}, "203.0.113.5"},
	"v4_mapped_proxy":       {proxy, []string{"203.0.113.5, ::ffff:10.0.0.2"}, "203.0.113.5"},
	"v4_mapped_not_trusted": {"[::ffff:192.0.2.1]:1", []string{"203.0.113.5"}, "192.0.2.1"},
	"unknown":               {proxy, []string{"203.0.113.5, unknown"}, "10.0.0.1"},
	"obfuscated":            {proxy, []string{"203.0.113.5, _gazonk"}, "10.0.0.1"},
	"empty_entry":           {proxy, []string{"203.0.113.5, , 10.0.0.2"}, "10.0.0.2"},
	"empty_last":            {proxy, []string{"203.0.113.5,"}, "10.0.0.1"},
	"empty_first":           {proxy, []string{", 203.0.113.5"}, "203.0.113.5"},
	"octal":                 {proxy, []string{"203.0.113.5, 010.0.0.2"}, "10.0.0.1"},
	"decimal":               {proxy, []string{"203.0.113.5, 167772162"}, "10.0.0.1"},
	"prefix":                {proxy, []string{"203.0.113.5, 10.0.0.0/8"}, "10.0.0.1"},
	"quoted":                {proxy, []string{`203.0.113.5, "10.0.0.2"`}, "10.0.0.1"},
	"host_name":             {proxy, []string{"203.0.113.5, localhost"}, "10.0.0.1"},
	"forwarded_element":     {proxy, []string{"203.0.113.5, for=10.0.0.2"}, "10.0.0.1"},
}

func callerOf(row callerRow, trusted []netip.Prefix) string {
	r := &http.Request{RemoteAddr: row.peer, Header: http.Header{"X-Forwarded-For": row.lines}}
	address := ratelimit.Caller(r, trusted)
	if !address.IsValid() {
		return ""
	}
	return address.String()
}

func TestCaller(t *testing.T) {
	t.Parallel()
	for _, rows := range []map[string]callerRow{writtenRows, spelledRows} {
		for name, row := range rows {
			t.Run("T16/"+name, func(t *testing.T) {
				t.Parallel()
				require.Equal(t, row.want, callerOf(row, proxies))
			})
		}
	}
	t.Run("T16/nobody_trusted", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "10.0.0.1", callerOf(callerRow{peer: proxy, lines: []string{"203.0.113.5"}}, nil))
		require.Empty(t, callerOf(callerRow{peer: "@", lines: []string{"203.0.113.5"}}, nil))
	})
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, address string
		v4, v6        int
		want          string
	}{
		{"ipv4", "192.0.2.77", 32, 64, "192.0.2.77/32"},
		{"ipv4_network", "192.0.2.77", 24, 64, "192.0.2.0/24"},
		{"ipv6", "2001:db8::1:2:3:4", 32, 64, "2001:db8::/64"},
		{"ipv6_all", "2001:db8::1:2:3:4", 32, 128, "2001:db8::1:2:3:4/128"},
		{"no_address", "", 32, 64, "unknown"},
		{"more_bits_than_it_has", "192.0.2.77", 33, 64, "unknown"},
		{"fewer_than_none", "192.0.2.77", -1, 64, "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			address, _ := netip.ParseAddr(row.address)
			require.Equal(t, row.want, ratelimit.Network("", address, row.v4, row.v6))
		})
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	given := []netip.Prefix{
		netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("::ffff:0.0.0.0/96"),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 95), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("192.0.2.0/24"), {},
	}
	before := slices.Clone(given)
	plain := ratelimit.Plain(given)
	require.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/0"), given[2], given[3], given[4], {},
	}, plain)
	require.Equal(t, before, given, "the argument is not changed")
	require.Equal(t, "203.0.113.5", callerOf(callerRow{peer: proxy, lines: []string{"203.0.113.5"}}, plain[:1]))
}

// FuzzCaller: whatever is sent, the address is the peer's or one that stands in the header, in its plain form, and a
// peer that is no proxy is always the caller (T16).
func FuzzCaller(f *testing.F) {
	for _, rows := range []map[string]callerRow{writtenRows, spelledRows} {
		for _, row := range rows {
			if line := strings.Join(row.lines, ","); len(line) < 200 {
				f.Add(row.peer, line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, peer, line string) {
		row := callerRow{peer: peer, lines: []string{line}}
		caller, alone := callerOf(row, proxies), callerOf(row, nil)
		if caller != "" {
			address, err := netip.ParseAddr(caller)
			require.NoError(t, err)
			require.Empty(t, address.Zone())
			require.False(t, address.Is4In6())
			require.Equal(t, caller, callerOf(callerRow{peer: caller}, nil), "read again")
		}
		if alone != "" && !slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(alone)) }) {
			require.Equal(t, alone, caller)
		}
		if caller == alone {
			return
		}
		require.True(t, slices.ContainsFunc(strings.Split(line, ","), func(entry string) bool {
			return callerOf(callerRow{peer: strings.TrimSpace(entry)}, nil) == caller
		}), "%q is not in %q", caller, line)
	})
}
