package assertion_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"
)

// curveKeys and privateKeys are those of the tests' signers.
type curveKeys struct{ p256, other256, p384, p521 *ecdsa.PrivateKey }

type privateKeys struct {
	curveKeys

	rsaA, rsaB *rsa.PrivateKey
}

// ecKeys are made once, and testKeys, which take long.
var ecKeys = sync.OnceValue(func() curveKeys {
	made := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}
	return curveKeys{made(elliptic.P256()), made(elliptic.P256()), made(elliptic.P384()), made(elliptic.P521())}
})

var testKeys = sync.OnceValue(func() privateKeys {
	made := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	}
	return privateKeys{ecKeys(), made(), made()}
})

func public(private crypto.Signer, kid, use, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: private.Public(), KeyID: kid, Use: use, Algorithm: alg}
}

func keySet(keys ...jose.JSONWebKey) *jose.JSONWebKeySet { return &jose.JSONWebKeySet{Keys: keys} }

type object = map[string]any

// with returns claims in which further pairs of name and value replace what is there; nil removes it.
func with(claims object, pairs ...any) object {
	all := maps.Clone(claims)
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(all, pairs[i].(string))
		}
	}
	return all
}

// sign returns a JWT. The claims may be json.RawMessage.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, header map[jose.HeaderKey]any, claims any) string {
	t.Helper()
	if kid != "" {
		key = jose.JSONWebKey{Key: key, KeyID: kid}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	if raw, ok := claims.(json.RawMessage); ok {
		payload, err = raw, nil
	}
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	return compact
}

// byHand puts a JWT together with a header of any kind.
func byHand(t testing.TB, header, claims object, signature func(input string) []byte) string {
	t.Helper()
	encode := func(value any) string {
		raw, err := json.Marshal(value)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	input := encode(header) + "." + encode(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature(input))
}

func unsigned(string) []byte { return nil }

func hs256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}
