package endpoints_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// signingAlgorithms are what an assertion may be signed with, and a key for each.
func signingAlgorithms() map[jose.SignatureAlgorithm]any {
	keys := dcrtest.Keys()
	return map[jose.SignatureAlgorithm]any{
		jose.RS256: keys.RSA, jose.RS384: keys.RSA, jose.RS512: keys.RSA,
		jose.PS256: keys.RSA, jose.PS384: keys.RSA, jose.PS512: keys.RSA,
		jose.ES256: keys.P256, jose.ES384: keys.P384, jose.ES512: keys.P521,
	}
}

func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{}))
	shapes := map[string]struct{ use, alg, kid bool }{
		"bare": {}, "use": {use: true}, "alg": {alg: true}, "kid": {kid: true}, "all": {true, true, true},
	}
	for alg, key := range signingAlgorithms() {
		for name, shape := range shapes {
			for _, registered := range []bool{false, true} {
				t.Run("AUTH-10/"+string(alg)+"/"+name+"/registered="+strconv.FormatBool(registered), func(t *testing.T) {
					t.Parallel()
					public := dcrtest.PublicKey(key.(crypto.Signer), "", "", "")
					if shape.use {
						public.Use = "sig"
					}
					if shape.alg {
						public.Algorithm = string(alg)
					}
					if shape.kid {
						public.KeyID = "a key"
					}
					var algorithm any
					if registered {
						algorithm = string(alg)
					}
					client := registerMachine(t, s, dcrtest.KeySet(public), "token_endpoint_auth_signing_alg", algorithm)
					gotToken(t, machineToken(t, s, dcrtest.SignToken(t, alg, key, public.KeyID, dcrtest.AssertionClaims(client.ID(), s.URL))))
				})
			}
		}
	}
}

func TestRegisteredAlgorithmIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{}))
	keys := dcrtest.Keys()
	set := dcrtest.KeySet(dcrtest.PublicKey(keys.RSA, "", "", ""), dcrtest.PublicKey(keys.P256, "", "", ""))
	client := registerMachine(t, s, set, "token_endpoint_auth_signing_alg", "PS256")
	for alg, key := range map[jose.SignatureAlgorithm]any{
		jose.PS256: keys.RSA, jose.RS256: keys.RSA, jose.PS384: keys.RSA, jose.ES256: keys.P256,
	} {
		t.Run("AUTH-10/PS256_registered/"+string(alg), func(t *testing.T) {
			t.Parallel()
			answer := machineToken(t, s, dcrtest.SignToken(t, alg, key, "", dcrtest.AssertionClaims(client.ID(), s.URL)))
			if alg == jose.PS256 {
				gotToken(t, answer)
				return
			}
			refusedClient(t, answer)
		})
	}
}

// signature is how an assertion was signed.
type signature struct {
	alg jose.SignatureAlgorithm
	key any
	kid string
}

// keysRow is what a client registered, and what authenticates it.
type keysRow struct {
	name              string
	keys              jose.JSONWebKeySet
	accepted, refused []signature
}

