// Package adopting_test has the servers of docs/adopting.md: each takes registration in as it stands, and runs.
package adopting_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const issuer = "https://as.example"

var (
	redirectURIs = []string{"https://notes.example/cb"}
	secret       = []byte("thirty-two bytes or more, kept safe")
)

// A server that has clients of its own keeps them: they and the registered ones are found by one GetClient.
func Example_clientsOfYourOwn() {
	store := dcr.NewMemoryStore()
	store.AddClient(&fosite.DefaultClient{ID: "billing", Secret: hashOf("a secret from 2024"), GrantTypes: []string{"client_credentials"}})

	provider := composed(store, dcr.Config{Access: dcr.Open(), Scopes: []string{"notes"}})
	routes := endpoints(provider)

	fmt.Println(status(routes, http.MethodPost, "/register", `{"redirect_uris":["https://notes.example/cb"]}`))
	fmt.Println(tokenStatus(routes, "billing", "a secret from 2024"))
	// A static client can't be managed, whatever token comes.
	fmt.Println(status(routes, http.MethodGet, "/register/billing", ""))
	// Output:
	// 201 Created
	// 200 OK
	// 401 Unauthorized
}

// legacyClient is a client that hand-written registration has stored.
type legacyClient struct {
	ID, Name     string
	SecretHash   []byte // bcrypt, as fosite makes it
	RedirectURIs []string
	Registered   time.Time
}

// A server that has registered clients before imports them: their identifiers and secrets work on.
func Example_import() {
	legacy := []legacyClient{{ID: "old-1", Name: "Notes", SecretHash: hashOf("its secret"), RedirectURIs: redirectURIs, Registered: time.Unix(1_700_000_000, 0)}}
	store := dcr.NewMemoryStore()

	for _, old := range legacy {
		err := store.CreateClient(context.Background(), &dcr.Client{
			ID: old.ID, Issuer: issuer, Version: 1, Origin: dcr.Registrant{Kind: "import"},
			CreatedAt: old.Registered, UpdatedAt: old.Registered, LastUsedAt: time.Now(),
			SecretHash: old.SecretHash,
			Metadata: dcr.ClientMetadata{
				ClientName: old.Name, RedirectURIs: old.RedirectURIs, TokenEndpointAuthMethod: "client_secret_basic",
				GrantTypes: []string{"authorization_code", "client_credentials"}, ResponseTypes: []string{"code"}, Scope: "notes",
			},
		})
		if errors.Is(err, dcr.ErrClientExists) {
			continue // an earlier run has imported it
		}
		if err != nil {
			log.Fatal(err)
		}
	}

	provider := composed(store, dcr.Config{Access: dcr.Open(), Scopes: []string{"notes"}})
	fmt.Println(tokenStatus(endpoints(provider), "old-1", "its secret"))
	found, err := provider.ListClients(context.Background(), dcr.ClientFilter{Kind: "import"}, "", 10)
	fmt.Println(len(found.Clients), err)
	// Nobody has a registration access token for it. An operator can change or delete it; it may register anew.
	fmt.Println(status(endpoints(provider), http.MethodGet, "/register/old-1", ""))
	// Output:
	// 200 OK
	// 1 <nil>
	// 401 Unauthorized
}

// configurator is fosite's configuration in a type of the application's own.
type configurator struct {
	*fosite.Config
	registration dcr.Config
}

// GetDCRConfig is what dcr.DCRFactory asks.
func (c *configurator) GetDCRConfig(context.Context) *dcr.Config { return &c.registration }

