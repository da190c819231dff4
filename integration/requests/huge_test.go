package requests_test

import (
	"strconv"
	"strings"
)

// hugeBodies makes the bodies that are too long for a file.
var hugeBodies = map[string]func() string{
	"json-deep-unclosed":         func() string { return strings.Repeat("[", 60_000) },
	"json-deep-objects-unclosed": func() string { return strings.Repeat(`{"a":`, 40_000) },
	"json-deep-unknown-member": func() string {
		return hugeBody(`"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000))
	},
	"redirect-very-long": func() string {
		return `{"redirect_uris":["https://client.example.com/` + strings.Repeat("a", 20_000) + `"],"token_endpoint_auth_method":"none"}`
	},
	"keys-thousand-keys": func() string {
		return hugeBody(`"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + numbered(1000, hugeKey+`,"kid":"`, `"}`) + `]}`)
	},
	"text-name-one-megabyte": func() string {
		return `{"redirect_uris":["https://client.example.com/cb"],"client_name":"` + strings.Repeat("N", 1<<20) + `"}`
	},
	"scope-ten-thousand": func() string {
		return hugeBody(`"scope":"` + strings.ReplaceAll(numbered(10_000, "s", ""), ",", " ") + `"`)
	},
	"limits-redirect-uris-10000": func() string {
		return `{"redirect_uris":[` + numbered(10_000, `"https://client.example.com/cb/`, `"`) + `]}`
	},
	"limits-members-1000":         func() string { return hugeBody(numbered(1000, `"unknown_`, `":0`)) },
	"limits-localised-names-500":  func() string { return hugeBody(numbered(500, `"client_name#x-a`, `":"n"`)) },
	"limits-member-name-100k":     func() string { return hugeBody(`"` + strings.Repeat("m", 100_000) + `":1`) },
	"limits-unknown-1mb":          func() string { return hugeBody(`"padding":"` + strings.Repeat("p", 1_100_000) + `"`) },
	"limits-software-version-64k": func() string { return hugeBody(`"software_version":"1.` + strings.Repeat("0", 1<<16) + `"`) },
	"limits-acr-values-3000": func() string {
		return hugeBody(`"default_acr_values":[` + numbered(3000, `"urn:acr:`, `"`) + `]`)
	},
	"limits-grant-types-2000": func() string {
		return hugeBody(`"grant_types":[` + strings.Repeat(`"authorization_code",`, 1999) + `"authorization_code"]`)
	},
	"limits-contacts-5000": func() string {
		return hugeBody(`"contacts":[` + strings.Repeat(`"a@b.example",`, 4999) + `"a@b.example"]`)
	},
}

// hugeKey is a good key, without its end.
const hugeKey = `{"kty":"EC","crv":"P-256","x":"Qr8oLD1c1mMFTvtGLPKrht-Q8zVg96zyfMx7-r9Icqw","y":"LZBD5kVT7xe-E7PBU039VEG4YLwswV4TlS9UThnQfxQ"`

// hugeBody puts members into a registration that is otherwise fine.
func hugeBody(members string) string {
	return `{"redirect_uris":["https://client.example.com/cb"],"client_name":"Huge",` + members + `}`
}

// numbered returns n items, each with its number between before and after, divided by commas.
func numbered(n int, before, after string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = before + strconv.Itoa(i) + after
	}
	return strings.Join(items, ",")
}
