package assertion_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
)

const directory = "https://directory.example"

// noon is the time at which the statements of these tests are verified.
var noon = time.Unix(1_800_000_000, 0)

func directoryKeys() *jose.JSONWebKeySet { return keySet(public(ecKeys().p256, "1", "sig", "ES256")) }

func trusted() []assertion.Issuer {
	return []assertion.Issuer{{Name: "https://first.example", Keys: keySet(public(ecKeys().other256, "1", "", ""))}, {Name: directory, Keys: directoryKeys()}}
}

// statement is the claims of an ordinary statement, with changes.
func statement(pairs ...any) object {
	return with(object{"iss": directory, "iat": noon.Unix(), "software_id": "bank-app", "client_name": "Bank App"}, pairs...)
}

func byDirectory(t testing.TB, claims any) string {
	t.Helper()
	return sign(t, jose.ES256, ecKeys().p256, "1", nil, claims)
}

func verify(t testing.TB, raw string, issuers []assertion.Issuer) (assertion.Statement, error) {
	t.Helper()
	return assertion.VerifyStatement(t.Context(), raw, issuers, noon, []string{issuer, issuer + "/register"})
}

func TestVerifyStatement(t *testing.T) {
	t.Parallel()
	raw := byDirectory(t, statement())
	verified, err := verify(t, raw, trusted())
	require.NoError(t, err)
	require.Equal(t, raw, verified.Raw)
	require.Equal(t, directory, verified.Issuer)
	require.Equal(t, "bank-app", verified.SoftwareID)
	require.JSONEq(t, `{"iss":"https://directory.example","iat":1800000000,"software_id":"bank-app","client_name":"Bank App"}`, string(verified.Claims))

	read, err := assertion.ReadStatement(raw, directory)
	require.NoError(t, err)
	require.Equal(t, verified, read, "read again from the record of its client")
}

func TestReadStatement(t *testing.T) {
	t.Parallel()
	none, err := assertion.ReadStatement("", directory)
	require.NoError(t, err)
	require.Equal(t, assertion.Statement{}, none)
	expired, err := assertion.ReadStatement(byDirectory(t, statement("exp", 1, "iss", "x")), directory)
	require.NoError(t, err, "it was verified before")
	require.Equal(t, directory, expired.Issuer)
	for _, raw := range []string{"garbage", "a.b.c", byDirectory(t, json.RawMessage(`{"a":1,"a":2}`))} {
		_, err := assertion.ReadStatement(raw, directory)
		require.Error(t, err)
	}
}

