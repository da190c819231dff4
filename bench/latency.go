package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The steady load of honest clients, and of registrations beside it.
const (
	honestEvery   = 5 * time.Millisecond
	registerEvery = 10 * time.Millisecond
	honestClients = 1000 // read, and as many services as in scale.go get tokens
)

// How long ago clients were registered: those that have expired, and those that have not and can be evicted.
const (
	expiredAge   = 2 * time.Hour
	evictableAge = 30 * time.Minute
)

// phase is what goes on while honest clients send their requests, and how long these took.
type phase struct {
	name      string
	run       func(*latency) error
	registers bool // whether others register meanwhile,
	room      bool // and find room

	honest, registrations []time.Duration
}

func phases() []*phase {
	return []*phase{
		{name: "nothing", run: (*latency).wait},
		{name: "registrations that evict", run: (*latency).wait, registers: true},
		{name: "a sweep", run: (*latency).sweep},
		{name: "registrations that find room", run: (*latency).wait, registers: true, room: true},
		{name: "the operator's list, again and again", run: (*latency).list},
		{name: "collections of garbage, again and again", run: (*latency).collect},
	}
}

// latency is a server full of clients.
type latency struct {
	*process
	honest, other  *worker
	requests       int // of an honest client in a phase
	room           int
	expired, swept int // in all rounds
}

// measureLatency measures how long requests take in a server that is full of clients. In each round half of them have
// expired: new ones evict some, and a sweep removes the others.
func (b *bench) measureLatency(ctx context.Context, out io.Writer) error {
	server, err := build(ctx, b.folder, "server")
	if err != nil {
		return err
	}
	if err := b.start(ctx, tested, server, "-clients", strconv.Itoa(b.clients)); err != nil {
		return err
	}
	p := b.servers[tested]
	l := &latency{process: p, honest: &worker{address: p.address}, other: &worker{address: p.address}, requests: b.options.requests, room: b.clients}
	if err := l.prepare(); err != nil {
		return err
	}
	all := phases()
	for range b.rounds {
		if err := l.fillUp(); err != nil {
			return err
		}
		for _, phase := range all {
			if err := l.measure(phase); err != nil {
				return fmt.Errorf("%s: %w", phase.name, err)
			}
		}
	}
	return b.printLatency(out, l, all)
}

// prepare registers the honest clients, and half of all that there is room for.
func (l *latency) prepare() error {
	kept := min(honestClients, l.room/8)
	for _, f := range []filling{
		{clients: services, keep: services, body: machine, to: jobs},
		{clients: kept, keep: kept, body: public, to: editors},
		{clients: l.room / 2, age: evictableAge, body: public, to: editors},
	} {
		done, err := l.fill(f)
		if err != nil {
			return err
		}
		l.room -= done
	}
	for _, w := range l.workers {
		l.honest.services, l.honest.clients = append(l.honest.services, w.services...), append(l.honest.clients, w.clients...)
	}
	return nil
}

// fillUp fills the room with expired clients, and with a few others, for which some of them are evicted.
func (l *latency) fillUp() error {
	done, err := l.fill(filling{clients: l.room, age: expiredAge, body: public, to: editors})
	if err != nil {
		return err
	}
	others, err := l.fill(filling{clients: min(l.room/workers, mostAtOnce), age: evictableAge, body: public, to: editors})
	if err == nil && done+others < l.room {
		err = errors.New("the server is not full")
	}
	l.expired += l.room - others
	l.room = 0
	if err == nil {
		_, err = l.heap() // what is measured next does not pay for this garbage
	}
	return err
}

// measure has honest clients at work during a phase.
func (l *latency) measure(p *phase) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	failed := make(chan error, 2)
	steady := func(w *worker, interval time.Duration, operation func(*worker) error, times *[]time.Duration) {
		took, err := w.paced(ctx, interval, operation)
		*times = append(*times, took...)
		failed <- err
	}
	go steady(l.honest, honestEvery, honest, &p.honest)
	before := len(p.registrations)
	if p.registers {
		go steady(l.other, registerEvery, fill, &p.registrations)
	} else {
		failed <- nil
	}
	err := p.run(l)
	stop()
	err = errors.Join(err, <-failed, <-failed)
	if p.room {
		l.room -= len(p.registrations) - before
	}
	return err
}

// wait lets a phase last for so many requests of honest clients.
func (l *latency) wait() error {
	time.Sleep(time.Duration(l.requests) * honestEvery)
	return nil
}

// during repeats something for as long.
func (l *latency) during(do func() error) error {
	for end := time.Now().Add(time.Duration(l.requests) * honestEvery); time.Now().Before(end); {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func (l *latency) sweep() error {
	removed, err := l.number(http.MethodPost, "/sweep")
	l.swept += int(removed)
	l.room += int(removed)
	return err
}

func (l *latency) list() error {
	return l.during(func() error {
		listed, err := l.number(http.MethodGet, "/list")
		if err == nil && listed == 0 {
			err = errors.New("an empty list")
		}
		return err
	})
}

func (l *latency) collect() error {
	return l.during(func() error {
		_, err := l.heap()
		return err
	})
}

func (b *bench) printLatency(out io.Writer, l *latency, all []*phase) error {
	text := new(strings.Builder)
	fmt.Fprintf(text, "%s %d clients, %d rounds. Honest clients ask for a token or read once in %v, others register once in %v. %d clients were swept, %d were evicted.\n\n",
		machineNow(), b.clients, b.rounds, honestEvery, registerEvery, l.swept, l.expired-l.swept)
	fmt.Fprint(text, "| Requests, beside what | Number | Median, ms | 99 of 100, ms | Longest, ms |\n|---|--:|--:|--:|--:|\n")
	for _, phase := range all {
		fmt.Fprintf(text, "| honest, beside %s | %s |\n", phase.name, latencies(phase.honest))
		if phase.registers {
			fmt.Fprintf(text, "| %s | %s |\n", phase.name, latencies(phase.registrations))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
