package dcr

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// ClientMetadata is what a client says of itself (RFC 7591, section 2). It is decoded from a request
// through the table of members below: a member without a row can't arrive. A field is empty where the
// member was not sent. Its JSON form is that of the protocol.
type ClientMetadata struct {
	RedirectURIs            []string // redirect_uris
	TokenEndpointAuthMethod string   // token_endpoint_auth_method
	// TokenEndpointAuthSigningAlg is the one JWS algorithm of client assertions; empty means any that fits
	// a registered key (OpenID Connect Registration 1.0, section 2).
	TokenEndpointAuthSigningAlg string
	GrantTypes                  []string // grant_types
	// ResponseTypes is empty, not nil, for a client that has no use for the authorization endpoint.
	ResponseTypes   []string
	ApplicationType string              // application_type
	ClientName      string              // client_name
	ClientURI       string              // client_uri
	LogoURI         string              // logo_uri
	TOSURI          string              // tos_uri
	PolicyURI       string              // policy_uri
	Scope           string              // Scope holds the scopes, divided by single spaces
	Contacts        []string            // contacts
	JWKSURI         string              // jwks_uri
	JWKS            *jose.JSONWebKeySet // jwks
	SoftwareID      string              // software_id
	SoftwareVersion string              // software_version
	// SoftwareStatement is a signed statement about the client, kept as it came and only if one of
	// Config.Metadata.StatementIssuers made it.
	SoftwareStatement string

	// OpenID is what OpenID Connect adds; nil where the client registers nothing of it.
	OpenID *OpenIDMetadata
	// Companion is what companions of OAuth 2.0 add; nil where the client registers nothing of it.
	Companion *CompanionMetadata

	// Localized holds the human-readable members that carry a language tag, under their full names
	// ("client_name#fr").
	Localized map[string]string
	// Extensions holds the members of Config.Metadata.ExtensionMembers, as JSON.
	Extensions map[string]json.RawMessage

	statementIssuer  string   // who made SoftwareStatement; the record has it
	statementMembers []string // what SoftwareStatement holds; the record has it
	decision         decision // what policies decided besides; the record has it
}

// decision is what policies decide of a client besides its metadata.
type decision struct {
	rotateSecret     bool
	lifetime         time.Duration
	alwaysAskConsent bool
	requirePKCE      bool
}

// OpenIDMetadata is what OpenID Connect and its logout and backchannel specifications add to the metadata
// of a client. What a provider does not support is not registered (see Config.Metadata.Supports).
type OpenIDMetadata struct {
	SubjectType                                string   // subject_type
	SectorIdentifierURI                        string   // sector_identifier_uri
	IDTokenSignedResponseAlg                   string   // id_token_signed_response_alg
	IDTokenEncryptedResponseAlg                string   // id_token_encrypted_response_alg
	IDTokenEncryptedResponseEnc                string   // id_token_encrypted_response_enc
	UserinfoSignedResponseAlg                  string   // userinfo_signed_response_alg
	UserinfoEncryptedResponseAlg               string   // userinfo_encrypted_response_alg
	UserinfoEncryptedResponseEnc               string   // userinfo_encrypted_response_enc
	RequestObjectSigningAlg                    string   // request_object_signing_alg
	RequestObjectEncryptionAlg                 string   // request_object_encryption_alg
	RequestObjectEncryptionEnc                 string   // request_object_encryption_enc
	DefaultMaxAge                              *int64   // default_max_age, in seconds
	RequireAuthTime                            *bool    // require_auth_time
	DefaultACRValues                           []string // default_acr_values
	InitiateLoginURI                           string   // initiate_login_uri
	RequestURIs                                []string // request_uris
	PostLogoutRedirectURIs                     []string // post_logout_redirect_uris
	FrontchannelLogoutURI                      string   // frontchannel_logout_uri
	FrontchannelLogoutSessionRequired          *bool    // frontchannel_logout_session_required
	BackchannelLogoutURI                       string   // backchannel_logout_uri
	BackchannelLogoutSessionRequired           *bool    // backchannel_logout_session_required
	BackchannelTokenDeliveryMode               string   // backchannel_token_delivery_mode
	BackchannelClientNotificationEndpoint      string   // backchannel_client_notification_endpoint
	BackchannelAuthenticationRequestSigningAlg string   // backchannel_authentication_request_signing_alg
	BackchannelUserCodeParameter               *bool    // backchannel_user_code_parameter
}

