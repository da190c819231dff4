// Command bench measures what registration, its management and the token endpoint cost a server, beside servers that do
// the same with less:
//
//	go run ./bench           beside a bare net/http handler, and beside fosite without the package
//	go run ./bench -peers    beside servers of the npm registry; needs Node.js and npm
//	go run ./bench -scale    with a thousand, a hundred thousand and a million clients
//	go run ./bench -latency  how long requests take while clients are evicted, swept and listed
//	go run ./bench -attack   how long requests take while others attack the server
//
// Each server is a program of its own, so the load is not in its figures. Both servers of a row get the same requests in
// turn, in many short rounds, so what else the machine does meets both. What counts is the processor time of the server.
// It needs Linux.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	rounds, requests, clients              int
	peers, gorilla, scale, latency, attack bool
	only                                   *regexp.Regexp
}

func parseOptions(args []string, errOut io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.BoolVar(&o.peers, "peers", false, "measure beside servers of the npm registry, which npm installs")
	flags.BoolVar(&o.scale, "scale", false, "measure with more and more clients")
	flags.BoolVar(&o.latency, "latency", false, "measure how long requests take while clients are evicted, swept and listed")
	flags.BoolVar(&o.attack, "attack", false, "measure how long requests take during an attack")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds (default 100; with -scale 40, -latency 3, -attack 3)")
	flags.IntVar(&o.requests, "requests", 0, "requests of a round to each server, or of the honest client (default 400; with -latency 1000, -attack 2000)")
	flags.IntVar(&o.clients, "clients", 0, "clients that are registered before the rounds, after a quarter as many that fill what is bounded (default 20000); "+
		"with -scale those of the largest server (1000000), with -latency those of the full server (500000), with -attack connections of the attacker (10000)")
	flags.BoolVar(&o.gorilla, "gorilla", false, "route with gorilla/mux instead of net/http in the server under test")
	only := flags.String("only", "", "`pattern` of the rows to measure")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	usual := o.usual()
	o.rounds, o.requests, o.clients = cmp.Or(o.rounds, usual.rounds), cmp.Or(o.requests, usual.requests), cmp.Or(o.clients, usual.clients)
	if o.rounds < 1 || o.requests < 4*workers || o.clients < 4*workers {
		return o, fmt.Errorf("want one round at least, and %d requests and clients", 4*workers)
	}
	o.only, err = regexp.Compile(*only)
	return o, err
}

// usual are the numbers that are used where none is given.
func (o options) usual() options {
	switch {
	case o.scale:
		return options{rounds: 40, requests: 400, clients: 1_000_000}
	case o.latency:
		return options{rounds: 3, requests: 1000, clients: 500_000}
	case o.attack:
		return options{rounds: 3, requests: 2000, clients: 10_000}
	}
	return options{rounds: 100, requests: 400, clients: 20_000}
}

// run measures and prints the table. A request that fails ends it.
func run(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	o, err := parseOptions(args, errOut)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{options: o, folder: folder, servers: map[string]*process{}, log: errOut}
	defer func() { err = errors.Join(err, b.stop()) }()
	switch {
	case o.scale:
		return b.measureScale(ctx, out)
	case o.latency:
		return b.measureLatency(ctx, out)
	case o.attack:
		return b.measureAttack(ctx, out)
	}
	commands, err := prepare(ctx, o, folder)
	if err != nil {
		return err
	}
	for name, command := range commands {
		if err := b.start(ctx, name, command...); err != nil {
			return err
		}
	}
	if err := b.measure(); err != nil {
		return err
	}
	return b.print(out)
}

// start starts a server.
func (b *bench) start(ctx context.Context, name string, command ...string) error {
	p, err := start(ctx, command...)
	if err != nil {
		return err
	}
	b.servers[name] = p
	fmt.Fprintln(b.log, name, "is at", p.address)
	return nil
}

// The servers, as rows name them.
const (
	tested       = "dcr"
	fresh        = "dcr, without clients" // beside fosite alone, which has none either for the garbage collector to walk
	bare         = "bare"
	alone        = "fosite"
	oidcProvider = "oidc-provider"
	mcpSDK       = "mcp-sdk"
)

const module = "github.com/fosite-contrib/fosite-dcr/bench"

// prepare builds or installs the servers, and returns the command of each.
func prepare(ctx context.Context, o options, folder string) (map[string][]string, error) {
	server, err := build(ctx, folder, "server")
	if err != nil {
		return nil, err
	}
	commands := map[string][]string{tested: {server, fmt.Sprintf("-gorilla=%t", o.gorilla)}}
	if !o.peers {
		handler, err := build(ctx, folder, "bare")
		if err != nil {
			return nil, err
		}
		commands[bare] = []string{handler}
		commands[alone], commands[fresh] = []string{server, "-alone"}, commands[tested]
		return commands, nil
	}
	where, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, err
	}
	peers := filepath.Join(strings.TrimSpace(string(where)), "peers")
	if err := command(ctx, "npm", "ci", "--prefix", peers, "--no-audit", "--no-fund"); err != nil {
		return nil, err
	}
	for _, name := range []string{oidcProvider, mcpSDK} {
		commands[name] = []string{"node", "--expose-gc", filepath.Join(peers, name+".mjs")}
	}
	return commands, nil
}

