package cimd

import (
	"io/fs"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// TestDocumentURL holds the forms of an identifier that can name a document, and those that can't.
func TestDocumentURL(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		ok   bool
		ids  []string
	}{
		{"CIMD-01/path", true, []string{
			"https://h/", "https://h/c", "https://h/a/b.json", "https://H.Example/C", "https://h//", "https://h/a//b", "https://h/~a;b=c,d!$&'()*+@:",
		}},
		{"CIMD-01/no_path", false, []string{"https://h", "https://h?c", "https://h:443", "https://", "https:///c", "https:/h/c", "https:h/c"}},
		{"CIMD-01/scheme", false, []string{"HTTPS://h/c", "Https://h/c", "ftp://h/c", "urn:x:y", "//h/c", "h/c", "", "a", " https://h/c", "javascript://h/%0aalert(1)"}},
		{"CIMD-01/fragment", false, []string{"https://h/c#", "https://h/c#a", "https://h/#/../c"}},
		{"CIMD-01/user_information", false, []string{"https://u@h/c", "https://u:p@h/c", "https://@h/c", "https://:@h/c", "https://h:443@evil/c"}},
		{"CIMD-01/text", false, []string{
			"https://h/a b", "https://h/a\x00", "https://h/a\n", "https://h/\x7f", "https://h/a\\b", "https:\\\\h\\c", "https://h/c ", "https://h/\u00e9",
			"https://h/\xff", "https://h/\"", "https://h/<a>", "https://h/{a}", "https://h/a|b", "https://h/a^b", "https://h/`",
		}},
		{"CIMD-01/dot_segments", false, []string{
			"https://h/.", "https://h/..", "https://h/a/./c", "https://h/a/../c", "https://h/a/..", "https://h/%2e%2E/c", "https://h/.%2e/c", "https://h/%2E/c",
			"https://h/a/%2e%2e?b", "https://h/a%2f..%2fc", "https://h/a%2F%2e%2e", "https://h/a%5c..%5Cc",
		}},
		{"CIMD-01/dots_that_are_text", true, []string{
			"https://h/%252e%252e/c", "https://h/...", "https://h/..a", "https://h/a..", "https://h/.well-known/c", "https://h/c?/../d", "https://h/c?a=..",
		}},
		{"CIMD-01/query", true, []string{"https://h/c?", "https://h/c?a=b&c[]=d", "https://h/?c"}},
		{"CIMD-01/percent", false, []string{"https://h/%", "https://h/%2", "https://h/%zz", "https://h/c?a=%", "https://h/c?%g0", "https://%68/c", "https://h%2f/c"}},
		{"CIMD-01/port", true, []string{"https://h:443/c", "https://h:8443/c", "https://h:65535/c", "https://[::1]:1/c"}},
		{"CIMD-01/port", false, []string{"https://h:/c", "https://h:0/c", "https://h:0443/c", "https://h:65536/c", "https://h:-1/c", "https://h:+1/c", "https://h:a/c", "https://h:1:2/c"}},
		{"CIMD-01/address", true, []string{"https://192.0.2.1/c", "https://[2001:db8::1]/c"}},
		{"CIMD-01/address", false, []string{
			"https://[::1/c", "https://::1/c", "https://[1.2.3.4]/c", "https://[]/c", "https://[::1]a/c", "https://[fe80::1%25eth0]/c", "https://[fe80::1%eth0]/c",
			"https://[v1.a]/c", "https://h[/c", "https://a,b/c", "https://h;a/c",
		}},
		{"CIMD-01/length", true, []string{"https://h/" + strings.Repeat("a", 1990), "https://h/" + strings.Repeat("a", 2038)}},
		{"CIMD-01/length", false, []string{"https://h/" + strings.Repeat("a", 2039)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, id := range row.ids {
				_, _, ok := documentURL(id)
				require.Equal(t, row.ok, ok, "%q", id)
			}
		})
	}
}

// TestWhoIsNoClient: what is no document's URL, or not allowed, is an unknown client before anything is looked up.
func TestWhoIsNoClient(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	host := strings.TrimPrefix(h.URL, "https://")
	for name, row := range map[string]struct {
		change func(*Options)
		id     string
		ok     bool
	}{
		"CIMD-01/no_path":                 {nil, h.URL, false},
		"CIMD-01/generated_identifier":    {nil, "0d1f3b9a", false},
		"CIMD-25/http":                    {func(o *Options) { o.InsecureAllowLoopback = false }, "http://localhost/c", false},
		"CIMD-25/http_elsewhere":          {nil, "http://client.example/c", false},
		"CIMD-13/every_one_by_default":    {func(o *Options) { o.Allow = nil }, h.id, true},
		"CIMD-13/empty_list":              {func(o *Options) { o.Allow = outbound.Targets{} }, h.id, false},
		"CIMD-13/allowed_exactly":         {func(o *Options) { o.Allow = outbound.Targets{h.id} }, h.id, true},
		"CIMD-13/another_path":            {func(o *Options) { o.Allow = outbound.Targets{h.id} }, h.id + "/", false},
		"CIMD-13/allowed_by_host":         {func(o *Options) { o.Allow = outbound.Targets{host} }, h.id, true},
		"CIMD-13/another_port":            {func(o *Options) { o.Allow = outbound.Targets{"127.0.0.1"} }, h.id, false},
		"CIMD-13/host_under_it":           {func(o *Options) { o.Allow = outbound.Targets{"client.example"} }, "https://a.client.example/c", false},
		"CIMD-13/host_above_it":           {func(o *Options) { o.Allow = outbound.Targets{"a.client.example"} }, "https://client.example/c", false},
		"CIMD-13/denied_exactly":          {func(o *Options) { o.Deny = outbound.Targets{h.id} }, h.id, false},
		"CIMD-13/neighbour_of_denied":     {func(o *Options) { o.Deny = outbound.Targets{h.id + "/a"} }, h.id, true},
		"CIMD-13/denied_on_every_port":    {func(o *Options) { o.Deny = outbound.Targets{"127.0.0.1"} }, h.id, false},
		"CIMD-13/denied_spelled_unusual":  {func(o *Options) { o.Deny = outbound.Targets{"client.example"} }, "https://CLIENT.example.:8443/c", false},
		"CIMD-13/denied_wins":             {func(o *Options) { o.Allow, o.Deny = outbound.Targets{host}, outbound.Targets{h.id} }, h.id, false},
		"CIMD-13/denied_address_spelling": {func(o *Options) { o.Deny = outbound.Targets{"2001:db8::1"} }, "https://[2001:0DB8::0:1]/c", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := newDocuments(t, row.change)
			r := new(reader)
			if row.ok {
				r.get(t, d, row.id, 0, "one")
				return
			}
			for effort := range 3 {
				value, err := d.Document(t.Context(), row.id, effort, r.read)
				require.ErrorIs(t, err, fs.ErrNotExist)
				require.Nil(t, value)
			}
			require.Empty(t, r.seen())
			require.Empty(t, d.entries)
		})
	}
}

