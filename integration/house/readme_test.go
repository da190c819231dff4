package house_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// codeBlock is a block of a document between fences; the first group is the language.
var codeBlock = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// TestDocumentCode: each block of Go in a document stands, line for line, in an example or in the program that the
// document is about, which is compiled, and run where it has an output. Of imports each stands in one.
func TestDocumentCode(t *testing.T) {
	t.Parallel()
	var code string
	for _, file := range filesNamed(t, "example_test.go") {
		code += trimmed(dcrtest.ReadFile(t, file))
	}
	programs, err := fs.Glob(os.DirFS(dcrtest.Root(t)), "examples/mcp/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, file := range append(programs, "examples/customstorage/main_test.go") {
		code += trimmed(dcrtest.ReadFile(t, file))
	}

	found := map[string]int{}
	for _, document := range documents(t) {
		for _, block := range codeBlock.FindAllStringSubmatch(dcrtest.ReadFile(t, document), -1) {
			if block[1] == "go" {
				found[document]++
				if imports, ok := strings.CutPrefix(block[2], "import (\n"); ok {
					for line := range strings.Lines(trimmed(imports)) {
						require.Contains(t, code, "\n"+line, document)
					}
					continue
				}
				require.Contains(t, code, trimmed(block[2]), "%s: no example has this block:\n%s", document, block[2])
			}
		}
	}
	require.GreaterOrEqual(t, found["README.md"], 5)
	require.GreaterOrEqual(t, len(found), 5, "documents with code")
}

// trimmed drops indentation and empty lines.
func trimmed(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestReadmeCommands: the two commands come first, within the first 40 lines, and CI runs the second.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	var commands []string
	for i, line := range slices.Collect(strings.Lines(dcrtest.ReadFile(t, "README.md"))) {
		if command, ok := strings.CutPrefix(line, "    "); ok && i < 40 {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	require.GreaterOrEqual(t, len(commands), 2)
	require.Equal(t, []string{"go run ./examples/authserver -demo", "go test ./..."}, commands[:2])
	require.Contains(t, dcrtest.ReadFile(t, ".ci/run"), commands[1])
}

// TestReadmeLength: what does not help a newcomer lies in docs.
func TestReadmeLength(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, prose(dcrtest.ReadFile(t, "README.md")), 1200, "words besides code")
	require.Equal(t, 7, prose("Two words\n\n    go test\n\n```go\nx := 1\n```\n\n| A | B |\n|---|---|\n| `one two` | - [three](four.md) |\n"))
}

// prose counts the words of a document besides its blocks of code.
func prose(document string) int {
	words := 0
	for line := range strings.Lines(codeBlock.ReplaceAllString(document, "")) {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if strings.ContainsFunc(word, func(c rune) bool { return c != '|' && c != '-' }) {
				words++
			}
		}
	}
	return words
}

// TestReadmeVersions: the README names the versions that go.mod has.
func TestReadmeVersions(t *testing.T) {
	t.Parallel()
	module, readme := dcrtest.ReadFile(t, "go.mod"), dcrtest.ReadFile(t, "README.md")
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(module)
	require.NotNil(t, language)
	require.Contains(t, readme, "Go "+language[1])
	fosite := regexp.MustCompile(`github.com/ory/fosite (v\S+)`).FindStringSubmatch(module)
	require.NotNil(t, fosite)
	require.Contains(t, readme, "fosite "+fosite[1])
}

// TestReadmeTroubles: the texts in the table of what does not work are those that this package and fosite
// print.
func TestReadmeTroubles(t *testing.T) {
	t.Parallel()
	texts := texts(t)
	_, section, ok := strings.Cut(dcrtest.ReadFile(t, "README.md"), "## When it does not work\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| You see") {
			continue
		}
		columns := strings.Split(line, " | ")
		require.Len(t, columns, 3, line)
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(columns[0], -1) {
			if strings.Contains(text[1], "/") {
				continue // a path or a URI
			}
			quoted++
			require.True(t, slices.ContainsFunc(texts, func(known string) bool { return says(known, text[1]) }), "nothing prints %q", text[1])
		}
	}
	require.GreaterOrEqual(t, quoted, 15)
}

// says reports whether a text of the code says what a document quotes, all of it or a part. What the code
// fills in may be anything.
func says(known, quoted string) bool {
	if strings.Contains(known, quoted) {
		return true
	}
	pattern := regexp.MustCompile(`%[a-z]`).ReplaceAllString(regexp.QuoteMeta(known), ".+")
	return strings.Contains(known, "%") && len(known) > 10 && regexp.MustCompile("^"+pattern+"$").MatchString(quoted)
}
