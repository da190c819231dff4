package dcr_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// jwks is a set of keys as a member.
func jwks(keys ...any) members { return members{"jwks": members{"keys": keys}} }

// rsaJWK is an RSA key of any modulus and exponent.
func rsaJWK(modulus *big.Int, exponent int64) members {
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return members{"kty": "RSA", "n": encode(modulus), "e": encode(big.NewInt(exponent))}
}

// modulus is an odd number of so many bits.
func modulus(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Add(n, big.NewInt(12345))
}

// with is a key, or any metadata, with more members.
func with(base, more members) members {
	joined := maps.Clone(base)
	maps.Copy(joined, more)
	return joined
}

func ecOn(t *testing.T, curve elliptic.Curve) members {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return publicJWK(t, key.Public(), "")
}

func edJWK(t *testing.T) members {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return publicJWK(t, key, "ed")
}

func manyKeys(t *testing.T, count int) (keys []any) {
	t.Helper()
	for i := range count {
		keys = append(keys, ecJWK(t, fmt.Sprint(i)))
	}
	return keys
}

func TestKeySets(t *testing.T) {
	t.Parallel()
	ec, ed := ecJWK(t, "ec"), edJWK(t)
	rsaKey := publicJWK(t, rsaPublic(t), "rsa")
	unknown := members{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}
	secp256k1 := members{"kty": "EC", "crv": "secp256k1", "x": ec["x"], "y": ec["y"]}
	refused := func(name string, value any) outcome {
		return outcome{name: "7591-2-12/T30/" + name, send: members{"jwks": value}, code: badMetadata, names: list{"jwks"}}
	}
	key := func(name string, keys ...any) outcome { return refused(name, members{"keys": keys}) }
	kept := func(name string, send members, back ...any) outcome {
		return outcome{name: "7591-2-12/" + name, send: send, back: jwks(back...)}
	}
	runOutcomes(t, nil, []outcome{
		refused("no_set", members{}), refused("list", []any{ec}), refused("string", `{"keys":[]}`), refused("keys_object", members{"keys": ec}),
		refused("keys_null", members{"keys": nil}), refused("keys_of_strings", members{"keys": list{"a"}}),
		refused("keys_of_nulls", members{"keys": []any{nil}}), refused("keys_of_lists", members{"keys": []any{[]any{ec}}}),
		key("empty_set"), key("empty_key", members{}), key("kty_number", with(ec, members{"kty": 7})),
		key("private_ec", with(ec, members{"d": ec["x"]})), key("private_ec_empty", with(ec, members{"d": ""})), key("private_ed", with(ed, members{"d": ed["x"]})),
		key("private_rsa", with(rsaKey, members{"d": rsaKey["n"]})), key("private_rsa_factor", with(rsaKey, members{"p": "AQAB"})),
		key("private_second", ec, with(rsaKey, members{"d": rsaKey["n"]})), key("private_of_unknown", with(unknown, members{"d": "AAAA"})),
		key("symmetric", members{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}), key("symmetric_hidden", ec, members{"kty": "oct", "k": "c2VjcmV0"}),
		key("symmetric_member", with(rsaKey, members{"k": "c2VjcmV0"})),
		key("ec_without_y", members{"kty": "EC", "crv": "P-256", "x": ec["x"]}), key("ec_without_crv", members{"kty": "EC", "x": ec["x"], "y": ec["y"]}),
		key("ec_off_curve", with(ec, members{"y": ec["x"]})), key("ec_zero", with(ec, members{"x": "AA", "y": "AA"})),
		key("ec_other_curve", with(ec, members{"crv": "P-384"})), key("ec_bad_base64", with(ec, members{"x": "!!!"})), key("ec_number", with(ec, members{"x": 7})),
		key("ec_long", with(ec, members{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 10_000))})),
		key("ed_short", with(ed, members{"x": "AAAA"})),
		key("rsa_without_n", members{"kty": "RSA", "e": "AQAB"}), key("rsa_without_e", members{"kty": "RSA", "n": rsaKey["n"]}),
		key("rsa_1024", rsaJWK(modulus(1024), 65537)), key("rsa_2047", rsaJWK(modulus(2047), 65537)), key("rsa_8193", rsaJWK(modulus(8193), 65537)),
		key("rsa_16384", rsaJWK(modulus(16384), 65537)), key("rsa_exponent_1", rsaJWK(modulus(2048), 1)),
		key("rsa_exponent_2", rsaJWK(modulus(2048), 2)), key("rsa_exponent_even", rsaJWK(modulus(2048), 65536)), key("rsa_exponent_0", rsaJWK(modulus(2048), 0)),
		key("duplicate_kid", ec, with(rsaKey, members{"kid": "ec"})), key("too_many", manyKeys(t, 33)...),
		key("none_known", unknown, secp256k1),
		kept("ec", jwks(ec), ec), kept("rsa", jwks(rsaKey), rsaKey), kept("ed25519", jwks(ed), ed), kept("several", jwks(rsaKey, ed, ec), rsaKey, ed, ec),
		kept("rsa_8192", jwks(rsaJWK(modulus(8192), 3)), rsaJWK(modulus(8192), 3)),
		kept("unknown_kty_left_out", jwks(unknown, ec), ec), kept("unknown_curve_left_out", jwks(ec, secp256k1), ec),
		kept("use_and_alg", jwks(with(ec, members{"use": "sig", "alg": "ES256"})), with(ec, members{"use": "sig", "alg": "ES256"})),
		{name: "7591-2-12/unknown_members", send: jwks(with(ec, members{"x-own": 7, "ext": true, "key_ops": list{"verify"}}))},
		{name: "7591-2-22/16_keys", send: jwks(manyKeys(t, 16)...)},
		{name: "7591-2-22/keys_of_the_host", setup: configured(func(cfg *dcr.Config) { cfg.Limits.Keys = 1 }), send: jwks(ec, ed), code: badMetadata, names: list{"jwks"}},
	})
}