func TestAcceptsStrangers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		allow outbound.Targets
		want  bool
	}{
		"CIMD-16/default": {nil, true}, "CIMD-16/empty": {outbound.Targets{}, false}, "CIMD-16/some": {outbound.Targets{"client.example"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := newDocuments(t, func(o *Options) {
				o.Allow, o.Own = row.allow, map[string][]byte{"https://own.example/c": []byte(`{}`)}
			})
			require.Equal(t, row.want, d.AcceptsStrangers())
		})
	}
}

// TestOptionsProblems: all at once.
func TestOptionsProblems(t *testing.T) {
	t.Parallel()
	_, err := New(Options{
		Allow: outbound.Targets{"client.example", "https://client.example", "*.example"}, Deny: outbound.Targets{"client.example:0", "own.example"},
		AllowPrivate: outbound.Targets{"http://wiki.example/c", "a b"},
		Own:          map[string][]byte{"own": []byte(`{}`), "https://h/c": []byte(`[]`), "http://own.example/c": []byte(`{}`)},
		MinAge:       time25h, Timeout: -1, Proxy: &url.URL{Scheme: "socks5", Host: "proxy.example"},
	})
	require.EqualError(t, err, `cimd: Options: `+strings.Join([]string{
		`Allow: "*.example" is neither a URL nor a host, such as client.example or client.example:8443`,
		`Allow: "https://client.example" is not an identifier that names a document`,
		`Deny: "client.example:0" is neither a URL nor a host, such as client.example or client.example:8443`,
		`AllowPrivate: "a b" is neither a URL nor a host, such as client.example or client.example:8443`,
		`AllowPrivate: "http://wiki.example/c" has to be https`,
		`Own: Deny has "http://own.example/c"`,
		`Own: the document of "https://h/c" is not a JSON object`,
		`Own: "own" is not an identifier that names a document`,
		`only StaleFor may be negative: no other bound can be turned off`,
		`MinAge (25h0m0s) is more than MaxAge (24h0m0s)`,
		`Proxy "socks5://proxy.example" is not an http or https URL with a host`,
	}, "; "))
}

const time25h = 25 * 60 * 60 * 1_000_000_000

// TestOwnDocuments need no network, and no permission by a list.
func TestOwnDocuments(t *testing.T) {
	t.Parallel()
	d, _ := newDocuments(t, func(o *Options) {
		o.InsecureAllowLoopback, o.Allow = false, outbound.Targets{}
		o.Own = map[string][]byte{
			"https://own.invalid/c": []byte(`{"client_name":"one"}`), "http://own.invalid/c": []byte(`{"client_name":"two"}`),
		}
	})
	d.client = nil // no network
	r := new(reader)
	for range 2 {
		for effort := range 3 {
			r.get(t, d, "https://own.invalid/c", effort, "one")
			r.get(t, d, "http://own.invalid/c", effort, "two")
		}
	}
	require.Len(t, r.seen(), 2, "CIMD-25")
	_, err := d.Document(t.Context(), "https://own.invalid/d", 1, r.read)
	require.ErrorIs(t, err, fs.ErrNotExist, "CIMD-25")
}

// FuzzDocumentURL: what is accepted is one URL for every reader, and is fetched as it stands.
func FuzzDocumentURL(f *testing.F) {
	for _, id := range []string{
		"https://h/c", "https://[::1]:8443/a%20b?c=%2e#d", "https://u@h/../c", "http://h/%2e%2E/", "https://h:443/a%2f..", "https://h\\c/",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		scheme, host, ok := documentURL(id)
		if !ok {
			return
		}
		parsed, err := url.Parse(id)
		require.NoError(t, err)
		require.Equal(t, id, parsed.String())
		require.Equal(t, scheme, parsed.Scheme)
		require.Equal(t, host, parsed.Hostname())
		require.Nil(t, parsed.User)
		require.Empty(t, parsed.Fragment)
		require.True(t, strings.HasPrefix(parsed.Path, "/"))
		require.NotContains(t, strings.Split(parsed.Path, "/"), "..")
		require.Equal(t, parsed.RequestURI(), strings.TrimPrefix(id, scheme+"://"+parsed.Host))
		require.Equal(t, parsed.EscapedPath(), parsed.ResolveReference(&url.URL{}).EscapedPath(), "no dot segment is left to remove")
		if addr, err := netip.ParseAddr(host); err == nil {
			require.Empty(t, addr.Zone())
		}
		require.True(t, outbound.Targets{id}.Has(id, false))
	})
}
