package keyset

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/json"
)

const (
	minRSABits = 2048
	maxRSABits = 4096
	maxText    = 256
)

const (
	errKey          = phrase("holds a malformed key")
	errKeyType      = phrase("holds a key without kty")
	errPrivate      = phrase("holds a private key")
	errSymmetric    = phrase("holds a symmetric key")
	errMisfit       = phrase("holds a key with members of another kty")
	errAlgorithm    = phrase("holds a key whose alg does not fit its kty and crv")
	errKeyID        = phrase("holds a key whose kid is too long or has a character that is not allowed in text")
	errUse          = phrase("holds a key whose use is too long or has a character that is not allowed in text")
	errAlgorithmID  = phrase("holds a key whose alg is too long or has a character that is not allowed in text")
	errCertificate  = phrase("holds a key whose x5c, x5t or x5t#S256 is malformed or belongs to another key")
	errCertificates = phrase("holds too many certificates")
	errRSAMembers   = phrase("holds an RSA key without a proper n and e")
	errRSASize      = phrase("holds an RSA key whose n has under 2048 or over 4096 bits")
	errRSAExponent  = phrase("holds an RSA key whose e is neither 65537 nor 17 nor 3")
	errCurveMembers = phrase("holds an EC key without a proper crv, x and y")
	errCurvePoint   = phrase("holds an EC key that is not on its curve")
	errEdMembers    = phrase("holds an OKP key without a proper crv and x")
	errEdPoint      = phrase("holds an OKP key that is not on its curve")
)

// errUnknown says that a key is of a curve that is not supported; it never leaves the package.
const errUnknown = phrase("holds a key of an unknown crv")

// members are those of one key, by their exact names and unread.
type members map[string]json.RawMessage

// parseKey reads one key of a set. It is not known where its kty or crv is not supported.
func parseKey(raw json.RawMessage, stored bool) (key jose.JSONWebKey, known bool, err error) {
	var m members
	if json.Unmarshal(raw, &m) != nil || m == nil {
		return key, false, errKey
	}
	kty, err := m.asymmetricType()
	if err != nil {
		return key, false, err
	}
	key.Key, err = m.publicKey(kty)
	if err == errUnknown {
		return key, false, nil
	}
	if err == nil {
		err = m.describe(&key)
	}
	if err == nil && !stored {
		err = modern(key)
	}
	return key, err == nil, err
}

// asymmetricType returns the kty of a key that is neither private nor symmetric. Private members (RFC
// 7518, section 6) count whatever their value and the type of the key: a secret that was sent by mistake
// is one that its owner should hear about (T30).
func (m members) asymmetricType() (string, error) {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if _, ok := m[name]; ok {
			return "", errPrivate
		}
	}
	kty, ok := m.text("kty")
	_, secret := m["k"]
	switch {
	case secret || kty == "oct":
		return "", errSymmetric
	case !ok || kty == "":
		return "", errKeyType
	}
	return kty, nil
}

// publicKey builds the key from the members of its type, and refuses those of another one.
func (m members) publicKey(kty string) (any, error) {
	var foreign []string
	var build func() (any, error)
	switch kty {
	case "RSA":
		build, foreign = m.rsaKey, []string{"crv", "x", "y"}
	case "EC":
		build, foreign = m.curveKey, []string{"n", "e"}
	case "OKP":
		build, foreign = m.edKey, []string{"n", "e", "y"}
	default:
		return nil, errUnknown
	}
	key, err := build()
	if err != nil {
		return nil, err
	}
	for _, name := range foreign {
		if _, ok := m[name]; ok {
			return nil, errMisfit
		}
	}
	return key, nil
}

