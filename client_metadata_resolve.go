package dcr

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// source is where metadata comes from: who speaks, and what becomes of the members that only the server may
// set.
type source struct {
	registrant *Registrant
	// previous is the client that an update replaces; nil for a registration.
	previous *Client
	// server reads the members that only the server may set. Where it is nil they are skipped unread (RFC
	// 7591, section 3.1: the server chooses them).
	server func(name string, value strictjson.Value) error
	size   int // of the body, in bytes
}

// rulebook turns the body of a registration or an update into metadata that the provider can support. It
// writes nothing.
type rulebook struct {
	config   Metadata
	scopes   []string // Config.Scopes
	policies []Policy
	named    map[string]Policy
	limits   *members.Limits
	record   recordBound // Limits.AnonymousRecord
	can      *capability.Set
	// supported are the values that the provider supports of members that a server may lack.
	supported  map[string]members.Honoured
	relations  *relationRules
	statements []assertion.Issuer
	strongest  bool // of the authentication methods that a client lists the strongest is chosen, not the first
	location   *location
	now        func() time.Time
}

// resolve is the one way of metadata: decode, statement, rules of each member, defaults, what the provider
// and the registrant can have, relations between members, policies. Every refusal names the member at
// fault.
func (b *rulebook) resolve(ctx context.Context, body []byte, s source, m *ClientMetadata) error {
	*m, s.size = ClientMetadata{}, len(body)
	var lists members.Choices
	if err := b.decode(body, m, &lists, s); err != nil {
		return err
	}
	if err := b.vouch(ctx, m, s.previous); err != nil {
		return err
	}
	if b.strongest && capability.SharesSecret(m.TokenEndpointAuthMethod) {
		return refuseMetadata("token_endpoint_auth_method is a shared secret, which a document can not have")
	}
	if len(lists) > 0 {
		return b.resolveChoices(ctx, m, lists, s)
	}
	return b.judge(ctx, m, s)
}

// forDocuments returns the rules for documents, which are written for every server at once: what this one lacks is left
// out, and no secret is shared (draft-ietf-oauth-client-id-metadata-document-03, section 4). All else is as in a registration.
func (b *rulebook) forDocuments() *rulebook {
	d, can, relations := *b, *b.can, *b.relations
	d.config.RefuseUnsupported, d.config.RefuseStatements = false, false
	d.config.DefaultTokenEndpointAuthMethod, d.strongest = capability.MethodNone, true
	can.AuthMethods = capability.Unshared(can.AuthMethods)
	relations.known = true
	d.can, d.relations = &can, &relations
	return &d
}

// judge is the part of resolve after everything was read and chosen.
func (b *rulebook) judge(ctx context.Context, m *ClientMetadata, s source) error {
	for _, list := range []*[]string{&m.GrantTypes, &m.ResponseTypes, &m.Contacts} {
		if len(*list) == 0 { // an empty list counts as omitted, as null does (RFC 7592, section 2.2)
			*list = nil
		}
	}
	var sent *ClientMetadata
	if len(b.policies) > 0 || s.registrant.Policy != "" {
		said := m.Clone()
		sent, s.size = &said, int(b.record) // a policy may set what it likes
	}
	omitted := omissions{grantTypes: m.GrantTypes == nil, responseTypes: m.ResponseTypes == nil, scope: true}
	check := &relationCheck{relationRules: b.relations}
	if err := b.applyRules(ctx, m, s, omitted, check); err != nil {
		return err
	}
	return firstOf(b.applyPolicies(ctx, m, sent, s, check), b.record.check(m, s.registrant, s.size))
}

