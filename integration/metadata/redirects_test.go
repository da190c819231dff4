package metadata_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const (
	loopbackURI  = "http://127.0.0.1:3000/cb"
	localhostURI = "http://localhost:3000/cb"
	privateURI   = "com.example.app:/cb"
)

func TestApplicationType(t *testing.T) {
	t.Parallel()
	letter := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.RefuseNativeHTTPS = true })
	taken := func(name string, application any, uris ...string) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "RU-09/" + name, Send: members{"application_type": application, "redirect_uris": uris}, Back: members{"redirect_uris": uris}}
	}
	implicit := func(name string, application any, code string, uris ...string) dcrtest.Outcome {
		row := dcrtest.Outcome{Name: "RU-09/implicit/" + name, Setup: dcrtest.Both(dcrtest.WithImplicit, dcrtest.Vouched), Code: code, Send: members{
			"application_type": application, "redirect_uris": uris, "grant_types": list{"implicit"}, "response_types": list{"token"}}}
		if code == "" {
			row.Back = members{"redirect_uris": uris}
		} else {
			row.Names = list{"redirect_uris", "application_type"}
		}
		return row
	}
	literal := func(name string, application any, code string, uris ...string) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "RU-09/letter/" + name, Setup: letter, Code: code, Send: members{"application_type": application, "redirect_uris": uris}}
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		taken("web_code", "web", dcrtest.RedirectURI, loopbackURI, localhostURI, privateURI, "http://[::1]/cb"),
		taken("none_code", dcrtest.Missing{}, dcrtest.RedirectURI, loopbackURI, localhostURI, privateURI),
		taken("null_code", nil, loopbackURI),
		taken("native", "native", privateURI, loopbackURI, localhostURI, "http://[::1]:3000/cb", dcrtest.RedirectURI),
		implicit("web_https", "web", "", dcrtest.RedirectURI),
		implicit("web_loopback", "web", dcrtest.BadRedirect, dcrtest.RedirectURI, loopbackURI),
		implicit("web_localhost", "web", dcrtest.BadRedirect, localhostURI),
		implicit("web_https_localhost", "web", dcrtest.BadRedirect, "https://localhost/cb"),
		implicit("web_https_localhost_case", "web", dcrtest.BadRedirect, "https://LOCALHOST:8443/cb"),
		implicit("web_private", "web", dcrtest.BadRedirect, privateURI),
		implicit("none_loopback", dcrtest.Missing{}, dcrtest.BadRedirect, loopbackURI),
		implicit("none_https", dcrtest.Missing{}, "", dcrtest.RedirectURI),
		implicit("native_loopback", "native", "", loopbackURI, privateURI),
		literal("native_https", "native", dcrtest.BadRedirect, dcrtest.RedirectURI),
		literal("native_private", "native", "", privateURI, loopbackURI),
		literal("web_https", "web", "", dcrtest.RedirectURI),
		{Name: "RU-09/REAL/MCP-02/visual_studio_code", Send: members{
			"client_name": "Visual Studio Code", "client_uri": "https://code.visualstudio.com", "application_type": "native",
			"grant_types":    list{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"},
			"response_types": list{"code"}, "token_endpoint_auth_method": "none",
			"redirect_uris": list{"https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"},
		}, Back: members{
			"grant_types":   list{"authorization_code", "refresh_token"},
			"redirect_uris": list{"https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"},
			"client_secret": dcrtest.Missing{}, "application_type": "native",
		}},
	})
}

