package endpoints_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const (
	resourceA, resourceB = "https://a.example/mcp", "https://b.example"
	resourceC            = "https://c.example" // allowed, and not granted
)

// narrowing is a server with three resources, and a client that was granted two.
type narrowing struct {
	*dcrtest.Server
	t      *testing.T
	client dcrtest.AuthClient
}

func startNarrowing(t *testing.T, storage any, jwt, strict bool) narrowing {
	t.Helper()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: storage, JWT: jwt, Config: dcr.Config{Authorization: dcr.Authorization{
		Audience: list{resourceA, resourceB, resourceC}, RefuseUnknownResources: strict,
	}}})
	return narrowing{s, t, dcrtest.RegisterFor(t, s, "client_secret_basic")}
}

func (n narrowing) code() string {
	query := dcrtest.AuthorizeQuery(n.client.ID(), dcrtest.RedirectURI)
	query["resource"] = list{resourceA, resourceB}
	return n.Code(n.t, query)
}

func (n narrowing) token(form url.Values, resources ...string) dcrtest.Answer {
	form["resource"] = resources
	return n.client.Send(n.t, "/oauth2/token", n.client.Method, form)
}

// audience is what a token is for: as it is stored, and, where it is a JWT, as it says.
func (n narrowing) audience(token string, use fosite.TokenUse) list {
	_, request, err := n.Provider.Fosite.IntrospectToken(context.Background(), token, use, dcrtest.NewSession(""))
	require.NoError(n.t, err)
	return list(request.GetGrantedAudience())
}

// TestNarrowedTokens: an access token is for what its request names, the grant stays whole.
func TestNarrowedTokens(t *testing.T) {
	t.Parallel()
	both := list{resourceA, resourceB}
	for name, row := range map[string]struct {
		named, want list
	}{
		"none": {nil, both}, "one": {both[1:], both[1:]}, "with_a_slash": {list{resourceB + "/"}, both[1:]}, "both": {both, both},
	} {
		for _, jwt := range []bool{false, true} {
			t.Run("RES-01/"+name+map[bool]string{false: "/opaque", true: "/jwt"}[jwt], func(t *testing.T) {
				t.Parallel()
				n := startNarrowing(t, nil, jwt, true)
				tokens := n.token(dcrtest.CodeForm("", n.code(), dcrtest.RedirectURI), row.named...)
				require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
				require.Equal(t, row.want, n.audience(tokens.Text("access_token"), fosite.AccessToken))
				require.Equal(t, both, n.audience(tokens.Text("refresh_token"), fosite.RefreshToken))
				if jwt {
					_, rest, _ := strings.Cut(tokens.Text("access_token"), ".")
					payload, _, _ := strings.Cut(rest, ".")
					claims, err := base64.RawURLEncoding.DecodeString(payload)
					require.NoError(t, err)
					var said struct {
						Audience list `json:"aud"`
					}
					require.NoError(t, json.Unmarshal(claims, &said))
					require.Equal(t, row.want, said.Audience)
				}
				other := n.token(dcrtest.RefreshForm("", tokens.Text("refresh_token")), resourceA)
				require.Equal(t, http.StatusOK, other.Status, other.Body)
				require.Equal(t, both[:1], n.audience(other.Text("access_token"), fosite.AccessToken), "the other one")
				whole := n.token(dcrtest.RefreshForm("", other.Text("refresh_token")))
				require.Equal(t, both, n.audience(whole.Text("access_token"), fosite.AccessToken), whole.Body)
			})
		}
	}
}