// resolveChoices chooses from what the client lists, and judges. Of the authentication methods it tries one after the
// other: which of them goes with the keys, the grants and the policies, the judgement says.
func (b *rulebook) resolveChoices(ctx context.Context, m *ClientMetadata, lists members.Choices, s source) error {
	var before *ClientMetadata
	if s.previous != nil {
		before = &s.previous.Metadata
	}
	for _, name := range m.statementMembers { // what is vouched for is not chosen
		delete(lists, name)
	}
	methods, err := (&chooser{b.can, b.supported, m, b.strongest}).choose(before, lists)
	if err != nil {
		return refusalOf(err)
	}
	var first error
	for _, method := range methods {
		tried := m.Clone()
		tried.TokenEndpointAuthMethod = method
		err := b.judge(ctx, &tried, s)
		if err == nil || asFault(err) != nil {
			*m = tried
			return err
		}
		first = firstOf(first, err)
	}
	return first
}

// decode reads names and types, strictly and once. It knows no rule but those of size and type.
func (b *rulebook) decode(body []byte, m *ClientMetadata, lists *members.Choices, s source) error {
	err := strictjson.Object(body, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if isServerMember(name) {
			if s.server == nil {
				return nil
			}
			return s.server(name, value)
		}
		if known, err := table.SetChoices(lists, name, value, b.limits); known {
			return err
		}
		return table.Set(m, name, value, b.limits)
	})
	if err == nil {
		return nil
	}
	var syntax strictjson.Error
	if errors.As(err, &syntax) {
		return refuseMetadata("The request body " + syntax.Error())
	}
	return refusalOf(err)
}

// refusalOf makes an error of the protocol of what a pass over the table refuses.
func refusalOf(err error) error {
	if err == nil {
		return nil
	}
	var refusal *members.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	if refusal.Code == errRedirectURI {
		return ErrInvalidRedirectURI.WithDescription(refusal.Error() + ".")
	}
	return refuseMetadata(refusal.Error())
}

// applyRules holds metadata against the rules of each member, fills in defaults, leaves out or refuses what
// the provider or the registrant can't have, and checks the relations between members.
func (b *rulebook) applyRules(ctx context.Context, m *ClientMetadata, s source, omitted omissions, check *relationCheck) error {
	if err := table.Check(m, b.limits); err != nil {
		return refusalOf(err)
	}
	b.applyDefaults(m)
	if err := b.fit(ctx, m, s.registrant, omitted); err != nil {
		return err
	}
	for _, relation := range relations {
		if err := relation(check, ctx, m); err != nil {
			return err
		}
	}
	if m.OpenID == nil && m.Companion == nil {
		return nil
	}
	return refusalOf(table.Fit(m, b.supported, b.config.RefuseUnsupported))
}

// omissions says which members with a default of their own the client left out.
type omissions struct{ grantTypes, responseTypes, scope bool }

// nothingOmitted is for metadata that has its defaults already.
var nothingOmitted = omissions{}

// applyDefaults fills in what was omitted (RFC 7591, section 2). The default of response_types depends on
// the grant types and is set by fit.
func (b *rulebook) applyDefaults(m *ClientMetadata) {
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = b.config.DefaultTokenEndpointAuthMethod
	}
	if m.GrantTypes == nil {
		m.GrantTypes = slices.Clone(b.config.DefaultGrantTypes)
	}
	if m.ApplicationType == "" {
		m.ApplicationType = applicationWeb
	}
}

// fit leaves out what the provider or the registrant can't have, or refuses it, and makes the two lists
// agree. What remains is registered (RFC 7591, section 3.2.1).
func (b *rulebook) fit(ctx context.Context, m *ClientMetadata, who *Registrant, omitted omissions) error {
	if err := b.fitMethod(m); err != nil {
		return err
	}
	if !omitted.grantTypes && !omitted.responseTypes && !capability.Agree(m.GrantTypes, m.ResponseTypes) && !b.agreeAsKnown(m) {
		return refuseMetadata("grant_types and response_types do not agree (RFC 7591, section 2.1)")
	}
	if err := b.fitGrantTypes(m, who, omitted); err != nil {
		return err
	}
	if err := b.fitResponseTypes(m); err != nil {
		return err
	}
	if err := matchTypes(m, omitted); err != nil {
		return err
	}
	if !slices.ContainsFunc(m.GrantTypes, capability.YieldsRefreshToken) && slices.Contains(m.GrantTypes, capability.GrantRefreshToken) {
		return refuseMetadata("grant_types has refresh_token, but no grant that yields a refresh token")
	}
	return b.fitScope(ctx, m, omitted.scope)
}