func keysRows() []keysRow {
	keys := dcrtest.Keys()
	return []keysRow{
		{
			name: "four_with_alg", // RS256, PS256, ES256, ES384, each key for its own algorithm
			keys: dcrtest.KeySet(dcrtest.PublicKey(keys.RSA, "", "", "RS256"), dcrtest.PublicKey(keys.OtherRSA, "", "", "PS256"),
				dcrtest.PublicKey(keys.P256, "", "", "ES256"), dcrtest.PublicKey(keys.P384, "", "", "ES384")),
			accepted: []signature{{jose.RS256, keys.RSA, ""}, {jose.PS256, keys.OtherRSA, ""}, {jose.ES256, keys.P256, ""}, {jose.ES384, keys.P384, ""}},
			refused:  []signature{{jose.PS256, keys.RSA, ""}, {jose.RS256, keys.OtherRSA, ""}, {jose.ES256, keys.OtherP256, ""}, {jose.ES512, keys.P521, ""}},
		},
		{
			name: "four_with_kid",
			keys: dcrtest.KeySet(dcrtest.PublicKey(keys.RSA, "1", "", ""), dcrtest.PublicKey(keys.OtherRSA, "2", "", ""),
				dcrtest.PublicKey(keys.P384, "3", "", ""), dcrtest.PublicKey(keys.P256, "4", "", "")),
			accepted: []signature{{jose.RS256, keys.RSA, "1"}, {jose.PS256, keys.OtherRSA, "2"}, {jose.ES384, keys.P384, "3"}, {jose.ES256, keys.P256, "4"}},
			refused:  []signature{{jose.RS256, keys.RSA, "2"}, {jose.ES256, keys.P256, "3"}},
		},
		{
			name:     "curves_without_kid", // fosite alone takes the first, whatever its curve
			keys:     dcrtest.KeySet(dcrtest.PublicKey(keys.P521, "", "", ""), dcrtest.PublicKey(keys.P384, "", "", ""), dcrtest.PublicKey(keys.P256, "", "", "")),
			accepted: []signature{{jose.ES512, keys.P521, ""}, {jose.ES384, keys.P384, ""}, {jose.ES256, keys.P256, ""}},
			refused:  []signature{{jose.ES256, keys.OtherP256, ""}},
		},
		{
			name:     "two_rsa_keys_without_kid",
			keys:     dcrtest.KeySet(dcrtest.PublicKey(keys.RSA, "", "", ""), dcrtest.PublicKey(keys.OtherRSA, "", "", "")),
			accepted: []signature{{jose.RS256, keys.OtherRSA, ""}, {jose.RS256, keys.RSA, ""}, {jose.PS512, keys.OtherRSA, ""}},
			refused:  []signature{{jose.ES256, keys.P256, ""}},
		},
		{
			name:     "key_for_encryption",
			keys:     dcrtest.KeySet(dcrtest.PublicKey(keys.P256, "", "enc", ""), dcrtest.PublicKey(keys.OtherP256, "", "sig", "")),
			accepted: []signature{{jose.ES256, keys.OtherP256, ""}},
			refused:  []signature{{jose.ES256, keys.P256, ""}},
		},
	}
}

func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{}))
	for _, row := range keysRows() {
		client := registerMachine(t, s, row.keys)
		for i, signed := range append(append([]signature{}, row.accepted...), row.refused...) {
			t.Run("AUTH-10/"+row.name+"/"+strconv.Itoa(i)+"_"+string(signed.alg), func(t *testing.T) {
				t.Parallel()
				answer := machineToken(t, s, dcrtest.SignToken(t, signed.alg, signed.key, signed.kid, dcrtest.AssertionClaims(client.ID(), s.URL)))
				if i < len(row.accepted) {
					gotToken(t, answer)
					return
				}
				refusedClient(t, answer)
			})
		}
	}
}

// keyHost serves a key set over TLS and counts who asks.
type keyHost struct {
	*httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	keys    jose.JSONWebKeySet
	status  int
}

func startKeyHost(t *testing.T, keys jose.JSONWebKeySet) *keyHost {
	t.Helper()
	h := &keyHost{keys: keys, status: http.StatusOK}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.fetches.Add(1)
		h.mu.Lock()
		defer h.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(h.status)
		_ = json.NewEncoder(w).Encode(h.keys)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *keyHost) serve(status int, keys jose.JSONWebKeySet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.keys = status, keys
}

func registerWithURI(t *testing.T, s *dcrtest.Server, uri string) dcrtest.Answer {
	t.Helper()
	return registerMachine(t, s, nil, "jwks", nil, "jwks_uri", uri)
}

func TestKeysAtAURI(t *testing.T) {
	t.Parallel()
	hands := &clock{}
	local := outbound.Options{InsecureAllowLoopback: true, Now: hands.now}
	s := dcrtest.Start(t, machines(dcr.Config{Outbound: dcr.Outbound{Options: local}}))
	keys := dcrtest.Keys()
	host := startKeyHost(t, dcrtest.KeySet(dcrtest.PublicKey(keys.P256, "old", "", ""), dcrtest.PublicKey(keys.RSA, "rsa", "", "")))
	client := registerWithURI(t, s, host.URL+"/jwks")
	require.Zero(t, host.fetches.Load(), "registering does not fetch (7591-2-13)")

	gotToken(t, machineToken(t, s, dcrtest.SignToken(t, jose.ES256, keys.P256, "old", dcrtest.AssertionClaims(client.ID(), s.URL))))
	gotToken(t, machineToken(t, s, dcrtest.SignToken(t, jose.PS256, keys.RSA, "", dcrtest.AssertionClaims(client.ID(), s.URL))))
	require.EqualValues(t, 1, host.fetches.Load())

	// JWKS-01: a client that rotates its keys waits for the interval, and no longer.
	host.serve(http.StatusOK, dcrtest.KeySet(dcrtest.PublicKey(keys.OtherP256, "new", "", "")))
	rotated := func() dcrtest.Answer {
		return machineToken(t, s, dcrtest.SignToken(t, jose.ES256, keys.OtherP256, "new", dcrtest.AssertionClaims(client.ID(), s.URL)))
	}
	refusedClient(t, rotated())
	require.EqualValues(t, 1, host.fetches.Load())
	hands.advance(2 * time.Minute)
	gotToken(t, rotated())
	require.EqualValues(t, 2, host.fetches.Load())
	refusedClient(t, machineToken(t, s, dcrtest.SignToken(t, jose.ES256, keys.P256, "old", dcrtest.AssertionClaims(client.ID(), s.URL))))
}

