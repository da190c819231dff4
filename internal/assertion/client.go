package assertion

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
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
}

// Options is what Authenticate needs of a server. All fields are required.
type Options struct {
	// Store finds the client and keeps the identifiers of assertions, each under a key made of client and jti.
	Store fosite.Storage
	// Config is fosite's configuration as the provider sees it. Its GetJWKSFetcherStrategy fetches keys; its
	// GetTokenURLs is not asked.
	Config fosite.Configurator
	// Audiences are those that an assertion may be for.
	Audiences []string
	// Now is the time of the request. fosite judges by the clock of the system whether an assertion has expired.
	Now time.Time
	// Keys says what a client may sign with. ok is false for a client that fosite handles alone, such as a static
	// client: then only the keys at its jwks_uri are chosen from here.
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

// Authenticate verifies the client assertion of a request and returns the client as Store has returned it.
//
// An assertion may have several audiences only if each is one of Options.Audiences. One that expires more than ten
// minutes from now, or has a jti of more than 256 characters, is refused before anything is looked up or stored. A jti
// counts per client, once.
//
// The form has Type as client_assertion_type. Refusals are fosite's ErrInvalidClient and ErrJTIKnown; what Store
// returned for a client that it did not find is wrapped by the former. A storage that fails to keep a jti, and keys
// that can not be fetched, are a *Failure.
func Authenticate(ctx context.Context, r *http.Request, form url.Values, o Options) (fosite.Client, error) {
	if form.Get("client_assertion_type") != Type {
		return nil, refuse("has a 'client_assertion_type' that is not '" + Type + "'")
	}
	parsed, err := parse(form.Get("client_assertion"))
	if err != nil {
		return nil, fosite.ErrInvalidClient.WithHint("Unable to verify the integrity of the 'client_assertion' value.").WithWrap(err)
	}
	if err := parsed.check(o.Now, o.Audiences); err != nil {
		return nil, err
	}
	store := &storeView{Storage: o.Store, assertion: parsed, keysOf: o.Keys}
	view := &fosite.Fosite{Store: store, Config: &configView{Configurator: o.Config, audiences: o.Audiences, store: store}}
	client, err := view.DefaultClientAuthenticationStrategy(ctx, r, form)
	switch {
	case err == nil:
		return unwrap(client), nil
	case store.failure != nil:
		return nil, store.failure
	case errors.Is(err, fosite.ErrInvalidClient), errors.Is(err, fosite.ErrJTIKnown):
		return nil, err
	}
	// fosite has other names for some of what is wrong with an assertion (RFC 7521,
	// section 4.2.1).
	return nil, fosite.ErrInvalidClient.WithHint("The 'client_assertion' could not be verified.").WithWrap(err)
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
	Subject  string
	Audience audience
	Expiry   *unixTime
	ID       string
}

func parse(raw string) (*assertion, error) {
	if raw == "" || len(raw) > maxLength {
		return nil, errors.New("the assertion is empty or too long")
	}
	signed, err := jose.ParseSigned(raw)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 {
		return nil, errors.New("the assertion has not exactly one signature")
	}
	parsed := &assertion{signed: signed, alg: signed.Signatures[0].Header.Algorithm, kid: signed.Signatures[0].Header.KeyID}
	c := &parsed.claims
	return parsed, Exactly(signed.UnsafePayloadWithoutVerification(), map[string]any{
		"sub": &c.Subject, "aud": &c.Audience, "exp": &c.Expiry, "jti": &c.ID,
	})
}

// check judges the claims, before anything is looked up or stored.
func (a *assertion) check(now time.Time, audiences []string) error {
	c := a.claims
	switch {
	case c.Expiry == nil:
		return refuse("has no 'exp'")
	case float64(*c.Expiry) > float64(now.Add(maxLifetime+ClockSkew).Unix()):
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
