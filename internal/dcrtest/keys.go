package dcrtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
)

// PrivateKeys are private keys of clients.
type PrivateKeys struct {
	// RSA and OtherRSA have 2048 bits.
	RSA, OtherRSA *rsa.PrivateKey
	// P256, OtherP256, P384 and P521 are on the curves of these names.
	P256, OtherP256, P384, P521 *ecdsa.PrivateKey
}

// Keys returns the private keys of the tests' clients. They are made once: RSA keys take long.
var Keys = sync.OnceValue(func() PrivateKeys {
	newRSA := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	}
	newEC := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}
	return PrivateKeys{
		RSA: newRSA(), OtherRSA: newRSA(), P256: newEC(elliptic.P256()), OtherP256: newEC(elliptic.P256()),
		P384: newEC(elliptic.P384()), P521: newEC(elliptic.P521()),
	}
})

// PublicKey returns the public half of a key as a JWK. Empty values leave a member out.
func PublicKey(private crypto.Signer, kid, use, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: private.Public(), KeyID: kid, Use: use, Algorithm: alg}
}

// KeySet returns a JWK set.
func KeySet(keys ...jose.JSONWebKey) jose.JSONWebKeySet { return jose.JSONWebKeySet{Keys: keys} }

// EdJWK returns a new public Ed25519 key as a JWK with the kid "ed".
func EdJWK(t testing.TB) map[string]any {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return PublicJWK(t, key, "ed")
}

// RSAPublicKey returns the public key of the fixture's servers, which is made once: RSA keys take long.
func RSAPublicKey(t testing.TB) *rsa.PublicKey {
	t.Helper()
	s := new(Server)
	_, err := s.Compose(Setup{Fosite: func(config *fosite.Config) { config.AccessTokenIssuer = "https://as.example" }})
	require.NoError(t, err)
	return &s.Key.PublicKey
}

// ECJWK returns a new public key on P-256 as a JWK.
func ECJWK(t testing.TB, id string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return PublicJWK(t, key.Public(), id)
}

// PublicJWK returns a public key as the members of a JWK, without use and alg.
func PublicJWK(t testing.TB, key any, id string) map[string]any {
	t.Helper()
	jwk, ok := ViaJSON(t, jose.JSONWebKey{Key: key, KeyID: id}).(map[string]any)
	require.True(t, ok)
	return jwk
}
