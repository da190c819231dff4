package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attacked is a server whose honest client asks for tokens, at first alone and then during an attack.
type attacked struct {
	*process
	name   string
	honest *worker
	token  func(*worker) error

	idle, during []time.Duration // of the honest client's requests
	memory       [3]memory       // before, during and after
	attacks      []attack
}

// memory is in MiB.
type memory struct{ resident, heap float64 }

// attack is what an attacker has done.
type attack struct {
	Held    int
	Files   int
	Seconds float64
	Answers map[string]int

	processors float64 // that the server used
}

// measureAttack measures how long requests of an honest client take during an attack. The package has its default limits
// then. fosite without the package is attacked in turn with it, to tell what is the package's from what is fosite's and
// net/http's. Server and attacker share the machine, so the attacker has the lowest priority: an attack from elsewhere takes
// no processor time from the server but what its answers take.
func (b *bench) measureAttack(ctx context.Context, out io.Writer) error {
	server, err := build(ctx, b.folder, "server")
	if err != nil {
		return err
	}
	attacker, err := build(ctx, b.folder, "attacker")
	if err != nil {
		return err
	}
	var all []*attacked
	for _, s := range []struct {
		name, flag string
		token      func(*worker) error
	}{{tested, "-strict", tokenRegistered}, {alone, "-alone", tokenStatic}} {
		if err := b.start(ctx, s.name, server, s.flag); err != nil {
			return err
		}
		p := b.servers[s.name]
		all = append(all, &attacked{process: p, name: s.name, honest: &worker{address: p.address}, token: s.token})
	}
	for range b.rounds {
		for _, s := range all {
			command := exec.CommandContext(ctx, "nice", "-n", "19", attacker, "-connections", strconv.Itoa(b.clients))
			if err := s.measure(ctx, command, b.options.requests); err != nil {
				return err
			}
		}
	}
	return b.printAttack(out, all)
}

// measure is one round.
func (s *attacked) measure(ctx context.Context, attacker *exec.Cmd, requests int) (err error) {
	idle, err := s.ask(ctx, requests)
	if err != nil {
		return err
	}
	s.idle = append(s.idle, idle...)
	if s.memory[0].heap == 0 {
		if s.memory[0], err = s.memoryNow("VmRSS"); err != nil {
			return err
		}
	}
	stop, err := s.begin(attacker)
	if err != nil {
		return err
	}
	done, err := s.endure(ctx, requests)
	if err = errors.Join(err, stop(&done)); err != nil {
		return err
	}
	s.attacks = append(s.attacks, done)
	time.Sleep(time.Second) // for the server to notice that the connections have ended
	s.memory[2], err = s.memoryNow("VmRSS")
	return err
}

// endure has the honest client ask during an attack.
func (s *attacked) endure(ctx context.Context, requests int) (done attack, err error) {
	began := time.Now()
	before, err := s.cpu()
	if err != nil {
		return done, err
	}
	during, err := s.ask(ctx, requests)
	if err != nil {
		return done, err
	}
	s.during = append(s.during, during...)
	after, err := s.cpu()
	if err != nil {
		return done, err
	}
	done.processors = float64(after-before) / float64(time.Since(began))
	s.memory[1], err = s.memoryNow("VmHWM")
	return done, err
}

// ask has the honest client ask for so many tokens.
func (s *attacked) ask(ctx context.Context, requests int) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := 0
	return s.honest.paced(ctx, honestEvery, func(w *worker) error {
		if asked++; asked == requests {
			cancel()
		}
		return s.token(w)
	})
}

// begin starts the attack and waits until it is under way. What it returns ends the attack, and reads what was done.
func (s *attacked) begin(attacker *exec.Cmd) (stop func(*attack) error, err error) {
	target := s.honest.service
	if target == nil {
		target = &static
	}
	random, signature, _ := strings.Cut(target.token, ".")
	wrong := random + "." + strings.ToUpper(signature)
	attacker.Args = append(attacker.Args, "-target", s.address, "-client", target.id, "-token", wrong)
	attacker.Stderr = os.Stderr
	stdin, err := attacker.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := attacker.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := attacker.Start(); err != nil {
		return nil, err
	}
	stop = func(done *attack) error {
		_ = stdin.Close()
		return errors.Join(json.NewDecoder(stdout).Decode(done), attacker.Wait())
	}
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(stdout, line); err != nil {
		return nil, errors.Join(fmt.Errorf("the attacker did not start: %w", err), attacker.Wait())
	}
	return stop, nil
}

// memoryNow is what the server takes: of the machine, by a line of /proc/*/status, and of live heap.
func (s *attacked) memoryNow(line string) (memory, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return memory{}, err
	}
	found := regexp.MustCompile(line + `:\s*(\d+) kB`).FindSubmatch(content)
	if found == nil {
		return memory{}, fmt.Errorf("no %s under /proc", line)
	}
	kilobytes, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return memory{}, err
	}
	heap, err := s.heap()
	return memory{kilobytes / (1 << 10), heap / (1 << 20)}, err
}

func (b *bench) printAttack(out io.Writer, all []*attacked) error {
	text := new(strings.Builder)
	fmt.Fprintf(text, "%s %d rounds.\n\n", machineNow(), b.rounds)
	for _, s := range all {
		held, files, seconds, processors, answers := b.clients, 0, 0.0, 0.0, map[string]int{}
		for _, a := range s.attacks {
			held, files, seconds = min(held, a.Held), a.Files, seconds+a.Seconds
			processors += a.processors / float64(len(s.attacks))
			for what, number := range a.Answers {
				answers[what] += number
			}
		}
		fmt.Fprintf(text, "- %s: %d of %d connections held when it began, with a limit of %d open files. The server used %.2f processors. Answers a second:",
			s.process.name, held, b.clients, files, processors)
		for i, what := range slices.Sorted(maps.Keys(answers)) {
			fmt.Fprintf(text, "%s %s, %.1f", map[bool]string{true: ";"}[i > 0], what, float64(answers[what])/seconds)
		}
		text.WriteString("\n")
	}
	fmt.Fprint(text, "\n| Honest client's token requests | Number | Median, ms | 99 of 100, ms | Longest, ms |\n|---|--:|--:|--:|--:|\n")
	for _, s := range all {
		fmt.Fprintf(text, "| %s, idle | %s |\n| %s, during the attack | %s |\n| ratio | | %.1f | %.1f | |\n", s.name, latencies(s.idle), s.name, latencies(s.during),
			milliseconds(s.during, 0.5)/milliseconds(s.idle, 0.5), milliseconds(s.during, 0.99)/milliseconds(s.idle, 0.99))
	}
	fmt.Fprint(text, "\n| MiB | Before | During (most) | After |\n|---|--:|--:|--:|\n")
	for _, s := range all {
		m := s.memory
		fmt.Fprintf(text, "| %s, resident | %.0f | %.0f | %.0f |\n| %s, live heap | %.1f | %.1f | %.1f |\n", s.name, m[0].resident, m[1].resident, m[2].resident,
			s.name, m[0].heap, m[1].heap, m[2].heap)
	}
	_, err := io.WriteString(out, text.String())
	return err
}
