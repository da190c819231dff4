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

// demo is the life of two clients, played over HTTP against the server as anybody
// else would. It stops at the first answer that is not the expected one.
type demo struct {
	*conversation

	user, password string
	resourceServer resourceServer
	tokens         string
	rotate         bool

	metadata     map[string]any
	public       map[string]any // what the server answered to the registrations
	confidential map[string]any
	verifier     string
	state        string
	code         string
	issued       map[string]any // the tokens of the public client
}

// The public client registers without a port and comes back with one, as command line
// tools do that listen on whatever port is free. Nobody listens here: the demo reads
// the redirect and does not follow it.
const (
	registeredRedirect = "http://localhost/callback"
	requestedRedirect  = "http://localhost:49152/callback"
)

// withDemoClient adds the resource server that looks at tokens in the demo.
func withDemoClient(o options) options {
	o.resourceServers = append(slices.Clone(o.resourceServers), resourceServer{"demo-resource-server", rand.Text()})
	return o
}

// demoOf takes from the server what an operator would tell: its address, a user, and
// the credentials of a resource server.
func demoOf(s *server) *demo {
	o := s.options
	return &demo{
		user: demoUser, password: s.users.password,
		resourceServer: o.resourceServers[len(o.resourceServers)-1],
		tokens:         o.tokens, rotate: o.rotate,
		conversation: &conversation{base: o.issuer},
	}
}

// playDemo tells on out what happens, and returns what differed from the expectation.
func playDemo(ctx context.Context, d *demo, out io.Writer) error {
	d.open(ctx, out)
	d.say("A client's life with %s (tokens: %s, rotation: %t).", d.base, d.tokens, d.rotate)
	d.say("Secrets and tokens are shortened.")
	for i, step := range []struct {
		title string
		play  func()
	}{
		{"Discover the server", d.discover},
		{"Register a public client, which can keep no secret", d.registerPublic},
		{"Register a confidential client", d.registerConfidential},
		{"The user signs in and allows the public client (authorization code with PKCE)", d.authorize},
		{"The public client trades the code for tokens", d.redeem},
		{"It asks who the user is", d.askUserinfo},
		{"A resource server looks at the access token", d.introspectAsResourceServer},
		{"The confidential client gets a token for itself and may look at that one only", d.introspectAsClient},
		{"The public client refreshes its tokens", d.refresh},
		{"It reads its registration", d.read},
		{"It updates its registration", d.update},
		{"It deletes its registration", d.delete},
		{"Everything that it had is dead", d.afterwards},
	} {
		d.say("\n%2d. %s", i+1, step.title)
		if step.play(); d.err != nil {
			d.say("\nNOT AS EXPECTED: %v", d.err)
			return fmt.Errorf("the demo failed at step %d: %w", i+1, d.err)
		}
	}
	d.say("\nAll as expected.")
	return nil
}

func (d *demo) discover() {
	d.brief = []string{"issuer", "registration_endpoint", "authorization_endpoint", "token_endpoint",
		"token_endpoint_auth_methods_supported", "grant_types_supported", "code_challenge_methods_supported"}
	d.metadata = d.call(http.MethodGet, d.base+"/.well-known/oauth-authorization-server", nil, "", http.StatusOK)
	d.brief = nil
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

// introspect asks about a token of the public client.
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
	d.say("    The old token is refused:")
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

// claims shows what a JWT says. Who gets one from anywhere but the token endpoint has
// to verify it first.
func (d *demo) claims(title, token string) map[string]any {
	parts := strings.Split(token, ".")
	if d.err == nil && len(parts) != 3 {
		d.fail("%q is no JWT", short(token))
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
		d.fail("a JWT can not be read: %v", err)
		return nil
	}
	d.say("    %s:", title)
	d.showJSON(payload)
	return claims
}
