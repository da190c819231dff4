package metadata_test

import (
	"fmt"
	"strings"
	"testing"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestTextForPeople(t *testing.T) {
	t.Parallel()
	places := map[string]func(text string) members{
		"client_name":      func(text string) members { return members{"client_name": text} },
		"client_name#he":   func(text string) members { return members{"client_name#he": text} },
		"contacts":         func(text string) members { return members{"contacts": list{"ops@client.example", text}} },
		"software_id":      func(text string) members { return members{"software_id": text} },
		"software_version": func(text string) members { return members{"software_version": text} },
	}
	bad := map[string]string{
		"nul": "a\x00b", "bell": "a\x07b", "tab": "a\tb", "line_feed": "a\nb", "cr_lf": "a\r\nSet-Cookie: b", "escape": "\x1b[31ma", "delete": "a\x7fb",
		"c1_csi": "a\u009bb", "c1_nel": "a\u0085b", "lre": "a\u202ab", "rle": "a\u202bb", "pdf": "a\u202cb", "lro": "a\u202db", "rlo": "a\u202eb",
		"lri": "a\u2066b", "rli": "a\u2067b", "fsi": "a\u2068b", "pdi": "a\u2069b", "line_separator": "a\u2028b", "paragraph_separator": "a\u2029b",
		"first": "\u202ea", "last": "a\n", "long": strings.Repeat("a", 100_000),
	}
	good := map[string]string{
		"latin": "Élégante & Co. <b>\"quotes\"</b> 'x' \\ / `$`", "hebrew": "לקוח", "arabic": "عميل", "japanese": "クライアント", "devanagari": "क्\u200dष",
		"family_emoji": "👨\u200d👩\u200d👧\u200d👦", "flag": "🇫🇷", "direction_marks": "a\u200e\u200fb\u061c", "joiners": "a\u200cb\u200dc", "soft_hyphen": "a\u00adb",
		"no_break_space": "a\u00a0b", "spaces": "  a  b  ", "combining": "Z̸̡̢a̷l̶g̵o̴", "private_use": "a\ue000b", "replacement": "a\ufffdb", "beyond_bmp": "𝕏",
	}
	var rows []dcrtest.Outcome
	for member, place := range places {
		for kind, text := range bad {
			rows = append(rows, dcrtest.Outcome{Name: fmt.Sprintf("7591-2-23/T21/T45/%s/%s", member, kind), Send: place(text), Code: dcrtest.BadMetadata, Names: list{member}})
		}
		for kind, text := range good {
			rows = append(rows, dcrtest.Outcome{Name: fmt.Sprintf("7591-2-23/%s/%s", member, kind), Send: place(text), Back: place(text)})
		}
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestContacts(t *testing.T) {
	t.Parallel()
	three := members{"contacts": list{"ops@client.example", "+1 555 0100", "https://client.example/help"}}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-2-17/strings", Send: three, Back: three},
		{Name: "7591-2-17/number_inside", Send: members{"contacts": []any{"ops@client.example", 7}}, Code: dcrtest.BadMetadata, Names: list{"contacts"}},
		{Name: "7591-2-17/string", Send: members{"contacts": "ops@client.example"}, Code: dcrtest.BadMetadata, Names: list{"contacts"}},
		{Name: "7591-2-19/echo", Send: members{"software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "2.2.1 (build 7)"},
			Back: members{"software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "2.2.1 (build 7)"}},
		{Name: "7591-2-19/no_identity", Send: members{"software_id": "client_id", "software_version": "operator"},
			Back: members{"software_id": "client_id", "software_version": "operator"}},
	})
}

func TestLocalizedMembers(t *testing.T) {
	t.Parallel()
	two := members{"client_name": "Client", "client_name#fr": "Le client", "client_name#zh-Hant-TW": "客戶", "tos_uri#de": "https://client.example/agb"}
	alone := members{"client_name": dcrtest.Missing{}, "client_name#fr": "Le client"}
	many := members{}
	for i := range 1000 {
		many[fmt.Sprintf("client_name#x-%d", i)] = "a"
	}
	rows := []dcrtest.Outcome{
		{Name: "7591-2-18/several", Send: two, Back: two},
		{Name: "7591-2-18/only_tagged", Send: alone, Back: alone},
		{Name: "7591-2-18/null", Send: members{"client_name#fr": nil}, Back: members{"client_name#fr": dcrtest.Missing{}}},
		{Name: "7591-2-18/wrong_type", Send: members{"client_name#fr": 7}, Code: dcrtest.BadMetadata, Names: list{"client_name"}},
		{Name: "7591-2-22/T15/too_many", Send: many, Code: dcrtest.BadMetadata, Names: list{"client_name"}},
	}
	for kind, name := range map[string]string{
		"no_tag": "client_name#", "spaces": "client_name#not a tag", "digits_first": "client_name#1a", "long_subtag": "client_name#abcdefghi", "markup": "client_name#<b>",
		"two_tags": "client_name#fr#de", "empty_subtag": "client_name#fr--CA", "trailing_hyphen": "client_name#fr-", "underscore": "client_name#fr_CA", "non_ascii": "client_name#fré",
		"not_for_people": "software_id#fr", "list": "contacts#fr", "redirects": "redirect_uris#fr", "unknown": "x#fr",
	} {
		rows = append(rows, dcrtest.Outcome{Name: "7591-2-18/ignored/" + kind, Send: members{name: "tagged"}, Back: members{name: dcrtest.Missing{}}})
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	redirects := func(count int) (uris list) {
		for i := range count {
			uris = append(uris, fmt.Sprintf("https://a/%d", i))
		}
		return uris
	}
	texts := func(count int) (texts list) {
		for i := range count {
			texts = append(texts, fmt.Sprint(i))
		}
		return texts
	}
	long := "https://client.example/" + strings.Repeat("a", 1977)
	limited := func(limits dcr.Limits) dcrtest.Outcome {
		return dcrtest.Outcome{Setup: dcrtest.Configured(func(cfg *dcr.Config) { cfg.Limits = limits }), Code: dcrtest.BadMetadata}
	}
	byHost := func(name string, limits dcr.Limits, send members, code string, names ...string) dcrtest.Outcome {
		row := limited(limits)
		row.Name, row.Send, row.Code, row.Names = "7591-2-22/host/"+name, send, code, names
		return row
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-2-22/32_redirect_uris", Send: members{"redirect_uris": redirects(32)}, Back: members{"redirect_uris": redirects(32)}},
		{Name: "7591-2-22/T15/3000_redirect_uris", Send: members{"redirect_uris": redirects(3_000)}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris"}},
		{Name: "7591-2-22/2000_characters", Send: members{"redirect_uris": list{long}, "jwks_uri": long}, Back: members{"redirect_uris": list{long}, "jwks_uri": long}},
		{Name: "7591-2-22/T15/long_redirect_uri", Send: members{"redirect_uris": list{long + strings.Repeat("a", 10_000)}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris[0]"}},
		{Name: "7591-2-22/T15/grant_types", Send: members{"grant_types": append(texts(5000), "authorization_code")}, Code: dcrtest.BadMetadata, Names: list{"grant_types"}},
		{Name: "7591-2-22/T15/response_types", Send: members{"response_types": append(texts(5000), "code")}, Code: dcrtest.BadMetadata, Names: list{"response_types"}},
		{Name: "7591-2-22/T15/contacts", Send: members{"contacts": texts(5000)}, Code: dcrtest.BadMetadata, Names: list{"contacts"}},
		{Name: "7591-2-22/T15/default_acr_values", Send: members{"default_acr_values": texts(5000)}, Code: dcrtest.BadMetadata, Names: list{"default_acr_values"}},
		{Name: "7591-2-22/T15/long_grant_type", Send: members{"grant_types": list{"authorization_code", strings.Repeat("a", 10_000)}}, Code: dcrtest.BadMetadata, Names: list{"grant_types[1]"}},
		{Name: "7591-2-22/T15/long_method", Send: members{"token_endpoint_auth_method": strings.Repeat("a", 10_000)}, Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_method"}},
		byHost("redirect_uris", dcr.Limits{RedirectURIs: 1}, members{"redirect_uris": redirects(2)}, dcrtest.BadRedirect, "redirect_uris", "1"),
		byHost("elements", dcr.Limits{Elements: 2}, members{"contacts": texts(3)}, dcrtest.BadMetadata, "contacts", "2"),
		byHost("uri", dcr.Limits{URI: 30}, members{"logo_uri": "https://client.example/logo.png"}, dcrtest.BadMetadata, "logo_uri"),
		byHost("text", dcr.Limits{Text: 3}, members{"client_name": "abcd"}, dcrtest.BadMetadata, "client_name", "3"),
		byHost("scope", dcr.Limits{Scope: 20}, members{"scope": "openid profile  email"}, dcrtest.BadMetadata, "scope", "20"),
		byHost("localized", dcr.Limits{Localized: 1}, members{"client_name#fr": "a", "client_name#de": "b"}, dcrtest.BadMetadata, "client_name"),
		{Name: "7591-2-22/host/text_fits", Setup: limited(dcr.Limits{Text: 3}).Setup, Send: members{"client_name": "äöü"}, Back: members{"client_name": "äöü"}},
	})
}
