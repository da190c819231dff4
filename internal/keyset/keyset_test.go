package keyset

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"
)

// object is a key or a set before it is written, so that a test can change one member of it.
type object map[string]any

// with returns a copy with other members; a nil value removes one.
func (o object) with(members object) object {
	changed := maps.Clone(o)
	for name, value := range members {
		if value == nil {
			delete(changed, name)
			continue
		}
		changed[name] = value
	}
	return changed
}

func set(keys ...any) object { return object{"keys": keys} }

func encode(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return raw
}

func b64(octets []byte) string { return base64.RawURLEncoding.EncodeToString(octets) }

var rsaPrivate = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func rsaKey() object {
	return object{"kty": "RSA", "n": b64(rsaPrivate().N.Bytes()), "e": "AQAB"}
}

// rsaOf returns a key with an odd modulus of that many bits, which nobody has the factors of.
func rsaOf(bits int) object {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return object{"kty": "RSA", "n": b64(n.SetBit(n, 0, 1).Bytes()), "e": "AQAB"}
}

func ecPrivate(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func ecObject(t testing.TB, key *ecdsa.PublicKey) object {
	t.Helper()
	point, err := key.Bytes()
	require.NoError(t, err)
	x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
	return object{"kty": "EC", "crv": key.Params().Name, "x": b64(x), "y": b64(y)}
}

func ecKey(t testing.TB, curve elliptic.Curve) object {
	t.Helper()
	return ecObject(t, &ecPrivate(t, curve).PublicKey)
}

func edKey(t testing.TB) object {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return object{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
}

// certificate returns a self-signed certificate for the key.
func certificate(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return der
}

// TestParseAccepts holds sets that are fine, and how many of their keys are kept.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	p256, p384, p521 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())
	unknown := object{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}
	for name, row := range map[string]struct {
		set  any
		keys int
	}{
		"7591-2-12/rsa":                {set(rsaKey()), 1},
		"7591-2-12/rsa_4096":           {set(rsaOf(4096)), 1},
		"7591-2-12/rsa_exponent_3":     {set(rsaKey().with(object{"e": "Aw"})), 1},
		"7591-2-12/rsa_exponent_17":    {set(rsaKey().with(object{"e": "EQ"})), 1},
		"7591-2-12/rsa_leading_zero":   {set(rsaKey().with(object{"n": b64(append([]byte{0}, rsaPrivate().N.Bytes()...))})), 1},
		"7591-2-12/every_curve":        {set(p256, p384, p521), 3},
		"7591-2-12/ed25519":            {set(edKey(t)), 1},
		"7591-2-12/unknown_member":     {set(p256.with(object{"ext": true, "key_ops": []string{"verify"}, "D": "AQ"})), 1},
		"7591-2-12/unknown_set_member": {object{"keys": []any{p256}, "note": 1}, 1},
		"7591-2-12/unknown_kty":        {set(unknown, p256), 1},
		"7591-2-12/unknown_curve":      {set(p256, object{"kty": "EC", "crv": "secp256k1", "x": "AQ", "y": "AQ"}), 1},
		"7591-2-12/unknown_okp_curve":  {set(object{"kty": "OKP", "crv": "X25519", "x": "AQ"}, p256), 1},
		"7591-2-12/unknown_alg":        {set(p256.with(object{"alg": "XY999"})), 1},
		"7591-2-12/unknown_use":        {set(p256.with(object{"use": "xyz"})), 1},
		"7591-2-12/encryption":         {set(rsaKey().with(object{"use": "enc", "alg": "RSA-OAEP-256"})), 1},
		"7591-2-12/ecdh":               {set(p384.with(object{"alg": "ECDH-ES"})), 1},
		"7591-2-12/no_kid_twice":       {set(p256, p384), 2},
		"7591-2-12/null_kid":           {json.RawMessage(strings.Replace(string(encode(t, set(p256))), `"kty"`, `"kid":null,"kty"`, 1)), 1},
		"7591-2-12/kid_of_unknown_key": {set(unknown.with(object{"kid": "1"}), p256.with(object{"kid": "1"})), 1},
		"T10/x5u_is_dropped":           {set(p256.with(object{"x5u": "https://10.0.0.1/"})), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parsed, err := Parse(encode(t, row.set), Limits{})
			require.NoError(t, err)
			require.Len(t, parsed.Keys, row.keys)
			requireSound(t, parsed)
		})
	}
}

