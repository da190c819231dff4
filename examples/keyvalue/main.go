// Command keyvalue shows a whole fosite storage, with registered clients, over a key-value database: Redis. The
// clients are in storage.go, what they are granted in sessions.go. The program registers a client with a server on it, takes the server away, and lets another one
// show that the client is there.
//
//	go run ./examples/keyvalue -redis redis://127.0.0.1:6379/0
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
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
	"github.com/ory/fosite/handler/openid"
	"github.com/redis/go-redis/v9"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func main() {
	address := flag.String("redis", "redis://127.0.0.1:6379/0", "where Redis is")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *address); err != nil {
		log.Fatal(err)
	}
}

func newSession() fosite.Session { return openid.NewDefaultSession() }

// run registers a client at one server and finds it at another one.
func run(ctx context.Context, out io.Writer, address string) error {
	options, err := redis.ParseURL(address)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	secret := []byte(rand.Text() + rand.Text()) // all servers have the same
	storage := NewStorage(client, newSession)
	id, err := register(storage, secret)
	if err != nil {
		return err
	}
	found, err := NewStorage(client, newSession).GetDynamicClient(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is registered as %s\n", found.Metadata.ClientName, found.ID)
	return storage.DeleteClient(ctx, id)
}

// register runs a server for one registration.
func register(storage *Storage, secret []byte) (id string, err error) {
	router := mux.NewRouter().UseEncodedPath()
	server := httptest.NewServer(router)
	defer server.Close()
	provider, err := newProvider(server.URL, storage, secret)
	if err != nil {
		return "", err
	}
	provider.Mount(router)
	response, err := http.Post(server.URL+"/register", "application/json",
		strings.NewReader(`{"client_name": "Notes", "redirect_uris": ["https://notes.example/cb"]}`))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s: %w", response.Status, body, err)
	}
	var answer struct {
		ClientID string `json:"client_id"`
	}
	err = json.Unmarshal(body, &answer)
	return answer.ClientID, err
}

// newProvider composes fosite on the storage.
func newProvider(issuer string, storage *Storage, secret []byte) (*dcr.Provider, error) {
	config := &fosite.Config{AccessTokenIssuer: issuer, TokenURL: issuer + "/oauth2/token", GlobalSecret: secret}
	return dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2PKCEFactory,
		compose.PushedAuthorizeHandlerFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory,
		dcr.NewFactory(dcr.Config{
			Access: dcr.Open(), Scopes: []string{"notes"},
			Storage: dcr.Storage{NewSession: newSession},
		}),
	))
}
