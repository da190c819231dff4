package dcr_test

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const authRedirect = "https://client.example/cb"

// authMethods are the registrable authentication methods.
var authMethods = []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}

// authEndpoint is one at which clients authenticate.
type authEndpoint struct {
	name, path string
	// request is one that succeeds for a client that authenticates.
	request func(t *testing.T, s *dcrtest.Server, c authClient) url.Values
	// succeeded judges the whole answer.
	succeeded func(t *testing.T, answer dcrtest.Answer)
	// refusal is what a client that does not authenticate is answered.
	refusal string
}

var authEndpoints = []authEndpoint{
	{
		name: "token", path: "/oauth2/token", refusal: "invalid_client",
		request: func(t *testing.T, s *dcrtest.Server, c authClient) url.Values {
			return dcrtest.CodeForm("", s.Code(t, dcrtest.AuthorizeQuery(c.ID(), authRedirect)), authRedirect)
		},
		succeeded: func(t *testing.T, a dcrtest.Answer) {
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.NotEmpty(t, a.Text("access_token"))
		},
	},
	{
		name: "par", path: "/oauth2/par", refusal: "invalid_client",
		request: func(*testing.T, *dcrtest.Server, authClient) url.Values {
			query := dcrtest.AuthorizeQuery("", authRedirect)
			query.Del("client_id")
			return query
		},
		succeeded: func(t *testing.T, a dcrtest.Answer) {
			require.Equal(t, http.StatusCreated, a.Status, a.Body)
			require.NotEmpty(t, a.Text("request_uri"))
		},
	},
	{
		name: "revocation", path: "/oauth2/revoke", refusal: "invalid_client",
		request: func(t *testing.T, s *dcrtest.Server, c authClient) url.Values {
			return url.Values{"token": {c.accessToken(t, s)}}
		},
		succeeded: func(t *testing.T, a dcrtest.Answer) { require.Equal(t, http.StatusOK, a.Status, a.Body) },
	},
	{
		name: "introspection", path: "/oauth2/introspect", refusal: "request_unauthorized",
		request: func(t *testing.T, s *dcrtest.Server, c authClient) url.Values {
			return url.Values{"token": {c.accessToken(t, s)}}
		},
		succeeded: func(t *testing.T, a dcrtest.Answer) {
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.Equal(t, true, a.Members["active"], a.Body)
		},
	},
}

// refused judges the answer to a client that did not authenticate.
func (e authEndpoint) refused(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, a.Status, a.Body)
	require.Equal(t, e.refusal, a.Text("error"), a.Body)
	for _, member := range []string{"access_token", "request_uri", "active", "client_id"} {
		require.NotContains(t, a.Members, member)
	}
}

// authClient is a client that was registered for one method.
type authClient struct {
	dcrtest.Answer
	server *dcrtest.Server
	method string
}

func registerFor(t *testing.T, s *dcrtest.Server, method string) authClient {
	t.Helper()
	metadata := map[string]any{
		"token_endpoint_auth_method": method,
		"redirect_uris":              []string{authRedirect},
		"grant_types":                []string{"authorization_code", "refresh_token"},
	}
	if method == "private_key_jwt" {
		metadata["jwks"] = keySet(publicKey(testKeys().p256, "", "", ""))
	}
	return authClient{Answer: s.Register(t, metadata), server: s, method: method}
}

// present says who the client is by a method, the registered one or another. Where the
// client has no secret it makes one up.
func (c authClient) present(t *testing.T, method string, form url.Values) (url.Values, []dcrtest.Edit) {
	t.Helper()
	secret := c.Secret()
	if secret == "" {
		secret = "a-secret-that-nobody-issued"
	}
	switch method {
	case "none":
		form.Set("client_id", c.ID())
	case "client_secret_basic":
		return form, []dcrtest.Edit{dcrtest.Basic(c.ID(), secret)}
	case "client_secret_post":
		form.Set("client_id", c.ID())
		form.Set("client_secret", secret)
	case "private_key_jwt":
		return withAssertion(form, signES256(t, claimsFor(c.ID(), c.server.URL))), nil
	}
	return form, nil
}

// send makes a request by a method.
func (c authClient) send(t *testing.T, path, method string, form url.Values) dcrtest.Answer {
	t.Helper()
	form, edits := c.present(t, method, form)
	return c.server.Form(t, path, form, edits...)
}

// tokens takes the client through the code flow.
func (c authClient) tokens(t *testing.T, s *dcrtest.Server, pairs ...string) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(c.ID(), authRedirect, pairs...))
	answer := c.send(t, "/oauth2/token", c.method, dcrtest.CodeForm("", code, authRedirect))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer
}

func (c authClient) accessToken(t *testing.T, s *dcrtest.Server) string {
	t.Helper()
	return c.tokens(t, s).Text("access_token")
}

