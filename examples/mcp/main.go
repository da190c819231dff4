// Command mcp shows an MCP server behind an authorization server, and a client of both, made with the official Go SDK:
//
//	go run ./examples/mcp
//
// Everything runs in this process, on loopback. Each HTTP exchange is a line. The exit status is 0 if each step had the
// outcome that it should have.
//
// authorization_server.go and sign_in.go are an authorization server to copy from, mcp_server.go and guard.go an MCP
// server, client.go what an application adds to the SDK's client. The other files are the demonstration: world.go starts
// it, document.go is what a client publishes, conversation.go has the steps, browser.go plays the user, transcript.go and exchange.go write the lines.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// run plays the conversation, first with an authorization server that takes no documents, then with one that does. It stops
// at the first step that ends in another way than expected.
func run(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "A client calls the tools of an MCP server, for which an authorization server gives it tokens.")
	fmt.Fprintln(out, "Each line is an HTTP request: who asks whom, what, and the answer's status. Of a secret the beginning is shown.")
	for _, documents := range []bool{false, true} {
		if err := runWorld(ctx, out, documents); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nAll as expected.")
	return nil
}

func runWorld(ctx context.Context, out io.Writer, documents bool) error {
	w, err := newWorld(out, documents)
	if err != nil {
		return err
	}
	defer w.close()
	for _, act := range w.acts(documents) {
		w.say("\n%s", act.title)
		for _, step := range act.steps {
			if err := w.play(ctx, step); err != nil {
				return err
			}
		}
	}
	return nil
}
