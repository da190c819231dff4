package consent_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/idna"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// named is an anonymous client with a name, and with further ones under their tags.
func named(name string, tagged ...string) *dcr.Client {
	client := returning("https://app.example/cb")
	client.Metadata.ClientName = name
	client.Metadata.Localized = map[string]string{}
	for i := 0; i < len(tagged); i += 2 {
		client.Metadata.Localized["client_name#"+tagged[i]] = tagged[i+1]
	}
	return client
}

// returning is an anonymous client with redirect URIs.
func returning(uris ...string) *dcr.Client {
	return &dcr.Client{
		ID: "a0b1c2d3e4f5a6b7c8d9", Origin: dcr.Registrant{Kind: "open", Anonymous: true},
		Metadata: dcr.ClientMetadata{ClientName: "App", RedirectURIs: uris},
	}
}

func TestDescribeNameInLanguage(t *testing.T) {
	t.Parallel()
	several := []string{"fr", "Météo", "de-AT", "Wetter", "zh-Hant", "天氣", "pt-BR", "Tempo", "en", "Forecast"}
	for name, c := range map[string]struct {
		client   *dcr.Client
		locales  []string
		want     string
		language string
	}{
		"no_tags":              {named("Weather"), []string{"fr"}, "Weather", ""},
		"no_locale":            {named("Weather", several...), nil, "Weather", ""},
		"tag":                  {named("Weather", several...), []string{"fr"}, "Météo", "fr"},
		"accept_language":      {named("Weather", several...), []string{"fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5"}, "Météo", "fr"},
		"weights_count":        {named("Weather", several...), []string{"fr;q=0.1, de;q=0.9"}, "Wetter", "de-AT"},
		"weight_of_nothing":    {named("Weather", several...), []string{"fr;q=0"}, "Weather", ""},
		"order_of_locales":     {named("Weather", several...), []string{"de", "fr-CH, fr;q=0.9"}, "Wetter", "de-AT"},
		"script_by_region":     {named("Weather", several...), []string{"zh-TW"}, "天氣", "zh-Hant"},
		"neighbouring_region":  {named("Weather", several...), []string{"pt-PT"}, "Tempo", "pt-BR"},
		"no_match":             {named("Weather", several...), []string{"fi"}, "Weather", ""},
		"any_language":         {named("Weather", several...), []string{"*"}, "Weather", ""},
		"no_match_no_plain":    {named("", several...), []string{"fi"}, "Forecast", "en"},
		"no_match_no_english":  {named("", "fr", "Météo", "de", "Wetter"), []string{"fi"}, "Wetter", "de"},
		"one_entry_unreadable": {named("Weather", several...), []string{"tlh-Kronos, not a tag, fr;q=0.5"}, "Météo", "fr"},
		"locale_unreadable":    {named("Weather", several...), []string{";;;", "\xff", "de"}, "Wetter", "de-AT"},
		"long_locale":          {named("Weather", several...), []string{"fr," + strings.Repeat("a-", 1<<20)}, "Météo", "fr"},
		"tag_unreadable":       {named("Weather", "\xff\xff", "Bad", "a-very-wrong-tag-it-is", "Worse"), []string{"fr"}, "Weather", ""},
		"tagged_is_invisible":  {named("Weather", "fr", "\u200b\u202e"), []string{"fr"}, "Weather", ""},
	} {
		t.Run("7591-2-18/"+name, func(t *testing.T) {
			t.Parallel()
			d := described(t, c.client, c.locales...)
			require.Equal(t, c.want, d.Name)
			require.Equal(t, c.language, d.Language)
			require.True(t, d.Named)
		})
	}
}

// TestDescribeNameIsSafe: a name is a line of package plaintext, whose tests have every kind of character.
func TestDescribeNameIsSafe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ given, want string }{
		"T21/bidi_override":      {"Goo\u202egle\u202c", "Google"},
		"T21/line_breaks":        {"App\r\nis verified\u2028by\u2029us\u0085now", "App is verified by us now"},
		"T21/long":               {strings.Repeat("ä", 81), strings.Repeat("ä", 80) + "…"},
		"persian":                {"می\u200cخواهم", "می\u200cخواهم"},
		"markup_is_for_the_page": {`<b>"&`, `<b>"&`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := described(t, named(c.given))
			require.Equal(t, c.want, d.Name)
			require.True(t, d.Named)
		})
	}
}

