package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// paced does one operation after the other, one in each interval, until ctx ends. It returns how long each took from the
// time at which it was due, if the one before was late, or was begun.
func (w *worker) paced(ctx context.Context, interval time.Duration, operation func(*worker) error) (times []time.Duration, err error) {
	if err := w.dial(); err != nil {
		return nil, err
	}
	defer w.conn.Close()
	for due := time.Now(); ctx.Err() == nil; due = due.Add(interval) {
		begun := due
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			begun = time.Now()
		}
		if err := operation(w); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun))
	}
	return times, nil
}

// honest is what honest clients ask for in turn: a token, and what they have registered.
func honest(w *worker) error {
	if w.nextService%2 == 0 || len(w.clients) == 0 {
		return tokenOfService(w)
	}
	w.nextService++
	return read(w)
}

// milliseconds is the time that a share of the requests took at most.
func milliseconds(times []time.Duration, share float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]) / float64(time.Millisecond)
}

func latencies(times []time.Duration) string {
	return fmt.Sprintf("%d | %.2f | %.2f | %.1f", len(times), milliseconds(times, 0.5), milliseconds(times, 0.99), milliseconds(times, 1))
}
