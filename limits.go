package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// Limits bounds what one request may bring, how often requests come, and how many clients there are of one
// registrant. Zero means the default.
type Limits struct {
	Body         int64 // bytes of a request body; default 128 KiB
	RedirectURIs int   // redirect URIs; default 64
	Elements     int   // elements of any other list; default 64
	Keys         int   // keys of a jwks; default 32
	URI          int   // characters of a URI; default 2048
	Text         int   // characters of a text for people; default 1024
	Name         int   // characters of a method or a grant type; default 256
	Scope        int   // characters of scope; default 4096
	Localized    int   // members with a language tag; default 128
	Extension    int   // bytes of an extension member; default 4096
	// AnonymousRecord is the bytes of the record of an anonymous registrant's client, as JSON; default 16 KiB.
	AnonymousRecord int

	// Rate bounds how often registration is asked for. Anonymous registrants have a limit for each caller
	// by default.
	Rate   RateLimit
	Quotas Quotas // Quotas bounds how many clients one registrant has
	// TrustedProxies are the addresses of the application's own proxies, such as
	// netip.MustParsePrefix("10.0.0.0/8"). A request from one of them comes from where its X-Forwarded-For
	// says; everybody else could write anything there (T16). With any of them set, a peer without an
	// address (a Unix socket) is a proxy, too. Limits and events know callers by it. Callers without an
	// address, as of an adapter that leaves RemoteAddr empty, are one caller.
	TrustedProxies []netip.Prefix
}

func (l Limits) withDefaults(now func() time.Time) Limits {
	setDefault(&l.Body, 128<<10)
	setDefault(&l.RedirectURIs, 64)
	setDefault(&l.Elements, 64)
	setDefault(&l.Keys, 32)
	setDefault(&l.URI, 2048)
	setDefault(&l.Text, 1024)
	setDefault(&l.Name, 256)
	setDefault(&l.Scope, 4096)
	setDefault(&l.Localized, 128)
	setDefault(&l.Extension, 4096)
	setDefault(&l.AnonymousRecord, 16<<10)
	setDefault(&l.Rate.IPv4Prefix, 32)
	setDefault(&l.Rate.IPv6Prefix, 64)
	if l.Rate.Limiter == nil {
		l.Rate.Limiter = memoryLimiter{ratelimit.New(now)}
	}
	l.TrustedProxies = ratelimit.Plain(l.TrustedProxies)
	return l
}

// members returns the limits of the metadata.
func (l Limits) members() *members.Limits {
	return &members.Limits{
		RedirectURIs: l.RedirectURIs, Elements: l.Elements, Keys: l.Keys, URI: l.URI, Text: l.Text,
		Name: l.Name, Scope: l.Scope, Localized: l.Localized, Extension: l.Extension,
	}
}

// recordBound is Limits.AnonymousRecord.
type recordBound int

// recordBesides is what a record has besides its metadata, in bytes: identifiers, times, hashes.
const recordBesides = 1 << 10

// check refuses what is allowed member by member and too much in all, of a registrant for whom nobody vouches
// (T66). Without a statement, which an update need not repeat, what is stored is at most six times as long as what was
// sent, the scopes, and some defaults.
func (bound recordBound) check(m *ClientMetadata, who *Registrant, sent int) error {
	if !who.isAnonymous() || m.SoftwareStatement == "" && 8*sent+6*len(m.Scope)+1024 < int(bound)-recordBesides {
		return nil
	}
	stored, err := m.appendMembers(append(make([]byte, 0, 1024), '{'))
	if size := len(stored) + 1 + recordBesides; err == nil && size > int(bound) {
		return refuseMetadata(fmt.Sprintf("The client metadata as a whole has %d bytes as stored, more than the %d that an anonymous registrant may have", size, bound))
	}
	return err
}

