package dcr

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// What a member's value may be.
const (
	methodNone              = "none"
	methodClientSecretBasic = "client_secret_basic"
	methodClientSecretPost  = "client_secret_post"
	methodClientSecretJWT   = "client_secret_jwt"
	methodPrivateKeyJWT     = "private_key_jwt"
	methodTLSClientAuth     = "tls_client_auth"

	grantAuthorizationCode = "authorization_code"
	grantImplicit          = "implicit"
	grantRefreshToken      = "refresh_token"
	grantClientCredentials = "client_credentials"
	grantPassword          = "password"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantCIBA              = "urn:openid:params:grant-type:ciba"

	responseCode = "code"

	applicationWeb    = "web"
	applicationNative = "native"

	subjectPairwise = "pairwise"

	defaultContentEncryption = "A128CBC-HS256"
)

// limits is what the rules need to know of the configuration.
type limits struct {
	Limits
	keys          keyset.Limits
	redirects     redirecturi.Options
	allowLoopback bool
	// extensions are the members that are kept although no row knows them; any in what
	// a storage holds.
	extensions   []string
	anyExtension bool
}

// storedLimits let everything pass that a storage may hold.
var storedLimits = &limits{
	Limits:       Limits{Localized: 1 << 20, Extension: 1 << 30},
	keys:         keyset.Limits{Keys: 1 << 20},
	anyExtension: true,
}

// elements returns how many elements a list may have.
func (l *limits) elements(name string) int {
	if name == "redirect_uris" {
		return l.RedirectURIs
	}
	return l.Elements
}

// Rules of one value.

func redirectURI(l *limits, value string) string {
	_, err := redirecturi.Check(value, l.redirects)
	return phrase(err)
}

func shortName(l *limits, value string) string {
	if len(value) > l.Name {
		return "is longer than " + strconv.Itoa(l.Name) + " characters"
	}
	return ""
}

func assertionAlgorithm(_ *limits, value string) string {
	if !slices.Contains(keyset.SupportedAlgorithms(), value) {
		return "is not a supported asymmetric algorithm"
	}
	return ""
}

func applicationType(_ *limits, value string) string {
	if value != applicationWeb && value != applicationNative {
		return "is neither web nor native"
	}
	return ""
}

// text is for people: no controls, nothing that changes the direction of what
// follows, no line separators (T21, T45).
func text(l *limits, value string) string {
	if utf8.RuneCountInString(value) > l.Text {
		return "is longer than " + strconv.Itoa(l.Text) + " characters"
	}
	for _, c := range value {
		if unicode.Is(unicode.Cc, c) {
			return "has a control character"
		}
		if c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return "has a character that changes the direction of text"
		}
		if c == 0x2028 || c == 0x2029 {
			return "has a line or paragraph separator"
		}
	}
	return ""
}

func webURL(l *limits, value string) string {
	_, err := redirecturi.CheckURL(value, redirecturi.URLOptions{
		Schemes: []string{"https", "http"}, AllowFragment: true, MaxLength: l.URI,
	})
	return phrase(err)
}

// fetchedURL is one that the server itself will call (T10).
func fetchedURL(l *limits, value string) string {
	host, err := redirecturi.CheckURL(value, redirecturi.URLOptions{
		Schemes: []string{"https"}, MaxLength: l.URI,
	})
	if err == nil && outbound.SpecialHost(host) && !(l.allowLoopback && outbound.LoopbackHost(host)) {
		return "names an address that this server does not call"
	}
	return phrase(err)
}

func fetchedURLWithFragment(l *limits, value string) string {
	base, _, _ := strings.Cut(value, "#")
	if fault := fetchedURL(l, base); fault != "" {
		return fault
	}
	_, err := redirecturi.CheckURL(value, redirecturi.URLOptions{
		Schemes: []string{"https"}, AllowFragment: true, MaxLength: l.URI,
	})
	return phrase(err)
}

func httpsURL(l *limits, value string) string {
	_, err := redirecturi.CheckURL(value, redirecturi.URLOptions{Schemes: []string{"https"}, AllowFragment: true, MaxLength: l.URI})
	return phrase(err)
}

func deliveryMode(_ *limits, value string) string {
	switch value {
	case "poll", "ping", "push":
		return ""
	}
	return "is none of poll, ping and push"
}

func scopeTokens(l *limits, value string) string {
	if len(value) > l.Scope {
		return "is longer than " + strconv.Itoa(l.Scope) + " characters"
	}
	for _, c := range []byte(value) {
		// RFC 6749, section 3.3: scope-token, and the space that divides them.
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return "has a character that scopes can not have (RFC 6749, section 3.3)"
		}
	}
	return ""
}