func (b *rulebook) fitMethod(m *ClientMetadata) error {
	switch {
	case slices.Contains(b.can.AuthMethods, m.TokenEndpointAuthMethod):
		return nil
	case m.TokenEndpointAuthMethod == capability.MethodClientSecretJWT:
		return refuseMetadata("token_endpoint_auth_method client_secret_jwt is not supported, since secrets are stored hashed")
	}
	return refuseMetadata("token_endpoint_auth_method is not supported by this server")
}

// agreeAsKnown reports whether the two lists agree as far as the server knows their values: what it does
// not know disagrees with nothing.
func (b *rulebook) agreeAsKnown(m *ClientMetadata) bool {
	grantTypes := members.Keep(m.GrantTypes, func(grant string) bool { return slices.Contains(b.can.GrantTypes, grant) })
	responseTypes := members.Keep(m.ResponseTypes, func(responseType string) bool { return b.can.ResponseType(responseType) != "" })
	return capability.Agree(grantTypes, responseTypes)
}

func (b *rulebook) fitGrantTypes(m *ClientMetadata, who *Registrant, omitted omissions) error {
	if len(m.GrantTypes) == 0 {
		return refuseMetadata("grant_types is empty")
	}
	kept, barred := make([]string, 0, len(m.GrantTypes)), false
	for i, grant := range m.GrantTypes {
		known := slices.Contains(b.can.GrantTypes, grant)
		barred = barred || known && !b.mayHave(who, grant)
		switch {
		case known && b.mayHave(who, grant):
			kept = append(kept, grant)
		case b.config.RefuseUnsupported && !omitted.grantTypes:
			return refuseMetadata("grant_types[" + strconv.Itoa(i) + "] is not supported by this server for this client")
		}
	}
	switch {
	case len(kept) == 0 && barred:
		return refuseMetadata("grant_types has none that this registrant may have (others may, with an access token for example)")
	case len(kept) == 0:
		return refuseMetadata("grant_types has none that this server supports: " + strings.Join(b.can.GrantTypes, ", "))
	}
	m.GrantTypes = kept
	return nil
}

// mayHave: nobody vouches for an anonymous registrant, so a user has to take part in what its clients do
// (T56).
func (b *rulebook) mayHave(who *Registrant, grant string) bool {
	if who.GrantTypes != nil && !slices.Contains(who.GrantTypes, grant) {
		return false
	}
	return !who.isAnonymous() || capability.UserTakesPart(grant) || slices.Contains(b.config.AnonymousGrantTypes, grant)
}

func (b *rulebook) fitResponseTypes(m *ClientMetadata) error {
	if len(m.ResponseTypes) == 0 {
		return nil
	}
	kept := make([]string, 0, len(m.ResponseTypes))
	for i, responseType := range m.ResponseTypes {
		supported := b.can.ResponseType(responseType)
		switch {
		case supported != "":
			kept = append(kept, supported)
		case b.config.RefuseUnsupported:
			return refuseMetadata("response_types[" + strconv.Itoa(i) + "] is not supported by this server")
		}
	}
	if len(kept) == 0 {
		return refuseMetadata("response_types has none that this server supports")
	}
	m.ResponseTypes = members.WithoutRepeats(kept)
	return nil
}

