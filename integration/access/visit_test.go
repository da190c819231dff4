package access_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// forwarded sends X-Forwarded-For, one header line each.
func forwarded(lines ...string) dcrtest.Edit {
	return func(r *http.Request) { r.Header["X-Forwarded-For"] = lines }
}

// ownProxies are those of the host in these tests.
var ownProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}

// ownProxy is one of them, as a peer.
const ownProxy = "10.0.0.1:443"

// callerRow is one request, and where it comes from.
type callerRow struct {
	peer  string
	lines []string // of X-Forwarded-For
	want  string   // empty means that there is no address
	none  bool     // no proxies are trusted
}

// callerRows are about who wrote what.
var callerRows = map[string]callerRow{
	"nobody_trusted":             {peerA, []string{"203.0.113.5"}, "192.0.2.1", true},
	"nobody_trusted/unix_socket": {"@", []string{"203.0.113.5"}, "", true},
	"peer_not_trusted":           {peerA, []string{"203.0.113.5"}, "192.0.2.1", false},
	"peer_not_trusted/poses":     {peerA, []string{"203.0.113.5, 10.0.0.2"}, "192.0.2.1", false},
	"no_header":                  {ownProxy, nil, "10.0.0.1", false},
	"empty_header":               {ownProxy, []string{""}, "10.0.0.1", false},
	"one":                        {ownProxy, []string{"203.0.113.5"}, "203.0.113.5", false},
	"forged_prefix":              {ownProxy, []string{"1.1.1.1, 10.0.0.9, 203.0.113.5"}, "203.0.113.5", false},
	"forged_line":                {ownProxy, []string{"1.1.1.1", "203.0.113.5"}, "203.0.113.5", false},
	"forged_garbage":             {ownProxy, []string{"\x00, ,,%%%, [", "203.0.113.5"}, "203.0.113.5", false},
	"two_proxies":                {ownProxy, []string{"203.0.113.5, 10.0.0.2"}, "203.0.113.5", false},
	"two_proxies/lines":          {ownProxy, []string{"203.0.113.5", "10.0.0.2"}, "203.0.113.5", false},
	"two_proxies/forged":         {ownProxy, []string{"1.1.1.1, 203.0.113.5 ,10.0.0.2"}, "203.0.113.5", false},
	"not_trusted_between":        {ownProxy, []string{"203.0.113.5, 198.51.100.1, 10.0.0.2"}, "198.51.100.1", false},
	"all_trusted":                {ownProxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", false},
	"spaces":                     {ownProxy, []string{"1.1.1.1 , \t203.0.113.5\t "}, "203.0.113.5", false},
}

// spelledRows are about how it is spelled.
var spelledRows = map[string]callerRow{
	"port":                  {ownProxy, []string{"203.0.113.5:61234"}, "203.0.113.5", false},
	"trusted_port":          {ownProxy, []string{"203.0.113.5, 10.0.0.2:443"}, "203.0.113.5", false},
	"v6":                    {ownProxy, []string{"2001:db8::5"}, "2001:db8::5", false},
	"v6_brackets":           {ownProxy, []string{"[2001:db8::5]"}, "2001:db8::5", false},
	"v6_port":               {ownProxy, []string{"[2001:db8::5]:61234"}, "2001:db8::5", false},
	"v6_zone":               {ownProxy, []string{"fe80::5%eth0"}, "fe80::5", false},
	"v6_zone_port":          {ownProxy, []string{"[fe80::5%25eth0]:1"}, "fe80::5", false},
	"v6_long":               {ownProxy, []string{"2001:0DB8:0000:0000:0000:0000:0000:0005"}, "2001:db8::5", false},
	"v6_proxy":              {"[2001:db8:ffff::1]:1", []string{"203.0.113.5, 2001:db8:ffff::2"}, "203.0.113.5", false},
	"v6_peer_zone":          {"[fe80::1%eth0]:1", []string{"203.0.113.5"}, "fe80::1", false},
	"v4_mapped":             {ownProxy, []string{"::ffff:203.0.113.5"}, "203.0.113.5", false},
	"v4_mapped_peer":        {"[::ffff:10.0.0.1]:443", []string{"203.0.113.5"}, "203.0.113.5", false},
	"v4_mapped_proxy":       {ownProxy, []string{"203.0.113.5, ::ffff:10.0.0.2"}, "203.0.113.5", false},
	"v4_mapped_not_trusted": {"[::ffff:192.0.2.1]:1", []string{"203.0.113.5"}, "192.0.2.1", false},
	"unknown":               {ownProxy, []string{"203.0.113.5, unknown"}, "10.0.0.1", false},
	"obfuscated":            {ownProxy, []string{"203.0.113.5, _gazonk"}, "10.0.0.1", false},
	"empty_entry":           {ownProxy, []string{"203.0.113.5, , 10.0.0.2"}, "10.0.0.2", false},
	"empty_last":            {ownProxy, []string{"203.0.113.5,"}, "10.0.0.1", false},
	"empty_first":           {ownProxy, []string{", 203.0.113.5"}, "203.0.113.5", false},
	"octal":                 {ownProxy, []string{"203.0.113.5, 010.0.0.2"}, "10.0.0.1", false},
	"decimal":               {ownProxy, []string{"203.0.113.5, 167772162"}, "10.0.0.1", false},
	"prefix":                {ownProxy, []string{"203.0.113.5, 10.0.0.0/8"}, "10.0.0.1", false},
	"quoted":                {ownProxy, []string{`203.0.113.5, "10.0.0.2"`}, "10.0.0.1", false},
	"host_name":             {ownProxy, []string{"203.0.113.5, localhost"}, "10.0.0.1", false},
	"forwarded_element":     {ownProxy, []string{"203.0.113.5, for=10.0.0.2"}, "10.0.0.1", false},
	"unix_socket":           {"@", []string{"203.0.113.5"}, "203.0.113.5", false},
	"unix_socket/named":     {"/run/proxy.sock", []string{"1.1.1.1, 203.0.113.5"}, "203.0.113.5", false},
	"unix_socket/no_header": {"@", nil, "", false},
	"unix_socket/garbage":   {"@", []string{"unknown"}, "", false},
	"many":                  {ownProxy, []string{strings.Repeat("10.0.0.2, ", 9_999) + "10.0.0.3"}, "10.0.0.2", false},
	"many_lines":            {ownProxy, repeated(10_000, "10.0.0.2"), "10.0.0.2", false},
	"many_empty_lines":      {ownProxy, append([]string{"203.0.113.5"}, repeated(10_000, "")...), "203.0.113.5", false},
}

// TestCallerAddress: the peer counts unless it is one of the host's own proxies; then what
// the nearest proxies wrote counts, and nothing that the caller did.
func TestCallerAddress(t *testing.T) {
	t.Parallel()
	rows := maps.Clone(callerRows)
	maps.Copy(rows, spelledRows)
	require.Len(t, rows, len(callerRows)+len(spelledRows))
	for name, row := range rows {
		t.Run("T16/"+name, func(t *testing.T) {
			t.Parallel()
			s := startLimited(t, dcr.RateLimit{}, nobody, func(setup *dcrtest.Setup) {
				if !row.none {
					setup.Config.Limits.TrustedProxies = ownProxies
				}
			})
			require.Equal(t, http.StatusForbidden, s.from(row.peer, forwarded(row.lines...)).Status)
			event := s.events.TakeOne(t)
			require.Equal(t, dcr.EventRefused, event.Kind)
			if row.want == "" {
				require.False(t, event.Address.IsValid(), event.Address)
				return
			}
			require.Equal(t, row.want, event.Address.String())
		})
	}
}

func repeated(n int, s string) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = s
	}
	return lines
}