// TestRandomKeyIDs: a client can't make the server fetch keys as often as it likes (JWKS-01, T55).
func TestRandomKeyIDs(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}}}))
	host := startKeyHost(t, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "known", "", "")))
	client := registerWithURI(t, s, host.URL+"/jwks")
	var group sync.WaitGroup
	var refused atomic.Int64
	for worker := range 20 {
		group.Go(func() {
			for i := range 50 {
				kid := strconv.Itoa(worker) + "-" + strconv.Itoa(i)
				answer := machineToken(t, s, dcrtest.SignToken(t, jose.ES256, dcrtest.Keys().P256, kid, dcrtest.AssertionClaims(client.ID(), s.URL)))
				if answer.Status == http.StatusUnauthorized && answer.Text("error") == "invalid_client" {
					refused.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, host.fetches.Load(), "JWKS-01")
	require.EqualValues(t, 1000, refused.Load(), "JWKS-01: an unknown key authenticates nobody")
	gotToken(t, machineToken(t, s, dcrtest.SignToken(t, jose.ES256, dcrtest.Keys().P256, "known", dcrtest.AssertionClaims(client.ID(), s.URL))))
}

// keyFailures are the ways in which a host of keys is unavailable.
var keyFailures = map[string]func(*keyHost){
	"down":      func(h *keyHost) { h.Close() },
	"500":       func(h *keyHost) { h.serve(http.StatusInternalServerError, jose.JSONWebKeySet{}) },
	"404":       func(h *keyHost) { h.serve(http.StatusNotFound, jose.JSONWebKeySet{}) },
	"redirects": func(h *keyHost) { h.serve(http.StatusFound, jose.JSONWebKeySet{}) },
}

// TestKeyHostThatFails: that nobody can look at the keys of a client that is in use is no reason for it to register
// again. One that was never used, and never had keys, is a client that did not authenticate (T68). Neither is an alarm.
func TestKeyHostThatFails(t *testing.T) {
	t.Parallel()
	for name, fail := range keyFailures {
		for _, endpoint := range dcrtest.AuthEndpoints {
			for _, used := range []bool{true, false} {
				t.Run("AUTH-02/T68/"+name+"/"+endpoint.Name+"/used="+strconv.FormatBool(used), func(t *testing.T) {
					t.Parallel()
					events, log := &dcrtest.Events{}, &bytes.Buffer{}
					s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
						Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}},
						Events:   dcr.EventSinks(events, dcr.LogEvents(slog.New(slog.NewTextHandler(log, nil)))),
					}})
					host := startKeyHost(t, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")))
					client := dcrtest.AuthClient{Server: s, Method: "private_key_jwt", Answer: s.Register(t, map[string]any{
						"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": host.URL + "/jwks",
						"redirect_uris": []string{dcrtest.RedirectURI}, "grant_types": []string{"authorization_code", "refresh_token"},
					})}
					if used {
						require.NoError(t, s.Store.TouchClient(t.Context(), client.ID(), time.Now(), time.Time{}))
					}
					events.Take()
					fail(host)
					form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "token": {"x"}}
					answer := client.Send(t, endpoint.Path, client.Method, form)
					if used {
						serverFailed(t, answer, dcr.ErrUnavailable)
						require.NotEmpty(t, answer.Header.Get("Retry-After"))
						require.Contains(t, answer.Body, "jwks_uri")
					} else {
						endpoint.RequireRefused(t, answer)
					}
					event := events.TakeOne(t)
					require.Equal(t, dcr.EventAuthenticationFailed, event.Kind)
					require.Equal(t, client.ID(), event.ClientID)
					require.Contains(t, log.String(), "authentication_failed")
					require.NotContains(t, log.String(), "level=ERROR")
				})
			}
		}
	}
}

// blindStore hides TouchClient by a method of another form.
type blindStore struct{ *dcr.MemoryStore }

func (blindStore) TouchClient() {}