func TestDescribeWithoutName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id   string
		uris []string
		want string
	}{
		"redirect_host":  {"a0b1c2d3e4f5a6b7", []string{"http://127.0.0.1/cb", "https://app.example:8443/cb"}, "app.example:8443"},
		"scheme":         {"a0b1c2d3e4f5a6b7", []string{"com.example.app:/cb"}, "com.example.app:"},
		"loopback":       {"a0b1c2d3e4f5a6b7", []string{"http://127.0.0.1/cb"}, "a0b1c2d3e4f5…"},
		"short_id":       {"a0b1c2", nil, "a0b1c2"},
		"odd_id":         {"\u202ea\nb", nil, "a b"},
		"no_redirect":    {"a0b1c2d3e4f5a6b7", nil, "a0b1c2d3e4f5…"},
		"no_uri_at_all":  {"a0b1c2d3e4f5a6b7", []string{"%", ""}, "a0b1c2d3e4f5…"},
		"document":       {"https://app.example/client.json", []string{"http://127.0.0.1/cb"}, "app.example"},
		"document_on_ip": {"https://[2001:4860::1]:8443/client", nil, "[2001:4860::1]:8443"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := returning(c.uris...)
			client.ID, client.Metadata.ClientName = c.id, "\u200b \u2800"
			d := described(t, client, "en")
			require.Equal(t, c.want, d.Name)
			require.False(t, d.Named)
			require.Empty(t, d.Language)
		})
	}
}

// isPunycode is the remark on a host whose name has letters other than a to z, after the host.
const isPunycode = " is the technical form of a name with letters other than a to z, which can look like another name"

// TestDescribeHosts: an internationalised host is shown in punycode, with a remark, whatever its letters look like.
func TestDescribeHosts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ letters, punycode string }{
		"german":                          {"münchen.example", "xn--mnchen-3ya.example"},
		"vietnamese":                      {"tiếng-việt.example", "xn--ting-vit-e50d7c.example"},
		"polish":                          {"łódź.example", "xn--d-uga0v4h.example"},
		"russian":                         {"пример.example", "xn--e1afmkfd.example"},
		"russian_lookalike_under_its_tld": {"сор.рф", "xn--n1aeb.xn--p1ai"},
		"greek":                           {"παράδειγμα.example", "xn--hxajbheg2az3al.example"},
		"japanese":                        {"東京のストアー.example", "xn--u9jtfucwcxol24ngiyb.example"},
		"japanese_with_latin":             {"abcストア.example", "xn--abc-li4boevd.example"},
		"korean_with_latin":               {"kt한국.example", "xn--kt-to2i723k.example"},
		"thai":                            {"ไทย.example", "xn--o3cw4h.example"},
		"hindi":                           {"हिन्दी.example", "xn--j2bd4cyah0f.example"},
		"arabic":                          {"مثال.إختبار", "xn--mgbh0fb.xn--kgbechtv"},
		"hebrew":                          {"דוגמה.טעסט", "xn--6dbbec0c.xn--deba0ad"},
		"each_label_by_itself":            {"пример.münchen.example", "xn--e1afmkfd.xn--mnchen-3ya.example"},
		"cyrillic_apple":                  {"аррӏе.com", "xn--80ak6aa92e.com"},
		"greek_lookalike":                 {"ηακ.com", "xn--mxalk.com"},
		"armenian_lookalike":              {"ոսւ.com", "xn--mbbkp.com"},
		"lookalike_with_digits":           {"аррӏе24.com", "xn--24-6kcu8ca51h.com"},
		"cyrillic_in_latin":               {"аpple.example", "xn--pple-43d.example"},
		"greek_in_latin":                  {"gοogle.example", "xn--gogle-rce.example"},
		"over_a_hyphen":                   {"google-рф.example", "xn--google--wjg0b.example"},
		"cyrillic_and_greek":              {"жω.example", "xn--bya1t.example"},
		"persian_digit":                   {"app۵.example", "xn--app-9nf.example"},
		"devanagari_digit":                {"app०.example", "xn--app-pph.example"},
		"phonetic_g":                      {"ɡoogle.example", "xn--oogle-qmc.example"},
		"dotless_i":                       {"pıng.example", "xn--png-jua.example"},
		"thorn":                           {"þing.example", "xn--ing-ooa.example"},
		"click":                           {"goǃ.example", "xn--go-01a.example"},
		"hawaiian_letter":                 {"hawaiʻi.example", "xn--hawaii-mjd.example"},
		"stroke":                          {"go\u0338ogle.example", "xn--google-j8d.example"},
		"slash_of_kana":                   {"googleノcom.example", "xn--googlecom-l74h.example"},
		"hyphen_of_han":                   {"google一com.example", "xn--googlecom-075n.example"},
		"kana_without_kana":               {"google一login.example", "xn--googlelogin-qm8q.example"},
		"cherokee":                        {"ꮪꮲ.example", "xn--tbeq.example"},
		"snowman":                         {"☃.example", "xn--n3h.example"},
		"right_to_left_in_left_to_right":  {"דוגמה.example", "xn--6dbbec0c.example"},
		"joiner":                          {"نامه\u200cای.example", "xn--mgba3gch31f060k.example"},
	} {
		t.Run("RU-11/"+name, func(t *testing.T) {
			t.Parallel()
			ascii, err := idna.Lookup.ToASCII(c.letters) // as browsers read the name
			require.NoError(t, err)
			require.Equal(t, c.punycode, ascii)
			d := described(t, returning("https://"+c.punycode+"/cb"))
			require.Equal(t, []string{c.punycode}, d.RedirectHosts)
			require.Equal(t, []string{c.punycode + isPunycode}, d.Suspicious)
		})
	}
	t.Run("RU-11/ascii", func(t *testing.T) {
		t.Parallel()
		d := described(t, returning("https://app.example/cb"))
		require.Equal(t, []string{"app.example"}, d.RedirectHosts)
		require.Empty(t, d.Suspicious)
	})
}