// TestForgedAddressesShareALimit: what a caller writes into headers makes it no other
// caller, whether proxies are trusted or not (T16).
func TestForgedAddressesShareALimit(t *testing.T) {
	t.Parallel()
	headers := []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Forwarded-Host"}
	for name, row := range map[string]struct {
		proxies []netip.Prefix
		peer    string
		behind  string // what the host's proxy appends
	}{
		"T16/nobody_trusted":   {nil, peerA, ""},
		"T16/peer_not_trusted": {ownProxies, peerA, ""},
		"T16/behind_a_proxy":   {ownProxies, "10.0.0.1:443", "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startLimited(t, dcr.RateLimit{PerCaller: dcr.Rate{Count: len(headers), Per: time.Hour}}, nobody,
				func(setup *dcrtest.Setup) { setup.Config.Limits.TrustedProxies = row.proxies })
			ask := func(header, forged string) int {
				return s.from(row.peer, func(r *http.Request) {
					r.Header.Set(header, forged)
					if row.behind != "" {
						r.Header.Add("X-Forwarded-For", row.behind)
					}
				}).Status
			}
			for i, header := range headers {
				require.Equal(t, http.StatusForbidden, ask(header, "203.0.113."+string(rune('1'+i))))
			}
			for _, header := range headers {
				require.Equal(t, http.StatusTooManyRequests, ask(header, "203.0.113.200"))
			}
		})
	}
}

