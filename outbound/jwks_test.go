package outbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
)

// publisher is a client's server with a key set, in every respect under the control of the test.
type publisher struct {
	*httptest.Server
	fetches atomic.Int32
	now     atomic.Int64 // nanoseconds

	mu        sync.Mutex
	body      []byte
	status    int
	control   string
	mediaType string
	started   chan struct{} // receives once a request has arrived, where not nil
	proceed   chan struct{} // holds the answer back, where not nil
}

func publish(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{status: http.StatusOK, mediaType: "application/jwk-set+json", body: keySet(t, "1")}
	p.Server = serve(t, p.serve)
	return p
}

func (p *publisher) serve(w http.ResponseWriter, _ *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	body, status, control, mediaType, started, proceed := p.body, p.status, p.control, p.mediaType, p.started, p.proceed
	p.mu.Unlock()
	if started != nil {
		started <- struct{}{}
		<-proceed
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", control)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (p *publisher) change(change func(*publisher)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *publisher) fetcher(jwks JWKSOptions) *JWKSFetcher {
	return NewJWKSFetcher(Options{
		InsecureAllowLoopback: true,
		JWKS:                  jwks,
		Now:                   func() time.Time { return time.Unix(1_700_000_000, p.now.Load()) },
	})
}

func (p *publisher) pass(d time.Duration) { p.now.Add(int64(d)) }

func keySet(t *testing.T, kid string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: kid}}})
	require.NoError(t, err)
	return raw
}

func requireKey(t *testing.T, set *jose.JSONWebKeySet, err error, kid string) {
	t.Helper()
	require.NoError(t, err)
	require.Len(t, set.Keys, 1)
	require.Equal(t, kid, set.Keys[0].KeyID)
	require.Equal(t, "sig", set.Keys[0].Use, "fosite passes over keys without")
}

func requireUnavailable(t *testing.T, err error, fetches int32, p *publisher) {
	t.Helper()
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	require.Equal(t, fetches, p.fetches.Load())
}

func TestJWKSFetcherUnknownKeyIDs(t *testing.T) {
	t.Parallel()
	p := publish(t)
	fetcher := p.fetcher(JWKSOptions{})

	t.Run("JWKS-01/thousand_at_once", func(t *testing.T) {
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				set, err := fetcher.Resolve(t.Context(), p.URL, true)
				if err != nil || len(set.Keys) != 1 {
					t.Error(err, set)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 1, p.fetches.Load())
	})
	t.Run("JWKS-01/within_the_interval", func(t *testing.T) {
		p.change(func(p *publisher) { p.body = keySet(t, "2") })
		p.pass(59 * time.Second)
		set, err := fetcher.Resolve(t.Context(), p.URL, true)
		requireKey(t, set, err, "1")
		require.EqualValues(t, 1, p.fetches.Load())
	})
	t.Run("JWKS-01/after_the_interval", func(t *testing.T) {
		p.pass(time.Second)
		set, err := fetcher.Resolve(t.Context(), p.URL, false)
		requireKey(t, set, err, "1")
		set, err = fetcher.Resolve(t.Context(), p.URL, true)
		requireKey(t, set, err, "2")
		require.EqualValues(t, 2, p.fetches.Load())
	})
}

func TestJWKSFetcherLifetime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, control string
		lifetime      time.Duration
	}{
		{"default", "", 5 * time.Minute},
		{"longer", "public, max-age=86400", 5 * time.Minute},
		{"shorter", `Max-Age="120"`, 2 * time.Minute},
		{"shortest", "max-age=0", time.Minute},
		{"no_store", "no-store", time.Minute},
		{"malformed", "max-age=-1, max-age=x, =", 5 * time.Minute},
	} {
		t.Run("JWKS-01/cache_control_"+row.name, func(t *testing.T) {
			t.Parallel()
			p := publish(t)
			p.control = row.control
			fetcher := p.fetcher(JWKSOptions{})
			_, err := fetcher.Resolve(t.Context(), p.URL, false)
			require.NoError(t, err)
			p.change(func(p *publisher) { p.body = keySet(t, "2") })

			p.pass(row.lifetime - 1)
			set, err := fetcher.Resolve(t.Context(), p.URL, false)
			requireKey(t, set, err, "1")
			p.pass(1)
			set, err = fetcher.Resolve(t.Context(), p.URL, false)
			requireKey(t, set, err, "2")
		})
	}
}

