package dcr

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/go-jose/go-jose/v3"
)

// ClientMetadata is what a client says of itself (RFC 7591, section 2). It is
// decoded from a request through the table of members below: a member without a
// row can't arrive. A field is empty where the member was not sent.
//
// Its JSON form is that of the protocol.
type ClientMetadata struct {
	RedirectURIs            []string
	TokenEndpointAuthMethod string
	// TokenEndpointAuthSigningAlg is the one JWS algorithm of client assertions;
	// empty means any that fits a registered key (OpenID Connect Registration 1.0,
	// section 2).
	TokenEndpointAuthSigningAlg string
	GrantTypes                  []string
	// ResponseTypes is empty, not nil, for a client that has no use for the
	// authorization endpoint.
	ResponseTypes   []string
	ApplicationType string
	ClientName      string
	ClientURI       string
	LogoURI         string
	TOSURI          string
	PolicyURI       string
	// Scope holds the scopes, divided by single spaces.
	Scope           string
	Contacts        []string
	JWKSURI         string
	JWKS            *jose.JSONWebKeySet
	SoftwareID      string
	SoftwareVersion string
	// SoftwareStatement is a signed statement about the client, kept as it came and only
	// if one of Config.StatementIssuers made it.
	SoftwareStatement string

	// OpenID and Companion hold what further specifications add; nil where the client
	// registers nothing of it.
	OpenID    *OpenIDMetadata
	Companion *CompanionMetadata

	// Localized holds the human-readable members that carry a language tag, under
	// their full names ("client_name#fr").
	Localized map[string]string
	// Extensions holds the members of Config.ExtensionMembers, as JSON.
	Extensions map[string]json.RawMessage

	statementIssuer string  // who made SoftwareStatement; the record has it
	decided         decided // what policies said besides; the record has it
	sector          *sectorDocument
}

// Clone returns a deep copy.
func (m ClientMetadata) Clone() ClientMetadata {
	m.RedirectURIs = slices.Clone(m.RedirectURIs)
	m.GrantTypes = slices.Clone(m.GrantTypes)
	m.ResponseTypes = slices.Clone(m.ResponseTypes)
	m.Contacts = slices.Clone(m.Contacts)
	if m.JWKS != nil {
		m.JWKS = &jose.JSONWebKeySet{Keys: slices.Clone(m.JWKS.Keys)}
	}
	m.Localized, m.Extensions = maps.Clone(m.Localized), maps.Clone(m.Extensions)
	m.OpenID, m.Companion = m.OpenID.clone(), m.Companion.clone()
	return m
}

// resolve turns the body of a registration or an update into metadata that the
// provider can honour: decode, defaults, rules of each member, relations between
// members. It writes nothing. Every refusal names the member at fault.
func (r *registry) resolve(ctx context.Context, body []byte, e entrance) (ClientMetadata, error) {
	m, err := decodeClientMetadata(body, r.limits, e)
	if err != nil {
		return ClientMetadata{}, err
	}
	if err := r.vouch(ctx, &m, e); err != nil {
		return ClientMetadata{}, err
	}
	omitted := omissions{grantTypes: m.GrantTypes == nil, responseTypes: m.ResponseTypes == nil, scope: true}
	if err := r.settle(ctx, &m, e, omitted); err != nil {
		return ClientMetadata{}, err
	}
	err = r.applyPolicies(ctx, &m, e)
	m.sector = nil // nobody keeps it
	return m, err
}

// settle holds metadata against the rules of each member, fills in defaults, leaves out
// or refuses what the provider or the registrant can't have, and checks the relations
// between members.
func (r *registry) settle(ctx context.Context, m *ClientMetadata, e entrance, omitted omissions) error {
	if err := checkMembers(m, r.limits); err != nil {
		return err
	}
	r.applyDefaults(m)
	if err := r.fit(ctx, m, e, omitted); err != nil {
		return err
	}
	for _, relation := range relations {
		if err := relation(r, ctx, m); err != nil {
			return err
		}
	}
	return r.fitMembers(m)
}

// omissions tells which members with a default of their own the client left out.
type omissions struct{ grantTypes, responseTypes, scope bool }

// nothingOmitted is for metadata that has its defaults already.
var nothingOmitted = omissions{}

// applyDefaults fills in what was omitted (RFC 7591, section 2). The default of
// response_types depends on the grant types and is set by fit.
func (r *registry) applyDefaults(m *ClientMetadata) {
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = r.cfg.DefaultTokenEndpointAuthMethod
	}
	if m.GrantTypes == nil {
		m.GrantTypes = []string{grantAuthorizationCode}
	}
	if m.ApplicationType == "" {
		m.ApplicationType = applicationWeb
	}
}

// checkMembers holds each value against the rules of its row.
func checkMembers(m *ClientMetadata, l *limits) error {
	for i := range members {
		if err := members[i].check(m, l); err != nil {
			return err
		}
	}
	for name, value := range m.Localized {
		row, _ := taggedMember(name)
		if phrase := row.judge(l, value); phrase != "" {
			return row.refuse(name + " " + phrase)
		}
	}
	return nil
}

func (row *member) check(m *ClientMetadata, l *limits) error {
	switch value := row.place(m).(type) {
	case *string:
		if *value == "" {
			return nil
		}
		if phrase := row.judge(l, *value); phrase != "" {
			return row.refuse(row.name + " " + phrase)
		}
	case *[]string:
		return row.checkList(value, l)
	case **int64:
		if *value != nil && **value < 0 {
			return row.refuse(row.name + " is negative")
		}
	}
	return nil
}

func (row *member) checkList(list *[]string, l *limits) error {
	if most := l.elements(row.name); len(*list) > most {
		return row.refuse(row.name + " has more than " + strconv.Itoa(most) + " elements")
	}
	for i, s := range *list {
		if phrase := row.judge(l, s); phrase != "" {
			return row.refuse(row.name + "[" + strconv.Itoa(i) + "] " + phrase)
		}
	}
	*list = withoutRepeats(*list)
	return nil
}

func (row *member) judge(l *limits, value string) string {
	for _, judge := range row.rules {
		if phrase := judge(l, value); phrase != "" {
			return phrase
		}
	}
	return ""
}

func (row *member) refuse(description string) error {
	if row.code != nil {
		return row.code.WithDescription(description + ".")
	}
	return refuseMetadata(description)
}

func refuseMetadata(description string) error {
	return ErrInvalidClientMetadata.WithDescription(description + ".")
}

// withoutRepeats keeps the first of equal values, in order.
func withoutRepeats(list []string) []string {
	for i := 1; i < len(list); i++ {
		if slices.Contains(list[:i], list[i]) {
			return removeRepeats(list)
		}
	}
	return list
}

func removeRepeats(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}