func phrase(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Relations between members, in the order in which they are checked. What a
// relation finds wrong it names with both members.
var relations = []func(*registry, context.Context, *ClientMetadata) error{
	redirectURIsWhereNeeded,
	redirectsThatFositeTakes,
	keysOneWay,
	keysForAssertions,
	authenticationForGrants,
	redirectsOfApplication,
	subjectOfCertificate,
	unsignedIDToken,
	encryptionNeedsAlgorithm,
	logoutOnRegisteredHost,
	endpointForNotification,
	sectorOfSubjects,
}

// redirectURIsWhereNeeded: a grant that goes through a redirect needs a place to
// go to (RFC 7591, section 2).
func redirectURIsWhereNeeded(_ *registry, _ context.Context, m *ClientMetadata) error {
	needed := slices.Contains(m.GrantTypes, grantAuthorizationCode) || slices.Contains(m.GrantTypes, grantImplicit)
	if needed && len(m.RedirectURIs) == 0 {
		return ErrInvalidRedirectURI.WithDescription("redirect_uris is required for the grant types of this client.")
	}
	return nil
}

// redirectsThatFositeTakes: what is registered has to work at the authorization
// endpoint, where fosite and the host judge once more.
func redirectsThatFositeTakes(r *registry, ctx context.Context, m *ClientMetadata) error {
	secure := r.fosite.GetRedirectSecureChecker(ctx)
	if secure == nil {
		secure = fosite.IsRedirectURISecure
	}
	for i, raw := range m.RedirectURIs {
		// By itself: beside others fosite parses each of them for each.
		u, err := fosite.MatchRedirectURIWithClientRedirectURIs(raw, &fosite.DefaultClient{RedirectURIs: m.RedirectURIs[i : i+1]})
		if err != nil || u.String() != raw || !secure(ctx, u) {
			return ErrInvalidRedirectURI.WithDescription("redirect_uris[" + strconv.Itoa(i) + "] is of a kind that this server does not redirect to.")
		}
	}
	return nil
}

// keysOneWay: RFC 7591, section 2.
func keysOneWay(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.JWKS != nil && m.JWKSURI != "" {
		return refuseMetadata("jwks and jwks_uri exclude each other")
	}
	return nil
}

// keysForAssertions: whoever authenticates with a key registers one that can do
// it (RFC 7591, section 2).
func keysForAssertions(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod != methodPrivateKeyJWT {
		return nil
	}
	if m.JWKS == nil && m.JWKSURI == "" {
		return refuseMetadata("jwks or jwks_uri is required for token_endpoint_auth_method private_key_jwt")
	}
	if m.JWKS != nil && !keyset.Serves(m.JWKS, m.TokenEndpointAuthSigningAlg) {
		return refuseMetadata("jwks has no key for the algorithm of token_endpoint_auth_signing_alg, or for any that this server supports")
	}
	return nil
}

// authenticationForGrants: RFC 6749, section 4.4.
func authenticationForGrants(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod == methodNone && slices.Contains(m.GrantTypes, grantClientCredentials) {
		return refuseMetadata("grant_types has client_credentials, which token_endpoint_auth_method none can not use")
	}
	return nil
}

// redirectsOfApplication: OpenID Connect Registration 1.0, section 2. Only the
// implicit grant of a web client is held to the letter: deployed native clients
// leave application_type out, and register the https redirects of RFC 8252,
// section 7.2.
func redirectsOfApplication(r *registry, _ context.Context, m *ClientMetadata) error {
	implicit := slices.Contains(m.GrantTypes, grantImplicit)
	if !implicit && !r.cfg.RefuseNativeHTTPS {
		return nil
	}
	for i, raw := range m.RedirectURIs {
		kind, err := redirecturi.Check(raw, r.limits.redirects)
		if err != nil {
			continue // judged by the row already
		}
		name := "redirect_uris[" + strconv.Itoa(i) + "] "
		switch {
		case m.ApplicationType == applicationWeb && implicit && (kind != redirecturi.HTTPS || isLocalhostURL(raw)):
			return ErrInvalidRedirectURI.WithDescription(name + "is not https on a host of its own, which application_type web with the implicit grant requires.")
		case m.ApplicationType == applicationNative && kind == redirecturi.HTTPS && r.cfg.RefuseNativeHTTPS:
			return ErrInvalidRedirectURI.WithDescription(name + "is https, which application_type native does not allow on this server.")
		}
	}
	return nil
}

func isLocalhostURL(raw string) bool {
	host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{Schemes: []string{"https", "http"}})
	return err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost"))
}

// certificateSubjects are the members that tell a client by its certificate.
var certificateSubjects = []string{
	"tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri",
	"tls_client_auth_san_ip", "tls_client_auth_san_email",
}

