package dcr

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"
)

// A generated secret is this prefix with 256 random bits, all of it letters,
// digits, hyphens and underscores: fosite form-decodes Basic credentials, and
// these survive it. It is shorter than the 72 bytes of bcrypt (T14).
const (
	secretPrefix = "dcrs_"
	secretBytes  = 32
)

var secretLength = len(secretPrefix) + base64.RawURLEncoding.EncodedLen(secretBytes)

// newClientID returns a client identifier: 130 random bits as capital letters and
// digits, which no database collation confuses.
func newClientID() string { return rand.Text() }

func newSecret() string {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// usesSecret reports whether a client authenticates with a secret by this method.
func usesSecret(method string) bool {
	return method == methodClientSecretBasic || method == methodClientSecretPost
}

// secretExpiry returns when a secret made now ends; zero for none, and for never.
func (r *registry) secretExpiry(secret string, now time.Time) time.Time {
	if secret == "" || r.cfg.SecretLifetime == 0 {
		return time.Time{}
	}
	return now.Add(r.cfg.SecretLifetime)
}

// issueSecret makes a secret and its hash.
func (r *registry) issueSecret(ctx context.Context) (secret string, hash []byte, err error) {
	secret = newSecret()
	hash, err = r.hasher.Hash(ctx, []byte(secret))
	if err != nil {
		return "", nil, failure(err)
	}
	if len(hash) == 0 {
		return "", nil, failure(errors.New("the hasher of client secrets returned an empty hash"))
	}
	return secret, hash, nil
}

// SecretHasher hashes the secrets that this package generates with SHA-256 and
// leaves all others to Fallback. A slow hash protects secrets that people choose;
// one of 256 random bits needs none, and a quarter of a second of CPU for each
// registration and token request is a lever for an attacker (T13).
//
// A hash tells by its prefix who made it, so both kinds may lie in one storage. An
// empty hash never matches.
type SecretHasher struct {
	// Fallback hashes and compares everything else; nil means bcrypt with fosite's
	// default cost.
	Fallback fosite.Hasher
}

var (
	_ fosite.Hasher = (*SecretHasher)(nil)

	hashPrefix = []byte("$dcr-sha256$")

	errSecretMismatch = errors.New("dcr: the client secret does not match")
)

// Hash returns the hash of a secret. It fails only where Fallback does.
func (h *SecretHasher) Hash(ctx context.Context, data []byte) ([]byte, error) {
	if !isGeneratedSecret(data) {
		return h.fallback().Hash(ctx, data)
	}
	return fastHash(data), nil
}

// Compare returns nil if hash is that of data. It takes the same time wherever
// they differ.
func (h *SecretHasher) Compare(ctx context.Context, hash, data []byte) error {
	if len(hash) == 0 {
		return errSecretMismatch
	}
	if !bytes.HasPrefix(hash, hashPrefix) {
		return h.fallback().Compare(ctx, hash, data)
	}
	if subtle.ConstantTimeCompare(hash, fastHash(data)) != 1 {
		return errSecretMismatch
	}
	return nil
}

func (h *SecretHasher) fallback() fosite.Hasher {
	if h.Fallback != nil {
		return h.Fallback
	}
	return &fosite.BCrypt{Config: &fosite.Config{}}
}

func fastHash(data []byte) []byte {
	sum := sha256.Sum256(data)
	hash := make([]byte, len(hashPrefix), len(hashPrefix)+base64.RawURLEncoding.EncodedLen(len(sum)))
	copy(hash, hashPrefix)
	return base64.RawURLEncoding.AppendEncode(hash, sum[:])
}

func isGeneratedSecret(data []byte) bool {
	if len(data) != secretLength || !strings.HasPrefix(string(data), secretPrefix) {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(string(data[len(secretPrefix):]))
	return err == nil
}

// noEmptyHash stands before any hasher: an empty hash is that of a client without
// a secret, and no secret authenticates it, whatever the hasher thinks.
type noEmptyHash struct{ fosite.Hasher }

func (h noEmptyHash) Compare(ctx context.Context, hash, data []byte) error {
	if len(hash) == 0 {
		return errSecretMismatch
	}
	return h.Hasher.Compare(ctx, hash, data)
}