// TestParseRefuses holds sets with one fault each, and the phrase that tells it.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	ec := ecKey(t, elliptic.P256())
	other := ecKey(t, elliptic.P256())
	for name, row := range map[string]struct {
		set    any
		phrase error
	}{
		"7591-2-12/null":                {nil, errSet},
		"7591-2-12/string":              {string(encode(t, set(ec))), errSet},
		"7591-2-12/array":               {[]any{ec}, errSet},
		"7591-2-12/no_keys_member":      {object{}, errSet},
		"7591-2-12/keys_in_other_case":  {object{"Keys": []any{ec}}, errSet},
		"7591-2-12/keys_null":           {json.RawMessage(`{"keys":null}`), errSet},
		"7591-2-12/keys_object":         {object{"keys": ec}, errSet},
		"7591-2-12/empty":               {object{"keys": []any{}}, errEmpty},
		"7591-2-12/key_string":          {set("a"), errKey},
		"7591-2-12/key_null":            {json.RawMessage(`{"keys":[null]}`), errKey},
		"7591-2-12/key_array":           {set([]any{}), errKey},
		"7591-2-12/no_kty":              {set(ec.with(object{"kty": nil})), errKeyType},
		"7591-2-12/kty_number":          {set(ec.with(object{"kty": 7})), errKeyType},
		"7591-2-12/unknown_kty_only":    {set(object{"kty": "AKP"}, object{"kty": "rsa"}), errNoneUsable},
		"7591-2-12/duplicate_kid":       {set(ec.with(object{"kid": "1"}), other.with(object{"kid": "1"})), errDuplicate},
		"7591-2-12/kid_number":          {set(ec.with(object{"kid": 1})), errKey},
		"7591-2-12/use_array":           {set(ec.with(object{"use": []string{"sig"}})), errKey},
		"7591-2-12/symmetric":           {set(object{"kty": "oct", "k": "c2VjcmV0"}), errSymmetric},
		"7591-2-12/symmetric_without_k": {set(ec, object{"kty": "oct"}), errSymmetric},
		"7591-2-12/k_of_unknown_kty":    {set(ec, object{"kty": "new", "k": 1}), errSymmetric},
		"7591-2-12/ec_without_y":        {set(ec.with(object{"y": nil})), errCurveMembers},
		"7591-2-12/ec_without_crv":      {set(ec.with(object{"crv": nil})), errCurveMembers},
		"7591-2-12/ec_crv_number":       {set(ec.with(object{"crv": 256})), errCurveMembers},
		"7591-2-12/ec_short":            {set(ec.with(object{"x": b64(make([]byte, 31))})), errCurveMembers},
		"7591-2-12/ec_other_curve":      {set(ec.with(object{"crv": "P-384"})), errCurveMembers},
		"7591-2-12/ec_padded":           {set(ec.with(object{"x": ec["x"].(string) + "="})), errCurveMembers},
		"7591-2-12/ec_line_break":       {set(ec.with(object{"x": ec["x"].(string) + "\n"})), errCurveMembers},
		"7591-2-12/ec_with_n":           {set(ec.with(object{"n": "AQAB"})), errMisfit},
		"7591-2-12/rsa_without_n":       {set(rsaKey().with(object{"n": nil})), errRSAMembers},
		"7591-2-12/rsa_n_number":        {set(rsaKey().with(object{"n": 65537})), errRSAMembers},
		"7591-2-12/rsa_e_not_base64url": {set(rsaKey().with(object{"e": "A+AB"})), errRSAMembers},
		"7591-2-12/rsa_even_n":          {set(rsaKey().with(object{"n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())})), errRSAMembers},
		"7591-2-12/rsa_with_crv":        {set(rsaKey().with(object{"crv": "P-256"})), errMisfit},
		"7591-2-12/okp_without_x":       {set(edKey(t).with(object{"x": nil})), errEdMembers},
		"7591-2-12/okp_without_crv":     {set(edKey(t).with(object{"crv": nil})), errEdMembers},
		"7591-2-12/okp_short":           {set(edKey(t).with(object{"x": "AAAA"})), errEdMembers},
		"7591-2-12/okp_with_y":          {set(edKey(t).with(object{"y": "AAAA"})), errMisfit},
		"7591-2-12/alg_of_rsa":          {set(ec.with(object{"alg": "RS256"})), errAlgorithm},
		"7591-2-12/alg_of_curve":        {set(ec.with(object{"alg": "ES384"})), errAlgorithm},
		"7591-2-12/alg_symmetric":       {set(rsaKey().with(object{"alg": "HS256"})), errAlgorithm},
		"7591-2-12/alg_none":            {set(ec.with(object{"alg": "none"})), errAlgorithm},
		"7591-2-12/x5c_malformed":       {set(ec.with(object{"x5c": []string{"AAAA"}})), errCertificate},
		"7591-2-12/x5c_string":          {set(ec.with(object{"x5c": "AAAA"})), errCertificate},
		"7591-2-12/x5t_malformed":       {set(ec.with(object{"x5t": "AAAA"})), errCertificate},
		"T18/name_twice_in_key":         {json.RawMessage(`{"keys":[{"kty":"EC","kty":"RSA"}]}`), errKey},
		"T18/name_twice_by_escape":      {json.RawMessage(`{"keys":[{"kty":"EC","\u006bty":"RSA"}]}`), errKey},
		"T18/keys_twice":                {json.RawMessage(`{"keys":[],"keys":[]}`), errSet},
		"T18/byte_order_mark":           {nil, errSet},
		"T30/rsa_1024":                  {set(rsaOf(1024)), errRSASize},
		"T30/rsa_2047":                  {set(rsaOf(2047)), errRSASize},
		"T61/rsa_4097":                  {set(rsaOf(4097)), errRSASize},
		"T61/rsa_8192":                  {set(rsaOf(8192)), errRSASize},
		"T61/rsa_exponent_5":            {set(rsaKey().with(object{"e": "BQ"})), errRSAExponent},
		"T61/rsa_exponent_65539":        {set(rsaKey().with(object{"e": "AQAD"})), errRSAExponent},
		"T61/rsa_exponent_huge":         {set(rsaKey().with(object{"e": "f____w"})), errRSAExponent},
		"T30/rsa_exponent_0":            {set(rsaKey().with(object{"e": "AA"})), errRSAExponent},
		"T30/rsa_exponent_1":            {set(rsaKey().with(object{"e": "AQ"})), errRSAExponent},
		"T30/rsa_exponent_even":         {set(rsaKey().with(object{"e": "AQAA"})), errRSAExponent},
		"T30/rsa_exponent_overflows":    {set(rsaKey().with(object{"e": "AQAAAAAAAAAD"})), errRSAExponent},
		"T30/ec_off_curve":              {set(ec.with(object{"y": other["y"]})), errCurvePoint},
		"T30/ec_origin":                 {set(ec.with(object{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})), errCurvePoint},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := encode(t, row.set)
			if strings.HasSuffix(name, "byte_order_mark") {
				raw = append([]byte("\xef\xbb\xbf"), encode(t, set(ec))...)
			}
			parsed, err := Parse(raw, Limits{})
			require.Equal(t, row.phrase, err)
			require.Nil(t, parsed)
		})
	}
}

// TestParseRefusesText holds the texts of a key to the rules of texts, each with what it must not have.
func TestParseRefusesText(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	for member, want := range map[string]error{"kid": errKeyID, "use": errUse, "alg": errAlgorithmID} {
		for name, value := range map[string]string{
			"NUL": `"a\u0000"`, "line_feed": `"\n"`, "delete": `"\u007f"`, "C1": `"\u0085"`, "direction": `"\u202e"`,
			"line_separator": `"\u2028"`, "invalid_UTF-8": "\"\xff\"", "half_a_pair": `"\ud800"`, "long": `"` + strings.Repeat("x", 257) + `"`,
		} {
			t.Run("AUTH-12/T60/"+member+"/"+name, func(t *testing.T) {
				t.Parallel()
				raw := strings.Replace(string(encode(t, set(key))), `"kty"`, `"`+member+`":`+value+`,"kty"`, 1)
				_, err := Parse([]byte(raw), Limits{})
				require.Equal(t, want, err)
				_, err = Parse([]byte(raw), Limits{Stored: true})
				require.NoError(t, err, "it was stored before, and a record has to be read")
			})
		}
	}
	parsed, err := Parse(encode(t, set(key.with(object{"kid": strings.Repeat("é", 128)}))), Limits{})
	require.NoError(t, err, "256 bytes")
	require.Len(t, parsed.Keys, 1)
}

// TestParseStored: keys of an earlier version are read, and verify nothing.
func TestParseStored(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]object{
		"8192": rsaOf(8192).with(object{"use": "sig"}), "4097": rsaOf(4097), "exponent_huge": rsaKey().with(object{"e": "f____w"}), "exponent_5": rsaKey().with(object{"e": "BQ"}),
	} {
		t.Run("T61/"+name, func(t *testing.T) {
			t.Parallel()
			parsed, err := Parse(encode(t, set(key, rsaKey().with(object{"kid": "good"}))), Limits{Stored: true})
			require.NoError(t, err)
			require.Len(t, parsed.Keys, 2)
			selected := Select(parsed, "RS256", "")
			require.Len(t, selected, 1)
			require.Equal(t, "good", selected[0].KeyID)
			shown := ForSignatures(parsed)
			require.Len(t, shown.Keys, 1, "fosite would verify request objects with the other")
			require.Equal(t, "good", shown.Keys[0].KeyID)
			require.False(t, Serves(&jose.JSONWebKeySet{Keys: parsed.Keys[:1]}, ""))
		})
	}
}

