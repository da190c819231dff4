package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What the server promises its users in every variant: a client that signs in and returns within
// these times exists. No simulated user comes within minutes of one of these limits.
const (
	signInWithin = time.Hour
	idleLife     = 14 * 24 * time.Hour
)

const day = 24 * time.Hour

// program is a kind of client. Of 58 clients in a public report 46 were never used, and
// 42 of those were identical to the byte.
type program struct {
	odds, dead int // of 58
	metadata   func(r *rand.Rand) (metadata, redirectURI string)
	service    bool
}

var programs = []program{
	{odds: 46, dead: 42, metadata: editor},
	{odds: 8, dead: 3, metadata: commandLine},
	{odds: 2, dead: 1, metadata: webApplication},
	{odds: 2, dead: 0, metadata: service, service: true},
}

// habit is how often a user returns to a client that has got its first token.
type habit struct {
	odds        int // of 100
	least, most time.Duration
	givesUp     float64 // the chance at each time
}

var habits = []habit{
	{odds: 35, givesUp: 1}, // looked at it once
	{odds: 25, least: 21 * time.Hour, most: 27 * time.Hour, givesUp: .05}, // daily
	{odds: 22, least: 6 * day, most: 8 * day, givesUp: .1},                // weekly
	{odds: 13, least: 15 * day, most: 19 * day},                           // while the refresh token lives
	{odds: 5, least: 21 * day, most: 27 * day},                            // when it has expired
}

// serviceHabits are those of services, which have no refresh token: the third.
var serviceHabits = habits[:3]

// person is a user, or a service, that uses a client.
type person struct {
	name    string
	rng     *rand.Rand
	program *program
	habit   habit

	metadata, redirectURI string
	id, secret            string
	refreshToken          string
	registered, used      time.Time
	refreshUntil          time.Time
}

// within reports whether the server promises that the client still exists.
func (p *person) within(now time.Time) bool {
	if p.used.IsZero() {
		return now.Sub(p.registered) <= signInWithin
	}
	return now.Before(p.refreshUntil) || now.Sub(p.used) < idleLife
}

// firstSignIn is how long after the registration the user signs in: most at once, since a
// program that registers opens the browser; some after a meeting; a few on the next day.
func firstSignIn(r *rand.Rand) time.Duration {
	switch u := r.Float64(); {
	case u < .90:
		return min(20*time.Second+time.Duration(r.ExpFloat64()*float64(3*time.Minute)), 30*time.Minute)
	case u < .985:
		return between(r, 10*time.Minute, 55*time.Minute)
	default:
		return between(r, 65*time.Minute, 20*time.Hour)
	}
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// world has the users of one variant, and what they do next.
type world struct {
	server   *server
	seed     uint64
	arrivals []time.Time
	arrived  int
	schedule schedule
	tally    tally
}

func newWorld(s *server, o options) *world {
	w := &world{server: s, seed: o.seed, arrivals: arrivals(o)}
	w.schedule.add(w.arrivals[0], nil)
	return w
}

// until runs all that happens up to a time.
func (w *world) until(end time.Time) error {
	for {
		v, due := w.schedule.before(end)
		if !due {
			w.server.clock.now = end
			return nil
		}
		w.server.clock.now = v.at
		var err error
		if v.person == nil {
			err = w.arrive()
		} else {
			err = w.come(v.person)
		}
		if err != nil {
			return err
		}
	}
}

// tally counts what happened to the users. lost has to stay 0: users within the rules who were
// refused.
type tally struct {
	again                     int // registrations by people whose client was gone
	signIns, refreshes        int
	lost, lateFirst, longAway int
}

// arrive lets the next person register, and plans the first sign-in unless the client is one that
// is never used. The seed and the number of the arrival alone decide which person it is.
func (w *world) arrive() error {
	rng := rand.New(rand.NewPCG(w.seed, uint64(w.arrived)))
	if w.arrived++; w.arrived < len(w.arrivals) {
		w.schedule.add(w.arrivals[w.arrived], nil)
	}
	p := &person{name: fmt.Sprintf("person %d", w.arrived), rng: rng}
	p.program = &programs[pick(rng, 58, func(i int) int { return programs[i].odds })]
	p.metadata, p.redirectURI = p.program.metadata(rng)
	never := rng.IntN(p.program.odds) < p.program.dead
	if err := w.newClient(p); err != nil || never {
		return err
	}
	available := habits
	if p.program.service {
		available = serviceHabits
	}
	total := 0
	for _, h := range available {
		total += h.odds
	}
	p.habit = available[pick(rng, total, func(i int) int { return available[i].odds })]
	w.schedule.add(w.server.clock.now.Add(firstSignIn(rng)), p)
	return nil
}

func pick(r *rand.Rand, total int, odds func(int) int) int {
	i := 0
	for n := r.IntN(total); n >= odds(i); i++ {
		n -= odds(i)
	}
	return i
}

// come lets a person get a token. A person whose client is gone registers again and signs in.
func (w *world) come(p *person) error {
	now := w.server.clock.now
	gone, err := w.ask(p, now)
	if gone && err == nil {
		switch {
		case p.within(now):
			w.tally.lost++
		case p.used.IsZero():
			w.tally.lateFirst++
		default:
			w.tally.longAway++
		}
		w.tally.again++
		p.refreshToken, gone = "", false
		if err = w.newClient(p); err == nil {
			gone, err = w.signIn(p)
		}
		if gone {
			w.tally.lost++
		}
	}
	if err != nil {
		return err
	}
	p.used = now
	if p.rng.Float64() >= p.habit.givesUp {
		w.schedule.add(now.Add(between(p.rng, p.habit.least, p.habit.most)), p)
	}
	return nil
}

// ask gets a token, by the refresh token if that works, and reports whether the client is
// gone.
func (w *world) ask(p *person, now time.Time) (gone bool, err error) {
	if p.refreshToken == "" {
		return w.signIn(p)
	}
	gone, dead, err := w.refresh(p)
	if err != nil || gone || !dead {
		return gone, err
	}
	if now.Before(p.refreshUntil) {
		w.tally.lost++ // a valid refresh token was refused, though the client exists
	}
	return w.signIn(p)
}
