package lifecycle_test

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// requireFailedAuthentication: one event with the reason, and with the client only where
// the storage knows it (LIFE-05).
func requireFailedAuthentication(t *testing.T, events *dcrtest.Events, clientID, code string) {
	t.Helper()
	event := events.TakeOne(t)
	require.Equal(t, dcr.EventAuthenticationFailed, event.Kind)
	require.Equal(t, clientID, event.ClientID)
	require.Equal(t, code, event.Reason())
	require.Equal(t, "127.0.0.1", event.Address.String())
	require.Positive(t, event.Elapsed)
	require.WithinDuration(t, time.Now(), event.Time, time.Hour)
	require.Nil(t, event.Before)
	require.Nil(t, event.After)
	require.Empty(t, event.Operator)
	require.Empty(t, event.InitialAccessToken)
}

// authAttempt is a way not to authenticate.
type authAttempt struct {
	name string
	// send adds to a good request what does not authenticate.
	send func(t *testing.T, c dcrtest.AuthClient, form url.Values) []dcrtest.Edit
	// known says that the storage knows the client.
	known bool
	// method is the one that the client registered; empty means client_secret_basic.
	method string
	// before happens to the client first.
	before func(t *testing.T, c dcrtest.AuthClient)
}

var authAttempts = []authAttempt{
	{name: "wrong_secret", known: true, send: func(_ *testing.T, c dcrtest.AuthClient, _ url.Values) []dcrtest.Edit {
		return []dcrtest.Edit{dcrtest.Basic(c.ID(), "wrong")}
	}},
	{name: "wrong_secret_in_the_body", known: true, method: "client_secret_post", send: func(_ *testing.T, c dcrtest.AuthClient, form url.Values) []dcrtest.Edit {
		form.Set("client_id", c.ID())
		form.Set("client_secret", "wrong")
		return nil
	}},
	{name: "unknown_client", send: func(_ *testing.T, _ dcrtest.AuthClient, _ url.Values) []dcrtest.Edit {
		return []dcrtest.Edit{dcrtest.Basic("a stranger's words", "wrong")}
	}},
	{name: "no_credentials", send: func(*testing.T, dcrtest.AuthClient, url.Values) []dcrtest.Edit { return nil }},
	{name: "wrong_method", known: true, method: "client_secret_post", send: func(_ *testing.T, c dcrtest.AuthClient, _ url.Values) []dcrtest.Edit {
		return []dcrtest.Edit{dcrtest.Basic(c.ID(), c.Secret())}
	}},
	{name: "expired_client", known: true, send: goodCredentials, before: func(t *testing.T, c dcrtest.AuthClient) { dcrtest.Expire(t, c.Server, c.ID()) }},
	{name: "deleted_client", send: goodCredentials, before: func(t *testing.T, c dcrtest.AuthClient) {
		require.NoError(t, c.Server.Store.DeleteClient(context.Background(), c.ID()))
	}},
	{name: "assertion/wrong_key", known: true, method: "private_key_jwt", send: func(t *testing.T, c dcrtest.AuthClient, form url.Values) []dcrtest.Edit {
		dcrtest.WithAssertion(form, dcrtest.SignToken(t, "ES256", dcrtest.Keys().OtherP256, "", dcrtest.AssertionClaims(c.ID(), c.Server.URL)))
		return nil
	}},
	{name: "assertion/expired", method: "private_key_jwt", known: true, send: func(t *testing.T, c dcrtest.AuthClient, form url.Values) []dcrtest.Edit {
		dcrtest.WithAssertion(form, dcrtest.SignES256(t, dcrtest.AssertionClaims(c.ID(), c.Server.URL, "exp", time.Now().Add(-time.Hour).Unix())))
		return nil
	}},
	{name: "assertion/unknown_client", method: "private_key_jwt", send: func(t *testing.T, c dcrtest.AuthClient, form url.Values) []dcrtest.Edit {
		dcrtest.WithAssertion(form, dcrtest.SignES256(t, dcrtest.AssertionClaims("a stranger's words", c.Server.URL)))
		return nil
	}},
	{name: "assertion/not_one", method: "private_key_jwt", send: func(_ *testing.T, _ dcrtest.AuthClient, form url.Values) []dcrtest.Edit {
		dcrtest.WithAssertion(form, "a stranger's words")
		return nil
	}},
}

func goodCredentials(_ *testing.T, c dcrtest.AuthClient, _ url.Values) []dcrtest.Edit {
	return []dcrtest.Edit{dcrtest.Basic(c.ID(), c.Secret())}
}

