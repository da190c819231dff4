package endpoints_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// redirectRow is a registered redirect URI and one that a request names.
type redirectRow struct {
	name, registered, requested string
	accepted                    bool
}

// loopbackRows hold for every client (RU-07, RU-12).
var loopbackRows = []redirectRow{
	{"same", "http://127.0.0.1/cb", "http://127.0.0.1/cb", true},
	{"any_port", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", true},
	{"other_port", "http://127.0.0.1:8080/cb", "http://127.0.0.1:49152/cb", true},
	{"without_port", "http://127.0.0.1:8080/cb", "http://127.0.0.1/cb", true},
	{"ipv6", "http://[::1]/cb", "http://[::1]:49152/cb", true},
	{"query", "http://127.0.0.1/cb?a=b", "http://127.0.0.1:49152/cb?a=b", true},
	{"user_information", "http://127.0.0.1/cb", "http://user@127.0.0.1:49152/cb", false},
	{"empty_user_information", "http://127.0.0.1/cb", "http://@127.0.0.1:49152/cb", false},
	{"other_scheme", "http://127.0.0.1/cb", "https://127.0.0.1:49152/cb", false},
	{"registered_https", "https://127.0.0.1/cb", "http://127.0.0.1:49152/cb", false},
	{"registered_private_use", "com.example.app://127.0.0.1/cb", "http://127.0.0.1:49152/cb", false},
	{"https_port", "https://127.0.0.1/cb", "https://127.0.0.1:8443/cb", false},
	{"encoded_path", "http://127.0.0.1/cb", "http://127.0.0.1:49152/%63b", false},
	{"encoded_slash", "http://127.0.0.1/a/cb", "http://127.0.0.1:49152/a%2Fcb", false},
	{"other_path", "http://127.0.0.1/cb", "http://127.0.0.1:49152/other", false},
	{"longer_path", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb/", false},
	{"dot_segment", "http://127.0.0.1/cb", "http://127.0.0.1:49152/x/../cb", false},
	{"other_query", "http://127.0.0.1/cb?a=b", "http://127.0.0.1:49152/cb?a=c", false},
	{"more_query", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb?a=b", false},
	{"empty_query", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb?", false},
	{"fragment", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb#f", false},
	{"empty_fragment", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb#", false},
	{"other_address", "http://127.0.0.1/cb", "http://127.0.0.2:49152/cb", false},
	{"other_family", "http://127.0.0.1/cb", "http://[::1]:49152/cb", false},
	{"mapped_address", "http://127.0.0.1/cb", "http://[::ffff:127.0.0.1]:49152/cb", false},
	{"name_for_address", "http://127.0.0.1/cb", "http://localhost:49152/cb", false},
	{"port_too_large", "http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false},
	{"port_zero", "http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false},
	{"port_empty", "http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
	{"port_of_https", "https://client.example/cb", "https://client.example:443/cb", false},
	{"another", "https://client.example/cb", "https://evil.example/cb", false},
	{"prefix", "https://client.example/cb", "https://client.example/cb/../evil", false},
	{"other_case", "https://client.example/cb", "https://client.example/CB", false},
	{"host_case", "https://client.example/cb", "https://CLIENT.example/cb", false},
	{"wildcard", "https://client.example/cb", "https://client.example/*", false},
	{"scheme_only", "com.example.app:/cb", "com.example.app:/other", false},
	{"relative", "https://client.example/cb", "/cb", false},
	{"script", "https://client.example/cb", "javascript:alert(1)", false},
}

// localhostRows hold for public clients where the host lets localhost match any port (RU-08).
var localhostRows = []redirectRow{
	{"any_port", "http://localhost/callback", "http://localhost:49152/callback", true},
	{"other_port", "http://localhost:3000/callback", "http://localhost:49152/callback", true},
	{"other_path", "http://localhost/callback", "http://localhost:49152/other", false},
	{"encoded_path", "http://localhost/callback", "http://localhost:49152/%63allback", false},
	{"other_query", "http://localhost/callback", "http://localhost:49152/callback?a=b", false},
	{"other_scheme", "http://localhost/callback", "https://localhost:49152/callback", false},
	{"registered_https", "https://localhost/callback", "https://localhost:49152/callback", false},
	{"user_information", "http://localhost/callback", "http://user@localhost:49152/callback", false},
	{"localhost_evil", "http://localhost/callback", "http://localhost.evil:49152/callback", false},
	{"under_localhost", "http://localhost/callback", "http://evil.localhost:49152/callback", false},
	{"user_named_localhost", "http://localhost/callback", "http://localhost:49152@evil.example/callback", false},
	{"trailing_dot", "http://localhost/callback", "http://localhost.:49152/callback", false},
	{"address", "http://localhost/callback", "http://127.0.0.1:49152/callback", false},
	{"port_no_number", "http://localhost/callback", "http://localhost:x/callback", false},
}

// redirects sends a client through the authorization endpoint, directly and pushed, allowed
// and denied, and says where it lands.
func redirects(t *testing.T, s *dcrtest.Server, method string, row redirectRow) {
	t.Helper()
	client := registerAt(t, s, method, row.registered)
	require.Equal(t, []any{row.registered}, client.Members["redirect_uris"])
	query := dcrtest.AuthorizeQuery(client.ID(), row.requested)
	deny := dcrtest.Header(dcrtest.HeaderDeny, "1")
	if !row.accepted {
		for _, edits := range [][]dcrtest.Edit{nil, {deny}, {dcrtest.Header(dcrtest.HeaderAnonymous, "1")}} {
			page := s.Authorize(t, query, edits...)
			shown(t, page)
			require.NotContains(t, page.Body, `name="code"`)
		}
		pushed := dcrtest.AuthorizeQuery("", row.requested)
		pushed.Del("client_id")
		answer := client.Send(t, "/oauth2/par", method, pushed)
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_request", answer.Text("error"))
		return
	}
	for _, q := range []url.Values{query, pushedQuery(t, client, dcrtest.AuthorizeQuery("", row.requested))} {
		location := s.Authorize(t, q).Header.Get("Location")
		require.True(t, lands(location, row.requested), location)
		to, err := url.Parse(location)
		require.NoError(t, err)
		token := client.Send(t, "/oauth2/token", method, dcrtest.CodeForm("", to.Query().Get("code"), row.requested))
		require.Equal(t, http.StatusOK, token.Status, token.Body)
	}
	for _, q := range []url.Values{query, pushedQuery(t, client, dcrtest.AuthorizeQuery("", row.requested))} {
		r := httptest.NewRequest(http.MethodGet, "/?"+pushedAgain(t, client, q, row.requested).Encode(), nil)
		request, err := s.Provider.NewAuthorizeRequest(context.Background(), r)
		require.NoError(t, err)
		require.True(t, request.IsRedirectURIValid(), "what a host asks fosite's request")
		answer := s.Authorize(t, q, deny)
		dcrtest.RequireRedirectError(t, answer, "access_denied")
		require.True(t, lands(answer.Header.Get("Location"), row.requested), answer.Header.Get("Location"))
	}
}

// pushedAgain returns a request like another; a pushed one is good for once.
func pushedAgain(t *testing.T, client dcrtest.AuthClient, query url.Values, redirectURI string) url.Values {
	t.Helper()
	if query.Has("request_uri") {
		return pushedQuery(t, client, dcrtest.AuthorizeQuery("", redirectURI))
	}
	return query
}

// lands reports whether a location is the requested redirect URI with parameters added.
func lands(location, requested string) bool {
	base, _, _ := strings.Cut(requested, "?")
	got, _, _ := strings.Cut(location, "?")
	return got == base
}

func TestRedirectURIs(t *testing.T) {
	t.Parallel()
	for _, anyPort := range []bool{false, true} {
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Authorization: dcr.Authorization{AllowAnyLocalhostPort: anyPort}}})
		for _, row := range loopbackRows {
			for _, method := range []string{"none", "client_secret_basic"} {
				t.Run("RU-07/any_localhost_port="+strconv.FormatBool(anyPort)+"/"+row.name+"/"+method, func(t *testing.T) {
					t.Parallel() // RU-12 where it is refused
					redirects(t, s, method, row)
				})
			}
		}
	}
}

func TestLocalhostRedirectURIs(t *testing.T) {
	t.Parallel()
	setups := map[string]func() fosite.Storage{
		"restores_clients": func() fosite.Storage { return dcr.NewMemoryStore() },
		"keeps_clients": func() fosite.Storage {
			return &forgetfulStore{MemoryStore: dcr.NewMemoryStore(), requests: map[string]fosite.Requester{}}
		},
	}
	for storage, newStore := range setups {
		on := dcrtest.Start(t, dcrtest.Setup{Storage: newStore(), Config: dcr.Config{Authorization: dcr.Authorization{AllowAnyLocalhostPort: true}}})
		off := dcrtest.Start(t, dcrtest.Setup{Storage: newStore()})
		for _, row := range localhostRows {
			refused := row
			refused.accepted = false
			t.Run("RU-08/"+storage+"/on/"+row.name, func(t *testing.T) {
				t.Parallel()
				redirects(t, on, "none", row)
			})
			t.Run("RU-08/"+storage+"/off/"+row.name, func(t *testing.T) {
				t.Parallel()
				redirects(t, off, "none", refused)
			})
			t.Run("RU-08/"+storage+"/confidential/"+row.name, func(t *testing.T) {
				t.Parallel()
				redirects(t, on, "client_secret_basic", refused)
			})
		}
		t.Run("RU-08/"+storage+"/exact", func(t *testing.T) {
			t.Parallel()
			row := redirectRow{"exact", "http://localhost:3000/cb", "http://localhost:3000/cb", true}
			redirects(t, off, "none", row)
			redirects(t, on, "client_secret_basic", row)
		})
	}
}

func TestRedirectURIThatIsOmitted(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	one := dcrtest.RegisterFor(t, s, "none")
	require.Equal(t, "client.example", s.Authorize(t, dcrtest.AuthorizeQuery(one.ID(), "", "redirect_uri", "")).Location(t).Host)
	two := dcrtest.AuthClient{Server: s, Method: "none", Answer: s.Register(t, map[string]any{
		"token_endpoint_auth_method": "none", "redirect_uris": []string{dcrtest.RedirectURI, "https://client.example/other"},
	})}
	shown(t, s.Authorize(t, dcrtest.AuthorizeQuery(two.ID(), "", "redirect_uri", ""))) // RU-12
	none := registerAt(t, s, "none", dcrtest.RedirectURI)
	twice := dcrtest.AuthorizeQuery(none.ID(), "https://evil.example/")
	twice.Add("redirect_uri", dcrtest.RedirectURI)
	shown(t, s.Authorize(t, twice)) // RU-12
}

// implicitServer composes every response type.
func implicitServer(t *testing.T, extension fosite.ResponseModeHandler) *dcrtest.Server {
	t.Helper()
	first := []compose.Factory{compose.OAuth2AuthorizeImplicitFactory, compose.OpenIDConnectHybridFactory}
	factories := append(first, dcrtest.DefaultFactories...)
	return dcrtest.Start(t, dcrtest.Setup{
		Factories: factories, Config: dcr.Config{Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"implicit"}}},
		Fosite: func(c *fosite.Config) { c.ResponseModeHandlerExtension = extension },
	})
}

func TestIssuerInResponses(t *testing.T) {
	t.Parallel()
	s := implicitServer(t, nil)
	client := registerAt(t, s, "none", dcrtest.RedirectURI, "grant_types", []string{"authorization_code", "implicit"},
		"response_types", []string{"code", "token", "code token"})
	require.ElementsMatch(t, []any{"code", "token", "code token"}, client.Members["response_types"])
	rows := []struct {
		name, mode string // where the parameters are
		pairs      []string
	}{
		{"query", "query", nil}, {"explicit_query", "query", []string{"response_mode", "query"}},
		{"fragment", "fragment", []string{"response_mode", "fragment"}}, {"form_post", "form_post", []string{"response_mode", "form_post"}},
		{"implicit", "fragment", []string{"response_type", "token"}}, {"hybrid", "fragment", []string{"response_type", "code token"}},
		{"implicit_form_post", "form_post", []string{"response_type", "token", "response_mode", "form_post"}},
	}
	errors := map[string]func(url.Values) []dcrtest.Edit{
		"success":       func(url.Values) []dcrtest.Edit { return nil },
		"access_denied": func(url.Values) []dcrtest.Edit { return []dcrtest.Edit{dcrtest.Header(dcrtest.HeaderDeny, "1")} },
		"invalid_state": func(q url.Values) []dcrtest.Edit { q.Set("state", "x"); return nil },
	}
	for _, row := range rows {
		for code, edit := range errors {
			t.Run("9207-01/"+row.name+"/"+code, func(t *testing.T) {
				t.Parallel()
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, row.pairs...)
				answer := s.Authorize(t, query, edit(query)...)
				if row.mode == "form_post" {
					require.Equal(t, 1, strings.Count(answer.Body, `name="iss" value="`+s.URL+`"`), answer.Body)
					require.Equal(t, code != "success", strings.Contains(answer.Body, `value="`+code+`"`), answer.Body)
					return
				}
				to := answer.Location(t)
				values := to.Query()
				if row.mode == "fragment" {
					values, _ = url.ParseQuery(to.Fragment)
					require.Empty(t, to.RawQuery)
				}
				require.Equal(t, []string{s.URL}, values["iss"], to)
				require.Equal(t, code == "success", !values.Has("error"), to)
			})
		}
	}
}

func TestNoIssuerBeforeTheRedirectIsKnown(t *testing.T) {
	t.Parallel()
	extension := &countingMode{}
	s := implicitServer(t, extension)
	client := dcrtest.RegisterFor(t, s, "none")
	for name, pairs := range map[string][]string{
		"unregistered_redirect": {"redirect_uri", "https://evil.example/"}, "unknown_client": {"client_id", "nobody"},
		"no_client": {"client_id", ""},
	} {
		for _, mode := range []string{"", "query", "fragment", "form_post", "counting"} {
			t.Run("9207-01/"+name+"/"+mode, func(t *testing.T) {
				t.Parallel() // T57
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, append(slices.Clone(pairs), "response_mode", mode)...)
				answer := s.Authorize(t, query)
				shown(t, answer)
				require.NotContains(t, answer.Body, s.URL)
				require.NotContains(t, answer.Body, "evil.example")

				// A host that does not ask ShowsAuthorizeError redirects as little.
				r := httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil)
				request, refusal := s.Provider.NewAuthorizeRequest(context.Background(), r)
				require.Error(t, refusal)
				w := httptest.NewRecorder()
				s.Provider.WriteAuthorizeError(context.Background(), w, request, refusal)
				require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized}, w.Code)
				require.Empty(t, w.Header().Get("Location"))
				require.NotContains(t, w.Body.String(), s.URL)
			})
		}
	}
	t.Cleanup(func() { require.Zero(t, extension.failures.Load(), "RED-01: the extension would have redirected") })
}

