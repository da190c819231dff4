package consent_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// described is what the client's record says of itself: names are not counted.
func described(t testing.TB, client *dcr.Client, locales ...string) consent.Description {
	t.Helper()
	d, err := consent.Describe(t.Context(), nil, client, locales...)
	require.NoError(t, err)
	return d
}

// members is short for the metadata in a row.
type members = map[string]any

const initialMetadata = `{"redirect_uris":["https://app.example/cb"],"scope":"profile email"}`

// mint makes an initial access token.
func mint(t testing.TB, s *dcrtest.Server, request dcr.InitialAccessTokenRequest) (string, *dcr.InitialAccessToken) {
	t.Helper()
	token, record, err := s.Provider.MintInitialAccessToken(context.Background(), request)
	require.NoError(t, err)
	return token, record
}

func initialServer(t testing.TB, edit ...func(*dcrtest.Setup)) *dcrtest.Server {
	setup := dcrtest.Setup{Config: dcr.Config{
		Access:        dcr.InitialAccessTokens(),
		NamedPolicies: map[string]dcr.Policy{"partner": policy.LimitScopes("profile")},
	}}
	for _, e := range edit {
		e(&setup)
	}
	return dcrtest.Start(t, setup)
}

const managedRedirect = "https://client.example/cb"

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

func clientOf(t testing.TB, store dcr.ClientStorage, id string) *dcr.Client {
	t.Helper()
	client, err := store.GetDynamicClient(context.Background(), id)
	require.NoError(t, err, id)
	return client
}

// uncountedStore hides CountClients by a method of another form.
type uncountedStore struct{ *dcr.MemoryStore }

func (uncountedStore) CountClients() {}

// directory issues software statements, as that of a banking scheme does.
type directory struct {
	key *ecdsa.PrivateKey
	kid string
}

const directoryIssuer = "https://directory.example"

func newDirectory(t testing.TB, kid string) directory {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return directory{key, kid}
}

func (d directory) set() *jose.JSONWebKeySet {
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: d.key.Public(), KeyID: d.kid, Algorithm: "ES256", Use: "sig"}}}
}

func (d directory) trusted() dcr.Config {
	return dcr.Config{Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{Issuer: directoryIssuer, Keys: d.set()}}}}
}

// claims are an ordinary statement's, with changes; nil removes a claim.
func claims(changes ...any) map[string]any {
	all := map[string]any{
		"iss": directoryIssuer, "iat": time.Now().Unix(), "software_id": "bank-app", "client_name": "Bank App",
		"redirect_uris": []string{"https://bank.example/cb"}, "grant_types": []string{"authorization_code"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		all[changes[i].(string)] = changes[i+1]
		if changes[i+1] == nil {
			delete(all, changes[i].(string))
		}
	}
	return all
}

func (d directory) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	return signClaims(t, jose.ES256, jose.JSONWebKey{Key: d.key, KeyID: d.kid}, nil, claims)
}

func signClaims(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	return compact
}
