// Package ratelimit counts requests in token buckets in memory, and finds out which caller a request comes from.
package ratelimit

import (
	"hash/maphash"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Buckets keeps a token bucket for each of the 65,536 keys that were seen last: the bound is on memory, and a key
// that is forgotten starts anew with a full bucket. It is in parts, so that callers do not wait for each other. It is
// safe for many goroutines.
type Buckets struct {
	now   func() time.Time
	seed  maphash.Seed
	parts [64]*lru.Cache[string, *rate.Limiter]
}

const keysPerPart = 1024

// New returns buckets without a key, which take the time from now.
func New(now func() time.Time) *Buckets {
	b := &Buckets{now: now, seed: maphash.MakeSeed()}
	for i := range b.parts {
		b.parts[i], _ = lru.New[string, *rate.Limiter](keysPerPart) // fails for a bound below one
	}
	return b
}

// Take takes one from the bucket of a key and returns 0, or takes nothing and returns how long to wait, at least a
// nanosecond. A bucket holds count and is refilled evenly, count in each per; both must be above zero, and those of
// the first call for a key stay.
func (b *Buckets) Take(key string, count int, per time.Duration) (wait time.Duration) {
	bucket := b.bucket(key, count, per)
	now := b.now()
	if bucket.AllowN(now, 1) {
		return 0
	}
	// Not by a reservation: one that is cancelled gives nothing back where another came
	// after it.
	lacking := 1 - bucket.TokensAt(now)
	return max(time.Duration(lacking/float64(bucket.Limit())*float64(time.Second)), time.Nanosecond)
}

func (b *Buckets) bucket(key string, count int, per time.Duration) *rate.Limiter {
	part := b.parts[maphash.String(b.seed, key)%uint64(len(b.parts))]
	if bucket, ok := part.Get(key); ok {
		return bucket
	}
	bucket := rate.NewLimiter(rate.Limit(float64(count)/per.Seconds()), count)
	if earlier, found, _ := part.PeekOrAdd(key, bucket); found {
		return earlier
	}
	return bucket
}
