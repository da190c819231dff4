package dcrtest

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"
)

// AssertionType is the client_assertion_type of a JWT (RFC 7523, section 2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// AssertionClaims returns the claims of a good client assertion. Further pairs of name and value replace what is
// there; nil removes a claim.
func AssertionClaims(clientID string, audience any, pairs ...any) map[string]any {
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		claims[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(claims, pairs[i].(string))
		}
	}
	return claims
}

// SignToken returns a signed JWT in compact form, with the type JWT in its header.
func SignToken(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	return compact
}

// SignES256 signs claims with the key P256 of Keys, without a kid.
func SignES256(t testing.TB, claims map[string]any) string {
	t.Helper()
	return SignToken(t, jose.ES256, Keys().P256, "", claims)
}

// WithAssertion puts a client assertion into a form (RFC 7523, section 2.2).
func WithAssertion(form url.Values, assertion string) url.Values {
	form.Set("client_assertion_type", AssertionType)
	form.Set("client_assertion", assertion)
	return form
}
