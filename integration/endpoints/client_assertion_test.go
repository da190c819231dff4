package endpoints_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// byHand puts a token together with a header of any kind.
func byHand(t *testing.T, header, claims map[string]any, sign func(input string) []byte) string {
	t.Helper()
	encode := func(value any) string {
		raw, err := json.Marshal(value)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	input := encode(header) + "." + encode(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// machines is a server whose clients get tokens of their own.
func machines(cfg dcr.Config) dcrtest.Setup {
	cfg.Metadata.AnonymousGrantTypes = []string{"client_credentials"}
	return dcrtest.Setup{Config: cfg}
}

// registerMachine registers a client with keys and client credentials.
func registerMachine(t *testing.T, s *dcrtest.Server, keys any, pairs ...any) dcrtest.Answer {
	t.Helper()
	metadata := map[string]any{
		"token_endpoint_auth_method": "private_key_jwt", "grant_types": []string{"client_credentials"}, "jwks": keys,
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(metadata, pairs[i].(string))
		}
	}
	return s.Register(t, metadata)
}

func machineToken(t *testing.T, s *dcrtest.Server, assertion string) dcrtest.Answer {
	t.Helper()
	return s.Form(t, "/oauth2/token", dcrtest.WithAssertion(url.Values{"grant_type": {"client_credentials"}}, assertion))
}

func gotToken(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.NotEmpty(t, a.Text("access_token"))
}

func refusedClient(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, a.Status, a.Body)
	require.Equal(t, "invalid_client", a.Text("error"), a.Body)
	require.NotContains(t, a.Members, "access_token")
}

func TestAssertionAudience(t *testing.T) {
	t.Parallel()
	const everywhere, parOnly, nowhere = "everywhere", "par", "nowhere"
	type row struct {
		name     string
		audience func(url string) any
		accepted string
	}
	rows := []row{
		{"issuer", func(u string) any { return u }, everywhere},
		{"token_url", func(u string) any { return u + "/oauth2/token" }, everywhere},
		{"par_url", func(u string) any { return u + "/oauth2/par" }, parOnly},
		{"revocation_url", func(u string) any { return u + "/oauth2/revoke" }, nowhere},
		{"other_server", func(string) any { return "https://other.example" }, nowhere},
		{"issuer_with_slash", func(u string) any { return u + "/" }, nowhere},
		{"issuer_prefix", func(u string) any { return u[:len(u)-1] }, nowhere},
		{"array_of_issuer", func(u string) any { return []string{u} }, everywhere},
		{"array_of_issuer_and_token_url", func(u string) any { return []string{u, u + "/oauth2/token"} }, everywhere},
		{"array_of_issuer_and_par_url", func(u string) any { return []string{u, u + "/oauth2/par"} }, parOnly},
		{"array_of_issuer_and_other", func(u string) any { return []string{u, "https://other.example"} }, nowhere},
		{"array_of_other_and_issuer", func(u string) any { return []string{"https://other.example", u} }, nowhere},
		{"empty_array", func(string) any { return []string{} }, nowhere},
		{"array_with_number", func(u string) any { return []any{u, 1} }, nowhere},
		{"number", func(string) any { return 1 }, nowhere},
		{"none", func(string) any { return nil }, nowhere},
		{"empty", func(string) any { return "" }, nowhere},
	}
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "private_key_jwt")
	for _, row := range rows {
		for _, endpoint := range dcrtest.AuthEndpoints {
			t.Run("AUTH-03/"+row.name+"/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL, "aud", row.audience(s.URL)))
				answer := s.Form(t, endpoint.Path, dcrtest.WithAssertion(endpoint.Request(t, s, client), assertion))
				if row.accepted == everywhere || row.accepted == endpoint.Name {
					endpoint.RequireSuccess(t, answer)
					return
				}
				endpoint.RequireRefused(t, answer)
			})
		}
	}
}