// eventServer is a server with a sink that the tests of one server share: they run in turn.
func eventServer(t *testing.T, static ...fosite.Client) (*dcrtest.Server, *dcrtest.Events) {
	t.Helper()
	events := &dcrtest.Events{}
	return dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: events}, Static: static}), events
}

// TestFailedAuthenticationEvents: a client that does not authenticate is one event, at every
// endpoint of fosite's, and the answer is what it always was (LIFE-05).
func TestFailedAuthenticationEvents(t *testing.T) {
	t.Parallel()
	for _, endpoint := range dcrtest.AuthEndpoints {
		s, events := eventServer(t)
		for _, attempt := range authAttempts {
			t.Run("LIFE-05/"+endpoint.Name+"/"+attempt.name, func(t *testing.T) {
				client := dcrtest.RegisterFor(t, s, cmp.Or(attempt.method, "client_secret_basic"))
				form := endpoint.Request(t, s, client)
				if attempt.before != nil {
					attempt.before(t, client)
				}
				events.Take()
				edits := attempt.send(t, client, form)
				answer := s.Form(t, endpoint.Path, form, edits...)
				if attempt.name == "no_credentials" && slices.Contains([]string{"token", "revocation"}, endpoint.Name) {
					dcrtest.RequireRequestRefused(t, endpoint, answer) // fosite calls the request malformed there
					require.Empty(t, events.Take(), "nobody has tried to authenticate")
					return
				}
				endpoint.RequireRefused(t, answer)
				id := ""
				if attempt.known {
					id = client.ID()
				}
				requireFailedAuthentication(t, events, id, endpoint.Refusal)
			})
		}
	}
}

// TestAuthenticationIsNoEvent: a client that authenticates is none, whatever it then asks
// for.
func TestAuthenticationIsNoEvent(t *testing.T) {
	t.Parallel()
	static, resources := dcrtest.ResourceServer(t)
	s, events := eventServer(t, static)
	for _, endpoint := range dcrtest.AuthEndpoints {
		for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt"} {
			t.Run("LIFE-05/"+endpoint.Name+"/"+method, func(t *testing.T) {
				client := dcrtest.RegisterFor(t, s, method)
				form := endpoint.Request(t, s, client)
				events.Take()
				endpoint.RequireSuccess(t, client.Send(t, endpoint.Path, method, form))
				require.Empty(t, events.Take())
			})
		}
	}
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for name, row := range map[string]struct {
		path   string
		form   url.Values
		status int
	}{
		"token/wrong_code":         {"/oauth2/token", dcrtest.CodeForm("", "wrong", dcrtest.RedirectURI), 400},
		"token/unknown_grant":      {"/oauth2/token", url.Values{"grant_type": {"wrong"}}, 400},
		"revocation/unknown_token": {"/oauth2/revoke", url.Values{"token": {"wrong"}}, 0}, // fosite has an answer of its own to that
		"introspection/inactive":   {"/oauth2/introspect", url.Values{"token": {"wrong"}}, 200},
		"par/wrong_redirect":       {"/oauth2/par", url.Values{"response_type": {"code"}, "redirect_uri": {"https://evil.example/"}}, 400},
	} {
		for kind, credentials := range map[string]dcrtest.Edit{"static": resources, "registered": dcrtest.Basic(client.ID(), client.Secret())} {
			t.Run("LIFE-05/"+name+"/"+kind, func(t *testing.T) {
				events.Take()
				answer := s.Form(t, row.path, row.form, credentials)
				require.Equal(t, cmp.Or(row.status, answer.Status), answer.Status, answer.Body)
				require.Empty(t, events.Take(), answer.Body)
			})
		}
	}
}

// TestReplayedAssertionEvent: an assertion that was seen before does not authenticate, and
// is told of like any other.
func TestReplayedAssertionEvent(t *testing.T) {
	t.Parallel()
	s, events := eventServer(t)
	client := dcrtest.RegisterFor(t, s, "private_key_jwt")
	for _, endpoint := range dcrtest.AuthEndpoints {
		t.Run("LIFE-05/"+endpoint.Name, func(t *testing.T) {
			assertion := dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL))
			endpoint.RequireSuccess(t, s.Form(t, endpoint.Path, dcrtest.WithAssertion(endpoint.Request(t, s, client), assertion)))
			form := dcrtest.WithAssertion(endpoint.Request(t, s, client), assertion)
			events.Take()
			answer := s.Form(t, endpoint.Path, form)
			require.Contains(t, []int{400, 401}, answer.Status, answer.Body)
			requireFailedAuthentication(t, events, client.ID(), answer.Text("error"))
		})
	}
}

