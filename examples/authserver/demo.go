package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// demo is the life of two clients: a command line tool and a service. It sends requests to the
// server over HTTP, as any client does, and stops at the first answer that is not the expected one.
type demo struct {
	*conversation

	user, password string
	resourceServer resourceServer
	tokens         string
	rotate         bool

	metadata     map[string]any
	public       map[string]any // the client information of the tool
	confidential map[string]any // and of the service
	verifier     string
	state        string
	code         string
	issued       map[string]any // the tokens of the tool
}

// The tool registers a redirect URI without a port and asks for a code with one, as tools do
// that listen on any free port. Nothing listens there in the demo: it reads the redirect and does
// not follow it.
const (
	registeredRedirect = "http://localhost/callback"
	requestedRedirect  = "http://localhost:49152/callback"
)

// withDemoClient adds the resource server that checks tokens in the demo.
func withDemoClient(o options) options {
	o.resourceServers = append(slices.Clone(o.resourceServers), resourceServer{"demo-resource-server", rand.Text()})
	return o
}

// demoOf takes from the server what an operator hands out: its address, a user with a password,
// and the credentials of a resource server.
func demoOf(s *server) *demo {
	o := s.options
	return &demo{
		user: demoUser, password: s.users.password,
		resourceServer: o.resourceServers[len(o.resourceServers)-1],
		tokens:         o.tokens, rotate: o.rotate,
		conversation: &conversation{base: o.issuer},
	}
}

// step is one part of the demo.
type step struct {
	title  string
	proves string   // a sentence, true once play has found no error
	shows  []string // the members of its answers that are printed
	play   func()
}

// steps are the demo, in order.
func (d *demo) steps() []step {
	updated := "An update replaces the registration access token, and the old one is refused."
	if !d.rotate {
		updated = "An update needs the registration access token, and keeps it (-rotate=false)."
	}
	return []step{
		{"A client reads the metadata of the server", "The address of the server is all that a client has to know.",
			[]string{"issuer", "registration_endpoint"}, d.discover},
		{"A command line tool registers as a public client", "Registration needs no operator, and a public client gets no secret.",
			[]string{"client_id", "registration_access_token", "registration_client_uri"}, d.registerPublic},
		{"A service registers as a confidential client", "A client that can keep a secret gets one, and here, by AnonymousGrantTypes, " +
			"client_credentials, which the package by default refuses to anonymous callers.",
			[]string{"client_id", "client_secret", "registration_access_token"}, d.registerConfidential},
		{"The user signs in and allows the tool", "The tool gets a code at its redirect URI, on a port that it did not register.",
			nil, d.authorize},
		{"The tool exchanges the code for tokens", "With PKCE (code_verifier) a public client needs no secret.",
			[]string{"access_token", "refresh_token", "id_token", "client_id", "iss", "sub"}, d.redeem},
		{"The tool asks who the user is", "The access token is good for the userinfo endpoint.",
			[]string{"sub", "name"}, d.askUserinfo},
		{"A resource server checks the access token", "It learns the user, the client and the resource (aud) of the token.",
			[]string{"active", "aud", "client_id", "sub"}, d.introspectAsResourceServer},
		{"The service gets a token for itself, and checks two", "A registered client can check its own tokens, and no other client's.",
			[]string{"access_token", "active", "sub"}, d.introspectAsClient},
		{"The tool refreshes its tokens", "A refresh gives a new access token and a new refresh token.",
			[]string{"access_token", "refresh_token", "id_token"}, d.refresh},
		{"The tool reads its registration", "A client can see what the server keeps of it, and its token stays the same.",
			[]string{"client_name", "registration_access_token"}, d.read},
		{"The tool changes its name", updated,
			[]string{"client_name", "registration_access_token", "error"}, d.update},
		{"The tool deletes its registration", "A client can leave without an operator.",
			nil, d.delete},
		{"The tool tries what it had", "Two of its tokens are refused, and its access token is inactive at introspection.",
			[]string{"error", "active"}, d.afterwards},
	}
}

// playDemo prints on out what happens, and returns what was not as expected.
func playDemo(ctx context.Context, d *demo, out io.Writer) error {
	d.open(ctx, out)
	d.say("A tool and a service register at %s, get tokens, and the tool leaves again.", d.base)
	d.say("> is a request, < its answer. A secret is cut off after its first characters:")
	d.say("enough to see whether it is the old one or a new one. (-tokens %s -rotate=%t)", d.tokens, d.rotate)
	for i, step := range d.steps() {
		d.say("\n%2d. %s", i+1, step.title)
		d.shown = step.shows
		if step.play(); d.err != nil {
			d.say("\nNOT AS EXPECTED: %v", d.err)
			return fmt.Errorf("the demo failed at step %d: %w", i+1, d.err)
		}
		d.say("    Proved: %s", step.proves)
	}
	d.say("%s", whatNext)
	d.say("All as expected.")
	return nil
}

