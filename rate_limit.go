package dcr

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Rate is a token bucket: Count at once, and then refilled evenly, Count in each Per.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) bounds() bool { return r.Count > 0 }

// longestPer bounds the time of a rate.
const longestPer = 366 * 24 * time.Hour

// RateLimit bounds how often registration is asked for, whatever comes of it, and how often
// clients are updated. Past a limit the answer is 429 with Retry-After, the body unread.
type RateLimit struct {
	// PerCaller bounds what comes from one address (Config.TrustedProxies). A zero Count
	// means 60 in a minute for anonymous registrants and whom Access refuses, and no limit for
	// others; one below zero means no limit at all. A limit that is set counts every POST of JSON, before Access is
	// asked.
	//
	// Without TrustedProxies everybody behind a proxy is one caller.
	PerCaller Rate
	// Total bounds all callers together, after what PerCaller lets pass. Zero means no limit.
	Total Rate
	// IPv4Prefix and IPv6Prefix say how many bits of an address name a caller; default 32
	// and 64. Whoever has an IPv6 address usually has the 2⁶⁴ of its network.
	IPv4Prefix, IPv6Prefix int
	// Limiter counts; nil means in memory, each process for itself. Several processes
	// share one that stands on what they have in common, such as Redis.
	Limiter Limiter
}

// Limiter counts what a RateLimit bounds. It must be safe for many goroutines.
type Limiter interface {
	// Take takes one from what a rate leaves to a key, and returns 0; or it takes nothing
	// and returns how long to wait. Keys are "total", and "caller:" and "update:" with a network: what
	// several servers share, such as one Redis, needs a prefix for each. An error is a failure of the server: nobody registers
	// then. A limiter that would rather let everybody pass returns 0 instead.
	Take(ctx context.Context, key string, r Rate) (wait time.Duration, err error)
}

// defaultPerCaller lets a whole office behind one address set up its clients, and keeps a
// program from filling a storage.
var defaultPerCaller = Rate{Count: 60, Per: time.Minute}

func (l RateLimit) withDefaults(now func() time.Time) RateLimit {
	setDefault(&l.IPv4Prefix, 32)
	setDefault(&l.IPv6Prefix, 64)
	if l.Limiter == nil {
		l.Limiter = newMemoryLimiter(now)
	}
	return l
}

// limited asks an access rule within the limits. A limit for each caller that is set comes
// before the rule, the default, which is for anonymous registrants and for those whom the
// rule refuses, after it; and the limit of all together after either, so that nobody uses it
// up alone.
func (r *registry) limited(ctx context.Context, ask func() (*Registrant, error)) (*Registrant, error) {
	limit := &r.cfg.RateLimit
	byDefault := limit.PerCaller.Count == 0
	if !byDefault {
		if err := r.take(ctx, "caller:"+r.caller(ctx), limit.PerCaller); err != nil {
			return nil, err
		}
		if err := r.take(ctx, "total", limit.Total); err != nil {
			return nil, err
		}
	}
	registrant, refusal := ask()
	if !byDefault {
		return registrant, refusal
	}
	if refusal != nil || registrant.Anonymous {
		if err := r.take(ctx, "caller:"+r.caller(ctx), defaultPerCaller); err != nil {
			return nil, err
		}
	}
	if err := r.take(ctx, "total", limit.Total); err != nil {
		return nil, err
	}
	return registrant, refusal
}

// limitUpdate bounds updates as registrations are, each by itself: they cost as much, and may
// have the server fetch what the client points at.
func (r *registry) limitUpdate(ctx context.Context, client *Client) error {
	bound := r.cfg.RateLimit.PerCaller
	if bound.Count == 0 && client.Origin.Anonymous {
		bound = defaultPerCaller
	}
	return r.take(ctx, "update:"+r.caller(ctx), bound)
}

func (r *registry) take(ctx context.Context, key string, bound Rate) error {
	if !bound.bounds() {
		return nil
	}
	wait, err := r.cfg.RateLimit.Limiter.Take(ctx, key, bound)
	switch {
	case err != nil:
		return failure(err)
	case wait > 0:
		return &tooMany{tooManyFrom(visitOf(ctx)), wait}
	}
	return nil
}

