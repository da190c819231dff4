package lifecycle_test

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// plainStorage has what fosite needs and the four methods, and no more.
type plainStorage struct {
	fosite.Storage
	dcr.ClientStorage
	core
}

// core is what the factories of the test want.
type core interface {
	fosite.PARStorage
	CreateAuthorizeCodeSession(ctx context.Context, code string, request fosite.Requester) error
	GetAuthorizeCodeSession(ctx context.Context, code string, session fosite.Session) (fosite.Requester, error)
	InvalidateAuthorizeCodeSession(ctx context.Context, code string) error
	CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error
	GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error)
	DeleteAccessTokenSession(ctx context.Context, signature string) error
	CreateRefreshTokenSession(ctx context.Context, signature, accessSignature string, request fosite.Requester) error
	GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error)
	DeleteRefreshTokenSession(ctx context.Context, signature string) error
	RotateRefreshToken(ctx context.Context, requestID, signature string) error
	RevokeRefreshToken(ctx context.Context, requestID string) error
	RevokeAccessToken(ctx context.Context, requestID string) error
	CreatePKCERequestSession(ctx context.Context, signature string, request fosite.Requester) error
	GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error)
	DeletePKCERequestSession(ctx context.Context, signature string) error
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	factories := []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory,
	}
	good := func() dcrtest.Setup {
		return dcrtest.Setup{Factories: factories, Config: dcr.Config{Events: &dcrtest.Events{}}}
	}
	rows := map[string]struct {
		edit func(*dcrtest.Setup)
		says string // empty for nothing
	}{
		"nothing":   {func(*dcrtest.Setup) {}, ""},
		"no_scopes": {func(s *dcrtest.Setup) { s.Config.Scopes = []string{} }, "Config.Scopes"},
		"no_refresh_handler": {func(s *dcrtest.Setup) {
			s.Factories = []compose.Factory{factories[0], factories[2], factories[3]}
			s.Config.Metadata.DefaultGrantTypes = []string{"authorization_code", "refresh_token"}
		}, "OAuth2RefreshTokenGrantFactory"},
		"quotas_beside_open": {func(s *dcrtest.Setup) { s.Config.Limits.Quotas.PerSubject = 5 }, "Config.Limits.Quotas"},
		"token_url_elsewhere": {func(s *dcrtest.Setup) {
			s.Fosite = func(c *fosite.Config) { c.TokenURL = "https://elsewhere.example/token" }
		}, "https://elsewhere.example/token"},
		"no_access":    {func(s *dcrtest.Setup) { s.Closed = true }, "Config.Access is nil"},
		"access_meant": {func(s *dcrtest.Setup) { s.Config.Access = dcr.AccessToken() }, ""},
		"own_authentication": {func(s *dcrtest.Setup) {
			s.Fosite = func(c *fosite.Config) {
				c.ClientAuthenticationStrategy = func(context.Context, *http.Request, url.Values) (fosite.Client, error) {
					return nil, fosite.ErrInvalidClient
				}
			}
		}, "ClientAuthenticationStrategy"},
		"no_events":        {func(s *dcrtest.Setup) { s.Config.Events = nil }, "Config.Events"},
		"uncomposed_grant": {func(s *dcrtest.Setup) { s.Config.Metadata.AnonymousGrantTypes = []string{"client_credentials"} }, `"client_credentials"`},
		"refresh_scopes": {func(s *dcrtest.Setup) {
			s.Fosite = func(config *fosite.Config) { config.RefreshTokenScopes = nil }
		}, "RefreshTokenScopes"},
		"refresh_scope_meant": {func(s *dcrtest.Setup) {
			s.Fosite = func(config *fosite.Config) { config.RefreshTokenScopes = []string{"offline_access"} }
		}, ""},
		"misspelt_default_grant": {func(s *dcrtest.Setup) {
			s.Config.Metadata.DefaultGrantTypes = []string{"authorization_code", "refresh-token"}
		}, `"refresh-token"`},
		"refresh_scopes_of_nobody": {func(s *dcrtest.Setup) {
			s.Config.Scopes = []string{"mcp"}
			s.Fosite = func(config *fosite.Config) { config.RefreshTokenScopes = nil }
		}, "RefreshTokenScopes"},
		"everybody_is_a_proxy": {func(s *dcrtest.Setup) {
			s.Config.Limits.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/0")}
		}, "trusts every address"},
		"no_use_recorder": {func(s *dcrtest.Setup) {
			store := dcr.NewMemoryStore()
			s.Storage = plainStorage{store, store, store}
		}, "UseRecorder"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := good()
			row.edit(&setup)
			warnings := dcrtest.Start(t, setup).Provider.Warnings()
			if row.says == "" {
				require.Empty(t, warnings)
				return
			}
			require.Len(t, warnings, 1, strings.Join(warnings, "\n"))
			require.Contains(t, warnings[0], row.says)
		})
	}
}

// TestMCPConfig: what it sets is what deployed clients need, and Extend has nothing to say.
func TestMCPConfig(t *testing.T) {
	t.Parallel()
	cfg := dcr.MCPConfig("https://mcp.example/", "mcp", "offline_access")
	cfg.Events = &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: cfg})
	require.Empty(t, s.Provider.Warnings())
	for name, metadata := range map[string]string{
		"REAL/loopback": `{"client_name":"A","redirect_uris":["http://localhost/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"]}`,
		"REAL/editor":   `{"client_name":"B","redirect_uris":["cursor://anysphere.cursor-retrieval/oauth/callback"],"token_endpoint_auth_method":"none"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, "mcp offline_access", s.Register(t, metadata).Text("scope"))
		})
	}
}
