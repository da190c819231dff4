package dcr_test

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

func scopes(strategy fosite.ScopeStrategy, allowed ...string) func(*dcrtest.Setup) {
	return func(setup *dcrtest.Setup) {
		setup.Config.Scopes = allowed
		setup.Fosite = func(config *fosite.Config) { config.ScopeStrategy = strategy }
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	const all = "openid profile email offline_access"
	ask := func(scope any) members { return members{"scope": scope} }
	refused := func(name, scope string) outcome {
		return outcome{name: name, send: ask(scope), code: badMetadata, names: list{"scope"}}
	}
	defaults := configured(func(cfg *dcr.Config) { cfg.DefaultScopes = list{"profile"} })
	nothing := configured(func(cfg *dcr.Config) { cfg.DefaultScopes = list{} })
	runOutcomes(t, nil, []outcome{
		{name: "7591-2-09/order", send: ask("email openid"), back: members{"scope": "email openid"}},
		{name: "7591-2-09/surplus_spaces", send: ask("  openid   email "), back: members{"scope": "openid email"}},
		{name: "7591-2-09/repeated", send: ask("openid email openid openid"), back: members{"scope": "openid email"}},
		{name: "7591-2-09/7591-2-20/outside", send: ask("openid admin"), back: members{"scope": "openid"}},
		{name: "7591-2-09/case", send: ask("openid OpenID"), back: members{"scope": "openid"}},
		refused("7591-2-09/tab", "openid\tprofile"),
		refused("7591-2-09/newline", "openid\nprofile"),
		refused("7591-2-09/quote", `openid "profile"`),
		refused("7591-2-09/backslash", `openid a\b`),
		refused("7591-2-09/non_ascii_letter", "openid оpenid"),
		refused("7591-2-09/no_break_space", "openid\u00a0profile"),
		refused("7591-2-09/nul", "openid\x00"),
		refused("7591-2-09/delete", "openid\x7f"),
		refused("7591-2-09/too_long", strings.Repeat("s", 100_000)),
		{name: "7591-2-10/omitted", back: members{"scope": all}},
		{name: "7591-2-10/empty", send: ask(""), back: members{"scope": all}},
		{name: "7591-2-10/null", send: ask(nil), back: members{"scope": all}},
		{name: "7591-2-10/spaces", send: ask("   "), back: members{"scope": all}},
		{name: "7591-2-10/defaults_of_the_host", setup: defaults, back: members{"scope": "profile"}},
		{name: "7591-2-10/defaults_of_the_host_empty", setup: defaults, send: ask(""), back: members{"scope": "profile"}},
		{name: "7591-2-10/no_defaults", setup: nothing, back: members{"scope": missing{}}},
		{name: "7591-2-10/no_defaults_asked", setup: nothing, send: ask("email"), back: members{"scope": "email"}},
		{name: "7591-2-20/none_remains", send: ask("mcp:tools"), back: members{"scope": all}},
		{name: "7591-2-20/none_remains_defaults", setup: defaults, send: ask("mcp:tools other"), back: members{"scope": "profile"}},
		{name: "7591-2-20/RefuseUnsupported", setup: strict, send: ask("openid mcp:tools"), code: badMetadata, names: list{"scope"}},
		{name: "7591-2-20/RefuseUnsupported/known", setup: strict, send: ask("openid email"), back: members{"scope": "openid email"}},
	})
}

func TestScopesAreLiteral(t *testing.T) {
	t.Parallel()
	refused := func(name string, setup func(*dcrtest.Setup), scope string) outcome {
		return outcome{name: name, setup: setup, send: members{"scope": scope}, code: badMetadata, names: list{"scope"}}
	}
	wildcard := scopes(fosite.WildcardScopeStrategy, "photos.read", "photos.write", "openid")
	hierarchic := scopes(fosite.HierarchicScopeStrategy, "photos.read", "openid")
	exact := scopes(fosite.ExactScopeStrategy, "photos", "photos.read", "openid")
	byDefault := scopes(nil, "photos.read", "openid")
	runOutcomes(t, nil, []outcome{
		refused("SCOPE-01/T54/star", nil, "*"),
		refused("SCOPE-01/T54/star_among_others", nil, "openid *"),
		refused("SCOPE-01/T54/star_in_the_default_strategy", byDefault, "photos.*"),
		refused("SCOPE-01/T54/star_in_wildcard", wildcard, "photos.*"),
		refused("SCOPE-01/T54/star_all_in_wildcard", wildcard, "*.*"),
		refused("SCOPE-01/T54/star_in_exact", exact, "*"),
		refused("SCOPE-01/T54/star_in_the_middle", wildcard, "pho*tos"),
		refused("SCOPE-01/T54/wider_in_hierarchic", hierarchic, "photos"),
		refused("SCOPE-01/T54/wider_among_others_in_hierarchic", hierarchic, "photos.read photos"),
		{name: "SCOPE-01/narrower_in_hierarchic", setup: hierarchic, send: members{"scope": "photos.read.mine photos.read"}, back: members{"scope": "photos.read"}},
		{name: "SCOPE-01/literal_in_hierarchic", setup: hierarchic, send: members{"scope": "photos.read"}, back: members{"scope": "photos.read"}},
		{name: "SCOPE-01/both_in_exact", setup: exact, send: members{"scope": "photos photos.read"}, back: members{"scope": "photos photos.read"}},
	})
	t.Run("SCOPE-01/T54/host_allows_a_pattern", func(t *testing.T) {
		t.Parallel()
		for name, setup := range map[string]func(*dcrtest.Setup){
			"wildcard": scopes(fosite.WildcardScopeStrategy, "photos.*"), "hierarchic": scopes(fosite.HierarchicScopeStrategy, "photos", "photos.read"),
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
	allowed := configured(func(cfg *dcr.Config) {
		cfg.Scopes, cfg.AllowRegistrationScope = list{"openid", "dcr:register"}, true
	})
	runOutcomes(t, nil, []outcome{
		{name: "SCOPE-02/T54/registration_scope", send: members{"scope": "openid dcr:register"}, back: members{"scope": "openid"}},
		{name: "SCOPE-02/T54/token_scope", send: members{"scope": "openid dcr:manage"}, back: members{"scope": "openid"}},
		{name: "SCOPE-02/allowed", setup: allowed, send: members{"scope": "openid dcr:register"}, back: members{"scope": "openid dcr:register"}},
		{name: "SCOPE-02/T54/token_scope_never", setup: allowed, send: members{"scope": "openid dcr:manage"}, back: members{"scope": "openid"}},
	})
	for name, cfg := range map[string]dcr.Config{
		"registration_scope": {Scopes: list{"openid", "dcr:register"}},
		"own_name":           {Scopes: list{"openid", "clients"}, RegistrationScope: "clients"},
		"token_scope":        {Scopes: list{"openid", "dcr:manage"}, AllowRegistrationScope: true},
	} {
		t.Run("SCOPE-02/T54/composition/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{Config: cfg})
			require.ErrorContains(t, err, "Config.Scopes")
		})
	}
	t.Run("SCOPE-02/no_grant_yields_it", func(t *testing.T) {
		t.Parallel()
		s, _ := closedServer(t, nil, "dcr:manage", "dcr:register", "profile")
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"profile dcr:manage"}}
		answer := s.Form(t, "/oauth2/token", form, dcrtest.Basic(operatorID, operatorSecret))
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_scope", answer.Text("error"))
		located := s.Authorize(t, dcrtest.AuthorizeQuery(operatorID, operatorURI, "scope", "profile dcr:manage")).Location(t)
		require.Equal(t, "invalid_scope", located.Query().Get("error"), located.String())
		require.Empty(t, located.Query().Get("code"))
	})
}