// whatNext follows the last step.
const whatNext = `
What to do next
    Run it:   go run ./examples/authserver
    Register: curl 127.0.0.1:8080/register -H 'Content-Type: application/json' -d '{"redirect_uris":["http://localhost/cb"]}'
    Copy it:  examples/authserver: server.go (composition, routes), authorize.go (sign-in, consent), tokens.go
    Read on:  README.md, docs/metadata.md (what clients can register), go doc . (the package)
`

func (d *demo) discover() {
	d.metadata = d.call(http.MethodGet, d.base+"/.well-known/oauth-authorization-server", nil, "", http.StatusOK)
	d.equal("issuer", d.metadata["issuer"], d.base)
	d.contains("code_challenge_methods_supported", d.metadata["code_challenge_methods_supported"], "S256")
	d.contains("token_endpoint_auth_methods_supported", d.metadata["token_endpoint_auth_methods_supported"], "none")
}

// endpoint returns the URL of an endpoint as the metadata has it.
func (d *demo) endpoint(name string) string { return text(d.metadata, name+"_endpoint") }

func (d *demo) registerPublic() {
	d.public = d.call(http.MethodPost, d.endpoint("registration"), map[string]any{
		"client_name":                "Demo command line tool",
		"redirect_uris":              []string{registeredRedirect},
		"grant_types":                []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_method": "none",
	}, "", http.StatusCreated)
	d.equal("client_secret", d.public["client_secret"], nil)
	d.equal("registration_client_uri", d.public["registration_client_uri"], d.endpoint("registration")+"/"+text(d.public, "client_id"))
}

func (d *demo) registerConfidential() {
	d.confidential = d.call(http.MethodPost, d.endpoint("registration"), map[string]any{
		"client_name": "Demo service",
		"grant_types": []string{"client_credentials"},
		"scope":       "mcp",
	}, "", http.StatusCreated)
	d.equal("token_endpoint_auth_method", d.confidential["token_endpoint_auth_method"], "client_secret_basic")
	d.present(d.confidential, "client_secret", "client_secret_expires_at")
}

// authorize does what a browser and its user do.
func (d *demo) authorize() {
	d.verifier, d.state = rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(d.verifier))
	d.browse(http.MethodGet, d.endpoint("authorization")+"?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {text(d.public, "client_id")},
		"redirect_uri":          {requestedRedirect},
		"scope":                 {"openid profile mcp"},
		"resource":              {d.base + "/mcp"},
		"state":                 {d.state},
		"nonce":                 {"demo-nonce"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}.Encode(), nil)
	d.submit(url.Values{"user": {d.user}, "password": {d.password}})
	location := d.submit(url.Values{"decision": {"allow"}})
	if !strings.HasPrefix(location, requestedRedirect+"?") {
		d.fail("the browser was sent to %q, want %s", location, requestedRedirect)
		return
	}
	answer := queryOf(location)
	d.equal("state", answer.Get("state"), d.state)
	d.equal("iss", answer.Get("iss"), d.base) // RFC 9207
	d.code = answer.Get("code")
}

func (d *demo) redeem() {
	d.issued = d.call(http.MethodPost, d.endpoint("token"), url.Values{
		"grant_type":    {"authorization_code"},
		"client_id":     {text(d.public, "client_id")},
		"code":          {d.code},
		"redirect_uri":  {requestedRedirect},
		"code_verifier": {d.verifier},
	}, "", http.StatusOK)
	d.present(d.issued, "access_token", "refresh_token", "id_token")
	id := d.claims("The ID token says", text(d.issued, "id_token"))
	d.equal("iss", id["iss"], d.base)
	d.equal("nonce", id["nonce"], "demo-nonce")
	d.contains("aud", id["aud"], text(d.public, "client_id"))
	if d.tokens == tokensJWT {
		access := d.claims("The access token says", text(d.issued, "access_token"))
		d.equal("client_id", access["client_id"], text(d.public, "client_id"))
		d.contains("aud", access["aud"], d.base+"/mcp")
	}
}