// TestParseRefusesPrivateMembers tries each private member on each type of key, with values of all types.
func TestParseRefusesPrivateMembers(t *testing.T) {
	t.Parallel()
	good := ecKey(t, elliptic.P256())
	for kind, key := range map[string]object{
		"rsa": rsaKey(), "ec": good, "okp": edKey(t), "oct": {"kty": "oct"}, "unknown": {"kty": "new"}, "no_kty": {},
	} {
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
			t.Run("7591-2-12/private_"+kind+"_"+member, func(t *testing.T) {
				t.Parallel()
				for _, value := range []string{`"AQAB"`, `""`, `1`, `null`, `[]`, `{}`} {
					raw := encode(t, set(good, key.with(object{member: json.RawMessage(value)})))
					_, err := Parse(raw, Limits{})
					require.Equal(t, errPrivate, err, value)
				}
			})
		}
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	many := func(n int) []byte { return encode(t, set(slices.Repeat([]any{key}, n)...)) }
	for _, row := range []struct {
		name  string
		limit int
		keys  int
		err   error
	}{
		{"T30/default", 0, DefaultKeys, nil},
		{"T30/default_exceeded", 0, DefaultKeys + 1, errTooMany},
		{"T30/thousand", 0, 1000, errTooMany},
		{"T30/own", 2, 2, nil},
		{"T30/own_exceeded", 2, 3, errTooMany},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(many(row.keys), Limits{Keys: row.limit})
			if row.err == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, row.err, err)
		})
	}
}