func TestDescribeRedirects(t *testing.T) {
	t.Parallel()
	type list = []string
	for name, c := range map[string]struct {
		uris         list
		hosts        list
		suspicious   list
		loopbackOnly bool
	}{
		"T20/host":                 {list{"https://app.example/cb?x=evil.example", "https://app.example/other"}, list{"app.example"}, nil, false},
		"T20/port":                 {list{"https://app.example:8443/cb", "https://app.example:443/cb"}, list{"app.example:8443", "app.example"}, nil, false},
		"T20/underscore":           {list{"https://a_b.example/cb"}, list{"a_b.example"}, nil, false},
		"T20/order":                {list{"https://b.example/", "https://a.example/"}, list{"b.example", "a.example"}, nil, false},
		"RU-11/upper_case":         {list{"https://XN--MNCHEN-3YA.Example/cb"}, list{"xn--mnchen-3ya.example"}, list{"xn--mnchen-3ya.example" + isPunycode}, false},
		"RU-11/private_ip":         {list{"https://10.0.0.1/cb"}, list{"10.0.0.1"}, list{"10.0.0.1 is an address that is not on the public internet"}, false},
		"RU-11/private_ip_port":    {list{"https://192.168.1.1:8443/cb"}, list{"192.168.1.1:8443"}, list{"192.168.1.1 is an address that is not on the public internet"}, false},
		"RU-11/link_local":         {list{"https://169.254.169.254/cb"}, list{"169.254.169.254"}, list{"169.254.169.254 is an address that is not on the public internet"}, false},
		"RU-11/private_ipv6":       {list{"https://[fd00::1]/cb"}, list{"[fd00::1]"}, list{"[fd00::1] is an address that is not on the public internet"}, false},
		"RU-11/mapped":             {list{"https://[::ffff:10.0.0.1]/cb"}, list{"[::ffff:10.0.0.1]"}, list{"[::ffff:10.0.0.1] is an address that is not on the public internet"}, false},
		"RU-11/public_ip":          {list{"https://8.8.8.8/cb"}, list{"8.8.8.8"}, nil, false},
		"T50/loopback":             {list{"http://127.0.0.1:1234/cb", "http://127.0.0.1/cb", "http://[::1]:5/cb", "http://localhost/cb"}, list{"127.0.0.1", "[::1]", "localhost"}, nil, true},
		"T50/loopback_https":       {list{"https://localhost:8443/cb"}, list{"localhost"}, nil, true},
		"T50/loopback_and_host":    {list{"http://127.0.0.1/cb", "https://app.example/cb"}, list{"127.0.0.1", "app.example"}, nil, false},
		"T50/loopback_and_scheme":  {list{"http://127.0.0.1/cb", "com.example.app:/cb"}, list{"127.0.0.1", "com.example.app:"}, nil, false},
		"T50/scheme":               {list{"com.example.app:/cb", "com.example.app://google.com/cb"}, list{"com.example.app:"}, nil, false},
		"T50/listed_scheme":        {list{"cursor://anysphere.cursor/cb"}, list{"cursor:"}, nil, false},
		"T50/none":                 {nil, nil, nil, false},
		"stored/user_information":  {list{"https://google.com@evil.example/cb"}, list{"evil.example"}, list{"a redirect URI has user information"}, false},
		"stored/plain_http":        {list{"http://app.example/cb"}, list{"app.example"}, list{"a redirect URI uses http for a host that is not loopback"}, false},
		"stored/script":            {list{"javascript:alert(1)"}, list{"javascript:"}, list{"a redirect URI has a scheme that leads to no client"}, false},
		"stored/relative":          {list{"/cb"}, nil, list{"a redirect URI is not an absolute URI"}, false},
		"stored/empty":             {list{"", ""}, nil, list{"a redirect URI is empty"}, false},
		"stored/no_host":           {list{"https:///cb"}, nil, list{"a redirect URI has no host"}, false},
		"stored/decimal_ip":        {list{"https://2130706433/cb"}, list{"2130706433"}, list{"a redirect URI has a host that is neither a DNS name nor an IP address"}, false},
		"RU-11/stored/punycode":    {list{"https://xn--/cb", "https://xn--a.example/"}, list{"xn--", "xn--a.example"}, list{"a redirect URI has a host with an invalid punycode label", "xn--" + isPunycode, "xn--a.example" + isPunycode}, false},
		"RU-11/stored/raw_letters": {list{"https://аpple.example/cb"}, list{"xn--pple-43d.example"}, list{"a redirect URI has a character outside ASCII (encode it with percent signs, a host name with punycode)", "xn--pple-43d.example" + isPunycode}, false},
		"RU-11/stored/bidi":        {list{"https://a\u202eb.example/cb"}, list{"a%E2%80%AEb.example"}, list{"a redirect URI has a character outside ASCII (encode it with percent signs, a host name with punycode)"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := described(t, returning(c.uris...))
			require.Equal(t, c.hosts, d.RedirectHosts)
			require.Equal(t, c.suspicious, d.Suspicious)
			require.Equal(t, c.loopbackOnly, d.LoopbackOnly)
		})
	}
	t.Run("T20/long_host_shows_its_domain", func(t *testing.T) {
		t.Parallel()
		host := described(t, returning("https://google.com."+strings.Repeat("a.", 5000)+"evil.example/cb")).RedirectHosts[0]
		require.True(t, strings.HasSuffix(host, ".a.evil.example"))
		require.LessOrEqual(t, utf8.RuneCountInString(host), 254)
	})
}

