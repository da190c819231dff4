package consent

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Key returns what an application remembers a consent under, so that the consent holds for the
// registration that the user agreed to and for no other (CONS-02). Whoever has a client's
// registration access token can change the registration; with one of the following changes the
// key is another one, and the user is asked again:
//
//   - client identifier and issuer,
//   - registered redirect URIs, registered scopes (their order does not count),
//   - client_name, in all languages,
//   - token_endpoint_auth_method and jwks_uri, and jwks for a client that comes from a document
//     (the identifier is an https URL),
//   - Provider.RevokeTokens and every other removal of the client's grants
//     (dcr.Client.GrantsRevoked).
//
// Nothing else changes it: not the rotation of a secret or of the registration access token, the
// use of the client, contacts, pages and logo, or the version of the record. The client of an
// authorization request, which may show a single redirect URI, has the key of the record.
//
// The user and what was allowed are the application's part. A key has no space, so
//
//	user + " " + consent.Key(client)
//
// stands for one user and one registration, whatever characters the user's name has. Store the
// allowed scopes and audiences under it, and ask again when a request wants more.
//
// For a registered client the key is 43 characters of A-Z, a-z, 0-9, "-" and "_". A static
// client, that is any fosite.Client that dcr.IsDynamic does not know, has no registration that
// could change without the operator: its key is "static:" and the identifier, escaped as in a
// query (url.QueryEscape). The colon tells the two apart. A type of your own around a
// registered client embeds *dcr.Client.
//
// A jwks that can't be encoded as JSON, or no client at all, gives a new random key with each
// call: the user is asked each time.
func Key(client fosite.Client) string {
	registered, ok := dcr.RegisteredClient(client)
	if isNone(client) {
		return rand.Text()
	}
	if !ok {
		return "static:" + url.QueryEscape(client.GetID())
	}
	sum := sha256.Sum256(keyInput(registered))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isNone reports whether there is no client, or a nil one.
func isNone(client fosite.Client) bool {
	record, ok := client.(*dcr.Client)
	return client == nil || ok && record == nil
}

// keyVersion stands before all else that is hashed. It changes with the list of parts, and then
// every user is asked once more.
const keyVersion = "fosite-dcr consent key 1"

// keyInput returns what the key is the digest of. Each part is a list that begins with its
// length, and so does each string of it: no two registrations have the same input.
func keyInput(c *dcr.Client) []byte {
	m := &c.Metadata
	names := []string{m.ClientName}
	for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
		if strings.HasPrefix(name, "client_name#") {
			names = append(names, name, m.Localized[name])
		}
	}
	var keys []string
	if m.JWKS != nil && documentURL(c.ID) != nil {
		encoded, err := json.Marshal(m.JWKS)
		if err != nil {
			encoded = []byte(rand.Text())
		}
		keys = []string{string(encoded)}
	}
	var input []byte
	for _, part := range [...][]string{
		{keyVersion, c.ID, c.Issuer, m.TokenEndpointAuthMethod, m.JWKSURI, strconv.FormatInt(c.GrantsRevoked, 10)},
		asSet(m.RedirectURIs), names, asSet(strings.Fields(m.Scope)), keys,
	} {
		input = binary.AppendUvarint(input, uint64(len(part)))
		for _, s := range part {
			input = append(binary.AppendUvarint(input, uint64(len(s))), s...)
		}
	}
	return input
}

// asSet returns the values in one order, without repetitions.
func asSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
