package assertion

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

// maxStatement bounds a statement, in bytes.
const maxStatement = 32 << 10

// ErrUntrusted says that a statement is of an issuer that is not among the trusted ones.
var ErrUntrusted = errors.New("assertion: the software statement is of an issuer that is not trusted")

// Refusal says what is wrong with a statement, for its sender: a phrase that continues "software_statement", as in
// "has expired".
type Refusal string

// Error returns the phrase.
func (r Refusal) Error() string { return string(r) }

// Issuer is a party whose software statements are trusted.
type Issuer struct {
	// Name is the "iss" of its statements.
	Name string
	// Keys verify the statements. Nil means the keys that Fetch returns.
	Keys *jose.JSONWebKeySet
	// Fetch returns the issuer's keys, where Keys is nil. With refetch a kept copy does not count: it is called a
	// second time, with refetch, for a statement that none of the keys verifies.
	Fetch func(ctx context.Context, refetch bool) (*jose.JSONWebKeySet, error)
	// Algorithms bounds the JWS algorithms. Nil means every supported one that fits a key: RS, PS and ES with 256, 384
	// and 512.
	Algorithms []string
}

// Statement is a software statement that was verified.
type Statement struct {
	// Raw is the JWT as it was sent.
	Raw string
	// Issuer is its "iss".
	Issuer string
	// SoftwareID is its "software_id", empty where it has none.
	SoftwareID string
	// Claims is its payload: one JSON object without duplicates.
	Claims []byte
}

// ReadStatement returns a statement that was verified before, when its client registered, with the issuer that was
// found then. An empty raw is no statement: all fields are empty.
func ReadStatement(raw, issuer string) (Statement, error) {
	if raw == "" {
		return Statement{}, nil
	}
	signed, err := jose.ParseSigned(raw)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Raw: raw, Issuer: issuer, Claims: signed.UnsafePayloadWithoutVerification()}
	c, err := readClaims(s.Claims)
	s.SoftwareID = c.SoftwareID
	return s, err
}

// VerifyStatement checks which issuer made a statement, and whether it is in force for one of the audiences at the
// time now. A statement without "aud" is for every server, one without "exp" does not expire.
//
// The error is a Refusal, ErrUntrusted, or a *Failure that wraps ErrKeysUnavailable.
func VerifyStatement(ctx context.Context, raw string, issuers []Issuer, now time.Time, audiences []string) (Statement, error) {
	if len(raw) > maxStatement {
		return Statement{}, Refusal("is too long")
	}
	signed, err := parseCompact(raw)
	if err != nil {
		return Statement{}, Refusal("is not a signed JWT")
	}
	payload := signed.UnsafePayloadWithoutVerification()
	c, err := readClaims(payload)
	if err != nil {
		return Statement{}, Refusal("has claims that are not one JSON object, or of the wrong type")
	}
	if c.Issuer == "" {
		return Statement{}, Refusal("has no iss")
	}
	issuer := slices.IndexFunc(issuers, func(i Issuer) bool { return i.Name == c.Issuer })
	if issuer < 0 {
		return Statement{}, ErrUntrusted
	}
	if err := issuers[issuer].verify(ctx, signed); err != nil {
		return Statement{}, err
	}
	if err := c.inForce(now, audiences); err != nil {
		return Statement{}, err
	}
	return Statement{Raw: raw, Issuer: c.Issuer, SoftwareID: c.SoftwareID, Claims: payload}, nil
}

// statementClaims are the claims about the statement itself.
type statementClaims struct {
	Issuer     string
	Audience   audience
	Expiry     *unixTime
	NotBefore  *unixTime
	IssuedAt   *unixTime
	SoftwareID string
}

// readClaims reads the claims as strictly as a request.
func readClaims(payload []byte) (statementClaims, error) {
	var c statementClaims
	err := Exactly(payload, map[string]any{
		"iss": &c.Issuer, "aud": &c.Audience, "exp": &c.Expiry,
		"nbf": &c.NotBefore, "iat": &c.IssuedAt, "software_id": &c.SoftwareID,
	})
	return c, err
}

// verify takes keys from the configured issuer and from nowhere else: "jku",
// "x5u", "x5c" and "jwk" of the header mean nothing (T29).
func (i *Issuer) verify(ctx context.Context, signed *jose.JSONWebSignature) error {
	header := signed.Signatures[0].Protected
	supported := keyset.SupportedAlgorithms()
	if !slices.Contains(supported, header.Algorithm) || i.Algorithms != nil && !slices.Contains(i.Algorithms, header.Algorithm) {
		return Refusal("is not signed with an algorithm that is accepted")
	}
	for _, refetch := range []bool{false, true} {
		keys, err := i.keys(ctx, refetch)
		if err != nil {
			return unavailable(err)
		}
		for _, key := range keyset.Select(keys, header.Algorithm, header.KeyID) {
			if _, err := signed.Verify(key.Key); err == nil {
				return nil
			}
		}
		if i.Keys != nil {
			break
		}
	}
	return Refusal("has no valid signature of its issuer")
}

func (i *Issuer) keys(ctx context.Context, refetch bool) (*jose.JSONWebKeySet, error) {
	if i.Keys != nil {
		return i.Keys, nil
	}
	return i.Fetch(ctx, refetch)
}

// inForce judges the times, and for which server the statement was made, where it says so.
func (c *statementClaims) inForce(now time.Time, audiences []string) error {
	switch {
	case c.Expiry.past(now):
		return Refusal("has expired")
	case c.NotBefore.future(now) || c.IssuedAt.future(now):
		return Refusal("is not valid yet")
	case len(c.Audience) > 0 && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(audiences, a) }):
		return Refusal("was made for another server")
	}
	return nil
}
