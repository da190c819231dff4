package keyset

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v3"
)

// SupportedAlgorithms lists the JWS algorithms that fosite verifies with a public key (RFC 7518, section
// 3.1), the ones to prefer first. The list is the caller's to change.
func SupportedAlgorithms() []string {
	return []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

// Algorithms lists the supported algorithms that the key can verify, in the order of SupportedAlgorithms:
// PS256 to PS512 and RS256 to RS512 for RSA, one of ES256, ES384 and ES512 for the curves P-256, P-384 and
// P-521, and none for all others, Ed25519 among them. A key that names its alg has that one at most; a key
// with a use other than sig has none, and so has an RSA key that Parse would refuse (T61).
func Algorithms(key jose.JSONWebKey) []string {
	if key.Use != "" && key.Use != "sig" {
		return nil
	}
	if costly(key) {
		return nil
	}
	return slices.DeleteFunc(SupportedAlgorithms(), func(alg string) bool {
		return key.Algorithm != "" && key.Algorithm != alg || !Fits(alg, key.Key)
	})
}

// costly reports whether a key is an RSA key that an earlier version accepted, and Parse would refuse (T61).
func costly(key jose.JSONWebKey) bool {
	public, ok := key.Key.(*rsa.PublicKey)
	return ok && (public.N.BitLen() > maxRSABits || !usualExponent(public))
}

// Select returns the keys of the set that may verify a JWS with this alg and kid, in the order of the set.
// Where the JWS names a kid, only keys with that very kid count, not those without one (RFC 7515, section
// 4.1.4). An unsupported alg selects nothing.
func Select(set *jose.JSONWebKeySet, alg, kid string) []jose.JSONWebKey {
	if set == nil {
		return nil
	}
	var selected []jose.JSONWebKey
	for _, key := range set.Keys {
		if (kid == "" || key.KeyID == kid) && slices.Contains(Algorithms(key), alg) {
			selected = append(selected, key)
		}
	}
	return selected
}

// Serves reports whether some key of the set can verify alg, or any supported algorithm where alg is "".
func Serves(set *jose.JSONWebKeySet, alg string) bool {
	if alg != "" {
		return len(Select(set, alg, "")) > 0
	}
	return slices.ContainsFunc(SupportedAlgorithms(), func(alg string) bool { return Serves(set, alg) })
}

// ForSignatures returns a copy of the set in which each key that can verify signatures says so, without RSA keys that
// Parse would refuse. The use of a key is optional (RFC 7517, section 4.2), but fosite passes over keys whose use is not
// "sig".
func ForSignatures(set *jose.JSONWebKeySet) *jose.JSONWebKeySet {
	if set == nil {
		return nil
	}
	marked := &jose.JSONWebKeySet{Keys: slices.DeleteFunc(slices.Clone(set.Keys), costly)}
	for i, key := range marked.Keys {
		if len(Algorithms(key)) > 0 {
			marked.Keys[i].Use = "sig"
		}
	}
	return marked
}

// Fits reports whether an algorithm can be used with a public key. An unknown algorithm fits any key.
func Fits(alg string, key any) bool {
	switch family, kind := family(alg), kind(key); family {
	case "":
		return true
	case "EC":
		return strings.HasPrefix(kind, "P-")
	default:
		return family == kind
	}
}

// kind names the type of a public key, and its curve where it has one.
func kind(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return key.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

// family names the kind of key that an algorithm of RFC 7518 or 8037 needs: "EC" for any NIST curve, "oct"
// for a symmetric key, which no public key can be, and "" where the algorithm is unknown.
func family(alg string) string {
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512":
		return "RSA"
	case "ES256":
		return "P-256"
	case "ES384":
		return "P-384"
	case "ES512":
		return "P-521"
	case "EdDSA", "Ed25519":
		return "Ed25519"
	case "ES256K":
		return "secp256k1"
	case "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW":
		return "EC"
	case "HS256", "HS384", "HS512", "A128KW", "A192KW", "A256KW", "A128GCMKW", "A192GCMKW", "A256GCMKW",
		"PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW", "dir", "none":
		return "oct"
	}
	return ""
}