func TestAssertionAudienceByOption(t *testing.T) {
	t.Parallel()
	t.Run("AUTH-03/RefuseTokenEndpointAudience", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{RefuseTokenEndpointAudience: true}}})
		client := dcrtest.RegisterFor(t, s, "private_key_jwt")
		for _, endpoint := range dcrtest.AuthEndpoints {
			for _, audience := range []any{s.URL + "/oauth2/token", []string{s.URL, s.URL + "/oauth2/token"}} {
				refused := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), audience))
				endpoint.RequireRefused(t, s.Form(t, endpoint.Path, dcrtest.WithAssertion(endpoint.Request(t, s, client), refused)))
			}
			taken := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))
			endpoint.RequireSuccess(t, s.Form(t, endpoint.Path, dcrtest.WithAssertion(endpoint.Request(t, s, client), taken)))
		}
	})
	t.Run("AUTH-03/PushedAuthorizationRequestEndpoint", func(t *testing.T) {
		t.Parallel()
		const public = "https://op.example/pushed"
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Endpoints: dcr.Endpoints{PushedAuthorizationRequest: func(context.Context) string { return public }}}})
		client := dcrtest.RegisterFor(t, s, "private_key_jwt")
		push := dcrtest.AuthEndpoints[1]
		taken := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), public))
		push.RequireSuccess(t, s.Form(t, push.Path, dcrtest.WithAssertion(push.Request(t, s, client), taken)))
		refused := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL+"/oauth2/par"))
		push.RequireRefused(t, s.Form(t, push.Path, dcrtest.WithAssertion(push.Request(t, s, client), refused)))
	})
	t.Run("AUTH-03/forged_host", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		client := dcrtest.RegisterFor(t, s, "private_key_jwt")
		push := dcrtest.AuthEndpoints[1]
		forged := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), "http://evil.example/oauth2/par"))
		push.RequireRefused(t, s.Form(t, push.Path, dcrtest.WithAssertion(push.Request(t, s, client), forged), func(r *http.Request) {
			r.Host = "evil.example"
		}))
	})
}

// notingStore notes what is stored of assertions.
type notingStore struct {
	*dcr.MemoryStore
	stored atomic.Int64
}

func (s *notingStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	s.stored.Add(1)
	return s.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
}

// fractional is a time ahead that is no whole second.
type fractional time.Duration

func TestAssertionBounds(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, claim string
		value       any
		accepted    bool
	}{
		{"exp_in_nine_minutes", "exp", 9 * time.Minute, true},
		{"exp_fractional", "exp", fractional(time.Minute), true},
		{"exp_in_a_year", "exp", 365 * 24 * time.Hour, false},
		{"exp_in_an_hour", "exp", time.Hour, false},
		{"exp_in_eleven_minutes", "exp", 11 * time.Minute, false},
		{"exp_huge", "exp", 1e300, false},
		{"exp_beyond_int64", "exp", json.Number("18446744073709551616"), false},
		{"exp_negative", "exp", -1, false},
		{"exp_string", "exp", "1999999999", false},
		{"exp_none", "exp", nil, false},
		{"exp_null", "exp", json.RawMessage("null"), false},
		{"exp_past", "exp", -10 * time.Minute, false},
		{"nbf_future", "nbf", 5 * time.Minute, false},
		{"iat_future", "iat", 5 * time.Minute, false},
		{"jti_256", "jti", strings.Repeat("j", 256), true},
		{"jti_257", "jti", strings.Repeat("j", 257), false},
		{"jti_none", "jti", nil, false},
		{"jti_empty", "jti", "", false},
		{"jti_number", "jti", 17, false},
	}
	for _, row := range rows {
		t.Run("AUTH-07/T55/"+row.name, func(t *testing.T) {
			t.Parallel()
			store := &notingStore{MemoryStore: dcr.NewMemoryStore()}
			setup := machines(dcr.Config{})
			setup.Storage = store
			s := dcrtest.Start(t, setup)
			client := registerMachine(t, s, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")))
			value := row.value
			switch ahead := value.(type) {
			case time.Duration: // from now, which may be later than the rows
				value = time.Now().Add(ahead).Unix()
			case fractional:
				value = float64(time.Now().Add(time.Duration(ahead)).Unix()) + 0.5
			}
			answer := machineToken(t, s, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL, row.claim, value)))
			if row.accepted {
				gotToken(t, answer)
				require.EqualValues(t, 1, store.stored.Load())
				return
			}
			refusedClient(t, answer)
			require.Zero(t, store.stored.Load(), "stored before it was refused")
		})
	}
}

