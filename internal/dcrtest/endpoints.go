package dcrtest

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// AuthMethods are the registrable authentication methods.
var AuthMethods = []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}

// AuthEndpoint is an endpoint at which clients authenticate.
type AuthEndpoint struct {
	// Name names the endpoint in subtests.
	Name string
	// Path is where the fixture's server has it.
	Path string
	// Request returns a form that succeeds for a client that authenticates.
	Request func(t *testing.T, s *Server, c AuthClient) url.Values
	// RequireSuccess requires the whole answer of a request that succeeded.
	RequireSuccess func(t *testing.T, answer Answer)
	// Refusal is the error code for a client that does not authenticate.
	Refusal string
}

// RequireRefused requires the answer to a client that did not authenticate.
func (e AuthEndpoint) RequireRefused(t testing.TB, a Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, a.Status, a.Body)
	require.Equal(t, e.Refusal, a.Text("error"), a.Body)
	for _, member := range []string{"access_token", "request_uri", "active", "client_id"} {
		require.NotContains(t, a.Members, member)
	}
}

// AuthEndpoints are all endpoints at which clients authenticate.
var AuthEndpoints = []AuthEndpoint{
	{
		Name: "token", Path: "/oauth2/token", Refusal: "invalid_client",
		Request: func(t *testing.T, s *Server, c AuthClient) url.Values {
			return CodeForm("", s.Code(t, AuthorizeQuery(c.ID(), RedirectURI)), RedirectURI)
		},
		RequireSuccess: func(t *testing.T, a Answer) {
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.NotEmpty(t, a.Text("access_token"))
		},
	},
	{
		Name: "par", Path: "/oauth2/par", Refusal: "invalid_client",
		Request: func(*testing.T, *Server, AuthClient) url.Values {
			query := AuthorizeQuery("", RedirectURI)
			query.Del("client_id")
			return query
		},
		RequireSuccess: func(t *testing.T, a Answer) {
			require.Equal(t, http.StatusCreated, a.Status, a.Body)
			require.NotEmpty(t, a.Text("request_uri"))
		},
	},
	{
		Name: "revocation", Path: "/oauth2/revoke", Refusal: "invalid_client",
		Request: func(t *testing.T, s *Server, c AuthClient) url.Values {
			return url.Values{"token": {c.AccessToken(t, s)}}
		},
		RequireSuccess: func(t *testing.T, a Answer) { require.Equal(t, http.StatusOK, a.Status, a.Body) },
	},
	{
		Name: "introspection", Path: "/oauth2/introspect", Refusal: "invalid_client",
		Request: func(t *testing.T, s *Server, c AuthClient) url.Values {
			return url.Values{"token": {c.AccessToken(t, s)}}
		},
		RequireSuccess: func(t *testing.T, a Answer) {
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.Equal(t, true, a.Members["active"], a.Body)
		},
	},
}

// AuthClient is a client that was registered for one authentication method.
type AuthClient struct {
	// Answer is that of the registration.
	Answer
	// Server is where the client is registered.
	Server *Server
	// Method is the registered method.
	Method string
}

// Present says who the client is by a method, the registered one or another. Where the
// client has no secret it makes one up.
func (c AuthClient) Present(t testing.TB, method string, form url.Values) (url.Values, []Edit) {
	t.Helper()
	secret := c.Secret()
	if secret == "" {
		secret = "a-secret-that-nobody-issued"
	}
	switch method {
	case "none":
		form.Set("client_id", c.ID())
	case "client_secret_basic":
		return form, []Edit{Basic(c.ID(), secret)}
	case "client_secret_post":
		form.Set("client_id", c.ID())
		form.Set("client_secret", secret)
	case "private_key_jwt":
		return WithAssertion(form, SignES256(t, AssertionClaims(c.ID(), c.Server.URL))), nil
	}
	return form, nil
}

// Send makes a request by a method.
func (c AuthClient) Send(t testing.TB, path, method string, form url.Values) Answer {
	t.Helper()
	form, edits := c.Present(t, method, form)
	return c.Server.Form(t, path, form, edits...)
}

// Tokens takes the client through the code flow.
func (c AuthClient) Tokens(t testing.TB, s *Server, pairs ...string) Answer {
	t.Helper()
	code := s.Code(t, AuthorizeQuery(c.ID(), RedirectURI, pairs...))
	answer := c.Send(t, "/oauth2/token", c.Method, CodeForm("", code, RedirectURI))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

// AccessToken takes the client through the code flow.
func (c AuthClient) AccessToken(t testing.TB, s *Server) string {
	t.Helper()
	return c.Tokens(t, s).Text("access_token")
}

// RegisterFor registers a client for one of AuthMethods, with the grants authorization_code and refresh_token.
func RegisterFor(t testing.TB, s *Server, method string) AuthClient {
	t.Helper()
	metadata := map[string]any{
		"token_endpoint_auth_method": method,
		"redirect_uris":              []string{RedirectURI},
		"grant_types":                []string{"authorization_code", "refresh_token"},
	}
	if method == "private_key_jwt" {
		metadata["jwks"] = KeySet(PublicKey(Keys().P256, "", "", ""))
	}
	return AuthClient{Answer: s.Register(t, metadata), Server: s, Method: method}
}

// RequireRequestRefused requires that a request is refused for its form, not for its credentials.
// fosite's PAR endpoint says invalid_client of whatever its client authentication
// refuses; there and at introspection either refusal will do.
func RequireRequestRefused(t testing.TB, e AuthEndpoint, a Answer) {
	t.Helper()
	if (e.Name == "par" || e.Name == "introspection") && a.Status == http.StatusUnauthorized {
		e.RequireRefused(t, a)
		return
	}
	require.Equal(t, http.StatusBadRequest, a.Status, a.Body)
	require.Equal(t, "invalid_request", a.Text("error"), a.Body)
	require.NotContains(t, a.Members, "active")
}

// RefusedPush reports whether an authorization request is refused when it is pushed already.
func RefusedPush(t testing.TB, client AuthClient, query url.Values) bool {
	t.Helper()
	pushed := maps.Clone(query)
	pushed.Del("client_id")
	answer := client.Send(t, "/oauth2/par", client.Method, pushed)
	if answer.Status != http.StatusCreated {
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_request", answer.Text("error"))
	}
	return answer.Status != http.StatusCreated
}
