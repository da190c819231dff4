package policy_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

func judged(policies ...dcr.Policy) func(*dcrtest.Setup) {
	return func(setup *dcrtest.Setup) { setup.Config.Policies = policies }
}

// TestDefaultsPolicy: what a client leaves out is filled in, and nothing else is touched.
func TestDefaultsPolicy(t *testing.T) {
	t.Parallel()
	plain := members{"redirect_uris": []string{"https://app.example/cb"}}
	all := policy.Defaults(dcr.ClientMetadata{
		ClientName: "Unnamed", Contacts: []string{"ops@host.example"}, ClientURI: "https://app.example/", SoftwareID: "unknown",
		OpenID:    &dcr.OpenIDMetadata{DefaultMaxAge: ptr(int64(60))},
		Companion: &dcr.CompanionMetadata{ResponseModes: []string{"query"}},
	})
	filled := map[string]any{
		"client_name": "Unnamed", "contacts": []any{"ops@host.example"}, "client_uri": "https://app.example/", "software_id": "unknown",
		"default_max_age": float64(60), "response_modes": []any{"query"},
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "defaults/fills", Setup: judged(all), Send: plain, Back: filled},
		{Name: "defaults/what_is_named_stays", Setup: judged(all),
			Send: dcrtest.With(plain, members{"client_name": "Mine", "contacts": []string{"me@app.example"}, "default_max_age": 0}),
			Back: map[string]any{"client_name": "Mine", "contacts": []any{"me@app.example"}, "default_max_age": float64(0),
				"software_id": "unknown"}},
		{Name: "defaults/nothing", Setup: judged(policy.Defaults(dcr.ClientMetadata{})), Send: plain,
			Back: map[string]any{"client_name": dcrtest.Missing{}, "default_max_age": dcrtest.Missing{}, "contacts": dcrtest.Missing{}}},
		{Name: "defaults/bad_uri", Setup: judged(policy.Defaults(dcr.ClientMetadata{TOSURI: "javascript:alert(1)"})), Send: plain,
			Code: dcrtest.BadMetadata, Names: []string{"tos_uri"}},
		{Name: "defaults/bad_text", Setup: judged(policy.Defaults(dcr.ClientMetadata{ClientName: "a\u202eb"})), Send: plain,
			Code: dcrtest.BadMetadata, Names: []string{"client_name"}},
		{Name: "defaults/bad_openid", Setup: judged(policy.Defaults(dcr.ClientMetadata{OpenID: &dcr.OpenIDMetadata{InitiateLoginURI: "http://app.example/"}})),
			Send: plain, Code: dcrtest.BadMetadata, Names: []string{"initiate_login_uri"}},
		{Name: "defaults/two", Setup: judged(policy.Defaults(dcr.ClientMetadata{ClientName: "One"}), policy.Defaults(dcr.ClientMetadata{ClientName: "Two", SoftwareID: "two"})),
			Send: plain, Back: map[string]any{"client_name": "One", "software_id": "two"}},
	})
}

func ptr[T any](value T) *T { return &value }

// TestDefaultsPolicyUpdate: an update that leaves a member out gets the default, as a
// registration does, and not what was there before.
func TestDefaultsPolicyUpdate(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.Defaults(dcr.ClientMetadata{Contacts: []string{"ops@host.example"}})}}})
	client := s.Register(t, dcrtest.Managed("contacts", []string{"me@app.example"}))
	updated := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, []any{"ops@host.example"}, updated.Members["contacts"], "7592-2.2-01")
}

// TestDefaultsPolicyCopies: what one client's record or a later policy changes reaches
// neither the defaults nor other clients.
func TestDefaultsPolicyCopies(t *testing.T) {
	t.Parallel()
	given := dcr.ClientMetadata{Contacts: []string{"ops@host.example"}, OpenID: &dcr.OpenIDMetadata{DefaultMaxAge: ptr(int64(60))}}
	spoil := dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		if a.Metadata.ClientName == "Spoiler" {
			a.Metadata.Contacts[0] = "spoiled@evil.example"
			*a.Metadata.OpenID.DefaultMaxAge = 1
		}
		return nil
	})
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.Defaults(given), spoil}}})
	given.Contacts[0], *given.OpenID.DefaultMaxAge = "host@evil.example", 2
	require.Equal(t, "spoiled@evil.example", s.Register(t, dcrtest.Managed("client_name", "Spoiler")).Members["contacts"].([]any)[0])
	answer := s.Register(t, dcrtest.Managed())
	require.Equal(t, []any{"ops@host.example"}, answer.Members["contacts"])
	require.EqualValues(t, 60, answer.Members["default_max_age"])
}