func TestHost(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"http://127.0.0.1:49152/cb": "127.0.0.1:49152", "https://xn--mnchen-3ya.example:8443/": "xn--mnchen-3ya.example:8443",
		"https://xn--80ak6aa92e.com/": "xn--80ak6aa92e.com", "cursor://anysphere.cursor/cb": "cursor:", "/cb": "", "https:///cb": "",
		"https://app.example:443/": "app.example", "http://localhost:80/": "localhost",
	} {
		u, err := url.Parse(uri)
		require.NoError(t, err)
		require.Equal(t, want, consent.Host(u), uri)
	}
	require.Empty(t, consent.Host(nil))
}

func TestDescribeRemarksOnNames(t *testing.T) {
	t.Parallel()
	for name, suspicious := range map[string]bool{
		"Google": false, "Яндекс Maps": false, "Приложение-App": false, "東京タワー": false, "LINEアプリ": false, "µTorrent": false,
		"Gооgle": true, "Gооgle Maps": true, "G\u200cоogle": true, "Αpple": true,
	} {
		require.Equal(t, suspicious, len(described(t, named(name)).Suspicious) > 0, "T21: %s", name)
	}
	document := named("App")
	document.ID = "https://xn--80ak6aa92e.com/client.json"
	d := described(t, document)
	require.Equal(t, "xn--80ak6aa92e.com", d.IdentifierHost, "CIMD-12")
	require.Equal(t, []string{"xn--80ak6aa92e.com" + isPunycode}, d.Suspicious)
}

