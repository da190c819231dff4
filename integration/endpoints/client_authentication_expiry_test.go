package endpoints_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// plainHasher compares secrets as they stand, so that an empty hash is that of an empty
// secret.
type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, data []byte) ([]byte, error) { return data, nil }

func (plainHasher) Compare(_ context.Context, hash, data []byte) error {
	if !bytes.Equal(hash, data) {
		return errors.New("another secret")
	}
	return nil
}

// clock is a Config.Now that is moved by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestEmptyHashNeverAuthenticates(t *testing.T) {
	t.Parallel()
	require.NoError(t, plainHasher{}.Compare(context.Background(), nil, []byte{}), "the test shows nothing otherwise")
	public := &fosite.DefaultClient{ID: "static-public", Public: true, GrantTypes: []string{"client_credentials"}}
	hollow := &fosite.DefaultClient{ID: "static-hollow", GrantTypes: []string{"client_credentials"}}
	setups := map[string]dcrtest.Setup{
		"Config.Secrets.Hasher": {Config: dcr.Config{Secrets: dcr.Secrets{Hasher: plainHasher{}}}},
		"ClientSecretsHasher":   {Fosite: func(c *fosite.Config) { c.ClientSecretsHasher = plainHasher{} }},
	}
	for name, setup := range setups {
		hands := &clock{}
		setup.Config.Now, setup.Config.Secrets.Lifetime = hands.now, lifetimeOfSecrets
		setup.Static = []fosite.Client{public, hollow}
		s := dcrtest.Start(t, setup)
		clients := map[string]dcrtest.AuthClient{}
		forms := map[string]url.Values{}
		for _, method := range dcrtest.AuthMethods {
			clients[method] = dcrtest.RegisterFor(t, s, method)
			forms[method] = url.Values{"token": {clients[method].AccessToken(t, s)}}
		}
		hands.advance(lifetimeOfSecrets)
		ids := map[string]string{"static_public": public.ID, "static_hollow": hollow.ID}
		for method, client := range clients {
			ids[method] = client.ID()
		}
		for kind, id := range ids {
			emptySecrets(t, s, name+"/"+kind, id, forms["none"])
		}
	}
}

const lifetimeOfSecrets = time.Hour

// emptySecrets presents an empty secret in each way, and none.
func emptySecrets(t *testing.T, s *dcrtest.Server, name, id string, token url.Values) {
	grant := url.Values{"grant_type": {"client_credentials"}}
	empty := url.Values{"client_id": {id}, "client_secret": {""}}
	forms := map[string]struct {
		form  url.Values
		edits []dcrtest.Edit
	}{
		"basic": {url.Values{}, []dcrtest.Edit{dcrtest.Basic(id, "")}},
		"post":  {empty, nil},
		"none":  {url.Values{"client_id": {id}}, nil},
	}
	for how, f := range forms {
		for path, base := range map[string]url.Values{"/oauth2/token": grant, "/oauth2/introspect": token} {
			t.Run("AUTH-08/"+name+"/"+how+path, func(t *testing.T) {
				t.Parallel()
				form := url.Values{}
				for _, values := range []url.Values{base, f.form} {
					for key, value := range values {
						form[key] = value
					}
				}
				answer := s.Form(t, path, form, f.edits...)
				require.GreaterOrEqual(t, answer.Status, 400, answer.Body)
				require.Less(t, answer.Status, 500, answer.Body)
				require.NotContains(t, answer.Members, "access_token")
				require.NotContains(t, answer.Members, "active")
			})
		}
	}
}

func TestExpiredSecret(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		hands := &clock{}
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Now: hands.now, Secrets: dcr.Secrets{Lifetime: lifetimeOfSecrets}}})
		client := dcrtest.RegisterFor(t, s, method)
		require.InDelta(t, hands.now().Add(lifetimeOfSecrets).Unix(), client.Members["client_secret_expires_at"], 5)
		forms := map[string]url.Values{}
		for _, endpoint := range dcrtest.AuthEndpoints {
			forms[endpoint.Name] = endpoint.Request(t, s, client)
			endpoint.RequireSuccess(t, client.Send(t, endpoint.Path, method, endpoint.Request(t, s, client)))
		}
		hands.advance(lifetimeOfSecrets)
		for _, endpoint := range dcrtest.AuthEndpoints {
			t.Run("LIFE-04/"+method+"/"+endpoint.Name, func(t *testing.T) {
				t.Parallel()
				endpoint.RequireRefused(t, client.Send(t, endpoint.Path, method, forms[endpoint.Name]))
			})
		}
	}
}

func TestExpiredClient(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	for _, method := range dcrtest.AuthMethods {
		t.Run("T37/"+method, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, method)
			tokens := client.Tokens(t, s)
			forms := map[string]url.Values{}
			for _, endpoint := range dcrtest.AuthEndpoints {
				forms[endpoint.Name] = endpoint.Request(t, s, client)
			}
			dcrtest.Expire(t, s, client.ID())

			for _, endpoint := range dcrtest.AuthEndpoints {
				endpoint.RequireRefused(t, client.Send(t, endpoint.Path, method, forms[endpoint.Name]))
			}
			refresh := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
			dcrtest.AuthEndpoints[0].RequireRefused(t, client.Send(t, "/oauth2/token", method, refresh))
			page := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			require.Equal(t, http.StatusUnauthorized, page.Status, page.Body)
			require.Empty(t, page.Header.Get("Location"))
			seen := s.Form(t, "/oauth2/introspect", url.Values{"token": {tokens.Text("access_token")}}, credentials)
			require.Equal(t, http.StatusOK, seen.Status, seen.Body)
			require.Equal(t, map[string]any{"active": false}, seen.Members)
			require.Equal(t, http.StatusUnauthorized, s.Manage(t, http.MethodGet, client.Answer, nil).Status)
		})
	}
}