// matchTypes makes grant types and response types agree (RFC 7591, section 2.1), after what the server
// can't do was left out. Where the client sent one list, the default of the other stands. Nothing is
// completed but an omitted response_types.
func matchTypes(m *ClientMetadata, omitted omissions) error {
	if omitted.responseTypes {
		m.ResponseTypes = []string{}
		if slices.Contains(m.GrantTypes, capability.GrantAuthorizationCode) || slices.Contains(m.GrantTypes, capability.GrantImplicit) {
			m.ResponseTypes = []string{capability.ResponseCode}
		}
	}
	responseTypes := capability.Fitting(m.ResponseTypes, m.GrantTypes)
	lost := len(responseTypes) == 0 && len(m.ResponseTypes) > 0
	m.ResponseTypes = responseTypes
	m.GrantTypes = capability.Used(m.GrantTypes, m.ResponseTypes)
	if lost || len(m.GrantTypes) == 0 {
		return refuseMetadata("grant_types and response_types have nothing in common that this server supports for this client")
	}
	return nil
}

// fitScope registers the allowed scopes among those that were asked for, or the default scopes where none
// remains. Scopes are compared literally; one that fosite's scope strategy reads as a pattern is refused
// (T54).
//
// The scopes of the configuration come in where the client speaks, not again where a policy has.
func (b *rulebook) fitScope(ctx context.Context, m *ClientMetadata, defaults bool) error {
	matches := b.location.fosite.GetScopeStrategy(ctx)
	asked := members.WithoutRepeats(strings.Fields(m.Scope))
	kept := make([]string, 0, len(asked))
	for _, scope := range asked {
		switch {
		case slices.Contains(b.scopes, scope):
			kept = append(kept, scope)
		case widerThanItself(scope, b.scopes, matches) != "":
			return refuseMetadata("scope has a pattern that would grant more than it names")
		case b.config.RefuseUnsupported:
			return refuseMetadata("scope has a scope that this server does not offer")
		}
	}
	if len(kept) == 0 && defaults {
		kept = b.config.DefaultScopes
	}
	if defaults {
		kept = members.WithoutRepeats(slices.Concat(kept, b.config.BaselineScopes))
	}
	m.Scope = strings.Join(kept, " ")
	return nil
}

// applyPolicies asks the policy of the registrant, which binds later updates too, and then those of the
// configuration. What they leave is held against the rules again.
func (b *rulebook) applyPolicies(ctx context.Context, m, sent *ClientMetadata, s source, check *relationCheck) error {
	policies, err := b.policiesOf(s.registrant)
	if err != nil || len(policies) == 0 {
		return err
	}
	p := &Proposal{Registrant: s.registrant, Previous: s.previous, Metadata: m, sent: sent}
	for _, policy := range policies {
		if err := policy.Judge(ctx, p); err != nil {
			return problemOf(err)
		}
		if p.Metadata == nil {
			return failure(errPolicyTakesMetadata)
		}
	}
	m.adopt(p.Metadata)
	if p.RequirePKCE && !b.can.PKCE {
		return failure(errNothingChecksPKCE)
	}
	m.decision = decision{p.RotateSecret, p.Lifetime, p.AlwaysAskConsent, p.RequirePKCE}
	return b.applyRules(ctx, m, s, nothingOmitted, check)
}

var errPolicyTakesMetadata = errors.New("dcr: a policy set Proposal.Metadata to nil: refuse a registration by an error")

var errNothingChecksPKCE = errors.New("dcr: a policy requires PKCE, but nothing checks it: add compose.OAuth2PKCEFactory")

// policiesOf returns the policies that a registrant has to pass.
func (b *rulebook) policiesOf(who *Registrant) ([]Policy, error) {
	if who.Policy == "" {
		return b.policies, nil
	}
	own, ok := b.named[who.Policy]
	if !ok {
		// A client must not outgrow a policy that the configuration has lost.
		return nil, ErrAccessDenied.WithDescription("The policy for this client is not known to this server any more.").WithDebugf("Config.NamedPolicies has no %q.", who.Policy)
	}
	return append([]Policy{own}, b.policies...), nil
}