func TestIssuerInAResponseModeOfTheHost(t *testing.T) {
	t.Parallel()
	extension := &countingMode{}
	s := implicitServer(t, extension)
	client := dcrtest.RegisterFor(t, s, "none")
	query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "response_mode", "counting")
	answer := s.Authorize(t, query)
	require.Equal(t, s.URL, answer.Header.Get("Iss"), "9207-01")
	require.EqualValues(t, 1, extension.successes.Load())
	s.Authorize(t, query, dcrtest.Header(dcrtest.HeaderDeny, "1"))
	require.EqualValues(t, 1, extension.failures.Load(), "the host writes the errors of its mode")
}

// countingMode is a response mode of the host's own.
type countingMode struct{ successes, failures atomic.Int64 }

func (*countingMode) ResponseModes() fosite.ResponseModeTypes {
	return fosite.ResponseModeTypes{"counting"}
}

func (m *countingMode) WriteAuthorizeResponse(_ context.Context, w http.ResponseWriter, _ fosite.AuthorizeRequester, response fosite.AuthorizeResponder) {
	m.successes.Add(1)
	w.Header().Set("Iss", response.GetParameters().Get("iss"))
}

func (m *countingMode) WriteAuthorizeError(_ context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, _ error) {
	m.failures.Add(1)
	http.Redirect(w, &http.Request{Method: http.MethodGet}, request.GetRequestForm().Get("redirect_uri"), http.StatusSeeOther)
}

func TestIssuerOfTheOperatorsClients(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.StaticClient(t, "static")}})
	query := dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI)
	require.Equal(t, s.URL, s.Authorize(t, query).Location(t).Query().Get("iss"), "9207-01")
	denied := dcrtest.RequireRedirectError(t, s.Authorize(t, query, dcrtest.Header(dcrtest.HeaderDeny, "1")), "access_denied")
	require.Equal(t, s.URL, denied.Get("iss"))
	document := s.Do(t, http.MethodGet, "/.well-known/oauth-authorization-server", nil)
	require.Equal(t, true, document.Members["authorization_response_iss_parameter_supported"])
	require.Equal(t, s.URL, document.Text("issuer"), "the two have to be equal (RFC 9207, section 2.4)")
}
