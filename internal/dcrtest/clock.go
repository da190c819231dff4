package dcrtest

import (
	"sync/atomic"
	"time"
)

// Clock is a clock that the test moves ahead; otherwise it runs. The zero value shows the time that it is.
type Clock struct{ ahead atomic.Int64 }

// Now is a dcr.Config.Now.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Forward moves the clock ahead, by d more than before.
func (c *Clock) Forward(d time.Duration) { c.ahead.Add(int64(d)) }

// StillClock stands still at ClockStart until it is advanced.
type StillClock struct{ since atomic.Int64 }

// Now is a dcr.Config.Now.
func (c *StillClock) Now() time.Time { return ClockStart.Add(time.Duration(c.since.Load())) }

// Advance moves the clock ahead.
func (c *StillClock) Advance(by time.Duration) { c.since.Add(int64(by)) }

// ClockStart is what a new StillClock shows.
var ClockStart = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// NewStillClock returns a clock that shows ClockStart.
func NewStillClock() *StillClock { return &StillClock{} }
