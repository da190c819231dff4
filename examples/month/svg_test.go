package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSVG: the drawing is XML, has a curve with a point for each day for two settings, and says what the table says.
func TestSVG(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "month.svg")
	out := printed(t, "-registrations", "500", "-days", "4", "-svg", file)
	drawing, err := os.ReadFile(file)
	require.NoError(t, err)
	decoder := xml.NewDecoder(strings.NewReader(string(drawing)))
	curves := 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "polyline" {
			curves++
			require.Len(t, strings.Fields(element.Attr[0].Value), 5, "the beginning and four days")
		}
	}
	require.Equal(t, 2, curves)
	live := figures(t, out, "live clients, in the end")
	require.Contains(t, string(drawing), "for ever: "+thousands(live[0]))
	require.Contains(t, string(drawing), "by default: "+thousands(live[1]))
	require.Error(t, run([]string{"-registrations", "10", "-days", "1", "-svg", filepath.Join(file, "nowhere")}, io.Discard, io.Discard))
}

// TestProgress: a terminal shows which day it is, and nothing else does.
func TestProgress(t *testing.T) {
	t.Parallel()
	var progress strings.Builder
	_, err := simulate(variants[1], options{registrations: 20, days: 2, seed: 1, begin: begin, progress: &progress})
	require.NoError(t, err)
	require.Contains(t, progress.String(), "\rby default               day 2 of 2 \n")
	require.False(t, isTerminal(&progress))
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	require.False(t, isTerminal(file))
}
