package outbound

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpecialHost(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		id      string
		special bool
		hosts   []string
	}{
		{"OUT-01/public_names", false, []string{
			"example.com", "EXAMPLE.com", "example.com.", "a.b.example.co.uk", "localhost.example.com",
			"notlocalhost", "xn--bcher-kva.example", "b\u00fccher.example", "under_score.example.com",
			"127.0.0.1.example.com", "1.example", "0x7f.example", "intranet", "e", "0x7g",
		}},
		{"OUT-01/public_addresses", false, []string{
			"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255",
			"2606:4700:4700::1111", "[2606:4700:4700::1111]", "[2a00:1450:4001:80b::200e]",
		}},
		{"OUT-01/public_address_inside", false, []string{
			"::ffff:8.8.8.8", "[::ffff:808:808]", "[64:ff9b::8.8.8.8]", "[2002:808:808::1]",
		}},
		{"OUT-01/localhost", true, []string{
			"localhost", "LOCALHOST", "LocalHost.", "a.localhost", "a.b.LOCALHOST.",
			"\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
		}},
		{"OUT-01/loopback", true, []string{"127.0.0.1", "127.0.0.1.", "127.255.255.254", "::1", "[::1]"}},
		{"OUT-01/ipv4_ranges", true, []string{
			"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "169.254.169.254",
			"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
			"198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
			"255.255.255.255",
		}},
		{"OUT-01/ipv6_ranges", true, []string{
			"::", "[::]", "fc00::1", "[fd12:3456::1]", "fe80::1", "[fe80::1%25eth0]", "fe80::1%eth0", "fec0::1",
			"ff02::1", "2001:db8::1", "100::1", "2001::1", "2001:2::1", "3fff::1", "5f00::1",
			"0:0:0:0:0:0:0:1", "[0000:0000::0001]",
		}},
		{"T11/address_inside", true, []string{
			"::ffff:127.0.0.1", "[::ffff:7f00:1]", "[::FFFF:10.0.0.1]", "[::127.0.0.1]", "[::10.0.0.1]",
			"[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::8.8.8.8]", "[2002:7f00:1::]", "[2002:a00:1::1]",
			"[2001:0:808:808::1]", "[::ffff:0:127.0.0.1]",
		}},
		{"T11/odd_spellings", true, []string{
			"2130706433", "0x7f000001", "0X7F000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0x",
			"127.0.0.01", "1.2.3.4.5", "256.1.1.1", "example.1", "134744072", "10.0.0.1.", "127.0.0.0x1",
			"\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1",
		}},
		{"OUT-01/no_host", true, []string{
			"", ".", "..", "[", "[]", "[127.0.0.1]", "[::1", "[v1.a]", "a b", "a\x00", "example.com:443", "127.0.0.1:80",
			"[::1]:80", "localhost..", "user@example.com", "a/b", "%31", "::g",
		}},
	} {
		t.Run(row.id, func(t *testing.T) {
			t.Parallel()
			for _, host := range row.hosts {
				require.Equal(t, row.special, SpecialHost(host), "%q", host)
			}
		})
	}
}

func TestLoopbackHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost", "a.LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"} {
		require.True(t, LoopbackHost(host), host)
	}
	for _, host := range []string{"", "example.com", "10.0.0.1", "0.0.0.0", "[::]", "2130706433", "127.1", "[::127.0.0.1]"} {
		require.False(t, LoopbackHost(host), host)
	}
}

// FuzzSpecialHost compares with what net/netip says of addresses, and with other spellings of the host.
func FuzzSpecialHost(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "::ffff:10.0.0.1", "example.com", "\uff11", "0x7f.1"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if SpecialHost(host) {
			return
		}
		require.False(t, LoopbackHost(host))
		require.False(t, SpecialHost(asciiUpper(host)))
		if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			addr = addr.Unmap()
			require.True(t, addr.IsGlobalUnicast())
			require.False(t, addr.IsPrivate())
		}
	})
}

func asciiUpper(host string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, host)
}
