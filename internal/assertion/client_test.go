package assertion_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
)

const (
	clientID = "client"
	issuer   = "https://server.example"
)

// client is what the storage of these tests keeps. Its keys reach fosite through Options.Keys only.
type client struct {
	*fosite.DefaultOpenIDConnectClient

	keys   assertion.Keys
	static bool
}

func newClient(id, algorithm string, set *jose.JSONWebKeySet) *client {
	return &client{
		DefaultOpenIDConnectClient: &fosite.DefaultOpenIDConnectClient{
			DefaultClient: &fosite.DefaultClient{ID: id}, TokenEndpointAuthMethod: "private_key_jwt",
		},
		keys: assertion.Keys{Algorithm: algorithm, Set: set},
	}
}

// storage keeps clients and jti, and fails where it is told to.
type storage struct {
	clients                  map[string]fosite.Client
	getErr, validErr, setErr error

	mu   sync.Mutex
	used map[string]time.Time
}

func newStorage(clients ...fosite.Client) *storage {
	s := &storage{clients: map[string]fosite.Client{}, used: map[string]time.Time{}}
	for _, c := range clients {
		s.clients[c.GetID()] = c
	}
	return s
}

func (s *storage) GetClient(_ context.Context, id string) (fosite.Client, error) {
	if s.getErr != nil {
		return nil, s.getErr
	}
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	return nil, fosite.ErrNotFound
}

func (s *storage) ClientAssertionJWTValid(_ context.Context, jti string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[jti]; ok {
		return fosite.ErrJTIKnown
	}
	return s.validErr
}

func (s *storage) SetClientAssertionJWT(_ context.Context, jti string, exp time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[jti]; ok {
		return fosite.ErrJTIKnown
	}
	if s.setErr == nil {
		s.used[jti] = exp
	}
	return s.setErr
}

// fetcher is a host of keys.
type fetcher struct {
	set    *jose.JSONWebKeySet
	err    error
	asked  atomic.Int64
	rolled *jose.JSONWebKeySet // for a fetch that ignores the cache
}

func (f *fetcher) Resolve(_ context.Context, _ string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	f.asked.Add(1)
	if ignoreCache && f.rolled != nil {
		return f.rolled, f.err
	}
	return f.set, f.err
}

func options(store *storage, keys *fetcher) assertion.Options {
	return assertion.Options{
		Store: store, Config: &fosite.Config{JWKSFetcherStrategy: keys, TokenURL: "https://elsewhere.example/token"},
		Audiences: []string{issuer, issuer + "/token"}, Now: time.Now(),
		Keys: func(found fosite.Client) (assertion.Keys, bool) {
			c, ok := found.(*client)
			if !ok || c.static {
				return assertion.Keys{}, false
			}
			return c.keys, true
		},
	}
}

func authenticate(t testing.TB, o assertion.Options, raw string, pairs ...string) (fosite.Client, error) {
	t.Helper()
	form := url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {raw}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return assertion.Authenticate(t.Context(), httptest.NewRequest(http.MethodPost, "/token", nil), form, o)
}

