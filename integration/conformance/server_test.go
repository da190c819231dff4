package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// buildServer builds examples/authserver.
func buildServer(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "authserver")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../examples/authserver").CombinedOutput()
	require.NoError(t, err, string(output))
	return program
}

// server is examples/authserver, a process of its own, and its user with a browser.
type server struct{ issuer, user, password string }

// startServer starts the program, which tells where it is and who may sign in.
func startServer(t *testing.T, program string, flags ...string) *server {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	var log bytes.Buffer
	command.Stderr = &log
	require.NoError(t, command.Start())
	t.Cleanup(func() { // after the end of the context, which ends the program
		_ = command.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	s := new(server)
	lines := bufio.NewScanner(output)
	for s.password == "" {
		require.True(t, lines.Scan(), "authserver does not start")
		words := strings.Fields(lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "authserver is at "):
			s.issuer = words[3]
		case strings.HasPrefix(lines.Text(), "  sign in as "):
			s.user, s.password = strings.TrimSuffix(words[3], ","), words[5]
		}
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return s
}

// metadata is what a public client says of itself.
func metadata(redirect string) map[string]any {
	return map[string]any{
		"client_name": "Conformance runner", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none",
	}
}

// register registers a client.
func register(t *testing.T, s *server, redirect string) (id string) {
	t.Helper()
	body, err := json.Marshal(metadata(redirect))
	require.NoError(t, err)
	response, err := http.Post(s.issuer+"/register", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusCreated, response.StatusCode)
	var client struct {
		ID string `json:"client_id"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&client))
	return client.ID
}

// publish publishes the metadata document of a client that does not register.
func publish(t *testing.T, _ *server, redirect string) (id string) {
	t.Helper()
	return dcrtest.StartDocumentHost(t).Publish(t, "/client.json", metadata(redirect))
}

// allow is what the user does with the URL of an authorization request: signs in, allows, and is sent back to the
// client.
func (s *server) allow(t *testing.T, target string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar}
	response, err := browser.Get(target)
	page := read(t, response, err)
	for _, fields := range []url.Values{
		{"user": {s.user}, "password": {s.password}},
		{"decision": {"allow"}},
	} {
		require.NotEmpty(t, page.action, page.text)
		for name, value := range fields {
			page.fields[name] = value
		}
		response, err := browser.PostForm(s.issuer+page.action, page.fields)
		page = read(t, response, err)
	}
	require.Equal(t, "OK. You can close this page.", page.text)
}

// page is an answer with its form: where the form goes, and what is hidden in it.
type page struct {
	text, action string
	fields       url.Values
}

func read(t *testing.T, response *http.Response, err error) page {
	t.Helper()
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(content))
	found := page{text: string(content), fields: url.Values{}}
	root, err := html.Parse(bytes.NewReader(content))
	require.NoError(t, err)
	for node := range root.Descendants() {
		attributes := map[string]string{}
		for _, attribute := range node.Attr {
			attributes[attribute.Key] = attribute.Val
		}
		switch {
		case node.Data == "form":
			found.action = attributes["action"]
		case node.Data == "input" && attributes["type"] == "hidden":
			found.fields.Set(attributes["name"], attributes["value"])
		}
	}
	return found
}
