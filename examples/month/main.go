// Command month simulates a month of an MCP server with open registration, and shows how many
// clients it has under three settings of dcr.Config.Lifecycle:
//
//	go run ./examples/month                       takes some minutes
//	go run ./examples/month -registrations 5000   takes seconds
//	go run ./examples/month -svg month.svg        draws the first two settings as well
//
// What is real: a composed provider with the memory store, all requests (registration,
// authorization with PKCE, codes, refresh tokens, client_credentials), served in process,
// the sweep of each hour, and the figures, which come from the provider and its events. The
// program fails if a user within the rules is refused because the client is gone. Within the rules
// is who signs in within an hour of the registration, and comes back before the refresh token has
// expired or within 14 days.
//
// What is made up: the users. Their numbers follow a public report on such a server, where
// of 58 clients 46 were never used, 42 of them identical to the byte. How soon people sign
// in and how often they return is a guess. The clock is simulated (clock.go).
//
// What is missing: attackers, requests at the same time, a storage on disk, users who
// wait at the consent page, refresh tokens that are used more than once a day.
//
// server.go shows the settings, simulate.go the sweeps and how to count and list clients,
// world.go and schedule.go who comes when, and requests.go what they send.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

type options struct {
	registrations, days int
	seed                uint64
	begin               time.Time
	svg                 string    // the file of the drawing; "" means none
	progress            io.Writer // where the days are counted; nil means nowhere
}

// begin is a Monday.
var begin = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "month:", err)
		os.Exit(1)
	}
}

func run(args []string, out, errOut io.Writer) error {
	o := options{begin: begin}
	flags := flag.NewFlagSet("month", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.IntVar(&o.registrations, "registrations", 200_000, "how many registrations in all")
	flags.IntVar(&o.days, "days", 30, "how many days")
	flags.Uint64Var(&o.seed, "seed", 1, "the same seed gives the same month")
	flags.StringVar(&o.svg, "svg", "", "draw the live clients into this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.registrations < 1 || o.days < 1 {
		return errors.New("-registrations and -days have to be 1 or more")
	}
	if isTerminal(errOut) {
		o.progress = errOut
	}
	return compare(o, out)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// variants are what the chart shows.
var variants = []variant{
	{name: "for ever", lifecycle: dcr.Lifecycle{Unused: -1}},
	{name: "by default", sweeps: true}, // unused clients expire after an hour
	{name: "shared, idle 14 days", lifecycle: dcr.Lifecycle{Idle: idleLife}, share: true, sweeps: true},
}

// compare shows the variants, and then a store that has room for half of the clients. The
// error says in which of them a user within the rules lost a client.
func compare(o options, out io.Writer) error {
	fmt.Fprintf(out, "%s registrations in %d days, seed %d\n\n", thousands(o.registrations), o.days, o.seed)
	var results []*result
	for _, v := range variants {
		r, err := simulate(v, o)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if err := draw(o, results[:2]); err != nil {
		return err
	}
	printChart(out, results)
	printTable(out, results)
	for _, r := range results[1:] {
		printNewest(out, r)
	}

	r, err := simulate(variant{name: "bounded", lifecycle: dcr.Lifecycle{Unused: -1}, bound: (o.registrations + 1) / 2}, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nfor ever, with room for %s clients: %s clients were evicted; %s of the %s used ones are there; %s users lost theirs\n",
		thousands(r.variant.bound), thousands(r.removed), thousands(r.used), thousands(results[0].used), thousands(r.tally.lost))
	return check(append(results, r)...)
}

// draw writes the drawing, if one is wanted.
func draw(o options, results []*result) error {
	if o.svg == "" {
		return nil
	}
	var text strings.Builder
	if err := writeSVG(&text, o, results); err != nil {
		return err
	}
	return os.WriteFile(o.svg, []byte(text.String()), 0o644)
}

// printNewest shows what an operator sees first in the list of clients.
func printNewest(out io.Writer, r *result) {
	fmt.Fprintf(out, "\nregistered last (%s):\n", r.variant.name)
	for _, c := range r.newest {
		used := "not used yet"
		if !c.LastUsedAt.IsZero() {
			used = "used " + c.LastUsedAt.Format(time.DateTime)
		}
		fmt.Fprintf(out, "  %s  %-16s %s\n", c.CreatedAt.Format(time.DateTime), c.Metadata.ClientName, used)
	}
}

// check returns an error where a variant breaks the promise.
func check(results ...*result) error {
	var broken []string
	for _, r := range results {
		if r.tally.lost > 0 {
			broken = append(broken, fmt.Sprintf("%s: %d users within the rules were refused", r.variant.name, r.tally.lost))
		}
	}
	if broken != nil {
		return errors.New(strings.Join(broken, "; "))
	}
	return nil
}
