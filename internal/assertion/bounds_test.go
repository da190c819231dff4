package assertion_test

import (
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, row := range map[string]struct {
		claim    string
		value    any
		accepted bool
	}{
		"exp_in_nine_minutes":   {"exp", in(9 * time.Minute), true},
		"exp_fractional":        {"exp", float64(in(time.Minute)) + 0.5, true},
		"exp_in_eleven_minutes": {"exp", in(11 * time.Minute), false},
		"exp_in_a_year":         {"exp", in(365 * 24 * time.Hour), false},
		"exp_huge":              {"exp", 1e300, false},
		"exp_beyond_int64":      {"exp", json.Number("18446744073709551616"), false},
		"exp_negative":          {"exp", -1, false},
		"exp_string":            {"exp", "1999999999", false},
		"exp_none":              {"exp", nil, false},
		"exp_null":              {"exp", json.RawMessage("null"), false},
		"exp_past":              {"exp", in(-10 * time.Minute), false},
		"nbf_future":            {"nbf", in(5 * time.Minute), false},
		"nbf_string":            {"nbf", "0", false},
		"iat_future":            {"iat", in(5 * time.Minute), false},
		"iat_none":              {"iat", nil, true},
		"iss_of_another":        {"iss", "another", false},
		"iss_none":              {"iss", nil, false},
		"jti_256":               {"jti", strings.Repeat("j", 256), true},
		"jti_257":               {"jti", strings.Repeat("j", 257), false},
		"jti_none":              {"jti", nil, false},
		"jti_empty":             {"jti", "", false},
		"jti_number":            {"jti", 17, false},
		"aud_none":              {"aud", nil, false},
		"aud_empty":             {"aud", []string{}, false},
		"aud_token_endpoint":    {"aud", issuer + "/token", true},
		"aud_both":              {"aud", []string{issuer, issuer + "/token"}, true},
		"aud_other":             {"aud", "https://other.example", false},
		"aud_of_fosite":         {"aud", "https://elsewhere.example/token", false},
		"aud_one_of_two":        {"aud", []string{issuer, "https://other.example"}, false},
		"aud_slash":             {"aud", issuer + "/", false},
		"aud_number":            {"aud", 1, false},
	} {
		t.Run("AUTH-07/"+name, func(t *testing.T) {
			t.Parallel()
			store := newStorage(newClient(clientID, "", one256()))
			_, err := authenticate(t, options(store, nil), es256(t, claims(row.claim, row.value)))
			if row.accepted {
				require.NoError(t, err)
				require.Len(t, store.used, 1)
				return
			}
			require.ErrorIs(t, err, fosite.ErrInvalidClient)
			require.Empty(t, store.used, "stored before it was refused")
		})
	}
}

// TestClocks: a time that is off by 30 seconds is none that is wrong, and the identifier is kept as long as the
// assertion counts.
func TestClocks(t *testing.T) {
	t.Parallel()
	noon := time.Unix(1_800_000_000, 0)
	for name, row := range map[string]struct {
		claim    string
		ahead    float64 // seconds
		accepted bool
	}{
		"nbf_10_ahead": {"nbf", 10, true}, "nbf_30_ahead": {"nbf", 30, true}, "nbf_31_ahead": {"nbf", 31, false}, "nbf_90_ahead": {"nbf", 90, false},
		"iat_10_ahead": {"iat", 10, true}, "iat_30_ahead": {"iat", 30, true}, "iat_31_ahead": {"iat", 31, false},
		"exp_5_back": {"exp", -5, true}, "exp_29_back": {"exp", -29, true}, "exp_29.5_back": {"exp", -29.5, true},
		"exp_30_back": {"exp", -30, false}, "exp_60_back": {"exp", -60, false},
		"exp_630_ahead": {"exp", 630, true}, "exp_631_ahead": {"exp", 631, false},
	} {
		t.Run("AUTH-11/"+name, func(t *testing.T) {
			t.Parallel()
			store := newStorage(newClient(clientID, "", one256()))
			o := options(store, nil)
			o.Now = noon
			sent := claims("iat", noon.Unix(), "exp", noon.Unix()+60, row.claim, float64(noon.Unix())+row.ahead)
			_, err := authenticate(t, o, es256(t, sent))
			if !row.accepted {
				require.ErrorIs(t, err, fosite.ErrInvalidClient)
				require.Empty(t, store.used)
				return
			}
			require.NoError(t, err)
			require.Len(t, store.used, 1)
			for _, kept := range store.used {
				counts := time.Unix(0, int64(expiry(sent)*1e9)).Add(30 * time.Second)
				require.False(t, kept.Before(counts), "forgotten at %s, though it counts until %s", kept, counts)
				require.Less(t, kept.Sub(counts), time.Second)
			}
		})
	}
}

