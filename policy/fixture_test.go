package policy_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// assertionKeys are the private keys of the tests' clients.
// assertionKey is made once, and shared by all clients with private_key_jwt.
var assertionKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func publicKey(private crypto.Signer, kid, use, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: private.Public(), KeyID: kid, Use: use, Algorithm: alg}
}

func keySet(keys ...jose.JSONWebKey) jose.JSONWebKeySet { return jose.JSONWebKeySet{Keys: keys} }

// claimsFor are those of a good assertion. Further pairs of name and value replace what is
// there; nil removes it.
func claimsFor(clientID string, audience any, pairs ...any) map[string]any {
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		claims[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(claims, pairs[i].(string))
		}
	}
	return claims
}

func signToken(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	return compact
}

func signES256(t *testing.T, claims map[string]any) string {
	t.Helper()
	return signToken(t, jose.ES256, assertionKey(), "", claims)
}

func withAssertion(form url.Values, assertion string) url.Values {
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form
}

const authRedirect = "https://client.example/cb"

// authMethods are the registrable authentication methods.
var authMethods = []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}

// authClient is a client that was registered for one method.
type authClient struct {
	dcrtest.Answer
	server *dcrtest.Server
	method string
}

func registerFor(t *testing.T, s *dcrtest.Server, method string) authClient {
	t.Helper()
	metadata := map[string]any{
		"token_endpoint_auth_method": method,
		"redirect_uris":              []string{authRedirect},
		"grant_types":                []string{"authorization_code", "refresh_token"},
	}
	if method == "private_key_jwt" {
		metadata["jwks"] = keySet(publicKey(assertionKey(), "", "", ""))
	}
	return authClient{Answer: s.Register(t, metadata), server: s, method: method}
}

// present says who the client is by a method, the registered one or another. Where the
// client has no secret it makes one up.
func (c authClient) present(t *testing.T, method string, form url.Values) (url.Values, []dcrtest.Edit) {
	t.Helper()
	secret := c.Secret()
	if secret == "" {
		secret = "a-secret-that-nobody-issued"
	}
	switch method {
	case "none":
		form.Set("client_id", c.ID())
	case "client_secret_basic":
		return form, []dcrtest.Edit{dcrtest.Basic(c.ID(), secret)}
	case "client_secret_post":
		form.Set("client_id", c.ID())
		form.Set("client_secret", secret)
	case "private_key_jwt":
		return withAssertion(form, signES256(t, claimsFor(c.ID(), c.server.URL))), nil
	}
	return form, nil
}

// send makes a request by a method.
func (c authClient) send(t *testing.T, path, method string, form url.Values) dcrtest.Answer {
	t.Helper()
	form, edits := c.present(t, method, form)
	return c.server.Form(t, path, form, edits...)
}

// with is a key, or any metadata, with more members.
func with(base, more members) members {
	joined := maps.Clone(base)
	maps.Copy(joined, more)
	return joined
}

// members is short for the metadata in a row.
type members = map[string]any

// movableClock is a clock that the test moves.
type movableClock struct{ ahead atomic.Int64 }

func (c *movableClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *movableClock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func lifecycleServer(t testing.TB, lifecycle dcr.Lifecycle, edit ...func(*dcrtest.Setup)) (*dcrtest.Server, *movableClock) {
	clock := new(movableClock)
	setup := dcrtest.Setup{UnusedEnd: true, Config: dcr.Config{Lifecycle: lifecycle, Now: clock.now, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}}
	for _, e := range edit {
		e(&setup)
	}
	return dcrtest.Start(t, setup), clock
}

const lifecycleMetadata = `{"redirect_uris":["https://app.example/cb"],"grant_types":["authorization_code","refresh_token","client_credentials"]}`

// lives reports whether a client exists, by management and at the token endpoint alike.
func lives(t testing.TB, s *dcrtest.Server, client dcrtest.Answer) bool {
	t.Helper()
	managed := s.Manage(t, http.MethodGet, client, nil).Status
	_, err := s.Provider.Store.GetClient(context.Background(), client.ID())
	require.Equal(t, err == nil, managed == http.StatusOK, "both look-ups agree")
	require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, managed)
	return err == nil
}