// claims are those of a good assertion, with changes.
func claims(pairs ...any) object {
	return with(object{
		"iss": clientID, "sub": clientID, "aud": issuer, "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}, pairs...)
}

func es256(t testing.TB, claims any) string {
	t.Helper()
	return sign(t, jose.ES256, ecKeys().p256, "", nil, claims)
}

func one256() *jose.JSONWebKeySet { return keySet(public(ecKeys().p256, "", "", "")) }

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	all := map[jose.SignatureAlgorithm]any{
		jose.RS256: keys.rsaA, jose.RS384: keys.rsaA, jose.RS512: keys.rsaA,
		jose.PS256: keys.rsaA, jose.PS384: keys.rsaA, jose.PS512: keys.rsaA,
		jose.ES256: keys.p256, jose.ES384: keys.p384, jose.ES512: keys.p521,
	}
	set := keySet(public(keys.rsaA, "", "", ""), public(keys.p521, "", "", ""), public(keys.p384, "", "", ""), public(keys.p256, "", "", ""))
	for alg, key := range all {
		for _, registered := range []string{"", string(alg), "PS256"} {
			t.Run("AUTH-10/"+string(alg)+"/registered="+registered, func(t *testing.T) {
				t.Parallel()
				kept := newClient(clientID, registered, set)
				got, err := authenticate(t, options(newStorage(kept), nil), sign(t, alg, key, "", nil, claims()))
				if registered != "" && registered != string(alg) {
					require.ErrorIs(t, err, fosite.ErrInvalidClient)
					return
				}
				require.NoError(t, err)
				require.Same(t, kept, got, "the very client of the storage")
			})
		}
	}
}

// signature is how an assertion was signed.
type signature struct {
	alg jose.SignatureAlgorithm
	key any
	kid string
}

func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	k := testKeys()
	for name, row := range map[string]struct {
		keys              *jose.JSONWebKeySet
		accepted, refused []signature
	}{
		"with_alg": {
			keySet(public(k.rsaA, "", "", "RS256"), public(k.rsaB, "", "", "PS256"), public(k.p256, "", "", "ES256")),
			[]signature{{jose.RS256, k.rsaA, ""}, {jose.PS256, k.rsaB, ""}, {jose.ES256, k.p256, ""}},
			[]signature{{jose.PS256, k.rsaA, ""}, {jose.RS256, k.rsaB, ""}, {jose.ES256, k.other256, ""}},
		},
		"with_kid": {
			keySet(public(k.rsaA, "1", "", ""), public(k.rsaB, "2", "", ""), public(k.p256, "3", "sig", "")),
			[]signature{{jose.RS256, k.rsaA, "1"}, {jose.PS256, k.rsaB, "2"}, {jose.ES256, k.p256, "3"}, {jose.ES256, k.p256, ""}},
			[]signature{{jose.RS256, k.rsaA, "2"}, {jose.ES256, k.p256, "1"}, {jose.ES256, k.p256, "unknown"}},
		},
		"kid_that_no_key_has": {keySet(public(k.p256, "", "", "")), []signature{{jose.ES256, k.p256, ""}}, []signature{{jose.ES256, k.p256, "1"}}},
		"same_type_without_kid": {
			keySet(public(k.rsaA, "", "", ""), public(k.rsaB, "", "", "")),
			[]signature{{jose.RS256, k.rsaB, ""}, {jose.RS256, k.rsaA, ""}, {jose.PS512, k.rsaB, ""}},
			[]signature{{jose.ES256, k.p256, ""}},
		},
		"for_encryption": {
			keySet(public(k.p256, "", "enc", ""), public(k.other256, "", "sig", "")),
			[]signature{{jose.ES256, k.other256, ""}}, []signature{{jose.ES256, k.p256, ""}},
		},
		"T13/five_of_one_type": {
			keySet(public(k.rsaA, "", "", ""), public(k.rsaA, "", "", ""), public(k.rsaA, "", "", ""), public(k.rsaA, "", "", ""), public(k.rsaB, "5", "", "")),
			[]signature{{jose.RS256, k.rsaA, ""}, {jose.RS256, k.rsaB, "5"}}, []signature{{jose.RS256, k.rsaB, ""}},
		},
		"none": {keySet(), nil, []signature{{jose.ES256, k.p256, ""}}},
	} {
		t.Run("AUTH-10/"+name, func(t *testing.T) {
			t.Parallel()
			o := options(newStorage(newClient(clientID, "", row.keys)), nil)
			for _, s := range row.accepted {
				_, err := authenticate(t, o, sign(t, s.alg, s.key, s.kid, nil, claims()))
				require.NoError(t, err, "%s %s", s.alg, s.kid)
			}
			for _, s := range row.refused {
				_, err := authenticate(t, o, sign(t, s.alg, s.key, s.kid, nil, claims()))
				require.ErrorIs(t, err, fosite.ErrInvalidClient, "%s %s", s.alg, s.kid)
			}
		})
	}
}

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
		"iat_future":            {"iat", in(5 * time.Minute), false},
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

