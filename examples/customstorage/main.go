// Command customstorage shows how an application adds registration to a fosite storage of its own:
// it adds four methods to the storage (registration.go) and extends the provider. Clients register
// with a key that the application gives to those who deploy services.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a server, registers one client and prints the result.
func run(out io.Writer) error {
	router := mux.NewRouter().UseEncodedPath()
	server := httptest.NewServer(router)
	defer server.Close()
	storage := NewStorage(&Application{DefaultClient: fosite.DefaultClient{ID: "billing"}, Team: "finance"})
	key := rand.Text()
	provider, err := newProvider(server.URL, storage, key)
	if err != nil {
		return err
	}
	provider.Mount(router)
	return register(out, server.URL, storage, key)
}

// newProvider composes fosite as before, with one more factory, and extends it.
func newProvider(issuer string, storage *Storage, key string) (*dcr.Provider, error) {
	config := &fosite.Config{
		AccessTokenIssuer: issuer,
		TokenURL:          issuer + "/oauth2/token",
		GlobalSecret:      []byte(rand.Text() + rand.Text()),
	}
	return dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory,
		dcr.NewFactory(dcr.Config{Access: deployKey(key), Scopes: []string{"invoices"}}),
	))
}

// deployKey is an access rule: a request that carries the key may register.
func deployKey(key string) dcr.Access {
	want := []byte("Bearer " + key)
	return dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			return nil, dcr.ErrInvalidToken
		}
		return &dcr.Registrant{Kind: "deploy_key"}, nil
	})
}

// register is what the deployment of a service does.
func register(out io.Writer, url string, storage *Storage, key string) error {
	body := `{"client_name": "Invoices", "grant_types": ["client_credentials"], "scope": "invoices"}`
	request, err := http.NewRequest(http.MethodPost, url+"/register", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		ClientID string `json:"client_id"`
		Method   string `json:"token_endpoint_auth_method"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	client, err := storage.GetDynamicClient(request.Context(), answer.ClientID)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, response.Status)
	fmt.Fprintf(out, "%s authenticates with %s\n", client.Metadata.ClientName, answer.Method)
	fmt.Fprintf(out, "registered with a %s, version %d\n", client.Origin.Kind, client.Version)
	return nil
}
