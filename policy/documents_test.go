package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestBindRedirects: a document speaks for its own origin, for exempt hosts, and for nobody else (CIMD-13).
func TestBindRedirects(t *testing.T) {
	t.Parallel()
	const id = "https://app.example/client.json"
	document := &dcr.Registrant{Kind: dcr.KindDocument, ClientID: id, Anonymous: true}
	for name, row := range map[string]struct {
		who       *dcr.Registrant
		redirects []string
		after     []string
		refused   string
	}{
		"own_origin":         {document, []string{"https://app.example/cb", "https://APP.example:443/x"}, []string{"https://app.example/bye"}, ""},
		"one_foreign":        {document, []string{"https://app.example/cb", "https://evil.example/cb"}, nil, "redirect_uris is on another origin than the document"},
		"another_port":       {document, []string{"https://app.example:8443/cb"}, nil, "redirect_uris is on another origin than the document"},
		"another_scheme":     {document, []string{"http://app.example/cb"}, nil, "redirect_uris is on another origin than the document"},
		"below":              {document, []string{"https://www.app.example/cb"}, nil, "redirect_uris is on another origin than the document"},
		"private_use_scheme": {document, []string{"com.example.app:/cb"}, nil, "redirect_uris is on another origin than the document"},
		"after_logout":       {document, []string{"https://app.example/cb"}, []string{"https://evil.example/"}, "post_logout_redirect_uris is on another origin than the document"},
		"exempt":             {document, []string{"http://localhost/cb", "https://a.partner.example/cb"}, nil, ""},
		"loopback_by_number": {document, []string{"http://127.0.0.1/cb"}, nil, "redirect_uris is on another origin than the document"},
		"registered":         {&dcr.Registrant{Kind: dcr.KindOpen, Anonymous: true}, []string{"https://evil.example/cb"}, nil, ""},
	} {
		t.Run("CIMD-13/"+name, func(t *testing.T) {
			t.Parallel()
			m := dcr.ClientMetadata{RedirectURIs: row.redirects, OpenID: &dcr.OpenIDMetadata{PostLogoutRedirectURIs: row.after}}
			err := policy.BindRedirects("localhost", ".partner.example").Judge(t.Context(), &dcr.Proposal{Registrant: row.who, Metadata: &m})
			if row.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "invalid_")
			var answer interface{ GetDescription() string }
			require.ErrorAs(t, err, &answer)
			require.Contains(t, answer.GetDescription(), row.refused)
		})
	}
	_, mistaken := policy.BindRedirects("https://a.example/").(interface{ Problems() []error })
	require.True(t, mistaken)
}
