package dcr

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

// Secrets configures client secrets.
type Secrets struct {
	// Lifetime is how long a client secret authenticates; 0 means for ever. The answer says it as
	// client_secret_expires_at (RFC 7591, section 3.2.1).
	Lifetime time.Duration
	// Grace is how long an earlier secret works after a policy had it replaced (Proposal.RotateSecret); 0
	// means not at all.
	Grace time.Duration
	// Hasher hashes client secrets. Nil means a [SecretHasher] in front of the hasher of fosite's
	// configuration; an application with a ClientAuthenticationStrategy of its own gets the
	// configuration's.
	Hasher fosite.Hasher
}

func (s Secrets) problems() []error {
	return negative("Config.Secrets", s.Lifetime, s.Grace)
}

// RegistrationToken configures registration access tokens (RFC 7592, section 1.3).
type RegistrationToken struct {
	// Scope is the scope of the token's record; default "dcr:manage". No client can have it granted.
	Scope string
	// Lifetime is how long a token works; 0 means for ever. A client whose token has expired can no longer
	// be managed; each rotation starts the time anew.
	Lifetime time.Duration
	// KeepOnUpdate leaves the token as it is when the client is updated. By default an update answers a new
	// one and the old one is dead.
	KeepOnUpdate bool
	RotateOnRead bool // RotateOnRead answers a new token to a read, too
	// Grace is how long the previous token works after a rotation, or until the new one is first used if
	// that is sooner; 0 means not at all. It is for clients that lose the response.
	Grace time.Duration
}

const defaultRegistrationTokenScope = "dcr:manage"

func (t RegistrationToken) withDefaults() RegistrationToken {
	setDefault(&t.Scope, defaultRegistrationTokenScope)
	return t
}

func (t RegistrationToken) problems() []error {
	return negative("Config.Management.Token", t.Lifetime, t.Grace)
}

// negative finds durations below zero.
func negative(group string, durations ...time.Duration) []error {
	for _, d := range durations {
		if d < 0 {
			return []error{errors.New(group + " has a duration below zero")}
		}
	}
	return nil
}

// A generated secret is this prefix with 256 random bits, all of it letters, digits, hyphens and
// underscores: fosite form-decodes Basic credentials, and these survive it. It is shorter than the 72 bytes
// of bcrypt (T14).
const (
	secretPrefix = "dcrs_"
	secretBytes  = 32
)

var secretLength = len(secretPrefix) + base64.RawURLEncoding.EncodedLen(secretBytes)

// newClientID returns a client identifier: 130 random bits as capital letters and digits, which no database
// collation confuses.
func newClientID() string { return rand.Text() }

// loggable returns an identifier that somebody sent, where it has the form of ours. What else stands in its place may be
// a secret that went to the wrong place (T26).
func loggable(id string) string {
	if len(id) != 26 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "?"
	}
	return id
}