// TestAssertionClocks: the clock of a client may be off by 30 seconds, and an assertion counts once all the same.
func TestAssertionClocks(t *testing.T) {
	t.Parallel()
	static := &fosite.DefaultOpenIDConnectClient{
		DefaultClient: &fosite.DefaultClient{ID: "static", GrantTypes: []string{"client_credentials"}}, TokenEndpointAuthMethod: "private_key_jwt",
		TokenEndpointAuthSigningAlgorithm: "ES256",
	}
	staticKeys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	static.JSONWebKeys = &staticKeys
	setup := machines(dcr.Config{})
	setup.Static = []fosite.Client{static}
	s := dcrtest.Start(t, setup)
	registered := registerMachine(t, s, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))).ID()
	for name, row := range map[string]struct {
		claim    string
		ahead    time.Duration
		accepted bool
	}{
		"nbf_10s_ahead": {"nbf", 10 * time.Second, true}, "nbf_90s_ahead": {"nbf", 90 * time.Second, false},
		"iat_10s_ahead": {"iat", 10 * time.Second, true}, "iat_90s_ahead": {"iat", 90 * time.Second, false},
		"exp_5s_back": {"exp", -5 * time.Second, true}, "exp_60s_back": {"exp", -time.Minute, false},
	} {
		for kind, id := range map[string]string{"registered": registered, "static": "static"} {
			t.Run("AUTH-11/"+name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(id, s.URL, row.claim, time.Now().Add(row.ahead).Unix()))
				answer := machineToken(t, s, assertion)
				if !row.accepted {
					refusedClient(t, answer)
					return
				}
				gotToken(t, answer)
				refusedClient(t, machineToken(t, s, assertion))
			})
		}
	}
}

// TestStaticClientByAssertion: a client that an operator provisioned is held to what it has, as fosite does it.
func TestStaticClientByAssertion(t *testing.T) {
	t.Parallel()
	keys := dcrtest.Keys()
	static := func(id, method, alg string, set jose.JSONWebKeySet) fosite.Client {
		return &fosite.DefaultOpenIDConnectClient{
			DefaultClient: &fosite.DefaultClient{ID: id, GrantTypes: []string{"client_credentials"}}, JSONWebKeys: &set,
			TokenEndpointAuthMethod: method, TokenEndpointAuthSigningAlgorithm: alg,
		}
	}
	sig := dcrtest.KeySet(dcrtest.PublicKey(keys.P256, "", "sig", ""), dcrtest.PublicKey(keys.RSA, "", "sig", ""))
	setup := machines(dcr.Config{})
	setup.Static = []fosite.Client{
		static("es256", "private_key_jwt", "ES256", sig), static("default", "private_key_jwt", "", sig),
		static("basic", "client_secret_basic", "ES256", sig), static("hmac", "client_secret_jwt", "HS256", sig),
		static("empty", "private_key_jwt", "ES256", dcrtest.KeySet()), &fosite.DefaultClient{ID: "plain"},
	}
	s := dcrtest.Start(t, setup)
	for name, row := range map[string]struct {
		id       string
		alg      jose.SignatureAlgorithm
		key      any
		accepted bool
		hint     string
	}{
		"registered_algorithm": {"es256", jose.ES256, keys.P256, true, ""},
		"other_algorithm":      {"es256", jose.RS256, keys.RSA, false, "'ES256'"},
		"RS256_by_default":     {"default", jose.RS256, keys.RSA, true, ""},
		"not_by_default":       {"default", jose.ES256, keys.P256, false, "'RS256'"},
		"wrong_key":            {"es256", jose.ES256, keys.OtherP256, false, "no valid signature"},
		"secret_client":        {"basic", jose.ES256, keys.P256, false, "client_secret_basic"},
		"hmac_client":          {"hmac", jose.ES256, keys.P256, false, "client_secret_jwt"},
		"no_keys":              {"empty", jose.ES256, keys.P256, false, "fits its algorithm"},
		"plain_client":         {"plain", jose.ES256, keys.P256, false, "no keys"},
		"unknown_client":       {"nobody", jose.ES256, keys.P256, false, ""},
	} {
		t.Run("AUTH-04/AUTH-11/"+name, func(t *testing.T) {
			t.Parallel()
			answer := machineToken(t, s, dcrtest.SignToken(t, row.alg, row.key, "", dcrtest.AssertionClaims(row.id, s.URL)))
			if row.accepted {
				gotToken(t, answer)
				return
			}
			refusedClient(t, answer)
			require.Contains(t, answer.Text("error_description"), row.hint)
		})
	}
}

