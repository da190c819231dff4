package dcr

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// StatementIssuer is somebody whose software statements (RFC 7591, section 2.3) the
// server trusts, such as the directory of a banking scheme. What a statement says of a
// client takes precedence over what the client says, and binds its later updates.
type StatementIssuer struct {
	// Issuer is the "iss" of the statements.
	Issuer string
	// Keys verify the statements. Where it is nil they are fetched from JWKSURI, by
	// Config.JWKSFetcher. No member of a statement's header leads to other keys.
	Keys    *jose.JSONWebKeySet
	JWKSURI string
	// Algorithms bounds the JWS algorithms; nil means every asymmetric one that fits a
	// key: RS, PS and ES with 256, 384 and 512.
	Algorithms []string
}

// maxStatement bounds a statement, in bytes.
const maxStatement = 32 << 10

// statement is a software statement that was verified.
type statement struct {
	raw    string
	issuer string
	claims []byte
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

func invalidStatement(what string) error {
	return ErrInvalidSoftwareStatement.WithDescription("software_statement " + what + ".")
}

// vouch lays what a trusted issuer says over what the client says. A server without
// trusted issuers ignores statements (RFC 7591, section 3.1.1), or refuses them where
// the host wants that. The statement that a client registered with binds it even if its
// issuer is trusted no longer.
func (r *registry) vouch(ctx context.Context, m *ClientMetadata, e entrance) error {
	stored, err := storedStatement(e.previous)
	if err != nil {
		return failure(err)
	}
	given := stored
	switch {
	case m.SoftwareStatement == "" || m.SoftwareStatement == stored.raw:
	case len(r.cfg.StatementIssuers) > 0:
		if given, err = r.verifyStatement(ctx, m.SoftwareStatement); err != nil {
			return err
		}
	case r.cfg.RefuseStatements:
		return ErrUnapprovedSoftwareStatement
	}
	m.SoftwareStatement = ""
	if given.raw == "" {
		return nil
	}
	if stored.raw != "" && !sameSoftware(stored, given) {
		return invalidStatement("is of another issuer or for another software than the one that this client registered with")
	}
	return r.overlay(m, given, e.previous)
}

// storedStatement is the one that a client registered with. It was verified then.
func storedStatement(client *Client) (statement, error) {
	if client == nil || client.Metadata.SoftwareStatement == "" {
		return statement{}, nil
	}
	raw := client.Metadata.SoftwareStatement
	signed, err := jose.ParseSigned(raw)
	if err != nil {
		return statement{}, err
	}
	return statement{raw: raw, issuer: client.StatementIssuer, claims: signed.UnsafePayloadWithoutVerification()}, nil
}

func sameSoftware(a, b statement) bool {
	return a.issuer == b.issuer && a.softwareID() == b.softwareID()
}

func (s statement) softwareID() string {
	var claims statementClaims
	_ = decodeStatement(s.claims, &claims) // verified before
	return claims.SoftwareID
}

// verifyStatement checks who made a statement and whether it is in force.
func (r *registry) verifyStatement(ctx context.Context, raw string) (statement, error) {
	if len(raw) > maxStatement {
		return statement{}, invalidStatement("is too long")
	}
	signed, err := jose.ParseSigned(raw)
	// A JWT is in compact form (RFC 7519, section 3); the parser takes the JSON form too, and
	// spaces in either.
	if err != nil || len(signed.Signatures) != 1 || strings.ContainsAny(raw, "{ \t\r\n") {
		return statement{}, invalidStatement("is not a signed JWT")
	}
	payload := signed.UnsafePayloadWithoutVerification()
	var claims statementClaims
	if err := decodeStatement(payload, &claims); err != nil {
		return statement{}, invalidStatement("has claims that are not one JSON object, or of the wrong type")
	}
	if claims.Issuer == "" {
		return statement{}, invalidStatement("has no iss")
	}
	issuer := slices.IndexFunc(r.cfg.StatementIssuers, func(i StatementIssuer) bool { return i.Issuer == claims.Issuer })
	if issuer < 0 {
		return statement{}, ErrUnapprovedSoftwareStatement.WithDescription("software_statement is of an issuer that this server does not trust.")
	}
	if err := r.verifySignature(ctx, r.cfg.StatementIssuers[issuer], signed); err != nil {
		return statement{}, err
	}
	if err := r.inForce(ctx, claims); err != nil {
		return statement{}, err
	}
	return statement{raw: raw, issuer: claims.Issuer, claims: payload}, nil
}

// decodeStatement reads the claims as strictly as a request.
func decodeStatement(payload []byte, claims *statementClaims) error {
	return decodeExactly(payload, map[string]any{
		"iss": &claims.Issuer, "aud": &claims.Audience, "exp": &claims.Expiry,
		"nbf": &claims.NotBefore, "iat": &claims.IssuedAt, "software_id": &claims.SoftwareID,
	})
}

// verifySignature takes keys from the configured issuer and from nowhere else: "jku",
// "x5u", "x5c" and "jwk" of the header mean nothing (T29).
func (r *registry) verifySignature(ctx context.Context, issuer StatementIssuer, signed *jose.JSONWebSignature) error {
	header := signed.Signatures[0].Protected
	algorithms := issuer.Algorithms
	if algorithms == nil {
		algorithms = keyset.SupportedAlgorithms()
	}
	if !slices.Contains(algorithms, header.Algorithm) || !slices.Contains(keyset.SupportedAlgorithms(), header.Algorithm) {
		return invalidStatement("is not signed with an algorithm that is accepted")
	}
	for _, refetch := range []bool{false, true} {
		keys, err := r.statementKeys(ctx, issuer, refetch)
		if err != nil {
			return failure(errors.Join(ErrUnavailable, err))
		}
		for _, key := range keyset.Select(keys, header.Algorithm, header.KeyID) {
			if _, err := signed.Verify(key.Key); err == nil {
				return nil
			}
		}
		if issuer.Keys != nil {
			break
		}
	}
	return invalidStatement("has no valid signature of its issuer")
}

func (r *registry) statementKeys(ctx context.Context, issuer StatementIssuer, refetch bool) (*jose.JSONWebKeySet, error) {
	if issuer.Keys != nil {
		return issuer.Keys, nil
	}
	return r.cfg.JWKSFetcher.Resolve(ctx, issuer.JWKSURI, refetch)
}

// inForce judges the times, and whom the statement was made for, where it says so.
func (r *registry) inForce(ctx context.Context, c statementClaims) error {
	now := float64(r.now().Unix())
	skew := clockSkew.Seconds()
	switch {
	case c.Expiry != nil && float64(*c.Expiry) <= now:
		return invalidStatement("has expired")
	case c.NotBefore != nil && float64(*c.NotBefore) > now+skew, c.IssuedAt != nil && float64(*c.IssuedAt) > now+skew:
		return invalidStatement("is not valid yet")
	case len(c.Audience) > 0 && !slices.Contains(c.Audience, r.issuerOf(ctx)) && !slices.Contains(c.Audience, r.registrationEndpoint(ctx)):
		return invalidStatement("was made for another server")
	}
	return nil
}

// overlay puts the claims that are members of the metadata over the plain ones. In an
// update a plain member may repeat what was registered; another value is refused.
func (r *registry) overlay(m *ClientMetadata, s statement, previous *Client) error {
	vouched, err := vouchedMetadata(s, r.limits)
	if err != nil {
		return err
	}
	if m.SoftwareID != "" && vouched.SoftwareID != "" && m.SoftwareID != vouched.SoftwareID {
		return invalidStatement("is for another software than software_id says")
	}
	for i := range members {
		row := &members[i]
		claim := row.place(&vouched)
		if claim == nil || isEmpty(claim) {
			continue
		}
		if previous != nil && !row.mayRepeat(m, &vouched, &previous.Metadata) {
			return row.refuse(row.name + " is vouched for by the software statement and can not be changed")
		}
		copyPlace(row.settle(m), claim)
		if row.tagged {
			dropTagged(m, row.name)
		}
	}
	for name, value := range vouched.Localized {
		if m.Localized == nil {
			m.Localized = map[string]string{}
		}
		m.Localized[name] = value
	}
	m.SoftwareStatement, m.statementIssuer = s.raw, s.issuer
	return nil
}

// dropTagged removes the tagged forms of a member that is vouched for: a name in another
// language is another name.
func dropTagged(m *ClientMetadata, member string) {
	for name := range m.Localized {
		if base, _, _ := strings.Cut(name, "#"); base == member {
			delete(m.Localized, name)
		}
	}
}

// vouchedMetadata reads the members among the claims of a statement.
func vouchedMetadata(s statement, l *limits) (ClientMetadata, error) {
	var vouched ClientMetadata
	err := strictjson.Object(s.claims, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if name == "software_statement" || isServerMember(name) {
			return nil
		}
		return vouched.set(name, value, l)
	})
	var refusal *fosite.RFC6749Error
	if errors.As(err, &refusal) {
		return vouched, ErrInvalidSoftwareStatement.WithDescription("software_statement: " + refusal.DescriptionField)
	}
	return vouched, err
}

