package endpoints_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func introspect(t *testing.T, s *dcrtest.Server, token string, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	return s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, edits...)
}

// seesNothing judges the answer about a token that is none of the caller's business.
func seesNothing(t *testing.T, a dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, map[string]any{"active": false}, a.Members)
}

func sees(t *testing.T, a dcrtest.Answer, clientID string) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, true, a.Members["active"], a.Body)
	require.Equal(t, clientID, a.Text("client_id"), a.Body)
}

func TestIntrospectionByRegisteredClients(t *testing.T) {
	t.Parallel()
	servers, _ := tokenServers(t)
	delete(servers, "stateless") // whose tokens name no client
	for kind, s := range servers {
		stranger := dcrtest.RegisterFor(t, s, "none").Tokens(t, s)
		for _, method := range dcrtest.AuthMethods[1:] {
			t.Run("INTRO-01/"+kind+"/"+method, func(t *testing.T) {
				t.Parallel() // T53
				client := dcrtest.RegisterFor(t, s, method)
				tokens := client.Tokens(t, s)
				for _, name := range []string{"access_token", "refresh_token"} {
					own := client.Send(t, "/oauth2/introspect", method, url.Values{"token": {tokens.Text(name)}})
					sees(t, own, client.ID())
					seesNothing(t, client.Send(t, "/oauth2/introspect", method, url.Values{"token": {stranger.Text(name)}}))
				}
				seesNothing(t, client.Send(t, "/oauth2/introspect", method, url.Values{"token": {client.Token()}}))
			})
		}
		t.Run("INTRO-01/"+kind+"/none", func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, "none")
			form := url.Values{"token": {client.AccessToken(t, s)}, "client_id": {client.ID()}}
			dcrtest.AuthEndpoints[3].RequireRefused(t, s.Form(t, "/oauth2/introspect", form))
		})
	}
}

func TestIntrospectionByBearer(t *testing.T) {
	t.Parallel()
	servers, _ := tokenServers(t)
	delete(servers, "stateless")
	for kind, s := range servers {
		client := dcrtest.RegisterFor(t, s, "client_secret_basic")
		own := client.Tokens(t, s)
		other := client.Tokens(t, s)
		stranger := dcrtest.RegisterFor(t, s, "none").Tokens(t, s)
		bearer := own.Text("access_token")
		rows := map[string]struct {
			token string
			sees  bool
		}{
			"itself":           {bearer, true},
			"another_of_it":    {other.Text("access_token"), false},
			"its_refresh":      {own.Text("refresh_token"), false},
			"stranger":         {stranger.Text("access_token"), false},
			"stranger_refresh": {stranger.Text("refresh_token"), false},
			"registration":     {client.Token(), false},
		}
		for name, row := range rows {
			t.Run("INTRO-01/"+kind+"/bearer/"+name, func(t *testing.T) {
				t.Parallel()
				answer := introspect(t, s, row.token, dcrtest.Bearer(bearer))
				if row.sees {
					sees(t, answer, client.ID())
					return
				}
				seesNothing(t, answer)
			})
		}
		for name, token := range map[string]string{"refresh_token": own.Text("refresh_token"), "registration_token": client.Token()} {
			t.Run("INTRO-01/"+kind+"/bearer_of/"+name, func(t *testing.T) {
				t.Parallel() // RFC 7662, section 2.3
				answer := introspect(t, s, stranger.Text("access_token"), dcrtest.Bearer(token))
				dcrtest.RequireTokenError(t, answer, http.StatusUnauthorized, "invalid_token")
				require.NotContains(t, answer.Members, "active")
			})
		}
		t.Run("INTRO-01/"+kind+"/bearer_of/nothing", func(t *testing.T) {
			t.Parallel()
			dcrtest.AuthEndpoints[3].RequireRefused(t, introspect(t, s, stranger.Text("access_token")))
		})
	}
}

