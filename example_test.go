package dcr_test

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// The whole of it: compose, extend, mount.
func Example() {
	config := &fosite.Config{
		AccessTokenIssuer:  "https://as.example",              // yours; http://127.0.0.1:8080 is fine on your machine
		TokenURL:           "https://as.example/oauth2/token", // for private_key_jwt
		GlobalSecret:       []byte("thirty-two bytes or more, kept safe"),
		RefreshTokenScopes: []string{}, // a client with the grant refresh_token gets one, not only for offline_access
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
			// The grants of a client that names none; without this line it gets no refresh token.
			Metadata: dcr.Metadata{DefaultGrantTypes: []string{"authorization_code", "refresh_token"}},
		}),
	))
	if err != nil {
		log.Fatal(err)
	}
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	go provider.RunSweeper(context.Background(), time.Minute) // removes clients that expired, until the context ends

	status, client := post(router, `{"client_name": "An App", "redirect_uris": ["https://app.example/cb"], "scope": "profile admin"}`)
	fmt.Println(status, client["client_name"], client["token_endpoint_auth_method"], client["scope"], client["grant_types"])
	// Output: 201 An App client_secret_basic profile [authorization_code refresh_token]
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
func composed(cfg dcr.Config) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
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

// The default rule: a static client has the scope of registration, and registers others with its access token.
func ExampleAccessToken() {
	hash, err := new(dcr.SecretHasher).Hash(context.Background(), []byte("its secret"))
	if err != nil {
		log.Fatal(err)
	}
	store := dcr.NewMemoryStore()
	store.AddClient(&fosite.DefaultClient{
		ID: "deployment", Secret: hash, GrantTypes: []string{"client_credentials"}, Scopes: []string{"dcr:register"},
	})
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2TokenIntrospectionFactory, dcr.DCRFactory))
	if err != nil {
		log.Fatal(err)
	}
	token := func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		if request.GetGrantTypes().ExactOne("client_credentials") { // fosite has held the scopes against the client's
			for _, scope := range request.GetRequestedScopes() {
				request.GrantScope(scope)
			}
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	}

	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader("grant_type=client_credentials&scope=dcr:register"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("deployment", url.QueryEscape("its secret"))
	w := httptest.NewRecorder()
	token(w, r)
	var issued struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &issued); err != nil {
		log.Fatal(err)
	}
	metadata := `{"client_name": "A Service", "grant_types": ["client_credentials"]}`
	status, _ := post(provider.RegistrationHandler(), metadata)
	fmt.Println(status)
	status, _ = post(provider.RegistrationHandler(), metadata, "Authorization", "Bearer "+issued.AccessToken)
	fmt.Println(status)
	// Output:
	// 401
	// 201
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

// Clients look for the server's metadata first (RFC 8414).
func ExampleProvider_MetadataHandler() {
	provider := composed(dcr.MCPConfig("https://mcp.example", "mcp"))
	router := mux.NewRouter().UseEncodedPath()
	document := provider.MetadataHandler(func(context.Context) map[string]any {
		return map[string]any{
			"authorization_endpoint": "https://as.example/oauth2/auth", "token_endpoint": "https://as.example/oauth2/token",
			"introspection_endpoint": "https://as.example/oauth2/introspect", "revocation_endpoint": "https://as.example/oauth2/revoke",
		}
	})
	for _, path := range provider.MetadataPaths(context.Background()) {
		router.Handle(path, document)
	}

	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil))
	var members map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &members); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Code, members["registration_endpoint"], members["token_endpoint"])
	// Output: 200 https://as.example/register https://as.example/oauth2/token
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