// resourceServer is a client of the operator's own, and Basic credentials for it.
func resourceServer(t *testing.T, scopes ...string) (fosite.Client, dcrtest.Edit) {
	t.Helper()
	return staticClient(t, "resource-server", scopes...), dcrtest.Basic("resource-server", "a static secret")
}

func staticClient(t *testing.T, id string, scopes ...string) *fosite.DefaultClient {
	t.Helper()
	hasher := &fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}
	hash, err := hasher.Hash(context.Background(), []byte("a static secret"))
	require.NoError(t, err)
	return &fosite.DefaultClient{
		ID: id, Secret: hash, Scopes: scopes, RedirectURIs: []string{authRedirect},
		GrantTypes:    []string{"authorization_code", "client_credentials", "refresh_token"},
		ResponseTypes: []string{"code"},
	}
}

func TestOnlyTheRegisteredMethodAuthenticates(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, registered := range authMethods {
		client := registerFor(t, s, registered)
		for _, presented := range authMethods {
			for _, endpoint := range authEndpoints {
				name := "AUTH-04/registered=" + registered + "/presented=" + presented + "/" + endpoint.name
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					answer := client.send(t, endpoint.path, presented, endpoint.request(t, s, client))
					// A public client authenticates nobody, so it introspects nothing (RFC 7662, section 2.1).
					nobody := registered == "none" && endpoint.name == "introspection"
					if registered == presented && !nobody {
						endpoint.succeeded(t, answer)
						return
					}
					endpoint.refused(t, answer)
				})
			}
		}
	}
}

func TestRevocationByTheWrongMethodRevokesNothing(t *testing.T) {
	t.Parallel()
	rs, credentials := resourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	for _, registered := range authMethods {
		t.Run("AUTH-04/"+registered, func(t *testing.T) {
			t.Parallel()
			client := registerFor(t, s, registered)
			token := client.accessToken(t, s)
			active := func() any {
				return s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, credentials).Members["active"]
			}
			for _, presented := range authMethods {
				if presented != registered {
					client.send(t, "/oauth2/revoke", presented, url.Values{"token": {token}})
					require.Equal(t, true, active(), presented)
				}
			}
			answer := client.send(t, "/oauth2/revoke", registered, url.Values{"token": {token}})
			require.Equal(t, http.StatusOK, answer.Status)
			require.Equal(t, false, active())
		})
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		client := registerFor(t, s, method)
		for name, secret := range map[string]string{
			"other": "dcrs_" + client.Secret()[5:len(client.Secret())-1] + "_", "prefix": client.Secret()[:20],
			"longer": client.Secret() + "a", "empty": "",
		} {
			for _, endpoint := range authEndpoints {
				t.Run("AUTH-04/"+method+"/"+name+"/"+endpoint.name, func(t *testing.T) {
					t.Parallel()
					form := endpoint.request(t, s, client)
					if method == "client_secret_basic" {
						endpoint.refused(t, s.Form(t, endpoint.path, form, dcrtest.Basic(client.ID(), secret)))
						return
					}
					form.Set("client_id", client.ID())
					form.Set("client_secret", secret)
					endpoint.refused(t, s.Form(t, endpoint.path, form))
				})
			}
		}
	}
}

// refusedRequest judges a request that is refused for its form, not for its credentials.
// fosite's PAR endpoint says invalid_client of whatever its client authentication
// refuses; at introspection either refusal will do.
func refusedRequest(t *testing.T, e authEndpoint, a dcrtest.Answer) {
	t.Helper()
	if e.name == "par" || e.name == "introspection" && a.Status == http.StatusUnauthorized {
		e.refused(t, a)
		return
	}
	require.Equal(t, http.StatusBadRequest, a.Status, a.Body)
	require.Equal(t, "invalid_request", a.Text("error"), a.Body)
	require.NotContains(t, a.Members, "active")
}

func TestCredentialsInTheQuery(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range authMethods {
		client := registerFor(t, s, method)
		for _, endpoint := range authEndpoints {
			if method == "none" && endpoint.name == "introspection" {
				continue // refused anyhow
			}
			t.Run("AUTH-06/"+method+"/client_secret/"+endpoint.name, func(t *testing.T) {
				t.Parallel()
				secret := url.Values{"client_secret": {"x" + client.Secret()}}
				answer := client.send(t, endpoint.path+"?"+secret.Encode(), method, endpoint.request(t, s, client))
				refusedRequest(t, endpoint, answer)
			})
			t.Run("AUTH-06/"+method+"/client_assertion/"+endpoint.name, func(t *testing.T) {
				t.Parallel()
				assertion := withAssertion(url.Values{}, signES256(t, claimsFor(client.ID(), s.URL)))
				answer := client.send(t, endpoint.path+"?"+assertion.Encode(), method, endpoint.request(t, s, client))
				refusedRequest(t, endpoint, answer)
			})
			t.Run("AUTH-06/"+method+"/nothing_else/"+endpoint.name, func(t *testing.T) {
				t.Parallel()
				if method == "none" {
					return // whose only credential is the identifier, which may stand there
				}
				form, edits := client.present(t, method, url.Values{})
				if method == "client_secret_basic" {
					form, edits = client.present(t, "client_secret_post", url.Values{})
				}
				answer := s.Form(t, endpoint.path+"?"+form.Encode(), endpoint.request(t, s, client), edits...)
				refusedRequest(t, endpoint, answer)
			})
		}
	}
}

