package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// uriKinds says what becomes of the URI in each member that holds one.
var uriKinds = map[string]string{
	"redirect_uris": "sent", "post_logout_redirect_uris": "sent", "initiate_login_uri": "sent", "frontchannel_logout_uri": "sent",
	"backchannel_logout_uri": "sent", "backchannel_client_notification_endpoint": "sent",
	"client_uri": "shown", "logo_uri": "shown", "tos_uri": "shown", "policy_uri": "shown",
	"jwks_uri": "read", "request_uris": "read", "sector_identifier_uri": "read",
	"tls_client_auth_san_uri": "compared",
}

// withURI is metadata whose one URI in a member is this. All else would pass every policy below.
func withURI(t *testing.T, member dcr.Member, name, uri string) *dcr.ClientMetadata {
	t.Helper()
	body := members{"redirect_uris": []string{"https://good.example/cb"}, "token_endpoint_auth_method": "none", name: uri}
	if strings.HasPrefix(member.Type, "array") {
		body[name] = []string{uri}
	}
	encoded, err := json.Marshal(body)
	require.NoError(t, err)
	m := new(dcr.ClientMetadata)
	require.NoError(t, json.Unmarshal(encoded, m))
	return m
}

// TestPoliciesJudgeEveryMember: each policy on hosts, schemes and secrets against each member that holds a URI, and its
// tagged forms.
func TestPoliciesJudgeEveryMember(t *testing.T) {
	t.Parallel()
	policies := map[string]struct {
		policy dcr.Policy
		kind   string // of the members that it judges
		bad    string
		good   []string // other spellings of what is allowed
	}{
		"RequireRedirectHosts": {
			policy.RequireRedirectHosts("good.example", ".sub.example", "2001:DB8::0:1"), "sent", "https://evil.example/cb",
			[]string{"https://good.example/x", "https://GOOD.example:8443/", "https://a.sub.example/", "https://[2001:db8:0:0::1]/cb"},
		},
		"RequireRedirectSchemes": {policy.RequireRedirectSchemes("https"), "sent", "http://127.0.0.1/cb", []string{"https://any.example/", "HTTPS://any.example/"}},
		"ConfidentialRedirects": {
			policy.ConfidentialRedirects("https://bank.example/cb", "http://[::1]/cb"), "sent", "https://bank.example/cb", []string{"https://good.example/cb"},
		},
		"SameHostURIs": {policy.SameHostURIs(), "shown", "https://evil.example/", []string{"https://good.example/x", "https://GOOD.example:443/"}},
		"TrustedHosts": {
			policy.TrustedHosts("Good.example"), "shown", "https://evil.example/", []string{"https://good.example/x", "https://GOOD.example:8443/"},
		},
	}
	seen := 0
	for _, member := range dcr.Members() {
		if !strings.Contains(member.Name, "uri") && !strings.HasSuffix(member.Name, "endpoint") {
			continue
		}
		seen++
		kind := uriKinds[member.Name]
		require.NotEmpty(t, kind, "POL-01: %s is new: which policies judge it?", member.Name)
		names := []string{member.Name}
		if member.Tagged {
			names = append(names, member.Name+"#fr")
		}
		for _, name := range names {
			for title, p := range policies {
				t.Run("POL-01/"+title+"/"+name, func(t *testing.T) {
					t.Parallel()
					judge := func(uri string) error {
						return p.policy.Judge(t.Context(), &dcr.Proposal{Metadata: withURI(t, member, name, uri)})
					}
					for _, good := range p.good {
						if title == "SameHostURIs" && name == "redirect_uris" {
							continue // what the others are compared with
						}
						require.NoError(t, judge(good), good)
					}
					err := judge(p.bad)
					if kind != p.kind {
						require.NoError(t, err)
						return
					}
					require.Error(t, err)
					require.Contains(t, fosite.ErrorToRFC6749Error(err).DescriptionField, name)
				})
			}
		}
	}
	require.Len(t, uriKinds, seen)
}

// TestConfidentialPlaces: a place is one in all spellings that the server takes for it.
func TestConfidentialPlaces(t *testing.T) {
	t.Parallel()
	p := policy.ConfidentialRedirects("http://[::1]/cb", "http://127.0.0.1:7777/cb", "https://[2001:db8::1]/cb", "https://bank.example/cb", "com.bank.app:/cb")
	for uri, refused := range map[string]bool{
		"http://[::1]:51234/cb": true, "http://[0:0:0:0:0:0:0:1]/cb": true, "http://127.0.0.1/cb": true, "http://127.0.0.1:1/cb": true,
		"http://[::ffff:127.0.0.1]:9/cb": true, "https://[2001:0db8:0::1]:443/cb": true, "https://BANK.example./cb": true,
		"https://bank.example:443/%63b": true, "https://bank.example/cb?x=1": true, "com.bank.app:/cb": true,
		"http://[::1]/other": false, "http://127.0.0.2/cb": false, "https://[2001:db8::2]/cb": false, "https://bank.example:8443/cb": false, "com.bank.app:/x": false,
	} {
		err := p.Judge(t.Context(), &dcr.Proposal{Metadata: &dcr.ClientMetadata{TokenEndpointAuthMethod: "none", RedirectURIs: []string{uri}}})
		require.Equal(t, refused, err != nil, "POL-01: %s", uri)
	}
}

