package capability

import (
	"slices"
	"strings"
)

// The methods by which a client authenticates at the token endpoint.
const (
	// MethodNone is that of a public client, which has no credentials (RFC 7591, section 2).
	MethodNone = "none"
	// MethodClientSecretBasic sends a secret in the header (RFC 6749, section 2.3.1).
	MethodClientSecretBasic = "client_secret_basic"
	// MethodClientSecretPost sends a secret in the body (RFC 6749, section 2.3.1).
	MethodClientSecretPost = "client_secret_post"
	// MethodClientSecretJWT signs with a secret, which the server would have to keep in clear
	// (OpenID Connect Core 1.0, section 9).
	MethodClientSecretJWT = "client_secret_jwt"
	// MethodPrivateKeyJWT signs with a key of the client (OpenID Connect Core 1.0, section 9).
	MethodPrivateKeyJWT = "private_key_jwt"
	// MethodTLSClientAuth shows a certificate (RFC 8705, section 2.1).
	MethodTLSClientAuth = "tls_client_auth"
)

// The grant types that this package knows.
const (
	// GrantAuthorizationCode is that of RFC 6749, section 4.1.
	GrantAuthorizationCode = "authorization_code"
	// GrantImplicit is that of RFC 6749, section 4.2. No token endpoint handles it.
	GrantImplicit = "implicit"
	// GrantRefreshToken is that of RFC 6749, section 6.
	GrantRefreshToken = "refresh_token"
	// GrantClientCredentials is that of RFC 6749, section 4.4.
	GrantClientCredentials = "client_credentials"
	// GrantPassword is that of RFC 6749, section 4.3.
	GrantPassword = "password"
	// GrantJWTBearer is that of RFC 7523, section 2.1.
	GrantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// GrantDeviceCode is that of RFC 8628, section 3.4.
	GrantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"
	// GrantTokenExchange is that of RFC 8693, section 2.1.
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	// GrantCIBA is that of OpenID Connect CIBA Core 1.0, section 10.1.
	GrantCIBA = "urn:openid:params:grant-type:ciba"
)

// ResponseCode is the response type of the authorization code grant (RFC 6749, section 3.1.1).
const ResponseCode = "code"

// UsesSecret reports whether a client authenticates with a secret by this method. It is false for
// client_secret_jwt, which a server that stores hashes can't check.
func UsesSecret(method string) bool {
	return method == MethodClientSecretBasic || method == MethodClientSecretPost
}

// SharesSecret reports whether a client has a secret in common with the server by this method, whatever the server
// supports.
func SharesSecret(method string) bool { return strings.HasPrefix(method, "client_secret_") }

// Unshared returns the methods that share no secret, the strongest first: private_key_jwt, others, none.
func Unshared(methods []string) []string {
	methods = slices.DeleteFunc(slices.Clone(methods), SharesSecret)
	rank := map[string]int{MethodPrivateKeyJWT: -1, MethodNone: 1}
	slices.SortStableFunc(methods, func(a, b string) int { return rank[a] - rank[b] })
	return methods
}
