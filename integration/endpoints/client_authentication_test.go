package endpoints_test

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

func TestOnlyTheRegisteredMethodAuthenticates(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, registered := range dcrtest.AuthMethods {
		client := dcrtest.RegisterFor(t, s, registered)
		for _, presented := range dcrtest.AuthMethods {
			for _, endpoint := range dcrtest.AuthEndpoints {
				name := "AUTH-04/registered=" + registered + "/presented=" + presented + "/" + endpoint.Name
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					answer := client.Send(t, endpoint.Path, presented, endpoint.Request(t, s, client))
					// A public client authenticates nobody, so it introspects nothing (RFC 7662, section 2.1).
					nobody := registered == "none" && endpoint.Name == "introspection"
					if registered == presented && !nobody {
						endpoint.RequireSuccess(t, answer)
						return
					}
					endpoint.RequireRefused(t, answer)
				})
			}
		}
	}
}

func TestRevocationByTheWrongMethodRevokesNothing(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	for _, registered := range dcrtest.AuthMethods {
		t.Run("AUTH-04/"+registered, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, registered)
			token := client.AccessToken(t, s)
			active := func() any {
				return s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, credentials).Members["active"]
			}
			for _, presented := range dcrtest.AuthMethods {
				if presented != registered {
					client.Send(t, "/oauth2/revoke", presented, url.Values{"token": {token}})
					require.Equal(t, true, active(), presented)
				}
			}
			answer := client.Send(t, "/oauth2/revoke", registered, url.Values{"token": {token}})
			require.Equal(t, http.StatusOK, answer.Status)
			require.Equal(t, false, active())
		})
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		client := dcrtest.RegisterFor(t, s, method)
		for name, secret := range map[string]string{
			"other": "dcrs_" + client.Secret()[5:len(client.Secret())-1] + "_", "prefix": client.Secret()[:20],
			"longer": client.Secret() + "a", "empty": "",
		} {
			for _, endpoint := range dcrtest.AuthEndpoints {
				t.Run("AUTH-04/"+method+"/"+name+"/"+endpoint.Name, func(t *testing.T) {
					t.Parallel()
					form := endpoint.Request(t, s, client)
					if method == "client_secret_basic" {
						endpoint.RequireRefused(t, s.Form(t, endpoint.Path, form, dcrtest.Basic(client.ID(), secret)))
						return
					}
					form.Set("client_id", client.ID())
					form.Set("client_secret", secret)
					endpoint.RequireRefused(t, s.Form(t, endpoint.Path, form))
				})
			}
		}
	}
}

func TestCredentialsInTheQuery(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range dcrtest.AuthMethods {
		client := dcrtest.RegisterFor(t, s, method)
		for _, endpoint := range dcrtest.AuthEndpoints {
			if method == "none" && endpoint.Name == "introspection" {
				continue // refused anyhow
			}
			t.Run("AUTH-06/"+method+"/client_secret/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				secret := url.Values{"client_secret": {"x" + client.Secret()}}
				answer := client.Send(t, endpoint.Path+"?"+secret.Encode(), method, endpoint.Request(t, s, client))
				dcrtest.RequireRequestRefused(t, endpoint, answer)
			})
			t.Run("AUTH-06/"+method+"/client_assertion/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				assertion := dcrtest.WithAssertion(url.Values{}, dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL)))
				answer := client.Send(t, endpoint.Path+"?"+assertion.Encode(), method, endpoint.Request(t, s, client))
				dcrtest.RequireRequestRefused(t, endpoint, answer)
			})
			t.Run("AUTH-06/"+method+"/nothing_else/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				if method == "none" {
					return // whose only credential is the identifier, which may stand there
				}
				form, edits := client.Present(t, method, url.Values{})
				if method == "client_secret_basic" {
					form, edits = client.Present(t, "client_secret_post", url.Values{})
				}
				answer := s.Form(t, endpoint.Path+"?"+form.Encode(), endpoint.Request(t, s, client), edits...)
				dcrtest.RequireRequestRefused(t, endpoint, answer)
			})
		}
	}
}

func TestCredentialsInTheQueryOfTheOperatorsClients(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	token := dcrtest.RegisterFor(t, s, "none").AccessToken(t, s)
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
		client := dcrtest.RegisterFor(t, s, pair[0])
		for _, endpoint := range dcrtest.AuthEndpoints {
			t.Run("AUTH-06/"+pair[0]+"+"+pair[1]+"/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				form, edits := client.Present(t, pair[0], endpoint.Request(t, s, client))
				form, more := client.Present(t, pair[1], form)
				dcrtest.RequireRequestRefused(t, endpoint, s.Form(t, endpoint.Path, form, append(edits, more...)...))
			})
		}
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for _, endpoint := range dcrtest.AuthEndpoints {
		for name, credentials := range map[string]dcrtest.Edit{
			"wrong_secret":   dcrtest.Basic(client.ID(), "wrong"),
			"unknown_client": dcrtest.Basic("nobody", "wrong"),
		} {
			t.Run("AUTH-09/"+endpoint.Name+"/"+name, func(t *testing.T) {
				t.Parallel()
				answer := s.Form(t, endpoint.Path, endpoint.Request(t, s, client), credentials)
				endpoint.RequireRefused(t, answer)
				require.Regexp(t, `^Basic\b`, answer.Header.Get("WWW-Authenticate"))
			})
		}
	}
	t.Run("AUTH-09/bearer_at_introspection", func(t *testing.T) {
		t.Parallel()
		// The challenge fits the scheme that the caller used (RFC 6749, section 5.2, RFC 7662, section 2.3).
		form := url.Values{"token": {client.AccessToken(t, s)}}
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
	for _, method := range dcrtest.AuthMethods {
		client := dcrtest.RegisterFor(t, s, method)
		for _, endpoint := range dcrtest.AuthEndpoints[:3] {
			before := asked.Load()
			form := endpoint.Request(t, s, client)
			endpoint.RequireSuccess(t, client.Send(t, endpoint.Path, method, form))
			require.Greater(t, asked.Load(), before, endpoint.Name)
			form, edits := client.Present(t, method, endpoint.Request(t, s, client))
			answer := s.Form(t, endpoint.Path, form, append(edits, dcrtest.Header("Host-Says-No", "yes"))...)
			endpoint.RequireRefused(t, answer)
			require.Contains(t, answer.Body, "invalid_client")
		}
		query := url.Values{"client_secret": {"x"}}
		answer := client.Send(t, "/oauth2/token?"+query.Encode(), method, dcrtest.AuthEndpoints[0].Request(t, s, client))
		dcrtest.RequireRequestRefused(t, dcrtest.AuthEndpoints[0], answer)
	}
}