// subjectOfCertificate: RFC 8705, section 2.1.2.
func subjectOfCertificate(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod != methodTLSClientAuth {
		return nil
	}
	subjects := 0
	for _, name := range certificateSubjects {
		if subject, ok := memberNamed[name].place(m).(*string); ok && *subject != "" {
			subjects++
		}
	}
	if subjects != 1 {
		return refuseMetadata("token_endpoint_auth_method tls_client_auth wants exactly one of the members " + strings.Join(certificateSubjects, ", "))
	}
	return nil
}

// unsignedIDToken: OpenID Connect Registration 1.0, section 2: only where no ID token
// comes from the authorization endpoint.
func unsignedIDToken(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil || m.OpenID.IDTokenSignedResponseAlg != "none" {
		return nil
	}
	for _, responseType := range m.ResponseTypes {
		if slices.Contains(strings.Fields(responseType), "id_token") {
			return refuseMetadata("id_token_signed_response_alg none is not possible with the response_types of this client")
		}
	}
	return nil
}

// encryptionNeedsAlgorithm: OpenID Connect Registration 1.0, section 2, and alike for
// the companions. An omitted content encryption is A128CBC-HS256.
func encryptionNeedsAlgorithm(_ *registry, _ context.Context, m *ClientMetadata) error {
	for i := range members {
		enc := &members[i]
		name, ok := strings.CutSuffix(enc.name, "_enc")
		place, present := enc.place(m).(*string)
		if !ok || !present {
			continue
		}
		alg, present := memberNamed[name+"_alg"].place(m).(*string)
		switch {
		case !present:
		case *place != "" && *alg == "":
			return refuseMetadata(enc.name + " needs " + name + "_alg")
		case *place == "" && *alg != "":
			*place = defaultContentEncryption
		}
	}
	return nil
}

// logoutOnRegisteredHost: OpenID Connect Front-Channel Logout 1.0, section 2, wants
// scheme, host and port of a redirect URI.
func logoutOnRegisteredHost(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil || m.OpenID.FrontchannelLogoutURI == "" {
		return nil
	}
	for _, redirect := range m.RedirectURIs {
		if origin(redirect) == origin(m.OpenID.FrontchannelLogoutURI) {
			return nil
		}
	}
	return refuseMetadata("frontchannel_logout_uri has not the scheme, host and port of one of the redirect_uris")
}

// endpointForNotification: OpenID Connect CIBA Core 1.0, section 4.
func endpointForNotification(_ *registry, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil {
		return nil
	}
	switch mode := m.OpenID.BackchannelTokenDeliveryMode; {
	case (mode == "ping" || mode == "push") && m.OpenID.BackchannelClientNotificationEndpoint == "":
		return refuseMetadata("backchannel_token_delivery_mode " + mode + " needs backchannel_client_notification_endpoint")
	}
	return nil
}

// sectorOfSubjects: OpenID Connect Core 1.0, section 8.1. The document is fetched only
// where the provider has pairwise subjects and the client wants them.
func sectorOfSubjects(r *registry, ctx context.Context, m *ClientMetadata) error {
	if m.OpenID == nil {
		return nil
	}
	if m.OpenID.SubjectType != subjectPairwise || !r.can.members["subject_type"].has(subjectPairwise) {
		m.OpenID.SectorIdentifierURI = ""
		return nil
	}
	if m.OpenID.SectorIdentifierURI == "" {
		return oneSector(m.RedirectURIs)
	}
	if err := r.fetchSector(ctx, m); err != nil {
		return err
	}
	for i, redirect := range m.RedirectURIs {
		if !slices.Contains(m.sector.redirects, redirect) {
			return refuseMetadata("sector_identifier_uri leads to a document without redirect_uris[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

// sectorDocument is what a sector_identifier_uri led to.
type sectorDocument struct {
	uri       string
	redirects []string
}

// fetchSector gets the document once for a request, however often the rules are asked.
func (r *registry) fetchSector(ctx context.Context, m *ClientMetadata) error {
	uri := m.OpenID.SectorIdentifierURI
	if m.sector != nil && m.sector.uri == uri {
		return nil
	}
	body, err := r.fetch(ctx, uri)
	if err != nil {
		return refuseMetadata("sector_identifier_uri could not be fetched")
	}
	listed, err := strictjson.Strings(body)
	if err != nil {
		return refuseMetadata("sector_identifier_uri leads to a document that is no array of strings")
	}
	m.sector = &sectorDocument{uri, listed}
	return nil
}

// oneSector: without a document the one host of the redirect URIs is the sector.
func oneSector(redirects []string) error {
	for _, redirect := range redirects {
		if hostOf(redirect) != hostOf(redirects[0]) {
			return refuseMetadata("subject_type pairwise with redirect_uris on several hosts needs sector_identifier_uri")
		}
	}
	return nil
}

// hostOf returns the host of a redirect URI, without the port.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Hostname()
}

// origin returns what stands before the path of a URL.
func origin(raw string) string {
	scheme, rest, _ := strings.Cut(raw, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}
