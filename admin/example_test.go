package admin_test

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
)

// The pages behind HTTP Basic, with a history of what happened to clients.
func Example() {
	password := "long, random, and from your configuration"

	history := admin.NewHistory(admin.HistoryOptions{})
	provider := composed(dcr.Config{
		Events: dcr.EventSinks(history, dcr.LogEvents(slog.Default())),
	})
	handler, err := admin.New(provider, admin.Options{
		Prefix: "/admin",
		Authenticate: func(r *http.Request) (operator string, err error) {
			user, given, _ := r.BasicAuth()
			want, got := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(given))
			right := subtle.ConstantTimeCompare(want[:], got[:]) == 1
			if user != "olga" || password == "" || !right {
				return "", nil // Deny answers
			}
			return user, nil
		},
		Deny: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="operators", charset="UTF-8"`)
			http.Error(w, "Only operators may see this.", http.StatusUnauthorized)
		}),
		History: history,
	})
	if err != nil {
		log.Fatal(err)
	}
	router := mux.NewRouter().UseEncodedPath()
	router.PathPrefix("/admin/").Handler(handler) // https://as.example/admin/ in a browser

	send := func(password, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("olga", password)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w
	}
	refused := send("a guess", http.MethodGet, "/admin/", "")
	fmt.Println(refused.Code, refused.Header().Get("WWW-Authenticate"))
	fmt.Println(send(password, http.MethodGet, "/admin/", "").Code)
	fmt.Println(send(password, http.MethodPost, "/admin/api/initial-access-tokens", `{"label": "Partner", "uses": 10}`).Code)
	events := send(password, http.MethodGet, "/admin/api/events", "").Body.String()
	fmt.Println(strings.Contains(events, `"kind":"initial_access_token_minted"`), strings.Contains(events, `"operator":"olga"`))
	// Output:
	// 401 Basic realm="operators", charset="UTF-8"
	// 200
	// 201
	// true true
}

// composed is what an application has already.
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