// mayRepeat reports whether an update says nothing new of a vouched member: nothing at
// all, what the statement says, or what was registered of it.
func (row *member) mayRepeat(said, vouched, registered *ClientMetadata) bool {
	place := row.place(said)
	if place == nil || isEmpty(place) {
		return true
	}
	value := row.text(said)
	return bytes.Equal(value, row.text(vouched)) || bytes.Equal(value, row.text(registered))
}

// text returns a member as it is written, for comparison.
func (row *member) text(m *ClientMetadata) []byte {
	written, err := row.appendTo([]byte{'{'}, row.place(m))
	if err != nil {
		return nil
	}
	return written
}

// copyPlace copies one member's value into its place in other metadata.
func copyPlace(to, from any) {
	switch value := from.(type) {
	case *string:
		*to.(*string) = *value
	case *[]string:
		*to.(*[]string) = *value
	case **bool:
		*to.(**bool) = *value
	case **int64:
		*to.(**int64) = *value
	case **jose.JSONWebKeySet:
		*to.(**jose.JSONWebKeySet) = *value
	}
}

// statementProblems says what is wrong with the issuers of the configuration.
func (c *Config) statementProblems() []error {
	var found []error
	for _, issuer := range c.StatementIssuers {
		if issuer.Issuer == "" || (issuer.Keys == nil) == (issuer.JWKSURI == "") {
			found = append(found, errors.New("Config.StatementIssuers: each issuer has a name and either Keys or a JWKSURI"))
		}
		if issuer.Keys != nil && !keyset.Serves(issuer.Keys, "") {
			found = append(found, errors.New("Config.StatementIssuers: an issuer has no key that can verify anything"))
		}
	}
	return found
}
