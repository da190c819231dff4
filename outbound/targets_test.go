package outbound

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		entry, location   string
		has, onEveryPorts bool
	}{
		{"https://h.example/c", "https://h.example/c", true, true},
		{"https://h.example/c", "https://h.example/C", false, false},
		{"https://h.example/c", "https://h.example:443/c", false, false},
		{"https://h.example/c", "https://h.example/c?", false, false},
		{"h.example", "https://h.example/c", true, true},
		{"h.example", "https://H.EXAMPLE./c", true, true},
		{"H.Example.", "https://h.example/c", true, true},
		{"h.example", "https://h.example:443/c", true, true},
		{"h.example", "http://h.example:80/c", true, true},
		{"h.example", "https://h.example:80/c", false, true},
		{"h.example", "https://h.example:8443/c", false, true},
		{"h.example", "https://a.h.example/c", false, false},
		{"h.example", "https://h.example.evil.example/c", false, false},
		{"h.example", "https://u@evil.example/h.example", false, false},
		{"h.example:8443", "https://h.example:8443/c", true, true},
		{"h.example:8443", "https://h.example/c", false, false},
		{"h.example:443", "https://h.example/c", true, true},
		{"h.example:443", "http://h.example/c", false, false},
		{"192.0.2.1", "https://192.0.2.1/c", true, true},
		{"2001:db8::1", "https://[2001:DB8:0::1]/c", true, true},
		{"[2001:db8::1]", "https://[2001:db8::1]/c", true, true},
		{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443/c", true, true},
		{"192.0.2.1", "https://[::ffff:192.0.2.1]/c", true, true},
		{"h.example", "::", false, false},
	} {
		t.Run("CIMD-13/"+row.entry+"_and_"+row.location, func(t *testing.T) {
			t.Parallel()
			targets := Targets{"other.example", row.entry}
			require.Equal(t, row.has, targets.Has(row.location, false))
			require.Equal(t, row.onEveryPorts, targets.Has(row.location, true))
			require.Empty(t, targets.Problems())
			require.False(t, Targets(nil).Has(row.location, true))
		})
	}
	for _, entry := range []string{"", "*.example", "a b", "h/c", "h:0", "h:", "h:x", "h:0443", "h:65536", "//h/c", "https://", "https:///c", "u@h", "::g"} {
		require.Len(t, Targets{entry}.Problems(), 1, "CIMD-13: %q", entry)
	}
}

func TestSite(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"example.com": "example.com", "A.B.Example.COM.": "example.com", "a.example.co.uk": "example.co.uk", "co.uk": "co.uk",
		"a.github.io": "a.github.io", "b.a.github.io": "a.github.io", "intranet": "intranet", "a.localhost": "a.localhost",
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "[2001:db8:1:2:3::1]": "2001:db8:1:2::/64", "2001:db8:1:2:4::1": "2001:db8:1:2::/64",
		"\uff48.example.com": "example.com",
	} {
		require.Equal(t, want, Site(host), "T51: %s", host)
	}
}
