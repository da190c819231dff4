package clients_test

import (
	"context"
	"maps"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// eachAssertion runs a test for every algorithm and for the two audiences that
// deployed clients name (AUTH-03). The key is registered without "use", "alg" and "kid",
// and no algorithm beside it (AUTH-10).
func eachAssertion(t *testing.T, run func(*testing.T, *dcrtest.Server, *dcrtest.SigningClient, dcrtest.Answer)) {
	t.Helper()
	audiences := map[string]func(*dcrtest.Server) any{
		"AUTH-03/aud=issuer":    func(s *dcrtest.Server) any { return s.URL },
		"AUTH-03/aud=token_url": func(s *dcrtest.Server) any { return []string{s.URL + "/oauth2/token"} },
	}
	for name, audience := range audiences {
		for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512} {
			t.Run(name+"/alg="+string(alg), func(t *testing.T) {
				t.Parallel()
				forEachTokenKind(t, oauth2Setup, func(t *testing.T, s *dcrtest.Server) {
					client := dcrtest.NewSigningClient(t, alg)
					answer := s.Register(t, client.Metadata())
					require.Empty(t, answer.Secret())
					client.ID, client.Audience = answer.ID(), audience(s)
					run(t, s, client, answer)
				})
			})
		}
	}
}

func TestOAuth2ClientCredentialsByKey(t *testing.T) {
	t.Parallel()
	eachAssertion(t, func(t *testing.T, s *dcrtest.Server, client *dcrtest.SigningClient, answer dcrtest.Answer) {
		h := &holder{Server: s, client: answer}
		h.again = func(*oauth2.Token) (*oauth2.Token, error) {
			config := serviceConfig(s, answer, oauth2.AuthStyleInParams)
			assertion, err := client.Assertion()
			if err != nil {
				return nil, err
			}
			maps.Copy(config.EndpointParams, assertion)
			return config.Token(t.Context())
		}
		var err error
		h.token, err = h.again(nil)
		require.NoError(t, err)
		requireFor(t, h, "", apiResource)
		h.manageToItsEnd(t)
	})
}

func TestOAuth2AuthorizationCodeByKey(t *testing.T) {
	t.Parallel()
	eachAssertion(t, func(t *testing.T, s *dcrtest.Server, client *dcrtest.SigningClient, answer dcrtest.Answer) {
		config := &oauth2.Config{
			ClientID: answer.ID(), RedirectURL: "https://client.example.com/callback",
			Endpoint: oauth2Endpoint(s, oauth2.AuthStyleInParams), Scopes: []string{"profile", "email"},
		}
		h := &holder{Server: s, client: answer}
		h.token = codeFlow(t, s, config, forResource, client.Options(t))
		requireFor(t, h, "alice", apiResource)
		h.again = refresher(context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: client}), config)
		h.manageToItsEnd(t)
	})
}

// An assertion is good for one request: a configuration with one in its
// EndpointParams gets one token, and no second.
func TestOAuth2AssertionIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, oauth2Setup)
	client := dcrtest.NewSigningClient(t, jose.ES256)
	answer := s.Register(t, client.Metadata())
	client.ID, client.Audience = answer.ID(), s.URL
	assertion, err := client.Assertion()
	require.NoError(t, err)
	config := serviceConfig(s, answer, oauth2.AuthStyleInParams)
	maps.Copy(config.EndpointParams, assertion)
	_, err = config.Token(t.Context())
	require.NoError(t, err)
	_, err = config.Token(t.Context())
	requireRefused(t, err, http.StatusUnauthorized, "invalid_client")
}
