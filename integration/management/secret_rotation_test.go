package management_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestSecretRotation: an update answers a new secret where a policy wants it, and the old
// one works beside it for the grace (7592-2.2-09).
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	rotating := dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		a.RotateSecret = a.Previous != nil && a.Metadata.SoftwareVersion == "rotate"
		return nil
	})
	for name, row := range map[string]struct {
		grace, lifetime time.Duration
		works           time.Duration // how long the old secret works afterwards
	}{
		"at_once":           {},
		"grace":             {grace: time.Hour, works: time.Hour},
		"ends_with_itself":  {grace: 3 * time.Hour, lifetime: 2 * time.Hour, works: 2 * time.Hour},
		"grace_before_that": {grace: time.Hour, lifetime: 3 * time.Hour, works: time.Hour},
	} {
		t.Run("7592-2.2-09/"+name, func(t *testing.T) {
			t.Parallel()
			clock := new(dcrtest.Clock)
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
				Now: clock.Now, Policies: []dcr.Policy{rotating}, Secrets: dcr.Secrets{Grace: row.grace, Lifetime: row.lifetime},
				Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}},
			}})
			client := s.Register(t, `{"grant_types":["client_credentials"]}`)
			authenticates := func(secret string) bool {
				answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), secret))
				require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, answer.Status)
				return answer.Status == http.StatusOK
			}
			put := func(version string) dcrtest.Answer {
				answer := s.Manage(t, http.MethodPut, client, `{"client_id":"`+client.ID()+`","grant_types":["client_credentials"],"software_version":"`+version+`"}`)
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
				return answer
			}
			require.Empty(t, put("keep").Secret(), "without the policy's word the secret stays")
			require.True(t, authenticates(client.Secret()))

			next := put("rotate").Secret()
			require.NotEmpty(t, next)
			require.NotEqual(t, client.Secret(), next)
			require.True(t, authenticates(next))
			require.Equal(t, row.works > 0, authenticates(client.Secret()))
			require.Empty(t, put("keep").Secret(), "once")
			if row.works > 0 {
				clock.Forward(row.works - time.Minute)
				require.True(t, authenticates(client.Secret()))
				clock.Forward(2 * time.Minute)
				require.False(t, authenticates(client.Secret()))
			}
		})
	}
	t.Run("7592-2.2-09/public", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{rotating}}})
		client := s.Register(t, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none"}`)
		answer := s.Manage(t, http.MethodPut, client, `{"client_id":"`+client.ID()+`","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none","software_version":"rotate"}`)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Empty(t, answer.Secret())
	})
}
