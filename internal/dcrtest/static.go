package dcrtest

import (
	"context"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
)

const (
	// IntrospectorID is the client_id of the static client that Introspector returns.
	IntrospectorID = "introspector"
	// IntrospectorSecret is its secret.
	IntrospectorSecret = "the secret of the introspector"

	// PortalID is the client_id of the static client with whose access tokens others register (StartClosed).
	PortalID = "operator"
	// PortalSecret is its secret.
	PortalSecret = "the static client's secret"
	// PortalURI is its redirect URI.
	PortalURI = "https://operator.example/cb"
)

// ResourceServer returns a static client and Basic credentials for it.
func ResourceServer(t testing.TB, scopes ...string) (fosite.Client, Edit) {
	t.Helper()
	return StaticClient(t, "resource-server", scopes...), Basic("resource-server", "a static secret")
}

// StaticClient returns a static client with the secret "a static secret" and RedirectURI.
func StaticClient(t testing.TB, id string, scopes ...string) *fosite.DefaultClient {
	t.Helper()
	hasher := &fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}
	hash, err := hasher.Hash(context.Background(), []byte("a static secret"))
	require.NoError(t, err)
	return &fosite.DefaultClient{
		ID: id, Secret: hash, Scopes: scopes, RedirectURIs: []string{RedirectURI},
		GrantTypes:    []string{"authorization_code", "client_credentials", "refresh_token"},
		ResponseTypes: []string{"code"},
	}
}

// Introspector returns a static client that may introspect every token. Setup.Static takes it.
func Introspector(t testing.TB) fosite.Client {
	t.Helper()
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(t.Context(), []byte(IntrospectorSecret))
	require.NoError(t, err)
	return &fosite.DefaultClient{ID: IntrospectorID, Secret: hash, RedirectURIs: []string{RedirectURI}}
}
