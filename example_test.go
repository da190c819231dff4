package dcr_test

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// The whole of it: compose, extend, mount.
func Example() {
	config := &fosite.Config{
		AccessTokenIssuer:  "https://as.example",
		TokenURL:           "https://as.example/oauth2/token", // for private_key_jwt
		GlobalSecret:       []byte("thirty-two bytes or more, kept safe"),
		RefreshTokenScopes: []string{}, // or only those who ask for offline_access get one
	}
	provider, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory,
		compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.Config{
			Access: dcr.Open(),
			Scopes: []string{"profile", "email"},
			Events: dcr.LogEvents(slog.Default()), // what is refused, and why
		}),
	))
	if err != nil {
		log.Fatal(err)
	}
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)

	status, client := post(router, `{"client_name": "An App", "redirect_uris": ["https://app.example/cb"], "scope": "profile admin"}`)
	fmt.Println(status, client["client_name"], client["token_endpoint_auth_method"], client["scope"])
	// Output: 201 An App client_secret_basic profile
}

// post registers a client.
func post(handler http.Handler, metadata string, headers ...string) (status int, answer map[string]any) {
	r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(metadata))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	return w.Code, answer
}

// composed is what an application has already; the examples differ in the rest.
func composed(cfg dcr.Config) *dcr.Provider { return composedWith(dcr.NewMemoryStore(), cfg) }

func composedWith(storage fosite.Storage, cfg dcr.Config) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory,
		dcr.NewFactory(cfg)))
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

// Extend says everything that is wrong with a composition, and what to add.
func ExampleExtend() {
	config := &fosite.Config{GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	_, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, dcr.DCRFactory))
	fmt.Println(err)
	// Output:
	// dcr: the provider can not register clients:
	//   - no issuer: set AccessTokenIssuer or IDTokenIssuer of fosite's configuration, or Config.Endpoints.Issuer
	//   - the access rule looks access tokens up, but no factory does: add compose.OAuth2TokenIntrospectionFactory, or set Config.Access
	//   - public clients are accepted, but nothing checks PKCE: add compose.OAuth2PKCEFactory, or leave none out of Config.Metadata.TokenEndpointAuthMethods
}

// A rule of your own: a token that the operator hands out, or else an OAuth access token
// with the registration scope.
func ExampleAccessFunc() {
	handedOut := dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		token, err := dcr.BearerToken(r)
		if err != nil {
			return nil, err
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte("a-token-of-the-operators")) != 1 {
			return nil, dcr.ErrInvalidToken
		}
		return &dcr.Registrant{Kind: "handed_out", Subject: "partner"}, nil
	})
	provider := composed(dcr.Config{Access: dcr.AnyOf(handedOut, dcr.AccessToken())})

	metadata := `{"redirect_uris": ["https://app.example/cb"]}`
	status, _ := post(provider.RegistrationHandler(), metadata)
	fmt.Println(status)
	status, _ = post(provider.RegistrationHandler(), metadata, "Authorization", "Bearer a-token-of-the-operators")
	fmt.Println(status)
	// Output:
	// 401
	// 201
}

// Users of the application register clients with the session that they have; a page of another
// origin can't do it in their name.
func ExampleSignedIn() {
	user := func(r *http.Request) (string, error) {
		cookie, err := r.Cookie("session")
		if err != nil {
			return "", nil // nobody is signed in
		}
		return cookie.Value, nil // an application looks the session up
	}
	provider := composed(dcr.Config{Access: dcr.SignedIn(user, nil)})

	metadata := `{"redirect_uris": ["https://app.example/cb"]}`
	status, _ := post(provider.RegistrationHandler(), metadata, "Cookie", "session=alice")
	fmt.Println(status)
	status, _ = post(provider.RegistrationHandler(), metadata, "Cookie", "session=alice", "Sec-Fetch-Site", "cross-site")
	fmt.Println(status)
	// Output:
	// 201
	// 403
}

// With net/http's own router, or any other, the handlers are mounted one by one.
func ExampleProvider_RegistrationHandler() {
	provider := composed(dcr.Config{Access: dcr.Open()})
	routes := http.NewServeMux()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())

	status, _ := post(routes, `{"redirect_uris": ["https://app.example/cb"]}`)
	fmt.Println(status)
	// Output: 201
}

