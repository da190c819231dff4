// Command authserver is a complete OAuth 2.0 and OpenID Connect authorization server
// with dynamic client registration, to run, to read and to copy from:
//
//	go run ./examples/authserver                           serves on http://127.0.0.1:8080
//	go run ./examples/authserver -demo                     plays the whole life of a client against itself
//	go run ./examples/authserver -storage sqlite:auth.db   keeps what is registered; PostgreSQL does, too
//
// Several processes serve one issuer where all have the same -storage, -issuer and other flags but -addr.
//
// server.go composes it and lists its routes. authorize.go has the pages for users, pending.go what
// waits while they decide, tokens.go the endpoints for clients and resource servers, storage.go and
// keys.go what is kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "authserver:", err)
		os.Exit(1)
	}
}

// run serves until the context is done, or plays the demo.
func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	o, err := parseOptions(args, errOut)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	// The port is known only now where -addr asks for any free one.
	o.addr = listener.Addr().String()
	if o.issuer == "" {
		o.issuer = "http://" + o.addr
	}
	if o.demo {
		o = withDemoClient(o)
	}
	server, err := newServer(ctx, o, newLog(o, errOut))
	if err != nil {
		_ = listener.Close()
		return err
	}
	work := server.work
	if o.demo {
		work = func(ctx context.Context) error { return playDemo(ctx, demoOf(server), out) }
	} else {
		printNotice(out, server)
	}
	err = serve(ctx, listener, server.handler(), work)
	return errors.Join(err, server.close())
}

// newLog writes to the standard error stream. The demo prints on the standard output what happens,
// so its log has errors only.
func newLog(o options, errOut io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.demo {
		level = slog.LevelError
	}
	return slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
}

// work is what a server does beside its requests: clients that were never used expire after an hour.
func (s *server) work(ctx context.Context) error {
	s.provider.RunSweeper(ctx, time.Minute)
	return nil
}

// serve answers requests while work runs, and then lets those under way finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error) error {
	// Without these bounds a client that sends or reads slowly holds a connection and
	// a goroutine for as long as it likes.
	web := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10, // authorization requests travel in the query
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- web.Serve(listener)
		cancel() // if serving failed, the work has to know
	}()
	err := work(ctx)

	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	err = errors.Join(err, web.Shutdown(grace))
	if failure := <-served; !errors.Is(failure, http.ErrServerClosed) {
		err = errors.Join(err, failure)
	}
	return err
}

// printNotice says where the server is and what is unusual about its settings.
func printNotice(out io.Writer, s *server) {
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	line("authserver is at %s and listens on %s", s.options.issuer, s.options.addr)
	line("  metadata      %s", s.url("/.well-known/oauth-authorization-server"))
	line("  registration  %s (%s)", s.url("/register"), s.options.registration)
	kept, made := s.kept()
	if s.options.documents {
		line("  documents     the client_id may be the URL of a metadata document (%s)", documentsOf(s.options))
	}
	line("  sign in as    %s, password %s (%s)", demoUser, s.users.password, made)
	if s.admin != nil {
		line("  operator      %s as %s, password %s (%s)", s.url("/admin/"), adminUser, s.operators.password, made)
	}
	if s.admin != nil && s.options.registration == registrationToken {
		line("  mint tokens   %s, with which clients register", s.url("/admin/tokens"))
	}
	line("  tokens        %s", s.options.tokens)
	line("  storage       %s", kept)
	if s.options.registration == registrationOpen {
		line("NOTICE: registration is open: whoever reaches %s can register clients, and such", s.options.addr)
		line("        clients may use client_credentials, which gives them tokens without a user.")
		line("        That is for trials only. Elsewhere use -registration token or user.")
	}
	if s.admin != nil && !isLoopback(s.options.addr) {
		line("WARNING: the operator's pages are on, and %s is plain http: whoever can read the", s.options.addr)
		line("         traffic has the password. Only a proxy with TLS on this machine or network may reach it.")
	}
	if s.options.insecureOutbound {
		line("WARNING: -insecure-outbound-loopback: clients and their documents may have this server send requests to")
		line("         this machine, and their certificates are not checked. That is for tests only.")
	}
}

// documentsOf says whose documents are taken.
func documentsOf(o options) string {
	if len(o.documentsOf) == 0 {
		return "of every public host"
	}
	return "of " + strings.Join(o.documentsOf, ", ")
}

// kept says what becomes of what is registered, and when the passwords are made.
func (s *server) kept() (storage, passwords string) {
	d, err := parseStorage(s.options.storage)
	if err != nil || d == nil {
		return "memory: what is registered is gone when the server stops", "new at every start"
	}
	return fmt.Sprintf("%s, %s: what is registered stays", d.dialect, d.shown), "the same at every start"
}
