// Command mcp shows an MCP server behind an authorization server, and a client of both, made with the official Go SDK:
//
//	go run ./examples/mcp
//
// Everything runs in this process, on loopback. Each HTTP exchange is a line. The exit status is 0 if each step had the
// outcome that it should have.
//
// authorization_server.go and sign_in.go are an authorization server to copy from, mcp_server.go and guard.go an MCP
// server, client.go what an application adds to the SDK's client. The other files are the demonstration: world.go starts
// it, conversation.go has its steps, browser.go plays the user, transcript.go and exchange.go write the lines.
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

// run plays the conversation, and stops at the first step that ends in another way than expected.
func run(ctx context.Context, out io.Writer) error {
	w, err := newWorld(out)
	if err != nil {
		return err
	}
	defer w.close()
	w.say("A client calls the tools of an MCP server, for which an authorization server gives it tokens.")
	w.say("Each line is an HTTP request: who asks whom, what, and the answer's status. Of a secret the beginning is shown.")
	for _, act := range w.acts() {
		w.say("\n%s", act.title)
		for _, step := range act.steps {
			if err := w.play(ctx, step); err != nil {
				return err
			}
		}
	}
	w.say("\nAll as expected.")
	return nil
}