// TestLifetimePolicy: the shortest of all that is said counts, wherever it is said.
func TestLifetimePolicy(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, row := range map[string]struct {
		policies []dcr.Policy
		maximum  time.Duration
		want     time.Duration // 0 means for ever
	}{
		"alone":                   {[]dcr.Policy{policy.Lifetime(day)}, 0, day},
		"shorter_than_maximum":    {[]dcr.Policy{policy.Lifetime(time.Hour)}, day, time.Hour},
		"longer_than_maximum":     {[]dcr.Policy{policy.Lifetime(2 * day)}, day, day},
		"two":                     {[]dcr.Policy{policy.Lifetime(2 * day), policy.Lifetime(day)}, 0, day},
		"two_the_other_way":       {[]dcr.Policy{policy.Lifetime(day), policy.Lifetime(2 * day)}, 0, day},
		"in_one":                  {[]dcr.Policy{policy.All(policy.Lifetime(2*day), policy.Lifetime(day))}, 3 * day, day},
		"none":                    {nil, 0, 0},
		"not_said":                {[]dcr.Policy{policy.Lifetime(0)}, 0, 0},
		"not_said_after_another":  {[]dcr.Policy{policy.Lifetime(day), policy.Lifetime(0)}, 0, day},
		"not_said_before_another": {[]dcr.Policy{policy.Lifetime(0), policy.Lifetime(day)}, 0, day},
		"below_zero":              {[]dcr.Policy{policy.Lifetime(day), policy.Lifetime(-1)}, 0, day},
	} {
		t.Run("LIFE-01/"+name, func(t *testing.T) {
			t.Parallel()
			s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{Unused: -1, Maximum: row.maximum}, judged(row.policies...))
			client := s.Register(t, dcrtest.ServiceRegistration)
			dcrtest.Use(t, s, client)
			if row.want == 0 {
				clock.Forward(1000 * day)
				require.True(t, dcrtest.Lives(t, s, client))
				return
			}
			clock.Forward(row.want - time.Minute)
			require.True(t, dcrtest.Lives(t, s, client))
			clock.Forward(2 * time.Minute)
			require.False(t, dcrtest.Lives(t, s, client))
		})
	}
}

// TestLifetimePolicyEndsEverywhere: an update prolongs nothing, and at the end all that the
// client had is dead (T37).
func TestLifetimePolicyEndsEverywhere(t *testing.T) {
	t.Parallel()
	s, clock := dcrtest.StartLifecycle(t, dcr.Lifecycle{}, judged(policy.Lifetime(30*time.Minute)))
	s.Store.AddClient(dcrtest.Introspector(t))
	client := s.Register(t, dcrtest.Managed())
	tokens := dcrtest.SignIn(t, s, client)
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
	ends := dcrtest.RecordOf(t, s.Store, client.ID()).ExpiresAt
	clock.Forward(20 * time.Minute)
	updated := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "client_name", "New"))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	require.Equal(t, ends, dcrtest.RecordOf(t, s.Store, client.ID()).ExpiresAt, "LIFE-01: an update does not prolong")
	require.Equal(t, true, dcrtest.Introspected(t, s, tokens.Text("access_token"))["active"])

	clock.Forward(11 * time.Minute)
	basic := dcrtest.Basic(client.ID(), client.Secret())
	dcrtest.RequireUniformRefusal(t, s.Manage(t, http.MethodGet, updated, nil))
	require.Equal(t, false, dcrtest.Introspected(t, s, tokens.Text("access_token"))["active"])
	for _, form := range []url.Values{dcrtest.RefreshForm("", tokens.Text("refresh_token")), dcrtest.CodeForm("", code, dcrtest.RedirectURI)} {
		answer := s.Form(t, "/oauth2/token", form, basic)
		require.Equal(t, "invalid_client", answer.Text("error"), answer.Body)
	}
	require.Equal(t, http.StatusUnauthorized, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)).Status)
	removed, err := s.Provider.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
}

// TestAlwaysAskConsentPolicy: the host is told to ask, for clients that it need not ask for
// by themselves; an update is judged anew (T20).
func TestAlwaysAskConsentPolicy(t *testing.T) {
	t.Parallel()
	unnamed := dcr.PolicyFunc(func(ctx context.Context, a *dcr.Proposal) error {
		if a.Metadata.ClientName == "" {
			return policy.AlwaysAskConsent().Judge(ctx, a)
		}
		return nil
	})
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{unnamed}}})
	needs := func(client dcrtest.Answer) bool {
		t.Helper()
		found, err := s.Provider.Store.GetClient(t.Context(), client.ID())
		require.NoError(t, err)
		request := fosite.NewAuthorizeRequest()
		request.Client = found
		request.RedirectURI, err = url.Parse(dcrtest.RedirectURI)
		require.NoError(t, err)
		require.False(t, found.IsPublic())
		return consent.Needed(request)
	}
	named, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed("client_name", ""))
	require.False(t, needs(named))
	require.True(t, needs(other))
	read := s.Manage(t, http.MethodGet, other, nil)
	require.NotContains(t, read.Members, "always_ask_consent")
	require.True(t, needs(other), "a read changes nothing")

	named = s.Manage(t, http.MethodPut, named, dcrtest.Replacing(named, "client_name", ""))
	other = s.Manage(t, http.MethodPut, other, dcrtest.Replacing(other))
	require.True(t, needs(named), "an update is judged anew")
	require.False(t, needs(other))
}