func TestDescribeWhoVouches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		origin  dcr.Registrant
		how, by string
		ok      bool
	}{
		"T20/open":                    {dcr.Registrant{Kind: "open", Anonymous: true}, "", "", false},
		"T20/open_lost_its_flag":      {dcr.Registrant{Kind: "open"}, "", "", false},
		"T20/anonymous_of_a_own":      {dcr.Registrant{Kind: "own", Subject: "claimed", Anonymous: true}, "", "", false},
		"T20/nothing_stored":          {dcr.Registrant{}, "", "", false},
		"T21/initial":                 {dcr.Registrant{Kind: "initial_access_token", Subject: "partner", InitialAccessToken: "x"}, "initial_access_token", "partner", true},
		"T21/initial_without_subject": {dcr.Registrant{Kind: "initial_access_token", InitialAccessToken: "x"}, "initial_access_token", "", true},
		"T21/access_token":            {dcr.Registrant{Kind: "access_token", ClientID: "ci", Subject: "alice"}, "access_token", "alice", true},
		"T21/service":                 {dcr.Registrant{Kind: "access_token", ClientID: "ci"}, "access_token", "ci", true},
		"T21/signed_in":               {dcr.Registrant{Kind: "signed_in", Subject: "al\u202eice"}, "signed_in", "alice", true},
		"T21/own_rule":                {dcr.Registrant{Kind: "mtls"}, "mtls", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := returning("https://app.example/cb")
			client.Origin = c.origin
			d := described(t, client)
			require.Equal(t, c.ok, d.Verified)
			require.Equal(t, c.how, d.VouchedHow)
			require.Equal(t, c.by, d.VouchedBy)
		})
	}
	t.Run("T21/statement_without_its_issuer", func(t *testing.T) {
		client := returning("https://app.example/cb")
		client.Metadata.SoftwareStatement = "a.b.c"
		require.False(t, described(t, client).Verified)
	})
}

func TestDescribePages(t *testing.T) {
	t.Parallel()
	vouched := dcr.Registrant{Kind: "initial_access_token"}
	for name, c := range map[string]struct {
		origin   dcr.Registrant
		uri      string
		page     bool
		logo     bool
		redirect string
	}{
		"T21/anonymous_elsewhere":    {dcr.Registrant{Anonymous: true}, "https://google.com/logo.png", false, false, "https://app.example/cb"},
		"T21/anonymous_own_host":     {dcr.Registrant{Anonymous: true}, "https://APP.example/logo.png", true, false, "https://app.example:8443/cb"},
		"T21/anonymous_app_scheme":   {dcr.Registrant{Anonymous: true}, "https://google.com/logo.png", false, false, "com.google:/cb"},
		"T21/anonymous_loopback":     {dcr.Registrant{Anonymous: true}, "https://localhost/logo.png", false, false, "https://localhost/cb"},
		"T21/vouched":                {vouched, "https://brand.example/logo.png", true, true, "https://app.example/cb"},
		"T21/vouched_http":           {vouched, "http://brand.example/logo.png", true, false, "https://app.example/cb"},
		"T21/vouched_script":         {vouched, "javascript:alert(1)", false, false, "https://app.example/cb"},
		"T21/vouched_data":           {vouched, "data:image/png;base64,AAAA", false, false, "https://app.example/cb"},
		"T21/vouched_user":           {vouched, "https://google.com@brand.example/", false, false, "https://app.example/cb"},
		"T21/vouched_user's_network": {vouched, "https://192.168.1.1/reboot", false, false, "https://app.example/cb"},
		"T21/vouched_raw_letters":    {vouched, "https://аpple.example/", false, false, "https://app.example/cb"},
		"T21/vouched_nothing":        {vouched, "", false, false, "https://app.example/cb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := returning(c.redirect)
			client.Origin = c.origin
			m := &client.Metadata
			m.ClientURI, m.LogoURI, m.TOSURI, m.PolicyURI = c.uri, c.uri, c.uri, c.uri
			d := described(t, client)
			page, logo := "", ""
			if c.page {
				page = c.uri
			}
			if c.logo {
				logo = c.uri
			}
			require.Equal(t, []string{page, page, page, logo}, []string{d.ClientURI, d.TOSURI, d.PolicyURI, d.LogoURI})
		})
	}
	t.Run("7591-2-18/language", func(t *testing.T) {
		t.Parallel()
		client := returning("https://app.example/cb")
		client.Metadata.ClientURI = "https://app.example/"
		client.Metadata.Localized = map[string]string{
			"client_uri#fr": "https://app.example/fr", "client_uri#de": "javascript:alert(1)", "tos_uri#fr": "https://app.example/tos/fr",
		}
		d := described(t, client, "fr")
		require.Equal(t, "https://app.example/fr", d.ClientURI)
		require.Equal(t, "https://app.example/tos/fr", d.TOSURI)
		require.Equal(t, "App", d.Name)
		require.Equal(t, "https://app.example/", described(t, client, "de").ClientURI)
	})
}

