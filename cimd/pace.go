package cimd

import (
	"sync"
	"time"
)

// mostSites bounds how many sites a pace remembers: with one more it begins anew.
const mostSites = 10_000

// pace bounds how many fetches a site sees in a minute, before its name is looked up (T51).
type pace struct {
	most int

	mu      sync.Mutex
	began   time.Time
	fetches map[string]int
}

// allow counts a fetch, and reports whether it may begin.
func (p *pace) allow(site string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetches == nil || now.Sub(p.began) >= time.Minute || len(p.fetches) >= mostSites {
		p.began, p.fetches = now, map[string]int{}
	}
	if p.fetches[site] >= p.most {
		return false
	}
	p.fetches[site]++
	return true
}
