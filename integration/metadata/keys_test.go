package metadata_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

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

func ecOn(t *testing.T, curve elliptic.Curve) members {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return dcrtest.PublicJWK(t, key.Public(), "")
}

func manyKeys(t *testing.T, count int) (keys []any) {
	t.Helper()
	for i := range count {
		keys = append(keys, dcrtest.ECJWK(t, fmt.Sprint(i)))
	}
	return keys
}

func TestKeySets(t *testing.T) {
	t.Parallel()
	ec, ed := dcrtest.ECJWK(t, "ec"), dcrtest.EdJWK(t)
	rsaKey := dcrtest.PublicJWK(t, dcrtest.RSAPublicKey(t), "rsa")
	unknown := members{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}
	secp256k1 := members{"kty": "EC", "crv": "secp256k1", "x": ec["x"], "y": ec["y"]}
	refused := func(name string, value any) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "7591-2-12/T30/" + name, Send: members{"jwks": value}, Code: dcrtest.BadMetadata, Names: list{"jwks"}}
	}
	key := func(name string, keys ...any) dcrtest.Outcome { return refused(name, members{"keys": keys}) }
	kept := func(name string, send members, back ...any) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "7591-2-12/" + name, Send: send, Back: jwks(back...)}
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		refused("no_set", members{}), refused("list", []any{ec}), refused("string", `{"keys":[]}`), refused("keys_object", members{"keys": ec}),
		refused("keys_null", members{"keys": nil}), refused("keys_of_strings", members{"keys": list{"a"}}),
		refused("keys_of_nulls", members{"keys": []any{nil}}), refused("keys_of_lists", members{"keys": []any{[]any{ec}}}),
		key("empty_set"), key("empty_key", members{}), key("kty_number", dcrtest.With(ec, members{"kty": 7})),
		key("private_ec", dcrtest.With(ec, members{"d": ec["x"]})), key("private_ec_empty", dcrtest.With(ec, members{"d": ""})), key("private_ed", dcrtest.With(ed, members{"d": ed["x"]})),
		key("private_rsa", dcrtest.With(rsaKey, members{"d": rsaKey["n"]})), key("private_rsa_factor", dcrtest.With(rsaKey, members{"p": "AQAB"})),
		key("private_second", ec, dcrtest.With(rsaKey, members{"d": rsaKey["n"]})), key("private_of_unknown", dcrtest.With(unknown, members{"d": "AAAA"})),
		key("symmetric", members{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}), key("symmetric_hidden", ec, members{"kty": "oct", "k": "c2VjcmV0"}),
		key("symmetric_member", dcrtest.With(rsaKey, members{"k": "c2VjcmV0"})),
		key("ec_without_y", members{"kty": "EC", "crv": "P-256", "x": ec["x"]}), key("ec_without_crv", members{"kty": "EC", "x": ec["x"], "y": ec["y"]}),
		key("ec_off_curve", dcrtest.With(ec, members{"y": ec["x"]})), key("ec_zero", dcrtest.With(ec, members{"x": "AA", "y": "AA"})),
		key("ec_other_curve", dcrtest.With(ec, members{"crv": "P-384"})), key("ec_bad_base64", dcrtest.With(ec, members{"x": "!!!"})), key("ec_number", dcrtest.With(ec, members{"x": 7})),
		key("ec_long", dcrtest.With(ec, members{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 10_000))})),
		key("ed_short", dcrtest.With(ed, members{"x": "AAAA"})),
		key("rsa_without_n", members{"kty": "RSA", "e": "AQAB"}), key("rsa_without_e", members{"kty": "RSA", "n": rsaKey["n"]}),
		key("rsa_1024", rsaJWK(modulus(1024), 65537)), key("rsa_2047", rsaJWK(modulus(2047), 65537)), key("rsa_4097", rsaJWK(modulus(4097), 65537)), key("rsa_8192", rsaJWK(modulus(8192), 3)),
		key("rsa_exponent_5", rsaJWK(modulus(2048), 5)), key("rsa_exponent_huge", rsaJWK(modulus(2048), 1<<31-1)),
		key("rsa_16384", rsaJWK(modulus(16384), 65537)), key("rsa_exponent_1", rsaJWK(modulus(2048), 1)),
		key("rsa_exponent_2", rsaJWK(modulus(2048), 2)), key("rsa_exponent_even", rsaJWK(modulus(2048), 65536)), key("rsa_exponent_0", rsaJWK(modulus(2048), 0)),
		key("duplicate_kid", ec, dcrtest.With(rsaKey, members{"kid": "ec"})), key("too_many", manyKeys(t, 33)...),
		key("none_known", unknown, secp256k1),
		kept("ec", jwks(ec), ec), kept("rsa", jwks(rsaKey), rsaKey), kept("ed25519", jwks(ed), ed), kept("several", jwks(rsaKey, ed, ec), rsaKey, ed, ec),
		kept("rsa_4096", jwks(rsaJWK(modulus(4096), 3)), rsaJWK(modulus(4096), 3)), kept("rsa_exponent_17", jwks(rsaJWK(modulus(2048), 17)), rsaJWK(modulus(2048), 17)),
		kept("unknown_kty_left_out", jwks(unknown, ec), ec), kept("unknown_curve_left_out", jwks(ec, secp256k1), ec),
		kept("use_and_alg", jwks(dcrtest.With(ec, members{"use": "sig", "alg": "ES256"})), dcrtest.With(ec, members{"use": "sig", "alg": "ES256"})),
		{Name: "7591-2-12/unknown_members", Send: jwks(dcrtest.With(ec, members{"x-own": 7, "ext": true, "key_ops": list{"verify"}}))},
		{Name: "AUTH-12/kid_NUL", Send: jwks(dcrtest.With(ec, members{"kid": "a\x00b"})), Code: dcrtest.BadMetadata, Names: list{"jwks", "kid"}},
		{Name: "AUTH-12/alg_NUL", Send: jwks(dcrtest.With(ec, members{"alg": "\x00"})), Code: dcrtest.BadMetadata, Names: list{"jwks", "alg"}},
		{Name: "AUTH-12/use_NUL", Send: jwks(dcrtest.With(ec, members{"use": "sig\x00"})), Code: dcrtest.BadMetadata, Names: list{"jwks", "use"}},
		{Name: "AUTH-12/kid_long", Send: jwks(dcrtest.With(ec, members{"kid": strings.Repeat("k", 257)})), Code: dcrtest.BadMetadata, Names: list{"jwks", "kid"}},
		{Name: "7591-2-22/16_keys", Send: jwks(manyKeys(t, 16)...)},
		{Name: "7591-2-22/keys_of_the_host", Setup: dcrtest.Configured(func(cfg *dcr.Config) { cfg.Limits.Keys = 1 }), Send: jwks(ec, ed), Code: dcrtest.BadMetadata, Names: list{"jwks"}},
	})
}

