package dcr_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// The endpoints of fosite as a host writes them: with registered clients there are two
// questions more at the authorization endpoint, and none at the others.
func ExampleProvider_ShowsAuthorizeError() {
	signedIn := func(*http.Request) string { return "alice" }                             // your session; "" for nobody
	justAllowed := func(*http.Request, fosite.AuthorizeRequester) bool { return true }    // your consent page came back
	allowedBefore := func(*http.Request, fosite.AuthorizeRequester) bool { return false } // if you remember it
	askUser := func(http.ResponseWriter, *http.Request, fosite.AuthorizeRequester) {}     // your sign-in and consent pages
	provider := composed(dcr.MCPConfig("https://mcp.example", "mcp"))

	authorize := func(w http.ResponseWriter, r *http.Request) {
		ctx, user := r.Context(), signedIn(r)
		request, err := provider.NewAuthorizeRequest(ctx, r)
		if err != nil && provider.ShowsAuthorizeError(request, err, user != "") {
			w.WriteHeader(http.StatusBadRequest) // a page for people: strangers are not redirected
			fmt.Fprintln(w, html.EscapeString(fosite.ErrorToRFC6749Error(err).GetDescription()))
			return
		} else if err != nil {
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		if user == "" || !justAllowed(r, request) && (dcr.NeedsConsent(request) || !allowedBefore(r, request)) {
			askUser(w, r, request)
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
	landed, _ := url.Parse(answer.Header().Get("Location"))
	document := provider.MetadataHandler(func(context.Context) map[string]any {
		return map[string]any{"authorization_endpoint": "https://as.example/oauth2/auth", "token_endpoint": "https://as.example/oauth2/token"}
	})
	routes := http.NewServeMux()
	for _, path := range provider.MetadataPaths(context.Background()) {
		routes.Handle(path, document)
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
	// 303 localhost:49152 https://as.example
	// 200 true
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
