package outbound

import (
	"sync"
	"time"
)

// mostSites bounds how many sites a Pace remembers: with one more it begins anew.
const mostSites = 10_000

// Pace bounds how many requests each site sees in a minute, before its name is looked up (T51). It is safe for concurrent
// use.
type Pace struct {
	// Most is how many requests a site sees in a minute. Default (0): none.
	Most int

	mu       sync.Mutex
	began    time.Time
	requests map[string]int
}

// Allow counts a request to a site (see Site), and reports whether it may begin.
func (p *Pace) Allow(site string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests == nil || now.Sub(p.began) >= time.Minute || len(p.requests) >= mostSites {
		p.began, p.requests = now, map[string]int{}
	}
	if p.requests[site] >= p.Most {
		return false
	}
	p.requests[site]++
	return true
}