// CompanionMetadata is what companions of OAuth 2.0 add to the metadata of a client. What a provider does
// not support is not registered (see Config.Metadata.Supports).
type CompanionMetadata struct {
	ResponseModes                         []string // response_modes
	RequirePushedAuthorizationRequests    *bool    // require_pushed_authorization_requests
	RequireSignedRequestObject            *bool    // require_signed_request_object
	DPoPBoundAccessTokens                 *bool    // dpop_bound_access_tokens
	TLSClientCertificateBoundAccessTokens *bool    // tls_client_certificate_bound_access_tokens
	UseMTLSEndpointAliases                *bool    // use_mtls_endpoint_aliases
	TLSClientAuthSubjectDN                string   // tls_client_auth_subject_dn
	TLSClientAuthSANDNS                   string   // tls_client_auth_san_dns
	TLSClientAuthSANURI                   string   // tls_client_auth_san_uri
	TLSClientAuthSANIP                    string   // tls_client_auth_san_ip
	TLSClientAuthSANEmail                 string   // tls_client_auth_san_email
	AuthorizationDetailsTypes             []string // authorization_details_types
	IntrospectionSignedResponseAlg        string   // introspection_signed_response_alg
	IntrospectionEncryptedResponseAlg     string   // introspection_encrypted_response_alg
	IntrospectionEncryptedResponseEnc     string   // introspection_encrypted_response_enc
	AuthorizationSignedResponseAlg        string   // authorization_signed_response_alg
	AuthorizationEncryptedResponseAlg     string   // authorization_encrypted_response_alg
	AuthorizationEncryptedResponseEnc     string   // authorization_encrypted_response_enc
}

// Clone returns a deep copy.
func (m ClientMetadata) Clone() ClientMetadata {
	m.OpenID, m.Companion = clonePointer(m.OpenID), clonePointer(m.Companion)
	table.Unshare(&m)
	return m
}

