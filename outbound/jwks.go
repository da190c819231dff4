package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

var _ fosite.JWKSFetcherStrategy = (*JWKSFetcher)(nil)

// JWKSFetcher fetches the key sets behind the jwks_uri of clients for fosite.Config.JWKSFetcherStrategy,
// through the client of NewClient. It remembers sets and failures, so that whoever sends assertions with
// keys that do not exist cannot make it a source of requests: see JWKSOptions. Of one site at most 60 URLs in a minute are
// fetched of which no keys are known. It is safe for concurrent use, and for one URL at most one fetch is under way.
//
// A set is refused as a whole where it holds a private, symmetric, weak or malformed key; keys of unknown
// types are left out.
type JWKSFetcher struct {
	client  *http.Client
	options Options
	pace    Pace // of URLs of which no keys are known

	mu      sync.Mutex
	entries map[string]*jwksEntry
}

// jwksEntry is what is known of one URL, guarded by JWKSFetcher.mu.
type jwksEntry struct {
	pending chan struct{} // closed when the fetch under way is done; nil while none is
	fetched time.Time     // when the last fetch ended, successful or not
	err     error         // why it failed
	set     *jose.JSONWebKeySet
	expires time.Time // when the set does
	until   time.Time // when it serves no more, though nobody answers for it
}

// firstFetches is how many URLs of one site are fetched in a minute of which no keys are known: clients are free, and many of
// them could make this server flood whom they name (T51).
const firstFetches = 60

// servesOn is how long a set serves while its host is unavailable, from its fetch (T68).
const servesOn = 24 * time.Hour

// NewJWKSFetcher returns a fetcher that remembers nothing yet.
func NewJWKSFetcher(o Options) *JWKSFetcher {
	o = o.withDefaults()
	return &JWKSFetcher{client: NewClient(o), options: o, pace: Pace{Most: firstFetches}, entries: make(map[string]*jwksEntry)}
}

// Resolve implements fosite.JWKSFetcherStrategy. It returns the remembered set while its lifetime lasts, and
// fetches again afterwards. With ignoreCache it fetches in any case, unless the last fetch was less than
// JWKSOptions.RefetchInterval ago: then what that brought is returned, the set or the error.
//
// Without ignoreCache the remembered set serves for 24 hours while its host is unavailable: it does not
// answer, or with another status than 200 and 410, another media type or no JSON. A host that answers with a
// set which is refused, or with 410, takes the remembered one away at the end of its lifetime.
//
// Keys that can verify signatures and do not state a use are returned with the use "sig", without which
// fosite passes over them; certificates are left out. The slice of keys is the caller's. The error is an
// invalid_client of fosite, or temporarily_unavailable where the time of this server is up, and not that of the host
// of the keys: its hint is fit for the client, its debug and its cause are for the operator.
func (f *JWKSFetcher) Resolve(ctx context.Context, location string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	refetch := ignoreCache
	for {
		entry, known, pending := f.join(location, refetch)
		switch {
		case known:
			return entry.answer(ignoreCache)
		case pending == nil:
			return f.refresh(ctx, location, ignoreCache)
		}
		select {
		case <-pending: // what this fetch brought is fresh enough for all who waited
			refetch = false
		case <-ctx.Done():
			return nil, because(fosite.ErrTemporarilyUnavailable, "could not be fetched in time", context.Cause(ctx))
		}
	}
}

// join returns what is known of a URL, or else what to wait for. Where it is nil, no fetch was under way:
// the caller has to fetch, and refresh ends what others wait for.
func (f *JWKSFetcher) join(location string, refetch bool) (entry jwksEntry, known bool, pending <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entries[location]
	if e == nil {
		f.makeRoom()
		e = &jwksEntry{}
		f.entries[location] = e
	}
	if !f.options.Now().Before(e.until) {
		e.set = nil
	}
	if f.settled(e, refetch) {
		return *e, true, nil
	}
	if e.pending != nil {
		return jwksEntry{}, false, e.pending
	}
	e.pending = make(chan struct{})
	return jwksEntry{}, false, nil
}

// settled reports whether an entry answers without a fetch.
func (f *JWKSFetcher) settled(e *jwksEntry, refetch bool) bool {
	now := f.options.Now()
	age := now.Sub(e.fetched)
	if e.set != nil {
		return !refetch && now.Before(e.expires) || age < f.options.JWKS.RefetchInterval
	}
	return e.err != nil && age < f.options.JWKS.RetryInterval
}

// makeRoom forgets the URL fetched longest ago where there is no room for another, and first those that gave no
// keys. Fetches under way are not forgotten: requests bound their number, not Entries.
func (f *JWKSFetcher) makeRoom() {
	if len(f.entries) < f.options.JWKS.Entries {
		return
	}
	var oldest string
	for location, e := range f.entries {
		if e.pending != nil {
			continue
		}
		if oldest == "" || e.lessThan(f.entries[oldest]) {
			oldest = location
		}
	}
	delete(f.entries, oldest)
}