// TestStatementsThatDeserveNoTrust: every attack of T29 by itself, with the phrase that its sender reads.
func TestStatementsThatDeserveNoTrust(t *testing.T) {
	t.Parallel()
	k := testKeys()
	good := byDirectory(t, statement())
	parts := strings.Split(good, ".")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	key, err := json.Marshal(directoryKeys().Keys[0])
	require.NoError(t, err)
	forged := func(header map[jose.HeaderKey]any) string {
		return sign(t, jose.ES256, k.other256, "", header, statement())
	}
	const (
		malformed    = assertion.Refusal("is not a signed JWT")
		algorithm    = assertion.Refusal("is not signed with an algorithm that is accepted")
		badSignature = assertion.Refusal("has no valid signature of its issuer")
		badClaims    = assertion.Refusal("has claims that are not one JSON object, or of the wrong type")
		expired      = assertion.Refusal("has expired")
		early        = assertion.Refusal("is not valid yet")
		noIssuer     = assertion.Refusal("has no iss")
	)
	for name, row := range map[string]struct {
		raw  string
		want error
	}{
		"none":              {part(`{"alg":"none"}`) + "." + parts[1] + ".", algorithm},
		"none_mixed_case":   {part(`{"alg":"nOnE"}`) + "." + parts[1] + ".", algorithm},
		"hmac_public_key":   {sign(t, jose.HS256, key, "", nil, statement()), algorithm},
		"jku":               {forged(map[jose.HeaderKey]any{"jku": "https://127.0.0.1:1/jwks"}), badSignature},
		"x5u":               {forged(map[jose.HeaderKey]any{"x5u": "https://127.0.0.1:1/cert"}), badSignature},
		"jwk":               {forged(map[jose.HeaderKey]any{"jwk": public(k.other256, "1", "", "ES256")}), badSignature},
		"kid_of_another":    {sign(t, jose.ES256, k.other256, "1", nil, statement()), badSignature},
		"kid_injection":     {sign(t, jose.ES256, k.other256, "../../1", nil, statement()), badSignature},
		"unknown_kid":       {sign(t, jose.ES256, k.p256, "2", nil, statement()), badSignature},
		"other_algorithm":   {sign(t, jose.PS256, k.rsaA, "1", nil, statement()), badSignature},
		"key_of_another":    {byDirectory(t, statement("iss", "https://first.example")), badSignature},
		"changed_claims":    {parts[0] + "." + part(`{"iss":"`+directory+`"}`) + "." + parts[2], badSignature},
		"expired":           {byDirectory(t, statement("exp", noon.Unix()-30)), expired},
		"AUTH-11/minute":    {byDirectory(t, statement("exp", noon.Unix()-60)), expired},
		"expired_negative":  {byDirectory(t, statement("exp", -1)), expired},
		"not_before":        {byDirectory(t, statement("nbf", noon.Unix()+31)), early},
		"issued_later":      {byDirectory(t, statement("iat", noon.Unix()+31)), early},
		"exp_of_wrong_type": {byDirectory(t, statement("exp", "tomorrow")), badClaims},
		"aud_of_wrong_type": {byDirectory(t, statement("aud", 7)), badClaims},
		"duplicate_claim":   {byDirectory(t, json.RawMessage(`{"iss":"`+directory+`","iss":"x"}`)), badClaims},
		"duplicate_member":  {byDirectory(t, json.RawMessage(`{"iss":"`+directory+`","client_name":"a","client_name":"b"}`)), badClaims},
		"array":             {byDirectory(t, json.RawMessage(`[]`)), badClaims},
		"no_json":           {byDirectory(t, json.RawMessage(`x`)), badClaims},
		"no_issuer":         {byDirectory(t, statement("iss", nil)), noIssuer},
		"T18/upper_case":    {byDirectory(t, statement("iss", nil, "ISS", directory)), noIssuer},
		"wrong_issuer":      {byDirectory(t, statement("iss", "https://evil.example")), assertion.ErrUntrusted},
		"other_audience":    {byDirectory(t, statement("aud", "https://other.example")), assertion.Refusal("was made for another server")},
		"huge":              {byDirectory(t, statement("padding", strings.Repeat("p", 64<<10))), assertion.Refusal("is too long")},
		"garbage":           {"not.a.jwt", malformed},
		"one_part":          {"abcdef", malformed},
		"empty":             {"", malformed},
		"encrypted":         {"a.b.c.d.e", malformed},
		"json_form":         {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, malformed},
		"spaces":            {parts[0] + ". " + parts[1] + "." + parts[2], malformed},
	} {
		t.Run("T29/7591-2.3-01/"+name, func(t *testing.T) {
			t.Parallel()
			verified, err := verify(t, row.raw, trusted())
			require.Equal(t, row.want, err)
			require.Equal(t, assertion.Statement{}, verified)
		})
	}
}

func TestStatementsInForce(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]object{
		"expires_later":    statement("exp", noon.Unix()+1),
		"AUTH-11/expired":  statement("exp", noon.Unix()-29),
		"skew":             statement("nbf", noon.Unix()+30, "iat", noon.Unix()+30),
		"issuer":           statement("aud", issuer),
		"one_of_audiences": statement("aud", []string{"x", issuer + "/register"}),
		"no_audience":      statement("aud", []string{}),
		"null":             statement("exp", json.RawMessage("null")),
	} {
		t.Run("7591-2.3-01/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := verify(t, byDirectory(t, claims), trusted())
			require.NoError(t, err)
		})
	}
}

