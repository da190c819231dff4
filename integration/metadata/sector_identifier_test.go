package metadata_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// TestSectorDocument: the document behind sector_identifier_uri is fetched where the
// provider has pairwise subjects and the client wants them, and nowhere else.
func TestSectorDocument(t *testing.T) {
	t.Parallel()
	fetched := atomic.Int32{}
	documents := map[string]string{
		"/good":     `["https://a.example/cb", "https://b.example/cb", "https://c.example/cb"]`,
		"/missing":  `["https://a.example/cb"]`,
		"/object":   `{"redirect_uris": ["https://a.example/cb", "https://b.example/cb"]}`,
		"/numbers":  `["https://a.example/cb", 7]`,
		"/trailing": `["https://a.example/cb", "https://b.example/cb"], "x": 1`,
		"/empty":    ``,
	}
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		w.Header().Set("Content-Type", "application/json")
		document, ok := documents[r.URL.Path]
		if !ok {
			http.Redirect(w, r, "/good", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte(document))
	}))
	t.Cleanup(host.Close)
	cfg := dcr.Config{
		Metadata: dcr.Metadata{Supports: map[string][]string{"subject_type": {"pairwise"}}},
		Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}},
	}
	s := dcrtest.Start(t, dcrtest.Setup{Config: cfg})
	metadata := func(subject, sector string, redirects ...string) map[string]any {
		m := map[string]any{"redirect_uris": redirects}
		if subject != "" {
			m["subject_type"] = subject
		}
		if sector != "" {
			m["sector_identifier_uri"] = sector
		}
		return m
	}
	const a, b = "https://a.example/cb", "https://b.example/cb"

	t.Run("OIDC-2-02/one_host", func(t *testing.T) {
		client := s.Register(t, metadata("pairwise", "", a, "https://a.example/other"))
		require.Equal(t, "pairwise", client.Text("subject_type"))
	})
	t.Run("OIDC-2-02/two_hosts", func(t *testing.T) {
		dcrtest.RequireMemberRefused(t, s.Post(t, metadata("pairwise", "", a, b)), "invalid_client_metadata", "sector_identifier_uri")
	})
	t.Run("OIDC-2-03/good", func(t *testing.T) {
		client := s.Register(t, metadata("pairwise", host.URL+"/good", a, b))
		require.Equal(t, host.URL+"/good", client.Text("sector_identifier_uri"))
		body := metadata("pairwise", host.URL+"/missing", a, b)
		body["client_id"] = client.ID()
		dcrtest.RequireMemberRefused(t, s.Manage(t, http.MethodPut, client, body), "invalid_client_metadata", "sector_identifier_uri")
	})
	for _, path := range []string{"/missing", "/object", "/numbers", "/trailing", "/empty", "/redirect"} {
		t.Run("OIDC-2-03"+path, func(t *testing.T) {
			dcrtest.RequireMemberRefused(t, s.Post(t, metadata("pairwise", host.URL+path, a, b)), "invalid_client_metadata", "sector_identifier_uri")
		})
	}
	t.Run("OIDC-2-03/public_is_left_out_unfetched", func(t *testing.T) {
		before := fetched.Load()
		client := s.Register(t, metadata("public", host.URL+"/good", a, b))
		require.NotContains(t, client.Members, "sector_identifier_uri")
		client = s.Register(t, metadata("", host.URL+"/good", a, b))
		require.NotContains(t, client.Members, "sector_identifier_uri")
		require.Equal(t, before, fetched.Load())
	})
	t.Run("OIDC-2-03/OUT-01/T10", func(t *testing.T) {
		guarded := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{Supports: cfg.Metadata.Supports}}})
		before := fetched.Load()
		dcrtest.RequireMemberRefused(t, guarded.Post(t, metadata("pairwise", host.URL+"/good", a, b)), "invalid_client_metadata", "sector_identifier_uri")
		require.Equal(t, before, fetched.Load(), "and nothing was connected to")
	})
}

func TestHostsOwnMembers(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Scopes: []string{"openid", "profile", "mcp"},
		Metadata: dcr.Metadata{
			ExtensionMembers: []string{"org_tier", "org_tags"},
			DefaultScopes:    []string{"profile"}, BaselineScopes: []string{"openid"},
		},
	}})
	t.Run("7591-3.1-02/extension_members", func(t *testing.T) {
		client := s.Register(t, `{"redirect_uris":["https://a.example/cb"],"org_tier":"gold","org_tags":{"a":[1,2.50,null]},"org_other":1}`)
		require.Equal(t, "gold", client.Text("org_tier"))
		require.Contains(t, client.Body, `"org_tags":{"a":[1,2.50,null]}`)
		require.NotContains(t, client.Members, "org_other")
		require.Contains(t, s.Manage(t, http.MethodGet, client, nil).Body, `"org_tags":{"a":[1,2.50,null]}`)
		updated := s.Manage(t, http.MethodPut, client, `{"client_id":"`+client.ID()+`","redirect_uris":["https://a.example/cb"]}`)
		require.NotContains(t, updated.Members, "org_tier")
	})
	t.Run("7591-2-22/extension_member_too_long", func(t *testing.T) {
		long := make([]byte, 5000)
		for i := range long {
			long[i] = 'x'
		}
		dcrtest.RequireMemberRefused(t, s.Post(t, map[string]any{"redirect_uris": []string{"https://a.example/cb"}, "org_tier": string(long)}), "invalid_client_metadata", "org_tier")
	})
	t.Run("7591-2-10/baseline_scopes", func(t *testing.T) {
		require.Equal(t, "profile openid", s.Register(t, `{"redirect_uris":["https://a.example/cb"]}`).Text("scope"))
		require.Equal(t, "mcp openid", s.Register(t, `{"redirect_uris":["https://a.example/cb"],"scope":"mcp admin"}`).Text("scope"))
		require.Equal(t, "openid", s.Register(t, `{"redirect_uris":["https://a.example/cb"],"scope":"openid"}`).Text("scope"))
	})
}