func TestRedirectURIsAreKept(t *testing.T) {
	t.Parallel()
	b, a := "https://client.example/b", "https://client.example/a"
	queries := list{"https://client.example/?a=b&c=d%20e", "http://localhost:3000/?state=5f0f4a9e-41f0-4a7e-9d0a-6c1c2b7e9a10", "https://client.example", "https://client.example:443/cb"}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "RU-10/twice", Send: members{"redirect_uris": list{b, a, b, a, b}}, Back: members{"redirect_uris": list{b, a}}},
		{Name: "RU-10/order", Send: members{"redirect_uris": list{b, a, privateURI}}, Back: members{"redirect_uris": list{b, a, privateURI}}},
		{Name: "RU-10/different", Send: members{"redirect_uris": list{a, a + "/", strings.ToUpper(a[:5]) + a[5:]}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris[2]"}},
		{Name: "RU-03/other_spelling", Send: members{"redirect_uris": list{"http://[0:0:0:0:0:0:0:1]/cb"}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris", "another way than 127.0.0.1 or [::1]"}},
		{Name: "RU-08/capital_letters", Send: members{"redirect_uris": list{"http://LOCALHOST/cb"}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris[0]", "capital letters"}},
		{Name: "RU-13/as_sent", Send: members{"redirect_uris": queries}, Back: members{"redirect_uris": queries}},
	})
}

func TestRedirectURIsAreUsable(t *testing.T) {
	t.Parallel()
	var rows []dcrtest.Outcome
	for kind, uri := range badURIs {
		rows = append(rows, dcrtest.Outcome{Name: "RU-13/" + kind, Send: members{"redirect_uris": list{dcrtest.RedirectURI, uri}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris[1]"}})
	}
	for kind, uri := range map[string]string{
		"non_ascii_host": "https://münchen.example/cb", "query_pipe": "https://client.example/cb?a=b|c", "query_brackets": "https://client.example/cb?a[]=b", "query_percent": "https://client.example/cb?a=%",
		"query_percent_word": "https://client.example/cb?a=%zz", "query_space": "https://client.example/cb?a=b c", "query_quote": `https://client.example/cb?a="`, "query_caret": "https://client.example/cb?^",
		"query_braces": "https://client.example/cb?{a}", "query_non_ascii": "https://client.example/cb?ü", "path_pipe": "https://client.example/a|b", "path_brackets": "https://client.example/[a]",
		"fragment": "https://client.example/cb#x", "empty_fragment": "https://client.example/cb#", "http": "http://client.example/cb", "dot_segment": "https://client.example/a/../cb",
		"dot_segment_encoded": "https://client.example/a/%2e%2E/cb", "private_without_period": "myapp:/cb",
	} {
		rows = append(rows, dcrtest.Outcome{Name: "RU-13/only/" + kind, Send: members{"redirect_uris": list{uri}}, Code: dcrtest.BadRedirect, Names: list{"redirect_uris[0]"}})
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestHostJudgesRedirects(t *testing.T) {
	t.Parallel()
	checker := func(secure func(context.Context, *url.URL) bool) func(*dcrtest.Setup) {
		return func(setup *dcrtest.Setup) {
			setup.Fosite = func(config *fosite.Config) { config.RedirectSecureChecker = secure }
		}
	}
	secureOnly := checker(fosite.IsRedirectURISecureStrict)
	own := checker(func(_ context.Context, u *url.URL) bool { return u.Hostname() == "client.example" })
	schemes := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.PrivateUseSchemes = list{"cursor"} })
	cursor := "cursor://anysphere.cursor-mcp/oauth/callback"
	row := func(name string, setup func(*dcrtest.Setup), uri string, taken bool) dcrtest.Outcome {
		o := dcrtest.Outcome{Name: "RU-13/" + name, Setup: setup, Send: members{"redirect_uris": list{dcrtest.RedirectURI, uri}}}
		if !taken {
			o.Code, o.Names = dcrtest.BadRedirect, list{"redirect_uris[1]"}
			return o
		}
		o.Back = members{"redirect_uris": list{dcrtest.RedirectURI, uri}}
		return o
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		row("default_private", nil, privateURI, true),
		row("strict_private", secureOnly, privateURI, false),
		row("strict_loopback", secureOnly, loopbackURI, true),
		row("strict_https", secureOnly, "https://other.example/cb", true),
		row("strict_listed_scheme", dcrtest.Both(secureOnly, schemes), cursor, false),
		row("listed_scheme", schemes, cursor, true),
		row("unlisted_scheme", nil, cursor, false),
		row("own_other", own, "https://other.example/cb", false),
		row("own_same", own, "https://client.example/other", true),
	})
}