// adopt takes over what a policy left, which may be other metadata (T64). What the server knows of a software
// statement stays with the statement.
func (m *ClientMetadata) adopt(left *ClientMetadata) {
	raw, issuer, held := m.SoftwareStatement, m.statementIssuer, m.statementMembers
	if left != m {
		*m = left.Clone()
	}
	if m.SoftwareStatement != raw {
		issuer, held = "", nil
	}
	m.statementIssuer, m.statementMembers = issuer, held
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// What a few members may be.
const (
	applicationWeb    = "web"
	applicationNative = "native"
	subjectPairwise   = "pairwise"
	// defaultContentEncryption is the content encryption of a token where a client registers an algorithm
	// of encryption alone (OpenID Connect Registration 1.0, section 2).
	defaultContentEncryption = "A128CBC-HS256"
)

const (
	specRegistration = "RFC 7591, section 2"
	specOpenID       = "OpenID Connect Registration 1.0, section 2"
	specCIBA         = "OpenID Connect CIBA Core 1.0, section 4"
	specTLS          = "RFC 8705, section 2.1.2"
	specJARM         = "JARM, section 3"
)

type (
	memberRow  = members.Row[ClientMetadata]
	memberRule = members.Rule
)

// The parts of ClientMetadata that are nil where a client registers nothing of them.
var (
	openID = &members.Group[ClientMetadata]{
		Has:  func(m *ClientMetadata) bool { return m.OpenID != nil },
		Make: func(m *ClientMetadata) { m.OpenID = new(OpenIDMetadata) },
		Drop: func(m *ClientMetadata) { m.OpenID = nil },
	}
	companion = &members.Group[ClientMetadata]{
		Has:  func(m *ClientMetadata) bool { return m.Companion != nil },
		Make: func(m *ClientMetadata) { m.Companion = new(CompanionMetadata) },
		Drop: func(m *ClientMetadata) { m.Companion = nil },
	}
)

// errRedirectURI marks the row whose refusal is invalid_redirect_uri. All others are
// invalid_client_metadata.
var errRedirectURI = errors.New("invalid_redirect_uri")

// table has one row for each member: its name, where it is defined, its place, its rules, and what becomes
// of it where the server does not support it. Answers and documents show members in this order.
var table = members.NewTable(
	func(m *ClientMetadata) *map[string]string { return &m.Localized },
	func(m *ClientMetadata) *map[string]json.RawMessage { return &m.Extensions },

	memberRow{Name: "redirect_uris", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.RedirectURIs },
		Code: errRedirectURI, Most: func(l *members.Limits) int { return l.RedirectURIs }, Rules: []memberRule{members.RedirectURI}},
	memberRow{Name: "token_endpoint_auth_method", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.TokenEndpointAuthMethod },
		List: "token_endpoint_auth_methods_supported", Enum: true, Rules: []memberRule{members.ShortName}},
	memberRow{Name: "token_endpoint_auth_signing_alg", Spec: specOpenID, Field: func(m *ClientMetadata) any { return &m.TokenEndpointAuthSigningAlg },
		List: "token_endpoint_auth_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.AssertionAlgorithm}},
	memberRow{Name: "grant_types", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.GrantTypes },
		Rules: []memberRule{members.ShortName}},
	memberRow{Name: "response_types", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.ResponseTypes },
		Rules: []memberRule{members.ShortName}},
	memberRow{Name: "application_type", Spec: specOpenID, Field: func(m *ClientMetadata) any { return &m.ApplicationType },
		Enum: true, Rules: []memberRule{members.OneOf("is neither web nor native", applicationWeb, applicationNative)}},
	memberRow{Name: "client_name", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.ClientName },
		Tagged: true, Rules: []memberRule{members.Text}},
	memberRow{Name: "client_uri", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.ClientURI },
		Tagged: true, Rules: []memberRule{members.WebURL}},
	memberRow{Name: "logo_uri", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.LogoURI },
		Tagged: true, Rules: []memberRule{members.WebURL}},
	memberRow{Name: "tos_uri", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.TOSURI },
		Tagged: true, Rules: []memberRule{members.WebURL}},
	memberRow{Name: "policy_uri", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.PolicyURI },
		Tagged: true, Rules: []memberRule{members.WebURL}},
	memberRow{Name: "scope", Spec: "RFC 7591, section 2; RFC 6749, section 3.3", Field: func(m *ClientMetadata) any { return &m.Scope },
		Rules: []memberRule{members.ScopeTokens}},
	memberRow{Name: "contacts", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.Contacts },
		Rules: []memberRule{members.Text}},
	memberRow{Name: "jwks_uri", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.JWKSURI },
		Rules: []memberRule{members.FetchedURL}},
	memberRow{Name: "jwks", Spec: "RFC 7591, section 2; RFC 7517", Field: func(m *ClientMetadata) any { return &m.JWKS }},
	memberRow{Name: "software_id", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.SoftwareID },
		Rules: []memberRule{members.Text}},
	memberRow{Name: "software_version", Spec: specRegistration, Field: func(m *ClientMetadata) any { return &m.SoftwareVersion },
		Rules: []memberRule{members.Text}},
	memberRow{Name: "software_statement", Spec: "RFC 7591, section 2.3", Field: func(m *ClientMetadata) any { return &m.SoftwareStatement }},

	// OpenID Connect.
	memberRow{Name: "subject_type", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.SubjectType },
		List: "subject_types_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused, Values: []string{"public"}},
	memberRow{Name: "sector_identifier_uri", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.SectorIdentifierURI },
		Rules: []memberRule{members.FetchedURL}, Support: members.LeftOut},
	memberRow{Name: "id_token_signed_response_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenSignedResponseAlg },
		List: "id_token_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused, Values: []string{"RS256"}},
	memberRow{Name: "id_token_encrypted_response_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenEncryptedResponseAlg },
		List: "id_token_encryption_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "id_token_encrypted_response_enc", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.IDTokenEncryptedResponseEnc },
		List: "id_token_encryption_enc_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "userinfo_signed_response_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoSignedResponseAlg },
		List: "userinfo_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "userinfo_encrypted_response_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoEncryptedResponseAlg },
		List: "userinfo_encryption_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "userinfo_encrypted_response_enc", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.UserinfoEncryptedResponseEnc },
		List: "userinfo_encryption_enc_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "request_object_signing_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectSigningAlg },
		List: "request_object_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "request_object_encryption_alg", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectEncryptionAlg },
		List: "request_object_encryption_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "request_object_encryption_enc", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.RequestObjectEncryptionEnc },
		List: "request_object_encryption_enc_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "default_max_age", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.DefaultMaxAge },
		Support: members.LeftOut},
	memberRow{Name: "require_auth_time", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.RequireAuthTime },
		Support: members.LeftOut},
	memberRow{Name: "default_acr_values", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.DefaultACRValues },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "initiate_login_uri", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.InitiateLoginURI },
		Rules: []memberRule{members.HTTPSURL}, Support: members.LeftOut},
	memberRow{Name: "request_uris", Spec: specOpenID, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.RequestURIs },
		Rules: []memberRule{members.FetchedURLWithFragment}, Support: members.Refused},
	memberRow{Name: "post_logout_redirect_uris", Spec: "OpenID Connect RP-Initiated Logout 1.0, section 3.1", Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.PostLogoutRedirectURIs },
		Rules: []memberRule{members.RedirectURI}, Support: members.LeftOut},
	memberRow{Name: "frontchannel_logout_uri", Spec: "OpenID Connect Front-Channel Logout 1.0, section 2", Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.FrontchannelLogoutURI },
		Rules: []memberRule{members.RedirectURI}, Support: members.LeftOut},
	memberRow{Name: "frontchannel_logout_session_required", Spec: "OpenID Connect Front-Channel Logout 1.0, section 2", Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.FrontchannelLogoutSessionRequired },
		Support: members.LeftOut},
	memberRow{Name: "backchannel_logout_uri", Spec: "OpenID Connect Back-Channel Logout 1.0, section 2.2", Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelLogoutURI },
		Rules: []memberRule{members.FetchedURL}, Support: members.LeftOut},
	memberRow{Name: "backchannel_logout_session_required", Spec: "OpenID Connect Back-Channel Logout 1.0, section 2.2", Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelLogoutSessionRequired },
		Support: members.LeftOut},
	memberRow{Name: "backchannel_token_delivery_mode", Spec: specCIBA, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelTokenDeliveryMode },
		Enum: true, Rules: []memberRule{members.OneOf("is none of poll, ping and push", "poll", "ping", "push")}, Support: members.LeftOut},
	memberRow{Name: "backchannel_client_notification_endpoint", Spec: specCIBA, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelClientNotificationEndpoint },
		Rules: []memberRule{members.FetchedURL}, Support: members.LeftOut},
	memberRow{Name: "backchannel_authentication_request_signing_alg", Spec: specCIBA, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelAuthenticationRequestSigningAlg },
		List: "backchannel_authentication_request_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "backchannel_user_code_parameter", Spec: specCIBA, Group: openID, Field: func(m *ClientMetadata) any { return &m.OpenID.BackchannelUserCodeParameter },
		Support: members.LeftOut},

	// Companions of OAuth 2.0.
	memberRow{Name: "response_modes", Spec: "OpenID Connect Federation 1.0, section 5.2; OAuth 2.0 Multiple Response Types, section 2.1", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.ResponseModes },
		Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "require_pushed_authorization_requests", Spec: "RFC 9126, section 6", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.RequirePushedAuthorizationRequests },
		Support: members.Refused},
	memberRow{Name: "require_signed_request_object", Spec: "RFC 9101, section 10.5", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.RequireSignedRequestObject },
		Support: members.Refused},
	memberRow{Name: "dpop_bound_access_tokens", Spec: "RFC 9449, section 5.2", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.DPoPBoundAccessTokens },
		Support: members.Refused},
	memberRow{Name: "tls_client_certificate_bound_access_tokens", Spec: "RFC 8705, section 3.4", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientCertificateBoundAccessTokens },
		Support: members.Refused},
	memberRow{Name: "use_mtls_endpoint_aliases", Spec: "FAPI 2.0 Message Signing; RFC 8705, section 5", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.UseMTLSEndpointAliases },
		Support: members.LeftOut},
	memberRow{Name: "tls_client_auth_subject_dn", Spec: specTLS, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSubjectDN },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "tls_client_auth_san_dns", Spec: specTLS, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANDNS },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "tls_client_auth_san_uri", Spec: specTLS, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANURI },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "tls_client_auth_san_ip", Spec: specTLS, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANIP },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "tls_client_auth_san_email", Spec: specTLS, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.TLSClientAuthSANEmail },
		Rules: []memberRule{members.Text}, Support: members.LeftOut},
	memberRow{Name: "authorization_details_types", Spec: "RFC 9396, section 10", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationDetailsTypes },
		Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "introspection_signed_response_alg", Spec: "RFC 9701, section 6", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionSignedResponseAlg },
		List: "introspection_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "introspection_encrypted_response_alg", Spec: "RFC 9701, section 6", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionEncryptedResponseAlg },
		List: "introspection_encryption_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "introspection_encrypted_response_enc", Spec: "RFC 9701, section 6", Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.IntrospectionEncryptedResponseEnc },
		List: "introspection_encryption_enc_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "authorization_signed_response_alg", Spec: specJARM, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationSignedResponseAlg },
		List: "authorization_signing_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "authorization_encrypted_response_alg", Spec: specJARM, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationEncryptedResponseAlg },
		List: "authorization_encryption_alg_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
	memberRow{Name: "authorization_encrypted_response_enc", Spec: specJARM, Group: companion, Field: func(m *ClientMetadata) any { return &m.Companion.AuthorizationEncryptedResponseEnc },
		List: "authorization_encryption_enc_values_supported", Enum: true, Rules: []memberRule{members.ShortName}, Support: members.Refused},
)