// problems says what is wrong with the limits.
func (l Limits) problems() []error {
	bounds := []int{l.RedirectURIs, l.Elements, l.Keys, l.URI, l.Text, l.Name, l.Scope, l.Localized, l.Extension, l.AnonymousRecord, int(l.Body), l.Quotas.PerInitialAccessToken}
	var found []error
	wrong := func(when bool, text string) {
		if when {
			found = append(found, errors.New(text))
		}
	}
	wrong(slices.Min(bounds) < 0, "Config.Limits has a bound below zero")
	names, rates := []string{"PerCaller", "Total"}, []Rate{l.Rate.PerCaller, l.Rate.Total}
	for i, r := range rates {
		wrong(r.bounds() && (r.Per <= 0 || r.Per > longestWait), fmt.Sprintf("Config.Limits.Rate.%s has a Count of %d and no Per: say in how long, such as time.Minute, up to a year", names[i], r.Count))
		wrong(r.Count == 0 && r.Per != 0, "Config.Limits.Rate."+names[i]+" has a Per and no Count: say how many")
	}
	wrong(l.Rate.IPv4Prefix < 0 || l.Rate.IPv4Prefix > 32, "Config.Limits.Rate.IPv4Prefix is not between 1 and 32 (0 means 32)")
	wrong(l.Rate.IPv6Prefix < 0 || l.Rate.IPv6Prefix > 128, "Config.Limits.Rate.IPv6Prefix is not between 1 and 128 (0 means 64)")
	for _, proxy := range l.TrustedProxies {
		wrong(!proxy.IsValid(), "Config.Limits.TrustedProxies has a prefix that is none")
	}
	return found
}

// warnings says what is legal in the limits and hardly meant.
func (l Limits) warnings() []string {
	if slices.ContainsFunc(l.TrustedProxies, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
		return []string{"Config.Limits.TrustedProxies trusts every address, so that callers choose the one that limits and events know them by: name your proxies only"}
	}
	return nil
}

// Rate is a token bucket: Count at once, and then refilled evenly, Count in each Per.
type Rate struct {
	Count int           // Count is how many pass at once
	Per   time.Duration // Per is in how long as many come again
}

func (r Rate) bounds() bool { return r.Count > 0 }

// RateLimit bounds how often registration is asked for, whatever comes of it, and how often clients are
// updated. Past a limit the answer is 429 with Retry-After, the body unread.
type RateLimit struct {
	// PerCaller bounds what comes from one address (Config.Limits.TrustedProxies). A zero Count means 60 in
	// a minute for anonymous registrants, KindSignedIn, KindAccessToken and whom Access refuses, and no limit
	// for others; one below zero means no limit at all. A limit that is set counts every POST of JSON, before Access is asked.
	//
	// Without TrustedProxies everybody behind a proxy is one caller.
	PerCaller Rate
	// Total bounds all callers together, after what PerCaller lets pass. Zero means no limit.
	Total Rate
	// IPv4Prefix and IPv6Prefix say how many bits of an address name a caller; default 32 and 64. Whoever
	// has an IPv6 address usually has the 2⁶⁴ of its network.
	IPv4Prefix, IPv6Prefix int
	// Limiter counts; nil means in memory, each process for itself. Several processes share one that stands
	// on what they have in common, such as Redis.
	Limiter Limiter
}

// Limiter counts what a RateLimit bounds. It must be safe for many goroutines.
type Limiter interface {
	// Take takes one from what a rate leaves to a key, and returns 0; or it takes nothing and returns how
	// long to wait. Keys are "total", and "caller:" and "update:" with a network: what several servers
	// share, such as one Redis, needs a prefix for each. An error is a failure of the server: nobody
	// registers then. A limiter that would rather let everybody pass returns 0 instead.
	Take(ctx context.Context, key string, r Rate) (wait time.Duration, err error)
}

// memoryLimiter counts in memory.
type memoryLimiter struct{ buckets *ratelimit.Buckets }

func (l memoryLimiter) Take(_ context.Context, key string, r Rate) (time.Duration, error) {
	return l.buckets.Take(key, r.Count, r.Per), nil
}

// Quotas bounds how many clients one registrant has at a time. Clients that were
// deleted do not count; expired ones do until a sweep removes them. The storage has to implement
// ClientLister. How many clients there are in all is bounded by the storage (ErrFull).
//
// Past a quota the answer is 403 access_denied. Quotas bound registrants with a name: where Access has Open
// as well, whoever is over a quota may register anonymously.
type Quotas struct {
	// PerSubject bounds the clients of one Registrant.Subject: a user, or whom an initial access token was
	// minted for. 0 means 100 for KindSignedIn and KindAccessToken, where the storage can count, and no bound
	// for others; below zero means none at all.
	PerSubject int
	// PerInitialAccessToken bounds the clients of one initial access token that exist at a time; 0 means no
	// bound. How many it may ever register is its own MaxUses.
	PerInitialAccessToken int
}
