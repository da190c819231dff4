package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// What the programs register.

const editors = 25

// editor registers identical metadata whenever it starts. Some editors are more popular.
func editor(r *rand.Rand) (metadata, redirectURI string) {
	number := int(float64(editors) * r.Float64() * r.Float64())
	redirectURI = fmt.Sprintf("https://editor-%d.example/callback", number)
	return public(fmt.Sprintf("Editor %d", number), redirectURI), redirectURI
}

// commandLine listens on a free port, and registers it.
func commandLine(r *rand.Rand) (metadata, redirectURI string) {
	redirectURI = fmt.Sprintf("http://127.0.0.1:%d/callback", 32768+r.IntN(28232)) // as Linux gives them
	return public("Command Line", redirectURI), redirectURI
}

func public(name, redirectURI string) string {
	return fmt.Sprintf(`{"client_name":%q,"redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],`+
		`"response_types":["code"],"token_endpoint_auth_method":"none","scope":"mcp"}`, name, redirectURI)
}

func webApplication(r *rand.Rand) (metadata, redirectURI string) {
	redirectURI = fmt.Sprintf("https://app-%d.example/callback", r.IntN(1_000_000))
	return fmt.Sprintf(`{"client_name":"Web Application","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],`+
		`"token_endpoint_auth_method":"client_secret_basic","scope":"mcp"}`, redirectURI), redirectURI
}

func service(*rand.Rand) (metadata, redirectURI string) {
	return `{"client_name":"Service","grant_types":["client_credentials"],"scope":"mcp"}`, ""
}

// What the programs send.

const (
	verifier = "a-code-verifier-of-more-than-forty-three-characters"
	formType = "application/x-www-form-urlencoded"
)

// answer has what the program reads of an answer.
type answer struct {
	status       int
	location     string
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
}

// gone reports whether the client does not exist any more.
func (a answer) gone() bool {
	return a.status == http.StatusUnauthorized && a.Error == "invalid_client"
}

// unexpected is the error for an answer that the program does not expect.
func (a answer) unexpected(what string) error {
	return fmt.Errorf("%s: unexpected answer %d %q %s", what, a.status, a.Error, a.location)
}

// newClient registers the program of a person, from an address of its own: the limit on
// registrations of one caller is at its default.
func (w *world) newClient(p *person) error {
	r := request(http.MethodPost, "/register", "application/json", p.metadata)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:4711", p.rng.IntN(256), p.rng.IntN(256), p.rng.IntN(256))
	a := w.send(r)
	if a.status/100 != 2 || a.ClientID == "" {
		return a.unexpected("registration")
	}
	p.id, p.secret, p.registered = a.ClientID, a.ClientSecret, w.server.clock.now
	return nil
}

// signIn gets a token by client_credentials, or by a code and PKCE with the user's part.
func (w *world) signIn(p *person) (gone bool, err error) {
	if p.program.service {
		return w.redeem(p, url.Values{"grant_type": {"client_credentials"}, "scope": {"mcp"}})
	}
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {p.id}, "redirect_uri": {p.redirectURI}, "response_type": {"code"}, "scope": {"mcp"}, "state": {"some-random-state"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	r := request(http.MethodGet, "/authorize?"+query.Encode(), "", "")
	r.AddCookie(&http.Cookie{Name: "user", Value: p.name})
	a := w.send(r)
	if a.gone() {
		return true, nil
	}
	location, err := url.Parse(a.location)
	if err != nil || location.Query().Get("code") == "" {
		return false, a.unexpected("authorization")
	}
	return w.redeem(p, url.Values{
		"grant_type": {"authorization_code"}, "code": {location.Query().Get("code")},
		"redirect_uri": {p.redirectURI}, "code_verifier": {verifier},
	})
}

// redeem gets the tokens of a sign-in.
func (w *world) redeem(p *person, form url.Values) (gone bool, err error) {
	a := w.token(p, form)
	if a.gone() || a.status != http.StatusOK {
		return a.gone(), a.unless(a.gone(), "sign-in")
	}
	w.tally.signIns++
	return false, nil
}

// refresh gets a token by the refresh token. gone says that the client does not exist any more,
// dead that only the refresh token is refused.
func (w *world) refresh(p *person) (gone, dead bool, err error) {
	a := w.token(p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.refreshToken}})
	gone, dead = a.gone(), a.Error == "invalid_grant"
	if a.status == http.StatusOK {
		w.tally.refreshes++
		return false, false, nil
	}
	return gone, dead, a.unless(gone || dead, "refresh")
}

// unless is unexpected, unless the answer is a known one.
func (a answer) unless(known bool, what string) error {
	if known {
		return nil
	}
	return a.unexpected(what)
}

// token sends a request to the token endpoint, and keeps the refresh token of the answer.
func (w *world) token(p *person, form url.Values) answer {
	if p.secret == "" {
		form.Set("client_id", p.id)
	}
	r := request(http.MethodPost, "/token", formType, form.Encode())
	if p.secret != "" {
		r.SetBasicAuth(url.QueryEscape(p.id), url.QueryEscape(p.secret))
	}
	a := w.send(r)
	if a.status == http.StatusOK && a.RefreshToken != "" {
		p.refreshToken, p.refreshUntil = a.RefreshToken, w.server.clock.now.Add(refreshLife)
	}
	return a
}

func request(method, target, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// send serves a request in process.
func (w *world) send(r *http.Request) answer {
	recorder := httptest.NewRecorder()
	w.server.routes.ServeHTTP(recorder, r)
	a := answer{status: recorder.Code, location: recorder.Header().Get("Location")}
	if body := bytes.TrimSpace(recorder.Body.Bytes()); len(body) > 0 && body[0] == '{' {
		_ = json.Unmarshal(body, &a) // what can't be read has none of the members
	}
	return a
}