func TestStatementAlgorithms(t *testing.T) {
	t.Parallel()
	k := testKeys()
	set := keySet(public(k.rsaA, "", "", ""), public(k.rsaB, "", "", ""), public(k.p256, "", "", ""))
	const refused = assertion.Refusal("is not signed with an algorithm that is accepted")
	for name, row := range map[string]struct {
		algorithms []string
		raw        string
		want       error
	}{
		"RS256":          {nil, sign(t, jose.RS256, k.rsaA, "", nil, statement()), nil},
		"PS256":          {nil, sign(t, jose.PS256, k.rsaB, "", nil, statement()), nil},
		"ES256":          {nil, sign(t, jose.ES256, k.p256, "", nil, statement()), nil},
		"listed":         {[]string{"PS256", "ES256"}, sign(t, jose.ES256, k.p256, "", nil, statement()), nil},
		"not_listed":     {[]string{"PS256"}, sign(t, jose.ES256, k.p256, "", nil, statement()), refused},
		"empty_list":     {[]string{}, sign(t, jose.ES256, k.p256, "", nil, statement()), refused},
		"listed_HS256":   {[]string{"HS256"}, sign(t, jose.HS256, []byte("secret of many more bytes than 32"), "", nil, statement()), refused},
		"listed_none":    {[]string{"none"}, byHand(t, object{"alg": "none"}, statement(), unsigned), refused},
		"key_of_no_type": {nil, sign(t, jose.ES384, k.p384, "", nil, statement()), assertion.Refusal("has no valid signature of its issuer")},
	} {
		t.Run("AUTH-10/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := verify(t, row.raw, []assertion.Issuer{{Name: directory, Keys: set, Algorithms: row.algorithms}})
			require.Equal(t, row.want, err)
		})
	}
}

func TestStatementKeysThatAreFetched(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for name, row := range map[string]struct {
		first, second *jose.JSONWebKeySet
		failure       error
		asked         []bool
		want          error
	}{
		"first":   {directoryKeys(), nil, nil, []bool{false}, nil},
		"rolled":  {keySet(public(ecKeys().other256, "0", "", "")), directoryKeys(), nil, []bool{false, true}, nil},
		"unknown": {keySet(), nil, nil, []bool{false, true}, assertion.Refusal("has no valid signature of its issuer")},
		"down":    {nil, nil, down, []bool{false}, assertion.ErrKeysUnavailable},
	} {
		t.Run("7591-2.3-04/"+name, func(t *testing.T) {
			t.Parallel()
			var asked []bool
			fetch := func(_ context.Context, refetch bool) (*jose.JSONWebKeySet, error) {
				asked = append(asked, refetch)
				if refetch {
					return row.second, row.failure
				}
				return row.first, row.failure
			}
			_, err := verify(t, byDirectory(t, statement()), []assertion.Issuer{{Name: directory, Fetch: fetch}})
			require.ErrorIs(t, err, row.want)
			require.Equal(t, row.asked, asked)
			var failure *assertion.Failure
			require.Equal(t, row.failure != nil, errors.As(err, &failure))
			if failure != nil {
				require.ErrorIs(t, err, down)
			}
		})
	}
	t.Run("7591-2.3-04/nothing_fetched_for_a_stranger", func(t *testing.T) {
		t.Parallel()
		fetch := func(context.Context, bool) (*jose.JSONWebKeySet, error) { panic("fetched") }
		for _, raw := range []string{byDirectory(t, statement("iss", "x")), byHand(t, object{"alg": "none"}, statement(), unsigned)} {
			_, err := verify(t, raw, []assertion.Issuer{{Name: directory, Fetch: fetch}})
			require.Error(t, err)
		}
	})
}