// TestDescribeOfRegistrations: what was registered over HTTP is shown by the same rules.
func TestDescribeOfRegistrations(t *testing.T) {
	t.Parallel()
	display := func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) consent.Description {
		stored, err := s.Store.GetDynamicClient(context.Background(), client.ID())
		require.NoError(t, err)
		d, err := consent.Describe(t.Context(), s.Provider, stored)
		require.NoError(t, err)
		return d
	}
	t.Run("RU-11/not_refused", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		d := display(t, s, s.Register(t, members{"client_name": "Apple", "logo_uri": "https://apple.com/logo.png",
			"redirect_uris": []string{"https://xn--80ak6aa92e.com/cb", "https://10.0.0.1/cb"}}))
		require.Equal(t, []string{"xn--80ak6aa92e.com", "10.0.0.1"}, d.RedirectHosts)
		require.Equal(t, []string{"xn--80ak6aa92e.com" + isPunycode, "10.0.0.1 is an address that is not on the public internet"}, d.Suspicious)
		require.False(t, d.Verified, "T20")
		require.Empty(t, d.LogoURI, "T21")
		require.WithinDuration(t, time.Now(), d.Registered, time.Hour)
	})
	t.Run("T21/initial_access_token", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.StartInitial(t)
		token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{Subject: "partner"})
		d := display(t, s, s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token)))
		require.True(t, d.Verified)
		require.Equal(t, []string{"initial_access_token", "partner"}, []string{d.VouchedHow, d.VouchedBy})
	})
	t.Run("T21/software_statement", func(t *testing.T) {
		t.Parallel()
		issuer := dcrtest.NewDirectory(t, "1")
		s := dcrtest.Start(t, dcrtest.Setup{Config: issuer.Trusted()})
		d := display(t, s, s.Register(t, members{"software_statement": issuer.Sign(t, dcrtest.StatementClaims("logo_uri", "https://bank.example/logo.png"))}))
		require.True(t, d.Verified)
		require.Equal(t, []string{"software_statement", dcrtest.DirectoryIssuer}, []string{d.VouchedHow, d.VouchedBy})
		require.Equal(t, "https://bank.example/logo.png", d.LogoURI)
	})
}

// FuzzDescribe reads records as a storage gives them back, whoever wrote them.
func FuzzDescribe(f *testing.F) {
	f.Add("App", "fr", "Météo", "https://xn--mnchen-3ya.example/cb", "fr-CH, fr;q=0.9")
	f.Add("\u202e", "zh-Hant-x-a", "\u200d", "com.example.app:/cb", "*")
	f.Add("", "und", "🇨🇭", "https://[::ffff:10.0.0.1%25a]:0/", "x-a,,;q=")
	f.Fuzz(func(t *testing.T, name, tag, tagged, uri, locale string) {
		client := named(name, tag, tagged)
		client.ID = uri
		client.Origin = dcr.Registrant{Kind: tagged, Subject: name}
		client.Metadata.RedirectURIs = []string{uri, tagged}
		client.Metadata.LogoURI = uri
		d := described(t, client, locale, tag)
		for _, shown := range append(append(d.RedirectHosts, d.Suspicious...), d.Name, d.Language, d.IdentifierHost, d.VouchedHow, d.VouchedBy, d.LogoURI) {
			require.True(t, utf8.ValidString(shown))
			require.False(t, strings.ContainsFunc(shown, func(c rune) bool {
				return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
			}), "%q", shown)
			require.Less(t, utf8.RuneCountInString(shown), 4096)
		}
		_, err := json.Marshal(d)
		require.NoError(t, err)
	})
}
