package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// transcript writes a line for each HTTP exchange, and keeps it until somebody compares it with what was expected.
type transcript struct {
	out io.Writer

	mu    sync.Mutex
	names map[string]string // of servers, by host and port
	kept  strings.Builder
}

func (t *transcript) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// take returns the exchanges since the last call, without their details, each with a line break.
func (t *transcript) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.kept.Reset()
	return t.kept.String()
}

// speaker is an http.RoundTripper whose exchanges are in the transcript, under the name of who asks.
type speaker struct {
	name string
	*transcript
	to http.RoundTripper
}

func (s *speaker) RoundTrip(request *http.Request) (*http.Response, error) {
	e := &exchange{request: request}
	var err error
	if e.sent, err = reread(&request.Body); err != nil {
		return nil, err
	}
	if e.response, err = s.to.RoundTrip(request); err != nil {
		return nil, err
	}
	// A stream of events may never end, and nothing in it matters here.
	if strings.HasPrefix(e.response.Header.Get("Content-Type"), "application/json") {
		if e.received, err = reread(&e.response.Body); err != nil {
			return nil, err
		}
	}
	s.note(s.name, e)
	return e.response, nil
}

// reread reads a body and puts it back.
func reread(body *io.ReadCloser) ([]byte, error) {
	if *body == nil {
		return nil, nil
	}
	content, err := io.ReadAll(*body)
	_ = (*body).Close()
	*body = io.NopCloser(bytes.NewReader(content))
	return content, err
}

// note writes the line of an exchange.
func (t *transcript) note(who string, e *exchange) {
	what := fmt.Sprintf("%s %s %d", e.request.Method, e.request.URL.Path, e.response.StatusCode)
	t.mu.Lock()
	whom := t.names[e.request.URL.Host]
	t.mu.Unlock()
	t.line(who, whom, what, e.matters())
}

// line writes a line. What a server asks while it answers stands above that answer, indented.
func (t *transcript) line(who, whom, what, matters string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.kept, "%s > %s: %s\n", who, whom, what)
	indent := "    "
	if who == mcpServerName || who == serverName {
		indent += "    "
	}
	t.say("%s%s > %s: %s  %s", indent, who, whom, what, matters)
}