func TestParseEdwardsPoints(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]string{
		"T30/order_1":          "0100000000000000000000000000000000000000000000000000000000000000",
		"T30/order_1_signed":   "0100000000000000000000000000000000000000000000000000000000000080",
		"T30/order_2":          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"T30/order_4":          "0000000000000000000000000000000000000000000000000000000000000000",
		"T30/order_8":          "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"T30/order_8_other":    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"T30/not_reduced":      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"7591-2-12/off_curve":  "0200000000000000000000000000000000000000000000000000000000000000",
		"7591-2-12/rfc8037_ok": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var octets []byte
			_, err := fmt.Sscanf(x, "%x", &octets)
			require.NoError(t, err)
			_, err = Parse(encode(t, set(object{"kty": "OKP", "crv": "Ed25519", "x": b64(octets)})), Limits{})
			if strings.HasSuffix(name, "_ok") {
				require.NoError(t, err)
				return
			}
			require.Equal(t, errEdPoint, err)
		})
	}
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	private := ecPrivate(t, elliptic.P256())
	key := ecObject(t, &private.PublicKey)
	der := certificate(t, private)
	sum := sha256.Sum256(der)
	x5c := []string{base64.StdEncoding.EncodeToString(der)}

	t.Run("7591-2-12/x5c_of_the_key", func(t *testing.T) {
		t.Parallel()
		parsed, err := Parse(encode(t, set(key.with(object{"x5c": x5c, "x5t#S256": b64(sum[:])}))), Limits{})
		require.NoError(t, err)
		require.Equal(t, der, parsed.Keys[0].Certificates[0].Raw)
		require.Equal(t, sum[:], parsed.Keys[0].CertificateThumbprintSHA256)
		requireSound(t, parsed)
	})
	t.Run("T66/x5c", func(t *testing.T) {
		t.Parallel()
		_, err := Parse(encode(t, set(key.with(object{"x5c": slices.Repeat(x5c, 10)}))), Limits{Certificates: 10})
		require.NoError(t, err)
		_, err = Parse(encode(t, set(key.with(object{"x5c": slices.Repeat(x5c, 11)}))), Limits{})
		require.NoError(t, err)
		long := key.with(object{"kid": "1", "x5c": slices.Repeat(x5c, 6)})
		_, err = Parse(encode(t, set(long, key.with(object{"kid": "2", "x5c": slices.Repeat(x5c, 5)}))), Limits{Certificates: 10})
		require.Equal(t, errCertificates, err)
	})
	t.Run("7591-2-12/x5c_of_another_key", func(t *testing.T) {
		t.Parallel()
		_, err := Parse(encode(t, set(ecKey(t, elliptic.P256()).with(object{"x5c": x5c}))), Limits{})
		require.Equal(t, errCertificate, err)
	})
	t.Run("7591-2-12/x5t_of_another_certificate", func(t *testing.T) {
		t.Parallel()
		_, err := Parse(encode(t, set(key.with(object{"x5c": x5c, "x5t#S256": b64(make([]byte, 32))}))), Limits{})
		require.Equal(t, errCertificate, err)
	})
}

