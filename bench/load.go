package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// workers is how many connections a server gets at once, and roundTime how long one round may take at most.
const (
	workers   = 4
	roundTime = time.Minute
)

// worker sends requests over one connection, each after the answer to the one before. It owns the clients that it
// registered.
type worker struct {
	address string
	number  int // of the process's workers
	conn    net.Conn
	reader  *bufio.Reader
	buffer  []byte

	sent    int // requests that were answered as they should be
	bytes   int // of their bodies
	clients []*client
	next    int // of clients
	forNow  []*client
	// services are clients without users, which get tokens.
	services    []*client
	nextService int
	// What the operations at the token endpoint need, made when they first do.
	service, app              *client
	token                     string // of one round, since the oldest are dropped
	appRefresh, staticRefresh string
}

// client is a registered client, or the static one.
type client struct {
	id, secret, token string
	updates           int
}

// round has each worker do its share of n operations, over new connections.
func (p *process) round(n int, operation func(*worker) error) error {
	failures := make([]error, len(p.workers))
	var running sync.WaitGroup
	for i, w := range p.workers {
		running.Go(func() { failures[i] = w.work((n+i)/len(p.workers), operation) })
	}
	running.Wait()
	for _, err := range failures {
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (w *worker) work(n int, operation func(*worker) error) error {
	if err := w.dial(); err != nil {
		return err
	}
	defer w.conn.Close()
	for range n {
		if err := operation(w); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) dial() (err error) {
	if w.conn, err = net.Dial("tcp", w.address); err != nil {
		return err
	}
	w.reader = bufio.NewReader(w.conn)
	w.token = ""
	return w.conn.SetDeadline(time.Now().Add(roundTime))
}

// request is what a worker sends, and the one status that is no failure.
type request struct {
	method, path  string
	authorization string // the header
	contentType   string
	body          string
	want          int
}

// do sends a request and reads its answer. It writes HTTP by hand: a load that costs little leaves the processor to the
// server.
func (w *worker) do(r request) (http.Header, []byte, error) {
	w.buffer = fmt.Appendf(w.buffer[:0], "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.path, w.address)
	if r.authorization != "" {
		w.buffer = fmt.Appendf(w.buffer, "Authorization: %s\r\n", r.authorization)
	}
	if r.body != "" {
		w.buffer = fmt.Appendf(w.buffer, "Content-Type: %s\r\nContent-Length: %d\r\n", r.contentType, len(r.body))
	}
	w.buffer = append(append(w.buffer, "\r\n"...), r.body...)
	if _, err := w.conn.Write(w.buffer); err != nil {
		return nil, nil, err
	}
	answer, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != r.want {
		err = fmt.Errorf("%s %s: status %d instead of %d: %s", r.method, r.path, answer.StatusCode, r.want, body)
	}
	if err != nil {
		return nil, nil, err
	}
	w.sent++
	w.bytes += len(body)
	return answer.Header, body, nil
}
