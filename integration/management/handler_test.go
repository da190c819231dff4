// Package management_test shows the client configuration endpoint (RFC 7592), and the tokens that open it.
package management_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// overTokenKinds runs a test with opaque access tokens and with JWTs.
func overTokenKinds(t *testing.T, setup dcrtest.Setup, run func(t *testing.T, s *dcrtest.Server)) {
	t.Helper()
	for name, tokensAreJWTs := range map[string]bool{"opaque": false, "jwt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := setup
			setup.JWT = tokensAreJWTs
			if setup.Storage == nil {
				setup.Static = []fosite.Client{dcrtest.Introspector(t)}
			}
			run(t, dcrtest.Start(t, setup))
		})
	}
}

// handClock is a clock that a test moves.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Now().Truncate(time.Second)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// misfit is a request whose token does not fit.
type misfit struct{ name, id, token string }

// misfits are tokens that were right once. The clock is two hours further afterwards.
func misfits(t *testing.T, s *dcrtest.Server, clock *handClock) []misfit {
	t.Helper()
	expired := s.Register(t, dcrtest.Managed())
	clock.advance(2 * time.Hour)
	deleted, revoked, rotated := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", deleted, nil).Status)
	require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", url.Values{"token": {revoked.Token()}},
		dcrtest.Basic(revoked.ID(), revoked.Secret())).Status)
	require.Equal(t, http.StatusOK, s.Manage(t, "PUT", rotated, dcrtest.Replacing(rotated)).Status)
	return []misfit{
		{"deleted", deleted.ID(), deleted.Token()},
		{"revoked", revoked.ID(), revoked.Token()},
		{"rotated", rotated.ID(), rotated.Token()},
		{"expired", expired.ID(), expired.Token()},
	}
}

// TestUniformRefusal: nothing tells from the answer what is wrong with a token, or
// whether the client exists (7592-2-03, 7592-2-02, 7592-2-05, T02, T03, T04, T05).
func TestUniformRefusal(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"opaque", "jwt"} {
		t.Run("7592-2-03/"+kind, func(t *testing.T) {
			t.Parallel()
			clock := newHandClock()
			s := dcrtest.Start(t, dcrtest.Setup{
				JWT: kind == "jwt", Static: []fosite.Client{dcrtest.Introspector(t)},
				Config: dcr.Config{Now: clock.Now, Management: dcr.Management{Token: dcr.RegistrationToken{Lifetime: time.Hour}}},
			})
			rows := misfits(t, s, clock)
			home, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
			rows = append(rows, misfitsOfGrants(t, s, home, other)...)
			before := s.Manage(t, "GET", home, nil)
			requireAllAlike(t, s, rows)
			require.Equal(t, before.Body, s.Manage(t, "GET", home, nil).Body, "nothing changes")
			require.True(t, dcrtest.TokenWorks(t, s, other, other.Token()), "a token that was shown elsewhere still works at home")
		})
	}
}

func misfitsOfGrants(t *testing.T, s *dcrtest.Server, home, other dcrtest.Answer) []misfit {
	t.Helper()
	tokens := dcrtest.SignIn(t, s, home)
	code := s.Code(t, dcrtest.AuthorizeQuery(home.ID(), dcrtest.RedirectURI, "scope", "openid"))
	stranger := compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte("another secret of thirty-two bytes or more")})
	foreign, _, err := stranger.GenerateAccessToken(t.Context(), fosite.NewRequest())
	require.NoError(t, err)
	return []misfit{
		{"unknown_client", "NOSUCHCLIENTNOSUCHCLIENT22", home.Token()},
		{"unknown_client_garbage", "NOSUCHCLIENTNOSUCHCLIENT22", "garbage"},
		{"static_client", dcrtest.IntrospectorID, home.Token()},
		{"static_client_secret", dcrtest.IntrospectorID, dcrtest.IntrospectorSecret},
		{"other_client", home.ID(), other.Token()},
		{"garbage", home.ID(), "garbage"},
		{"garbage_dotted", home.ID(), "ory_at_Z2FyYmFnZQ.Z2FyYmFnZQ"},
		{"truncated", home.ID(), home.Token()[:len(home.Token())-2]},
		{"another_secret", home.ID(), foreign},
		{"access_token", home.ID(), tokens.Text("access_token")},
		{"refresh_token", home.ID(), tokens.Text("refresh_token")},
		{"id_token", home.ID(), tokens.Text("id_token")},
		{"code", home.ID(), code},
		{"client_secret", home.ID(), home.Secret()},
		{"two_words", home.ID(), home.Token() + " x"},
		{"lower_case_identifier", strings.ToLower(home.ID()), home.Token()},
	}
}