// certificateSubjects are the members that name the subject of a client's certificate.
var certificateSubjects = []string{
	"tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri",
	"tls_client_auth_san_ip", "tls_client_auth_san_email",
}

// widerThanItself returns a known scope that the strategy grants to whoever registered scope, other than
// scope (T54).
func widerThanItself(scope string, known []string, matches fosite.ScopeStrategy) string {
	if strings.Contains(scope, "*") {
		return scope
	}
	for _, other := range known {
		if other != scope && matches([]string{scope}, other) {
			return other
		}
	}
	return ""
}

// Member is one member of the client metadata that this package knows.
type Member struct {
	Name          string // Name is the name in JSON, such as "redirect_uris"
	Type          string // Type is "string", "array of strings", "boolean", "integer" or "JWK Set"
	Specification string // Specification says where the member is defined
	Tagged        bool   // Tagged members may carry a language tag, as in "client_name#fr" (RFC 7591, section 2.2)
	List          string // List is the name of a list of values from which the server chooses one, such as "subject_types_supported"
	// Support says what becomes of a value that the server does not support: the member is "left out" or
	// "refused". "registered" members are kept whatever the server supports.
	Support string
	Values  []string // Values are supported by every server, for a member that is not "registered"
}

// Members returns the members that this package knows, in the order of answers.
func Members() []Member {
	var list []Member
	for row := range table.Rows() {
		list = append(list, Member{
			Name: row.Name, Type: row.Type(), Specification: row.Spec, Tagged: row.Tagged, List: row.List,
			Support: row.Support.String(), Values: slices.Clone(row.Values),
		})
	}
	return list
}

