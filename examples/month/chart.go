package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

const barWidth = 24

// printChart shows the live clients of each variant at the end of every second day, all
// on one scale.
func printChart(out io.Writer, results []*result) {
	most := 1
	for _, r := range results {
		most = max(most, r.peak)
	}
	fmt.Fprintf(out, "live clients, where a full bar is %s:\n\n", thousands(most))
	header := "day"
	for _, r := range results {
		header += fmt.Sprintf("  %-*s", barWidth+9, r.variant.name)
	}
	fmt.Fprintln(out, strings.TrimRight(header, " "))
	for i := range results[0].live {
		if i%2 == 0 && i != len(results[0].live)-1 {
			continue
		}
		line := fmt.Sprintf("%3d", i+1)
		for _, r := range results {
			bar := strings.Repeat("#", (r.live[i]*barWidth+most-1)/most)
			line += fmt.Sprintf("  %-*s%8s ", barWidth, bar, thousands(r.live[i]))
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(out)
}

// printTable shows the figures of each variant in a column.
func printTable(out io.Writer, results []*result) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, of func(*result) string) {
		fmt.Fprintf(table, "%-52s\t", name)
		for _, r := range results {
			fmt.Fprintf(table, "%s\t", of(r))
		}
		fmt.Fprintln(table)
	}
	number := func(name string, of func(*result) int) {
		row(name, func(r *result) string { return thousands(of(r)) })
	}
	row("", func(r *result) string { return r.variant.name })
	number("registrations", func(r *result) int { return r.created + r.shared })
	number("  of them answered with a shared client", func(r *result) int { return r.shared })
	number("live clients, at the peak", func(r *result) int { return r.peak })
	number("live clients, in the end", func(r *result) int { return r.final })
	number("  of them got a token", func(r *result) int { return r.used })
	number("removed by sweeps", func(r *result) int { return r.swept })
	number("expired, and replaced before the sweep", func(r *result) int { return r.removed })
	number("sign-ins", func(r *result) int { return r.tally.signIns })
	number("refreshes", func(r *result) int { return r.tally.refreshes })
	number("refused because the client was gone:", func(r *result) int { return r.tally.again })
	number("  first sign-in later than an hour", func(r *result) int { return r.tally.lateFirst })
	number("  away for 14 days, and the refresh token had expired", func(r *result) int { return r.tally.longAway })
	number("  WITHIN THE RULES (has to be 0)", func(r *result) int { return r.tally.lost })
	row("heap after GC, less what was there before, MB", func(r *result) string { return strconv.FormatInt(r.heap>>20, 10) })
	row("CPU of server and users together, s", func(r *result) string { return fmt.Sprintf("%.1f", r.cpu.Seconds()) })
	_ = table.Flush()
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