func TestJWKSFetcherFailures(t *testing.T) {
	t.Parallel()
	fail := func(p *publisher) { p.status = http.StatusInternalServerError }
	t.Run("JWKS-01/remembered_for_a_moment", func(t *testing.T) {
		t.Parallel()
		p := publish(t)
		p.change(fail)
		fetcher := p.fetcher(JWKSOptions{})
		for range 100 {
			_, err := fetcher.Resolve(t.Context(), p.URL, true)
			require.ErrorIs(t, err, ErrStatus)
			requireUnavailable(t, err, 1, p)
		}
		p.pass(5 * time.Second)
		p.change(func(p *publisher) { p.status = http.StatusOK })
		set, err := fetcher.Resolve(t.Context(), p.URL, false)
		requireKey(t, set, err, "1")
	})
	t.Run("JWKS-01/earlier_set_serves_on", func(t *testing.T) {
		t.Parallel()
		p := publish(t)
		fetcher := p.fetcher(JWKSOptions{})
		_, err := fetcher.Resolve(t.Context(), p.URL, false)
		require.NoError(t, err)
		p.change(fail)
		p.pass(time.Minute)
		_, err = fetcher.Resolve(t.Context(), p.URL, true)
		requireUnavailable(t, err, 2, p)
		p.pass(59 * time.Second)
		set, err := fetcher.Resolve(t.Context(), p.URL, false)
		requireKey(t, set, err, "1")
		_, err = fetcher.Resolve(t.Context(), p.URL, true)
		requireUnavailable(t, err, 2, p) // AUTH-02: whether there is another key by now, nobody can say
		p.pass(time.Second)
		p.change(func(p *publisher) { p.status = http.StatusOK })
		set, err = fetcher.Resolve(t.Context(), p.URL, true)
		requireKey(t, set, err, "1")
		require.EqualValues(t, 3, p.fetches.Load())
	})
	t.Run("JWKS-01/set_expires_while_a_failure_is_remembered", func(t *testing.T) {
		t.Parallel()
		p := publish(t)
		fetcher := p.fetcher(JWKSOptions{})
		_, err := fetcher.Resolve(t.Context(), p.URL, false)
		require.NoError(t, err)
		p.change(fail)
		p.pass(24*time.Hour - time.Second)
		set, err := fetcher.Resolve(t.Context(), p.URL, false)
		requireKey(t, set, err, "1")
		require.EqualValues(t, 2, p.fetches.Load())
		p.pass(time.Second)
		_, err = fetcher.Resolve(t.Context(), p.URL, false)
		requireUnavailable(t, err, 2, p)
	})
	t.Run("JWKS-01/expired_set_serves_no_more", func(t *testing.T) {
		t.Parallel()
		p := publish(t)
		fetcher := p.fetcher(JWKSOptions{})
		_, err := fetcher.Resolve(t.Context(), p.URL, false)
		require.NoError(t, err)
		p.change(fail)
		p.pass(24 * time.Hour)
		for range 10 {
			_, err = fetcher.Resolve(t.Context(), p.URL, false)
			requireUnavailable(t, err, 2, p)
		}
	})
}

