package metadata_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestDefaultGrantTypes: a client that names no grant types gets those of the configuration, as far as it can have
// them.
func TestDefaultGrantTypes(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{
		DefaultGrantTypes: list{"authorization_code", "refresh_token", "client_credentials", "urn:unknown"},
	}}})
	both := list{"authorization_code", "refresh_token"}
	for name, row := range map[string]struct {
		sent members
		want list
	}{
		"omitted":      {choosing(), both}, // anonymous registrants have no client_credentials
		"empty":        {choosing("grant_types", list{}), both},
		"sent":         {choosing("grant_types", list{"authorization_code"}), both[:1]},
		"public":       {choosing("token_endpoint_auth_method", "none"), both},
		"no_use_of_it": {choosing("response_types", list{"code"}), both},
	} {
		t.Run("META-01/"+name, func(t *testing.T) {
			t.Parallel()
			dcrtest.RequireMembers(t, s.Register(t, row.sent), members{"grant_types": row.want, "response_types": list{"code"}})
		})
	}
	_, err := (&dcrtest.Server{URL: "http://127.0.0.1:1"}).Compose(dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{DefaultGrantTypes: list{"refresh_token"}}}})
	require.ErrorContains(t, err, "Config.Metadata.DefaultGrantTypes")
}

// TestMCPDefaults: what clients of MCP servers get that name next to nothing.
func TestMCPDefaults(t *testing.T) {
	t.Parallel() // META-01
	for _, row := range []struct{ scopes, want string }{{"mcp", "mcp"}, {"mcp offline_access", "mcp offline_access"}} {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.MCPConfig("https://mcp.example/", strings.Fields(row.scopes)...)})
		client := s.Register(t, choosing("scope", "mcp"))
		dcrtest.RequireMembers(t, client, members{"grant_types": list{"authorization_code", "refresh_token"}, "scope": row.want})
	}
}

// TestSent: a policy knows what the client sent, and what was filled in.
func TestSent(t *testing.T) {
	t.Parallel() // META-01
	var seen map[string]bool
	watching := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		seen = map[string]bool{}
		for _, member := range dcr.Members() {
			if p.Sent(member.Name) {
				seen[member.Name] = true
			}
		}
		p.Metadata.GrantTypes[0] = "authorization_code" // what a policy changes is not what was sent
		return nil
	})
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{watching}}})
	client := s.Register(t, choosing("client_name", "Client", "grant_types", list{}, "contacts", list{}))
	require.Equal(t, map[string]bool{"redirect_uris": true, "client_name": true}, seen)
	update := s.Manage(t, http.MethodPut, client, readBack(client))
	require.Equal(t, http.StatusOK, update.Status, update.Body)
	require.True(t, seen["grant_types"] && seen["scope"], "%v", seen)
	require.False(t, (&dcr.Proposal{}).Sent("scope"))
}
