package dcr

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Rate is how many of something in how long: Count at once, and then one more each time
// that the Count-th part of Per has passed.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) bounds() bool { return r.Count > 0 && r.Per > 0 }

// RateLimit bounds how often registration is asked for, whatever comes of it. Past a limit
// the answer is 429 with Retry-After, the body unread.
type RateLimit struct {
	// PerCaller bounds what comes from one address (Config.TrustedProxies). A zero Count
	// means 60 in a minute for anonymous registrants and no limit for others; one below zero
	// means no limit at all. A limit that is set counts every request, before Access is
	// asked.
	//
	// Without TrustedProxies everybody behind a proxy is one caller.
	PerCaller Rate
	// Total bounds all callers together, in the same way. Zero means no limit.
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
	// and returns how long to wait. An error is a failure of the server: nobody registers
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

// limitAll bounds what everybody asks for, before anything is looked up.
func (r *registry) limitAll(ctx context.Context) error {
	limit := &r.cfg.RateLimit
	if err := r.take(ctx, r.callerKey(ctx), limit.PerCaller); err != nil {
		return err
	}
	return r.take(ctx, "total", limit.Total)
}

// limitAnonymous bounds what anonymous registrants ask for where nothing is configured.
func (r *registry) limitAnonymous(ctx context.Context, who *Registrant) error {
	if r.cfg.RateLimit.PerCaller.Count != 0 || !who.Anonymous {
		return nil
	}
	return r.take(ctx, r.callerKey(ctx), defaultPerCaller)
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
		return &tooMany{ErrTooManyRequests, wait}
	}
	return nil
}

// callerKey names a caller by the network that its address lies in.
func (r *registry) callerKey(ctx context.Context) string {
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
		return "caller:unknown" // who has no address comes from this machine
	}
	return "caller:" + network.String()
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
	return int(min((e.wait+time.Second-1)/time.Second, 24*60*60))
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
	taken := bucket.ReserveN(now, 1)
	if wait := taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
		return wait, nil
	}
	return 0, nil
}
