package metadata_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestScope(t *testing.T) {
	t.Parallel()
	const all = "openid profile email offline_access"
	ask := func(scope any) members { return members{"scope": scope} }
	refused := func(name, scope string) dcrtest.Outcome {
		return dcrtest.Outcome{Name: name, Send: ask(scope), Code: dcrtest.BadMetadata, Names: list{"scope"}}
	}
	defaults := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.DefaultScopes = list{"profile"} })
	nothing := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.DefaultScopes = list{} })
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-2-09/order", Send: ask("email openid"), Back: members{"scope": "email openid"}},
		{Name: "7591-2-09/surplus_spaces", Send: ask("  openid   email "), Back: members{"scope": "openid email"}},
		{Name: "7591-2-09/repeated", Send: ask("openid email openid openid"), Back: members{"scope": "openid email"}},
		{Name: "7591-2-09/7591-2-20/outside", Send: ask("openid admin"), Back: members{"scope": "openid"}},
		{Name: "7591-2-09/case", Send: ask("openid OpenID"), Back: members{"scope": "openid"}},
		refused("7591-2-09/tab", "openid\tprofile"),
		refused("7591-2-09/newline", "openid\nprofile"),
		refused("7591-2-09/quote", `openid "profile"`),
		refused("7591-2-09/backslash", `openid a\b`),
		refused("7591-2-09/non_ascii_letter", "openid оpenid"),
		refused("7591-2-09/no_break_space", "openid\u00a0profile"),
		refused("7591-2-09/nul", "openid\x00"),
		refused("7591-2-09/delete", "openid\x7f"),
		refused("7591-2-09/too_long", strings.Repeat("s", 100_000)),
		{Name: "7591-2-10/omitted", Back: members{"scope": all}},
		{Name: "7591-2-10/empty", Send: ask(""), Back: members{"scope": all}},
		{Name: "7591-2-10/null", Send: ask(nil), Back: members{"scope": all}},
		{Name: "7591-2-10/spaces", Send: ask("   "), Back: members{"scope": all}},
		{Name: "7591-2-10/defaults_of_the_host", Setup: defaults, Back: members{"scope": "profile"}},
		{Name: "7591-2-10/defaults_of_the_host_empty", Setup: defaults, Send: ask(""), Back: members{"scope": "profile"}},
		{Name: "7591-2-10/no_defaults", Setup: nothing, Back: members{"scope": dcrtest.Missing{}}},
		{Name: "7591-2-10/no_defaults_asked", Setup: nothing, Send: ask("email"), Back: members{"scope": "email"}},
		{Name: "7591-2-20/none_remains", Send: ask("mcp:tools"), Back: members{"scope": all}},
		{Name: "7591-2-20/none_remains_defaults", Setup: defaults, Send: ask("mcp:tools other"), Back: members{"scope": "profile"}},
		{Name: "7591-2-20/RefuseUnsupported", Setup: dcrtest.Strict, Send: ask("openid mcp:tools"), Code: dcrtest.BadMetadata, Names: list{"scope"}},
		{Name: "7591-2-20/RefuseUnsupported/known", Setup: dcrtest.Strict, Send: ask("openid email"), Back: members{"scope": "openid email"}},
	})
}