// requireAllAlike sends each request with each method and compares the answers.
func requireAllAlike(t *testing.T, s *dcrtest.Server, rows []misfit) {
	t.Helper()
	var first *dcrtest.Answer
	for _, row := range rows {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			body := []byte(`{"client_id":"` + row.id + `","redirect_uris":["https://evil.example/cb"]}`)
			answer := s.Do(t, method, "/register/"+row.id, body, dcrtest.Bearer(row.token), dcrtest.Header("Content-Type", "application/json"))
			answer.Header.Del("Date")
			if first == nil {
				dcrtest.RequireUniformRefusal(t, answer)
				first = &answer
			}
			require.Equal(t, *first, answer, "%s %s", method, row.name)
		}
	}
}

// TestUniformRefusalOfRecords: what only a storage can show is refused alike, too: a
// client that has expired, one of another issuer (T41), and one whose entry the host
// has removed by its own means.
func TestUniformRefusalOfRecords(t *testing.T) {
	t.Parallel()
	edit := func(change func(*dcr.Client)) func(*testing.T, *dcrtest.Server, string) {
		return func(t *testing.T, s *dcrtest.Server, id string) {
			record, err := s.Store.GetDynamicClient(t.Context(), id)
			require.NoError(t, err)
			version := record.Version
			record.Version++
			change(record)
			require.NoError(t, s.Store.UpdateClient(t.Context(), record, version))
		}
	}
	rows := map[string]func(*testing.T, *dcrtest.Server, string){
		"expired_client": edit(func(c *dcr.Client) { c.ExpiresAt = time.Now().Add(-time.Second) }),
		"other_issuer":   edit(func(c *dcr.Client) { c.Issuer = "https://other.example" }),
		"no_token":       edit(func(c *dcr.Client) { c.RegistrationToken = dcr.RegistrationTokenRecord{} }),
		"entry_removed": func(t *testing.T, s *dcrtest.Server, id string) {
			record, err := s.Store.GetDynamicClient(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, s.Store.DeleteAccessTokenSession(t.Context(), "dcr.registration."+record.RegistrationToken.Signature))
		},
		"client_removed": func(t *testing.T, s *dcrtest.Server, id string) {
			require.NoError(t, s.Store.DeleteClient(t.Context(), id))
		},
	}
	for name, spoil := range rows {
		t.Run("7592-2-03/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			client := s.Register(t, dcrtest.Managed())
			require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()))
			spoil(t, s, client.ID())
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
			}
		})
	}
}

