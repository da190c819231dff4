package dcr_test

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

const (
	managedRedirect = "https://client.example/cb"
	operatorsID     = "operators-own"
	operatorsSecret = "the secret of the operator's own client"
)

// managed is the metadata of the client that most tests of management register. Pairs
// of name and value replace what is there.
func managed(pairs ...any) map[string]any {
	metadata := map[string]any{
		"client_name":   "Managed",
		"redirect_uris": []string{managedRedirect},
		"grant_types":   []string{"authorization_code", "refresh_token"},
		"scope":         "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// replacing is the body of an update of client, with managed's metadata.
func replacing(client dcrtest.Answer, pairs ...any) map[string]any {
	return managed(append([]any{"client_id", client.ID()}, pairs...)...)
}

// operatorsOwn is a client that was not registered, and may introspect every token.
func operatorsOwn(t testing.TB) fosite.Client {
	t.Helper()
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(t.Context(), []byte(operatorsSecret))
	require.NoError(t, err)
	return &fosite.DefaultClient{ID: operatorsID, Secret: hash, RedirectURIs: []string{managedRedirect}}
}

// overTokenKinds runs a test with opaque access tokens and with JWTs.
func overTokenKinds(t *testing.T, setup dcrtest.Setup, run func(t *testing.T, s *dcrtest.Server)) {
	t.Helper()
	for name, tokensAreJWTs := range map[string]bool{"opaque": false, "jwt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := setup
			setup.JWT = tokensAreJWTs
			if setup.Storage == nil {
				setup.Static = []fosite.Client{operatorsOwn(t)}
			}
			run(t, dcrtest.Start(t, setup))
		})
	}
}

// signIn takes a confidential client through the code flow and returns its tokens.
func signIn(t testing.TB, s *dcrtest.Server, client dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", "openid"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, managedRedirect), dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

// introspected asks about a token as the operator's own client.
func introspected(t testing.TB, s *dcrtest.Server, token string) map[string]any {
	t.Helper()
	answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, dcrtest.Basic(operatorsID, operatorsSecret))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer.Members
}

var inactiveToken = map[string]any{"active": false}

// works reports whether a token reads the client's registration.
func works(t testing.TB, s *dcrtest.Server, client dcrtest.Answer, token string) bool {
	t.Helper()
	answer := s.Do(t, "GET", "/register/"+client.ID(), nil, dcrtest.Bearer(token))
	if answer.Status != http.StatusOK {
		requireUniformRefusal(t, answer)
		return false
	}
	return true
}

// requireUniformRefusal: there is one answer to a token that does not fit, to the byte.
func requireUniformRefusal(t testing.TB, answer dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	header := answer.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	require.Equal(t, http.Header{
		"Www-Authenticate": {`Bearer error="invalid_token"`},
		"Content-Type":     {"application/json"},
		"Cache-Control":    {"no-store"},
		"Pragma":           {"no-cache"},
	}, header)
	require.Equal(t, "invalid_token", answer.Text("error"), answer.Body)
	require.NotEmpty(t, answer.Text("error_description"), answer.Body)
	require.Len(t, answer.Members, 2, answer.Body)
}

// requireError: an error of the protocol, as JSON and never cached.
func requireError(t testing.TB, answer dcrtest.Answer, status int, code string, named ...string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	require.Equal(t, "no-cache", answer.Header.Get("Pragma"))
	for _, name := range named {
		require.Contains(t, answer.Text("error_description"), name)
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
	expired := s.Register(t, managed())
	clock.advance(2 * time.Hour)
	deleted, revoked, rotated := s.Register(t, managed()), s.Register(t, managed()), s.Register(t, managed())
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", deleted, nil).Status)
	require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", url.Values{"token": {revoked.Token()}},
		dcrtest.Basic(revoked.ID(), revoked.Secret())).Status)
	require.Equal(t, http.StatusOK, s.Manage(t, "PUT", rotated, replacing(rotated)).Status)
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
				JWT: kind == "jwt", Static: []fosite.Client{operatorsOwn(t)},
				Config: dcr.Config{Now: clock.Now, RegistrationToken: dcr.RegistrationToken{Lifetime: time.Hour}},
			})
			rows := misfits(t, s, clock)
			home, other := s.Register(t, managed()), s.Register(t, managed())
			rows = append(rows, misfitsOfGrants(t, s, home, other)...)
			before := s.Manage(t, "GET", home, nil)
			requireAllAlike(t, s, rows)
			require.Equal(t, before.Body, s.Manage(t, "GET", home, nil).Body, "nothing changes")
			require.True(t, works(t, s, other, other.Token()), "a token that was shown elsewhere still works at home")
		})
	}
}

