package endpoints_test

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// fositeAsserts is what fosite asserts on the Store and on the Config of its provider. The
// provider of this package has both of its own in front of the host's, and each interface
// that is named here has to pass through them.
var fositeAsserts = []string{
	"authorize_request_handler.go: f.Config.(PushedAuthorizeRequestConfigProvider)",
	"authorize_request_handler.go: f.Config.(PushedAuthorizeRequestConfigProvider)",
	"authorize_request_handler.go: f.Store.(PARStorage)",
	"pushed_authorize_response_writer.go: f.Config.(PushedAuthorizeRequestHandlersProvider)",
}

func TestFositeAssertsNoMore(t *testing.T) {
	t.Parallel()
	asserted, escaped := assertionsOn(t, fositeFiles(t))
	require.Equal(t, fositeAsserts, asserted, "the provider has to pass on what is new here")
	require.Empty(t, escaped, "fosite hands its Store or Config on, and may assert there")
}

func TestAssertionsAreFound(t *testing.T) {
	t.Parallel() // or the test above shows nothing
	const source = `package fosite
func (f *Fosite) m() {
	f.Store.GetClient()
	_, _ = f.Store.(Another)
	switch f.Config.(type) { case Third: }
	s := f.Store
	g(f.Config)
	h(f)
}`
	file := filepath.Join(t.TempDir(), "source.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	asserted, escaped := assertionsOn(t, []string{file})
	require.Equal(t, []string{"source.go: f.Config.(type)", "source.go: f.Store.(Another)"}, asserted)
	require.Equal(t, []string{"source.go: f.Config", "source.go: f.Store"}, escaped)
}

// fositeFiles are the files of fosite's root package.
func fositeFiles(t *testing.T) []string {
	t.Helper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ory/fosite").Output()
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(folder)), "*.go"))
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	require.Greater(t, len(files), 20)
	return files
}

// assertionsOn finds type assertions on fields Store and Config, and every other use of
// them that is no method call.
func assertionsOn(t *testing.T, files []string) (asserted, escaped []string) {
	t.Helper()
	set := token.NewFileSet()
	for _, name := range files {
		file, err := parser.ParseFile(set, name, nil, 0)
		require.NoError(t, err)
		text := func(n ast.Node) string {
			var b bytes.Buffer
			require.NoError(t, printer.Fprint(&b, set, n))
			return filepath.Base(name) + ": " + b.String()
		}
		known := map[ast.Node]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeAssertExpr:
				if isOurs(n.X) {
					known[n.X] = true
					asserted = append(asserted, text(n))
				}
			case *ast.SelectorExpr:
				if isOurs(n.X) {
					known[n.X] = true // f.Store.GetClient
				}
				if isOurs(n) && !known[n] {
					escaped = append(escaped, text(n))
				}
			}
			return true
		})
	}
	slices.Sort(asserted)
	slices.Sort(escaped)
	return asserted, escaped
}

// isOurs reports whether an expression is the Store or the Config of a Fosite, whose
// receiver fosite calls f everywhere.
func isOurs(e ast.Expr) bool {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Store" && selector.Sel.Name != "Config" {
		return false
	}
	receiver, ok := selector.X.(*ast.Ident)
	return ok && receiver.Name == "f"
}

// The four shapes of a Configurator with regard to what fosite asserts on it.
type (
	configBare     struct{ fosite.Configurator }
	configSettings struct {
		fosite.Configurator
		fosite.PushedAuthorizeRequestConfigProvider
	}
	configHandlers struct {
		fosite.Configurator
		fosite.PushedAuthorizeRequestHandlersProvider
	}
	configBoth struct {
		fosite.Configurator
		fosite.PushedAuthorizeRequestConfigProvider
		fosite.PushedAuthorizeRequestHandlersProvider
	}
)

// extendWith composes a provider by hand, as hosts with a Configurator of their own do.
func extendWith(t *testing.T, shape func(*fosite.Config) fosite.Configurator, store fosite.Storage) *dcr.Provider {
	t.Helper()
	config := &fosite.Config{
		AccessTokenIssuer: "https://issuer.example", TokenURL: "https://issuer.example/token",
		GlobalSecret: []byte("a secret of thirty-two bytes, or more"), RefreshTokenScopes: []string{},
	}
	view := shape(config)
	strategy := compose.NewOAuth2HMACStrategy(config)
	factories := []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2PKCEFactory, compose.PushedAuthorizeHandlerFactory,
		dcr.NewFactory(dcr.Config{Access: dcr.Open(), Scopes: dcrtest.Scopes}),
	}
	for _, factory := range factories {
		made := factory(view, store, strategy)
		if h, ok := made.(fosite.AuthorizeEndpointHandler); ok {
			config.AuthorizeEndpointHandlers.Append(h)
		}
		if h, ok := made.(fosite.TokenEndpointHandler); ok {
			config.TokenEndpointHandlers.Append(h)
		}
		if h, ok := made.(fosite.TokenIntrospector); ok {
			config.TokenIntrospectionHandlers.Append(h)
		}
		if h, ok := made.(fosite.RevocationHandler); ok {
			config.RevocationHandlers.Append(h)
		}
		if h, ok := made.(fosite.PushedAuthorizeEndpointHandler); ok {
			config.PushedAuthorizeEndpointHandlers.Append(h)
		}
	}
	provider, err := dcr.Extend(&fosite.Fosite{Store: store, Config: view})
	require.NoError(t, err)
	return provider
}