// A server that calls factories itself, with a Configurator and a ClientAuthenticationStrategy of its own.
func Example_factoriesByHand() {
	store := dcr.NewMemoryStore()
	config := &configurator{
		Config:       &fosite.Config{AccessTokenIssuer: issuer, TokenURL: issuer + "/oauth2/token", GlobalSecret: secret},
		registration: dcr.Config{Access: byKey("a key of the operator"), Scopes: []string{"notes"}},
	}

	// The strategy calls the provider that Extend returns, which exists later. One that calls the composed provider,
	// or fosite's own strategy, loses the checks of this package and knows no generated secret.
	var provider *dcr.Provider
	config.ClientAuthenticationStrategy = func(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
		if r.Header.Get("X-Internal") != "" {
			return nil, fosite.ErrInvalidClient // your own clients, by your own means
		}
		return provider.ClientAuthentication(ctx, r, form)
	}
	// With a strategy of yours, secrets are hashed by your configuration's hasher. This one is fast for generated ones.
	config.ClientSecretsHasher = &dcr.SecretHasher{Fallback: &fosite.BCrypt{Config: config}}

	strategy := compose.NewOAuth2HMACStrategy(config)
	for _, factory := range []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory, dcr.DCRFactory} {
		handler := factory(config, store, strategy)
		if h, ok := handler.(fosite.AuthorizeEndpointHandler); ok {
			config.AuthorizeEndpointHandlers.Append(h)
		}
		if h, ok := handler.(fosite.TokenEndpointHandler); ok {
			config.TokenEndpointHandlers.Append(h)
		}
		if h, ok := handler.(fosite.TokenIntrospector); ok {
			config.TokenIntrospectionHandlers.Append(h)
		}
		if h, ok := handler.(fosite.RevocationHandler); ok {
			config.RevocationHandlers.Append(h)
		}
	}

	var err error
	if provider, err = dcr.Extend(fosite.NewOAuth2Provider(store, config)); err != nil {
		log.Fatal(err)
	}
	id, clientSecret := register(endpoints(provider), "a key of the operator", `{"grant_types":["client_credentials"]}`)
	fmt.Println(tokenStatus(endpoints(provider), id, clientSecret))
	fmt.Println(tokenStatus(endpoints(provider), id, "a guess"))
	// Output:
	// 200 OK
	// 401 Unauthorized
}

// metered is a decorator: of the storage inside it shows what it knows, fosite.Storage.
type metered struct{ fosite.Storage }

// A server with decorated storages, behind chi.
func Example_decoratorsAndChi() {
	inner := dcr.NewMemoryStore()

	config := &fosite.Config{AccessTokenIssuer: issuer, GlobalSecret: secret}
	provider, err := dcr.Extend(compose.Compose(config, metered{inner}, compose.NewOAuth2HMACStrategy(config),
		dcr.NewFactory(dcr.Config{
			Access: dcr.Open(), Scopes: []string{"notes"}, Metadata: dcr.Metadata{GrantTypes: []string{"client_credentials"}, AnonymousGrantTypes: []string{"client_credentials"}},
			Storage: dcr.Storage{Clients: inner, Tokens: inner},
		})))
	if err != nil {
		log.Fatal(err)
	}
	routes := chi.NewRouter()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())

	fmt.Println(status(routes, http.MethodPost, "/register", `{"grant_types":["client_credentials"]}`))
	// Output: 201 Created
}

// composed is a provider for codes and client credentials.
func composed(store *dcr.MemoryStore, cfg dcr.Config) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: issuer, TokenURL: issuer + "/oauth2/token", GlobalSecret: secret}
	provider, err := dcr.Extend(compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2PKCEFactory,
		dcr.NewFactory(cfg),
	))
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

func endpoints(provider *dcr.Provider) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())
	routes.HandleFunc("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
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
	})
	return routes
}

// byKey lets those register who have a key.
func byKey(key string) dcr.Access {
	return dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			return nil, dcr.ErrInvalidToken
		}
		return &dcr.Registrant{Kind: "operator"}, nil
	})
}

func register(routes http.Handler, key, body string) (id, clientSecret string) {
	request := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	recorder := httptest.NewRecorder()
	routes.ServeHTTP(recorder, request)
	var answer struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	return answer.ID, answer.Secret
}

func hashOf(clientSecret string) []byte {
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(context.Background(), []byte(clientSecret))
	if err != nil {
		log.Fatal(err)
	}
	return hash
}

func status(routes http.Handler, method, path, body string) string {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer := httptest.NewRecorder()
	routes.ServeHTTP(answer, request)
	return answer.Result().Status
}

func tokenStatus(routes http.Handler, id, clientSecret string) string {
	request := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(id, clientSecret)
	answer := httptest.NewRecorder()
	routes.ServeHTTP(answer, request)
	return answer.Result().Status
}