// TestUnknownResourceOfToken: one that was not granted is refused where that is wanted, and neither code nor refresh
// token is spent; otherwise it is left out.
func TestUnknownResourceOfToken(t *testing.T) {
	t.Parallel()
	for _, unknown := range []list{{resourceC}, {"https://evil.example"}, {resourceA, resourceC}} {
		t.Run("RES-01/refused", func(t *testing.T) {
			t.Parallel()
			n := startNarrowing(t, nil, false, true)
			code := n.code()
			refused := n.token(dcrtest.CodeForm("", code, dcrtest.RedirectURI), unknown...)
			require.Equal(t, []any{http.StatusBadRequest, "invalid_target"}, []any{refused.Status, refused.Text("error")}, refused.Body)
			tokens := n.token(dcrtest.CodeForm("", code, dcrtest.RedirectURI), resourceA)
			require.Equal(t, http.StatusOK, tokens.Status, "the code is not spent: %s", tokens.Body)
			refused = n.token(dcrtest.RefreshForm("", tokens.Text("refresh_token")), unknown...)
			require.Equal(t, []any{http.StatusBadRequest, "invalid_target"}, []any{refused.Status, refused.Text("error")}, refused.Body)
			tokens = n.token(dcrtest.RefreshForm("", tokens.Text("refresh_token")), resourceB)
			require.Equal(t, http.StatusOK, tokens.Status, "the refresh token is not spent: %s", tokens.Body)
		})
		t.Run("RES-01/left_out", func(t *testing.T) {
			t.Parallel()
			n := startNarrowing(t, nil, false, false)
			want := list{resourceA, resourceB}
			if unknown[0] == resourceA {
				want = want[:1]
			}
			tokens := n.token(dcrtest.CodeForm("", n.code(), dcrtest.RedirectURI), unknown...)
			require.Equal(t, want, n.audience(tokens.Text("access_token"), fosite.AccessToken), tokens.Body)
			tokens = n.token(dcrtest.RefreshForm("", tokens.Text("refresh_token")), unknown...)
			require.Equal(t, want, n.audience(tokens.Text("access_token"), fosite.AccessToken), tokens.Body)
		})
	}
}

// racingStore loses a code between fosite's look at it and the next one.
type racingStore struct {
	*dcr.MemoryStore
	lose  func(s *dcr.MemoryStore, code string) error
	looks atomic.Int64
}

func (s *racingStore) GetAuthorizeCodeSession(ctx context.Context, code string, session fosite.Session) (fosite.Requester, error) {
	if s.looks.Add(1) == 2 {
		if err := s.lose(s.MemoryStore, code); err != nil {
			return nil, err
		}
	}
	return s.MemoryStore.GetAuthorizeCodeSession(ctx, code, session)
}

// TestCodeIsLostAsAResourceIsHeldAgainstIt: that is nobody's fault here.
func TestCodeIsLostAsAResourceIsHeldAgainstIt(t *testing.T) {
	t.Parallel()
	fault := errors.New("no connection")
	for name, row := range map[string]struct {
		lose func(*dcr.MemoryStore, string) error
		want list
	}{
		"used": {func(s *dcr.MemoryStore, code string) error {
			return s.InvalidateAuthorizeCodeSession(context.Background(), code)
		}, list{"400", "invalid_grant"}},
		"gone":  {func(*dcr.MemoryStore, string) error { return fosite.ErrNotFound }, list{"400", "invalid_grant"}},
		"fault": {func(*dcr.MemoryStore, string) error { return fault }, list{"500", "server_error"}},
	} {
		t.Run("ERR-02/"+name, func(t *testing.T) {
			t.Parallel()
			n := startNarrowing(t, &racingStore{MemoryStore: dcr.NewMemoryStore(), lose: row.lose}, false, true)
			answer := n.token(dcrtest.CodeForm("", n.code(), dcrtest.RedirectURI), resourceB)
			require.Equal(t, row.want, list{strconv.Itoa(answer.Status), answer.Text("error")}, answer.Body)
		})
	}
}

// TestNarrowedInATransaction: the view of the storage hides no transactions.
func TestNarrowedInATransaction(t *testing.T) {
	t.Parallel() // RES-01
	store := &dcrtest.TransactionalStore{WatchedStore: dcrtest.NewWatchedStore()}
	n := startNarrowing(t, store, false, false)
	code := n.code()
	store.Took()
	tokens := n.token(dcrtest.CodeForm("", code, dcrtest.RedirectURI), resourceB)
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	inTransaction := list{"begin", "CreateAccessTokenSession", "commit"}
	require.Equal(t, inTransaction, store.Took())
	tokens = n.token(dcrtest.RefreshForm("", tokens.Text("refresh_token")), resourceB)
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.Equal(t, inTransaction, store.Took())
}

