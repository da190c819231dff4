package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// exchange is a request with its answer.
type exchange struct {
	request        *http.Request
	sent, received []byte
	response       *http.Response
}

// matters says in a few words what an exchange is about. No secret is shown in full.
func (e *exchange) matters() string {
	members := membersOf(e.received)
	if code, ok := members["error"].(string); ok {
		return e.about() + code
	}
	switch e.request.URL.Path {
	case "/mcp":
		return e.about() + e.challenge()
	case metadataPath:
		return fmt.Sprint("its authorization server is ", members["authorization_servers"])
	case "/.well-known/oauth-authorization-server":
		return "endpoints, and what clients may be"
	case "/register":
		return fmt.Sprintf("%q is client %s now", members["client_name"], nameOf(members["client_id"]))
	case "/authorize":
		return e.about() + "a page"
	case "/sign-in":
		return e.about() + "code " + short(codeOf(e.response.Header.Get("Location")))
	case "/token":
		access, _ := members["access_token"].(string)
		refresh, _ := members["refresh_token"].(string)
		return fmt.Sprintf("%s%s for %s, and %s", e.about(), short(access), members["scope"], short(refresh))
	case "/introspect":
		if members["active"] != true {
			return e.about() + "no good"
		}
		return fmt.Sprintf("%sfor %s, %s", e.about(), members["sub"], members["scope"])
	}
	return ""
}

// about says what was asked.
func (e *exchange) about() string {
	form, _ := url.ParseQuery(string(e.sent))
	query := e.request.URL.Query()
	switch e.request.URL.Path {
	case "/mcp":
		return strings.TrimSpace(methodOf(e.sent)+" "+toolOf(e.sent)) + ": "
	case "/authorize":
		return fmt.Sprintf("client %s wants %s: ", nameOf(query.Get("client_id")), query.Get("scope"))
	case "/sign-in":
		return fmt.Sprintf("%s says %s: ", form.Get("user"), form.Get("decision"))
	case "/token":
		return fmt.Sprintf("for %s: ", short(form.Get("code")+form.Get("refresh_token")))
	case "/introspect":
		return fmt.Sprintf("%s is ", short(form.Get("token")))
	}
	return ""
}

// challenge is what a WWW-Authenticate header says.
func (e *exchange) challenge() string {
	challenges, _ := oauthex.ParseWWWAuthenticate(e.response.Header.Values("WWW-Authenticate"))
	if len(challenges) == 0 {
		return "done"
	}
	problem := challenges[0].Params["error"]
	if problem == "" {
		problem = "no token"
	}
	return problem + ", needs " + challenges[0].Params["scope"]
}

func membersOf(object []byte) map[string]any {
	var members map[string]any
	_ = json.Unmarshal(object, &members) // an answer of another kind has no members
	return members
}

// nameOf shows a client identifier: it is no secret, but of one that the server has made the beginning will do.
func nameOf(id any) string {
	text, _ := id.(string)
	if len(text) != len(rand.Text()) {
		return text
	}
	return short(text)
}

// short shows enough of a secret to tell it from others: its prefix and four characters.
func short(secret string) string {
	prefix, random := "", secret
	for _, known := range []string{"ory_at_", "ory_rt_", "ory_ac_"} {
		if rest, ok := strings.CutPrefix(secret, known); ok {
			prefix, random = known, rest
		}
	}
	if len(random) < 16 {
		return prefix + "…" // four characters would be too much of it
	}
	return prefix + random[:4] + "…"
}
