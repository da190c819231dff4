package dcr

import (
	"slices"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
)

// member is one row of the table: everything about one member of the metadata.
type member struct {
	name string
	// spec is where the member is defined.
	spec string
	// group tells which part of ClientMetadata has the member.
	group group
	// field returns a pointer to the member's place; its type is the member's kind:
	// *string, *[]string, **bool, **int64 or **jose.JSONWebKeySet.
	field func(*ClientMetadata) any
	// tagged members may carry a language tag (RFC 7591, section 2.2).
	tagged bool
	// enum members take one of a few values; an empty string is a wrong one. For
	// all others an empty string counts as omitted.
	enum bool
	// code is the error of this member's rules; nil means ErrInvalidClientMetadata.
	code *fosite.RFC6749Error
	// rules judge each string of the value.
	rules []rule
	// support tells what becomes of a value that passes the rules.
	support support
	// values are those that every provider honours, for a member whose support is not
	// registered.
	values []string
}

// group is a part of ClientMetadata.
type group byte

const (
	base group = iota
	openID
	companion
)

// support tells what becomes of a member. A provider honours a member, or some of its
// values, by what the handlers do, by the row's values, and by Config.Supports.
type support byte

const (
	// registered members are kept as they are, or have a step of resolve of their own.
	registered support = iota
	// leftOut members are those of features; without the feature they promise nothing,
	// and the answer shows that they were not registered.
	leftOut
	// refused members promise security or choose an algorithm; without support they
	// are an error.
	refused
)

// rule judges one value. What it returns continues the member's name ("is not an
// https URL"); nothing means that the value is fine.
type rule func(l *limits, value string) string

const (
	specRegistration = "RFC 7591, section 2"
	specOpenID       = "OpenID Connect Registration 1.0, section 2"
	specCIBA         = "OpenID Connect CIBA Core 1.0, section 4"
	specTLS          = "RFC 8705, section 2.1.2"
	specJARM         = "JARM, section 3"
)

