package dcr

import "slices"

// OpenIDMetadata is what OpenID Connect and its logout and backchannel specifications
// add to the metadata of a client. What a provider does not honour is not registered
// (see Config.Supports).
type OpenIDMetadata struct {
	SubjectType                                string
	SectorIdentifierURI                        string
	IDTokenSignedResponseAlg                   string
	IDTokenEncryptedResponseAlg                string
	IDTokenEncryptedResponseEnc                string
	UserinfoSignedResponseAlg                  string
	UserinfoEncryptedResponseAlg               string
	UserinfoEncryptedResponseEnc               string
	RequestObjectSigningAlg                    string
	RequestObjectEncryptionAlg                 string
	RequestObjectEncryptionEnc                 string
	DefaultMaxAge                              *int64 // seconds
	RequireAuthTime                            *bool
	DefaultACRValues                           []string
	InitiateLoginURI                           string
	RequestURIs                                []string
	PostLogoutRedirectURIs                     []string
	FrontchannelLogoutURI                      string
	FrontchannelLogoutSessionRequired          *bool
	BackchannelLogoutURI                       string
	BackchannelLogoutSessionRequired           *bool
	BackchannelTokenDeliveryMode               string
	BackchannelClientNotificationEndpoint      string
	BackchannelAuthenticationRequestSigningAlg string
	BackchannelUserCodeParameter               *bool
}

// CompanionMetadata is what companions of OAuth 2.0 add to the metadata of a client.
// What a provider does not honour is not registered (see Config.Supports).
type CompanionMetadata struct {
	ResponseModes                         []string
	RequirePushedAuthorizationRequests    *bool
	RequireSignedRequestObject            *bool
	DPoPBoundAccessTokens                 *bool
	TLSClientCertificateBoundAccessTokens *bool
	UseMTLSEndpointAliases                *bool
	TLSClientAuthSubjectDN                string
	TLSClientAuthSANDNS                   string
	TLSClientAuthSANURI                   string
	TLSClientAuthSANIP                    string
	TLSClientAuthSANEmail                 string
	AuthorizationDetailsTypes             []string
	IntrospectionSignedResponseAlg        string
	IntrospectionEncryptedResponseAlg     string
	IntrospectionEncryptedResponseEnc     string
	AuthorizationSignedResponseAlg        string
	AuthorizationEncryptedResponseAlg     string
	AuthorizationEncryptedResponseEnc     string
}

func (m *OpenIDMetadata) clone() *OpenIDMetadata {
	if m == nil {
		return nil
	}
	c := *m
	c.DefaultMaxAge = clonePointer(m.DefaultMaxAge)
	c.RequireAuthTime = clonePointer(m.RequireAuthTime)
	c.DefaultACRValues = slices.Clone(m.DefaultACRValues)
	c.RequestURIs = slices.Clone(m.RequestURIs)
	c.PostLogoutRedirectURIs = slices.Clone(m.PostLogoutRedirectURIs)
	c.FrontchannelLogoutSessionRequired = clonePointer(m.FrontchannelLogoutSessionRequired)
	c.BackchannelLogoutSessionRequired = clonePointer(m.BackchannelLogoutSessionRequired)
	c.BackchannelUserCodeParameter = clonePointer(m.BackchannelUserCodeParameter)
	return &c
}

func (m *CompanionMetadata) clone() *CompanionMetadata {
	if m == nil {
		return nil
	}
	c := *m
	c.ResponseModes = slices.Clone(m.ResponseModes)
	c.AuthorizationDetailsTypes = slices.Clone(m.AuthorizationDetailsTypes)
	c.RequirePushedAuthorizationRequests = clonePointer(m.RequirePushedAuthorizationRequests)
	c.RequireSignedRequestObject = clonePointer(m.RequireSignedRequestObject)
	c.DPoPBoundAccessTokens = clonePointer(m.DPoPBoundAccessTokens)
	c.TLSClientCertificateBoundAccessTokens = clonePointer(m.TLSClientCertificateBoundAccessTokens)
	c.UseMTLSEndpointAliases = clonePointer(m.UseMTLSEndpointAliases)
	return &c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
