package endpoints_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// startAt runs a server with an issuer that is not its address.
func startAt(t *testing.T, store *dcr.MemoryStore, issuer string, endpoints dcr.Endpoints, events dcr.EventSink) *dcrtest.Server {
	t.Helper()
	return dcrtest.Start(t, dcrtest.Setup{
		Storage: store, Config: dcr.Config{Endpoints: endpoints, Events: events},
		Fosite: func(c *fosite.Config) { c.AccessTokenIssuer, c.IDTokenIssuer = issuer, issuer },
	})
}

// TestIssuerAsItStands: with or without a slash at its end, an issuer is what it is.
func TestIssuerAsItStands(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{"https://as.example", "https://as.example/", "https://as.example/tenant/"} {
		t.Run("ISS-01/"+issuer, func(t *testing.T) {
			t.Parallel()
			s := startAt(t, dcr.NewMemoryStore(), issuer, dcr.Endpoints{}, nil)
			client := dcrtest.RegisterFor(t, s, "client_secret_basic")
			require.Equal(t, strings.TrimSuffix(issuer, "/")+"/register/"+client.ID(), client.URI())
			require.Equal(t, issuer, s.Provider.Metadata(t.Context())["issuer"])
			location := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)).Location(t)
			require.Equal(t, issuer, location.Query().Get("iss"))
			tokens := client.Send(t, "/oauth2/token", client.Method, dcrtest.CodeForm("", location.Query().Get("code"), dcrtest.RedirectURI))
			require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
		})
	}
}

// TestAnotherIssuer: a client of another issuer is unknown, and the log says why.
func TestAnotherIssuer(t *testing.T) {
	t.Parallel() // ISS-01
	store := dcr.NewMemoryStore()
	client := dcrtest.RegisterFor(t, startAt(t, store, "https://as.example", dcr.Endpoints{}, nil), "client_secret_basic")
	var log strings.Builder
	slash := startAt(t, store, "https://as.example/", dcr.Endpoints{}, dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil))))
	client.Server = slash
	answer := client.Send(t, "/oauth2/token", client.Method, dcrtest.RefreshForm("", "any"))
	require.Equal(t, []any{http.StatusUnauthorized, "invalid_client"}, []any{answer.Status, answer.Text("error")})
	require.NotContains(t, answer.Body, "as.example")
	require.Contains(t, log.String(), `it is of the issuer`)
	require.Contains(t, log.String(), `https://as.example/`)
	require.Contains(t, log.String(), "level=INFO")

	log.Reset()
	read := slash.Do(t, http.MethodGet, slash.URL+"/register/"+client.ID(), nil, dcrtest.Bearer(client.Token()))
	dcrtest.RequireUniformRefusal(t, read)
	require.NotContains(t, read.Body, "as.example")
	require.Contains(t, log.String(), `it is of the issuer`)
	log.Reset()
	dcrtest.RequireUniformRefusal(t, slash.Do(t, http.MethodGet, slash.URL+"/register/"+client.ID(), nil, dcrtest.Bearer(client.Token()+"x")))
	require.NotContains(t, log.String(), "as.example", "nobody learns it by a wrong token")
}

// TestInitialTokenOfAnotherIssuer: the log says why an operator's token does not register any more.
func TestInitialTokenOfAnotherIssuer(t *testing.T) {
	t.Parallel() // ISS-01
	store := dcr.NewMemoryStore()
	var log strings.Builder
	start := func(issuer string) *dcrtest.Server {
		return dcrtest.Start(t, dcrtest.Setup{
			Storage: store,
			Config:  dcr.Config{Access: dcr.InitialAccessTokens(), Events: dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))},
			Fosite:  func(c *fosite.Config) { c.AccessTokenIssuer, c.IDTokenIssuer = issuer, issuer },
		})
	}
	token, _ := dcrtest.Mint(t, start("https://as.example"), dcr.InitialAccessTokenRequest{})
	refused := start("https://as.example/").Post(t, members{"redirect_uris": list{dcrtest.RedirectURI}}, dcrtest.Bearer(token))
	require.Equal(t, []any{http.StatusUnauthorized, "invalid_token"}, []any{refused.Status, refused.Text("error")})
	require.NotContains(t, refused.Body, "as.example")
	require.Contains(t, log.String(), `it is of the issuer`)
}