func (d *demo) askUserinfo() {
	info := d.call(http.MethodGet, d.endpoint("userinfo"), nil, bearer(text(d.issued, "access_token")), http.StatusOK)
	d.equal("sub", info["sub"], d.user)
	d.present(info, "name")
}

// introspect sends a token of the tool to the introspection endpoint.
func (d *demo) introspect(token, auth string) map[string]any {
	return d.call(http.MethodPost, d.endpoint("introspection"), url.Values{"token": {token}}, auth, http.StatusOK)
}

func (d *demo) introspectAsResourceServer() {
	seen := d.introspect(text(d.issued, "access_token"), basic(d.resourceServer.id, d.resourceServer.secret))
	d.equal("active", seen["active"], true)
	d.equal("client_id", seen["client_id"], d.public["client_id"])
	d.equal("sub", seen["sub"], d.user)
	d.contains("aud", seen["aud"], d.base+"/mcp")
}

func (d *demo) introspectAsClient() {
	auth := basic(text(d.confidential, "client_id"), text(d.confidential, "client_secret"))
	own := d.call(http.MethodPost, d.endpoint("token"), url.Values{
		"grant_type": {"client_credentials"}, "scope": {"mcp"},
	}, auth, http.StatusOK)
	seen := d.introspect(text(own, "access_token"), auth)
	d.equal("active (its own token)", seen["active"], true)
	d.equal("sub", seen["sub"], d.confidential["client_id"])
	d.equal("active (another's token)", d.introspect(text(d.issued, "access_token"), auth)["active"], false)
}

func (d *demo) refreshRequest() url.Values {
	return url.Values{
		"grant_type":    {"refresh_token"},
		"client_id":     {text(d.public, "client_id")},
		"refresh_token": {text(d.issued, "refresh_token")},
	}
}

func (d *demo) refresh() {
	before := d.issued
	d.issued = d.call(http.MethodPost, d.endpoint("token"), d.refreshRequest(), "", http.StatusOK)
	d.present(d.issued, "access_token", "refresh_token", "id_token")
	d.different("access_token", before, d.issued)
	d.different("refresh_token", before, d.issued)
}

// manage makes a request to the client configuration endpoint.
func (d *demo) manage(method string, body any, token string, status int) map[string]any {
	return d.call(method, text(d.public, "registration_client_uri"), body, bearer(token), status)
}

func (d *demo) read() {
	token := text(d.public, "registration_access_token")
	d.public = d.manage(http.MethodGet, nil, token, http.StatusOK)
	d.equal("registration_access_token", d.public["registration_access_token"], token)
}

// update sends back what was read, with another name and without what only the server
// may set (RFC 7592, section 2.2).
func (d *demo) update() {
	old := text(d.public, "registration_access_token")
	body := maps.Clone(d.public)
	for _, member := range []string{"registration_access_token", "registration_client_uri", "client_id_issued_at", "client_secret_expires_at"} {
		delete(body, member)
	}
	body["client_name"] = "Demo command line tool 2"
	before := d.public
	d.public = d.manage(http.MethodPut, body, old, http.StatusOK)
	d.equal("client_name", d.public["client_name"], body["client_name"])
	if !d.rotate {
		d.equal("registration_access_token", d.public["registration_access_token"], old)
		return
	}
	d.different("registration_access_token", before, d.public)
	d.manage(http.MethodGet, nil, old, http.StatusUnauthorized)
}

func (d *demo) delete() {
	d.manage(http.MethodDelete, nil, text(d.public, "registration_access_token"), http.StatusNoContent)
}

func (d *demo) afterwards() {
	refused := d.call(http.MethodPost, d.endpoint("token"), d.refreshRequest(), "", http.StatusUnauthorized)
	d.equal("error", refused["error"], "invalid_client") // on which clients register again
	seen := d.introspect(text(d.issued, "access_token"), basic(d.resourceServer.id, d.resourceServer.secret))
	d.equal("active", seen["active"], false)
	d.manage(http.MethodGet, nil, text(d.public, "registration_access_token"), http.StatusUnauthorized)
}

// claims prints the claims of a JWT and returns them. It verifies nothing: only a token that comes
// from the token endpoint itself may be read like that.
func (d *demo) claims(title, token string) map[string]any {
	parts := strings.Split(token, ".")
	if d.err == nil && len(parts) != 3 {
		d.fail("%s is no JWT", short(token))
	}
	if d.err != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		d.fail("a JWT cannot be read: %v", err)
		return nil
	}
	d.show("    "+title, d.members(payload), ", ")
	return claims
}