// An application that has something to say between reading a registration and storing it makes
// its own handler of the three steps.
func ExampleProvider_NewRegistrationRequest() {
	provider := composed(dcr.Config{Access: dcr.Open()})
	register := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewRegistrationRequest(ctx, r)
		if err == nil && !strings.HasSuffix(request.Metadata.ClientURI, ".example/") {
			err = dcr.ErrInvalidClientMetadata.WithDescription("client_uri is not one of our partners.")
		}
		if err != nil {
			provider.WriteRegistrationError(ctx, w, err)
			return
		}
		response, err := provider.NewRegistrationResponse(ctx, request)
		if err != nil {
			provider.WriteRegistrationError(ctx, w, err)
			return
		}
		provider.WriteRegistrationResponse(ctx, w, response)
	})

	status, answer := post(register, `{"redirect_uris": ["https://app.example/cb"], "client_uri": "https://elsewhere.test/"}`)
	fmt.Println(status, answer["error"], answer["error_description"])
	// Output: 400 invalid_client_metadata client_uri is not one of our partners.
}

// Policies read like a sentence: redirects to this machine or to partners, a name and
// somebody to write to, and no pages of strangers.
func ExamplePolicy() {
	provider := composed(dcr.Config{
		Access: dcr.Open(),
		Policies: []dcr.Policy{
			policy.RequireRedirectHosts("localhost", "127.0.0.1", ".partner.example"),
			policy.Require("client_name", "contacts"),
			policy.SameHostURIs(),
		},
	})

	status, answer := post(provider.RegistrationHandler(), `{"client_name": "A Tool", "redirect_uris": ["http://127.0.0.1/cb"]}`)
	fmt.Println(status, answer["error_description"])
	// Output: 400 contacts is required by this server.
}

// A policy of your own sees what passed every rule, and may change or refuse it.
func ExamplePolicyFunc() {
	noTests := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		if strings.Contains(strings.ToLower(p.Metadata.ClientName), "test") {
			return dcr.ErrInvalidClientMetadata.WithDescription("client_name is that of a test.")
		}
		p.RequirePKCE = true
		p.Lifetime = 90 * 24 * time.Hour
		return nil
	})
	provider := composed(dcr.Config{Access: dcr.Open(), Policies: []dcr.Policy{noTests}})

	status, answer := post(provider.RegistrationHandler(), `{"client_name": "Test 7", "redirect_uris": ["https://app.example/cb"]}`)
	fmt.Println(status, answer["error_description"])
	// Output: 400 client_name is that of a test.
}