// TestRealm: a server that moves keeps its clients where they are bound to a constant realm.
func TestRealm(t *testing.T) {
	t.Parallel() // ISS-01
	store := dcr.NewMemoryStore()
	store.AddClient(dcrtest.Introspector(t))
	old := startAt(t, store, "https://old.example", dcr.Endpoints{}, nil)
	client := dcrtest.RegisterFor(t, old, "client_secret_basic")
	moved := startAt(t, store, "https://new.example", dcr.Endpoints{Realm: "https://old.example"}, nil)
	client.Server = moved
	tokens := client.Tokens(t, moved)
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	read := moved.Do(t, http.MethodGet, moved.URL+"/register/"+client.ID(), nil, dcrtest.Bearer(client.Token()))
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	require.Equal(t, "https://new.example/register/"+client.ID(), read.URI())
	page, err := moved.Provider.ListClients(t.Context(), dcr.ClientFilter{}, "", 10)
	require.NoError(t, err)
	require.Len(t, page.Clients, 1)
	later := dcrtest.RegisterFor(t, moved, "none")
	require.Equal(t, http.StatusUnauthorized, startAt(t, store, "https://new.example", dcr.Endpoints{}, nil).Form(t, "/oauth2/token",
		dcrtest.RefreshForm(later.ID(), "any")).Status, "T41: bound to the realm")
}

func TestIssuerProblems(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		issuer    string
		endpoints dcr.Endpoints
		want      string
	}{
		"private_http":    {"http://192.168.1.5", dcr.Endpoints{}, "InsecureAllowHTTPIssuer"},
		"named_http":      {"http://as.example", dcr.Endpoints{}, "InsecureAllowHTTPIssuer"},
		"loopback_http":   {"http://127.0.0.1:8080", dcr.Endpoints{}, ""},
		"allowed_http":    {"http://192.168.1.5", dcr.Endpoints{InsecureAllowHTTPIssuer: true}, ""},
		"realm":           {"https://as.example", dcr.Endpoints{Realm: "constant"}, ""},
		"other_scheme":    {"ftp://as.example", dcr.Endpoints{InsecureAllowHTTPIssuer: true}, "is not an https URL"},
		"realm_of_issuer": {"", dcr.Endpoints{Realm: "constant", Issuer: func(context.Context) string { return "https://as.example" }}, "Config.Endpoints.Realm"},
	} {
		t.Run("ISS-01/"+name, func(t *testing.T) {
			t.Parallel()
			config := &fosite.Config{AccessTokenIssuer: row.issuer, GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
			_, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
				compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, compose.OAuth2TokenIntrospectionFactory,
				dcr.NewFactory(dcr.Config{Endpoints: row.endpoints})))
			if row.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.want)
		})
	}
}

// TestMetadataPreflight: clients in browsers read the metadata with a header of their own.
func TestMetadataPreflight(t *testing.T) {
	t.Parallel() // HTTP-06
	s := dcrtest.Start(t, dcrtest.Setup{})
	routes := http.NewServeMux()
	for _, path := range s.Provider.MetadataPaths(t.Context()) {
		routes.Handle(path, s.Provider.MetadataHandler(nil))
	}
	for _, path := range s.Provider.MetadataPaths(t.Context()) {
		request := httptest.NewRequest(http.MethodOptions, path, nil)
		request.Header.Set("Origin", "https://inspector.example")
		request.Header.Set("Access-Control-Request-Method", http.MethodGet)
		request.Header.Set("Access-Control-Request-Headers", "mcp-protocol-version")
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, request)
		require.Equal(t, http.StatusNoContent, answer.Code, path)
		require.Equal(t, "*", answer.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "GET", answer.Header().Get("Access-Control-Allow-Methods"))
		require.Equal(t, "mcp-protocol-version", strings.ToLower(answer.Header().Get("Access-Control-Allow-Headers")))
		require.Empty(t, answer.Header().Get("Access-Control-Allow-Credentials"), "T23")

		request = httptest.NewRequest(http.MethodGet, path, nil)
		answer = httptest.NewRecorder()
		routes.ServeHTTP(answer, request)
		require.Equal(t, []any{http.StatusOK, "*"}, []any{answer.Code, answer.Header().Get("Access-Control-Allow-Origin")})
		answer = httptest.NewRecorder()
		routes.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, path, strings.NewReader(url.Values{}.Encode())))
		require.Equal(t, http.StatusMethodNotAllowed, answer.Code)
	}
}
