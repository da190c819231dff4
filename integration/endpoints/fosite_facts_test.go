package endpoints_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
	"github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// The tests of this file and of fosite_facts_authentication_test.go are about fosite alone.
// Each holds a fact that a part of this package was built on, and names that part: where a
// later fosite fails one, that part has to be thought over, and may have become needless.

// plainStore is the storage of fosite's own tests, with faults and with eyes.
type plainStore struct {
	*storage.MemoryStore
	clientErr, jtiErr error
	onGetClient       func(ctx context.Context)
	looked            int
	jtis              map[string]time.Time
}

func (s *plainStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	s.looked++
	if s.onGetClient != nil {
		s.onGetClient(ctx)
	}
	if s.clientErr != nil {
		return nil, s.clientErr
	}
	return s.MemoryStore.GetClient(ctx, id)
}

func (s *plainStore) ClientAssertionJWTValid(context.Context, string) error { return s.jtiErr }

func (s *plainStore) SetClientAssertionJWT(_ context.Context, jti string, exp time.Time) error {
	s.jtis[jti] = exp
	return nil
}

// plain is fosite without this package.
type plain struct {
	*fosite.Fosite
	store  *plainStore
	config *fosite.Config
}

func plainFosite(edits ...func(*fosite.Config)) plain {
	store := &plainStore{MemoryStore: storage.NewMemoryStore(), jtis: map[string]time.Time{}}
	config := &fosite.Config{
		GlobalSecret: []byte("a secret of thirty-two bytes, or more"), TokenURL: "https://issuer.example/token",
		AccessTokenIssuer: "https://issuer.example", IDTokenIssuer: "https://issuer.example", HashCost: 4,
	}
	for _, edit := range edits {
		edit(config)
	}
	composed := compose.ComposeAllEnabled(config, store, dcrtest.Keys().RSA)
	return plain{composed.(*fosite.Fosite), store, config}
}

// add adds a confidential client; edits change it.
func (p plain) add(t *testing.T, id string, edits ...func(*fosite.DefaultClient)) *fosite.DefaultClient {
	t.Helper()
	client := dcrtest.StaticClient(t, id, "profile", "offline")
	for _, edit := range edits {
		edit(client)
	}
	p.store.Clients[id] = client
	return client
}

func basicAuth(r *http.Request, id, secret string) *http.Request {
	r.SetBasicAuth(id, secret)
	return r
}

func authorizeGET(pairs ...string) *http.Request {
	query := dcrtest.AuthorizeQuery("client", dcrtest.RedirectURI, pairs...)
	return httptest.NewRequest(http.MethodGet, "/auth?"+query.Encode(), nil)
}

func TestFositeDropsASecondHandlerOfAType(t *testing.T) {
	t.Parallel()
	// The factory of this package notices its second run by the first run's handler.
	config := &fosite.Config{}
	var seen []int
	factory := func(c fosite.Configurator, _, _ interface{}) interface{} {
		seen = append(seen, len(c.GetTokenEndpointHandlers(context.Background())))
		return &oauth2.ClientCredentialsGrantHandler{Config: c}
	}
	compose.Compose(config, storage.NewMemoryStore(), nil, factory, factory)
	require.Equal(t, []int{0, 1}, seen, "the second run sees the handler of the first")
	require.Len(t, config.TokenEndpointHandlers, 1, "and its own is dropped without a word")
}

func TestFositeFillsItsConfigurationLazily(t *testing.T) {
	t.Parallel()
	// Extend asks each of these once, before there are goroutines.
	config, ctx := &fosite.Config{}, context.Background()
	config.GetSecretsHasher(ctx)
	config.GetScopeStrategy(ctx)
	config.GetAudienceStrategy(ctx)
	config.GetJWKSFetcherStrategy(ctx)
	require.NotNil(t, config.ClientSecretsHasher)
	require.NotNil(t, config.ScopeStrategy)
	require.NotNil(t, config.AudienceMatchingStrategy)
	require.NotNil(t, config.JWKSFetcherStrategy)
}