// TestJWKSFetcherServesOn: a host that is down takes no client with it for a day. One that answers, and has no keys to
// trust, does.
func TestJWKSFetcherServesOn(t *testing.T) {
	t.Parallel()
	body := func(text string) func(*publisher) { return func(p *publisher) { p.body = []byte(text) } }
	status := func(code int) func(*publisher) { return func(p *publisher) { p.status = code } }
	for name, row := range map[string]struct {
		change   func(*publisher)
		servesOn bool
	}{
		"500": {status(500), true}, "429": {status(429), true}, "404": {status(404), true}, "403": {status(403), true}, "302": {status(302), true},
		"no_json": {body("<html>"), true}, "half_a_set": {body(`{"keys":[`), true},
		"media_type": {func(p *publisher) { p.mediaType = "text/html" }, true},
		"410":        {status(410), false}, "no_keys": {body(`{"keys":[]}`), false}, "private": {body(`{"keys":[{"kty":"EC","d":"AQAB"}]}`), false},
	} {
		t.Run("T68/"+name, func(t *testing.T) {
			t.Parallel()
			p := publish(t)
			fetcher := p.fetcher(JWKSOptions{})
			_, err := fetcher.Resolve(t.Context(), p.URL, false)
			require.NoError(t, err)
			p.change(row.change)
			p.pass(time.Minute)
			_, err = fetcher.Resolve(t.Context(), p.URL, true)
			requireUnavailable(t, err, 2, p)
			p.pass(4*time.Minute - 1)
			set, err := fetcher.Resolve(t.Context(), p.URL, false)
			requireKey(t, set, err, "1")
			require.EqualValues(t, 2, p.fetches.Load(), "its lifetime has not ended")
			p.pass(1)
			set, err = fetcher.Resolve(t.Context(), p.URL, false)
			if !row.servesOn {
				requireUnavailable(t, err, 3, p)
				return
			}
			requireKey(t, set, err, "1")
			for range 100 {
				set, err = fetcher.Resolve(t.Context(), p.URL, false)
				requireKey(t, set, err, "1")
			}
			require.EqualValues(t, 3, p.fetches.Load(), "once a minute")
			p.pass(24*time.Hour - 5*time.Minute - 1)
			set, err = fetcher.Resolve(t.Context(), p.URL, false)
			requireKey(t, set, err, "1")
			p.pass(1)
			_, err = fetcher.Resolve(t.Context(), p.URL, false)
			requireUnavailable(t, err, 4, p)
		})
	}
}

// TestJWKSFetcherForgetsDeadURLs: URLs that gave no keys make room before those that did.
// TestJWKSFetcherPace: many clients that name one host do not make this server flood it, and cost those nothing whose keys
// are known (T51).
func TestJWKSFetcherPace(t *testing.T) {
	t.Parallel()
	p := publish(t)
	fetcher := p.fetcher(JWKSOptions{RefetchInterval: 10 * time.Second})
	_, err := fetcher.Resolve(t.Context(), p.URL+"/good", false)
	require.NoError(t, err)
	for i := range 200 {
		_, err = fetcher.Resolve(t.Context(), p.URL+"/"+strconv.Itoa(i), false)
	}
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorIs(t, err, fosite.ErrTemporarilyUnavailable, "AUTH-02")
	require.EqualValues(t, firstFetches, p.fetches.Load())
	p.pass(30 * time.Second)
	p.change(func(p *publisher) { p.body = keySet(t, "2") })
	set, err := fetcher.Resolve(t.Context(), p.URL+"/good", true)
	requireKey(t, set, err, "2")
	p.pass(31 * time.Second)
	_, err = fetcher.Resolve(t.Context(), p.URL+"/new", false)
	require.NoError(t, err)
}

func TestJWKSFetcherForgetsDeadURLs(t *testing.T) {
	t.Parallel()
	p := publish(t)
	fetcher := p.fetcher(JWKSOptions{Entries: 3})
	_, err := fetcher.Resolve(t.Context(), p.URL+"/good", false)
	require.NoError(t, err)
	p.change(func(p *publisher) { p.status = http.StatusNotFound })
	for i := range 10 {
		p.pass(time.Second)
		_, err := fetcher.Resolve(t.Context(), p.URL+"/"+strconv.Itoa(i), false)
		require.ErrorIs(t, err, ErrStatus)
	}
	require.LessOrEqual(t, len(fetcher.entries), 3)
	set, err := fetcher.Resolve(t.Context(), p.URL+"/good", false)
	requireKey(t, set, err, "1")
	require.EqualValues(t, 11, p.fetches.Load(), "T68")
}