func use(t testing.TB, s *dcrtest.Server, client dcrtest.Answer) {
	t.Helper()
	answer := s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
}

const (
	managedRedirect = "https://client.example/cb"
	operatorsID     = "operators-own"
	operatorsSecret = "the secret of the operator's own client"
)

// managed is the metadata of the client that most tests of management register. Pairs
// of name and value replace what is there.
func managed(pairs ...any) map[string]any {
	metadata := map[string]any{
		"client_name":   "Managed",
		"redirect_uris": []string{managedRedirect},
		"grant_types":   []string{"authorization_code", "refresh_token"},
		"scope":         "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// replacing is the body of an update of client, with managed's metadata.
func replacing(client dcrtest.Answer, pairs ...any) map[string]any {
	return managed(append([]any{"client_id", client.ID()}, pairs...)...)
}

// operatorsOwn is a client that was not registered, and may introspect every token.
func operatorsOwn(t testing.TB) fosite.Client {
	t.Helper()
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(t.Context(), []byte(operatorsSecret))
	require.NoError(t, err)
	return &fosite.DefaultClient{ID: operatorsID, Secret: hash, RedirectURIs: []string{managedRedirect}}
}

// signIn takes a confidential client through the code flow and returns its tokens.
func signIn(t testing.TB, s *dcrtest.Server, client dcrtest.Answer) dcrtest.Answer {
	t.Helper()
	code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), managedRedirect, "scope", "openid"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, managedRedirect), dcrtest.Basic(client.ID(), client.Secret()))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	require.NotEmpty(t, tokens.Text("refresh_token"), tokens.Body)
	return tokens
}

// introspected asks about a token as the operator's own client.
func introspected(t testing.TB, s *dcrtest.Server, token string) map[string]any {
	t.Helper()
	answer := s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, dcrtest.Basic(operatorsID, operatorsSecret))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer.Members
}

// requireUniformRefusal: there is one answer to a token that does not fit, to the byte.
func requireUniformRefusal(t testing.TB, answer dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
	header := answer.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	require.Equal(t, http.Header{
		"Www-Authenticate": {`Bearer error="invalid_token"`},
		"Content-Type":     {"application/json"},
		"Cache-Control":    {"no-store"},
		"Pragma":           {"no-cache"},
	}, header)
	require.Equal(t, "invalid_token", answer.Text("error"), answer.Body)
	require.NotEmpty(t, answer.Text("error_description"), answer.Body)
	require.Len(t, answer.Members, 2, answer.Body)
}

// refusedPush reports whether a request is refused when it is pushed already.
func refusedPush(t *testing.T, client authClient, query url.Values) bool {
	t.Helper()
	pushed := maps.Clone(query)
	pushed.Del("client_id")
	answer := client.send(t, "/oauth2/par", client.method, pushed)
	if answer.Status != http.StatusCreated {
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_request", answer.Text("error"))
	}
	return answer.Status != http.StatusCreated
}

// redirectedWith judges an authorization error that goes back to the client.
func redirectedWith(t *testing.T, a dcrtest.Answer, code string) url.Values {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	values := a.Location(t).Query()
	require.Equal(t, code, values.Get("error"), a.Location(t))
	require.Empty(t, values.Get("code"))
	return values
}

func clientOf(t testing.TB, store dcr.ClientStorage, id string) *dcr.Client {
	t.Helper()
	client, err := store.GetDynamicClient(context.Background(), id)
	require.NoError(t, err, id)
	return client
}

const plainRegistration = `{"redirect_uris":["https://client.example/cb"]}`

// clientURI is the redirect URI of an ordinary registration.
const clientURI = "https://client.example/cb"

