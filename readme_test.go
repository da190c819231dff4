package dcr_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeCode: each block of Go in the README stands, line for line, in an example
// that is compiled and run.
func TestReadmeCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	files, err := filepath.Glob("example*_test.go")
	require.NoError(t, err)
	code := ""
	for _, file := range append(files, "admin/example_test.go", "integration/example_test.go") {
		examples, err := os.ReadFile(file)
		require.NoError(t, err)
		code += trimmed(string(examples))
	}

	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.GreaterOrEqual(t, len(blocks), 3)
	for _, block := range blocks {
		require.Contains(t, code, trimmed(block[1]), "no example has this block:\n%s", block[1])
	}
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

// TestReadmeCommands: the two commands come first, and CI runs the second.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var commands []string
	for line := range strings.Lines(string(readme)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	require.GreaterOrEqual(t, len(commands), 2)
	require.Equal(t, []string{"go run ./examples/authserver -demo", "go test ./..."}, commands[:2])
	ci, err := os.ReadFile(".ci/run")
	require.NoError(t, err)
	require.Contains(t, string(ci), commands[1])
}
