package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// guard hands on requests whose token is good enough, and tells all others what is wrong (RFC 6750, section 3.1).
func (s *mcpServer) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := dcr.BearerToken(r)
		if errors.Is(err, dcr.ErrMissingToken) {
			s.challenge(w, http.StatusUnauthorized, "", scopesFor(""))
			return
		}
		info, err := s.check(r.Context(), token)
		if errors.Is(err, auth.ErrInvalidToken) {
			s.challenge(w, http.StatusUnauthorized, "invalid_token", scopesFor(""))
			return
		} else if err != nil { // the token may be good: with a 401 the client would throw it away
			http.Error(w, "Try again later.", http.StatusServiceUnavailable)
			return
		}
		tool, err := calledTool(w, r)
		if err != nil {
			http.Error(w, "The body is too large.", http.StatusRequestEntityTooLarge)
			return
		}
		if needed := scopesFor(tool); !hasAll(info.Scopes, needed) {
			s.challenge(w, http.StatusForbidden, "insufficient_scope", needed) // the client asks the user for more
			return
		}
		checked := func(context.Context, string, *http.Request) (*auth.TokenInfo, error) { return info, nil }
		auth.RequireBearerToken(checked, nil)(next).ServeHTTP(w, r) // for the tools: who calls
	})
}

// challenge says where to get a token, and which scopes it needs: all of them, since a client that has some may ask for
// no others than these.
func (s *mcpServer) challenge(w http.ResponseWriter, status int, code string, scopes []string) {
	challenge := fmt.Sprintf("Bearer resource_metadata=%q, scope=%q", s.origin+metadataPath, strings.Join(scopes, " "))
	if code != "" {
		challenge += fmt.Sprintf(", error=%q", code)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, http.StatusText(status), status)
}

// check asks the authorization server what a token is good for (RFC 7662). The error is auth.ErrInvalidToken, or says
// that it is not known.
func (s *mcpServer) check(ctx context.Context, token string) (*auth.TokenInfo, error) {
	form := strings.NewReader(url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+"/introspect", form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(s.id), url.QueryEscape(s.secret))
	response, err := s.requests.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("introspection answered %s", response.Status)
	}
	var found struct {
		Active   bool     `json:"active"`
		Audience []string `json:"aud"`
		Scope    string   `json:"scope"`
		Subject  string   `json:"sub"`
		Expires  int64    `json:"exp"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&found); err != nil {
		return nil, err
	}
	if !found.Active || !oauthex.MatchesResource(found.Audience, s.resource()) {
		return nil, auth.ErrInvalidToken // one for another resource counts as one that is no good
	}
	return &auth.TokenInfo{UserID: found.Subject, Scopes: strings.Fields(found.Scope), Expiration: time.Unix(found.Expires, 0)}, nil
}

// mostBody bounds a request to the MCP server, in bytes.
const mostBody = 1 << 20

// calledTool returns the tool that a request calls; empty where it calls none, or can't be read, which the SDK refuses.
func calledTool(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return toolOf(body), nil
}

// message is what the guard reads of a message of MCP.
type message struct {
	Method string `json:"method"`
	Params struct {
		Name string `json:"name"`
	} `json:"params"`
}

func methodOf(body []byte) string {
	var m message
	_ = json.Unmarshal(body, &m)
	return m.Method
}

func toolOf(body []byte) string {
	var m message
	if json.Unmarshal(body, &m) != nil || m.Method != "tools/call" {
		return ""
	}
	return m.Params.Name
}