func TestKeysAndAuthentication(t *testing.T) {
	t.Parallel()
	const uri = "https://client.example/jwks"
	ec, ed := dcrtest.ECJWK(t, "ec"), dcrtest.EdJWK(t)
	rsaKey := dcrtest.PublicJWK(t, dcrtest.RSAPublicKey(t), "rsa")
	byKey := func(set members, more members) members {
		return dcrtest.With(dcrtest.With(set, members{"token_endpoint_auth_method": "private_key_jwt"}), more)
	}
	alg := func(name string) members { return members{"token_endpoint_auth_signing_alg": name} }
	byURI := members{"jwks_uri": uri}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-2-11/both", Send: dcrtest.With(jwks(ec), byURI), Code: dcrtest.BadMetadata, Names: list{"jwks", "jwks_uri"}},
		{Name: "7591-2-11/one_null", Send: dcrtest.With(jwks(ec), members{"jwks_uri": nil}), Back: dcrtest.With(jwks(ec), members{"jwks_uri": dcrtest.Missing{}})},
		{Name: "7591-2-11/one_empty", Send: dcrtest.With(jwks(ec), members{"jwks_uri": ""}), Back: dcrtest.With(jwks(ec), members{"jwks_uri": dcrtest.Missing{}})},
		{Name: "7591-2-13/unreachable", Send: members{"jwks_uri": "https://unreachable.invalid/jwks"}, Back: members{"jwks_uri": "https://unreachable.invalid/jwks"}},
		{Name: "7591-2-13/http", Send: members{"jwks_uri": "http://client.example/jwks"}, Code: dcrtest.BadMetadata, Names: list{"jwks_uri"}},
		{Name: "7591-2-14/no_keys", Send: byKey(members{}, nil), Code: dcrtest.BadMetadata, Names: list{"jwks", "private_key_jwt"}},
		{Name: "7591-2-14/jwks_uri", Send: byKey(byURI, nil), Back: byURI},
		{Name: "7591-2-14/ec", Send: byKey(jwks(ec), nil), Back: jwks(ec)},
		{Name: "7591-2-14/ed_and_ec", Send: byKey(jwks(ed, ec), nil), Back: jwks(ed, ec)},
		{Name: "7591-2-14/only_ed25519", Send: byKey(jwks(ed), nil), Code: dcrtest.BadMetadata, Names: list{"jwks"}},
		{Name: "7591-2-14/only_for_encryption", Send: byKey(jwks(dcrtest.With(ec, members{"use": "enc"})), nil), Code: dcrtest.BadMetadata, Names: list{"jwks"}},
		{Name: "7591-2-14/other_alg", Send: byKey(jwks(dcrtest.With(rsaKey, members{"alg": "RSA-OAEP"})), nil), Code: dcrtest.BadMetadata, Names: list{"jwks"}},
		{Name: "OIDC-2-10/none", Send: byKey(jwks(ec), alg("none")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/none_without_keys", Send: alg("none"), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/symmetric", Send: byKey(jwks(ec), alg("HS256")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/fosite_can_not", Send: byKey(jwks(ed), alg("EdDSA")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/unknown", Send: byKey(jwks(ec), alg("XS256")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/not_of_the_key", Send: byKey(jwks(ec), alg("RS256")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/other_curve", Send: byKey(jwks(ec), alg("ES384")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/key_names_another", Send: byKey(jwks(dcrtest.With(rsaKey, members{"alg": "PS256"})), alg("RS256")), Code: dcrtest.BadMetadata, Names: list{"token_endpoint_auth_signing_alg"}},
		{Name: "OIDC-2-10/es256", Send: byKey(jwks(rsaKey, ec), alg("ES256")), Back: alg("ES256")},
		{Name: "OIDC-2-10/es384", Send: byKey(jwks(ecOn(t, elliptic.P384())), alg("ES384")), Back: alg("ES384")},
		{Name: "OIDC-2-10/ps512", Send: byKey(jwks(rsaKey), alg("PS512")), Back: alg("PS512")},
		{Name: "OIDC-2-10/by_uri", Send: byKey(byURI, alg("RS256")), Back: alg("RS256")},
		{Name: "OIDC-2-10/omitted", Send: byKey(jwks(ec), nil), Back: members{"token_endpoint_auth_signing_alg": dcrtest.Missing{}}},
	})
}
