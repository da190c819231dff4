package assertion

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

// Type is the client_assertion_type of a client assertion that is a JWT (RFC 7523, section 2.2).
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	// maxLifetime bounds how long an assertion is remembered: until it expires.
	maxLifetime   = 10 * time.Minute
	maxLength     = 16 << 10
	maxIdentifier = 256
)

// Keys is what a client may sign with.
type Keys struct {
	// Algorithm is the one JWS algorithm that the client may use. Empty means any supported one that fits a key.
	Algorithm string
	// Set holds the client's keys, with or without "use" and "kid". Nil means those at its jwks_uri.
	Set *jose.JSONWebKeySet
	// Renew returns the keys as they are now, where none of Set fits; nil where Set is not to be renewed. An error that is
	// fosite.ErrNotFound says that the client is gone.
	Renew func(ctx context.Context) (*jose.JSONWebKeySet, error)
	// Untried says that the client was never used: that its jwks_uri never gave keys is then the client's fault (T68).
	Untried bool
}

// Options is what Authenticate needs of a server. All fields are required.
type Options struct {
	// Store finds the client and keeps the identifiers of assertions, each under a key made of client and jti:
	// StorageKey.
	Store fosite.ClientManager
	// Fetcher fetches the keys at a jwks_uri.
	Fetcher fosite.JWKSFetcherStrategy
	// Audiences are those that an assertion may be for.
	Audiences []string
	// Now is the time of the request.
	Now time.Time
	// Keys says what a client may sign with. ok is false for a static client: it has the algorithm and the keys that
	// fosite finds at it, of which those count that state the use "sig".
	Keys func(client fosite.Client) (keys Keys, ok bool)
}

// Subject returns the client that an assertion claims to be from, "" where it can not be read. Nothing is verified.
func Subject(raw string) string {
	parsed, err := parse(raw)
	if err != nil {
		return ""
	}
	return parsed.claims.Subject
}

// StorageKey is the key under which the jti of a client's assertion is stored, of 91 characters:
// dcr.<digest of the client>.<digest of the jti>.
func StorageKey(clientID, jti string) string {
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return "dcr." + digest(clientID) + "." + digest(jti)
}

// Authenticate verifies the client assertion of a request and returns the client as Store has returned it.
//
// An assertion is from its client (iss and sub), and may have several audiences only if each is one of
// Options.Audiences. One that expires more than ten minutes from now, or has a jti of more than 256 characters, is
// refused. All this is judged before anything is looked up. It counts from its nbf and iat to its exp, with ClockSkew on
// either side. Then at most four keys are tried, and the jti of what was verified counts per client, once.
//
// Refusals are fosite's ErrInvalidClient; what Store returned for a client that it did not find is wrapped, and
// ErrJTIKnown for an assertion that was used before. A storage that fails to keep a jti, and keys that can not be
// fetched, are a *Failure.
func Authenticate(ctx context.Context, form url.Values, o Options) (fosite.Client, error) {
	if form.Get("client_assertion_type") != Type {
		return nil, refuse("has a 'client_assertion_type' that is not '" + Type + "'")
	}
	parsed, err := parse(form.Get("client_assertion"))
	if err != nil {
		return nil, fosite.ErrInvalidClient.WithHint("Unable to verify the integrity of the 'client_assertion' value.").WithWrap(err)
	}
	if err := parsed.check(form.Get("client_id"), o.Now, o.Audiences); err != nil {
		return nil, err
	}
	client, err := o.Store.GetClient(ctx, parsed.claims.Subject)
	if err != nil {
		return nil, fosite.ErrInvalidClient.WithWrap(err).WithDebug(err.Error())
	}
	if err := parsed.inForce(o.Now); err != nil {
		return nil, err
	}
	if err := parsed.verify(ctx, client, o); err != nil {
		return nil, err
	}
	return client, parsed.useOnce(ctx, o.Store, client.GetID())
}

func refuse(what string) error {
	return fosite.ErrInvalidClient.WithHint("The 'client_assertion' " + what + ".")
}