// Value returns the value of a member by its name in JSON: a string, []string, bool, int64 or
// *jose.JSONWebKeySet. It returns nil for a member that is absent or unknown.
func (m *ClientMetadata) Value(name string) any {
	if m == nil {
		return nil
	}
	return table.Value(m, name)
}

// Differing returns the names of the members that differ, in any order.
func (m *ClientMetadata) Differing(other *ClientMetadata) []string { return table.Differing(m, other) }

// Fill copies into m every member of from that m does not have.
func (m *ClientMetadata) Fill(from ClientMetadata) {
	from = from.Clone()
	table.Fill(m, &from)
}

// Members that only the server may set. The first two may stand in an update, where they have to agree with
// the client (RFC 7592, section 2.2).
const (
	memberClientID                = "client_id"
	memberClientSecret            = "client_secret"
	memberClientIDIssuedAt        = "client_id_issued_at"
	memberClientSecretExpiresAt   = "client_secret_expires_at"
	memberRegistrationAccessToken = "registration_access_token"
	memberRegistrationClientURI   = "registration_client_uri"
)

func isServerMember(name string) bool {
	switch name {
	case memberClientID, memberClientSecret, memberClientIDIssuedAt, memberClientSecretExpiresAt,
		memberRegistrationAccessToken, memberRegistrationClientURI:
		return true
	}
	return false
}

// MarshalJSON writes the metadata as the protocol has it: what is empty is left out, but for an empty list
// that says something.
func (m ClientMetadata) MarshalJSON() ([]byte, error) {
	dst, err := m.appendMembers([]byte{'{'})
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, from a storage. It is not for requests: it applies no rule.
func (m *ClientMetadata) UnmarshalJSON(data []byte) error {
	var read ClientMetadata
	err := strictjson.Object(data, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if isServerMember(name) {
			return nil
		}
		return table.Set(&read, name, value, storedLimits)
	})
	if err != nil {
		return err
	}
	*m = read
	return nil
}

// storedLimits let everything pass that a storage may hold.
var storedLimits = members.Stored()

// appendMembers writes the members, each behind a comma where it is not the first of its object.
func (m *ClientMetadata) appendMembers(dst []byte) ([]byte, error) { return table.Append(dst, m) }
