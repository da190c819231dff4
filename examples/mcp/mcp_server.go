package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The scopes of the MCP server. Every request needs the first, and one tool the second too.
const (
	readScope  = "notes:read"
	writeScope = "notes:write"
)

// scopesFor are the scopes that a call of a tool needs; those of every other request where there is no tool.
func scopesFor(tool string) []string {
	if tool == "add_note" {
		return []string{readScope, writeScope}
	}
	return []string{readScope}
}

// metadataPath is where RFC 9728, section 3.1, puts the metadata of a resource whose path is /mcp.
const metadataPath = "/.well-known/oauth-protected-resource/mcp"

// mcpServer keeps the notes of users. It is a resource server: it knows the authorization server's address, and
// credentials with which it may ask there what a token is good for.
type mcpServer struct {
	origin   string
	issuer   string
	id       string
	secret   string
	requests *http.Client // to the authorization server

	mu    sync.Mutex
	notes map[string][]string // by user
}

// resource is the URL of the MCP server, and what its tokens have to be for.
func (s *mcpServer) resource() string { return s.origin + "/mcp" }

// handler has all routes.
func (s *mcpServer) handler() http.Handler {
	tools := s.tools()
	routes := http.NewServeMux()
	routes.Handle("/mcp", s.guard(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return tools }, &mcp.StreamableHTTPOptions{Stateless: true})))
	routes.Handle(metadataPath, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:             s.resource(),
		AuthorizationServers: []string{s.issuer},
		ScopesSupported:      scopesFor(""), // what a client needs to begin with
	}))
	return routes
}

type addNote struct {
	Text string `json:"text"`
}

func (s *mcpServer) tools() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "read_notes", Description: "reads your notes"},
		func(_ context.Context, call *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return s.answer(call, "")
		})
	mcp.AddTool(server, &mcp.Tool{Name: "add_note", Description: "adds a note to yours"},
		func(_ context.Context, call *mcp.CallToolRequest, note addNote) (*mcp.CallToolResult, any, error) {
			return s.answer(call, note.Text)
		})
	return server
}

// answer returns the notes of the user, with one more where there is a text.
func (s *mcpServer) answer(call *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
	caller := call.Extra.TokenInfo
	// The guard has looked at the scopes already, to ask the client for more in time. That the tool does so too makes
	// it safe where the guard and the SDK read a request in two ways.
	if !hasAll(caller.Scopes, scopesFor(call.Params.Name)) {
		return nil, nil, errors.New("the token lacks a scope")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != "" {
		s.notes[caller.UserID] = append(s.notes[caller.UserID], text)
	}
	said := caller.UserID + ": " + strings.Join(s.notes[caller.UserID], ", ")
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: said}}}, nil, nil
}

func hasAll(scopes, needed []string) bool {
	return !slices.ContainsFunc(needed, func(scope string) bool { return !slices.Contains(scopes, scope) })
}
