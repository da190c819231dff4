package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"
	"github.com/rs/cors"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Endpoints says where the provider's endpoints lie. No part of a URL comes from a request (T24).
type Endpoints struct {
	// Issuer returns the issuer of a request, an https URL (http on loopback), as it stands: with or without a slash at
	// its end. Nil means fosite's GetAccessTokenIssuer, then its GetIDTokenIssuer. A client that was registered under
	// one issuer does not exist under another (T41).
	Issuer func(ctx context.Context) string
	// Realm is what records are bound to instead of the issuer, so that a new URL of the server costs no clients. Set
	// it to the old issuer before the URL changes. It does not go with Issuer.
	Realm string
	// InsecureAllowHTTPIssuer accepts an issuer with plain http beyond loopback, for a network where nobody listens.
	InsecureAllowHTTPIssuer bool
	// RegistrationPath is where Mount puts the registration endpoint, and what Registration appends to the
	// issuer; default "/register".
	RegistrationPath string
	// Registration returns the public URL of the registration endpoint; nil means the issuer with
	// RegistrationPath. A client's own URL is this one with "/" and the client identifier.
	Registration func(ctx context.Context) string
	// PushedAuthorizationRequest returns the public URL of the PAR endpoint, which client assertions may
	// name as their audience there (RFC 9126, section 2). Nil means the scheme and host of the issuer with
	// the path of the request.
	PushedAuthorizationRequest func(ctx context.Context) string
	// AllowedOrigins are those whose pages may call the registration and the client configuration endpoint
	// from a browser (CORS), such as "https://inspector.example"; "*" means all. None by default.
	// Credentials such as cookies are never allowed along (T23). MCP Inspector and other clients that run
	// in a browser need it.
	AllowedOrigins []string
}

const defaultRegistrationPath = "/register"

func (e Endpoints) withDefaults() Endpoints {
	setDefault(&e.RegistrationPath, defaultRegistrationPath)
	e.AllowedOrigins = slices.Clone(e.AllowedOrigins)
	return e
}

// problems says what is wrong with the endpoints.
func (e Endpoints) problems() []error {
	var found []error
	if e.Realm != "" && e.Issuer != nil {
		found = append(found, errors.New("Config.Endpoints.Realm binds the records of all issuers to one: leave it out where Config.Endpoints.Issuer is set"))
	}
	if !strings.HasPrefix(e.RegistrationPath, "/") || strings.HasSuffix(e.RegistrationPath, "/") {
		found = append(found, fmt.Errorf("Config.Endpoints.RegistrationPath %q has to begin with a slash and not to end with one", e.RegistrationPath))
	}
	for _, origin := range e.AllowedOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			found = append(found, fmt.Errorf("Config.Endpoints.AllowedOrigins: %q is no origin, such as https://inspector.example, and not *", origin))
		}
	}
	return found
}

// setDefault sets a field that is zero.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// location knows the issuer and the URLs of the provider's endpoints.
type location struct {
	endpoints Endpoints
	fosite    fosite.Configurator
}

// realm returns what records are bound to: the issuer of a request, or what stands for all. An application whose function
// finds no issuer has failed.
func (l *location) realm(ctx context.Context) (string, error) {
	realm := l.realmOrNone(ctx)
	if realm == "" {
		return "", failure(errNoIssuer)
	}
	return realm, nil
}

func (l *location) realmOrNone(ctx context.Context) string {
	if l.endpoints.Realm != "" {
		return l.endpoints.Realm
	}
	return l.issuerOrNone(ctx)
}

func (l *location) issuerOrNone(ctx context.Context) string {
	if l.endpoints.Issuer != nil {
		return l.endpoints.Issuer(ctx)
	}
	if issuer := l.fosite.GetAccessTokenIssuer(ctx); issuer != "" {
		return issuer
	}
	return l.fosite.GetIDTokenIssuer(ctx)
}

