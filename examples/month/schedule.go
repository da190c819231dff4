package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// arrivals are the times of the registrations, most of them in the afternoon.
func arrivals(o options) []time.Time {
	rng := rand.New(rand.NewPCG(o.seed, math.MaxUint64))
	times := make([]time.Time, 0, o.registrations)
	for len(times) < o.registrations {
		at := between(rng, 0, time.Duration(o.days)*day)
		sincePeak := at.Hours() - 15
		if rng.Float64()*1.8 < 1+.8*math.Cos(sincePeak/24*2*math.Pi) {
			times = append(times, o.begin.Add(at))
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// schedule has what people will do, the next action first.
type schedule struct {
	queue []action
	added int
}

// action is a person who gets a token, or one who registers.
type action struct {
	at     time.Time
	number int     // keeps the order of those at one time
	person *person // nil for the next one to register
}

// add plans an action.
func (s *schedule) add(at time.Time, p *person) {
	s.added++
	heap.Push(s, action{at, s.added, p})
}

// before removes and returns the next action, if it is not after a time.
func (s *schedule) before(t time.Time) (action, bool) {
	if len(s.queue) == 0 || s.queue[0].at.After(t) {
		return action{}, false
	}
	return heap.Pop(s).(action), true
}

// Len, Less, Swap, Push and Pop are for package container/heap.
func (s *schedule) Len() int { return len(s.queue) }
func (s *schedule) Less(i, j int) bool {
	a, b := s.queue[i], s.queue[j]
	return a.at.Before(b.at) || a.at.Equal(b.at) && a.number < b.number
}
func (s *schedule) Swap(i, j int) { s.queue[i], s.queue[j] = s.queue[j], s.queue[i] }
func (s *schedule) Push(x any)    { s.queue = append(s.queue, x.(action)) }
func (s *schedule) Pop() any {
	last := len(s.queue) - 1
	x := s.queue[last]
	s.queue = s.queue[:last]
	return x
}
