package dcrtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Directory issues software statements, as that of a banking scheme does.
type Directory struct {
	// Key signs the statements with ES256.
	Key *ecdsa.PrivateKey
	// KID is the kid of Key.
	KID string
}

// Set returns the public key as a JWK set.
func (d Directory) Set() *jose.JSONWebKeySet {
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: d.Key.Public(), KeyID: d.KID, Algorithm: "ES256", Use: "sig"}}}
}

// Trusted returns a configuration that trusts the directory.
func (d Directory) Trusted() dcr.Config {
	return dcr.Config{Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{Issuer: DirectoryIssuer, Keys: d.Set()}}}}
}

// Sign returns a software statement with these claims.
func (d Directory) Sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	return SignClaims(t, jose.ES256, jose.JSONWebKey{Key: d.Key, KeyID: d.KID}, nil, claims)
}

// DirectoryIssuer is the issuer of every Directory.
const DirectoryIssuer = "https://directory.example"

// NewDirectory returns a directory with a new key.
func NewDirectory(t testing.TB, kid string) Directory {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return Directory{key, kid}
}

// StatementClaims returns the claims of an ordinary software statement. Pairs of name and value replace what is there;
// nil removes a claim.
func StatementClaims(changes ...any) map[string]any {
	all := map[string]any{
		"iss": DirectoryIssuer, "iat": time.Now().Unix(), "software_id": "bank-app", "client_name": "Bank App",
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

// SignClaims returns signed claims in compact form, with more in the header.
func SignClaims(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims any) string {
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
