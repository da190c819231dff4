package metadata_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestTagsThatDifferByCase: case means nothing in a language tag (RFC 5646, section 2.1.1), so two members that differ by
// it are one that was sent twice.
func TestTagsThatDifferByCase(t *testing.T) {
	t.Parallel()
	twice := map[string]any{"client_name#en": "One", "client_name#EN": "Other", "redirect_uris": []string{dcrtest.RedirectURI}}
	t.Run("7591-2-18/twice", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		for range 5 { // the members of a map are in no order
			dcrtest.RequireMemberRefused(t, s.Post(t, twice), dcrtest.BadMetadata, "client_name#EN")
		}
		dcrtest.RequireMemberRefused(t, s.Post(t, dcrtest.Registration(map[string]any{"tos_uri#zh-Hant": "https://a.example/1", "tos_uri#zh-hant": "https://a.example/1"})),
			dcrtest.BadMetadata, "tos_uri#zh-Hant")
		client := s.Register(t, dcrtest.Managed("client_name#en", "One", "client_uri#EN", "https://client.example/", "client_name#en-GB", "Two"))
		require.Equal(t, []string{"One", "Two"}, []string{client.Text("client_name#en"), client.Text("client_name#en-GB")})
		update := dcrtest.Replacing(client, "client_name#en", "One", "client_name#eN", "One")
		dcrtest.RequireMemberRefused(t, s.Manage(t, http.MethodPut, client, update), dcrtest.BadMetadata, "client_name#eN")
	})
	t.Run("7591-2-18/in_a_statement", func(t *testing.T) {
		t.Parallel()
		d := dcrtest.NewDirectory(t, "1")
		s := dcrtest.Start(t, dcrtest.Setup{Config: d.Trusted()})
		statement := d.Sign(t, dcrtest.StatementClaims("client_name#en", "One", "client_name#EN", "Other"))
		dcrtest.RequireMemberRefused(t, s.Post(t, map[string]any{"software_statement": statement}), dcrtest.BadMetadata, "client_name#EN")
		statement = d.Sign(t, dcrtest.StatementClaims("client_name", nil, "client_name#EN", "Vouched for"))
		client := s.Register(t, map[string]any{"software_statement": statement, "client_name#en": "Of one's own"})
		require.Equal(t, "Vouched for", client.Text("client_name#EN"))
		require.NotContains(t, client.Members, "client_name#en")
	})
	t.Run("7591-2-18/of_a_default", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{
			policy.Defaults(dcr.ClientMetadata{Localized: map[string]string{"client_name#EN": "Default", "client_name#fr": "Défaut"}}),
		}}})
		client := s.Register(t, dcrtest.Managed("client_name#en", "Sent"))
		require.Equal(t, []string{"Sent", "Défaut"}, []string{client.Text("client_name#en"), client.Text("client_name#fr")})
		require.NotContains(t, client.Members, "client_name#EN")
	})
}

// TestTagsOfPolicies: a name that is no member with a language tag is a mistake of the policy, and refused as any other
// metadata that a policy leaves and that break a rule.
func TestTagsOfPolicies(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"client_name#", "client_name#\xff", "client_name#a b", "client_name", "#", "", "\x00", "jwks#fr", "client_name#é", "x#fr"} {
		t.Run("7591-2-18/of_a_policy", func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewLedger()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Policies: []dcr.Policy{
				dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
					p.Metadata.Localized = map[string]string{name: "text"}
					return nil
				}),
			}}})
			dcrtest.RequireRefusal(t, s.Post(t, dcrtest.PlainRegistration), http.StatusBadRequest, dcrtest.BadMetadata, "is no member with a language tag")
			require.Empty(t, store.Live(t))
		})
	}
}

// TestRequiredNameIsSeen: a name of which nothing can be seen is none where a name is required (T21).
func TestRequiredNameIsSeen(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.Require("client_name")}}})
	for name, shown := range map[string]bool{
		"\u200b": false, "\u3164": false, " \u2800 ": false, "\u00ad\u2060": false, "\ufe0f": false, "": false,
		"A": true, "天": true, "\u200bA": true, "🙂": true,
	} {
		answer := s.Post(t, dcrtest.Managed("client_name", name))
		if shown {
			require.Equal(t, http.StatusCreated, answer.Status, "%q: %s", name, answer.Body)
			continue
		}
		dcrtest.RequireMemberRefused(t, answer, dcrtest.BadMetadata, "client_name")
	}
}
