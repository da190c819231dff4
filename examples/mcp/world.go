package main

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// The names of who asks and who is asked.
const (
	clientName    = "client"
	browserName   = "browser"
	mcpServerName = "MCP server"
	hostName      = "document host"
	serverName    = "authorization server"
)

// world is an authorization server, an MCP server and the host of a client's document, each on a port of its own, and a
// user.
type world struct {
	*transcript
	host     *httptest.Server
	later    atomic.Int64 // by how many nanoseconds the copies of documents are older than they are
	server   *authorizationServer
	mcp      *mcpServer
	user     string
	password string
	servers  []*httptest.Server
}

// newWorld starts everything, with an authorization server that takes documents or does not. It has to be closed.
func newWorld(out io.Writer, documents bool, change ...func(*dcr.Config)) (*world, error) {
	w := &world{transcript: &transcript{out: out, names: map[string]string{}}, user: "alice", password: rand.Text()}
	w.host = w.listen(hostName)
	w.host.Config.Handler = w.documentHost()
	w.host.StartTLS()
	var known dcr.Documents
	if documents {
		var err error
		if known, err = w.documents(); err != nil {
			return nil, err
		}
	}
	return w, w.start(known, change)
}

func (w *world) start(documents dcr.Documents, change []func(*dcr.Config)) (err error) {
	atServer, atMCP := w.listen(serverName), w.listen(mcpServerName)
	w.mcp = &mcpServer{
		origin: "http://" + atMCP.Listener.Addr().String(), issuer: "http://" + atServer.Listener.Addr().String(),
		id: "notes", requests: w.requests(mcpServerName), notes: map[string][]string{},
	}
	if w.server, err = newAuthorizationServer(w.mcp.issuer, w.mcp.resource(), documents, users{w.user: w.password}, change...); err != nil {
		return err
	}
	// The MCP server is a client of the authorization server, too: one that may ask about every token.
	if w.mcp.secret, err = w.server.addClient(context.Background(), fosite.DefaultClient{ID: w.mcp.id}); err != nil {
		return err
	}
	atServer.Config.Handler, atMCP.Config.Handler = w.server.handler(), w.mcp.handler()
	atServer.Start()
	atMCP.Start()
	return nil
}

// listen opens a port on loopback. The server starts later, when those that it knows have their addresses.
func (w *world) listen(name string) *httptest.Server {
	server := httptest.NewUnstartedServer(nil)
	server.Config.ReadHeaderTimeout = 5 * time.Second
	w.names[server.Listener.Addr().String()] = name
	w.servers = append(w.servers, server)
	return server
}

func (w *world) close() {
	for _, server := range w.servers {
		server.Close()
	}
}

// requests makes requests that are in the transcript.
func (w *world) requests(name string) *http.Client {
	return &http.Client{
		Transport:     &speaker{name, w.transcript, http.DefaultTransport},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
