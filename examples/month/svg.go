package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The drawing, in pixels: its size, and where the curves lie.
const (
	drawingWidth, drawingHeight = 720, 320
	left, right, top, bottom    = 76, 560, 56, 272
)

var colours = []string{"#c2410c", "#0369a1", "#15803d"}

// writeSVG draws the live clients of each variant at the end of each day, all on one scale.
func writeSVG(out io.Writer, o options, results []*result) error {
	most := 1
	for _, r := range results {
		most = max(most, r.peak)
	}
	d := &drawing{most: most, days: len(results[0].live)}
	title := fmt.Sprintf("Live clients in a month with %s registrations", thousands(o.registrations))
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title" font-family="sans-serif" font-size="13">`, drawingWidth, drawingHeight)
	d.add(`<title id="title">%s</title>`, escaped(title))
	d.add(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	d.add(`<text x="%d" y="28" font-size="16" fill="#111827">%s</text>`, left, escaped(title))
	for i := range 5 {
		n := most * i / 4
		d.add(`<path d="M%d %.1fH%d" stroke="#e5e7eb"/>`, left, d.y(n), right)
		d.add(`<text x="%d" y="%.1f" text-anchor="end" fill="#374151">%s</text>`, left-8, d.y(n)+4, thousands(n))
	}
	for _, day := range []int{1, (d.days + 1) / 2, d.days} {
		d.add(`<text x="%.1f" y="%d" text-anchor="middle" fill="#374151">day %d</text>`, d.x(day), bottom+24, day)
	}
	for i, r := range results {
		d.curve(r, colours[i%len(colours)])
	}
	d.add(`</svg>`)
	_, err := io.WriteString(out, d.text.String())
	return err
}

type drawing struct {
	text       strings.Builder
	most, days int
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.text, format+"\n", args...) }

func (d *drawing) x(day int) float64 {
	return left + float64(right-left)*float64(day)/float64(max(d.days, 1))
}

func (d *drawing) y(clients int) float64 {
	return bottom - float64(bottom-top)*float64(clients)/float64(d.most)
}

// curve draws one variant, with its name behind its end.
func (d *drawing) curve(r *result, colour string) {
	points := fmt.Sprintf("%.1f,%.1f", d.x(0), d.y(0))
	for i, live := range r.live {
		points += fmt.Sprintf(" %.1f,%.1f", d.x(i+1), d.y(live))
	}
	d.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5"/>`, points, colour)
	last := r.live[len(r.live)-1]
	d.add(`<text x="%d" y="%.1f" fill="%s">%s: %s</text>`, right+8, d.y(last)+4, colour, escaped(r.variant.name), thousands(last))
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