func TestIntrospectionByResourceServers(t *testing.T) {
	t.Parallel()
	servers, credentials := tokenServers(t)
	delete(servers, "stateless")
	for kind, s := range servers {
		t.Run("INTRO-01/"+kind+"/resource_server", func(t *testing.T) {
			t.Parallel()
			granted := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, credentials)
			for _, method := range dcrtest.AuthMethods {
				client := dcrtest.RegisterFor(t, s, method)
				tokens := client.Tokens(t, s)
				sees(t, introspect(t, s, tokens.Text("access_token"), credentials), client.ID())
				seesNothing(t, introspect(t, s, tokens.Text("refresh_token"), credentials)) // USE-01
				sees(t, introspect(t, s, tokens.Text("access_token"), dcrtest.Bearer(granted.Text("access_token"))), client.ID())
				seesNothing(t, introspect(t, s, client.Token(), credentials)) // T01
			}
		})
	}
}

// selfContained mints what a host's JWT session would put into an access token.
func selfContained(t *testing.T, s *dcrtest.Server, claims map[string]any) string {
	t.Helper()
	claims["exp"], claims["iat"] = time.Now().Add(time.Hour).Unix(), time.Now().Unix()
	claims["sub"], claims["iss"] = "alice", s.URL
	return dcrtest.SignToken(t, jose.RS256, s.Key, "", claims)
}

func TestSelfContainedTokenOfAClientThatIsGone(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	factories := slices.Clone(dcrtest.DefaultFactories)
	factories[5] = compose.OAuth2StatelessJWTIntrospectionFactory
	store := &dcrtest.OutageStore{MemoryStore: dcr.NewMemoryStore()}
	store.AddClient(rs)
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, JWT: true, Factories: factories})
	client := dcrtest.RegisterFor(t, s, "none")

	named := selfContained(t, s, map[string]any{"client_id": client.ID()})
	nameless := selfContained(t, s, map[string]any{})
	static := selfContained(t, s, map[string]any{"client_id": "resource-server"})
	document := selfContained(t, s, map[string]any{"client_id": "https://client.example/metadata"})
	unknown := selfContained(t, s, map[string]any{"client_id": "nobody"})

	sees(t, introspect(t, s, named, credentials), client.ID())
	sees(t, introspect(t, s, static, credentials), "resource-server")
	sees(t, introspect(t, s, document, credentials), "https://client.example/metadata")
	require.Equal(t, true, introspect(t, s, nameless, credentials).Members["active"], "nobody is named")
	seesNothing(t, introspect(t, s, unknown, credentials))
	seesNothing(t, introspect(t, s, client.Token(), credentials)) // T01, T46

	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client.Answer, nil).Status)
	seesNothing(t, introspect(t, s, named, credentials)) // T36

	bearer := dcrtest.RegisterFor(t, s, "none")
	mine := selfContained(t, s, map[string]any{"client_id": bearer.ID()})
	seesNothing(t, introspect(t, s, static, dcrtest.Bearer(mine))) // INTRO-01
	store.BreakDown(dcrtest.ErrOnFire, "GetClient")
	serverFailed(t, introspect(t, s, mine, dcrtest.Bearer(mine)), dcrtest.ErrOnFire)
}

// forgetfulStore keeps sessions with their client as it was, as many hosts' storages do,
// and removes nothing of a client that is deleted.
type forgetfulStore struct {
	*dcr.MemoryStore
	mu       sync.Mutex
	requests map[string]fosite.Requester
}

// RevokeClientGrants has another signature than dcr.GrantRevoker wants.
func (*forgetfulStore) RevokeClientGrants() {}

func (s *forgetfulStore) keep(key string, request fosite.Requester) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[key] = request
	return nil
}

func (s *forgetfulStore) find(key string) (fosite.Requester, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if request, ok := s.requests[key]; ok {
		return request, nil
	}
	return nil, fosite.ErrNotFound
}

func (s *forgetfulStore) CreateAccessTokenSession(_ context.Context, signature string, r fosite.Requester) error {
	return s.keep("access "+signature, r)
}

func (s *forgetfulStore) GetAccessTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.find("access " + signature)
}