// TestPolicyReplacesMetadata: whether a policy changes the metadata or puts other metadata in their place, what it
// leaves is registered, and nothing is none of it.
func TestPolicyReplacesMetadata(t *testing.T) {
	t.Parallel()
	replacing := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		other := p.Metadata.Clone()
		other.ClientName, other.Scope = "Replaced", "profile"
		p.Metadata = &other
		return nil
	})
	taking := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		p.Metadata = nil
		return nil
	})
	var seen []string
	after := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		seen = append(seen, p.Metadata.ClientName)
		return nil
	})
	t.Run("POL-01/replaced", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{replacing, after, policy.Require("client_name")}}})
		client := s.Register(t, `{"redirect_uris":["https://app.example/cb"],"scope":"profile email"}`)
		require.Equal(t, []string{"Replaced", "profile"}, []string{client.Text("client_name"), client.Text("scope")})
		updated := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client))
		require.Equal(t, "Replaced", updated.Text("client_name"), updated.Body)
		require.Equal(t, []string{"Replaced", "Replaced"}, seen)
	})
	t.Run("POL-01/replaced_by_what_breaks_a_rule", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
			p.Metadata = &dcr.ClientMetadata{RedirectURIs: []string{"javascript:alert(1)"}}
			return nil
		})}}})
		dcrtest.RequireMemberRefused(t, s.Post(t, dcrtest.PlainRegistration), dcrtest.BadRedirect, "redirect_uris")
	})
	for name, policies := range map[string][]dcr.Policy{
		"last": {taking}, "before_another": {taking, policy.LimitScopes("openid")}, "in_all": {policy.All(taking, policy.Require("client_name"))},
	} {
		t.Run("POL-01/taken/"+name, func(t *testing.T) {
			t.Parallel()
			store, events := dcrtest.NewLedger(), new(dcrtest.Events)
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Policies: policies, Events: events}})
			answer := s.Post(t, dcrtest.PlainRegistration)
			require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
			require.Empty(t, store.Live(t))
			require.Contains(t, fosite.ErrorToRFC6749Error(events.TakeOne(t).Err).DebugField, "etadata")
		})
	}
	t.Run("POL-01/statement_of_another", func(t *testing.T) {
		t.Parallel()
		issuer := dcrtest.NewDirectory(t, "1")
		config := issuer.Trusted()
		config.Policies = []dcr.Policy{replacing, dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
			if slices.Contains(p.Metadata.Contacts, "without@app.example") {
				p.Metadata = &dcr.ClientMetadata{RedirectURIs: []string{"https://app.example/cb"}, ResponseTypes: []string{"code"}}
			}
			return nil
		})}
		s := dcrtest.Start(t, dcrtest.Setup{Config: config})
		statement := issuer.Sign(t, dcrtest.StatementClaims())
		kept := dcrtest.RecordOf(t, s.Store, s.Register(t, members{"software_statement": statement}).ID())
		require.Equal(t, dcrtest.DirectoryIssuer, kept.StatementIssuer)
		require.Contains(t, kept.StatementMembers, "redirect_uris")
		lost := dcrtest.RecordOf(t, s.Store, s.Register(t, members{"software_statement": statement, "contacts": []string{"without@app.example"}}).ID())
		require.Empty(t, lost.StatementIssuer)
		require.Empty(t, lost.StatementMembers)
	})
}

// TestPoliciesWithoutMetadata: a built-in policy that is asked about nothing fails, and panics at nothing.
func TestPoliciesWithoutMetadata(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]dcr.Policy{
		"LimitScopes": policy.LimitScopes(), "ForceScopes": policy.ForceScopes("x"), "LimitGrantTypes": policy.LimitGrantTypes(),
		"RequireAuthMethods": policy.RequireAuthMethods(), "Require": policy.Require("client_name"), "Defaults": policy.Defaults(dcr.ClientMetadata{}),
		"Lifetime": policy.Lifetime(1), "AlwaysAskConsent": policy.AlwaysAskConsent(), "RequirePKCE": policy.RequirePKCE(),
		"RequireRedirectHosts": policy.RequireRedirectHosts("a.example"), "RequireRedirectSchemes": policy.RequireRedirectSchemes("https"),
		"SameHostURIs": policy.SameHostURIs(), "TrustedHosts": policy.TrustedHosts(), "ConfidentialRedirects": policy.ConfidentialRedirects(),
		"All": policy.All(policy.SameHostURIs()),
	} {
		for _, proposal := range []*dcr.Proposal{nil, {}} {
			err := p.Judge(t.Context(), proposal)
			require.Error(t, err, "POL-01: %s", name)
			require.False(t, errors.As(err, new(*fosite.RFC6749Error)), "POL-01: %s: a failure of the server", name)
		}
	}
}