func TestCredentialsInTheQueryOfTheOperatorsClients(t *testing.T) {
	t.Parallel()
	rs, credentials := resourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	token := registerFor(t, s, "none").accessToken(t, s)
	for _, name := range []string{"client_secret", "client_assertion"} {
		t.Run("AUTH-06/"+name+"/introspection", func(t *testing.T) {
			t.Parallel()
			answer := s.Form(t, "/oauth2/introspect?"+name+"=a+static+secret", url.Values{"token": {token}}, credentials)
			require.NotEqual(t, true, answer.Members["active"], answer.Body)
			require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized}, answer.Status, answer.Body)
		})
		t.Run("AUTH-06/"+name+"/token", func(t *testing.T) {
			t.Parallel()
			form := url.Values{"grant_type": {"client_credentials"}}
			answer := s.Form(t, "/oauth2/token?"+name+"=a+static+secret", form, credentials)
			require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
			require.Equal(t, "invalid_request", answer.Text("error"))
		})
	}
}

func TestTwoMethodsAtOnce(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	pairs := [][2]string{
		{"client_secret_basic", "client_secret_post"}, {"client_secret_basic", "private_key_jwt"},
		{"client_secret_post", "client_secret_basic"}, {"client_secret_post", "private_key_jwt"},
		{"private_key_jwt", "client_secret_basic"}, {"private_key_jwt", "client_secret_post"},
	}
	for _, pair := range pairs {
		client := registerFor(t, s, pair[0])
		for _, endpoint := range authEndpoints {
			t.Run("AUTH-06/"+pair[0]+"+"+pair[1]+"/"+endpoint.name, func(t *testing.T) {
				t.Parallel()
				form, edits := client.present(t, pair[0], endpoint.request(t, s, client))
				form, more := client.present(t, pair[1], form)
				refusedRequest(t, endpoint, s.Form(t, endpoint.path, form, append(edits, more...)...))
			})
		}
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := registerFor(t, s, "client_secret_basic")
	for _, endpoint := range authEndpoints {
		for name, credentials := range map[string]dcrtest.Edit{
			"wrong_secret":   dcrtest.Basic(client.ID(), "wrong"),
			"unknown_client": dcrtest.Basic("nobody", "wrong"),
		} {
			t.Run("AUTH-09/"+endpoint.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				answer := s.Form(t, endpoint.path, endpoint.request(t, s, client), credentials)
				endpoint.refused(t, answer)
				require.Regexp(t, `^Basic\b`, answer.Header.Get("WWW-Authenticate"))
			})
		}
	}
	t.Run("AUTH-09/bearer_at_introspection", func(t *testing.T) {
		t.Parallel()
		// The challenge fits the scheme that the caller used (RFC 6749, section 5.2, RFC 7662, section 2.3).
		form := url.Values{"token": {client.accessToken(t, s)}}
		answer := s.Form(t, "/oauth2/introspect", form, dcrtest.Bearer("wrong"))
		require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
		require.Regexp(t, `^Bearer\b`, answer.Header.Get("WWW-Authenticate"))
	})
}

func TestStrategyOfTheHost(t *testing.T) {
	t.Parallel()
	var s *dcrtest.Server
	var asked atomic.Int64
	s = dcrtest.Start(t, dcrtest.Setup{Fosite: func(c *fosite.Config) {
		c.ClientAuthenticationStrategy = func(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
			asked.Add(1)
			if r.Header.Get("Host-Says-No") != "" {
				return nil, fosite.ErrInvalidClient.WithHint("The host said no.")
			}
			return s.Provider.ClientAuthentication(ctx, r, form)
		}
	}})
	for _, method := range authMethods {
		client := registerFor(t, s, method)
		for _, endpoint := range authEndpoints[:3] {
			before := asked.Load()
			form := endpoint.request(t, s, client)
			endpoint.succeeded(t, client.send(t, endpoint.path, method, form))
			require.Greater(t, asked.Load(), before, endpoint.name)
			form, edits := client.present(t, method, endpoint.request(t, s, client))
			answer := s.Form(t, endpoint.path, form, append(edits, dcrtest.Header("Host-Says-No", "yes"))...)
			endpoint.refused(t, answer)
			require.Contains(t, answer.Body, "invalid_client")
		}
		query := url.Values{"client_secret": {"x"}}
		answer := client.send(t, "/oauth2/token?"+query.Encode(), method, authEndpoints[0].request(t, s, client))
		refusedRequest(t, authEndpoints[0], answer)
	}
}