// assertion is a client assertion before its signature was checked.
type assertion struct {
	signed *jose.JSONWebSignature
	alg    string
	kid    string
	claims claims
}

type claims struct {
	Issuer    string
	Subject   string
	Audience  audience
	Expiry    *unixTime
	NotBefore *unixTime
	IssuedAt  *unixTime
	ID        string
}

func parse(raw string) (*assertion, error) {
	if raw == "" || len(raw) > maxLength {
		return nil, errors.New("the assertion is empty or too long")
	}
	signed, err := parseCompact(raw)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Protected
	parsed := &assertion{signed: signed, alg: header.Algorithm, kid: header.KeyID}
	c := &parsed.claims
	return parsed, Exactly(signed.UnsafePayloadWithoutVerification(), map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "aud": &c.Audience, "exp": &c.Expiry,
		"nbf": &c.NotBefore, "iat": &c.IssuedAt, "jti": &c.ID,
	})
}

// check judges the claims, before anything is looked up or stored.
func (a *assertion) check(clientID string, now time.Time, audiences []string) error {
	c := a.claims
	switch {
	case c.Subject == "" || clientID != "" && clientID != c.Subject:
		return refuse("has no 'sub', or one that is not the 'client_id' of the request")
	case c.Issuer != c.Subject:
		return refuse("has an 'iss' that is not its 'sub'")
	case c.Expiry == nil:
		return refuse("has no 'exp'")
	case c.Expiry.future(now.Add(maxLifetime)):
		return refuse("ends too far in the future")
	case c.ID == "" || len(c.ID) > maxIdentifier:
		return refuse("has no 'jti', or one that is too long")
	case len(c.Audience) == 0:
		return refuse("has no 'aud'")
	}
	for _, aud := range c.Audience {
		if !slices.Contains(audiences, aud) {
			return refuse("has an 'aud' that is not this authorization server")
		}
	}
	return nil
}

// inForce judges the times, once the client is found: an operator hears whose clock is wrong.
func (a *assertion) inForce(now time.Time) error {
	switch {
	case a.claims.Expiry.past(now):
		return refuse("has expired")
	case a.claims.NotBefore.future(now), a.claims.IssuedAt.future(now):
		return refuse("is not valid yet")
	}
	return nil
}

// verify checks the signature by the keys of the client.
func (a *assertion) verify(ctx context.Context, client fosite.Client, o Options) error {
	holder, ok := client.(fosite.OpenIDConnectClient)
	if !ok {
		return fosite.ErrInvalidClient.WithHint("The OAuth 2.0 Client has no keys to authenticate with.")
	}
	keys, registered := o.Keys(client)
	if !registered {
		keys = Keys{Algorithm: holder.GetTokenEndpointAuthSigningAlgorithm(), Set: holder.GetJSONWebKeys()}
	}
	if err := a.permitted(holder.GetTokenEndpointAuthMethod(), keys.Algorithm); err != nil {
		return err
	}
	location := holder.GetJSONWebKeysURI()
	switch {
	case keys.Set != nil && registered:
		return a.verifyOwn(ctx, keys)
	case keys.Set != nil:
		return a.signedByOne(a.ofOperator(keys.Set))
	case location == "":
		return fosite.ErrInvalidClient.WithHint("The OAuth 2.0 Client has no JSON Web Keys set registered, but they are needed to complete the request.")
	}
	return a.verifyFetched(ctx, o.Fetcher, location, keys.Untried)
}

// verifyOwn checks the signature by keys that the client gave by value.
func (a *assertion) verifyOwn(ctx context.Context, keys Keys) error {
	found := keyset.Select(keys.Set, a.alg, a.kid)
	if len(found) == 0 && keys.Renew != nil {
		set, err := keys.Renew(ctx)
		switch {
		case errors.Is(err, fosite.ErrNotFound):
			return fosite.ErrInvalidClient.WithWrap(err)
		case err != nil:
			return unavailable(err)
		case set != nil:
			found = keyset.Select(set, a.alg, a.kid)
		}
	}
	return a.signedByOne(found)
}