func TestAssertionThatHasExpired(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "private_key_jwt")
	for _, endpoint := range dcrtest.AuthEndpoints {
		t.Run("AUTH-07/expired/"+endpoint.Name, func(t *testing.T) {
			t.Parallel()
			assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL, "exp", time.Now().Add(-time.Hour).Unix()))
			endpoint.RequireRefused(t, s.Form(t, endpoint.Path, dcrtest.WithAssertion(endpoint.Request(t, s, client), assertion)))
		})
	}
}

func TestAssertionCountsOnce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{}))
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
	t.Run("AUTH-07/same_jti_twice", func(t *testing.T) {
		t.Parallel()
		client := registerMachine(t, s, keys)
		claims := dcrtest.AssertionClaims(client.ID(), s.URL)
		gotToken(t, machineToken(t, s, dcrtest.SignES256(t, claims)))
		claims["exp"] = time.Now().Add(2 * time.Minute).Unix()
		replayed := machineToken(t, s, dcrtest.SignES256(t, claims))
		refusedClient(t, replayed)
	})
	t.Run("AUTH-07/same_jti_by_two_clients", func(t *testing.T) {
		t.Parallel()
		for range 2 {
			client := registerMachine(t, s, keys)
			gotToken(t, machineToken(t, s, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL, "jti", "one of few"))))
		}
	})
	t.Run("AUTH-07/in_parallel", func(t *testing.T) {
		t.Parallel()
		client := registerMachine(t, s, keys)
		assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))
		var group sync.WaitGroup
		var tokens, known atomic.Int64
		for range 20 {
			group.Go(func() {
				switch answer := machineToken(t, s, assertion); {
				case answer.Status == http.StatusOK && answer.Text("access_token") != "":
					tokens.Add(1)
				case answer.Status == http.StatusUnauthorized && answer.Text("error") == "invalid_client":
					known.Add(1)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 1, tokens.Load())
		require.EqualValues(t, 19, known.Load())
	})
}

func TestAssertionReplayedElsewhere(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "private_key_jwt")
	for _, first := range dcrtest.AuthEndpoints {
		for _, second := range dcrtest.AuthEndpoints {
			t.Run("AUTH-07/"+first.Name+"/then/"+second.Name, func(t *testing.T) {
				t.Parallel()
				assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))
				first.RequireSuccess(t, s.Form(t, first.Path, dcrtest.WithAssertion(first.Request(t, s, client), assertion)))
				replayed := s.Form(t, second.Path, dcrtest.WithAssertion(second.Request(t, s, client), assertion))
				if second.Name == "token" {
					refusedClient(t, replayed)
					return
				}
				require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized}, replayed.Status, replayed.Body)
				require.NotEqual(t, true, replayed.Members["active"])
				require.NotContains(t, replayed.Members, "request_uri")
			})
		}
	}
}