func expiry(claims object) float64 {
	if seconds, ok := claims["exp"].(float64); ok {
		return seconds
	}
	return float64(claims["exp"].(int64))
}

// TestOrder: the claims are judged before anything is looked up, the times before the keys are, and the signature
// before anything is stored.
func TestOrder(t *testing.T) {
	t.Parallel()
	k := testKeys()
	for name, row := range map[string]struct {
		sent                   object
		key                    any
		looksUp, keys, refused bool
	}{
		"other_audience": {claims("aud", "https://other.example"), k.p256, false, false, true},
		"ends_in_a_year": {claims("exp", time.Now().AddDate(1, 0, 0).Unix()), k.p256, false, false, true},
		"long_jti":       {claims("jti", strings.Repeat("j", 257)), k.p256, false, false, true},
		"wrong_iss":      {claims("iss", "another"), k.p256, false, false, true},
		"expired":        {claims("exp", 1), k.p256, true, false, true},
		"not_yet":        {claims("nbf", time.Now().Add(time.Hour).Unix()), k.p256, true, false, true},
		"wrong_key":      {claims(), k.other256, true, true, true},
		"good":           {claims(), k.p256, true, true, false},
	} {
		t.Run("AUTH-07/T55/"+name, func(t *testing.T) {
			t.Parallel()
			kept := newClient(clientID, "", nil)
			kept.JSONWebKeysURI = "https://client.example/jwks"
			store, keys := newStorage(kept), &fetcher{set: one256()}
			_, err := authenticate(t, options(store, keys), sign(t, jose.ES256, row.key, "", nil, row.sent))
			require.Equal(t, row.refused, err != nil)
			require.Equal(t, row.looksUp, store.asked.Load() > 0)
			require.Equal(t, row.keys, keys.asked.Load() > 0)
			require.Equal(t, row.refused, len(store.used) == 0)
		})
	}
}

// TestVerificationsAreCounted: what one assertion costs is bounded, whatever keys a client has (T61).
func TestVerificationsAreCounted(t *testing.T) {
	t.Parallel()
	k := testKeys()
	filler := public(k.rsaB, "", "", "")
	many := keySet(slices.Repeat([]jose.JSONWebKey{filler}, 4)...)
	many.Keys = append(many.Keys, public(k.rsaA, "mine", "", ""))
	static := newClient(clientID, "", nil)
	static.static, static.TokenEndpointAuthSigningAlgorithm, static.JSONWebKeys = true, "RS256", keySet(slices.Repeat([]jose.JSONWebKey{public(k.rsaB, "", "sig", "")}, 4)...)
	static.JSONWebKeys.Keys = append(static.JSONWebKeys.Keys, public(k.rsaA, "mine", "sig", ""))
	fetched := newClient(clientID, "", nil)
	fetched.JSONWebKeysURI = "https://client.example/jwks"
	for name, kept := range map[string]*client{"registered": newClient(clientID, "", many), "static": static, "jwks_uri": fetched} {
		t.Run("T61/"+name, func(t *testing.T) {
			t.Parallel()
			keys := &fetcher{set: many, rolled: many}
			o := options(newStorage(kept), keys)
			_, err := authenticate(t, o, sign(t, jose.RS256, k.rsaA, "", nil, claims()))
			require.ErrorIs(t, err, fosite.ErrInvalidClient)
			require.Contains(t, fosite.ErrorToRFC6749Error(err).HintField, "must send a 'kid'")
			require.LessOrEqual(t, keys.asked.Load(), int64(1), "a second set would be tried too")
			_, err = authenticate(t, o, sign(t, jose.RS256, k.rsaA, "mine", nil, claims()))
			require.NoError(t, err)
		})
	}
	t.Run("T61/8192_bits", func(t *testing.T) {
		t.Parallel()
		large := jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Lsh(k.rsaA.N, 6144), E: 65537}}
		o := options(newStorage(newClient(clientID, "", keySet(large, large, large, large, public(k.rsaA, "", "", "")))), nil)
		_, err := authenticate(t, o, sign(t, jose.RS256, k.rsaA, "", nil, claims()))
		require.NoError(t, err, "keys that are too large do not count among the four")
	})
}
