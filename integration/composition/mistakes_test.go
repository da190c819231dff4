package composition_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestMistakesAreSaid: what can't have been meant is said at composition, with what to write
// instead, and never on a user's first request.
func TestMistakesAreSaid(t *testing.T) {
	t.Parallel()
	var noFunction dcr.AccessFunc
	var noPolicy dcr.PolicyFunc
	policies := func(p ...dcr.Policy) dcr.Config { return dcr.Config{Policies: p} }
	for name, row := range map[string]struct {
		cfg  dcr.Config
		says string
	}{
		"nil_rule":             {dcr.Config{Access: dcr.AnyOf(nil)}, "Config.Access has a rule that is nil"},
		"nil_function":         {dcr.Config{Access: noFunction}, "Config.Access has a rule that is nil"},
		"nil_user":             {dcr.Config{Access: dcr.AnyOf(dcr.SignedIn(nil, nil), dcr.Open())}, "SignedIn without a function"},
		"nil_user_alone":       {dcr.Config{Access: dcr.SignedIn(nil, nil)}, "SignedIn without a function"},
		"open_inside_first":    {dcr.Config{Access: dcr.AnyOf(dcr.AnyOf(dcr.Open()), dcr.AccessToken())}, "put Open last"},
		"open_first":           {dcr.Config{Access: dcr.AnyOf(dcr.Open(), dcr.InitialAccessTokens())}, "put Open last"},
		"open_first_inside":    {dcr.Config{Access: dcr.AnyOf(dcr.AnyOf(dcr.Open(), dcr.AccessToken()), dcr.AccessToken())}, "put Open last"},
		"nil_policy":           {policies(nil), "nil policy"},
		"nil_policy_function":  {policies(noPolicy), "nil policy"},
		"nil_policy_inside":    {policies(policy.All(policy.RequirePKCE(), nil)), "nil policy"},
		"host_is_url":          {policies(policy.RequireRedirectHosts("https://a.example")), `"https://a.example" is no host`},
		"host_with_star":       {dcr.Config{NamedPolicies: map[string]dcr.Policy{"p": policy.RequireRedirectHosts("*.example")}}, `".a.example" for all below it`},
		"unknown_member":       {policies(policy.All(policy.Require("clientname"))), `"clientname" is no member`},
		"origin_with_slash":    {dcr.Config{Endpoints: dcr.Endpoints{AllowedOrigins: []string{"https://inspector.example/"}}}, "is no origin"},
		"origin_without":       {dcr.Config{Endpoints: dcr.Endpoints{AllowedOrigins: []string{"inspector.example"}}}, "is no origin"},
		"no_resource":          {dcr.MCPConfig("", "mcp"), "Config.Authorization.Audience has an empty resource, as after MCPConfig"},
		"scope_as_resource":    {dcr.MCPConfig("mcp", "https://mcp.example/mcp"), `DefaultResource "mcp", which MCPConfig takes first, is no absolute URI`},
		"host_as_resource":     {dcr.MCPConfig("mcp.example/mcp", "mcp"), `such as "https://mcp.example/mcp"`},
		"resource_fragment":    {dcr.MCPConfig("https://mcp.example/mcp#", "mcp"), "without fragment (RFC 8707, section 2)"},
		"rate_without_time":    {dcr.Config{Limits: dcr.Limits{Rate: dcr.RateLimit{Total: dcr.Rate{Count: 5}}}}, "Config.Limits.Rate.Total has a Count of 5 and no Per"},
		"rate_without_count":   {dcr.Config{Limits: dcr.Limits{Rate: dcr.RateLimit{Total: dcr.Rate{Per: time.Minute}}}}, "has a Per and no Count"},
		"more_than_everything": {dcr.Config{Limits: dcr.Limits{Rate: dcr.RateLimit{IPv6Prefix: 129}}}, "between 1 and 128 (0 means 64)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.cfg.Scopes == nil {
				row.cfg.Scopes = []string{"openid"}
			}
			_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{Config: row.cfg, CallersLimited: true})
			require.ErrorContains(t, err, row.says)
		})
	}
}

// TestNilSinks: an optional sink that stayed nil harms nobody.
func TestNilSinks(t *testing.T) {
	t.Parallel()
	told := &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: dcr.EventSinks(nil, told, dcr.LogEvents(nil), nil)}})
	s.Register(t, dcrtest.Managed())
	require.Equal(t, []dcr.EventKind{dcr.EventRegistered}, dcrtest.KindsOf(told.Take()))
	silent := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: dcr.EventSinks(nil)}})
	require.Contains(t, silent.Provider.Warnings()[0], "Config.Events")
}

// TestResourcesAreCompared: a resource is one of the audiences or none, whatever fosite's
// strategy for audiences would let pass; it becomes the audience as it is configured.
func TestResourcesAreCompared(t *testing.T) {
	t.Parallel()
	const audience = "https://mcp.example/mcp"
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{Audience: []string{audience}}}})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for resource, want := range map[string]string{
		audience: audience, audience + "/": audience, audience + "/other": "", audience + "/../x": "", audience + "?x=1": "", "https://mcp.example": "",
	} {
		t.Run("REAL/"+resource, func(t *testing.T) {
			t.Parallel()
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "resource", resource))
			tokens := client.Send(t, "/oauth2/token", "client_secret_basic", dcrtest.CodeForm("", code, dcrtest.RedirectURI))
			seen := s.Form(t, "/oauth2/introspect", map[string][]string{"token": {tokens.Text("access_token")}}, dcrtest.Basic(client.ID(), client.Secret()))
			require.Equal(t, true, seen.Members["active"], seen.Body)
			if want == "" {
				require.NotContains(t, seen.Members, "aud")
				return
			}
			require.Equal(t, []any{want}, seen.Members["aud"])
		})
	}
}

// TestHintsAreSent: a policy may say why in fosite's way, and both the client and the operator
// read it; who registered stands in the log.
func TestHintsAreSent(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Access: dcr.InitialAccessTokens(),
		Policies: []dcr.Policy{dcr.PolicyFunc(func(context.Context, *dcr.Proposal) error {
			return fosite.ErrAccessDenied.WithHint("Not on a Monday.")
		})},
		Events: dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil))),
	}})
	token, record, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token))
	require.Equal(t, http.StatusForbidden, answer.Status)
	require.Contains(t, answer.Text("error_description"), "Not on a Monday.")
	require.Contains(t, log.String(), "Not on a Monday.")
	require.Contains(t, log.String(), "initial_access_token="+record.ID+" address=")
	require.NotContains(t, log.String(), token)
}

// TestTokenEndpointIsKnown: what fosite's configuration says is in the metadata already
// (8414-01).
func TestTokenEndpointIsKnown(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	require.Equal(t, s.URL+"/oauth2/token", s.Provider.Metadata(t.Context())["token_endpoint"])
}

// TestAddressesAreHosts: redirect hosts may be addresses of either kind.
func TestAddressesAreHosts(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.RequireRedirectHosts("127.0.0.1", "::1")}}})
	s.Register(t, `{"redirect_uris":["http://[::1]/cb","http://127.0.0.1/cb"]}`)
}