// forgeries are assertions that nobody who has the key made.
func forgeries(t *testing.T, id, issuer string) map[string]string {
	keys := dcrtest.Keys()
	claims := func(pairs ...any) map[string]any { return dcrtest.AssertionClaims(id, issuer, pairs...) }
	der, err := x509.MarshalPKIXPublicKey(keys.RSA.Public())
	require.NoError(t, err)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs256 := func(secret []byte) func(string) []byte {
		return func(input string) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			return mac.Sum(nil)
		}
	}
	nothing := func(string) []byte { return nil }
	good := dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims())
	parts := strings.Split(good, ".")
	other := strings.Split(dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims("jti", "another")), ".")
	stranger := jose.JSONWebKey{Key: keys.OtherRSA.Public()}
	return map[string]string{
		"alg_none":           byHand(t, map[string]any{"alg": "none"}, claims(), nothing),
		"alg_None":           byHand(t, map[string]any{"alg": "None"}, claims(), nothing),
		"alg_missing":        byHand(t, map[string]any{"typ": "JWT"}, claims(), nothing),
		"alg_EdDSA":          byHand(t, map[string]any{"alg": "EdDSA"}, claims(), func(string) []byte { return make([]byte, 64) }),
		"hs256_pem":          byHand(t, map[string]any{"alg": "HS256"}, claims(), hs256(asPEM)),
		"hs256_der":          byHand(t, map[string]any{"alg": "HS256"}, claims(), hs256(der)),
		"hs256_modulus":      byHand(t, map[string]any{"alg": "HS256"}, claims(), hs256(keys.RSA.N.Bytes())),
		"wrong_rsa_key":      dcrtest.SignToken(t, jose.RS256, keys.OtherRSA, "", claims()),
		"wrong_rsa_key_pss":  dcrtest.SignToken(t, jose.PS256, keys.OtherRSA, "", claims()),
		"wrong_ec_key":       dcrtest.SignToken(t, jose.ES256, keys.OtherP256, "", claims()),
		"unknown_kid":        dcrtest.SignToken(t, jose.RS256, keys.RSA, "unknown", claims()),
		"key_in_header":      byHandRS256(t, map[string]any{"alg": "RS256", "jwk": stranger}, claims(), keys.OtherRSA),
		"jku_in_header":      byHandRS256(t, map[string]any{"alg": "RS256", "jku": "https://evil.example/"}, claims(), keys.OtherRSA),
		"wrong_iss":          dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims("iss", "somebody")),
		"no_iss":             dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims("iss", nil)),
		"wrong_sub":          dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims("sub", "somebody")),
		"no_sub":             dcrtest.SignToken(t, jose.RS256, keys.RSA, "", claims("sub", nil)),
		"signature_of_other": parts[0] + "." + parts[1] + "." + other[2],
		"no_signature":       parts[0] + "." + parts[1] + ".",
		"two_parts":          parts[0] + "." + parts[1],
		"garbage":            "garbage",
		"huge":               good + strings.Repeat("A", 64<<10),
	}
}

func byHandRS256(t *testing.T, header, claims map[string]any, key *rsa.PrivateKey) string {
	t.Helper()
	return byHand(t, header, claims, func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		require.NoError(t, err)
		return signature
	})
}

func TestForgedAssertion(t *testing.T) {
	t.Parallel()
	setup := machines(dcr.Config{})
	setup.Fosite = func(c *fosite.Config) { c.SendDebugMessagesToClients = true }
	s := dcrtest.Start(t, setup)
	client := registerMachine(t, s, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().RSA, "", "", "")))
	gotToken(t, machineToken(t, s, dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "", dcrtest.AssertionClaims(client.ID(), s.URL))))
	for name, forged := range forgeries(t, client.ID(), s.URL) {
		t.Run("AUTH-04/"+name, func(t *testing.T) {
			t.Parallel()
			answer := machineToken(t, s, forged)
			refusedClient(t, answer)
			// T26: no part of an assertion is repeated, not even to developers.
			for part := range strings.SplitSeq(forged, ".") {
				if len(part) > 10 {
					require.NotContains(t, answer.Body, part)
				}
			}
		})
	}
	t.Run("AUTH-04/client_id_of_another", func(t *testing.T) {
		t.Parallel()
		victim := registerMachine(t, s, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().OtherRSA, "", "", "")))
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {victim.ID()}}
		assertion := dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "", dcrtest.AssertionClaims(client.ID(), s.URL))
		refusedClient(t, s.Form(t, "/oauth2/token", dcrtest.WithAssertion(form, assertion)))
	})
}
