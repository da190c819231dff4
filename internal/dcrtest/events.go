package dcrtest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Events is an EventSink that keeps the events. The zero value is ready.
type Events struct {
	mu     sync.Mutex
	events []dcr.Event
}

// Record keeps an event.
func (e *Events) Record(_ context.Context, event dcr.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, event)
}

// Take returns the events since it was last called.
func (e *Events) Take() []dcr.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	events := e.events
	e.events = nil
	return events
}

// TakeOne requires that there was one event since Take was last called, and returns it.
func (e *Events) TakeOne(t testing.TB) dcr.Event {
	t.Helper()
	events := e.Take()
	require.Len(t, events, 1)
	return events[0]
}

// All returns all events since Take was last called, and keeps them.
func (e *Events) All() []dcr.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

// Kinds returns the kinds of the events that All returns.
func (e *Events) Kinds() []dcr.EventKind { return KindsOf(e.All()) }

// KindsOf returns the kinds of events, in order.
func KindsOf(events []dcr.Event) []dcr.EventKind {
	kinds := make([]dcr.EventKind, len(events))
	for i, event := range events {
		kinds[i] = event.Kind
	}
	return kinds
}
