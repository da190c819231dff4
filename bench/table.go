package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// print writes what was measured as Markdown, with what has to be known to repeat it.
func (b *bench) print(out io.Writer) error {
	text := new(strings.Builder)
	fmt.Fprintf(text, "%s %d rounds of %d requests over %d connections.\n\n", machineNow(), b.rounds, b.options.requests, workers)
	sent := 0
	for _, name := range slices.Sorted(maps.Keys(b.servers)) {
		requests, _ := b.servers[name].answered()
		sent += requests
		fmt.Fprintf(text, "- %s: %s\n", name, b.servers[name].name)
	}
	b.printTimes(text)
	fmt.Fprintf(text, "\n| Live heap of a client, of %d | Bytes | Times the JSON of its answer |\n|---|--:|--:|\n", b.clients)
	for _, h := range b.heaps {
		fmt.Fprintf(text, "| %s | %.0f | %.2f |\n", h.server, h.bytes, h.bytes/h.json)
	}
	fmt.Fprintf(text, "\n%d requests, 0 failed.\n", sent)
	_, err := io.WriteString(out, text.String())
	return err
}

// machineNow is what has to be known of the day, the machine and the code.
func machineNow() string {
	return fmt.Sprintf("%s, %s, %s/%s, %s, %d processors, commit %s.", time.Now().UTC().Format(time.DateOnly),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU(), commit())
}

// printTimes writes a line for each row: the median of each server's rounds, the ratio of the sums of all rounds, and the
// quartiles of the ratios of single rounds, which show how steady the machine was.
func (b *bench) printTimes(text io.Writer) {
	fmt.Fprint(text, "\n| Server's CPU, µs a request | dcr | Peer | | Ratio | Half of the rounds |\n|---|--:|--:|---|--:|---|\n")
	for _, r := range b.results {
		ratios := make([]float64, len(r.ours))
		var ours, theirs time.Duration
		for i := range ratios {
			ratios[i] = float64(r.ours[i]) / float64(r.theirs[i])
			ours, theirs = ours+r.ours[i], theirs+r.theirs[i]
		}
		slices.Sort(ratios)
		fmt.Fprintf(text, "| %s | %.1f | %.1f | %s | %.2f | %.2f to %.2f |\n", r.name, median(r.ours), median(r.theirs), r.peer,
			float64(ours)/float64(theirs), ratios[len(ratios)/4], ratios[len(ratios)*3/4])
	}
}

// median is in microseconds.
func median(times []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[len(sorted)/2]) / float64(time.Microsecond)
}

// processor is the model, as Linux names it.
func processor() string {
	content, err := os.ReadFile("/proc/cpuinfo")
	found := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(content)
	if err != nil || found == nil {
		return "unknown processor"
	}
	return string(found[1])
}

// commit is that of the working copy; "unknown" where git does not know.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// answered is how many requests of all workers were answered as they should be, and the bytes of the answers.
func (p *process) answered() (requests, bytes int) {
	for _, w := range p.workers {
		requests += w.sent
		bytes += w.bytes
	}
	return requests, bytes
}