func TestFositeTurnsAFaultIntoAnUnknownClient(t *testing.T) {
	t.Parallel()
	// The provider's Store tags faults, and its methods look for the tag in the chain.
	ctx, fault := context.Background(), errors.New("the disk is on fire")
	p := plainFosite()
	p.store.clientErr = fault
	form := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}}
	_, err := p.NewAccessRequest(ctx, basicAuth(formRequest("/", form), "client", "x"), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	require.ErrorIs(t, err, fault, "the cause is kept")
	_, err = p.NewPushedAuthorizeRequest(ctx, basicAuth(formRequest("/", form), "client", "x"))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	require.ErrorIs(t, err, fault)
	err = p.NewRevocationRequest(ctx, basicAuth(formRequest("/", form), "client", "x"))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	require.ErrorIs(t, err, fault)
	_, err = p.NewAuthorizeRequest(ctx, authorizeGET())
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	require.ErrorIs(t, err, fault)
	_, err = p.NewIntrospectionRequest(ctx, basicAuth(formRequest("/", form), "client", "x"), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrRequestUnauthorized)
	require.ErrorIs(t, err, fault)
}

func TestFositeHidesFailuresInItsAnswers(t *testing.T) {
	t.Parallel()
	// The provider has writers of its own for revocation and introspection.
	ctx, p := context.Background(), plainFosite()
	w := httptest.NewRecorder()
	p.WriteRevocationResponse(ctx, w, fosite.ErrServerError)
	require.Equal(t, http.StatusOK, w.Code, "the client believes that the token is dead")
	for _, err := range []error{fosite.ErrServerError, errors.New("the disk is on fire")} {
		w = httptest.NewRecorder()
		p.WriteIntrospectionError(ctx, w, err)
		require.Equal(t, http.StatusOK, w.Code)
		require.JSONEq(t, `{"active":false}`, w.Body.String())
	}
	require.Equal(t, "error", fosite.ErrorToRFC6749Error(errors.New("anything")).ErrorField)
}

func TestFositeTellsTheStoreWhatIsAsked(t *testing.T) {
	t.Parallel()
	// The Store reads redirect_uri and max_age there, late enough for the client to be known.
	for name, send := range map[string]func(p plain) error{
		"authorization": func(p plain) error {
			_, err := p.NewAuthorizeRequest(context.Background(), authorizeGET())
			return err
		},
		"par": func(p plain) error {
			form := dcrtest.AuthorizeQuery("client", dcrtest.RedirectURI)
			_, err := p.NewPushedAuthorizeRequest(context.Background(), basicAuth(formRequest("/", form), "client", "a static secret"))
			return err
		},
	} {
		p := plainFosite()
		p.add(t, "client")
		found := false
		p.store.onGetClient = func(ctx context.Context) {
			request, ok := ctx.Value(fosite.AuthorizeRequestContextKey).(fosite.AuthorizeRequester)
			_, hasHTTP := ctx.Value(fosite.RequestContextKey).(*http.Request)
			found = found || ok && hasHTTP && request.GetRequestForm().Get("redirect_uri") == dcrtest.RedirectURI
		}
		require.NoError(t, send(p), name)
		require.True(t, found, name)
	}
}

func TestFositeTrustsTheClientOfAPushedRequest(t *testing.T) {
	t.Parallel()
	// The Store looks it up again, and marks that the request was pushed.
	ctx, p := context.Background(), plainFosite()
	p.add(t, "client")
	form := dcrtest.AuthorizeQuery("client", dcrtest.RedirectURI)
	request, err := p.NewPushedAuthorizeRequest(ctx, basicAuth(formRequest("/", form), "client", "a static secret"))
	require.NoError(t, err)
	response, err := p.NewPushedAuthorizeResponse(ctx, request, dcrtest.NewSession(""))
	require.NoError(t, err)
	delete(p.store.Clients, "client")
	p.store.looked = 0
	query := url.Values{"client_id": {"client"}, "request_uri": {response.GetRequestURI()}}
	again, err := p.NewAuthorizeRequest(ctx, httptest.NewRequest(http.MethodGet, "/?"+query.Encode(), nil))
	require.NoError(t, err, "the client is gone")
	require.Equal(t, "client", again.GetClient().GetID())
	require.Zero(t, p.store.looked)
}

func TestFositeCopiesUnsignedClaimsIntoTheRequest(t *testing.T) {
	t.Parallel()
	// So request_uri in the form is no proof that a request was pushed.
	p := plainFosite()
	p.store.Clients["client"] = &fosite.DefaultOpenIDConnectClient{
		DefaultClient:  p.add(t, "client", func(c *fosite.DefaultClient) { c.Scopes = []string{"openid"} }),
		JSONWebKeysURI: "https://client.example/jwks",
	}
	forged := byHand(t, map[string]any{"alg": "none"}, map[string]any{"request_uri": "urn:forged"}, func(string) []byte { return nil })
	request, err := p.NewAuthorizeRequest(context.Background(), authorizeGET("scope", "openid", "request", forged))
	require.NoError(t, err)
	require.Equal(t, "urn:forged", request.GetRequestForm().Get("request_uri"))
}