// lessThan reports whether an entry is worth less than another.
func (e *jwksEntry) lessThan(other *jwksEntry) bool {
	if (e.set == nil) != (other.set == nil) {
		return e.set == nil
	}
	return e.fetched.Before(other.fetched)
}

// refresh fetches on behalf of all who wait. It does not end with the request that happens to be the first:
// that one could be cancelled by whoever sent it. The time of the client bounds it.
func (f *JWKSFetcher) refresh(ctx context.Context, location string, ignoreCache bool) (answer *jose.JSONWebKeySet, err error) {
	fresh := jwksEntry{err: unavailable("could not be fetched", nil)}
	defer func() { // also after a panic: others wait
		entry := f.settle(location, fresh)
		answer, err = entry.answer(ignoreCache)
	}()
	set, lifetime, err := f.fetch(context.WithoutCancel(ctx), location)
	now := f.options.Now()
	fresh = jwksEntry{fetched: now, err: err, set: set, expires: now.Add(lifetime), until: now.Add(max(lifetime, servesOn))}
	return answer, err
}

// settle ends a fetch. One that failed leaves the set that was there.
func (f *JWKSFetcher) settle(location string, fresh jwksEntry) jwksEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entries[location]
	if fresh.set == nil {
		fresh.set, fresh.expires, fresh.until = e.set, e.expires, e.until
	}
	if withdrawn(fresh.err) {
		fresh.until = fresh.expires
	}
	if !fresh.fetched.Before(fresh.until) {
		fresh.set = nil
	}
	close(e.pending)
	*e = fresh
	return fresh
}

// withdrawn reports whether a host has answered, and has no set that can be used. By 410 it says that there is none any
// more, and on purpose (RFC 9110, section 15.5.11).
func withdrawn(err error) bool {
	var refused *refusedSet
	var status *StatusError
	return errors.As(err, &refused) || errors.As(err, &status) && status.Status == http.StatusGone
}

// refusedSet says why a set is refused.
type refusedSet struct{ error }

// fetch gets a set and how long it may be used.
func (f *JWKSFetcher) fetch(ctx context.Context, location string) (*jose.JSONWebKeySet, time.Duration, error) {
	if !f.mayBegin(location) {
		return nil, 0, because(fosite.ErrTemporarilyUnavailable, "could not be fetched yet", ErrBusy)
	}
	busy := new(atomic.Bool)
	ctx = context.WithValue(ctx, busyKey{}, busy)
	body, header, err := fetch(ctx, f.client, location, []string{"application/jwk-set+json", "application/json"})
	if err != nil && busy.Load() {
		return nil, 0, because(fosite.ErrTemporarilyUnavailable, "could not be fetched yet", err)
	}
	if err != nil {
		return nil, 0, unavailable("could not be fetched", err)
	}
	set, err := keyset.Parse(body, keyset.Limits{Keys: f.options.JWKS.Keys})
	if err != nil && json.Valid(body) {
		return nil, 0, unavailable(err.Error(), &refusedSet{err})
	}
	if err != nil {
		return nil, 0, unavailable(err.Error(), err)
	}
	set = keyset.ForSignatures(set)
	for i := range set.Keys {
		set.Keys[i].Certificates = nil // nobody looks at them, and they are large
	}
	return set, f.options.JWKS.lifetime(header), nil
}

// mayBegin counts a fetch of a URL of which no keys are known.
func (f *JWKSFetcher) mayBegin(location string) bool {
	f.mu.Lock()
	known := f.entries[location].set != nil
	f.mu.Unlock()
	u, err := url.Parse(location)
	return known || err != nil || f.pace.Allow(Site(u.Hostname()), f.options.Now())
}

// lifetime is how long a set may be used: Lifetime, or what the header asks for if that is less, but not
// under RefetchInterval (RFC 9111, section 5.2.2).
func (o JWKSOptions) lifetime(header http.Header) time.Duration {
	lifetime := o.Lifetime
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			lifetime = 0
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				lifetime = min(lifetime, time.Duration(seconds)*time.Second)
			}
		}
	}
	return max(lifetime, o.RefetchInterval)
}

// answer returns the set of an entry, or the error where it has none. Who wants no remembered set gets none while the
// last fetch failed: that says nothing about the keys that there are now.
func (e *jwksEntry) answer(ignoreCache bool) (*jose.JSONWebKeySet, error) {
	if e.set == nil || ignoreCache && e.err != nil {
		return nil, e.err
	}
	return &jose.JSONWebKeySet{Keys: slices.Clone(e.set.Keys)}, nil
}

// unavailable is the error of a client whose keys nobody can look at: it cannot be authenticated. The
// reason continues "The key set at the jwks_uri of the OAuth 2.0 Client".
func unavailable(reason string, cause error) error {
	return because(fosite.ErrInvalidClient, reason, cause)
}

func because(kind *fosite.RFC6749Error, reason string, cause error) error {
	err := kind.WithHintf("The key set at the jwks_uri of the OAuth 2.0 Client %s.", reason)
	if cause == nil {
		return err
	}
	return err.WithWrap(cause).WithDebug(cause.Error())
}
