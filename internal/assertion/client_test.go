package assertion_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// client is what the storage of these tests keeps. Its keys are those of Options.Keys, unless it is static.
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
	asked                    atomic.Int64 // of GetClient

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
	s.asked.Add(1)
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
	down   error               // of a fetch that ignores the cache
}

func (f *fetcher) Resolve(_ context.Context, _ string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	f.asked.Add(1)
	if ignoreCache && f.down != nil {
		return nil, f.down
	}
	if ignoreCache && f.rolled != nil {
		return f.rolled, f.err
	}
	return f.set, f.err
}

func options(store *storage, keys *fetcher) assertion.Options {
	return assertion.Options{
		Store: store, Fetcher: keys,
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
	return assertion.Authenticate(t.Context(), form, o)
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
		"T61/five_of_one_type": {
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

func TestReplay(t *testing.T) {
	t.Parallel()
	another := newClient("another", "", one256())
	store := newStorage(newClient(clientID, "", one256()), another)
	o := options(store, nil)
	_, err := authenticate(t, o, es256(t, claims("jti", "one of few")))
	require.NoError(t, err)
	_, err = authenticate(t, o, es256(t, claims("jti", "one of few", "exp", time.Now().Add(2*time.Minute).Unix())))
	require.ErrorIs(t, err, fosite.ErrJTIKnown)
	require.Equal(t, "invalid_client", fosite.ErrorToRFC6749Error(err).ErrorField)
	got, err := authenticate(t, o, es256(t, claims("jti", "one of few", "iss", "another", "sub", "another")))
	require.NoError(t, err, "a jti counts per client")
	require.Same(t, another, got)
	require.Contains(t, store.used, "dcr."+digest(clientID)+"."+digest("one of few"), "the key of a jti stays the same between versions")
	require.Contains(t, store.used, "dcr."+digest("another")+"."+digest("one of few"))

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

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
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
		"json":               `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"line_break":         good + "\n",
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
		untried bool
	}{
		"first":                 {&fetcher{set: keySet(public(k.other256, "", "", ""), public(k.p256, "", "", ""))}, false, 1, nil, false},
		"rolled":                {&fetcher{set: keySet(), rolled: one256()}, false, 2, nil, false},
		"unknown":               {&fetcher{set: keySet(public(k.rsaA, "", "", ""))}, false, 2, fosite.ErrInvalidClient, false},
		"no_set":                {&fetcher{}, false, 2, fosite.ErrInvalidClient, false},
		"down":                  {&fetcher{err: down}, false, 1, assertion.ErrKeysUnavailable, false},
		"static_client":         {&fetcher{set: one256()}, true, 1, nil, false},
		"static_down":           {&fetcher{err: down}, true, 1, assertion.ErrKeysUnavailable, false},
		"T68/untried":           {&fetcher{set: one256()}, false, 1, nil, true},
		"went_down":             {&fetcher{set: keySet(), down: down}, false, 2, assertion.ErrKeysUnavailable, false},
		"T68/untried_went_down": {&fetcher{set: keySet(), down: down}, false, 2, assertion.ErrKeysUnavailable, true},
		"T68/untried_busy":      {&fetcher{err: fosite.ErrTemporarilyUnavailable.WithWrap(down)}, false, 1, assertion.ErrKeysUnavailable, true},
		"T68/untried_down":      {&fetcher{err: down}, false, 1, fosite.ErrInvalidClient, true},
	} {
		t.Run("JWKS-01/"+name, func(t *testing.T) {
			t.Parallel()
			kept := newClient(clientID, "", nil)
			kept.JSONWebKeysURI, kept.static = "https://client.example/jwks", row.static
			if row.static {
				kept.TokenEndpointAuthSigningAlgorithm = "ES256"
			}
			kept.keys.Untried = row.untried
			got, err := authenticate(t, options(newStorage(kept), row.fetch), es256(t, claims()))
			require.ErrorIs(t, err, row.refusal)
			require.Equal(t, row.asked, row.fetch.asked.Load())
			if row.refusal == nil {
				require.Same(t, kept, got)
			}
			var failure *assertion.Failure
			require.Equal(t, errors.Is(row.refusal, assertion.ErrKeysUnavailable), errors.As(err, &failure), "T68: no failure of the server's")
			if failure != nil {
				require.ErrorIs(t, err, down)
			}
		})
	}
}

// TestClientsOfFosite: a static client has the algorithm and the keys that fosite finds at it, and one that has none is
// refused.
func TestClientsOfFosite(t *testing.T) {
	t.Parallel()
	static := newClient(clientID, "RS256", keySet())
	static.static, static.JSONWebKeys, static.TokenEndpointAuthSigningAlgorithm = true, keySet(public(ecKeys().p256, "", "sig", "")), "ES256"
	got, err := authenticate(t, options(newStorage(static), nil), es256(t, claims()))
	require.NoError(t, err)
	require.Same(t, static, got)

	withoutUse := newClient(clientID, "", nil)
	withoutUse.static, withoutUse.TokenEndpointAuthSigningAlgorithm, withoutUse.JSONWebKeys = true, "ES256", one256()
	_, err = authenticate(t, options(newStorage(withoutUse), nil), es256(t, claims()))
	require.ErrorIs(t, err, fosite.ErrInvalidClient, "fosite passes over keys without use")

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

	keyless := newClient(clientID, "", nil)
	_, err = authenticate(t, options(newStorage(keyless), nil), es256(t, claims()))
	require.ErrorIs(t, err, fosite.ErrInvalidClient, "neither jwks nor jwks_uri")
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