// rsaKey reads an RSA key (RFC 7518, section 6.3.1). An exponent of 1 verifies any signature; one that
// does not fit 31 bits is refused by crypto/rsa and cut off by go-jose. modern judges the rest.
func (m members) rsaKey() (any, error) {
	modulus, ok := m.octets("n")
	exponent, also := m.octets("e")
	if !ok || !also {
		return nil, errRSAMembers
	}
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	switch {
	case n.BitLen() < minRSABits:
		return nil, errRSASize
	case n.Bit(0) == 0:
		return nil, errRSAMembers
	case e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0 || e.Cmp(big.NewInt(math.MaxInt32)) > 0:
		return nil, errRSAExponent
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// curveKey reads a key of a NIST curve (RFC 7518, section 6.2.1): coordinates have the full length.
func (m members) curveKey() (any, error) {
	crv, ok := m.text("crv")
	if !ok || crv == "" {
		return nil, errCurveMembers
	}
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, errUnknown
	}
	size := (curve.Params().BitSize + 7) / 8
	x, ok := m.octets("x")
	y, also := m.octets("y")
	if !ok || !also || len(x) != size || len(y) != size {
		return nil, errCurveMembers
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, x, y}, nil))
	if err != nil {
		return nil, errCurvePoint
	}
	return key, nil
}

// edKey reads an Ed25519 key (RFC 8037, section 2).
func (m members) edKey() (any, error) {
	crv, ok := m.text("crv")
	if !ok || crv == "" {
		return nil, errEdMembers
	}
	if crv != "Ed25519" {
		return nil, errUnknown
	}
	x, ok := m.octets("x")
	if !ok || len(x) != ed25519.PublicKeySize {
		return nil, errEdMembers
	}
	if !edwardsPoint(x) {
		return nil, errEdPoint
	}
	return ed25519.PublicKey(x), nil
}

// describe adds kid, use, alg and the certificates.
func (m members) describe(key *jose.JSONWebKey) error {
	for name, field := range map[string]*string{"kid": &key.KeyID, "use": &key.Use, "alg": &key.Algorithm} {
		text, ok := m.text(name)
		if !ok {
			return errKey
		}
		*field = text
	}
	if !Fits(key.Algorithm, key.Key) {
		return errAlgorithm
	}
	return m.certify(key)
}

// modern refuses what the storage of an earlier version may hold and nobody registers any more: texts that a
// database or a log can not take (T60), and RSA keys that cost a verifier much (T61).
func modern(key jose.JSONWebKey) error {
	switch {
	case !plain(key.KeyID):
		return errKeyID
	case !plain(key.Use):
		return errUse
	case !plain(key.Algorithm):
		return errAlgorithmID
	}
	public, ok := key.Key.(*rsa.PublicKey)
	switch {
	case ok && public.N.BitLen() > maxRSABits:
		return errRSASize
	case ok && !usualExponent(public):
		return errRSAExponent
	}
	return nil
}

func usualExponent(key *rsa.PublicKey) bool { return key.E == 65537 || key.E == 17 || key.E == 3 }

// plain reports whether a text of a key is short and has neither controls, nor what changes the direction of
// text or ends a line, nor what stands for invalid UTF-8.
func plain(text string) bool {
	return len(text) <= maxText && !strings.ContainsFunc(text, func(c rune) bool {
		return unicode.Is(unicode.Cc, c) || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 ||
			c == 0x2028 || c == 0x2029 || c == utf8.RuneError
	})
}

// certify adds the certificates, which must be for the key (RFC 7517, section 4.7), and their thumbprints.
// go-jose checks both. x5u stays behind: nothing here may be led to fetch it (T10).
func (m members) certify(key *jose.JSONWebKey) error {
	own := map[string]*json.RawMessage{} // by pointer, or go-jose's encoder takes the values for bytes
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y", "x5c", "x5t", "x5t#S256"} {
		if value, ok := m[name]; ok {
			own[name] = &value
		}
	}
	raw, err := json.Marshal(own)
	if err != nil {
		return errCertificate
	}
	var certified jose.JSONWebKey
	if err := certified.UnmarshalJSON(raw); err != nil {
		return errCertificate
	}
	key.Certificates = certified.Certificates
	key.CertificateThumbprintSHA1 = certified.CertificateThumbprintSHA1
	key.CertificateThumbprintSHA256 = certified.CertificateThumbprintSHA256
	return nil
}

// text returns a member that is a string, or "" where it is missing or null.
func (m members) text(name string) (string, bool) {
	raw := m[name]
	if len(raw) == 0 {
		return "", true
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

// octets returns a member in base64url without padding (RFC 7515, section 2). It takes one spelling a
// value: encoding/base64 alone would pass over line breaks.
func (m members) octets(name string) ([]byte, bool) {
	text, ok := m.text(name)
	if !ok || text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	octets, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return octets, err == nil
}
