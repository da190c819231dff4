package consent_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// An authorization handler decides whether to show a consent page, and what is on it.
func Example() {
	client := &dcr.Client{ID: "dZ3pQ9", Metadata: dcr.ClientMetadata{
		ClientName: "Photo Print", TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{"https://print.example/cb"}, Scope: "photos",
	}}
	consents := map[string][]string{} // the application's table

	authorize := func(user string, request fosite.AuthorizeRequester, scopes ...string) {
		client := request.GetClient()
		key := user + " " + consent.Key(client)
		covered := !slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(consents[key], scope) })
		if consent.Needed(request) || client.IsPublic() || !covered {
			if registered, ok := dcr.RegisteredClient(client); ok {
				var provider consent.Counter // a *dcr.Provider; without one, names are not counted
				shown, _ := consent.Describe(context.Background(), provider, registered, "en")
				fmt.Printf("%q wants %v, and returns to %s\n", shown.Name, scopes, consent.Host(request.GetRedirectURI()))
			}
			consents[key] = scopes // the user pressed Allow
			return
		}
		fmt.Println("allowed before")
	}

	request := fosite.NewAuthorizeRequest()
	request.Client = client
	request.RedirectURI = &url.URL{Scheme: "https", Host: "print.example", Path: "/cb"}
	authorize("alice", request, "photos")
	authorize("alice", request, "photos")
	client.Metadata.ClientName = "Your Bank"
	authorize("alice", request, "photos")
	// Output:
	// "Photo Print" wants [photos], and returns to print.example
	// allowed before
	// "Your Bank" wants [photos], and returns to print.example
}

// composed is what an application has already.
func composed(storage fosite.Storage) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.MCPConfig("https://mcp.example", "mcp"))))
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

// post registers a client.
func post(handler http.Handler, metadata string) (status int, answer map[string]any) {
	r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(metadata))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	return w.Code, answer
}

// authorizeEndpoint is fosite's authorization endpoint as an application writes it. Its user is alice.
func authorizeEndpoint(provider *dcr.Provider) http.HandlerFunc {
	var kept fosite.AuthorizeRequester // of a browser's session, in a real application
	var shownFor string
	table := map[string][]string{}
	signedIn := func(*http.Request) string { return "alice" }
	waiting := func(r *http.Request) fosite.AuthorizeRequester {
		if r.Method == http.MethodPost {
			return kept
		}
		return nil
	}
	signIn := func(http.ResponseWriter, *http.Request, fosite.AuthorizeRequester) {}
	askUser := func(_ http.ResponseWriter, r *http.Request, request fosite.AuthorizeRequester, key string) {
		kept, shownFor = request, key
		var shown consent.Description
		if registered, ok := dcr.RegisteredClient(request.GetClient()); ok { // and a client of yours you know
			shown, _ = consent.Describe(r.Context(), provider, registered, r.Header.Get("Accept-Language"))
		}
		fmt.Println("may", shown.Name, "have", request.GetRequestedScopes(), "?")
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
		case errors.Is(problem, dcr.ErrInvalidClientMetadata), errors.Is(problem, dcr.ErrInvalidRedirectURI): // its document is refused
			fmt.Fprintln(w, html.EscapeString(problem.GetDescription()))
		case errors.Is(problem, fosite.ErrInvalidClient): // and at no other error: who connects anew loses what there was
			fmt.Fprintln(w, "The app is not known here any more. Remove it and connect it anew.")
		default:
			fmt.Fprintln(w, html.EscapeString(problem.GetDescription()))
		}
	}
	logFailure := func(err error) { // of the server, such as a failed storage; a refusal is none
		if problem := fosite.ErrorToRFC6749Error(err); problem.CodeField >= http.StatusInternalServerError {
			slog.Error("authorization failed", "cause", problem.DebugField)
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
		if err != nil {
			logFailure(err)
			if provider.ShowsAuthorizeError(request, err, user != "") { // the first question
				showError(w, fosite.ErrorToRFC6749Error(err))
				return
			}
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
			askUser(w, r, request, key) // with what consent.Describe says of the client
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
			logFailure(err)
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		provider.WriteAuthorizeResponse(ctx, w, request, response)
	}
	return authorize
}

// The endpoints of fosite as an application writes them: with registered clients there are two
// questions more at the authorization endpoint, and none at the others.
func Example_authorizationEndpoint() {
	provider := composed(dcr.NewMemoryStore())
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
// problem, whose cause the log has (AUTH-02, AUTH-05).
func Example_errorPage() {
	log.SetOutput(os.Stdout) // where slog writes
	log.SetFlags(0)
	defer func() {
		log.SetOutput(os.Stderr)
		log.SetFlags(log.LstdFlags)
	}()
	storage := &outage{MemoryStore: dcr.NewMemoryStore()}
	provider := composed(storage)
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
	// ERROR authorization failed cause="dcr: the storage is not available"
	// 503 Try again later.
	// ERROR authorization failed cause="connection reset"
	// 500 Try again later.
}

// A consent that is remembered under the key ends when the client changes, so that a stolen registration
// access token sends no code anywhere, and when an operator removes the client's grants (CONS-02).
func ExampleKey() {
	provider := composed(dcr.NewMemoryStore())
	authorize := authorizeEndpoint(provider)
	_, client := post(provider.RegistrationHandler(), `{"client_name": "A Service", "redirect_uris": ["https://app.example/cb"]}`)
	visit := func(method, redirectURI string) {
		answer := httptest.NewRecorder()
		query := url.Values{"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {redirectURI}, "state": {"some state"}, "scope": {"mcp"}}
		authorize(answer, httptest.NewRequest(method, "/oauth2/auth?"+query.Encode(), nil))
		if landed, err := answer.Result().Location(); err == nil {
			fmt.Println("sent to", landed.Host, landed.Query().Has("code"))
		}
	}
	visit(http.MethodGet, "https://app.example/cb")
	visit(http.MethodPost, "https://app.example/cb") // Allow
	visit(http.MethodGet, "https://app.example/cb")

	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)
	r := httptest.NewRequest(http.MethodPut, client["registration_client_uri"].(string), strings.NewReader(fmt.Sprintf(
		`{"client_id": %q, "client_name": "A Service", "redirect_uris": ["https://app.example/cb", "https://evil.example/cb"]}`, client["client_id"])))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+client["registration_access_token"].(string))
	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, r)
	fmt.Println("changed", answer.Code)
	visit(http.MethodGet, "https://evil.example/cb")

	visit(http.MethodGet, "https://app.example/cb")
	visit(http.MethodPost, "https://app.example/cb")                                                  // Allow
	if err := provider.RevokeTokens(context.Background(), client["client_id"].(string)); err != nil { // by an operator
		log.Fatal(err)
	}
	visit(http.MethodGet, "https://app.example/cb")
	// Output:
	// may A Service have [mcp] ?
	// sent to app.example true
	// sent to app.example true
	// changed 200
	// may A Service have [mcp] ?
	// may A Service have [mcp] ?
	// sent to app.example true
	// may A Service have [mcp] ?
}
