// Package keyset knows which JSON Web Keys an authorization server may trust to verify signatures, and
// which algorithms fit them. It reads and answers plain values, and fetches nothing.
//
// Parse reads a set from the network and refuses it as a whole where one key in it is dangerous: private,
// symmetric, weak or malformed. Algorithms, Select and Serves tell what the keys of such a set can verify;
// ForSignatures prepares it for fosite, which passes over keys that do not state their use.
package keyset

import (
	"slices"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/json"
)

// DefaultKeys is how many keys a set may hold where Limits does not say.
const DefaultKeys = 32

// Limits bounds what Parse takes. The zero value is the documented default.
type Limits struct {
	// Keys is how many keys a set may hold, those left out included. Default: 32.
	Keys int
	// Certificates is how many certificates all keys may have together. 0 is no bound.
	Certificates int
	// Stored is for a set that an earlier version accepted. RSA keys may have more bits, and any odd exponent, and
	// kid, use and alg any text. Algorithms has none for such RSA keys, so that they verify nothing.
	Stored bool
}

// phrase is an error that continues the name of a member: "jwks holds a private key". It is ASCII, has
// neither quotes nor backslashes, and never repeats what was sent.
type phrase string

func (p phrase) Error() string { return string(p) }

const (
	errSet        = phrase("is not a JWK Set: an object with an array keys of objects")
	errEmpty      = phrase("has no keys")
	errTooMany    = phrase("has too many keys")
	errNoneUsable = phrase("has no key of a supported kty and crv")
	errDuplicate  = phrase("has two keys with the same kid")
)

// Parse reads a JWK Set (RFC 7517, section 5): an object with an array "keys" of objects. Its errors
// continue the name of the member that held the set, such as "holds a private key".
//
// All keys must be public and asymmetric: a private member refuses the set even where its value or the
// type of the key is unknown. Points must lie on their curve, RSA keys have 2048 to 4096 bits and the exponent
// 3, 17 or 65537, and no two keys one kid. The texts kid, use and alg have at most 256 bytes and no control
// characters. A key of unknown kty or crv is left out, as the section asks for, unless none remains. Names are
// compared exactly, and a name that occurs twice in the set or in one key refuses the set.
//
// The result marshals to JSON and parses again to an equal set. It has the keys with their kid, use, alg
// and certificates; x5u and members without a meaning here are not kept.
func Parse(raw []byte, l Limits) (*jose.JSONWebKeySet, error) {
	keys, err := split(raw, l)
	if err != nil {
		return nil, err
	}
	set, certificates := &jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys))}, 0
	for _, raw := range keys {
		key, known, err := parseKey(raw, l.Stored)
		if err != nil {
			return nil, err
		}
		if known {
			set.Keys = append(set.Keys, key)
			certificates += len(key.Certificates)
		}
		if l.Certificates > 0 && certificates > l.Certificates {
			return nil, errCertificates
		}
	}
	if len(set.Keys) == 0 {
		return nil, errNoneUsable
	}
	if sharedKeyID(set.Keys) {
		return nil, errDuplicate
	}
	return set, nil
}

// split returns the keys of a set, unread. The decoder is go-jose's own: unlike that of the standard
// library it compares names exactly and refuses those that occur twice (T18).
func split(raw []byte, l Limits) ([]json.RawMessage, error) {
	var set map[string]json.RawMessage
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errSet
	}
	var keys []json.RawMessage
	if err := json.Unmarshal(set["keys"], &keys); err != nil || keys == nil {
		return nil, errSet
	}
	limit := l.Keys
	if limit <= 0 {
		limit = DefaultKeys
	}
	switch {
	case len(keys) == 0:
		return nil, errEmpty
	case len(keys) > limit:
		return nil, errTooMany
	}
	return keys, nil
}

// sharedKeyID reports whether two keys have one kid. Keys without a kid do not count.
func sharedKeyID(keys []jose.JSONWebKey) bool {
	seen := make(map[string]bool, len(keys))
	return slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool {
		again := key.KeyID != "" && seen[key.KeyID]
		seen[key.KeyID] = true
		return again
	})
}