// Limits and a lifecycle for open registration behind a proxy. The values are the defaults, where
// there is one.
func ExampleConfig() {
	provider := composed(dcr.Config{
		Access: dcr.Open(),
		Limits: dcr.Limits{
			Rate: dcr.RateLimit{
				PerCaller: dcr.Rate{Count: 60, Per: time.Minute},
				Total:     dcr.Rate{Count: 5000, Per: time.Hour}, // no limit by default
			},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // none by default
		},
		Lifecycle: dcr.Lifecycle{
			Unused:        time.Hour,
			Idle:          180 * 24 * time.Hour, // for ever by default
			EvictionGrace: 10 * time.Minute,
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	go provider.RunSweeper(ctx, time.Minute)

	status, _ := post(provider.RegistrationHandler(), `{"redirect_uris": ["https://app.example/cb"]}`)
	stop()
	fmt.Println(status)
	// Output: 201
}

// A purge of old sessions spares the entries of registration access tokens, which are stored
// among the access tokens: without its entry a client can't be managed any more.
func ExampleIsRegistrationTokenEntry() {
	dayAgo := time.Now().Add(-24 * time.Hour)
	accessTokens := map[string]fosite.Requester{ // an application's own table of access tokens
		"6wSQaT1nR0bV":                  &fosite.Request{RequestedAt: dayAgo.Add(-time.Hour)},
		"dcr.registration.6wSQaT1nR0bV": &fosite.Request{RequestedAt: dayAgo.Add(-time.Hour)},
	}
	for signature, request := range accessTokens {
		if request.GetRequestedAt().Before(dayAgo) && !dcr.IsRegistrationTokenEntry(signature) {
			delete(accessTokens, signature)
		}
	}
	fmt.Println(len(accessTokens))
	// Output: 1
}

// An operator finds the clients that one partner registered.
func ExampleProvider_ListClients() {
	provider := composed(dcr.Config{Access: dcr.Open()})
	for range 3 {
		post(provider.RegistrationHandler(), `{"redirect_uris": ["https://app.partner.example/cb"]}`)
	}
	ctx := dcr.AsOperator(context.Background(), "olga") // events name her

	cursor := ""
	for {
		page, err := provider.ListClients(ctx, dcr.ClientFilter{RedirectHost: "app.partner.example", NeverUsed: true}, cursor, 2)
		if err != nil {
			log.Fatal(err)
		}
		for _, client := range page.Clients {
			if err := provider.ExpireClient(ctx, client.ID); err != nil {
				log.Fatal(err)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	removed, err := provider.Sweep(ctx)
	fmt.Println(removed, err)
	// Output: 3 <nil>
}

// An operator mints a token for a partner, who registers two clients with it at most.
func ExampleProvider_MintInitialAccessToken() {
	provider := composed(dcr.Config{Access: dcr.InitialAccessTokens()})
	token, record, err := provider.MintInitialAccessToken(context.Background(), dcr.InitialAccessTokenRequest{
		Label: "Partner Ltd", Subject: "partner", Uses: 2, Lifetime: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}

	metadata := `{"redirect_uris": ["https://app.example/cb"]}`
	for range 3 {
		status, _ := post(provider.RegistrationHandler(), metadata, "Authorization", "Bearer "+token)
		fmt.Println(record.Label, status)
	}
	// Output:
	// Partner Ltd 201
	// Partner Ltd 201
	// Partner Ltd 401
}

// authorizeEndpoint is fosite's authorization endpoint as an application writes it. Its user is alice.
func authorizeEndpoint(provider *dcr.Provider) http.HandlerFunc {
	var kept fosite.AuthorizeRequester // of a browser's session, in a real application
	var shownFor string
	table := map[string][]string{}
	signedIn := func(*http.Request) string { return "alice" }
	waiting := func(*http.Request) fosite.AuthorizeRequester { return kept }
	signIn := func(http.ResponseWriter, *http.Request, fosite.AuthorizeRequester) {}
	askUser := func(_ http.ResponseWriter, _ *http.Request, request fosite.AuthorizeRequester, key string) {
		kept, shownFor = request, key
		fmt.Println("may", request.GetClient().(*dcr.Client).Metadata.ClientName, "have", request.GetRequestedScopes(), "?")
	}
	pressedAllow := func(r *http.Request, key string) bool { return r.Method == http.MethodPost && key == shownFor }
	remembered := func(key string) []string { return table[key] }
	remember := func(key string, wants []string) { table[key] = wants }
	covers := func(allowed, wants []string) bool {
		return !slices.ContainsFunc(wants, func(what string) bool { return !slices.Contains(allowed, what) })
	}
	showError := func(w http.ResponseWriter, problem *fosite.RFC6749Error) {
		w.WriteHeader(problem.CodeField)
		switch {
		case problem.CodeField >= http.StatusInternalServerError:
			fmt.Fprintln(w, "This server has a problem. Try again later.")
		case errors.Is(problem, fosite.ErrInvalidClient): // and at no other error: who connects anew loses what there was
			fmt.Fprintln(w, "The app is not known here any more. Remove it and connect it anew.")
		default:
			fmt.Fprintln(w, html.EscapeString(problem.GetDescription()))
		}
	}
	authorize := func(w http.ResponseWriter, r *http.Request) {
		ctx, user := r.Context(), signedIn(r)
		var err error
		request := waiting(r) // for a page that this user has answered now; nil at the first visit
		if request != nil {
			err = provider.RenewClient(ctx, request) // the client may have changed meanwhile
		} else {
			request, err = provider.NewAuthorizeRequest(ctx, r)
		}
		if err != nil && provider.ShowsAuthorizeError(request, err, user != "") { // the first question
			showError(w, fosite.ErrorToRFC6749Error(err))
			return
		} else if err != nil {
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		if user == "" {
			signIn(w, r, request)
			return
		}
		client := request.GetClient()
		key := user + " " + consent.Key(client)
		wants := slices.Concat([]string{"sign-in"}, request.GetRequestedScopes(), request.GetRequestedAudience())
		switch {
		case pressedAllow(r, key): // on a page that was shown for this key
			remember(key, wants)
		case consent.Needed(request) || client.IsPublic() || !covers(remembered(key), wants): // the second
			askUser(w, r, request, key)
			return
		}
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		for _, audience := range request.GetRequestedAudience() {
			request.GrantAudience(audience)
		}
		response, err := provider.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Subject: user})
		if err != nil {
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		provider.WriteAuthorizeResponse(ctx, w, request, response)
	}
	return authorize
}

// The endpoints of fosite as an application writes them: with registered clients there are two
// questions more at the authorization endpoint, and none at the others.
func ExampleProvider_ShowsAuthorizeError() {
	provider := composed(dcr.MCPConfig("https://mcp.example", "mcp"))
	authorize := authorizeEndpoint(provider)
	token := func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	}

	_, client := post(provider.RegistrationHandler(), `{"client_name": "An Editor", "token_endpoint_auth_method": "none", "redirect_uris": ["http://localhost/callback"]}`)
	verifier := strings.Repeat("a secret of the client ", 2)[:43]
	verifier = base64.RawURLEncoding.EncodeToString([]byte(verifier))
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {"http://localhost:49152/callback"},
		"scope": {"mcp"}, "resource": {"https://mcp.example"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	answer := httptest.NewRecorder()
	authorize(answer, httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil))
	authorize(answer, httptest.NewRequest(http.MethodPost, "/oauth2/auth", nil)) // Allow
	landed, _ := url.Parse(answer.Header().Get("Location"))
	router := mux.NewRouter().UseEncodedPath()
	document := provider.MetadataHandler(func(context.Context) map[string]any {
		return map[string]any{"authorization_endpoint": "https://as.example/oauth2/auth", "token_endpoint": "https://as.example/oauth2/token"}
	})
	for _, path := range provider.MetadataPaths(context.Background()) {
		router.Handle(path, document)
	}

	fmt.Println(answer.Code, landed.Host, landed.Query().Get("iss"))

	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": query["client_id"], "redirect_uri": query["redirect_uri"],
		"code": {landed.Query().Get("code")}, "code_verifier": {verifier},
	}
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer = httptest.NewRecorder()
	token(answer, r)
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"access_token"`))
	// Output:
	// may An Editor have [mcp] ?
	// 303 localhost:49152 https://as.example
	// 200 true
}

// outage is a storage that can be switched off.
type outage struct {
	*dcr.MemoryStore
	err error
}

func (o *outage) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.MemoryStore.GetClient(ctx, id)
}

// A page says what the user can do: connect an app anew that is not known, and wait while the server has a
// problem (AUTH-02, AUTH-05).
func ExampleProvider_ShowsAuthorizeError_page() {
	storage := &outage{MemoryStore: dcr.NewMemoryStore()}
	provider := composedWith(storage, dcr.MCPConfig("https://mcp.example", "mcp"))
	authorize := authorizeEndpoint(provider)
	_, client := post(provider.RegistrationHandler(), `{"token_endpoint_auth_method": "none", "redirect_uris": ["https://app.example/cb"]}`)
	show := func(clientID any, redirectURI string) {
		answer := httptest.NewRecorder()
		query := url.Values{"response_type": {"code"}, "client_id": {clientID.(string)}, "redirect_uri": {redirectURI}}
		authorize(answer, httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil))
		sentences := strings.Split(answer.Body.String(), ". ")
		fmt.Print(answer.Code, " ", sentences[len(sentences)-1])
	}
	show("gone", "https://app.example/cb")
	show(client["client_id"], "https://elsewhere.example/cb")
	storage.err = dcr.ErrUnavailable
	show(client["client_id"], "https://app.example/cb")
	storage.err = errors.New("connection reset")
	show(client["client_id"], "https://app.example/cb")
	// Output:
	// 401 Remove it and connect it anew.
	// 400 The &#39;redirect_uri&#39; parameter does not match any of the OAuth 2.0 Client&#39;s pre-registered redirect urls.
	// 503 Try again later.
	// 500 Try again later.
}

// What is legal and hardly meant is said, too.
func ExampleProvider_Warnings() {
	provider := composed(dcr.Config{Access: dcr.Open(), Events: dcr.LogEvents(slog.Default())})
	for _, warning := range provider.Warnings() {
		fmt.Println(warning)
	}
	// Output:
	// Config.Scopes is empty, so clients register without any scope and their tokens have none: name the scopes that clients may have
}