// members is the table. Documents show members in this order.
var members = []member{
	{name: "redirect_uris", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.RedirectURIs },
		code: ErrInvalidRedirectURI, rules: []rule{redirectURI}},
	{name: "token_endpoint_auth_method", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.TokenEndpointAuthMethod },
		enum: true, rules: []rule{shortName}},
	{name: "token_endpoint_auth_signing_alg", spec: specOpenID, field: func(m *ClientMetadata) any { return &m.TokenEndpointAuthSigningAlg },
		enum: true, rules: []rule{assertionAlgorithm}},
	{name: "grant_types", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.GrantTypes },
		rules: []rule{shortName}},
	{name: "response_types", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.ResponseTypes },
		rules: []rule{shortName}},
	{name: "application_type", spec: specOpenID, field: func(m *ClientMetadata) any { return &m.ApplicationType },
		enum: true, rules: []rule{applicationType}},
	{name: "client_name", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.ClientName },
		tagged: true, rules: []rule{text}},
	{name: "client_uri", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.ClientURI },
		tagged: true, rules: []rule{webURL}},
	{name: "logo_uri", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.LogoURI },
		tagged: true, rules: []rule{webURL}},
	{name: "tos_uri", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.TOSURI },
		tagged: true, rules: []rule{webURL}},
	{name: "policy_uri", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.PolicyURI },
		tagged: true, rules: []rule{webURL}},
	{name: "scope", spec: "RFC 7591, section 2; RFC 6749, section 3.3", field: func(m *ClientMetadata) any { return &m.Scope },
		rules: []rule{scopeTokens}},
	{name: "contacts", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.Contacts },
		rules: []rule{text}},
	{name: "jwks_uri", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.JWKSURI },
		rules: []rule{fetchedURL}},
	{name: "jwks", spec: "RFC 7591, section 2; RFC 7517", field: func(m *ClientMetadata) any { return &m.JWKS }},
	{name: "software_id", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.SoftwareID },
		rules: []rule{text}},
	{name: "software_version", spec: specRegistration, field: func(m *ClientMetadata) any { return &m.SoftwareVersion },
		rules: []rule{text}},
	{name: "software_statement", spec: "RFC 7591, section 2.3", field: func(m *ClientMetadata) any { return &m.SoftwareStatement }},

	// OpenID Connect.
	{name: "subject_type", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.SubjectType },
		enum: true, rules: []rule{shortName}, support: refused, values: []string{"public"}},
	{name: "sector_identifier_uri", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.SectorIdentifierURI },
		rules: []rule{fetchedURL}, support: leftOut},
	{name: "id_token_signed_response_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenSignedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused, values: []string{"RS256"}},
	{name: "id_token_encrypted_response_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenEncryptedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "id_token_encrypted_response_enc", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenEncryptedResponseEnc },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "userinfo_signed_response_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoSignedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "userinfo_encrypted_response_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoEncryptedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "userinfo_encrypted_response_enc", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoEncryptedResponseEnc },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "request_object_signing_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectSigningAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "request_object_encryption_alg", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectEncryptionAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "request_object_encryption_enc", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectEncryptionEnc },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "default_max_age", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.DefaultMaxAge },
		support: leftOut},
	{name: "require_auth_time", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.RequireAuthTime },
		support: leftOut},
	{name: "default_acr_values", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.DefaultACRValues },
		rules: []rule{text}, support: leftOut},
	{name: "initiate_login_uri", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.InitiateLoginURI },
		rules: []rule{httpsURL}, support: leftOut},
	{name: "request_uris", spec: specOpenID, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.RequestURIs },
		rules: []rule{fetchedURLWithFragment}, support: refused},
	{name: "post_logout_redirect_uris", spec: "OpenID Connect RP-Initiated Logout 1.0, section 3.1", group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.PostLogoutRedirectURIs },
		rules: []rule{redirectURI}, support: leftOut},
	{name: "frontchannel_logout_uri", spec: "OpenID Connect Front-Channel Logout 1.0, section 2", group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.FrontchannelLogoutURI },
		rules: []rule{redirectURI}, support: leftOut},
	{name: "frontchannel_logout_session_required", spec: "OpenID Connect Front-Channel Logout 1.0, section 2", group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.FrontchannelLogoutSessionRequired },
		support: leftOut},
	{name: "backchannel_logout_uri", spec: "OpenID Connect Back-Channel Logout 1.0, section 2.2", group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelLogoutURI },
		rules: []rule{fetchedURL}, support: leftOut},
	{name: "backchannel_logout_session_required", spec: "OpenID Connect Back-Channel Logout 1.0, section 2.2", group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelLogoutSessionRequired },
		support: leftOut},
	{name: "backchannel_token_delivery_mode", spec: specCIBA, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelTokenDeliveryMode },
		enum: true, rules: []rule{deliveryMode}, support: leftOut},
	{name: "backchannel_client_notification_endpoint", spec: specCIBA, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelClientNotificationEndpoint },
		rules: []rule{fetchedURL}, support: leftOut},
	{name: "backchannel_authentication_request_signing_alg", spec: specCIBA, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelAuthenticationRequestSigningAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "backchannel_user_code_parameter", spec: specCIBA, group: openID, field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelUserCodeParameter },
		support: leftOut},

	// Companions of OAuth 2.0.
	{name: "response_modes", spec: "OpenID Connect Federation 1.0, section 5.2; OAuth 2.0 Multiple Response Types, section 2.1", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.ResponseModes },
		rules: []rule{shortName}, support: refused},
	{name: "require_pushed_authorization_requests", spec: "RFC 9126, section 6", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.RequirePushedAuthorizationRequests },
		support: refused},
	{name: "require_signed_request_object", spec: "RFC 9101, section 10.5", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.RequireSignedRequestObject },
		support: refused},
	{name: "dpop_bound_access_tokens", spec: "RFC 9449, section 5.2", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.DPoPBoundAccessTokens },
		support: refused},
	{name: "tls_client_certificate_bound_access_tokens", spec: "RFC 8705, section 3.4", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientCertificateBoundAccessTokens },
		support: refused},
	{name: "use_mtls_endpoint_aliases", spec: "FAPI 2.0 Message Signing; RFC 8705, section 5", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.UseMTLSEndpointAliases },
		support: leftOut},
	{name: "tls_client_auth_subject_dn", spec: specTLS, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSubjectDN },
		rules: []rule{text}, support: leftOut},
	{name: "tls_client_auth_san_dns", spec: specTLS, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANDNS },
		rules: []rule{text}, support: leftOut},
	{name: "tls_client_auth_san_uri", spec: specTLS, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANURI },
		rules: []rule{text}, support: leftOut},
	{name: "tls_client_auth_san_ip", spec: specTLS, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANIP },
		rules: []rule{text}, support: leftOut},
	{name: "tls_client_auth_san_email", spec: specTLS, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANEmail },
		rules: []rule{text}, support: leftOut},
	{name: "authorization_details_types", spec: "RFC 9396, section 10", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationDetailsTypes },
		rules: []rule{shortName}, support: refused},
	{name: "introspection_signed_response_alg", spec: "RFC 9701, section 6", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionSignedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "introspection_encrypted_response_alg", spec: "RFC 9701, section 6", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionEncryptedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "introspection_encrypted_response_enc", spec: "RFC 9701, section 6", group: companion, field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionEncryptedResponseEnc },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "authorization_signed_response_alg", spec: specJARM, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationSignedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "authorization_encrypted_response_alg", spec: specJARM, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationEncryptedResponseAlg },
		enum: true, rules: []rule{shortName}, support: refused},
	{name: "authorization_encrypted_response_enc", spec: specJARM, group: companion, field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationEncryptedResponseEnc },
		enum: true, rules: []rule{shortName}, support: refused},
}

