package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// verdict is what the MCP server says of a token.
type verdict struct {
	status      int
	code, scope string // of the challenge
}

// ask calls a tool with a token, and without one where it is empty. No note is added.
func (w *world) ask(t *testing.T, token, tool string) verdict {
	t.Helper()
	arguments := map[string]string{"read_notes": `{}`, "add_note": `{"text":""}`}[tool]
	found, _ := w.post(t, token, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":`+arguments+`}}`)
	return found
}

// post sends a message to the MCP server.
func (w *world) post(t *testing.T, token, message string) (found verdict, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.mcp.resource(), strings.NewReader(message))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	found.status = response.StatusCode
	challenges, err := oauthex.ParseWWWAuthenticate(response.Header.Values("WWW-Authenticate"))
	require.NoError(t, err)
	if len(challenges) > 0 {
		require.Equal(t, w.mcp.origin+metadataPath, challenges[0].Params["resource_metadata"])
		found.code, found.scope = challenges[0].Params["error"], challenges[0].Params["scope"]
	}
	return found, string(content)
}

// stopServer stops the authorization server.
func (w *world) stopServer() { w.servers[1].Close() }

// authorizeURL is an authorization request of a client.
func (w *world) authorizeURL(client, scope, resource, verifier string) string {
	return w.server.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "scope": {scope}, "resource": {resource},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode()
}

// page is the status of the authorization endpoint for a client.
func (w *world) page(t *testing.T, client string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		w.authorizeURL(client, readScope, w.mcp.resource(), oauth2.GenerateVerifier()), nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// tokens are those of a new client for a scope and a resource.
func (w *world) tokens(t *testing.T, scope, resource string) (access, refresh string) {
	t.Helper()
	client, verifier := w.register(t), oauth2.GenerateVerifier()
	b := &browser{w.user, w.password, w.requests(browserName)}
	back, err := b.visit(t.Context(), &auth.AuthorizationArgs{URL: w.authorizeURL(client, scope, resource, verifier)})
	require.NoError(t, err)
	response, err := http.PostForm(w.server.issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {back.Code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	})
	members := answered(t, response, err, http.StatusOK)
	return members["access_token"].(string), members["refresh_token"].(string)
}

func (w *world) register(t *testing.T) string {
	t.Helper()
	response, err := http.Post(w.server.issuer+"/register", "application/json",
		strings.NewReader(`{"redirect_uris":["`+redirectURI+`"],"token_endpoint_auth_method":"none"}`))
	return answered(t, response, err, http.StatusCreated)["client_id"].(string)
}

func answered(t *testing.T, response *http.Response, err error, status int) (members map[string]any) {
	t.Helper()
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, status, response.StatusCode)
	require.NoError(t, json.NewDecoder(response.Body).Decode(&members))
	return members
}
