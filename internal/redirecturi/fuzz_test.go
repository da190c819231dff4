package redirecturi_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

var seeds = []string{
	"https://client.example/cb?a=%20b",
	"https://xn--bcher-kva.example:8443/",
	"https://user@client.example/cb",
	"https://client.example/a/%2e%2e/cb",
	"http://127.0.0.1:8080/cb",
	"http://[::1]",
	"http://localhost/cb",
	"http://2130706433/",
	"com.example.app:/cb",
	"com.example.app://cb/path",
	"cursor://host/cb",
	"javascript:alert(1)",
}

// FuzzCheck holds what Check accepts against net/url, which reads it by itself.
func FuzzCheck(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		kind, err := redirecturi.Check(raw, redirecturi.Options{PrivateUseSchemes: []string{"cursor"}})
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.NotContains(t, err.Error(), `"`)
			require.NotContains(t, err.Error(), `\`)
			return
		}
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, raw, u.String())
		parsed, err := redirecturi.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, u, parsed)
		require.True(t, u.IsAbs())
		require.Nil(t, u.User)
		require.NotContains(t, raw, "#")
		require.Less(t, strings.IndexFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '*' }), 0)
		require.Equal(t, wantKind(u), kind)
		require.True(t, redirecturi.Matches(raw, raw, false))
		if kind == redirecturi.HTTPS {
			host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{})
			require.NoError(t, err)
			require.Equal(t, strings.ToLower(u.Hostname()), host)
		}
	})
}

// wantKind tells the kind of a URI by other means than the package does, zero where it should have none.
func wantKind(u *url.URL) redirecturi.Kind {
	addr, _ := netip.ParseAddr(u.Hostname())
	switch {
	case u.Scheme == "https" && u.Hostname() != "":
		return redirecturi.HTTPS
	case u.Scheme == "http" && addr.IsLoopback():
		return redirecturi.LoopbackIP
	case u.Scheme == "http" && strings.ToLower(u.Hostname()) == "localhost":
		return redirecturi.Localhost
	case strings.Contains(u.Scheme, ".") || u.Scheme == "cursor":
		return redirecturi.PrivateUse
	}
	return 0
}

// FuzzMatches makes sure that a port is all that sets apart two URIs that match.
func FuzzMatches(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed, seed)
	}
	f.Add("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb")
	f.Add("http://[::1]:1?a", "http://[::1]:2?a")
	f.Add("http://localhost/cb", "http://localhost:3118/cb")
	f.Add("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb")
	f.Fuzz(func(t *testing.T, registered, requested string) {
		if redirecturi.Matches(registered, requested, false) {
			require.True(t, redirecturi.Matches(registered, requested, true))
		}
		if registered == requested || !redirecturi.Matches(registered, requested, true) {
			return
		}
		want, err := url.Parse(registered)
		require.NoError(t, err)
		got, err := url.Parse(requested)
		require.NoError(t, err)
		require.Equal(t, "http", got.Scheme)
		require.NotEqual(t, want.Port(), got.Port())
		require.Equal(t, want.Hostname(), got.Hostname())
		want.Host, got.Host = "", ""
		require.Equal(t, want, got)
	})
}
