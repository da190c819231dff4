package policy

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

// NoSecretsOnDevices refuses a client secret for a client that comes back to a user's device: with a
// redirect URI on loopback or with a private-use scheme (RFC 8252, section 8.5). Such a client registers
// "none" or "private_key_jwt".
func NoSecretsOnDevices() dcr.Policy {
	return judge(func(a *dcr.Proposal) error {
		if capability.UsesSecret(a.Metadata.TokenEndpointAuthMethod) && slices.ContainsFunc(a.Metadata.RedirectURIs, onDevice) {
			return refuse("token_endpoint_auth_method with a secret is not allowed with redirect_uris on the user's device")
		}
		return nil
	})
}

// PublicOnDevices registers "none" for the clients that NoSecretsOnDevices refuses, whatever method they
// asked for, and leaves out the grant client_credentials, which needs another one. The answer says so (RFC
// 7591, section 3.2.1). A client with nothing but that grant is refused.
func PublicOnDevices() dcr.Policy {
	return change(func(a *dcr.Proposal) {
		m := a.Metadata
		if !slices.ContainsFunc(m.RedirectURIs, onDevice) || m.TokenEndpointAuthMethod == capability.MethodNone {
			return
		}
		m.TokenEndpointAuthMethod, m.TokenEndpointAuthSigningAlg = capability.MethodNone, ""
		without(m, capability.GrantClientCredentials)
	})
}

// GrantForMethods leaves a grant type out of clients that authenticate by any other method, with the response
// types that need it. A client of which nothing remains is refused.
func GrantForMethods(grantType string, methods ...string) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		if !slices.Contains(methods, a.Metadata.TokenEndpointAuthMethod) {
			without(a.Metadata, grantType)
		}
	})
}

func without(m *dcr.ClientMetadata, grantType string) {
	others := make([]string, 0, len(m.GrantTypes))
	for _, grant := range m.GrantTypes {
		if grant != grantType {
			others = append(others, grant)
		}
	}
	m.GrantTypes = others
	m.ResponseTypes = capability.Fitting(m.ResponseTypes, m.GrantTypes)
}

// DefaultScopes registers these scopes for a client that sends none, as far as it gets them by
// Config.Metadata.DefaultScopes: one list serves servers that have different scopes. Where it would get none
// of them it keeps what it gets.
func DefaultScopes(scopes ...string) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		if a.Sent("scope") {
			return
		}
		if common := among(strings.Fields(a.Metadata.Scope), scopes); len(common) > 0 {
			a.Metadata.Scope = strings.Join(common, " ")
		}
	})
}

// onDevice reports whether a redirect URI leads, or may lead, to a program on the user's device: all that is not https to
// another host.
func onDevice(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return true
	}
	host := plainHost(u.Hostname())
	addr, err := netip.ParseAddr(host)
	return u.Scheme != "https" || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}