func TestConfigurationIsPassedOn(t *testing.T) {
	t.Parallel()
	shapes := map[string]struct {
		shape              func(*fosite.Config) fosite.Configurator
		settings, handlers bool
	}{
		"bare":     {func(c *fosite.Config) fosite.Configurator { return configBare{c} }, false, false},
		"settings": {func(c *fosite.Config) fosite.Configurator { return configSettings{c, c} }, true, false},
		"handlers": {func(c *fosite.Config) fosite.Configurator { return configHandlers{c, c} }, false, true},
		"both":     {func(c *fosite.Config) fosite.Configurator { return configBoth{c, c, c} }, true, true},
		"fosite":   {func(c *fosite.Config) fosite.Configurator { return c }, true, true},
	}
	for name, row := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider := extendWith(t, row.shape, dcr.NewMemoryStore())
			_, settings := provider.Config.(fosite.PushedAuthorizeRequestConfigProvider)
			_, handlers := provider.Config.(fosite.PushedAuthorizeRequestHandlersProvider)
			require.Equal(t, row.settings, settings)
			require.Equal(t, row.handlers, handlers)
			lifeWithoutHTTP(t, provider, row.settings && row.handlers)
		})
	}
}

func TestStorageIsPassedOn(t *testing.T) {
	t.Parallel()
	whole := func(c *fosite.Config) fosite.Configurator { return c }
	for name, row := range map[string]struct {
		store fosite.Storage
		par   bool
	}{
		"with_par": {dcr.NewMemoryStore(), true}, "without_par": {storeWithoutPAR{MemoryStore: dcr.NewMemoryStore()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider := extendWith(t, whole, row.store)
			_, par := provider.Store.(fosite.PARStorage)
			require.Equal(t, row.par, par)
			lifeWithoutHTTP(t, provider, row.par)
		})
	}
}

// storeWithoutPAR has other methods than fosite.PARStorage wants.
type storeWithoutPAR struct{ *dcr.MemoryStore }

func (storeWithoutPAR) GetPARSession() {}

// lifeWithoutHTTP registers a client, lets it sign in, and pushes a request.
func lifeWithoutHTTP(t *testing.T, provider *dcr.Provider, pushes bool) {
	t.Helper()
	ctx := context.Background()
	body := `{"redirect_uris":["` + dcrtest.RedirectURI + `"],"token_endpoint_auth_method":"none"}`
	r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	provider.RegistrationHandler().ServeHTTP(w, r)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	_, id, _ := strings.Cut(w.Body.String(), `"client_id":"`)
	id, _, _ = strings.Cut(id, `"`)

	query := dcrtest.AuthorizeQuery(id, dcrtest.RedirectURI)
	request, err := provider.NewAuthorizeRequest(ctx, httptest.NewRequest(http.MethodGet, "/auth?"+query.Encode(), nil))
	require.NoError(t, err)
	response, err := provider.NewAuthorizeResponse(ctx, request, dcrtest.NewSession("alice"))
	require.NoError(t, err)
	require.NotEmpty(t, response.GetCode())

	request, err = provider.NewPushedAuthorizeRequest(ctx, formRequest("/par", query))
	require.NoError(t, err)
	pushed, err := provider.NewPushedAuthorizeResponse(ctx, request, dcrtest.NewSession(""))
	if !pushes {
		require.ErrorIs(t, err, fosite.ErrServerError, "fosite's own answer where there is no PAR")
		return
	}
	require.NoError(t, err)
	again := url.Values{"client_id": {id}, "request_uri": {pushed.GetRequestURI()}}
	request, err = provider.NewAuthorizeRequest(ctx, httptest.NewRequest(http.MethodGet, "/auth?"+again.Encode(), nil))
	require.NoError(t, err)
	require.Equal(t, id, request.GetClient().GetID())
}

func formRequest(target string, form url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
