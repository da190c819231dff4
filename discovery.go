package dcr

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

// Metadata returns the members of the server's metadata document (RFC 8414, section
// 2) that follow from what the provider can do and what registration accepts: what is
// advertised is accepted. The token endpoint is fosite's TokenURL, where that is set. The
// host adds its own, among them its other endpoints, and serves the document. The map is the caller's.
func (p *Provider) Metadata(ctx context.Context) map[string]any {
	r := p.registry
	document := map[string]any{
		"issuer":                r.issuerOf(ctx),
		"registration_endpoint": r.registrationEndpoint(ctx),
		"authorization_response_iss_parameter_supported": true,
	}
	if urls := r.tokenURLs(ctx); len(urls) > 0 && urls[0] != "" {
		document["token_endpoint"] = urls[0]
	}
	list := func(name string, values []string) {
		if len(values) > 0 { // RFC 8414, section 3.2
			document[name] = slices.Clone(values)
		}
	}
	authenticated := slices.DeleteFunc(slices.Clone(r.can.methods), func(m string) bool { return m == methodNone })
	list("scopes_supported", r.cfg.Scopes)
	list("grant_types_supported", r.can.grantTypes)
	list("response_types_supported", r.can.responseTypes)
	list("response_modes_supported", modeNames(r.can.responseModes))
	endpoints := map[string][]string{"token": r.can.methods}
	if len(r.fosite.GetRevocationHandlers(ctx)) > 1 { // besides ours
		endpoints["revocation"] = r.can.methods
	}
	if len(r.fosite.GetTokenIntrospectionHandlers(ctx)) > 1 {
		endpoints["introspection"] = authenticated
	}
	for endpoint, methods := range endpoints {
		list(endpoint+"_endpoint_auth_methods_supported", methods)
	}
	list("code_challenge_methods_supported", r.challengeMethods(ctx))
	if slices.Contains(r.can.methods, methodPrivateKeyJWT) {
		for endpoint := range endpoints {
			list(endpoint+"_endpoint_auth_signing_alg_values_supported", keyset.SupportedAlgorithms())
		}
	}
	return document
}

// MetadataHandler serves the server's metadata document: what Metadata says, with the
// members that the host adds: authorization_endpoint above all, without which clients find
// no way in. own is asked for each request. GET and HEAD only; the document is public, to pages of any origin too,
// since clients in browsers read it before anything else.
func (p *Provider) MetadataHandler(own func(ctx context.Context) map[string]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := methodAllowed(r, http.MethodGet, http.MethodHead); err != nil {
			writeError(w, err, "GET, HEAD")
			return
		}
		document := p.Metadata(r.Context())
		if own != nil {
			maps.Copy(document, own(r.Context()))
		}
		body, err := json.Marshal(document)
		if err != nil {
			writeError(w, err, "")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(body)
	})
}

// MetadataPaths returns the paths at which clients look for the document of an issuer:
// the well-known name of OAuth stands before the path of the issuer (RFC 8414, section
// 3.1), that of OpenID Connect behind it (OpenID Connect Discovery 1.0, section 4.1),
// and clients of MCP also try it before.
func (p *Provider) MetadataPaths(ctx context.Context) []string {
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	u, err := url.Parse(p.registry.issuerOf(ctx))
	if err != nil {
		return []string{oauth, openID}
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return withoutRepeats([]string{oauth + path, path + openID, openID + path})
}

func modeNames(modes []fosite.ResponseModeType) []string {
	names := make([]string, len(modes))
	for i, mode := range modes {
		names[i] = string(mode)
	}
	return names
}

// challengeMethods are those of PKCE (RFC 7636, section 4.3).
func (r *registry) challengeMethods(ctx context.Context) []string {
	switch {
	case !r.can.pkce:
		return nil
	case r.fosite.GetEnablePKCEPlainChallengeMethod(ctx):
		return []string{"S256", "plain"}
	}
	return []string{"S256"}
}