func TestJWKSFetcherRefusesSets(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ body, hint string }{
		"T30/symmetric":      {`{"keys":[{"kty":"oct","k":"AQAB"}]}`, "holds a symmetric key"},
		"T30/private":        {`{"keys":[{"kty":"EC","d":"AQAB"}]}`, "holds a private key"},
		"T30/html":           {`<html>`, "is not a JWK Set"},
		"T30/empty":          {`{"keys":[]}`, "has no keys"},
		"T30/nothing_usable": {`{"keys":[{"kty":"new"}]}`, "has no key of a supported kty and crv"},
		"T18/name_twice":     {`{"keys":[{"kty":"EC","kty":"EC"}]}`, "holds a malformed key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := publish(t)
			p.body = []byte(row.body)
			set, err := p.fetcher(JWKSOptions{}).Resolve(t.Context(), p.URL, false)
			require.Nil(t, set)
			requireUnavailable(t, err, 1, p)
			require.Contains(t, fosite.ErrorToRFC6749Error(err).GetDescription(), row.hint)
		})
	}
	t.Run("T30/too_many_keys", func(t *testing.T) {
		t.Parallel()
		p := publish(t)
		p.body = []byte(`{"keys":[{"kty":"new"},{"kty":"new"}]}`)
		_, err := p.fetcher(JWKSOptions{Keys: 1}).Resolve(t.Context(), p.URL, false)
		require.Contains(t, fosite.ErrorToRFC6749Error(err).GetDescription(), "has too many keys")
	})
}

func TestJWKSFetcherGuard(t *testing.T) {
	t.Parallel()
	p := publish(t)
	for name, location := range map[string]string{
		"T10/loopback": p.URL, "T10/metadata": "https://169.254.169.254/", "T10/http": "http://example.com/",
		"T10/no_url": "::", "T10/empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewJWKSFetcher(Options{}).Resolve(t.Context(), location, false)
			requireUnavailable(t, err, 0, p)
			require.NotContains(t, fosite.ErrorToRFC6749Error(err).GetDescription(), "169.254", "an address of this network")
		})
	}
}

// TestJWKSFetcherCancellation: who gives up neither waits for the others nor takes their answer away.
func TestJWKSFetcherCancellation(t *testing.T) {
	t.Parallel()
	p := publish(t)
	p.started, p.proceed = make(chan struct{}), make(chan struct{})
	fetcher := p.fetcher(JWKSOptions{})

	leader, cancel := context.WithCancel(t.Context())
	led := make(chan error, 1)
	go func() {
		_, err := fetcher.Resolve(leader, p.URL, false)
		led <- err
	}()
	<-p.started

	gone, leave := context.WithCancelCause(t.Context())
	leave(errors.New("gone"))
	_, err := fetcher.Resolve(gone, p.URL, false)
	require.ErrorIs(t, err, fosite.ErrTemporarilyUnavailable, "nobody knows whether the keys are good")
	require.ErrorIs(t, err, context.Cause(gone))
	require.EqualValues(t, 1, p.fetches.Load())

	cancel()
	close(p.proceed)
	require.NoError(t, <-led)
	set, err := fetcher.Resolve(t.Context(), p.URL, false)
	requireKey(t, set, err, "1")
	require.EqualValues(t, 1, p.fetches.Load())
}

func TestJWKSFetcherForgets(t *testing.T) {
	t.Parallel()
	p := publish(t)
	fetcher := p.fetcher(JWKSOptions{Entries: 3})
	for i := range 10 {
		_, err := fetcher.Resolve(t.Context(), p.URL+"/"+strconv.Itoa(i), false)
		require.NoError(t, err)
		require.LessOrEqual(t, len(fetcher.entries), 3)
		p.pass(time.Second)
	}
	for i := 7; i < 10; i++ {
		_, err := fetcher.Resolve(t.Context(), p.URL+"/"+strconv.Itoa(i), false)
		require.NoError(t, err)
	}
	require.EqualValues(t, 10, p.fetches.Load(), "the latest are remembered")
}

// TestJWKSFetcherResultIsTheCallers changes what was returned, and must not see it again.
func TestJWKSFetcherResultIsTheCallers(t *testing.T) {
	t.Parallel()
	p := publish(t)
	fetcher := p.fetcher(JWKSOptions{})
	set, err := fetcher.Resolve(t.Context(), p.URL, false)
	require.NoError(t, err)
	set.Keys[0] = jose.JSONWebKey{}
	set, err = fetcher.Resolve(t.Context(), p.URL, false)
	requireKey(t, set, err, "1")
}