// TestDefaultResource: a client that names no resource gets tokens for the one that the application names.
func TestDefaultResource(t *testing.T) {
	t.Parallel() // RES-02
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Authorization: dcr.Authorization{Audience: list{resourceA, resourceB}, DefaultResource: resourceA},
		Metadata:      dcr.Metadata{AnonymousGrantTypes: list{"client_credentials"}},
	}})
	client := s.Register(t, members{"redirect_uris": list{dcrtest.RedirectURI}, "grant_types": list{"authorization_code", "refresh_token", "client_credentials"}})
	basic := dcrtest.Basic(client.ID(), client.Secret())
	n := narrowing{Server: s, t: t}
	exchange := func(query url.Values) list {
		return n.audience(s.Form(t, "/oauth2/token", dcrtest.CodeForm("", s.Code(t, query), dcrtest.RedirectURI), basic).Text("access_token"), fosite.AccessToken)
	}
	require.Equal(t, list{resourceA}, exchange(dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)))
	require.Equal(t, list{resourceB}, exchange(dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "resource", resourceB)))
	require.Equal(t, list{resourceB}, exchange(dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "audience", resourceB)))
	pushed := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI), basic)
	require.Equal(t, list{resourceA}, exchange(url.Values{"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}}))
	machine := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, basic)
	require.Equal(t, list{resourceA}, n.audience(machine.Text("access_token"), fosite.AccessToken), machine.Body)
	_, err := (&dcrtest.Server{URL: s.URL}).Compose(dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{DefaultResource: resourceA}}})
	require.ErrorContains(t, err, "Config.Authorization.DefaultResource")
}

// TestSilentRequestWithoutRedirect: openid makes redirect_uri required, so a client that names neither is not given it.
func TestSilentRequestWithoutRedirect(t *testing.T) {
	t.Parallel()
	for registered, want := range map[string]string{"openid profile": "profile", "openid": "", "profile": "profile"} {
		t.Run("SCOPE-03/no_redirect_uri/"+registered, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			client := s.Register(t, members{"redirect_uris": list{dcrtest.RedirectURI}, "scope": registered})
			query := dcrtest.AuthorizeQuery(client.ID(), "")
			query.Del("scope")
			query.Del("redirect_uri")
			form := dcrtest.CodeForm("", s.Code(t, query), "")
			form.Del("redirect_uri")
			tokens := s.Form(t, "/oauth2/token", form, dcrtest.Basic(client.ID(), client.Secret()))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
			require.Equal(t, want, tokens.Text("scope"))
		})
	}
}

// TestScopeOfASilentRequest: a registered client that names no scope asks for the default ones.
func TestScopeOfASilentRequest(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		defaults         list
		registered, want string
	}{
		"all_by_default": {nil, "openid profile", "openid profile"},
		"defaults":       {list{"profile", "email"}, "openid profile", "profile"},
		"none_in_common": {list{"email"}, "openid profile", "openid profile"},
		"nothing_is_had": {list{}, "", ""},
	} {
		t.Run("SCOPE-03/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{
				DefaultScopes: row.defaults, AnonymousGrantTypes: list{"client_credentials"},
			}}})
			client := s.Register(t, members{"redirect_uris": list{dcrtest.RedirectURI}, "scope": row.registered,
				"grant_types": list{"authorization_code", "refresh_token", "client_credentials"}})
			basic := dcrtest.Basic(client.ID(), client.Secret())
			ask := func(query url.Values) dcrtest.Answer {
				query.Del("scope")
				code := s.Authorize(t, query).Location(t)
				if row.want != "" {
					require.Equal(t, row.want, code.Query().Get("scope"))
				}
				return s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code.Query().Get("code"), dcrtest.RedirectURI), basic)
			}
			query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)
			query.Del("scope")
			pushed := s.Form(t, "/oauth2/par", query, basic)
			require.Equal(t, http.StatusCreated, pushed.Status, pushed.Body)
			for _, answer := range []dcrtest.Answer{
				ask(query), ask(url.Values{"client_id": {client.ID()}, "request_uri": {pushed.Text("request_uri")}}),
				s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, basic),
			} {
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
				require.Equal(t, row.want, answer.Text("scope"), answer.Body)
				if row.want == "" {
					require.NotContains(t, answer.Members, "scope")
				}
			}
		})
	}
}
