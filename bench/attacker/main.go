// Command attacker attacks a server of the benchmark from many addresses of this machine until its standard input ends. It
// prints a line when the attack is under way, and one of JSON at the end.
//
// Most connections are held: half send a header of garbage and half the body of a registration, a byte each second, and
// begin anew when the server ends them. A few send wrong secrets, wrong registration access tokens and lines of garbage, as
// quickly as they can.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	a := &attacker{answers: map[string]int{}}
	flag.StringVar(&a.target, "target", "", "address of the server, of this machine")
	flag.StringVar(&a.client, "client", "", "identifier of the client whose secret and token are tried")
	flag.StringVar(&a.token, "token", "", "a wrong registration access token")
	connections := flag.Int("connections", 10_000, "connections that are held")
	flag.Parse()
	if err := a.attack(*connections); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

const (
	each        = 4 // connections of each kind that does not wait
	dialsAtOnce = 128
	dribble     = time.Second // between two bytes
)

type attacker struct {
	target, client, token string

	dials        chan struct{}
	address      atomic.Int32 // the last one that was used
	open, opened atomic.Int32 // connections that are held: now, and for the first time

	mu      sync.Mutex
	answers map[string]int // of each kind and status, none is 0
}

// result is what the attacker prints at its end.
type result struct {
	Held    int            // connections, when all had been opened
	Files   uint64         // may be open at once
	Seconds float64        // since then
	Answers map[string]int // to what was sent without a pause, by kind and status
}

func (a *attacker) attack(connections int) error {
	if host, _, err := net.SplitHostPort(a.target); err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("%q is no address of this machine", a.target)
	}
	files, err := a.files()
	if err != nil {
		return err
	}
	connections = min(connections, int(files)-100)
	a.dials = make(chan struct{}, dialsAtOnce)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	for i := range connections {
		go a.hold(ctx, i)
	}
	wait(ctx, func() bool { return int(a.opened.Load()) == connections })
	held, began := int(a.open.Load()), time.Now()
	for range each {
		go a.repeat(ctx, "wrong secret", a.wrongSecret())
		go a.repeat(ctx, "wrong registration access token", a.wrongToken())
		go a.repeat(ctx, "garbage", "\x16\x03\x01 garbage\r\n\r\n")
	}
	wait(ctx, a.answered)
	fmt.Println("ready")
	<-ctx.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(result{held, files, time.Since(began).Seconds(), a.answers})
}

// wait waits until something is so, half a minute at most.
func wait(ctx context.Context, is func() bool) {
	for range 300 {
		if is() || ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// answered reports whether each kind of what is repeated was answered.
func (a *attacker) answered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answers) >= 3
}

// files raises the limit of open files as far as it goes, and returns it.
func (a *attacker) files() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	limit.Cur = limit.Max
	return limit.Cur, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// dial connects from the next address of this machine.
func (a *attacker) dial(ctx context.Context) (net.Conn, error) {
	n := a.address.Add(1)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16&0x3f), byte(n>>8), byte(n))}}
	a.dials <- struct{}{}
	defer func() { <-a.dials }()
	return from.DialContext(ctx, "tcp", a.target)
}

// hold keeps a connection open as long as the server lets it, and opens another then.
func (a *attacker) hold(ctx context.Context, i int) {
	begin := "POST /register HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
	if i%2 == 0 {
		begin = "POST /token HTTP/1.1\r\nHost: server\r\nX-Garbage: "
	}
	for first := true; ctx.Err() == nil; first = false {
		conn, err := a.dial(ctx)
		if first {
			a.opened.Add(1)
		}
		if err != nil {
			time.Sleep(dribble)
			continue
		}
		a.open.Add(1)
		for text := []byte(begin); ; text = []byte{byte('!' + rand.N(90))} {
			if _, err := conn.Write(text); err != nil || ctx.Err() != nil {
				break
			}
			time.Sleep(dribble)
		}
		a.open.Add(-1)
		_ = conn.Close()
	}
}

func (a *attacker) wrongSecret() string {
	basic := base64.StdEncoding.EncodeToString([]byte(a.client + ":dcrs_" + strings.Repeat("A", 43)))
	const body = "grant_type=client_credentials"
	return fmt.Sprintf("POST /token HTTP/1.1\r\nHost: server\r\nAuthorization: Basic %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", basic, len(body), body)
}

func (a *attacker) wrongToken() string {
	return fmt.Sprintf("GET /register/%s HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer %s\r\n\r\n", a.client, a.token)
}

// repeat sends a request as soon as the one before is answered.
func (a *attacker) repeat(ctx context.Context, kind, request string) {
	var conn net.Conn
	var reader *bufio.Reader
	for ctx.Err() == nil {
		if conn == nil {
			var err error
			if conn, err = a.dial(ctx); err != nil {
				continue
			}
			reader = bufio.NewReader(conn)
		}
		status, last := exchange(conn, reader, request)
		a.count(fmt.Sprintf("%s: %d", kind, status))
		if last {
			_ = conn.Close()
			conn = nil
		}
	}
}

// exchange sends a request. It returns the status of the answer, and whether it is the last one of the connection.
func exchange(conn net.Conn, reader *bufio.Reader, request string) (status int, last bool) {
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, true
	}
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, true
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err != nil || answer.Close
}

func (a *attacker) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[what]++
}