// TestProxiesAreCopied: what the caller of Extend does with its list afterwards changes
// nothing.
func TestProxiesAreCopied(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	s := startLimited(t, dcr.RateLimit{}, nobody, func(setup *dcrtest.Setup) { setup.Config.Limits.TrustedProxies = proxies })
	proxies[0] = netip.MustParsePrefix("0.0.0.0/0")
	s.from(peerA, forwarded("203.0.113.5"))
	require.Equal(t, "192.0.2.1", s.events.TakeOne(t).Address.String(), "T16")
}

// TestMappedProxies: a network that is written in the IPv4-mapped form is the IPv4 one, or is
// refused: a proxy that is silently not trusted makes one caller of all its callers (T16).
func TestMappedProxies(t *testing.T) {
	t.Parallel()
	setup := dcrtest.Setup{Config: dcr.Config{Limits: dcr.Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}}}
	if _, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(setup); err != nil {
		return
	}
	s := startLimited(t, dcr.RateLimit{}, nobody, func(running *dcrtest.Setup) {
		running.Config.Limits.TrustedProxies = setup.Config.Limits.TrustedProxies
	})
	s.from("10.0.0.1:1", forwarded("203.0.113.5"))
	require.Equal(t, "203.0.113.5", s.events.TakeOne(t).Address.String())
}

// TestAddressOfEveryEvent: registration, management and a failed authentication at an
// endpoint of fosite's tell the same address (LIFE-05, T16).
func TestAddressOfEveryEvent(t *testing.T) {
	t.Parallel()
	s := startLimited(t, dcr.RateLimit{}, func(setup *dcrtest.Setup) { setup.Config.Limits.TrustedProxies = ownProxies })
	client := s.from("10.0.0.1:1", forwarded("1.1.1.1, 203.0.113.5"))
	require.Equal(t, http.StatusCreated, client.Status, client.Body)
	requireAddress := func(kind dcr.EventKind) {
		t.Helper()
		event := s.events.TakeOne(t)
		require.Equal(t, kind, event.Kind)
		require.Equal(t, "203.0.113.5", event.Address.String())
		require.GreaterOrEqual(t, event.Elapsed, time.Duration(0))
	}
	requireAddress(dcr.EventRegistered)

	request := httptest.NewRequest(http.MethodGet, "/register/"+client.ID(), nil)
	request.RemoteAddr = "10.0.0.1:1"
	forwarded("203.0.113.5")(request)
	dcrtest.Bearer("wrong")(request)
	s.Provider.ManagementHandler().ServeHTTP(httptest.NewRecorder(), request)
	requireAddress(dcr.EventAuthenticationFailed)

	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
	request = httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	request.RemoteAddr = "10.0.0.1:1"
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	forwarded("203.0.113.5")(request)
	dcrtest.Basic(client.ID(), "wrong")(request)
	access, err := s.Provider.NewAccessRequest(request.Context(), request, dcrtest.NewSession(""))
	s.Provider.WriteAccessError(request.Context(), httptest.NewRecorder(), access, err)
	requireAddress(dcr.EventAuthenticationFailed)
}
