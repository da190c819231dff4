package policy_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestProblems: a policy that was built wrongly says what is wrong, wherever it stands, and lets
// nothing be registered.
func TestProblems(t *testing.T) {
	t.Parallel()
	const noHost = `policy.RequireRedirectHosts: "https://a.example" is no host`
	for name, row := range map[string]struct {
		policy dcr.Policy
		want   []string // the beginnings of the problems
	}{
		"host":              {policy.RequireRedirectHosts("a.example", ".a.example", "127.0.0.1", "::1"), nil},
		"host_is_url":       {policy.RequireRedirectHosts("https://a.example"), []string{noHost}},
		"host_with_star":    {policy.RequireRedirectHosts("*.example"), []string{`policy.RequireRedirectHosts: "*.example" is no host: write "a.example", or ".a.example" for all below it`}},
		"host_with_port":    {policy.RequireRedirectHosts("a.example:8443"), []string{`policy.RequireRedirectHosts: "a.example:8443"`}},
		"host_with_user":    {policy.RequireRedirectHosts("me@a.example"), []string{`policy.RequireRedirectHosts: "me@a.example"`}},
		"host_is_empty":     {policy.RequireRedirectHosts(""), []string{`policy.RequireRedirectHosts: ""`}},
		"member":            {policy.Require("client_name", "request_object_signing_alg"), nil},
		"member_unknown":    {policy.Require("client_name", "clientname"), []string{`policy.Require: "clientname" is no member`}},
		"all":               {policy.All(policy.RequirePKCE(), policy.LimitScopes()), nil},
		"all_of_none":       {policy.All(), nil},
		"all_passes_on":     {policy.All(policy.Require("x"), policy.RequirePKCE(), policy.RequireRedirectHosts("https://a.example")), []string{`policy.Require: "x"`, noHost}},
		"all_in_all":        {policy.All(policy.All(policy.Require("x"))), []string{`policy.Require: "x"`}},
		"all_with_nil":      {policy.All(policy.RequirePKCE(), nil), []string{"policy.All has a nil policy"}},
		"all_with_nil_func": {policy.All(dcr.PolicyFunc(nil)), []string{"policy.All has a nil policy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found []error
			if p, ok := row.policy.(interface{ Problems() []error }); ok {
				found = p.Problems()
			}
			require.Len(t, found, len(row.want))
			for i, problem := range found {
				require.ErrorContains(t, problem, row.want[i])
			}
		})
	}
	t.Run("refuses_everything", func(t *testing.T) {
		t.Parallel()
		for _, wrong := range []dcr.Policy{policy.Require("x"), policy.All(policy.RequireRedirectHosts("*.example"))} {
			require.Error(t, wrong.Judge(context.Background(), &dcr.Proposal{Metadata: new(dcr.ClientMetadata)}))
		}
	})
}

// TestAllKeepsItsPolicies: what the caller does with its list afterwards changes nothing.
func TestAllKeepsItsPolicies(t *testing.T) {
	t.Parallel()
	list := []dcr.Policy{policy.AlwaysAskConsent()}
	all := policy.All(list...)
	list[0] = nil
	a := &dcr.Proposal{Metadata: new(dcr.ClientMetadata)}
	require.NoError(t, all.Judge(t.Context(), a))
	require.True(t, a.AlwaysAskConsent)
}