func TestFositeMatchesLoopbackLoosely(t *testing.T) {
	t.Parallel()
	// The provider compares byte for byte, and knows localhost besides.
	for _, row := range []struct {
		registered, requested string
		matches               bool
	}{
		{"http://127.0.0.1/cb", "http://127.0.0.1:1/cb", true},
		{"http://127.0.0.1/cb", "http://user@127.0.0.1:1/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1/%63b", true},
		{"https://127.0.0.1/cb", "http://127.0.0.1:1/cb", true},
		{"http://localhost/cb", "http://localhost:1/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1/other", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1/cb?a=b", false},
	} {
		_, err := fosite.MatchRedirectURIWithClientRedirectURIs(row.requested, &fosite.DefaultClient{RedirectURIs: []string{row.registered}})
		require.Equal(t, row.matches, err == nil, row.requested)
	}
}

func TestFositeInsistsOnState(t *testing.T) {
	t.Parallel()
	// Config.Authorization.AllowMissingState lends a state, since no setting of fosite's lets one do without.
	for _, row := range []struct {
		entropy int
		state   string
		refused bool
	}{{0, "1234567", true}, {0, "12345678", false}, {-1, "1234567", true}, {0, "", true}, {-1, "", true}, {1, "", true}, {1, "x", false}} {
		p := plainFosite(func(c *fosite.Config) { c.MinParameterEntropy = row.entropy })
		p.add(t, "client")
		_, err := p.NewAuthorizeRequest(context.Background(), authorizeGET("state", row.state))
		require.Equal(t, row.refused, errors.Is(err, fosite.ErrInvalidState), row)
	}
}

func TestFositeRedirectsErrorsAtOnce(t *testing.T) {
	t.Parallel()
	// ShowsAuthorizeError says when a person should see them instead.
	ctx, extension := context.Background(), &countingMode{}
	p := plainFosite(func(c *fosite.Config) { c.ResponseModeHandlerExtension = extension })
	p.add(t, "client")
	write := func(pairs ...string) *httptest.ResponseRecorder {
		request, err := p.NewAuthorizeRequest(ctx, authorizeGET(pairs...))
		require.Error(t, err)
		w := httptest.NewRecorder()
		p.WriteAuthorizeError(ctx, w, request, err)
		return w
	}
	require.Equal(t, http.StatusBadRequest, write("redirect_uri", "https://evil.example/").Code)
	require.Equal(t, http.StatusSeeOther, write("scope", "bogus").Code)
	require.Zero(t, extension.failures.Load())
	w := write("redirect_uri", "https://evil.example/", "response_mode", "counting")
	require.EqualValues(t, 1, extension.failures.Load(), "before the redirect URI was judged")
	require.Equal(t, "https://evil.example/", w.Header().Get("Location"))
}

func TestFositeAsksNoPublicClientForPKCE(t *testing.T) {
	t.Parallel()
	// The gate asks. What handlers say of authorization_code is no proof that codes are issued.
	ctx, p := context.Background(), plainFosite()
	p.add(t, "client", func(c *fosite.DefaultClient) { c.Public = true })
	request, err := p.NewAuthorizeRequest(ctx, authorizeGET("code_challenge", "", "code_challenge_method", ""))
	require.NoError(t, err)
	response, err := p.NewAuthorizeResponse(ctx, request, dcrtest.NewSession("alice"))
	require.NoError(t, err)
	require.NotEmpty(t, response.GetCode())
	asked := fosite.NewAccessRequest(dcrtest.NewSession(""))
	asked.GrantTypes = fosite.Arguments{"authorization_code"}
	for _, h := range []fosite.TokenEndpointHandler{&pkce.Handler{}, &openid.OpenIDConnectExplicitHandler{}} {
		require.True(t, h.CanHandleTokenEndpointRequest(ctx, asked), "%T", h)
	}
}

// exchange takes the client through the code flow.
func (p plain) exchange(t *testing.T, scope, audience string) (fosite.AccessResponder, error) {
	t.Helper()
	ctx := context.Background()
	request, err := p.NewAuthorizeRequest(ctx, authorizeGET("scope", scope))
	require.NoError(t, err)
	request.GrantScope(scope)
	if audience != "" {
		request.GrantAudience(audience)
	}
	response, err := p.NewAuthorizeResponse(ctx, request, dcrtest.NewSession("alice"))
	require.NoError(t, err)
	form := dcrtest.CodeForm("", response.GetCode(), dcrtest.RedirectURI)
	return p.token(t, form)
}

func (p plain) token(t *testing.T, form url.Values) (fosite.AccessResponder, error) {
	t.Helper()
	request, err := p.NewAccessRequest(context.Background(), basicAuth(formRequest("/", form), "client", "a static secret"), dcrtest.NewSession(""))
	if err != nil {
		return nil, err
	}
	return p.NewAccessResponse(context.Background(), request)
}

func TestFositeIssuesRefreshTokensForAScope(t *testing.T) {
	t.Parallel()
	// RefreshTokenScopes has to be empty for the clients that register themselves.
	for _, row := range []struct {
		scopes []string
		scope  string
		issued bool
	}{{nil, "profile", false}, {nil, "offline", true}, {[]string{}, "profile", true}} {
		p := plainFosite(func(c *fosite.Config) { c.RefreshTokenScopes = row.scopes })
		p.add(t, "client")
		response, err := p.exchange(t, row.scope, "")
		require.NoError(t, err)
		require.Equal(t, row.issued, response.GetExtra("refresh_token") != nil, row)
	}
}

func TestFositeChecksTheAudienceAtRefreshOnly(t *testing.T) {
	t.Parallel()
	// Clients carry Config.Authorization.Audience, or each of them would fail an hour after it signed in.
	p := plainFosite()
	p.add(t, "client")
	response, err := p.exchange(t, "offline", "https://resource.example/")
	require.NoError(t, err)
	_, err = p.token(t, dcrtest.RefreshForm("", response.GetExtra("refresh_token").(string)))
	require.Error(t, err)
	require.Contains(t, fosite.ErrorToRFC6749Error(err).GetDescription(), "audience")
}

func TestFositeTakesNoExpiryForOneOfTheConfiguration(t *testing.T) {
	t.Parallel()
	// A registration access token is judged against a session that is made for the purpose.
	strategy := compose.NewOAuth2HMACStrategy(&fosite.Config{GlobalSecret: []byte(strings.Repeat("s", 32))})
	request := fosite.NewRequest()
	request.Session = &fosite.DefaultSession{}
	token, _, err := strategy.GenerateAccessToken(context.Background(), request)
	require.NoError(t, err)
	require.NoError(t, strategy.ValidateAccessToken(context.Background(), request, token))
	request.RequestedAt = time.Now().Add(-2 * time.Hour)
	require.ErrorIs(t, strategy.ValidateAccessToken(context.Background(), request, token), fosite.ErrTokenExpired)
}

func TestFositeIntrospectsWhateverIsAToken(t *testing.T) {
	t.Parallel()
	// The access rule looks at the TokenUse that comes back.
	p := plainFosite()
	p.add(t, "client")
	response, err := p.exchange(t, "offline", "")
	require.NoError(t, err)
	use, _, err := p.IntrospectToken(context.Background(), response.GetExtra("refresh_token").(string), fosite.AccessToken, dcrtest.NewSession(""))
	require.NoError(t, err)
	require.Equal(t, fosite.RefreshToken, use)
}

func TestFositeFindsTheClientOfAJWTInOneClaim(t *testing.T) {
	t.Parallel()
	// The veto leaves a token alone that names nobody; hosts set client_id in their session.
	ctx := context.Background()
	s := &dcrtest.Server{URL: "https://issuer.example"}
	_, err := s.Compose(dcrtest.Setup{JWT: true})
	require.NoError(t, err)
	config := &fosite.Config{}
	provider := compose.Compose(config, storage.NewMemoryStore(), compose.NewOAuth2JWTStrategy(
		func(context.Context) (interface{}, error) { return s.Key, nil }, compose.NewOAuth2HMACStrategy(s.Fosite), s.Fosite),
		compose.OAuth2StatelessJWTIntrospectionFactory)
	for claim, want := range map[string]string{"client_id": "client", "azp": "", "cid": ""} {
		_, request, err := provider.IntrospectToken(ctx, selfContained(t, s, map[string]any{claim: "client"}), fosite.AccessToken, dcrtest.NewSession(""))
		require.NoError(t, err)
		require.Equal(t, want, request.GetClient().GetID(), claim)
	}
}

func TestFositeReadsScopesAsPatterns(t *testing.T) {
	t.Parallel()
	// What is registered is compared literally with what the host allows.
	strategy := (&fosite.Config{}).GetScopeStrategy(context.Background())
	require.True(t, strategy([]string{"photos.*"}, "photos.delete"), "the default")
	require.True(t, strategy([]string{"*"}, "dcr:manage"))
	require.False(t, strategy([]string{"photos"}, "photos.delete"))
	require.True(t, fosite.HierarchicScopeStrategy([]string{"photos"}, "photos.delete"))
}
