// Command directory shows software statements (RFC 7591, section 2.3): a directory, as a
// banking scheme has one, says in a signed statement what is true of an application, and an
// authorization server that trusts the directory registers what the statement says.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run registers with a statement, with one that was changed, and without one.
func run(out io.Writer) error {
	directory, err := newDirectory("https://directory.example")
	if err != nil {
		return err
	}
	server, err := newServer(directory)
	if err != nil {
		return err
	}
	statement, err := directory.issue(map[string]any{
		"software_id":   "budget-app",
		"client_name":   "Budget App",
		"redirect_uris": []string{"https://budget.example/callback"},
		"contacts":      []string{"security@budget.example"},
	})
	if err != nil {
		return err
	}
	// What the application says itself counts only where the statement does not say anything.
	register(out, server, "vouched for", map[string]any{
		"client_name": "The Bank Itself", "client_uri": "https://budget.example/", "software_statement": statement,
	})
	register(out, server, "changed", map[string]any{"software_statement": statement[:len(statement)-4] + "AAAA"})
	register(out, server, "by itself", map[string]any{"client_name": "Budget App", "redirect_uris": []string{"https://budget.example/callback"}})
	return nil
}

// directory signs statements.
type directory struct {
	issuer string
	key    *ecdsa.PrivateKey
}

func newDirectory(issuer string) (*directory, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &directory{issuer, key}, err
}

// keys returns the public keys of the directory.
func (d *directory) keys() *jose.JSONWebKeySet {
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: d.key.Public(), KeyID: "2026", Use: "sig", Algorithm: "ES256"}}}
}

// issue returns a signed statement that is valid for a year.
func (d *directory) issue(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: d.key, KeyID: "2026"}}, nil)
	if err != nil {
		return "", err
	}
	now := time.Now()
	about := jwt.Claims{Issuer: d.issuer, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.AddDate(1, 0, 0))}
	return jwt.Signed(signer).Claims(about).Claims(claims).CompactSerialize()
}

// newServer returns a server that trusts the directory, and registers only clients that have a
// statement of it. A real server names the URL of the directory's keys (StatementIssuer.JWKSURI).
func newServer(d *directory) (http.Handler, error) {
	config := &fosite.Config{AccessTokenIssuer: "https://bank.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.Config{
			Access:   dcr.Open(),
			Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{Issuer: d.issuer, Keys: d.keys()}}},
			Policies: []dcr.Policy{policy.Require("software_statement")},
		})))
	if err != nil {
		return nil, err
	}
	return provider.RegistrationHandler(), nil
}

// register posts metadata and prints the outcome.
func register(out io.Writer, server http.Handler, how string, metadata map[string]any) {
	body, _ := json.Marshal(metadata)
	r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)

	var answer struct {
		Name        string `json:"client_name"`
		URI         string `json:"client_uri"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	fmt.Fprintf(out, "%-12s %d %s\n", how, w.Code, strings.TrimSpace(answer.Name+" "+answer.URI+answer.Error+" "+answer.Description))
}