func TestReplay(t *testing.T) {
	t.Parallel()
	another := newClient("another", "", one256())
	store := newStorage(newClient(clientID, "", one256()), another)
	o := options(store, nil)
	_, err := authenticate(t, o, es256(t, claims("jti", "one of few")))
	require.NoError(t, err)
	_, err = authenticate(t, o, es256(t, claims("jti", "one of few", "exp", time.Now().Add(2*time.Minute).Unix())))
	require.ErrorIs(t, err, fosite.ErrJTIKnown)
	got, err := authenticate(t, o, es256(t, claims("jti", "one of few", "iss", "another", "sub", "another")))
	require.NoError(t, err, "a jti counts per client")
	require.Same(t, another, got)
	require.Contains(t, store.used, "dcr.gxAtg9axNF1KOEGYAUUB-rhSc1wBWg9zcGB4hzhOWbo", "the key of a jti stays the same between versions")

	raw := es256(t, claims())
	var group sync.WaitGroup
	var passed, known atomic.Int64
	for range 20 {
		group.Go(func() {
			switch _, err := authenticate(t, o, raw); {
			case err == nil:
				passed.Add(1)
			case errors.Is(err, fosite.ErrJTIKnown):
				known.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, passed.Load())
	require.EqualValues(t, 19, known.Load())
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	k := testKeys()
	victim := newClient("victim", "", keySet(public(k.rsaB, "", "", "")))
	o := options(newStorage(newClient(clientID, "", keySet(public(k.rsaA, "", "", ""))), victim), nil)
	good := sign(t, jose.RS256, k.rsaA, "", nil, claims())
	parts := strings.Split(good, ".")
	other := strings.Split(sign(t, jose.RS256, k.rsaA, "", nil, claims()), ".")
	rs256 := func(key any, header map[jose.HeaderKey]any, claims any) string {
		return sign(t, jose.RS256, key, "", header, claims)
	}
	for name, raw := range map[string]string{
		"none":               byHand(t, object{"alg": "none"}, claims(), unsigned),
		"None":               byHand(t, object{"alg": "None"}, claims(), unsigned),
		"alg_missing":        byHand(t, object{"typ": "JWT"}, claims(), unsigned),
		"EdDSA":              byHand(t, object{"alg": "EdDSA"}, claims(), unsigned),
		"hmac_modulus":       byHand(t, object{"alg": "HS256"}, claims(), hs256(k.rsaA.N.Bytes())),
		"wrong_key":          rs256(k.rsaB, nil, claims()),
		"jwk":                rs256(k.rsaB, map[jose.HeaderKey]any{"jwk": public(k.rsaB, "", "", "")}, claims()),
		"jku":                rs256(k.rsaB, map[jose.HeaderKey]any{"jku": "https://127.0.0.1:1/"}, claims()),
		"wrong_iss":          rs256(k.rsaA, nil, claims("iss", "somebody")),
		"no_iss":             rs256(k.rsaA, nil, claims("iss", nil)),
		"unknown_sub":        rs256(k.rsaA, nil, claims("sub", "somebody")),
		"no_sub":             rs256(k.rsaA, nil, claims("sub", nil)),
		"sub_of_victim":      rs256(k.rsaA, nil, claims("sub", "victim", "iss", "victim")),
		"T18/two_sub":        rs256(k.rsaA, nil, json.RawMessage(`{"sub":"client","sub":"victim","aud":"`+issuer+`","exp":1,"jti":"x"}`)),
		"T18/upper_case":     rs256(k.rsaA, nil, claims("exp", nil, "EXP", time.Now().Add(time.Minute).Unix())),
		"signature_of_other": parts[0] + "." + parts[1] + "." + other[2],
		"no_signature":       parts[0] + "." + parts[1] + ".",
		"two_parts":          parts[0] + "." + parts[1],
		"garbage":            "garbage",
		"empty":              "",
		"huge":               good + strings.Repeat("A", 64<<10),
	} {
		t.Run("AUTH-04/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := authenticate(t, o, raw)
			require.ErrorIs(t, err, fosite.ErrInvalidClient)
		})
	}
	t.Run("AUTH-04/client_id_of_another", func(t *testing.T) {
		t.Parallel()
		_, err := authenticate(t, o, good, "client_id", "victim")
		require.ErrorIs(t, err, fosite.ErrInvalidClient)
	})
	t.Run("AUTH-04/no_type", func(t *testing.T) {
		t.Parallel()
		// Otherwise fosite would look for a secret.
		for _, kind := range []string{"", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"} {
			_, err := authenticate(t, o, good, "client_assertion_type", kind, "client_id", clientID)
			require.ErrorIs(t, err, fosite.ErrInvalidClient)
		}
	})
}

// marked is an error as the root package marks its own.
type marked struct{ error }

// TestStorageThatFails: what the storage says of a jti becomes a Failure, and what it says of a client stays in the
// chain (AUTH-02).
func TestStorageThatFails(t *testing.T) {
	t.Parallel()
	broken := &marked{errors.New("broken")}
	for name, row := range map[string]struct {
		breaks  func(*storage)
		failure bool
	}{
		"get":   {func(s *storage) { s.getErr = broken }, false},
		"valid": {func(s *storage) { s.validErr = broken }, true},
		"set":   {func(s *storage) { s.setErr = broken }, true},
	} {
		t.Run("AUTH-02/"+name, func(t *testing.T) {
			t.Parallel()
			store := newStorage(newClient(clientID, "", one256()))
			row.breaks(store)
			_, err := authenticate(t, options(store, nil), es256(t, claims()))
			var failure *assertion.Failure
			require.Equal(t, row.failure, errors.As(err, &failure))
			require.NotErrorIs(t, err, assertion.ErrKeysUnavailable)
			var cause *marked
			require.ErrorAs(t, err, &cause)
			require.Same(t, broken, cause)
			if row.failure {
				require.Equal(t, error(broken), failure.Cause)
				require.Equal(t, "broken", failure.Error())
			}
		})
	}
}

func TestKeysAtAURI(t *testing.T) {
	t.Parallel()
	k := testKeys()
	down := errors.New("down")
	for name, row := range map[string]struct {
		fetch   *fetcher
		static  bool
		asked   int64
		refusal error
	}{
		"first":         {&fetcher{set: keySet(public(k.other256, "", "", ""), public(k.p256, "", "", ""))}, false, 1, nil},
		"rolled":        {&fetcher{set: keySet(), rolled: one256()}, false, 2, nil},
		"unknown":       {&fetcher{set: keySet(public(k.rsaA, "", "", ""))}, false, 2, fosite.ErrInvalidClient},
		"no_set":        {&fetcher{}, false, 2, fosite.ErrInvalidClient},
		"down":          {&fetcher{err: down}, false, 1, assertion.ErrKeysUnavailable},
		"static_client": {&fetcher{set: one256()}, true, 1, nil},
		"static_down":   {&fetcher{err: down}, true, 1, assertion.ErrKeysUnavailable},
	} {
		t.Run("JWKS-01/"+name, func(t *testing.T) {
			t.Parallel()
			kept := newClient(clientID, "", nil)
			kept.JSONWebKeysURI, kept.static = "https://client.example/jwks", row.static
			if row.static {
				kept.TokenEndpointAuthSigningAlgorithm = "ES256"
			}
			got, err := authenticate(t, options(newStorage(kept), row.fetch), es256(t, claims()))
			require.ErrorIs(t, err, row.refusal)
			require.Equal(t, row.asked, row.fetch.asked.Load())
			if row.refusal == nil {
				require.Same(t, kept, got)
			}
			var failure *assertion.Failure
			require.Equal(t, row.fetch.err != nil, errors.As(err, &failure))
			if failure != nil {
				require.ErrorIs(t, err, down)
			}
		})
	}
}

// TestClientsOfFosite: a client that fosite handles alone is left as it is, and so is one that has no keys at all.
func TestClientsOfFosite(t *testing.T) {
	t.Parallel()
	static := newClient(clientID, "RS256", keySet())
	static.static, static.JSONWebKeys, static.TokenEndpointAuthSigningAlgorithm = true, keySet(public(ecKeys().p256, "", "sig", "")), "ES256"
	got, err := authenticate(t, options(newStorage(static), nil), es256(t, claims()))
	require.NoError(t, err)
	require.Same(t, static, got)

	static.TokenEndpointAuthSigningAlgorithm = "RS256"
	_, err = authenticate(t, options(newStorage(static), nil), es256(t, claims()))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)

	o := options(newStorage(&fosite.DefaultClient{ID: clientID}), nil)
	o.Keys = func(fosite.Client) (assertion.Keys, bool) { return assertion.Keys{Set: one256()}, true }
	_, err = authenticate(t, o, es256(t, claims()))
	require.ErrorIs(t, err, fosite.ErrInvalidClient, "a client without keys of its own")

	secret := newClient(clientID, "", one256())
	secret.TokenEndpointAuthMethod = "client_secret_basic"
	_, err = authenticate(t, options(newStorage(secret), nil), es256(t, claims()))
	require.ErrorIs(t, err, fosite.ErrInvalidClient, "a client with another method")
}

func TestSubject(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ raw, want string }{
		"good":      {es256(t, claims()), clientID},
		"unsigned":  {byHand(t, object{"alg": "RS256"}, claims("sub", "anybody"), func(string) []byte { return []byte("x") }), "anybody"},
		"no_sub":    {es256(t, claims("sub", nil)), ""},
		"number":    {es256(t, claims("sub", 7)), ""},
		"duplicate": {es256(t, json.RawMessage(`{"sub":"a","sub":"b"}`)), ""},
		"too_long":  {es256(t, claims("padding", strings.Repeat("x", 16<<10))), ""},
		"empty":     {"", ""},
		"garbage":   {"a.b.c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.want, assertion.Subject(row.raw))
		})
	}
}