func newSecret() string {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// secrets makes and replaces client secrets.
type secrets struct {
	config Secrets
	hasher fosite.Hasher
	now    func() time.Time
}

// issue makes a secret for a client that authenticates by this method, its hash, and when it expires;
// nothing where the method needs no secret.
func (s *secrets) issue(ctx context.Context, method string) (secret string, hash []byte, expires time.Time, err error) {
	if !capability.UsesSecret(method) {
		return "", nil, time.Time{}, nil
	}
	secret = newSecret()
	hash, err = s.hasher.Hash(ctx, []byte(secret))
	if err == nil && len(hash) == 0 {
		err = errors.New("the hasher of client secrets returned an empty hash")
	}
	if err != nil {
		return "", nil, time.Time{}, failure(err)
	}
	if s.config.Lifetime > 0 {
		expires = s.now().Round(0).Truncate(time.Microsecond).Add(s.config.Lifetime)
	}
	return secret, hash, expires, nil
}

// renew gives a secret to a client that needs one and has none that works any more, and takes it from one
// that needs none. Any other secret stays, unless it is to be rotated; the old one works on for the grace
// (fosite's rotated secrets).
func (s *secrets) renew(ctx context.Context, client *Client, rotate bool) (secret string, err error) {
	if !capability.UsesSecret(client.Metadata.TokenEndpointAuthMethod) {
		client.SecretHash, client.RotatedSecrets, client.SecretExpiresAt = nil, nil, time.Time{}
		return "", nil
	}
	works := len(client.SecretHash) > 0 && !client.past(client.SecretExpiresAt)
	if works && !rotate {
		return "", nil
	}
	client.RotatedSecrets = nil
	if s.config.Grace > 0 && works {
		until := s.now().Add(s.config.Grace)
		if end := client.SecretExpiresAt; !end.IsZero() && end.Before(until) {
			until = end
		}
		client.RotatedSecrets = []RotatedSecret{{Hash: client.SecretHash, ExpiresAt: until}}
	}
	secret, client.SecretHash, client.SecretExpiresAt, err = s.issue(ctx, client.Metadata.TokenEndpointAuthMethod)
	return secret, err
}

// isCurrent reports whether secret is the one that the client authenticates with.
func (s *secrets) isCurrent(ctx context.Context, client *Client, secret string) bool {
	hash := client.GetHashedSecret()
	return len(hash) > 0 && s.hasher.Compare(ctx, hash, []byte(secret)) == nil
}

// SecretHasher hashes the secrets that this package generates with SHA-256 and leaves all others to
// Fallback. A slow hash protects secrets that people choose; one of 256 random bits needs none, and a
// quarter of a second of CPU for each registration and token request is a lever for an attacker (T13).
//
// A hash tells by its prefix who made it, so both kinds may lie in one storage. An empty hash never
// matches.
type SecretHasher struct {
	// Fallback hashes and compares everything else; nil means bcrypt with fosite's default cost.
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

// Compare returns nil if hash is that of data. It takes the same time wherever they differ.
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

// noEmptyHash stands before any hasher: an empty hash is that of a client without a secret, and no secret
// authenticates it, whatever the hasher thinks.
type noEmptyHash struct{ fosite.Hasher }

func (h noEmptyHash) Compare(ctx context.Context, hash, data []byte) error {
	if len(hash) == 0 {
		return errSecretMismatch
	}
	return h.Hasher.Compare(ctx, hash, data)
}

// A registration access token is an access token of the composed strategy, and its entry a session in the
// storage of access tokens. The entry lies under a key that no token has as its signature: the dot keeps it
// out of the alphabet of signatures, so that introspection never finds a registration access token and an
// access token is never found here (T01, T02).
const entryPrefix = "dcr.registration."

// entryLifetime is what the session of an entry says; the storages of applications were not made for tokens
// that never expire. The lifetime that counts is the record's.
const entryLifetime = 10 * 365 * 24 * time.Hour

func entryKey(signature string) string { return entryPrefix + signature }

// IsRegistrationTokenEntry reports whether a session among the access tokens is the entry of a registration
// access token, by the signature under which it is stored. Such an entry is no grant of its client: what
// revokes a client's grants leaves it, and so does a purge of sessions by age.
func IsRegistrationTokenEntry(signature string) bool {
	return strings.HasPrefix(signature, entryPrefix)
}

// RegistrationTokenEntries are the signatures of the entries of its tokens.
func (c *Client) RegistrationTokenEntries() (signatures []string) {
	for _, record := range c.tokenRecords() {
		signatures = append(signatures, entryKey(record.Signature))
	}
	return signatures
}

// registrationTokens makes and checks registration access tokens. Of each token the record of its client
// has the signature, and the storage of access tokens an entry; without either it is dead.
type registrationTokens struct {
	config     RegistrationToken
	strategy   oauth2.AccessTokenStrategy
	entries    oauth2.AccessTokenStorage
	newSession func() fosite.Session
	records    *records
	journal    *journal
	now        func() time.Time
}

// issuedToken is a token that was made: itself, what the record of its client has of it, and its entry.
type issuedToken struct {
	token  string
	record RegistrationTokenRecord
	entry  *fosite.Request
}

// issue makes a token. Nothing of it is stored yet.
func (t *registrationTokens) issue(ctx context.Context) (issuedToken, error) {
	made := issuedToken{entry: t.request()}
	token, signature, err := t.strategy.GenerateAccessToken(ctx, made.entry)
	if err == nil && (token == "" || signature == "") {
		err = errors.New("the access token strategy returned an empty token or signature")
	}
	if err != nil {
		return issuedToken{}, failure(err)
	}
	made.token, made.record.Signature = token, signature
	if t.config.Lifetime > 0 {
		made.record.ExpiresAt = t.now().Add(t.config.Lifetime)
	}
	return made, nil
}

// store stores the entry of the token that was made for a client that exists.
func (t *registrationTokens) store(ctx context.Context, client *Client) error {
	client.view.entry.Client = client
	return t.entries.CreateAccessTokenSession(ctx, entryKey(client.RegistrationToken.Signature), client.view.entry)
}

// remove removes an entry. One that is missing is no error.
func (t *registrationTokens) remove(ctx context.Context, record RegistrationTokenRecord) error {
	if record.Signature == "" {
		return nil
	}
	err := t.entries.DeleteAccessTokenSession(ctx, entryKey(record.Signature))
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}

// clear removes entries of tokens that are dead already. What can't be removed is an event.
func (t *registrationTokens) clear(ctx context.Context, clientID string, records ...RegistrationTokenRecord) {
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	for _, record := range records {
		if err := t.remove(cleanup, record); err != nil {
			t.journal.cleanupFailed(ctx, clientID, err)
		}
	}
}

// request is the request that the entry of a token holds. What matters lies in its ordinary parts: the
// client, for which somebody without a name stands, and the scope.
func (t *registrationTokens) request() *fosite.Request {
	made := &struct { // in one piece
		fosite.Request
		nobody fosite.DefaultClient
		scopes [2]string
	}{scopes: [2]string{t.config.Scope, t.config.Scope}}
	made.Request = fosite.Request{
		RequestedAt: t.now().UTC().Truncate(time.Second), Client: &made.nobody, Session: t.newSession(), Form: url.Values{},
		RequestedScope: made.scopes[:1:1], GrantedScope: made.scopes[1:], RequestedAudience: fosite.Arguments{}, GrantedAudience: fosite.Arguments{},
	}
	made.Session.SetExpiresAt(fosite.AccessToken, made.RequestedAt.Add(entryLifetime))
	return &made.Request
}

// authenticate returns the client that token manages, if it is the client id of the issuer and has not
// expired, and the record of the token. Every refusal is the same ErrInvalidToken, with a cause for the log
// alone. A storage that fails is a fault.
func (t *registrationTokens) authenticate(ctx context.Context, issuer, id, token string, expiry Expiry) (*Client, RegistrationTokenRecord, error) {
	// The signature comes first, so that guessing costs no look-up, and is judged without the entry: fosite takes one
	// without expiry for one of an hour.
	var record RegistrationTokenRecord
	asked := loggable(id)
	unfit := func(why string) error {
		return ErrInvalidToken.WithDebugf("At the URL of the client %q: %s.", asked, why)
	}
	question := t.request()
	if err := t.strategy.ValidateAccessToken(ctx, question, token); err != nil {
		return nil, record, unfit("this server did not make the token, or its GlobalSecret has changed")
	}
	client, err := t.records.get(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return nil, record, unfit("there is no such client")
	} else if err != nil {
		return nil, record, failure(err)
	}
	client.view, asked = view{now: t.now}, client.ID
	record = client.tokenRecord(t.strategy.AccessTokenSignature(ctx, token))
	switch {
	case record.Signature == "":
		return nil, record, unfit("the token is another client's, or a newer one took its place")
	case client.past(record.ExpiresAt):
		return nil, record, unfit("the token has expired")
	case expiry.Expired(client):
		return nil, record, unfit("the client has expired")
	}
	if client.Issuer != issuer {
		return nil, record, ErrInvalidToken.WithWrap(&otherIssuer{client.Issuer, issuer}) // the same answer, and a cause for the log
	}
	owner, err := t.ownerOf(ctx, record.Signature, question.Session)
	if err == nil && owner != client.ID { // a token whose entry is gone is dead, whoever removed it
		return nil, record, ErrInvalidToken.WithDebugf("The entry of the token of the client %q is gone from the storage of access tokens.", client.ID)
	}
	return client, record, err
}

// ownerOf returns the client of an entry, which is read into session; empty where there is none.
func (t *registrationTokens) ownerOf(ctx context.Context, signature string, session fosite.Session) (string, error) {
	entry, err := t.entries.GetAccessTokenSession(ctx, entryKey(signature), session)
	switch {
	case errors.Is(err, fosite.ErrNotFound), errors.Is(err, fosite.ErrInactiveToken):
		return "", nil
	case err != nil:
		return "", failure(err)
	case entry == nil || entry.GetClient() == nil:
		return "", nil
	}
	return entry.GetClient().GetID(), nil
}

// rotate puts a new token record into a client. The token that was presented stays valid for the grace,
// where there is one.
func (t *registrationTokens) rotate(client *Client, presented RegistrationTokenRecord, next issuedToken) {
	client.PreviousRegistrationToken = RegistrationTokenRecord{}
	if t.config.Grace > 0 {
		until := t.now().Add(t.config.Grace)
		if presented.ExpiresAt.IsZero() || until.Before(presented.ExpiresAt) {
			presented.ExpiresAt = until
		}
		client.PreviousRegistrationToken = presented
	}
	client.RegistrationToken, client.view.entry = next.record, next.entry
}

// revoke removes the entry of a token that is the client's own (RFC 7009). It reports whether the token is one of
// these; that of another client is fosite.ErrUnauthorizedClient.
func (t *registrationTokens) revoke(ctx context.Context, client fosite.Client, token string) (known bool, err error) {
	if t.strategy.ValidateAccessToken(ctx, t.request(), token) != nil {
		return false, nil
	}
	signature := t.strategy.AccessTokenSignature(ctx, token)
	if registered, ok := RegisteredClient(client); ok {
		if record := registered.tokenRecord(signature); record.Signature != "" {
			return true, t.remove(ctx, record)
		}
	}
	owner, err := t.ownerOf(ctx, signature, t.newSession())
	if err == nil && owner != "" && owner != client.GetID() {
		err = fosite.ErrUnauthorizedClient
	}
	return owner != "", err
}
