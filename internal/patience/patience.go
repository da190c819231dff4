// Package patience has contexts that end after a time, and cost no timer as long as nobody waits for that.
package patience

import (
	"context"
	"sync"
	"time"
)

// WithTimeout is context.WithTimeout for work that hardly ever waits: the timer starts with the first call of Done.
func WithTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	c := &lazy{Context: parent, end: time.Now().Add(timeout)}
	return c, c.cancel
}

// lazy is a context whose timer has not started until timed is there.
type lazy struct {
	context.Context // the parent
	end             time.Time

	mu    sync.Mutex
	timed context.Context
	stop  context.CancelFunc
}

// Deadline returns when it ends at the latest.
func (c *lazy) Deadline() (time.Time, bool) {
	if end, ok := c.Context.Deadline(); ok && end.Before(c.end) {
		return end, true
	}
	return c.end, true
}

// Done starts the timer.
func (c *lazy) Done() <-chan struct{} { return c.start().Done() }

func (c *lazy) start() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = context.WithDeadline(c.Context, c.end)
	}
	return c.timed
}

// Err says why it ended, timer or not.
func (c *lazy) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
		return c.timed.Err()
	case c.Context.Err() == nil && !time.Now().Before(c.end):
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// cancel ends it. What was derived from it ends, too.
func (c *lazy) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed = cancelled
		return
	}
	if c.stop != nil {
		c.stop()
	}
}

// cancelled is for those on which nobody has waited before they were cancelled.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
