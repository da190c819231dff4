package integration

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// clientKey is made once: RSA keys take long.
var clientKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// signingClient is a client that authenticates by private_key_jwt.
type signingClient struct {
	id       string
	audience any
	key      crypto.Signer
	alg      jose.SignatureAlgorithm
}

func newSigningClient(t testing.TB, alg jose.SignatureAlgorithm) *signingClient {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		key, err = clientKey()
	}
	require.NoError(t, err)
	return &signingClient{key: key, alg: alg}
}

// metadata registers the key without "use", "alg" and "kid", and no
// token_endpoint_auth_signing_alg (AUTH-10).
func (c *signingClient) metadata() map[string]any {
	return map[string]any{
		"client_name": "x/oauth2 with a key", "redirect_uris": []string{"https://client.example.com/callback"},
		"grant_types":                []string{"authorization_code", "refresh_token", "client_credentials"},
		"token_endpoint_auth_method": "private_key_jwt",
		"jwks":                       jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: c.key.Public()}}},
	}
}

// assertion signs a new assertion: each is good for one request.
func (c *signingClient) assertion() (url.Values, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: c.alg, Key: c.key}, nil)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	signed, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": c.id, "sub": c.id, "aud": c.audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}).CompactSerialize()
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {signed}}, err
}

// options are an assertion for the exchange of a code.
func (c *signingClient) options(t testing.TB) []oauth2.AuthCodeOption {
	t.Helper()
	assertion, err := c.assertion()
	require.NoError(t, err)
	var options []oauth2.AuthCodeOption
	for name := range assertion {
		options = append(options, oauth2.SetAuthURLParam(name, assertion.Get(name)))
	}
	return options
}

// RoundTrip puts an assertion into a token request: x/oauth2 has no other place for
// one when it refreshes.
func (c *signingClient) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	assertion, err := c.assertion()
	if err != nil {
		return nil, err
	}
	maps.Copy(form, assertion)
	signed := request.Clone(request.Context())
	signed.Body = io.NopCloser(bytes.NewReader([]byte(form.Encode())))
	signed.ContentLength = int64(len(form.Encode()))
	return dcrtest.Transport.RoundTrip(signed)
}

// eachAssertion runs a test for every algorithm and for the two audiences that
// deployed clients name (AUTH-03).
func eachAssertion(t *testing.T, run func(*testing.T, *dcrtest.Server, *signingClient, dcrtest.Answer)) {
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
					client := newSigningClient(t, alg)
					answer := s.Register(t, client.metadata())
					require.Empty(t, answer.Secret())
					client.id, client.audience = answer.ID(), audience(s)
					run(t, s, client, answer)
				})
			})
		}
	}
}

func TestOAuth2ClientCredentialsByKey(t *testing.T) {
	t.Parallel()
	eachAssertion(t, func(t *testing.T, s *dcrtest.Server, client *signingClient, answer dcrtest.Answer) {
		h := &holder{Server: s, client: answer}
		h.again = func(*oauth2.Token) (*oauth2.Token, error) {
			config := serviceConfig(s, answer, oauth2.AuthStyleInParams)
			assertion, err := client.assertion()
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
	eachAssertion(t, func(t *testing.T, s *dcrtest.Server, client *signingClient, answer dcrtest.Answer) {
		config := &oauth2.Config{
			ClientID: answer.ID(), RedirectURL: "https://client.example.com/callback",
			Endpoint: oauth2Endpoint(s, oauth2.AuthStyleInParams), Scopes: []string{"profile", "email"},
		}
		h := &holder{Server: s, client: answer}
		h.token = codeFlow(t, s, config, forResource, client.options(t))
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
	client := newSigningClient(t, jose.ES256)
	answer := s.Register(t, client.metadata())
	client.id, client.audience = answer.ID(), s.URL
	assertion, err := client.assertion()
	require.NoError(t, err)
	config := serviceConfig(s, answer, oauth2.AuthStyleInParams)
	maps.Copy(config.EndpointParams, assertion)
	_, err = config.Token(t.Context())
	require.NoError(t, err)
	_, err = config.Token(t.Context())
	requireRefused(t, err, http.StatusBadRequest, "jti_known")
}
