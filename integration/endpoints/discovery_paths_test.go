package endpoints_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestMetadataPaths: the well-known name stands before the path of the issuer for OAuth, and
// behind it for OpenID Connect (8414-01).
func TestMetadataPaths(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string][]string{
		"https://as.example":       {"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
		"https://as.example/":      {"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
		"https://as.example/a/b%c": {"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
		"https://as.example/tenant/1": {
			"/.well-known/oauth-authorization-server/tenant/1", "/tenant/1/.well-known/openid-configuration", "/.well-known/openid-configuration/tenant/1",
		},
	} {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Endpoints: dcr.Endpoints{Issuer: func(context.Context) string { return issuer }}}})
		require.Equal(t, want, s.Provider.MetadataPaths(t.Context()), issuer)
	}
}
