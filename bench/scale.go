package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	keptClients  = 20_000 // of each server are read and updated, or all where there are fewer
	services     = 200    // of each server get tokens
	collectAfter = 10     // rounds
)

// scaleOperations are what is measured, in this order: what is registered in a round is deleted in it.
var scaleOperations = []struct {
	name string
	run  func(*worker) error
}{
	{"register", registerPublic},
	{"read", read},
	{"update", update},
	{"token of a registered client", tokenOfService},
	{"delete", deleteNext},
}

// level is a server with so many clients.
type level struct {
	*process
	clients   int
	perClient float64 // bytes of live heap

	times       [][]time.Duration // of an operation, in the rounds
	requests    int               // in all rounds
	allocated   float64           // bytes, by these
	live        float64           // bytes
	collections []time.Duration   // of a collection of garbage
}

// measureScale measures what operations cost with more and more clients. The garbage collector is off while it does, since
// a small server collects several times in a round and a large one once in many; a collection is measured by itself.
func (b *bench) measureScale(ctx context.Context, out io.Writer) error {
	server, err := build(ctx, b.folder, "server")
	if err != nil {
		return err
	}
	var levels []*level
	for i, clients := range []int{b.clients / 1000, b.clients / 10, b.clients} {
		clients = max(clients, 4*workers)
		name := fmt.Sprintf("%d clients, server %d", clients, i+1)
		// Should the memory run short, the collector goes on all the same.
		if err := b.start(ctx, name, "env", "GOGC=off", "GOMEMLIMIT=6GiB", server, "-clients", strconv.Itoa(2*b.clients)); err != nil {
			return err
		}
		l := &level{process: b.servers[name], clients: clients, times: make([][]time.Duration, len(scaleOperations))}
		if err := l.prepare(); err != nil {
			return err
		}
		levels = append(levels, l)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range b.rounds + 1 { // the first is not counted: it warms up
		for _, i := range random.Perm(len(levels)) {
			if err := levels[i].measure(n, b.options.requests); err != nil {
				return err
			}
		}
	}
	return b.printScale(out, levels)
}

// prepare registers the clients, and notes what they take.
func (l *level) prepare() error {
	if _, err := l.fill(filling{clients: services, keep: services, body: machine, to: jobs}); err != nil {
		return err
	}
	before, err := l.heap()
	if err != nil {
		return err
	}
	if _, err := l.fill(filling{clients: l.clients, keep: min(l.clients, keptClients), body: public, to: editors}); err != nil {
		return err
	}
	l.live, err = l.heap()
	l.perClient = (l.live - before) / float64(l.clients)
	return err
}

// measure is one round.
func (l *level) measure(n, requests int) error {
	before, err := l.number(http.MethodGet, "/allocated")
	if err != nil {
		return err
	}
	for i, operation := range scaleOperations {
		used, err := l.use(func() error { return l.round(requests, operation.run) })
		if err != nil {
			return fmt.Errorf("%s: %w", operation.name, err)
		}
		if n > 0 {
			l.times[i] = append(l.times[i], used/time.Duration(requests))
		}
	}
	after, err := l.number(http.MethodGet, "/allocated")
	if err != nil || n == 0 {
		return err
	}
	l.requests += requests * len(scaleOperations)
	l.allocated += after - before
	if n%collectAfter == 1 {
		var used time.Duration
		used, err = l.use(func() (err error) {
			l.live, err = l.heap()
			return err
		})
		l.collections = append(l.collections, used/2) // it collects twice
	}
	return err
}

// garbage is what collecting the garbage of a request costs, in microseconds, where the collector runs as it does by
// default: when as much was allocated as there is live heap.
func (l *level) garbage() float64 { return median(l.collections) * l.allocatedEach() / l.live }

// allocatedEach is what a request allocates, in bytes.
func (l *level) allocatedEach() float64 { return l.allocated / float64(l.requests) }

func (b *bench) printScale(out io.Writer, levels []*level) error {
	text := new(strings.Builder)
	fmt.Fprintf(text, "%s %d rounds of %d requests for each operation, over %d connections.\n\n| Server's CPU, µs a request |", machineNow(), b.rounds, b.options.requests, workers)
	columns, sent := "---|", 0
	for i, l := range levels {
		fmt.Fprintf(text, " %d clients |", l.clients)
		columns += "--:|"
		if i > 0 {
			text.WriteString(" Ratio |")
			columns += "--:|"
		}
		requests, _ := l.answered()
		sent += requests
	}
	fmt.Fprintf(text, "\n|%s\n", columns)
	line := func(name, format string, of func(*level) float64) {
		fmt.Fprintf(text, "| %s |", name)
		for i, l := range levels {
			fmt.Fprintf(text, " "+format+" |", of(l))
			if i > 0 {
				fmt.Fprintf(text, " %.2f |", of(l)/of(levels[0]))
			}
		}
		text.WriteString("\n")
	}
	for i, operation := range scaleOperations {
		line(operation.name, "%.1f", func(l *level) float64 { return median(l.times[i]) })
	}
	line("collecting the garbage of one of them", "%.1f", (*level).garbage)
	line("a collection, ms of CPU", "%.1f", func(l *level) float64 { return median(l.collections) / 1000 })
	line("live heap, MB", "%.1f", func(l *level) float64 { return l.live / 1e6 })
	line("live heap of a client, bytes", "%.0f", func(l *level) float64 { return l.perClient })
	fmt.Fprintf(text, "\n%d requests, 0 failed. One of them allocated %.0f bytes.\n", sent, levels[0].allocatedEach())
	_, err := io.WriteString(out, text.String())
	return err
}
