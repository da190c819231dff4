package consent_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// TestNeeded: an earlier consent never suffices for a client that another program may pose as.
func TestNeeded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, redirectURI string
		asked               bool
	}{
		{"none", "http://127.0.0.1/cb", true}, {"none", "http://127.0.0.1:8080/cb", true}, {"none", "http://[::1]/cb", true},
		{"none", "http://localhost:3000/cb", true}, {"none", "com.example.app:/cb", true},
		{"none", "https://127.0.0.1:8443/cb", true}, {"none", "https://localhost/cb", true}, {"none", "https://[::1]/cb", true},
		{"none", "https://client.example/cb", false}, {"none", "https://localhost.example/cb", false},
		{"client_secret_basic", "http://127.0.0.1/cb", false}, {"private_key_jwt", "com.example.app:/cb", false},
		{"client_secret_post", "https://client.example/cb", false},
	} {
		t.Run("CONS-01/"+row.method+"/"+row.redirectURI, func(t *testing.T) {
			t.Parallel()
			request := fosite.NewAuthorizeRequest()
			client := &dcr.Client{ID: "c", Metadata: dcr.ClientMetadata{TokenEndpointAuthMethod: row.method}}
			var err error
			request.RedirectURI, err = url.Parse(row.redirectURI)
			require.NoError(t, err)
			request.Client = client
			require.Equal(t, row.asked, consent.Needed(request))
			client.AlwaysAskConsent = true
			require.True(t, consent.Needed(request), "a policy wants it")
			request.Client = &fosite.DefaultClient{ID: "static", Public: row.method == "none"}
			require.Equal(t, row.asked, consent.Needed(request), "a static client")
		})
	}
	t.Run("CONS-01/no_redirect_uri", func(t *testing.T) {
		t.Parallel()
		request := fosite.NewAuthorizeRequest()
		request.RedirectURI, request.Client = nil, &fosite.DefaultClient{Public: true}
		require.True(t, consent.Needed(request))
	})
}

// counter is a provider that answers what the test says.
type counter struct {
	found int
	err   error
}

func (c counter) CountClients(context.Context, dcr.ClientFilter, int) (int, error) {
	return c.found, c.err
}

// TestDescribeAsksItsProvider: names are counted where somebody can, and whatever becomes of the
// count, the rest of the description is there.
func TestDescribeAsksItsProvider(t *testing.T) {
	t.Parallel()
	down := errors.New("database down")
	for name, row := range map[string]struct {
		provider consent.Counter
		want     int
		err      error
	}{
		"T21/nil":           {nil, 0, nil},
		"T21/counted":       {counter{found: 3}, 2, nil},
		"T21/gone_since":    {counter{found: 0}, 0, nil},
		"T21/can_not_count": {counter{7, fmt.Errorf("wrapped: %w", dcr.ErrNotSupported)}, 0, nil},
		"T21/fails":         {counter{7, down}, 0, down},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := consent.Describe(t.Context(), row.provider, named("App"))
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.want, d.SameName)
			d.SameName = 0
			require.Equal(t, described(t, named("App")), d)
		})
	}
}
