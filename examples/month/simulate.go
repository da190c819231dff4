package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// result has the figures of one variant.
type result struct {
	variant           variant
	live              []int // at the end of each day
	created, shared   int
	swept, removed    int // clients that were removed by sweeps, and by other ways
	peak, final, used int
	newest            []*dcr.Client
	tally             tally
	heap              int64
	cpu               time.Duration
}

// simulate runs the month on a new server, and then counts.
func simulate(v variant, o options) (*result, error) {
	r := &result{variant: v}
	cpu, heap := cpuTime(), heapAfterGC()
	s, err := newServer(v, &clock{now: o.begin}, o.registrations)
	if err != nil {
		return nil, err
	}
	if err := r.play(s, o); err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	r.cpu = cpuTime() - cpu
	r.heap = heapAfterGC() - heap // the world is garbage now, the server is not
	runtime.KeepAlive(s)
	return r, nil
}

func (r *result) play(s *server, o options) error {
	w := newWorld(s, o)
	for hour := 1; hour <= o.days*24; hour++ {
		if err := w.until(o.begin.Add(time.Duration(hour) * time.Hour)); err != nil {
			return err
		}
		if r.variant.sweeps {
			removed, err := s.provider.Sweep(context.Background())
			if err != nil {
				return err
			}
			r.swept += removed
		}
		if hour%24 == 0 {
			r.live = append(r.live, s.live)
			if o.progress != nil {
				fmt.Fprintf(o.progress, "\r%-24s day %d of %d ", r.variant.name, hour/24, o.days)
			}
		}
	}
	if o.progress != nil {
		fmt.Fprintln(o.progress)
	}
	r.tally = w.tally
	return r.count(s)
}

// count asks the provider for the numbers of clients, as an operator's page does.
func (r *result) count(s *server) error {
	ctx := context.Background()
	all, err := s.provider.CountClients(ctx, dcr.ClientFilter{}, math.MaxInt)
	if err != nil {
		return err
	}
	unused, err := s.provider.CountClients(ctx, dcr.ClientFilter{NeverUsed: true}, math.MaxInt)
	if err != nil {
		return err
	}
	if all != s.live || s.failed != nil {
		return fmt.Errorf("there are %d clients, but %d by the events (%v)", all, s.live, s.failed)
	}
	page, err := s.provider.ListClients(ctx, dcr.ClientFilter{}, "", 3)
	if err != nil {
		return err
	}
	r.newest = page.Clients
	r.final, r.used, r.peak = all, all-unused, s.peak
	r.created, r.shared = s.created, s.shared
	r.removed = s.expired - r.swept
	return nil
}

func heapAfterGC() int64 {
	runtime.GC()
	runtime.GC() // the first one may leave what had finalizers or was pooled
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
