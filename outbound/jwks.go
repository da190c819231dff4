package outbound

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

var _ fosite.JWKSFetcherStrategy = (*JWKSFetcher)(nil)

// JWKSFetcher fetches the key sets behind the jwks_uri of clients for fosite.Config.JWKSFetcherStrategy,
// through the client of NewClient. It remembers sets and failures, so that whoever sends assertions with
// keys that do not exist cannot make it a source of requests: see JWKSOptions. It is safe for concurrent
// use, and for one URL at most one fetch is under way.
//
// A set is refused as a whole where it holds a private, symmetric, weak or malformed key; keys of unknown
// types are left out.
type JWKSFetcher struct {
	client  *http.Client
	options Options

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
}

// NewJWKSFetcher returns a fetcher that remembers nothing yet.
func NewJWKSFetcher(o Options) *JWKSFetcher {
	o = o.withDefaults()
	return &JWKSFetcher{client: NewClient(o), options: o, entries: make(map[string]*jwksEntry)}
}

// Resolve implements fosite.JWKSFetcherStrategy. It returns the remembered set while its lifetime lasts.
// With ignoreCache it fetches again, unless the last fetch was less than JWKSOptions.RefetchInterval ago:
// then the remembered set is returned all the same. Where that fetch fails, its error is returned once,
// and the remembered set serves until its lifetime ends.
//
// Keys that can verify signatures and do not state a use are returned with the use "sig", without which
// fosite passes over them; certificates are left out. The slice of keys is the caller's. The error is an
// invalid_client of fosite: its hint is fit for the client, its debug and its cause are for the operator.
func (f *JWKSFetcher) Resolve(ctx context.Context, location string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	for {
		entry, known, pending := f.join(location, ignoreCache)
		switch {
		case known:
			return answer(entry)
		case pending == nil:
			return f.refresh(ctx, location)
		}
		select {
		case <-pending: // what this fetch brought is fresh enough for all who waited
			ignoreCache = false
		case <-ctx.Done():
			return nil, unavailable("could not be fetched in time", context.Cause(ctx))
		}
	}
}

// join returns what is known of a URL, or else what to wait for. Where it is nil, no fetch was under way:
// the caller has to fetch, and refresh ends what others wait for.
func (f *JWKSFetcher) join(location string, ignoreCache bool) (entry jwksEntry, known bool, pending <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entries[location]
	if e == nil {
		f.makeRoom()
		e = &jwksEntry{}
		f.entries[location] = e
	}
	if !f.options.Now().Before(e.expires) {
		e.set = nil
	}
	if f.settled(e, ignoreCache) {
		return *e, true, nil
	}
	if e.pending != nil {
		return jwksEntry{}, false, e.pending
	}
	e.pending = make(chan struct{})
	return jwksEntry{}, false, nil
}

// settled reports whether an entry answers without a fetch.
func (f *JWKSFetcher) settled(e *jwksEntry, ignoreCache bool) bool {
	age := f.options.Now().Sub(e.fetched)
	if e.set != nil {
		return !ignoreCache || age < f.options.JWKS.RefetchInterval
	}
	return e.err != nil && age < f.options.JWKS.RetryInterval
}

// makeRoom forgets the URL fetched longest ago where there is no room for another. Fetches under way are
// not forgotten: requests bound their number, not Entries.
func (f *JWKSFetcher) makeRoom() {
	if len(f.entries) < f.options.JWKS.Entries {
		return
	}
	var oldest string
	for location, e := range f.entries {
		if e.pending != nil {
			continue
		}
		if oldest == "" || e.fetched.Before(f.entries[oldest].fetched) {
			oldest = location
		}
	}
	delete(f.entries, oldest)
}

// refresh fetches on behalf of all who wait. It does not end with the request that happens to be the first:
// that one could be cancelled by whoever sent it. The time of the client bounds it.
func (f *JWKSFetcher) refresh(ctx context.Context, location string) (*jose.JSONWebKeySet, error) {
	fresh := jwksEntry{err: unavailable("could not be fetched", nil)}
	defer func() { f.settle(location, fresh) }() // also after a panic: others wait
	set, lifetime, err := f.fetch(context.WithoutCancel(ctx), location)
	now := f.options.Now()
	fresh = jwksEntry{fetched: now, err: err, set: set, expires: now.Add(lifetime)}
	return answer(fresh)
}

// settle ends a fetch. One that failed leaves the set that was there.
func (f *JWKSFetcher) settle(location string, fresh jwksEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entries[location]
	if fresh.set == nil {
		fresh.set, fresh.expires = e.set, e.expires
	}
	close(e.pending)
	*e = fresh
}

// fetch gets a set and how long it may be used.
func (f *JWKSFetcher) fetch(ctx context.Context, location string) (*jose.JSONWebKeySet, time.Duration, error) {
	body, header, err := fetch(ctx, f.client, location, []string{"application/jwk-set+json", "application/json"})
	if err != nil {
		return nil, 0, unavailable("could not be fetched", err)
	}
	set, err := keyset.Parse(body, keyset.Limits{Keys: f.options.JWKS.Keys})
	if err != nil {
		return nil, 0, unavailable(err.Error(), err)
	}
	set = keyset.ForSignatures(set)
	for i := range set.Keys {
		set.Keys[i].Certificates = nil // nobody looks at them, and they are large
	}
	return set, f.options.JWKS.lifetime(header), nil
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

// answer returns the set of an entry, or the error where it has none.
func answer(e jwksEntry) (*jose.JSONWebKeySet, error) {
	if e.set == nil {
		return nil, e.err
	}
	return &jose.JSONWebKeySet{Keys: slices.Clone(e.set.Keys)}, nil
}

// unavailable is the error of a client whose keys nobody can look at: it cannot be authenticated. The
// reason continues "The key set at the jwks_uri of the OAuth 2.0 Client".
func unavailable(reason string, cause error) error {
	err := fosite.ErrInvalidClient.WithHintf("The key set at the jwks_uri of the OAuth 2.0 Client %s.", reason)
	if cause == nil {
		return err
	}
	return err.WithWrap(cause).WithDebug(cause.Error())
}
