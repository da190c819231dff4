// Package conformance_test runs the conformance runner of the Model Context Protocol (MCP) against examples/authserver.
package conformance_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wanted is the status of each check that the runner makes, by scenario.
var wanted = map[string]map[string]string{
	"authorization-server-metadata-endpoint": {
		"authorization-server-metadata":      "SUCCESS",
		"authorization-server-metadata-cimd": "SUCCESS",
	},
	"authorization-code-grant": {"authorization-code-grant": "SUCCESS"},
}

// TestMCPConformance runs every scenario that the runner has for authorization servers. The runner plays a public
// client, even where it has a secret, as soon as the server takes public clients too: so a confidential client, which
// has to authenticate (RFC 6749, section 3.2.1), can't be used.
func TestMCPConformance(t *testing.T) {
	t.Parallel()
	needRunner(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(wanted)), scenarios(t), "the runner has other scenarios")
	program := buildServer(t)
	for name, test := range map[string]struct {
		flags  []string // of the server
		path   string   // of the MCP server that the tokens are for
		client func(t *testing.T, s *server, redirect string) (id string)
	}{
		"MCP-01,9207-01/opaque":       {client: register},
		"MCP-01,9207-01/jwt,resource": {client: register, flags: []string{"-tokens", "jwt"}, path: "/mcp"},
		"CIMD-16/document":            {client: publish, flags: []string{"-insecure-outbound-loopback"}, path: "/mcp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, program, test.flags...)
			port := freePort(t)
			client := test.client(t, s, "http://127.0.0.1:"+port+"/callback")
			arguments := []string{"--url", s.issuer, "--port", port, "--client-id", client}
			if test.path != "" {
				arguments = append(arguments, "--resource", s.issuer+test.path)
			}
			statuses, output := runScenarios(t, s, arguments)
			require.Equal(t, wanted, statuses, output)
		})
	}
}

// runner is a command of the runner, with the Node.js that was installed with it, or else that of the machine.
func runner(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	programs, err := filepath.Abs("node_modules/.bin")
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), filepath.Join(programs, "conformance"), arguments...)
	command.Env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	return command
}

// needRunner looks for the runner. Where the machine lacks it the test can't be run; it fails where CI says that all
// services are there.
func needRunner(t *testing.T) {
	t.Helper()
	output, err := runner(t, "--version").CombinedOutput()
	if err == nil {
		return
	}
	if os.Getenv("DCR_REQUIRE_SERVICES") != "" {
		t.Fatal("DCR_REQUIRE_SERVICES is set; run npm ci --prefix integration/conformance:", err, string(output))
	}
	t.Skip("this test needs Node.js 22 and npm ci --prefix integration/conformance:", err, string(output))
}

// scenarios asks the runner which scenarios it has for authorization servers.
func scenarios(t *testing.T) []string {
	t.Helper()
	output, err := runner(t, "list", "--authorization").Output()
	require.NoError(t, err)
	var names []string
	for _, line := range regexp.MustCompile(`(?m)^  - (\S+)`).FindAllStringSubmatch(string(output), -1) {
		names = append(names, line[1])
	}
	return names
}

// runScenarios runs all scenarios. Where the runner prints a URL for a browser, and listens for the browser to come back,
// the user of the server signs in and allows.
func runScenarios(t *testing.T, s *server, arguments []string) (statuses map[string]map[string]string, output string) {
	t.Helper()
	folder := t.TempDir()
	command := runner(t, append([]string{"authorization", "--output-dir", folder}, arguments...)...)
	pipe, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = command.Stdout
	require.NoError(t, command.Start())
	request, listens := "", false
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		output += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), s.issuer+"/oauth2/auth?") {
			request = lines.Text()
		}
		listens = listens || strings.HasPrefix(lines.Text(), "Callback server started: ")
		if request != "" && listens {
			s.allow(t, request)
			request, listens = "", false
		}
	}
	require.NoError(t, lines.Err(), output)
	err = command.Wait()
	statuses, failures := results(t, folder)
	output += failures
	require.NoError(t, err, output)
	return statuses, output
}

var resultFolder = regexp.MustCompile(`^authorization-server-(.+)-\d{4}-\d{2}-\d{2}T[\dZ-]+$`)

// results reads the folders that the runner writes, one for each scenario.
func results(t *testing.T, folder string) (statuses map[string]map[string]string, failures string) {
	t.Helper()
	statuses = map[string]map[string]string{}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, entry := range entries {
		name := resultFolder.FindStringSubmatch(entry.Name())
		require.NotNil(t, name, entry.Name())
		content, err := os.ReadFile(filepath.Join(folder, entry.Name(), "checks.json"))
		require.NoError(t, err)
		var checks []struct{ ID, Status, ErrorMessage string }
		require.NoError(t, json.Unmarshal(content, &checks))
		found := map[string]string{}
		for _, check := range checks {
			require.NotContains(t, found, check.ID, "a check stands there twice")
			found[check.ID] = check.Status
			if check.ErrorMessage != "" {
				failures += fmt.Sprintf("%s, %s: %s\n", name[1], check.ID, check.ErrorMessage)
			}
		}
		require.NotContains(t, statuses, name[1], "a scenario was run twice")
		statuses[name[1]] = found
	}
	return statuses, failures
}

// freePort finds a port for the runner below those that systems give to outgoing connections, so that nobody takes it
// meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.N(10_000))
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			require.NoError(t, listener.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