// TestUsesThatNobodyNotes: where the storage can't note uses, no client is known to be unused.
func TestUsesThatNobodyNotes(t *testing.T) {
	t.Parallel()
	setup := machines(dcr.Config{Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}}})
	setup.Storage = blindStore{dcr.NewMemoryStore()}
	s := dcrtest.Start(t, setup)
	host := startKeyHost(t, jose.JSONWebKeySet{})
	client := registerWithURI(t, s, host.URL+"/jwks")
	host.Close()
	t.Run("AUTH-02/T68", func(t *testing.T) {
		t.Parallel()
		serverFailed(t, machineToken(t, s, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))), dcr.ErrUnavailable)
	})
}

// TestKeyHostThatDies: keys that were fetched once serve for a day.
func TestKeyHostThatDies(t *testing.T) {
	t.Parallel()
	for name, fail := range keyFailures {
		t.Run("T68/"+name, func(t *testing.T) {
			t.Parallel()
			hands := &clock{}
			s := dcrtest.Start(t, machines(dcr.Config{Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true, Now: hands.now}}}))
			host := startKeyHost(t, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "known", "", "")))
			client := registerWithURI(t, s, host.URL+"/jwks")
			token := func(kid string) dcrtest.Answer {
				return machineToken(t, s, dcrtest.SignToken(t, jose.ES256, dcrtest.Keys().P256, kid, dcrtest.AssertionClaims(client.ID(), s.URL)))
			}
			gotToken(t, token("known"))
			fail(host)
			for range 23 {
				hands.advance(time.Hour)
				gotToken(t, token("known"))
				serverFailed(t, token("unknown"), dcr.ErrUnavailable)
			}
			hands.advance(time.Hour)
			serverFailed(t, token("known"), dcr.ErrUnavailable)
		})
	}
}

// TestSlowKeyHost: 44 clients whose keys lie on one host do not make this server call it 44 times at once.
func TestSlowKeyHost(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, machines(dcr.Config{Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}}}))
	var underWay, most, fetches atomic.Int64
	four := make(chan struct{}) // closed when four are under way, which wait for each other
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := underWay.Add(1)
		defer underWay.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if fetches.Add(1) == 4 {
			close(four)
		}
		<-four
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")))
	}))
	t.Cleanup(host.Close)
	var assertions []string
	for i := range 44 {
		client := registerWithURI(t, s, host.URL+"/"+strconv.Itoa(i))
		assertions = append(assertions, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL)))
	}
	var group sync.WaitGroup
	var tokens atomic.Int64
	for _, assertion := range assertions {
		group.Go(func() {
			if machineToken(t, s, assertion).Status == http.StatusOK {
				tokens.Add(1)
			}
		})
	}
	group.Wait()
	t.Run("T68/one_host", func(t *testing.T) {
		require.EqualValues(t, 4, most.Load())
		require.EqualValues(t, 44, fetches.Load())
		require.EqualValues(t, 44, tokens.Load(), "all got their turn")
	})
}

func TestKeyHostInsideTheNetwork(t *testing.T) {
	t.Parallel()
	// T10: registered where the guard was open, called where it is not.
	store := dcr.NewMemoryStore()
	issuer := func(context.Context) string { return "https://issuer.example" }
	host := startKeyHost(t, dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")))
	open := machines(dcr.Config{Endpoints: dcr.Endpoints{Issuer: issuer}, Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}}})
	open.Storage = store
	client := registerWithURI(t, dcrtest.Start(t, open), host.URL+"/jwks")
	closed := machines(dcr.Config{Endpoints: dcr.Endpoints{Issuer: issuer}})
	closed.Storage = store
	answer := machineToken(t, dcrtest.Start(t, closed), dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), "https://issuer.example")))
	require.GreaterOrEqual(t, answer.Status, 400)
	require.NotContains(t, answer.Members, "access_token")
	require.NotContains(t, answer.Body, "127.0.0.1", "what this server sees of its network is for the operator")
	require.Zero(t, host.fetches.Load())
}

func TestKeyFetcherOfTheHost(t *testing.T) {
	t.Parallel()
	fetcher := &countingFetcher{set: dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))}
	s := dcrtest.Start(t, machines(dcr.Config{Outbound: dcr.Outbound{JWKSFetcher: fetcher}}))
	client := registerWithURI(t, s, "https://client.example/jwks")
	gotToken(t, machineToken(t, s, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))))
	require.Positive(t, fetcher.asked.Load())
}

type countingFetcher struct {
	set   jose.JSONWebKeySet
	asked atomic.Int64
}

var _ fosite.JWKSFetcherStrategy = (*countingFetcher)(nil)

func (f *countingFetcher) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	f.asked.Add(1)
	return &f.set, nil
}