func TestScopesAreLiteral(t *testing.T) {
	t.Parallel()
	refused := func(name string, setup func(*dcrtest.Setup), scope string) dcrtest.Outcome {
		return dcrtest.Outcome{Name: name, Setup: setup, Send: members{"scope": scope}, Code: dcrtest.BadMetadata, Names: list{"scope"}}
	}
	wildcard := dcrtest.WithScopes(fosite.WildcardScopeStrategy, "photos.read", "photos.write", "openid")
	hierarchic := dcrtest.WithScopes(fosite.HierarchicScopeStrategy, "photos.read", "openid")
	exact := dcrtest.WithScopes(fosite.ExactScopeStrategy, "photos", "photos.read", "openid")
	byDefault := dcrtest.WithScopes(nil, "photos.read", "openid")
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		refused("SCOPE-01/T54/star", nil, "*"),
		refused("SCOPE-01/T54/star_among_others", nil, "openid *"),
		refused("SCOPE-01/T54/star_in_the_default_strategy", byDefault, "photos.*"),
		refused("SCOPE-01/T54/star_in_wildcard", wildcard, "photos.*"),
		refused("SCOPE-01/T54/star_all_in_wildcard", wildcard, "*.*"),
		refused("SCOPE-01/T54/star_in_exact", exact, "*"),
		refused("SCOPE-01/T54/star_in_the_middle", wildcard, "pho*tos"),
		refused("SCOPE-01/T54/wider_in_hierarchic", hierarchic, "photos"),
		refused("SCOPE-01/T54/wider_among_others_in_hierarchic", hierarchic, "photos.read photos"),
		{Name: "SCOPE-01/narrower_in_hierarchic", Setup: hierarchic, Send: members{"scope": "photos.read.mine photos.read"}, Back: members{"scope": "photos.read"}},
		{Name: "SCOPE-01/literal_in_hierarchic", Setup: hierarchic, Send: members{"scope": "photos.read"}, Back: members{"scope": "photos.read"}},
		{Name: "SCOPE-01/both_in_exact", Setup: exact, Send: members{"scope": "photos photos.read"}, Back: members{"scope": "photos photos.read"}},
	})
	t.Run("SCOPE-01/T54/host_allows_a_pattern", func(t *testing.T) {
		t.Parallel()
		for name, setup := range map[string]func(*dcrtest.Setup){
			"wildcard": dcrtest.WithScopes(fosite.WildcardScopeStrategy, "photos.*"), "hierarchic": dcrtest.WithScopes(fosite.HierarchicScopeStrategy, "photos", "photos.read"),
		} {
			var s dcrtest.Setup
			setup(&s)
			_, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(s)
			require.ErrorContains(t, err, "Config.Scopes", name)
		}
	})
}

func TestReservedScopes(t *testing.T) {
	t.Parallel()
	allowed := dcrtest.Configured(func(cfg *dcr.Config) {
		cfg.Scopes, cfg.Registration.AllowScope = list{"openid", "dcr:register"}, true
	})
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "SCOPE-02/T54/registration_scope", Send: members{"scope": "openid dcr:register"}, Back: members{"scope": "openid"}},
		{Name: "SCOPE-02/T54/token_scope", Send: members{"scope": "openid dcr:manage"}, Back: members{"scope": "openid"}},
		{Name: "SCOPE-02/allowed", Setup: allowed, Send: members{"scope": "openid dcr:register"}, Back: members{"scope": "openid dcr:register"}},
		{Name: "SCOPE-02/T54/token_scope_never", Setup: allowed, Send: members{"scope": "openid dcr:manage"}, Back: members{"scope": "openid"}},
	})
	for name, cfg := range map[string]dcr.Config{
		"registration_scope": {Scopes: list{"openid", "dcr:register"}},
		"own_name":           {Scopes: list{"openid", "clients"}, Registration: dcr.Registration{Scope: "clients"}},
		"token_scope":        {Scopes: list{"openid", "dcr:manage"}, Registration: dcr.Registration{AllowScope: true}},
	} {
		t.Run("SCOPE-02/T54/composition/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{Config: cfg})
			require.ErrorContains(t, err, "Config.Scopes")
		})
	}
	t.Run("SCOPE-02/no_grant_yields_it", func(t *testing.T) {
		t.Parallel()
		s, _ := dcrtest.StartClosed(t, nil, "dcr:manage", "dcr:register", "profile")
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"profile dcr:manage"}}
		answer := s.Form(t, "/oauth2/token", form, dcrtest.Basic(dcrtest.PortalID, dcrtest.PortalSecret))
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_scope", answer.Text("error"))
		located := s.Authorize(t, dcrtest.AuthorizeQuery(dcrtest.PortalID, dcrtest.PortalURI, "scope", "profile dcr:manage")).Location(t)
		require.Equal(t, "invalid_scope", located.Query().Get("error"), located.String())
		require.Empty(t, located.Query().Get("code"))
	})
}
