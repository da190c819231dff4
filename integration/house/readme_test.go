package house_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestReadmeCode: each block of Go in the README stands, line for line, in an example
// that is compiled and run.
func TestReadmeCode(t *testing.T) {
	t.Parallel()
	code := ""
	for _, file := range []string{"example_test.go", "admin/example_test.go", "integration/clients/example_test.go"} {
		code += trimmed(dcrtest.ReadFile(t, file))
	}

	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(dcrtest.ReadFile(t, "README.md"), -1)
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
	var commands []string
	for line := range strings.Lines(dcrtest.ReadFile(t, "README.md")) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	require.GreaterOrEqual(t, len(commands), 2)
	require.Equal(t, []string{"go run ./examples/authserver -demo", "go test ./..."}, commands[:2])
	require.Contains(t, dcrtest.ReadFile(t, ".ci/run"), commands[1])
}