// permitted judges what the client registered: how it authenticates, and by which algorithm.
func (a *assertion) permitted(method, algorithm string) error {
	switch method {
	case "private_key_jwt":
	case "none":
		return fosite.ErrInvalidClient.WithHint("This requested OAuth 2.0 client does not support client authentication, however 'client_assertion' was provided in the request.")
	case "client_secret_post", "client_secret_basic":
		return fosite.ErrInvalidClient.WithHintf("This requested OAuth 2.0 client only supports client authentication method '%s', however 'client_assertion' was provided in the request.", method)
	default:
		return fosite.ErrInvalidClient.WithHintf("This requested OAuth 2.0 client only supports client authentication method '%s', however that method is not supported by this server.", method)
	}
	switch {
	case strings.HasPrefix(a.alg, "HS"):
		return fosite.ErrInvalidClient.WithHint("This authorization server does not support client authentication method 'client_secret_jwt'.")
	case !slices.Contains(keyset.SupportedAlgorithms(), a.alg):
		return refuse("uses a signing algorithm that is not supported")
	case algorithm != "" && algorithm != a.alg:
		return refuse("uses another signing algorithm than '" + algorithm + "', which the client registered")
	}
	return nil
}

// ofOperator are the keys that an operator gave a static client. fosite holds them to their use and type alone.
func (a *assertion) ofOperator(set *jose.JSONWebKeySet) []jose.JSONWebKey {
	return slices.DeleteFunc(slices.Clone(set.Keys), func(key jose.JSONWebKey) bool {
		return key.Use != "sig" || a.kid != "" && key.KeyID != a.kid || !keyset.Fits(a.alg, key.Key)
	})
}

// verifyFetched asks for the keys again where none of those that are known can have made the signature. That a server
// of keys is down says nothing about a client, but for one that was never used. That this server has too much to do says
// nothing about any.
func (a *assertion) verifyFetched(ctx context.Context, fetcher fosite.JWKSFetcherStrategy, location string, untried bool) error {
	var found []jose.JSONWebKey
	for _, refetch := range []bool{false, true} {
		set, err := fetcher.Resolve(ctx, location, refetch)
		if err != nil && untried && !refetch && !errors.Is(err, fosite.ErrTemporarilyUnavailable) {
			return fosite.ErrInvalidClient.WithHint("The key set at the jwks_uri of the OAuth 2.0 Client can not be fetched.").WithWrap(err).WithDebug(detail(err))
		}
		if err != nil {
			return unavailable(err)
		}
		if found = keyset.Select(set, a.alg, a.kid); len(found) > 0 {
			break
		}
	}
	return a.signedByOne(found)
}

// maxTriedKeys bounds how many keys one assertion is tried against: a client that has more for one algorithm says by
// "kid" which (T61).
const maxTriedKeys = 4

func (a *assertion) signedByOne(keys []jose.JSONWebKey) error {
	for _, key := range keys[:min(len(keys), maxTriedKeys)] {
		if _, err := a.signed.Verify(key.Key); err == nil {
			return nil
		}
	}
	switch {
	case len(keys) == 0:
		return refuse("is not signed with a key of the OAuth 2.0 Client that fits its algorithm and 'kid'")
	case len(keys) > maxTriedKeys:
		return refuse("was tried with four of the keys that fit: the OAuth 2.0 Client has more, and must send a 'kid' that one of them has")
	}
	return refuse("has no valid signature of the OAuth 2.0 Client")
}

// useOnce notes the assertion in the storage until it counts no more.
func (a *assertion) useOnce(ctx context.Context, store fosite.ClientManager, clientID string) error {
	key := StorageKey(clientID, a.claims.ID)
	err := store.ClientAssertionJWTValid(ctx, key)
	if err == nil {
		end := time.Unix(int64(math.Ceil(float64(*a.claims.Expiry))), 0).Add(ClockSkew)
		err = store.SetClientAssertionJWT(ctx, key, end)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fosite.ErrJTIKnown):
		return fosite.ErrInvalidClient.WithHint("Claim 'jti' from 'client_assertion' MUST only be used once.").WithWrap(fosite.ErrJTIKnown)
	}
	return &Failure{err}
}
