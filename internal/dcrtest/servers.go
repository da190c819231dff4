package dcrtest

import (
	"context"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// StartClosed starts a server whose clients are registered with access tokens only. The portal is a static client of
// it with the given scopes. The events of the server are returned too.
func StartClosed(t testing.TB, change func(*Setup), scopes ...string) (*Server, *Events) {
	t.Helper()
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(context.Background(), []byte(PortalSecret))
	require.NoError(t, err)
	events := &Events{}
	setup := Setup{Closed: true, Config: dcr.Config{Events: events}, Static: []fosite.Client{&fosite.DefaultClient{
		ID: PortalID, Secret: hash, RedirectURIs: []string{PortalURI}, ResponseTypes: []string{"code"}, Scopes: scopes,
		GrantTypes: []string{"client_credentials", "authorization_code", "refresh_token"},
	}}}
	if change != nil {
		change(&setup)
	}
	return Start(t, setup), events
}

// StartLifecycle starts a server whose clients expire as lifecycle says, and returns its clock. Anonymous clients may
// use the grant client_credentials.
func StartLifecycle(t testing.TB, lifecycle dcr.Lifecycle, edit ...func(*Setup)) (*Server, *Clock) {
	clock := new(Clock)
	setup := Setup{UnusedEnd: true, Config: dcr.Config{Lifecycle: lifecycle, Now: clock.Now, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}}
	for _, e := range edit {
		e(&setup)
	}
	return Start(t, setup), clock
}
