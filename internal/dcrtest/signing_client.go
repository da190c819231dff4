package dcrtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// SigningClient is a client that authenticates by private_key_jwt. As an http.RoundTripper it signs token requests.
type SigningClient struct {
	// ID is the client_id, once the client is registered.
	ID string
	// Audience is the audience of its assertions: a string or a list.
	Audience any
	// Key signs.
	Key crypto.Signer

	alg jose.SignatureAlgorithm
}

// Metadata registers the key without "use", "alg" and "kid", and no
// token_endpoint_auth_signing_alg (AUTH-10).
func (c *SigningClient) Metadata() map[string]any {
	return map[string]any{
		"client_name": "x/oauth2 with a key", "redirect_uris": []string{"https://client.example.com/callback"},
		"grant_types":                []string{"authorization_code", "refresh_token", "client_credentials"},
		"token_endpoint_auth_method": "private_key_jwt",
		"jwks":                       jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: c.Key.Public()}}},
	}
}

// Assertion signs a new assertion: each is good for one request.
func (c *SigningClient) Assertion() (url.Values, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: c.alg, Key: c.Key}, nil)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	signed, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": c.ID, "sub": c.ID, "aud": c.Audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}).CompactSerialize()
	return url.Values{"client_assertion_type": {AssertionType}, "client_assertion": {signed}}, err
}

// Options are an assertion for the exchange of a code.
func (c *SigningClient) Options(t testing.TB) []oauth2.AuthCodeOption {
	t.Helper()
	assertion, err := c.Assertion()
	require.NoError(t, err)
	var options []oauth2.AuthCodeOption
	for name := range assertion {
		options = append(options, oauth2.SetAuthURLParam(name, assertion.Get(name)))
	}
	return options
}

// RoundTrip puts an assertion into a token request: x/oauth2 has no other place for
// one when it refreshes.
func (c *SigningClient) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	assertion, err := c.Assertion()
	if err != nil {
		return nil, err
	}
	maps.Copy(form, assertion)
	signed := request.Clone(request.Context())
	signed.Body = io.NopCloser(bytes.NewReader([]byte(form.Encode())))
	signed.ContentLength = int64(len(form.Encode()))
	return Transport.RoundTrip(signed)
}

// NewSigningClient returns a client with a key for alg, which is not registered yet.
func NewSigningClient(t testing.TB, alg jose.SignatureAlgorithm) *SigningClient {
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
		key = Keys().RSA
	}
	require.NoError(t, err)
	return &SigningClient{Key: key, alg: alg}
}