// TestPhrases holds all errors to what a description may contain.
func TestPhrases(t *testing.T) {
	t.Parallel()
	for _, p := range []phrase{
		errSet, errEmpty, errTooMany, errNoneUsable, errDuplicate, errKey, errKeyType, errPrivate, errSymmetric,
		errMisfit, errAlgorithm, errKeyID, errUse, errAlgorithmID, errCertificate, errCertificates, errRSAMembers, errRSASize, errRSAExponent, errCurveMembers,
		errCurvePoint, errEdMembers, errEdPoint,
	} {
		require.Regexp(t, `^(is|has|holds) [ !#-\[\]-~]+$`, p.Error())
	}
}

// requireSound requires that a set has only keys to trust, and survives a round trip.
func requireSound(t *testing.T, parsed *jose.JSONWebKeySet) {
	t.Helper()
	raw, err := json.Marshal(parsed)
	require.NoError(t, err)
	again, err := Parse(raw, Limits{})
	require.NoError(t, err)
	require.Equal(t, parsed, again)

	var plain jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(raw, &plain))
	for i, key := range parsed.Keys {
		require.True(t, key.Valid())
		require.True(t, key.IsPublic())
		require.Nil(t, key.CertificatesURL)
		require.Equal(t, key.Key, plain.Keys[i].Key)
	}
}

func FuzzParse(f *testing.F) {
	private := ecPrivate(f, elliptic.P256())
	key := ecObject(f, &private.PublicKey)
	x5c := []string{base64.StdEncoding.EncodeToString(certificate(f, private))}
	for _, keys := range []object{
		set(rsaKey().with(object{"kid": "1", "use": "sig", "alg": "PS256"})),
		set(key.with(object{"kid": "1", "x5c": x5c}), edKey(f)),
		set(ecKey(f, elliptic.P521()), object{"kty": "new"}),
		set(key.with(object{"d": "AQ"})),
		set(object{"kty": "oct", "k": "AQ"}),
	} {
		f.Add(encode(f, keys))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed, err := Parse(raw, Limits{})
		if err != nil {
			require.Nil(t, parsed)
			require.IsType(t, phrase(""), err)
			return
		}
		require.LessOrEqual(t, len(parsed.Keys), DefaultKeys)
		requireSound(t, parsed)
		require.False(t, bytes.Contains(encode(t, parsed), []byte(`"d":`)))
	})
}