// TestCredentialsInTheQueryEvent: credentials where logs carry them away authenticate
// nobody (T40).
func TestCredentialsInTheQueryEvent(t *testing.T) {
	t.Parallel()
	s, events := eventServer(t)
	client := dcrtest.RegisterFor(t, s, "client_secret_post")
	for _, endpoint := range dcrtest.AuthEndpoints {
		t.Run("LIFE-05/"+endpoint.Name, func(t *testing.T) {
			form := endpoint.Request(t, s, client)
			events.Take()
			query := url.Values{"client_id": {client.ID()}, "client_secret": {client.Secret()}}
			answer := s.Form(t, endpoint.Path+"?"+query.Encode(), form)
			dcrtest.RequireRequestRefused(t, endpoint, answer)
			for _, event := range events.Take() {
				require.Equal(t, dcr.EventAuthenticationFailed, event.Kind)
				require.NotContains(t, event.Err.Error(), client.Secret())
			}
		})
	}
}

// TestAuthenticationFaultIsNoEvent: a storage that fails says nothing about the client
// (T52).
func TestAuthenticationFaultIsNoEvent(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	store := &dcrtest.OutageStore{MemoryStore: dcr.NewMemoryStore()}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for _, endpoint := range dcrtest.AuthEndpoints {
		for _, cause := range []error{dcrtest.ErrOnFire, dcrtest.ErrFailingOver} {
			t.Run("LIFE-05/"+endpoint.Name+"/"+cause.Error(), func(t *testing.T) {
				defer store.BreakDown(nil)
				form := endpoint.Request(t, s, client)
				events.Take()
				store.BreakDown(cause, "GetClient")
				answer := s.Form(t, endpoint.Path, form, dcrtest.Basic(client.ID(), client.Secret()))
				require.GreaterOrEqual(t, answer.Status, 500, answer.Body)
				answer = s.Form(t, endpoint.Path, form, dcrtest.Basic("a stranger's words", "wrong"))
				require.GreaterOrEqual(t, answer.Status, 500, answer.Body)
				require.Empty(t, events.Take())
			})
		}
	}
}

// TestWrongTokenEvents: a wrong token at the endpoints of registration is a failed
// authentication, and a missing one a refusal.
func TestWrongTokenEvents(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	access := dcr.AnyOf(dcr.AccessToken(), dcr.InitialAccessTokens())
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Access: access, Events: events}})
	token, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Uses: 1})
	require.NoError(t, err)
	client := s.Register(t, dcrtest.Managed(), dcrtest.Bearer(token))
	for _, row := range []struct {
		name string
		send func(token string) dcrtest.Answer
	}{
		{"registration", func(token string) dcrtest.Answer { return s.Post(t, dcrtest.Managed(), dcrtest.Bearer(token)) }},
		{"management", func(token string) dcrtest.Answer {
			return s.Manage(t, "GET", client, nil, dcrtest.Bearer(token))
		}},
	} { // in turn: they share the sink
		for name, wrong := range map[string]string{
			"words": "a stranger's words", "used_up": token, "secret": client.Secret(), "two,of": "them", "shortened": client.Token()[1:],
		} {
			events.Take()
			answer := row.send(wrong)
			t.Run("LIFE-05/"+row.name+"/"+name, func(t *testing.T) {
				require.Equal(t, http.StatusUnauthorized, answer.Status)
				requireFailedAuthentication(t, events, "", "invalid_token")
			})
		}
		answer := row.send("")
		t.Run("LIFE-05/"+row.name+"/empty", func(t *testing.T) {
			require.Equal(t, http.StatusUnauthorized, answer.Status)
			requireFailedAuthentication(t, events, "", "invalid_token")
		})
	}
	for _, send := range []func() dcrtest.Answer{
		func() dcrtest.Answer { return s.Post(t, dcrtest.Managed()) }, func() dcrtest.Answer { return s.Do(t, "GET", client.URI(), nil) },
	} {
		require.Equal(t, http.StatusUnauthorized, send().Status)
		require.Equal(t, dcr.EventRefused, events.TakeOne(t).Kind, "whoever presents nothing guesses nothing")
	}
}
