package keyset

import (
	"crypto/elliptic"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, keys ...any) *jose.JSONWebKeySet {
	t.Helper()
	parsed, err := Parse(encode(t, set(keys...)), Limits{})
	require.NoError(t, err)
	return parsed
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	rsaAll := []string{"PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
	p256 := ecKey(t, elliptic.P256())
	for name, row := range map[string]struct {
		key  object
		algs []string
	}{
		"AUTH-10/rsa":                {rsaKey(), rsaAll},
		"AUTH-10/rsa_sig":            {rsaKey().with(object{"use": "sig"}), rsaAll},
		"AUTH-10/rsa_one_alg":        {rsaKey().with(object{"alg": "RS384"}), []string{"RS384"}},
		"AUTH-10/rsa_enc":            {rsaKey().with(object{"use": "enc"}), nil},
		"AUTH-10/rsa_encryption_alg": {rsaKey().with(object{"alg": "RSA-OAEP"}), nil},
		"AUTH-10/p256":               {p256, []string{"ES256"}},
		"AUTH-10/p384":               {ecKey(t, elliptic.P384()), []string{"ES384"}},
		"AUTH-10/p521":               {ecKey(t, elliptic.P521()), []string{"ES512"}},
		"AUTH-10/unknown_use":        {p256.with(object{"use": "SIG"}), nil},
		"AUTH-10/unknown_alg":        {p256.with(object{"alg": "XY999"}), nil},
		"AUTH-10/ed25519":            {edKey(t), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ElementsMatch(t, row.algs, Algorithms(parse(t, row.key).Keys[0]))
		})
	}
	t.Run("AUTH-10/keys_never_parsed", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, Algorithms(jose.JSONWebKey{}))
		require.Empty(t, Algorithms(jose.JSONWebKey{Key: []byte("secret")}))
		require.Empty(t, Algorithms(jose.JSONWebKey{Key: rsaPrivate()}))
	})
}

func TestSelect(t *testing.T) {
	t.Parallel()
	keys := parse(t,
		rsaKey().with(object{"kid": "rsa"}),
		ecKey(t, elliptic.P256()).with(object{"kid": "a"}),
		ecKey(t, elliptic.P256()).with(object{"kid": "b", "use": "sig"}),
		ecKey(t, elliptic.P256()),
		ecKey(t, elliptic.P256()).with(object{"kid": "enc", "use": "enc"}),
		edKey(t).with(object{"kid": "ed"}),
	)
	for _, row := range []struct {
		name, alg, kid string
		kids           []string
	}{
		{"AUTH-10/without_kid", "ES256", "", []string{"a", "b", ""}},
		{"AUTH-10/with_kid", "ES256", "b", []string{"b"}},
		{"AUTH-10/kid_of_other_type", "ES256", "rsa", nil},
		{"AUTH-10/kid_of_encryption_key", "ES256", "enc", nil},
		{"AUTH-10/unknown_kid", "ES256", "c", nil},
		{"AUTH-10/rsa", "PS512", "", []string{"rsa"}},
		{"AUTH-10/other_curve", "ES384", "", nil},
		{"AUTH-10/unsupported", "EdDSA", "", nil},
		{"AUTH-10/none", "none", "", nil},
		{"AUTH-10/no_alg", "", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var kids []string
			for _, key := range Select(keys, row.alg, row.kid) {
				kids = append(kids, key.KeyID)
			}
			require.Equal(t, row.kids, kids)
		})
	}
	require.Empty(t, Select(nil, "ES256", ""))
}

func TestServes(t *testing.T) {
	t.Parallel()
	ec := parse(t, edKey(t), ecKey(t, elliptic.P384()))
	for _, row := range []struct {
		name string
		set  *jose.JSONWebKeySet
		alg  string
		want bool
	}{
		{"7591-2-14/any", ec, "", true},
		{"7591-2-14/fitting", ec, "ES384", true},
		{"7591-2-14/other", ec, "RS256", false},
		{"7591-2-14/only_ed25519", parse(t, edKey(t)), "", false},
		{"7591-2-14/only_encryption", parse(t, rsaKey().with(object{"use": "enc"})), "", false},
		{"7591-2-14/no_set", nil, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.want, Serves(row.set, row.alg))
		})
	}
}

func TestForSignatures(t *testing.T) {
	t.Parallel()
	keys := parse(t, rsaKey(), rsaKey().with(object{"use": "enc"}), edKey(t), rsaKey().with(object{"alg": "RSA-OAEP"}))
	var uses []string
	for _, key := range ForSignatures(keys).Keys {
		uses = append(uses, key.Use)
	}
	require.Equal(t, []string{"sig", "enc", "", ""}, uses)
	require.Empty(t, keys.Keys[0].Use, "the argument is not changed")
	require.Nil(t, ForSignatures(nil))
}
