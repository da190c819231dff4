package outbound

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// slots bounds how many exchanges of a client are under way at once, with one host and in all: whoever has many
// URLs on one host can't make this server call it from all sides (T68). The zero value is not ready: newSlots.
type slots struct {
	all     chan struct{}
	perHost int

	mu    sync.Mutex
	hosts map[string]*hostSlots // of the hosts that somebody calls or waits for
}

type hostSlots struct {
	taken chan struct{}
	users int // exchanges and those that wait, guarded by slots.mu
}

func newSlots(o Options) *slots {
	return &slots{all: make(chan struct{}, o.Requests), perHost: o.HostRequests, hosts: map[string]*hostSlots{}}
}

// busyKey has a request note, in an *atomic.Bool, that it got no slot because there was none for any host: net/http
// keeps only the text of an error that comes after its time.
type busyKey struct{}

// take waits for a slot until the context ends. The host is that of a URL; hosts of one Site are one. Those who wait for
// one host take nothing from the others.
func (s *slots) take(ctx context.Context, host string) (release func(), err error) {
	host = Site(host)
	h := s.join(host)
	if err := enter(ctx, h.taken); err != nil {
		s.leave(host, h)
		return nil, err
	}
	if err := enter(ctx, s.all); err != nil {
		<-h.taken
		s.leave(host, h)
		if busy, ok := ctx.Value(busyKey{}).(*atomic.Bool); ok {
			busy.Store(true)
		}
		return nil, err
	}
	return sync.OnceFunc(func() {
		<-s.all
		<-h.taken
		s.leave(host, h)
	}), nil
}

func enter(ctx context.Context, slots chan<- struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
}

func (s *slots) join(host string) *hostSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[host]
	if h == nil {
		h = &hostSlots{taken: make(chan struct{}, s.perHost)}
		s.hosts[host] = h
	}
	h.users++
	return h
}

func (s *slots) leave(host string, h *hostSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(s.hosts, host)
	}
}