// missing stands for a member that is not there.
type missing struct{}

// outcome is one registration and all that becomes of it.
type outcome struct {
	name  string
	setup func(*dcrtest.Setup)
	// send is laid over an ordinary registration.
	send map[string]any
	// code is that of a refusal with status 400; without it the client is registered.
	code string
	// names occur in the description of a refusal.
	names []string
	// back holds members of the answer.
	back map[string]any
}

// badMetadata is the code of a refusal for metadata.
const badMetadata = "invalid_client_metadata"

// runOutcomes gives each row a server of its own, so that its state is the row's.
func runOutcomes(t *testing.T, common func(*dcrtest.Setup), rows []outcome) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var setup dcrtest.Setup
			for _, change := range []func(*dcrtest.Setup){common, row.setup} {
				if change != nil {
					change(&setup)
				}
			}
			row.require(t, dcrtest.Start(t, setup))
		})
	}
}

func (o outcome) require(t *testing.T, s *dcrtest.Server) {
	t.Helper()
	answer := s.Post(t, registration(o.send))
	if o.code != "" {
		requireRefusal(t, answer, http.StatusBadRequest, o.code, o.names...)
		require.Empty(t, live(t, s), "a refused registration left a client behind")
		return
	}
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	requireMembers(t, answer, o.back)
	require.Equal(t, []string{answer.ID()}, live(t, s))
	read := s.Manage(t, http.MethodGet, answer, nil)
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	requireMembers(t, read, o.back)
}

// live returns the identifiers of the clients that are registered.
func live(t *testing.T, s *dcrtest.Server) []string {
	t.Helper()
	page, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, "", 100)
	require.NoError(t, err)
	var ids []string
	for _, client := range page.Clients {
		ids = append(ids, client.ID)
	}
	return ids
}

// registration is an ordinary registration with changes.
func registration(changes map[string]any) map[string]any {
	body := map[string]any{"redirect_uris": []string{clientURI}}
	maps.Copy(body, changes)
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == missing{} })
	return body
}

// requireMembers compares members as JSON.
func requireMembers(t testing.TB, answer dcrtest.Answer, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if value == (missing{}) {
			require.NotContains(t, answer.Members, name, answer.Body)
			continue
		}
		require.Contains(t, answer.Members, name, answer.Body)
		require.Equal(t, viaJSON(t, value), answer.Members[name], "%s in %s", name, answer.Body)
	}
}

func viaJSON(t testing.TB, value any) (read any) {
	t.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(encoded, &read))
	return read
}

// requireRefusal holds an answer against the whole form of an error: 7591-3.2.2-01,
// 7591-3.2.2-03 and 7591-3.2.2-05.
func requireRefusal(t testing.TB, answer dcrtest.Answer, status int, code string, names ...string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	requireJSONNoStore(t, answer)
	require.Len(t, answer.Members, 2, answer.Body)
	description := answer.Text("error_description")
	require.NotEmpty(t, description)
	require.LessOrEqual(t, len(description), 400)
	require.Empty(t, strings.Map(keepUnsafe, description), "%q has characters that RFC 6749, section 5.2, does not allow", description)
	for _, name := range names {
		require.Contains(t, description, name)
	}
}

func keepUnsafe(c rune) rune {
	if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
		return c
	}
	return -1
}

func requireJSONNoStore(t testing.TB, answer dcrtest.Answer) {
	t.Helper()
	require.Equal(t, []string{"application/json"}, answer.Header.Values("Content-Type"))
	require.Equal(t, []string{"no-store"}, answer.Header.Values("Cache-Control"))
	require.Equal(t, []string{"no-cache"}, answer.Header.Values("Pragma"))
}

func requireRefused(t testing.TB, answer dcrtest.Answer, code, member string) {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
	require.Equal(t, code, answer.Text("error"), answer.Body)
	require.Contains(t, answer.Text("error_description"), member)
}