// rsaPublic is the key of the fixture's servers, which is made once: RSA keys take long.
func rsaPublic(t *testing.T) *rsa.PublicKey {
	t.Helper()
	s := new(dcrtest.Server)
	_, err := s.Compose(dcrtest.Setup{Fosite: func(config *fosite.Config) { config.AccessTokenIssuer = "https://as.example" }})
	require.NoError(t, err)
	return &s.Key.PublicKey
}

func TestKeysAndAuthentication(t *testing.T) {
	t.Parallel()
	const uri = "https://client.example/jwks"
	ec, ed := ecJWK(t, "ec"), edJWK(t)
	rsaKey := publicJWK(t, rsaPublic(t), "rsa")
	byKey := func(set members, more members) members {
		return with(with(set, members{"token_endpoint_auth_method": "private_key_jwt"}), more)
	}
	alg := func(name string) members { return members{"token_endpoint_auth_signing_alg": name} }
	byURI := members{"jwks_uri": uri}
	runOutcomes(t, nil, []outcome{
		{name: "7591-2-11/both", send: with(jwks(ec), byURI), code: badMetadata, names: list{"jwks", "jwks_uri"}},
		{name: "7591-2-11/one_null", send: with(jwks(ec), members{"jwks_uri": nil}), back: with(jwks(ec), members{"jwks_uri": missing{}})},
		{name: "7591-2-11/one_empty", send: with(jwks(ec), members{"jwks_uri": ""}), back: with(jwks(ec), members{"jwks_uri": missing{}})},
		{name: "7591-2-13/unreachable", send: members{"jwks_uri": "https://unreachable.invalid/jwks"}, back: members{"jwks_uri": "https://unreachable.invalid/jwks"}},
		{name: "7591-2-13/http", send: members{"jwks_uri": "http://client.example/jwks"}, code: badMetadata, names: list{"jwks_uri"}},
		{name: "7591-2-14/no_keys", send: byKey(members{}, nil), code: badMetadata, names: list{"jwks", "private_key_jwt"}},
		{name: "7591-2-14/jwks_uri", send: byKey(byURI, nil), back: byURI},
		{name: "7591-2-14/ec", send: byKey(jwks(ec), nil), back: jwks(ec)},
		{name: "7591-2-14/ed_and_ec", send: byKey(jwks(ed, ec), nil), back: jwks(ed, ec)},
		{name: "7591-2-14/only_ed25519", send: byKey(jwks(ed), nil), code: badMetadata, names: list{"jwks"}},
		{name: "7591-2-14/only_for_encryption", send: byKey(jwks(with(ec, members{"use": "enc"})), nil), code: badMetadata, names: list{"jwks"}},
		{name: "7591-2-14/other_alg", send: byKey(jwks(with(rsaKey, members{"alg": "RSA-OAEP"})), nil), code: badMetadata, names: list{"jwks"}},
		{name: "OIDC-2-10/none", send: byKey(jwks(ec), alg("none")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/none_without_keys", send: alg("none"), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/symmetric", send: byKey(jwks(ec), alg("HS256")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/fosite_can_not", send: byKey(jwks(ed), alg("EdDSA")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/unknown", send: byKey(jwks(ec), alg("XS256")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/not_of_the_key", send: byKey(jwks(ec), alg("RS256")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/other_curve", send: byKey(jwks(ec), alg("ES384")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/key_names_another", send: byKey(jwks(with(rsaKey, members{"alg": "PS256"})), alg("RS256")), code: badMetadata, names: list{"token_endpoint_auth_signing_alg"}},
		{name: "OIDC-2-10/es256", send: byKey(jwks(rsaKey, ec), alg("ES256")), back: alg("ES256")},
		{name: "OIDC-2-10/es384", send: byKey(jwks(ecOn(t, elliptic.P384())), alg("ES384")), back: alg("ES384")},
		{name: "OIDC-2-10/ps512", send: byKey(jwks(rsaKey), alg("PS512")), back: alg("PS512")},
		{name: "OIDC-2-10/by_uri", send: byKey(byURI, alg("RS256")), back: alg("RS256")},
		{name: "OIDC-2-10/omitted", send: byKey(jwks(ec), nil), back: members{"token_endpoint_auth_signing_alg": missing{}}},
	})
}