func misfitsOfGrants(t *testing.T, s *dcrtest.Server, home, other dcrtest.Answer) []misfit {
	t.Helper()
	tokens := signIn(t, s, home)
	code := s.Code(t, dcrtest.AuthorizeQuery(home.ID(), managedRedirect, "scope", "openid"))
	stranger := compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte("another secret of thirty-two bytes or more")})
	foreign, _, err := stranger.GenerateAccessToken(t.Context(), fosite.NewRequest())
	require.NoError(t, err)
	return []misfit{
		{"unknown_client", "NOSUCHCLIENTNOSUCHCLIENT22", home.Token()},
		{"unknown_client_garbage", "NOSUCHCLIENTNOSUCHCLIENT22", "garbage"},
		{"static_client", operatorsID, home.Token()},
		{"static_client_secret", operatorsID, operatorsSecret},
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
				requireUniformRefusal(t, answer)
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
			require.NoError(t, s.Store.RevokeClientGrants(t.Context(), id))
		},
		"client_removed": func(t *testing.T, s *dcrtest.Server, id string) {
			require.NoError(t, s.Store.DeleteClient(t.Context(), id))
		},
	}
	for name, spoil := range rows {
		t.Run("7592-2-03/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			client := s.Register(t, managed())
			require.True(t, works(t, s, client, client.Token()))
			spoil(t, s, client.ID())
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				requireUniformRefusal(t, s.Manage(t, method, client, replacing(client)))
			}
		})
	}
}

// TestTokenTransport: the token travels in the Authorization header and nowhere else
// (7592-2-01, 7592-2-03, T40).
func TestTokenTransport(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{operatorsOwn(t)}})
	client := s.Register(t, managed())
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
			for _, id := range []string{client.ID(), operatorsID, "NOSUCHCLIENTNOSUCHCLIENT22"} {
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
			require.True(t, works(t, s, client, client.Token()), "nothing changes")
		})
	}
	t.Run("7592-2-01/two_headers", func(t *testing.T) {
		t.Parallel()
		requireUniformRefusal(t, s.Do(t, "GET", client.URI(), nil, func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + client.Token(), "Bearer " + client.Token()}
		}))
	})
}

// TestManagementMethods: 405 for what the server does not offer, 403 for what the host
// forbids (7592-2-04, 7592-2.3-05, HTTP-01).
func TestManagementMethods(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, managed())
	for _, method := range []string{"POST", "PATCH", "TRACE", "get"} {
		t.Run("7592-2-04/"+method, func(t *testing.T) {
			t.Parallel()
			answer := s.Manage(t, method, client, nil)
			requireError(t, answer, http.StatusMethodNotAllowed, "invalid_request")
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
			client := s.Register(t, managed())
			requireError(t, s.Manage(t, name, client, replacing(client, "client_name", "Changed")), http.StatusForbidden, "access_denied")
			requireUniformRefusal(t, s.Manage(t, name, client, replacing(client), dcrtest.Bearer("garbage")))
			read := s.Manage(t, "GET", client, nil)
			require.Equal(t, http.StatusOK, read.Status)
			require.Equal(t, "Managed", read.Text("client_name"))
			other := map[string]string{"PUT": "DELETE", "DELETE": "PUT"}[name]
			require.Less(t, s.Manage(t, other, client, replacing(client)).Status, 300, "the other method stays")
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
			Issuer:               func(context.Context) string { return "https://as.example" },
			RegistrationEndpoint: func(context.Context) string { return "https://public.example/clients/" },
		}})
		forged := []dcrtest.Edit{
			func(r *http.Request) { r.Host = "evil.example" },
			dcrtest.Header("X-Forwarded-Host", "evil.example"), dcrtest.Header("X-Forwarded-Proto", "http"),
			dcrtest.Header("Forwarded", "host=evil.example;proto=http"),
		}
		client := s.Register(t, managed(), forged...)
		require.Equal(t, "https://public.example/clients/"+client.ID(), client.URI())
		for _, method := range []string{"GET", "PUT"} {
			edits := append(slices.Clone(forged), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
			body := []byte(`{"client_id":"` + client.ID() + `","redirect_uris":["` + managedRedirect + `"]}`)
			answer := s.Do(t, method, "/register/"+client.ID(), body, edits...)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, client.URI(), answer.URI(), "stable")
		}
	})
	t.Run("7592-2.1-01/read", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		client := s.Register(t, managed("client_name#fr", "Géré", "contacts", []string{"a@b.example"}, "software_id", "x"))
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
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Now: clock.Now, SecretLifetime: time.Hour}})
		client := s.Register(t, managed())
		end := clock.Now().Add(time.Hour).Unix()
		clock.advance(time.Minute)
		for _, answer := range []dcrtest.Answer{s.Manage(t, "GET", client, nil), s.Manage(t, "PUT", client, replacing(client))} {
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.EqualValues(t, end, answer.Members["client_secret_expires_at"])
			require.NotContains(t, answer.Members, "client_secret")
		}
	})
	t.Run("7592-2.1-02/public", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		read := s.Manage(t, "GET", s.Register(t, managed("token_endpoint_auth_method", "none")), nil)
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
	client := s.Register(t, managed())
	require.NotEmpty(t, client.Secret())
	require.NotContains(t, client.Members, "registration_access_token")
	require.NotContains(t, client.Members, "registration_client_uri")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		requireUniformRefusal(t, s.Do(t, method, "/register/"+client.ID(), nil, dcrtest.Bearer("garbage")))
	}
	signIn(t, s, client)
}