// memberNamed finds rows by name.
var memberNamed = func() map[string]*member {
	index := make(map[string]*member, len(members))
	for i := range members {
		index[members[i].name] = &members[i]
	}
	return index
}()

// place returns the pointer to the member's place, or nil where the metadata has
// nothing of its group.
func (row *member) place(m *ClientMetadata) any {
	if row.group == openID && m.OpenID == nil || row.group == companion && m.Companion == nil {
		return nil
	}
	return row.field(m)
}

// settle returns the pointer to the member's place, which is made if need be.
func (row *member) settle(m *ClientMetadata) any {
	if row.group == openID && m.OpenID == nil {
		m.OpenID = new(OpenIDMetadata)
	}
	if row.group == companion && m.Companion == nil {
		m.Companion = new(CompanionMetadata)
	}
	return row.field(m)
}

// Member is one member of the client metadata that this package knows.
type Member struct {
	// Name is the name in JSON, such as "redirect_uris".
	Name string
	// Type is "string", "array of strings", "boolean", "integer" or "JWK Set".
	Type string
	// Specification tells where the member is defined.
	Specification string
	// Tagged members may carry a language tag, as in "client_name#fr" (RFC 7591, section 2.2).
	Tagged bool
	// Support tells what becomes of a value that the server does not support: the member is
	// "left out" or "refused". "registered" members are kept whatever the server supports.
	Support string
	// Values are supported by every server, for a member that is not "registered".
	Values []string
}

// Members returns the members that this package knows, in the order in which answers show
// them. Policies and documentation may read it.
func Members() []Member {
	list := make([]Member, len(members))
	for i := range members {
		row := &members[i]
		list[i] = Member{
			Name: row.name, Type: row.typeName(), Specification: row.spec, Tagged: row.tagged,
			Support: row.support.String(), Values: slices.Clone(row.values),
		}
	}
	return list
}

// Value returns the value of a member by its name in JSON: a string, []string, bool, int64
// or *jose.JSONWebKeySet. It returns nil for a member that is absent or unknown.
func (m *ClientMetadata) Value(name string) any {
	row := memberNamed[name]
	if row == nil {
		return nil
	}
	place := row.place(m)
	if place == nil || isEmpty(place) {
		return nil
	}
	switch value := place.(type) {
	case *string:
		return *value
	case *[]string:
		return *value
	case **bool:
		return **value
	case **int64:
		return **value
	case **jose.JSONWebKeySet:
		return *value
	}
	return nil
}

// Fill copies into m every member of from that m does not have, members with a language tag
// and extension members included.
func (m *ClientMetadata) Fill(from ClientMetadata) {
	from = from.Clone()
	for i := range members {
		row := &members[i]
		value := row.place(&from)
		if value == nil || isEmpty(value) {
			continue
		}
		if place := row.settle(m); isEmpty(place) {
			copyPlace(place, value)
		}
	}
	for name, value := range from.Localized {
		if _, named := m.Localized[name]; !named {
			m.Localized = withEntry(m.Localized, name, value)
		}
	}
	for name, value := range from.Extensions {
		if _, named := m.Extensions[name]; !named {
			m.Extensions = withEntry(m.Extensions, name, value)
		}
	}
}

func (row *member) typeName() string {
	switch row.settle(new(ClientMetadata)).(type) {
	case *string:
		return "string"
	case *[]string:
		return "array of strings"
	case **bool:
		return "boolean"
	case **int64:
		return "integer"
	}
	return "JWK Set"
}

func (s support) String() string { return [...]string{"registered", "left out", "refused"}[s] }
