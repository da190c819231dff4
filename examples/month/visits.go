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

// visits are those to come, the next one first.
type visits struct {
	queue []visit
	added int
}

type visit struct {
	at     time.Time
	number int     // keeps the order of those at one time
	person *person // nil for the next one to register
}

func (v *visits) add(at time.Time, p *person) {
	v.added++
	heap.Push(v, visit{at, v.added, p})
}

// before returns who comes next, if that is not after a time.
func (v *visits) before(t time.Time) (visit, bool) {
	if len(v.queue) == 0 || v.queue[0].at.After(t) {
		return visit{}, false
	}
	return heap.Pop(v).(visit), true
}

// Len, Less, Swap, Push and Pop are for package container/heap.
func (v *visits) Len() int { return len(v.queue) }
func (v *visits) Less(i, j int) bool {
	a, b := v.queue[i], v.queue[j]
	return a.at.Before(b.at) || a.at.Equal(b.at) && a.number < b.number
}
func (v *visits) Swap(i, j int) { v.queue[i], v.queue[j] = v.queue[j], v.queue[i] }
func (v *visits) Push(x any)    { v.queue = append(v.queue, x.(visit)) }
func (v *visits) Pop() any {
	last := len(v.queue) - 1
	x := v.queue[last]
	v.queue = v.queue[:last]
	return x
}