// build builds a program of this folder, and returns its path.
func build(ctx context.Context, folder, name string) (string, error) {
	return filepath.Join(folder, name), command(ctx, "go", "build", "-o", folder, module+"/"+name)
}

func command(ctx context.Context, name string, args ...string) error {
	if output, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, output)
	}
	return nil
}

// row is an operation of the server under test, and what it is compared with at a peer.
type row struct {
	name, server, peer string
	ours, theirs       func(*worker) error
	requests           int // of one operation
}

func same(name, peer string, operation func(*worker) error) row {
	return row{name, tested, peer, operation, operation, 1}
}

func besideFosite(name string, ours, theirs func(*worker) error) row {
	return row{name, fresh, alone, ours, theirs, 1}
}

// rows are what is measured. Where fosite is alone all its clients are static.
func rows(peers bool) []row {
	if peers {
		return []row{
			same("register, public", oidcProvider, registerPublic),
			same("register, confidential", oidcProvider, registerConfidential),
			same("read", oidcProvider, read),
			same("update", oidcProvider, update),
			{"life cycle", tested, oidcProvider, lifeCycle, lifeCycle, 4},
			same("token, static client", oidcProvider, tokenStatic),
			same("token, registered client", oidcProvider, tokenRegistered),
			same("introspection, static client", oidcProvider, introspectStatic),
			same("register, public", mcpSDK, registerPublic),
			same("register, confidential", mcpSDK, registerConfidential),
		}
	}
	return []row{
		same("register, public", bare, registerPublic),
		same("register, confidential", bare, registerConfidential),
		same("read", bare, read),
		same("update", bare, update),
		{"life cycle", tested, bare, lifeCycle, lifeCycle, 4},
		besideFosite("token, static client", tokenStatic, tokenStatic),
		besideFosite("token, registered client", tokenRegistered, tokenOwn),
		besideFosite("introspection, static client", introspectStatic, introspectStatic),
		besideFosite("refresh, static client", refreshStatic, refreshStatic),
		besideFosite("refresh, registered client", refreshRegistered, refreshOwn),
	}
}

// bench is one run.
type bench struct {
	options
	folder  string // of the programs
	servers map[string]*process
	log     io.Writer
	results []*result
	heaps   []heap
}

// result is what the rounds of a row took, each divided by its requests.
type result struct {
	row
	ours, theirs []time.Duration
}

// heap is what a client takes.
type heap struct {
	server      string
	bytes, json float64
}

func (b *bench) measure() error {
	for _, name := range []string{tested, bare, oidcProvider, mcpSDK} {
		if p := b.servers[name]; p != nil {
			if err := b.fill(p); err != nil {
				return err
			}
		}
	}
	for _, row := range rows(b.peers) {
		if b.only.MatchString(row.name) {
			b.results = append(b.results, &result{row: row})
		}
	}
	// In a fixed order the same row would pay for each collection of garbage.
	order := slices.Clone(b.results)
	random := rand.New(rand.NewPCG(1, 2))
	for n := range b.rounds + 1 { // the first is not counted: it warms up
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, r := range order {
			if err := b.round(r, n); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	return nil
}

// fill registers the clients, and notes what they take.
func (b *bench) fill(p *process) error {
	if err := p.round(b.clients/4, fill); err != nil {
		return err
	}
	before, err := p.heap()
	if err != nil {
		return err
	}
	_, bytesBefore := p.answered()
	if err := p.round(b.clients, fill); err != nil {
		return err
	}
	after, err := p.heap()
	_, bytes := p.answered()
	b.heaps = append(b.heaps, heap{p.name, (after - before) / float64(b.clients), float64(bytes-bytesBefore) / float64(b.clients)})
	return err
}

// round has both servers of a row work, in turn the one or the other first.
func (b *bench) round(r *result, n int) error {
	sides := []func() error{
		func() error { return b.side(b.servers[r.server], r.row.ours, r.requests, n, &r.ours) },
		func() error { return b.side(b.servers[r.peer], r.row.theirs, r.requests, n, &r.theirs) },
	}
	return errors.Join(sides[n%2](), sides[1-n%2]())
}

// side measures one server. What it registered is deleted afterwards, so that the number of clients stays.
func (b *bench) side(p *process, operation func(*worker) error, requests, n int, times *[]time.Duration) error {
	operations := b.options.requests / requests
	used, err := p.use(func() error { return p.round(operations, operation) })
	if err != nil {
		return err
	}
	if n > 0 {
		*times = append(*times, used/time.Duration(operations*requests))
	}
	return p.round(workers, (*worker).forget)
}

func (b *bench) stop() (err error) {
	for _, p := range b.servers {
		err = errors.Join(err, p.stop())
	}
	return err
}