// TestTokenTransport: the token travels in the Authorization header and nowhere else
// (7592-2-01, 7592-2-03, T40).
func TestTokenTransport(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}})
	client := s.Register(t, dcrtest.Managed())
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  "} {
		t.Run("7592-2-01/scheme="+scheme, func(t *testing.T) {
			t.Parallel()
			answer := s.Do(t, "GET", client.URI(), nil, dcrtest.Header("Authorization", scheme+client.Token()))
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		})
	}
	token := url.Values{"access_token": {client.Token()}}.Encode()
	form := []dcrtest.Edit{dcrtest.Header("Content-Type", "application/x-www-form-urlencoded")}
	rows := []struct {
		name, query, body string
		edits             []dcrtest.Edit
	}{
		{name: "none"},
		{name: "query", query: "?" + token},
		{name: "form", body: token, edits: form},
		{name: "basic", edits: []dcrtest.Edit{dcrtest.Basic(client.ID(), client.Secret())}},
		{name: "dpop", edits: []dcrtest.Edit{dcrtest.Header("Authorization", "DPoP "+client.Token())}},
		{name: "query_and_basic", query: "?" + token, edits: []dcrtest.Edit{dcrtest.Basic(client.ID(), client.Secret())}},
	}
	for _, row := range rows {
		t.Run("7592-2-03/no_bearer/"+row.name, func(t *testing.T) {
			t.Parallel()
			var first string
			for _, id := range []string{client.ID(), dcrtest.IntrospectorID, "NOSUCHCLIENTNOSUCHCLIENT22"} {
				for _, method := range []string{"GET", "PUT", "DELETE"} {
					answer := s.Do(t, method, "/register/"+id+row.query, []byte(row.body), row.edits...)
					require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
					require.Equal(t, []string{"Bearer"}, answer.Header.Values("WWW-Authenticate"), "no error code (RFC 6750, section 3.1)")
					require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
					if first == "" {
						first = answer.Body
					}
					require.Equal(t, first, answer.Body)
				}
			}
			require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()), "nothing changes")
		})
	}
	t.Run("7592-2-01/two_headers", func(t *testing.T) {
		t.Parallel()
		dcrtest.RequireUniformRefusal(t, s.Do(t, "GET", client.URI(), nil, func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + client.Token(), "Bearer " + client.Token()}
		}))
	})
}

// TestManagementMethods: 405 for what the server does not offer, 403 for what the host
// forbids (7592-2-04, 7592-2.3-05, HTTP-01).
func TestManagementMethods(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, dcrtest.Managed())
	for _, method := range []string{"POST", "PATCH", "TRACE", "get"} {
		t.Run("7592-2-04/"+method, func(t *testing.T) {
			t.Parallel()
			answer := s.Manage(t, method, client, nil)
			dcrtest.RequireError(t, answer, http.StatusMethodNotAllowed, "invalid_request")
			allowed := strings.Split(answer.Header.Get("Allow"), ", ")
			require.Subset(t, []string{"GET", "HEAD", "PUT", "DELETE"}, allowed)
			require.Subset(t, allowed, []string{"GET", "PUT", "DELETE"})
		})
	}
	t.Run("HTTP-01/head", func(t *testing.T) {
		t.Parallel()
		get, head := s.Manage(t, "GET", client, nil), s.Manage(t, "HEAD", client, nil)
		require.Equal(t, http.StatusOK, head.Status)
		require.Empty(t, head.Body)
		get.Header.Del("Date")
		head.Header.Del("Date")
		require.Equal(t, get.Header, head.Header)
		refused := s.Do(t, "HEAD", client.URI(), nil, dcrtest.Bearer("garbage"))
		require.Equal(t, http.StatusUnauthorized, refused.Status)
		require.Equal(t, `Bearer error="invalid_token"`, refused.Header.Get("WWW-Authenticate"))
	})
	t.Run("HTTP-01/head_of_registration", func(t *testing.T) {
		t.Parallel()
		answer := s.Do(t, "HEAD", "/register", nil)
		require.Equal(t, http.StatusMethodNotAllowed, answer.Status)
		require.Equal(t, "POST", answer.Header.Get("Allow"))
	})
	for name, management := range map[string]dcr.Management{"PUT": {ForbidUpdate: true}, "DELETE": {ForbidDelete: true}} {
		t.Run("7592-2.3-05/forbid_"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: management}})
			client := s.Register(t, dcrtest.Managed())
			dcrtest.RequireError(t, s.Manage(t, name, client, dcrtest.Replacing(client, "client_name", "Changed")), http.StatusForbidden, "access_denied")
			dcrtest.RequireUniformRefusal(t, s.Manage(t, name, client, dcrtest.Replacing(client), dcrtest.Bearer("garbage")))
			read := s.Manage(t, "GET", client, nil)
			require.Equal(t, http.StatusOK, read.Status)
			require.Equal(t, "Managed", read.Text("client_name"))
			other := map[string]string{"PUT": "DELETE", "DELETE": "PUT"}[name]
			require.Less(t, s.Manage(t, other, client, dcrtest.Replacing(client)).Status, 300, "the other method stays")
		})
	}
}

