package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/ory/fosite"
)

// act is one way in which a client comes in.
type act struct {
	title string
	steps []step
}

// step is one part of the conversation.
type step struct {
	title string
	play  func(ctx context.Context) error
	want  string // all exchanges, in order
}

// play plays a step. The error says what is not as expected.
func (w *world) play(ctx context.Context, s step) error {
	w.say("\n  %s", s.title)
	_ = w.take()
	err := s.play(ctx)
	if got := w.take(); err == nil && got != s.want {
		err = fmt.Errorf("the exchanges are\n%swant\n%s", got, s.want)
	}
	if err != nil {
		return fmt.Errorf("not as expected: %s: %w", s.title, err)
	}
	return nil
}

func (w *world) acts(documents bool) []act {
	if documents {
		return []act{{"C. The same client as in A, at an authorization server that takes documents", w.newActor().hasDocument()}}
	}
	return []act{
		{"A. A client with a document, at an authorization server that takes none: it registers (RFC 7591)", w.newActor().registers()},
		{"B. A client that the operator of the authorization server knows", w.newActor().isKnown()},
	}
}

// The parts of which the outcomes of steps are made, an exchange a line.
const (
	noToken    = "client > MCP server: POST /mcp 401\n"
	asks       = "MCP server > authorization server: POST /introspect 200\n"
	accepted   = asks + "client > MCP server: POST /mcp 200\n"
	noGood     = asks + "client > MCP server: POST /mcp 401\n"
	tooLittle  = asks + "client > MCP server: POST /mcp 403\n"
	discovers  = "client > MCP server: GET " + metadataPath + " 200\n" + readsServer
	registered = "client > authorization server: POST /register 201\n"
	signsIn    = "browser > authorization server: GET /authorize 200\n" +
		"browser > authorization server: POST /sign-in 303\n" + newTokens
	newTokens   = "client > authorization server: POST /token 200\n"
	fetched     = "authorization server > document host: GET " + documentPath + " 200\n"
	notKnown    = "client > authorization server: POST /token 401\n"
	readsServer = "client > authorization server: GET /.well-known/oauth-authorization-server 200\n"
)

// actor is a client that takes part, with its session at the MCP server.
type actor struct {
	*world
	*client
	session *mcp.ClientSession
}

func (w *world) newActor() *actor {
	b := &browser{w.user, w.password, w.requests(browserName)}
	return &actor{world: w, client: &client{config: auth.AuthorizationCodeHandlerConfig{
		RedirectURL: redirectURI, AuthorizationCodeFetcher: b.visit, Client: w.requests(clientName),
	}}}
}

// redirectURI is the client's. It would listen there on a port of its own for each sign-in.
const redirectURI = "http://127.0.0.1:33418/callback"

// appName is what the client calls itself.
const appName = "Notes on the Desk"

// comesIn configures a client that works with any authorization server: it has a document, and registers where that is
// not taken.
func (a *actor) comesIn() {
	a.config.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: a.documentURL()}
	a.config.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
		ClientName: appName, RedirectURIs: []string{redirectURI}, TokenEndpointAuthMethod: "none",
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
	}}
}

func (a *actor) registers() []step {
	a.comesIn()
	return []step{
		{"It connects without a token, learns where to get one, registers, and has the user sign in.", a.connect,
			noToken + discovers + registered + signsIn + accepted},
		{"It reads notes.", a.calls("read_notes", "", ""), accepted},
		{"It adds a note. Its token lacks a scope for this, so it asks the user for more, as the same client.", a.stepsUp,
			tooLittle + discovers + signsIn + accepted},
		{"Its token has expired (the demonstration sets its time back). It gets another one without the user.", a.refreshes,
			newTokens + accepted},
		{"The operator deletes its registration. It registers anew, and has the user sign in again.", a.isDeleted,
			noGood + notKnown + discovers + registered + signsIn + accepted},
	}
}

func (a *actor) hasDocument() []step {
	a.comesIn()
	return []step{
		{"It connects. Its identifier is the address of its document, which the authorization server fetches.", a.connect,
			noToken + discovers + fetched + signsIn + accepted},
		{"It adds a note, and asks the user for more. The document is known now.", a.stepsUp, tooLittle + discovers + signsIn + accepted},
		{"An hour later the host of the document is down. The client gets another token all the same.", func(ctx context.Context) error {
			a.host.Close()
			a.later.Store(int64(time.Hour)) // the copy is due to be fetched again
			return a.refreshes(ctx)
		}, newTokens + accepted},
	}
}

func (a *actor) isKnown() []step {
	return []step{
		{"It connects with its identifier and secret, and has the user sign in.", func(ctx context.Context) error {
			secret, err := a.server.addClient(ctx, fosite.DefaultClient{
				ID: "desk", RedirectURIs: []string{redirectURI}, GrantTypes: []string{"authorization_code", "refresh_token"},
				ResponseTypes: []string{"code"}, Scopes: scopesFor(""), Audience: []string{a.mcp.resource()},
			})
			a.config.PreregisteredClient = &oauthex.ClientCredentials{
				ClientID: "desk", Issuer: a.server.issuer, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: secret},
			}
			return errors.Join(err, a.connect(ctx))
		}, noToken + discovers + signsIn + accepted},
		{"It reads notes.", a.calls("read_notes", "", "buy milk"), accepted},
	}
}

func (a *actor) connect(ctx context.Context) (err error) {
	a.session, err = mcp.NewClient(&mcp.Implementation{Name: "desk", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: a.mcp.resource(), HTTPClient: a.requests(clientName), OAuthHandler: a.client,
	}, nil)
	return err
}

// calls calls a tool, which has to answer with the notes.
func (a *actor) calls(tool, text, want string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		params := &mcp.CallToolParams{Name: tool}
		if text != "" {
			params.Arguments = addNote{text}
		}
		result, err := a.session.CallTool(ctx, params)
		if err != nil {
			return err
		}
		said, ok := result.Content[0].(*mcp.TextContent)
		if !ok || result.IsError || said.Text != a.user+": "+want {
			return fmt.Errorf("the tool said %+v", result.Content[0])
		}
		return nil
	}
}

func (a *actor) stepsUp(ctx context.Context) error {
	before := a.oauth.ClientID
	if err := a.calls("add_note", "buy milk", "buy milk")(ctx); err != nil {
		return err
	}
	if a.oauth.ClientID != before || !hasAll(a.scopes(), scopesFor("add_note")) {
		return fmt.Errorf("client %s has %v now", a.oauth.ClientID, a.scopes())
	}
	return nil
}

func (a *actor) refreshes(ctx context.Context) error {
	before := *a.token
	a.expire()
	if err := a.calls("read_notes", "", "buy milk")(ctx); err != nil {
		return err
	}
	if a.token.AccessToken == before.AccessToken || a.token.RefreshToken == before.RefreshToken {
		return errors.New("the tokens were not replaced")
	}
	return nil
}

// expire is what time does.
func (a *actor) expire() {
	old := *a.token
	old.Expiry = time.Now().Add(-time.Minute)
	a.source = a.oauth.TokenSource(a.ctx, &old)
}

func (a *actor) isDeleted(ctx context.Context) error {
	before := a.oauth.ClientID
	if err := a.server.provider.DeleteClient(ctx, before); err != nil {
		return err
	}
	if err := a.calls("read_notes", "", "buy milk")(ctx); err != nil {
		return err
	}
	if a.oauth.ClientID == before {
		return errors.New("it is the same client")
	}
	return nil
}