// registrationEndpoint returns the public URL of the registration endpoint.
func (l *location) registrationEndpoint(ctx context.Context) string {
	if l.endpoints.Registration != nil {
		return strings.TrimSuffix(l.endpoints.Registration(ctx), "/")
	}
	return strings.TrimSuffix(l.issuerOrNone(ctx), "/") + l.endpoints.RegistrationPath
}

// parEndpoint returns the public URL of the PAR endpoint, at which the request has this path.
func (l *location) parEndpoint(ctx context.Context, path string) string {
	if l.endpoints.PushedAuthorizationRequest != nil {
		return l.endpoints.PushedAuthorizationRequest(ctx)
	}
	issuer := l.issuerOrNone(ctx)
	u, err := url.Parse(issuer)
	if err != nil || issuer == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + path
}

// openTo lets pages of the configured origins call a handler from a browser. Credentials, such as cookies,
// are never allowed along (T23).
func (l *location) openTo(methods []string, handler http.Handler) http.Handler {
	if len(l.endpoints.AllowedOrigins) == 0 {
		return handler
	}
	return cors.New(cors.Options{
		AllowedOrigins: l.endpoints.AllowedOrigins,
		AllowedMethods: methods,
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"WWW-Authenticate", "Retry-After"},
		MaxAge:         600,
	}).Handler(handler)
}

// problems says what is wrong with the issuer, where it does not depend on the request.
func (l *location) problems(ctx context.Context) []error {
	if l.endpoints.Issuer != nil {
		return nil
	}
	issuer := l.issuerOrNone(ctx)
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return []error{errors.New("no issuer: set AccessTokenIssuer or IDTokenIssuer of fosite's configuration, or Config.Endpoints.Issuer")}
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return []error{fmt.Errorf("the issuer %q is not an https URL without query and fragment", issuer)}
	case u.Scheme == "https" || u.Scheme == "http" && (outbound.LoopbackHost(u.Hostname()) || l.endpoints.InsecureAllowHTTPIssuer):
		return nil
	}
	return []error{fmt.Errorf("the issuer %q is not an https URL; http is for loopback only, unless Config.Endpoints.InsecureAllowHTTPIssuer is set", issuer)}
}

// discovery makes the server's metadata document.
type discovery struct {
	location *location
	can      *capability.Set
	scopes   []string
	// documents says that clients with documents of their own may come.
	documents bool
}

// Metadata returns the members of the server's metadata document (RFC 8414, section 2) that follow from
// what the provider can do and what registration accepts: what is advertised is accepted. The token
// endpoint is fosite's TokenURL, where that is set. The application adds its own, among them its other
// endpoints, and serves the document. The map is the caller's.
func (d *discovery) Metadata(ctx context.Context) map[string]any {
	document := map[string]any{
		"issuer":                d.location.issuerOrNone(ctx),
		"registration_endpoint": d.location.registrationEndpoint(ctx),
		"authorization_response_iss_parameter_supported": true,
	}
	if urls := capability.TokenURLs(ctx, d.location.fosite); len(urls) > 0 {
		document["token_endpoint"] = urls[0]
	}
	if d.documents && len(capability.Unshared(d.can.AuthMethods)) > 0 {
		document["client_id_metadata_document_supported"] = true
	}
	list := func(name string, values []string) {
		if len(values) > 0 { // RFC 8414, section 3.2
			document[name] = slices.Clone(values)
		}
	}
	list("scopes_supported", d.scopes)
	list("grant_types_supported", d.can.GrantTypes)
	list("response_types_supported", d.can.ResponseTypes)
	list("response_modes_supported", capability.ModeNames(d.can.ResponseModes))
	list("code_challenge_methods_supported", d.can.ChallengeMethods(ctx, d.location.fosite))
	for endpoint, methods := range d.authMethods() {
		list(endpoint+"_endpoint_auth_methods_supported", methods)
		if slices.Contains(d.can.AuthMethods, capability.MethodPrivateKeyJWT) {
			list(endpoint+"_endpoint_auth_signing_alg_values_supported", keyset.SupportedAlgorithms())
		}
	}
	return document
}