// vouch lays what a trusted issuer says in a software statement over what the client says. A server without
// trusted issuers ignores statements (RFC 7591, section 3.1.1), or refuses them where the application wants
// that. The statement that a client registered with binds it even if its issuer is trusted no longer.
func (b *rulebook) vouch(ctx context.Context, m *ClientMetadata, previous *Client) error {
	if m.SoftwareStatement == "" && previous == nil {
		return nil
	}
	stored, err := storedStatement(previous)
	if err != nil {
		return failure(err)
	}
	given := stored
	switch {
	case m.SoftwareStatement == "" || m.SoftwareStatement == stored.Raw:
	case len(b.statements) > 0:
		if given, err = b.verifyStatement(ctx, m.SoftwareStatement); err != nil {
			return err
		}
	case b.config.RefuseStatements:
		return ErrUnapprovedSoftwareStatement
	}
	m.SoftwareStatement = ""
	if given.Raw == "" {
		return nil
	}
	sameSoftware := stored.Raw == given.Raw || stored.Issuer == given.Issuer && stored.SoftwareID == given.SoftwareID && given.SoftwareID != ""
	if stored.Raw != "" && !sameSoftware {
		return invalidStatement("is of another issuer or for another software than the one that this client registered with")
	}
	return b.overlay(m, given, previous)
}

// storedStatement is the one that a client registered with. It was verified then.
func storedStatement(client *Client) (assertion.Statement, error) {
	if client == nil || client.Metadata.SoftwareStatement == "" {
		return assertion.Statement{}, nil
	}
	return assertion.ReadStatement(client.Metadata.SoftwareStatement, client.StatementIssuer)
}

func (b *rulebook) verifyStatement(ctx context.Context, raw string) (assertion.Statement, error) {
	audiences := []string{b.location.issuerOrNone(ctx), b.location.registrationEndpoint(ctx)}
	given, err := assertion.VerifyStatement(ctx, raw, b.statements, b.now(), audiences)
	var refusal assertion.Refusal
	switch {
	case errors.As(err, &refusal):
		return given, invalidStatement(string(refusal))
	case errors.Is(err, assertion.ErrUntrusted):
		return given, ErrUnapprovedSoftwareStatement.WithDescription("software_statement is of an issuer that this server does not trust.")
	case errors.Is(err, assertion.ErrKeysUnavailable):
		return given, failure(errors.Join(ErrUnavailable, err))
	case err != nil:
		return given, failure(err)
	}
	return given, nil
}

func invalidStatement(what string) error {
	return ErrInvalidSoftwareStatement.WithDescription("software_statement " + what + ".")
}

// overlay puts the claims that are members of the metadata over the plain ones. In an update a plain member
// may repeat what was registered; another value is refused.
func (b *rulebook) overlay(m *ClientMetadata, s assertion.Statement, previous *Client) error {
	vouched, err := b.vouchedMetadata(s)
	if err != nil {
		return err
	}
	if m.SoftwareID != "" && vouched.SoftwareID != "" && m.SoftwareID != vouched.SoftwareID {
		return invalidStatement("is for another software than software_id says")
	}
	err = table.Overlay(m, &vouched, func(row *memberRow) error {
		if previous == nil || !row.Has(m) || table.Same(row.Name, m, &vouched) || table.Same(row.Name, m, &previous.Metadata) {
			return nil
		}
		return row.Refuse("is vouched for by the software statement and can not be changed")
	})
	m.SoftwareStatement, m.statementIssuer, m.statementMembers = s.Raw, s.Issuer, vouched.statementMembers
	return refusalOf(err)
}

// vouchedMetadata reads the members among the claims of a statement.
func (b *rulebook) vouchedMetadata(s assertion.Statement) (ClientMetadata, error) {
	var vouched ClientMetadata
	err := strictjson.Object(s.Claims, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if name == "software_statement" || isServerMember(name) {
			return nil
		}
		err := table.Set(&vouched, name, value, b.limits)
		if err == nil && (vouched.Value(name) != nil || vouched.Localized[name] != "") {
			vouched.statementMembers = append(vouched.statementMembers, name)
		}
		return err
	})
	var refusal *members.Refusal
	if errors.As(err, &refusal) {
		return vouched, ErrInvalidSoftwareStatement.WithDescription("software_statement: " + refusal.Error() + ".")
	}
	return vouched, err
}
