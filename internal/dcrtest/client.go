package dcrtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Answer is a whole answer. It doubles as a client's view of its registration.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// Members is the JSON object of the body; nil where it is none.
	Members map[string]any
}

// Text returns a member that is a string, or nothing.
func (a Answer) Text(name string) string {
	s, _ := a.Members[name].(string)
	return s
}

// ID, Secret and Token are what a registration answered.
func (a Answer) ID() string     { return a.Text("client_id") }
func (a Answer) Secret() string { return a.Text("client_secret") }
func (a Answer) Token() string  { return a.Text("registration_access_token") }
func (a Answer) URI() string    { return a.Text("registration_client_uri") }

// Location returns where a redirect leads.
func (a Answer) Location(t testing.TB) *url.URL {
	t.Helper()
	require.NotEmpty(t, a.Header.Get("Location"), "status %d: %s", a.Status, a.Body)
	u, err := url.Parse(a.Header.Get("Location"))
	require.NoError(t, err)
	return u
}

// Transport is of the tests' own: the end of any httptest.Server closes the idle connections
// of http.DefaultTransport, and a request that has just taken one fails.
var Transport http.RoundTripper = http.DefaultTransport.(*http.Transport).Clone()

// Edit changes a request before it is sent.
type Edit func(*http.Request)

// Header sets a header.
func Header(name, value string) Edit {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Bearer sends a token.
func Bearer(token string) Edit { return Header("Authorization", "Bearer "+token) }

// Basic authenticates as RFC 6749, section 2.3.1, has it.
func Basic(id, secret string) Edit {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// Do sends a request to a path of the server or to a whole URL, follows no redirect,
// and reads the answer.
func (s *Server) Do(t testing.TB, method, target string, body []byte, edits ...Edit) Answer {
	t.Helper()
	if !strings.Contains(target, "://") {
		target = s.URL + target
	}
	request, err := http.NewRequestWithContext(context.Background(), method, target, bytes.NewReader(body))
	require.NoError(t, err)
	for _, edit := range edits {
		edit(request)
	}
	response, err := Transport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	answer := Answer{Status: response.StatusCode, Header: response.Header, Body: string(read)}
	_ = json.Unmarshal(read, &answer.Members)
	return answer
}

// Post sends metadata to the registration endpoint: a string or []byte as it stands,
// anything else as JSON.
func (s *Server) Post(t testing.TB, metadata any, edits ...Edit) Answer {
	t.Helper()
	edits = append([]Edit{Header("Content-Type", "application/json")}, edits...)
	return s.Do(t, http.MethodPost, "/register", encode(t, metadata), edits...)
}

// Register registers a client.
func (s *Server) Register(t testing.TB, metadata any, edits ...Edit) Answer {
	t.Helper()
	answer := s.Post(t, metadata, edits...)
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	return answer
}

// Manage sends a management request with the client's token. metadata may be nil.
func (s *Server) Manage(t testing.TB, method string, client Answer, metadata any, edits ...Edit) Answer {
	t.Helper()
	edits = append([]Edit{Bearer(client.Token()), Header("Content-Type", "application/json")}, edits...)
	var body []byte
	if metadata != nil {
		body = encode(t, metadata)
	}
	return s.Do(t, method, client.URI(), body, edits...)
}

func encode(t testing.TB, metadata any) []byte {
	switch m := metadata.(type) {
	case string:
		return []byte(m)
	case []byte:
		return m
	}
	body, err := json.Marshal(metadata)
	require.NoError(t, err)
	return body
}

// Form posts a form.
func (s *Server) Form(t testing.TB, path string, form url.Values, edits ...Edit) Answer {
	t.Helper()
	edits = append([]Edit{Header("Content-Type", "application/x-www-form-urlencoded")}, edits...)
	return s.Do(t, http.MethodPost, path, []byte(form.Encode()), edits...)
}

// Verifier is a PKCE code verifier, and Challenge the S256 challenge for it.
const Verifier = "a-code-verifier-of-more-than-forty-three-characters"

// Challenge returns the S256 challenge of Verifier.
func Challenge() string {
	sum := sha256.Sum256([]byte(Verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AuthorizeQuery is an ordinary authorization request with PKCE. Further pairs of
// name and value replace what is there; an empty value removes it.
func AuthorizeQuery(clientID, redirectURI string, pairs ...string) url.Values {
	query := url.Values{
		"client_id": {clientID}, "redirect_uri": {redirectURI}, "response_type": {"code"},
		"state": {"a state of some length"}, "code_challenge": {Challenge()}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			query.Del(pairs[i])
		}
	}
	return query
}

// Authorize sends a browser to the authorization endpoint.
func (s *Server) Authorize(t testing.TB, query url.Values, edits ...Edit) Answer {
	t.Helper()
	return s.Do(t, http.MethodGet, "/oauth2/auth?"+query.Encode(), nil, edits...)
}

// Code takes a client through the authorization endpoint.
func (s *Server) Code(t testing.TB, query url.Values) string {
	t.Helper()
	location := s.Authorize(t, query).Location(t)
	require.NotEmpty(t, location.Query().Get("code"), location.String())
	return location.Query().Get("code")
}

// CodeForm is the token request for a code. A public client names itself in it.
func CodeForm(clientID, code, redirectURI string) url.Values {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {redirectURI}, "code_verifier": {Verifier},
	}
	if clientID != "" {
		form.Set("client_id", clientID)
	}
	return form
}

// RefreshForm is the token request for a refresh token.
func RefreshForm(clientID, token string) url.Values {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if clientID != "" {
		form.Set("client_id", clientID)
	}
	return form
}