// authMethods are the authentication methods at each endpoint that the provider has.
func (d *discovery) authMethods() map[string][]string {
	endpoints := map[string][]string{"token": d.can.AuthMethods}
	if d.can.Revocation {
		endpoints["revocation"] = d.can.AuthMethods
	}
	if d.can.Introspection {
		endpoints["introspection"] = slices.DeleteFunc(slices.Clone(d.can.AuthMethods), func(m string) bool { return m == capability.MethodNone })
	}
	return endpoints
}

// MetadataHandler serves the server's metadata document: what Metadata says, with the members that the
// application adds: authorization_endpoint above all, without which clients find no way in. own is asked
// for each request. GET, HEAD and preflights only; the document is public, to pages of any origin too, since clients in
// browsers read it before anything else.
func (d *discovery) MetadataHandler(own func(ctx context.Context) map[string]any) http.Handler {
	// The preflight of clients in browsers, which send MCP-Protocol-Version.
	open := cors.New(cors.Options{
		AllowedOrigins: []string{"*"}, AllowedMethods: []string{http.MethodGet, http.MethodHead}, AllowedHeaders: []string{"*"}, MaxAge: 600,
	})
	return open.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := readingError(request.Method(r, http.MethodGet, http.MethodHead)); err != nil {
			writeError(w, err, "GET, HEAD")
			return
		}
		document := d.Metadata(r.Context())
		if own != nil {
			maps.Copy(document, own(r.Context()))
		}
		body, err := json.Marshal(document)
		if err != nil {
			writeError(w, err, "")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*") // also where no Origin was sent: caches keep the answer for all
		_, _ = w.Write(body)
	}))
}

// MetadataPaths returns the paths at which clients look for the document of an issuer: the well-known name
// of OAuth stands before the path of the issuer (RFC 8414, section 3.1), that of OpenID Connect behind it
// (OpenID Connect Discovery 1.0, section 4.1), and clients of MCP also try it before.
func (d *discovery) MetadataPaths(ctx context.Context) []string {
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	u, err := url.Parse(d.location.issuerOrNone(ctx))
	if err != nil {
		return []string{oauth, openID}
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return members.WithoutRepeats([]string{oauth + path, path + openID, openID + path})
}

// supportedMembers finds out what the provider supports of the members that a server may lack.
func supportedMembers(can *capability.Set, more map[string][]string) map[string]members.Honoured {
	found := map[string]members.Honoured{}
	for row := range table.Rows() {
		if len(row.Values) > 0 {
			found[row.Name] = members.Honoured{Values: row.Values}
		}
	}
	found["response_modes"] = members.Honoured{Values: capability.ModeNames(can.ResponseModes)}
	found["require_pushed_authorization_requests"] = members.Honoured{All: can.PAR}
	if can.OpenID {
		// fosite holds request objects against the registered algorithm, and the authentication against
		// max_age, which the provider's Store fills in.
		found["request_object_signing_alg"] = members.Honoured{Values: keyset.SupportedAlgorithms()}
		found["default_max_age"] = members.Honoured{All: true}
		if can.IDTokenAlgorithm != "" {
			found["id_token_signed_response_alg"] = members.Honoured{Values: []string{can.IDTokenAlgorithm}}
		}
	}
	if slices.Contains(can.AuthMethods, capability.MethodTLSClientAuth) {
		for _, name := range certificateSubjects {
			found[name] = members.Honoured{All: true}
		}
	}
	for name, values := range more {
		found[name] = members.Honoured{All: values == nil, Values: slices.Concat(found[name].Values, values)}
	}
	// A sector is asked for where subjects are pairwise, by a relation.
	found["sector_identifier_uri"] = members.Honoured{All: found["subject_type"].Has(subjectPairwise)}
	return found
}