// TestManagementInformation: what the answers hold (7592-3-01, 7592-3-03, 7592-2.1-01,
// 7592-2.1-02).
func TestManagementInformation(t *testing.T) {
	t.Parallel()
	t.Run("7592-3-01/uri_from_configuration", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
			Endpoints: dcr.Endpoints{
				Issuer:       func(context.Context) string { return "https://as.example" },
				Registration: func(context.Context) string { return "https://public.example/clients/" },
			},
		}})
		forged := []dcrtest.Edit{
			func(r *http.Request) { r.Host = "evil.example" },
			dcrtest.Header("X-Forwarded-Host", "evil.example"), dcrtest.Header("X-Forwarded-Proto", "http"),
			dcrtest.Header("Forwarded", "host=evil.example;proto=http"),
		}
		client := s.Register(t, dcrtest.Managed(), forged...)
		require.Equal(t, "https://public.example/clients/"+client.ID(), client.URI())
		for _, method := range []string{"GET", "PUT"} {
			edits := append(slices.Clone(forged), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
			body := []byte(`{"client_id":"` + client.ID() + `","redirect_uris":["` + dcrtest.RedirectURI + `"]}`)
			answer := s.Do(t, method, "/register/"+client.ID(), body, edits...)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, client.URI(), answer.URI(), "stable")
		}
	})
	t.Run("7592-2.1-01/read", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		client := s.Register(t, dcrtest.Managed("client_name#fr", "Géré", "contacts", []string{"a@b.example"}, "software_id", "x"))
		read := s.Manage(t, "GET", client, nil)
		require.Equal(t, http.StatusOK, read.Status)
		require.Equal(t, "application/json", read.Header.Get("Content-Type"))
		require.Equal(t, "no-store", read.Header.Get("Cache-Control"))
		require.Equal(t, "no-cache", read.Header.Get("Pragma"))
		want := maps.Clone(client.Members)
		delete(want, "client_secret") // 7592-2.1-02: it is stored as a hash
		require.EqualValues(t, 0, want["client_secret_expires_at"])
		require.Equal(t, want, read.Members, "7592-3-03: with the token that was presented, and the URI")
	})
	t.Run("7592-2.1-02/secret_that_expires", func(t *testing.T) {
		t.Parallel()
		clock := newHandClock()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Now: clock.Now, Secrets: dcr.Secrets{Lifetime: time.Hour}}})
		client := s.Register(t, dcrtest.Managed())
		end := clock.Now().Add(time.Hour).Unix()
		clock.advance(time.Minute)
		for _, answer := range []dcrtest.Answer{s.Manage(t, "GET", client, nil), s.Manage(t, "PUT", client, dcrtest.Replacing(client))} {
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.EqualValues(t, end, answer.Members["client_secret_expires_at"])
			require.NotContains(t, answer.Members, "client_secret")
		}
	})
	t.Run("7592-2.1-02/public", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		read := s.Manage(t, "GET", s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none")), nil)
		require.Equal(t, http.StatusOK, read.Status)
		require.NotContains(t, read.Members, "client_secret")
		require.NotContains(t, read.Members, "client_secret_expires_at")
	})
}

// TestManagementOff: without management there is no token, and nothing to manage
// (7592-3-02).
func TestManagementOff(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Off: true}}})
	client := s.Register(t, dcrtest.Managed())
	require.NotEmpty(t, client.Secret())
	require.NotContains(t, client.Members, "registration_access_token")
	require.NotContains(t, client.Members, "registration_client_uri")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		dcrtest.RequireUniformRefusal(t, s.Do(t, method, "/register/"+client.ID(), nil, dcrtest.Bearer("garbage")))
	}
	dcrtest.SignIn(t, s, client)
}