// tooManyFrom tells the operator, who reads the event, of a proxy that is taken for one caller.
func tooManyFrom(v *visit) error {
	if v == nil || !v.unheeded {
		return ErrTooManyRequests
	}
	return ErrTooManyRequests.WithDebug("The peer sent X-Forwarded-For. If it is a proxy of yours, name it in Config.TrustedProxies, or all behind it are one caller.")
}

// caller names a caller by the network that its address lies in.
func (r *registry) caller(ctx context.Context) string {
	var address netip.Addr
	if v := visitOf(ctx); v != nil {
		address = v.address
	}
	bits := r.cfg.RateLimit.IPv6Prefix
	if address.Is4() {
		bits = r.cfg.RateLimit.IPv4Prefix
	}
	network, err := address.Prefix(bits)
	if err != nil {
		return "unknown" // a Unix socket, or an adapter that leaves RemoteAddr empty
	}
	return network.String()
}

// tooMany is a refusal that says how long to wait.
type tooMany struct {
	error
	wait time.Duration
}

func (e *tooMany) Unwrap() error { return e.error }

// waitOf returns how long an error tells to wait, in whole seconds.
func waitOf(err error) int {
	var e *tooMany
	if !errors.As(err, &e) {
		return retryAfter
	}
	return int((min(e.wait, longestPer) + time.Second - 1) / time.Second)
}

// memoryLimiter keeps a bucket for each of the callers that were seen last: the bound is
// on memory, and who is forgotten starts anew. It is in parts, so that callers do not
// wait for each other.
type memoryLimiter struct {
	now   func() time.Time
	seed  maphash.Seed
	parts [64]*lru.Cache[string, *rate.Limiter]
}

const callersPerPart = 1024

func newMemoryLimiter(now func() time.Time) *memoryLimiter {
	l := &memoryLimiter{now: now, seed: maphash.MakeSeed()}
	for i := range l.parts {
		l.parts[i], _ = lru.New[string, *rate.Limiter](callersPerPart) // fails for a bound below one
	}
	return l
}

// Take takes one from the bucket of a key.
func (l *memoryLimiter) Take(_ context.Context, key string, r Rate) (time.Duration, error) {
	part := l.parts[maphash.String(l.seed, key)%uint64(len(l.parts))]
	bucket, ok := part.Get(key)
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(float64(r.Count)/r.Per.Seconds()), r.Count)
		if earlier, found, _ := part.PeekOrAdd(key, bucket); found {
			bucket = earlier
		}
	}
	now := l.now()
	if bucket.AllowN(now, 1) {
		return 0, nil
	}
	// Not by a reservation: one that is cancelled gives nothing back where another came
	// after it.
	lacking := 1 - bucket.TokensAt(now)
	return max(time.Duration(lacking/float64(bucket.Limit())*float64(time.Second)), time.Nanosecond), nil
}

// rateProblems says what is wrong with the limits and with the proxies.
func (c *Config) rateProblems() []error {
	var found []error
	wrong := func(when bool, text string) {
		if when {
			found = append(found, errors.New(text))
		}
	}
	names, rates := []string{"PerCaller", "Total"}, []Rate{c.RateLimit.PerCaller, c.RateLimit.Total}
	for i, r := range rates {
		wrong(r.bounds() && (r.Per <= 0 || r.Per > longestPer), fmt.Sprintf("Config.RateLimit.%s has a Count of %d and no Per: say in how long, such as time.Minute, up to a year", names[i], r.Count))
		wrong(r.Count == 0 && r.Per != 0, "Config.RateLimit."+names[i]+" has a Per and no Count: say how many")
	}
	wrong(c.RateLimit.IPv4Prefix < 0 || c.RateLimit.IPv4Prefix > 32, "Config.RateLimit.IPv4Prefix is not between 1 and 32 (0 means 32)")
	wrong(c.RateLimit.IPv6Prefix < 0 || c.RateLimit.IPv6Prefix > 128, "Config.RateLimit.IPv6Prefix is not between 1 and 128 (0 means 64)")
	for _, proxy := range c.TrustedProxies {
		wrong(!proxy.IsValid(), "Config.TrustedProxies has a prefix that is none")
	}
	return found
}