func (s *forgetfulStore) CreateRefreshTokenSession(_ context.Context, signature, _ string, r fosite.Requester) error {
	return s.keep("refresh "+signature, r)
}

func (s *forgetfulStore) GetRefreshTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.find("refresh " + signature)
}

func (s *forgetfulStore) CreateAuthorizeCodeSession(_ context.Context, code string, r fosite.Requester) error {
	return s.keep("code "+code, r)
}

func (s *forgetfulStore) GetAuthorizeCodeSession(_ context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	return s.find("code " + code)
}

func (s *forgetfulStore) InvalidateAuthorizeCodeSession(_ context.Context, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, "code "+code)
	return nil
}

func (s *forgetfulStore) CreatePARSession(_ context.Context, uri string, r fosite.AuthorizeRequester) error {
	return s.keep("pushed "+uri, r)
}

func (s *forgetfulStore) DeletePARSession(_ context.Context, uri string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, "pushed "+uri)
	return nil
}

func (s *forgetfulStore) GetPARSession(_ context.Context, uri string) (fosite.AuthorizeRequester, error) {
	request, err := s.find("pushed " + uri)
	if err != nil {
		return nil, err
	}
	return request.(fosite.AuthorizeRequester), nil
}

func TestWhatADeletedClientLeavesBehind(t *testing.T) {
	t.Parallel()
	storages := map[string]func() fosite.Storage{
		"restores_clients": func() fosite.Storage { return dcr.NewMemoryStore() },
		"keeps_clients": func() fosite.Storage {
			return &forgetfulStore{MemoryStore: dcr.NewMemoryStore(), requests: map[string]fosite.Requester{}}
		},
	}
	for name, storage := range storages {
		for _, method := range dcrtest.AuthMethods {
			t.Run("T36/"+name+"/"+method, func(t *testing.T) {
				t.Parallel() // 7592-2.3-03
				rs, credentials := dcrtest.ResourceServer(t)
				store := storage()
				store.(interface{ AddClient(fosite.Client) }).AddClient(rs)
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
				client := dcrtest.RegisterFor(t, s, method)
				tokens := client.Tokens(t, s)
				code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
				push := func() string {
					form := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)
					answer := client.Send(t, "/oauth2/par", method, form)
					require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
					return answer.Text("request_uri")
				}
				pushed := url.Values{"client_id": {client.ID()}, "request_uri": {push()}}
				sees(t, introspect(t, s, tokens.Text("access_token"), credentials), client.ID())
				control := url.Values{"client_id": {client.ID()}, "request_uri": {push()}}
				require.NotEmpty(t, s.Code(t, control), "a pushed request works while the client exists")
				require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client.Answer, nil).Status)

				seesNothing(t, introspect(t, s, tokens.Text("access_token"), credentials))
				seesNothing(t, introspect(t, s, tokens.Text("refresh_token"), credentials))
				refresh := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
				dcrtest.AuthEndpoints[0].RequireRefused(t, client.Send(t, "/oauth2/token", method, refresh))
				dcrtest.AuthEndpoints[0].RequireRefused(t, client.Send(t, "/oauth2/token", method, dcrtest.CodeForm("", code, dcrtest.RedirectURI)))
				page := s.Authorize(t, pushed)
				require.GreaterOrEqual(t, page.Status, 400, page.Body)
				require.Less(t, page.Status, 500, page.Body)
				require.Empty(t, page.Header.Get("Location"))
			})
		}
	}
}

func TestClientDeletedWhileTheUserIsAsked(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RegisterFor(t, s, "none")
	query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)
	request, err := s.Provider.NewAuthorizeRequest(ctx, httptest.NewRequest(http.MethodGet, "/?"+query.Encode(), nil))
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client.Answer, nil).Status)
	response, err := s.Provider.NewAuthorizeResponse(ctx, request, dcrtest.NewSession("alice"))
	require.ErrorIs(t, err, fosite.ErrInvalidClient, "T36")
	require.Nil(t, response)
	require.True(t, s.Provider.ShowsAuthorizeError(request, err, true), "nobody is there to be redirected to")
}
