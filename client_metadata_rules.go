package dcr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Metadata says what clients may register besides Config.Scopes.
type Metadata struct {
	// DefaultScopes are registered for a client that names none, or none of Config.Scopes; nil means all of
	// Config.Scopes, which a client may have by asking for them. Many deployed clients never name one and
	// later ask for what the resource advertises.
	DefaultScopes []string
	// BaselineScopes are registered for every client besides what it asks for, such as "openid" for clients
	// that fetch an ID token without having registered for one (Claude Code registers what the resource
	// lists, and ToolHive adds these for it).
	BaselineScopes []string
	GrantTypes     []string // GrantTypes are registrable besides those that the composed handlers are found to handle
	// DefaultGrantTypes are registered for a client that names none, as far as the provider and the registrant can have
	// them; nil means authorization_code (RFC 7591, section 2). Clients that name none often want a refresh token.
	DefaultGrantTypes []string
	// AnonymousGrantTypes are registrable for anonymous registrants, besides authorization_code,
	// refresh_token and the device grant, in which a user takes part. Naming client_credentials here, with
	// open registration, hands an access token to whoever asks (T56).
	AnonymousGrantTypes []string
	ResponseTypes       []string // ResponseTypes are registrable besides those of the handlers of fosite
	// TokenEndpointAuthMethods are the registrable authentication methods. Nil means none,
	// client_secret_basic, client_secret_post, and private_key_jwt where fosite knows the URL of the token
	// endpoint. Methods of the application's own may be added.
	TokenEndpointAuthMethods []string
	// DefaultTokenEndpointAuthMethod is registered for clients that name no method; default
	// client_secret_basic, as RFC 7591 has it. Servers whose clients are native applications set "none":
	// oidc-agent and FastMCP's client name no method.
	DefaultTokenEndpointAuthMethod string
	// Supports names members of the metadata that the application supports besides what fosite and this
	// package do, each with the values that it may have; nil means every value that passes the member's
	// rules. A member that promises security, such as dpop_bound_access_tokens, belongs here only if
	// something enforces it. By default such members are refused, and those of features that the server
	// lacks are left out.
	Supports map[string][]string
	// ExtensionMembers are members of the application's own that are kept and returned, whatever their JSON
	// is (ClientMetadata.Extensions). All other unknown members are ignored.
	ExtensionMembers []string
	// RefuseUnsupported refuses grant types, response types, scopes and members of features that the server
	// does not have. By default they are left out and the answer says what was registered (RFC 7591,
	// section 3.2.1): Visual Studio Code and others ask for more than a server has.
	RefuseUnsupported bool

	// PrivateUseSchemes are redirect URI schemes without a period that are accepted all the same, for
	// clients such as Cursor ("cursor") and Visual Studio Code ("vscode"). RFC 8252, section 7.1, wants a
	// reverse domain name.
	PrivateUseSchemes []string
	// RefuseNativeHTTPS refuses https redirect URIs for application_type native, as the letter of OpenID
	// Connect Registration has it. RFC 8252, section 7.2, recommends them.
	RefuseNativeHTTPS bool

	// StatementIssuers are those whose software statements are trusted. Without any, a statement is
	// ignored, and not returned (RFC 7591, section 3.1.1), unless RefuseStatements answers
	// unapproved_software_statement to it.
	StatementIssuers []StatementIssuer
	// RefuseStatements answers unapproved_software_statement where StatementIssuers is empty.
	RefuseStatements bool
}

// StatementIssuer is an issuer whose software statements (RFC 7591, section 2.3) the server trusts, such as
// the directory of a banking scheme. What a statement says of a client takes precedence over what the
// client says, and binds its later updates.
type StatementIssuer struct {
	Issuer string // Issuer is the "iss" of the statements
	// Keys verify the statements. Where it is nil they are fetched from JWKSURI, by
	// Config.Outbound.JWKSFetcher. No member of a statement's header leads to other keys.
	Keys    *jose.JSONWebKeySet
	JWKSURI string // JWKSURI is the URL of the keys where Keys is nil
	// Algorithms bounds the JWS algorithms; nil means every asymmetric one that fits a key: RS, PS and ES
	// with 256, 384 and 512.
	Algorithms []string
}

func (c Metadata) withDefaults(scopes []string) Metadata {
	for _, list := range []*[]string{
		&c.DefaultScopes, &c.BaselineScopes, &c.GrantTypes, &c.DefaultGrantTypes, &c.AnonymousGrantTypes, &c.ResponseTypes,
		&c.TokenEndpointAuthMethods, &c.ExtensionMembers, &c.PrivateUseSchemes,
	} {
		*list = slices.Clone(*list)
	}
	c.StatementIssuers, c.Supports = slices.Clone(c.StatementIssuers), maps.Clone(c.Supports)
	for name, values := range c.Supports {
		c.Supports[name] = slices.Clone(values)
	}
	setDefault(&c.DefaultTokenEndpointAuthMethod, capability.MethodClientSecretBasic)
	if c.DefaultScopes == nil {
		c.DefaultScopes = scopes
	}
	if c.DefaultGrantTypes == nil {
		c.DefaultGrantTypes = []string{capability.GrantAuthorizationCode}
	}
	return c
}

// problems says what is wrong with the group by itself.
func (c Metadata) problems(scopes []string, uriLength int) []error {
	var found []error
	wrong := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	for _, scope := range slices.Concat(c.DefaultScopes, c.BaselineScopes) {
		if !slices.Contains(scopes, scope) {
			wrong("Config.Metadata.DefaultScopes or BaselineScopes: %q is not among Config.Scopes", scope)
		}
	}
	if !slices.ContainsFunc(c.DefaultGrantTypes, func(grant string) bool { return grant != capability.GrantRefreshToken }) {
		wrong("Config.Metadata.DefaultGrantTypes has no grant by which a client gets a token: name one besides refresh_token, or leave it nil")
	}
	for _, name := range c.ExtensionMembers {
		if table.Row(name) != nil || table.IsList(name) || isServerMember(name) || name == "" {
			wrong("Config.Metadata.ExtensionMembers: %q is a member of the protocol", name)
		}
	}
	for _, scheme := range c.PrivateUseSchemes {
		if _, err := redirecturi.Check(scheme+"://host/path", c.redirects(uriLength)); err != nil {
			wrong("Config.Metadata.PrivateUseSchemes: a redirect URI with the scheme %q %w", scheme, err)
		}
	}
	if slices.Contains(c.TokenEndpointAuthMethods, capability.MethodClientSecretJWT) {
		wrong("Config.Metadata.TokenEndpointAuthMethods: client_secret_jwt needs the plain secret, and secrets are stored hashed")
	}
	return slices.Concat(found, c.supportProblems(), c.statementProblems())
}

func (c Metadata) redirects(uriLength int) redirecturi.Options {
	return redirecturi.Options{PrivateUseSchemes: c.PrivateUseSchemes, MaxLength: uriLength}
}

// supportProblems says what is wrong with Supports.
func (c Metadata) supportProblems() []error {
	var found []error
	for name := range c.Supports {
		if row := table.Row(name); row == nil || row.Support == members.Registered {
			found = append(found, fmt.Errorf("Config.Metadata.Supports: %q is no member whose support an application decides", name))
		}
		enc := strings.TrimSuffix(name, "_alg") + "_enc"
		if _, ok := c.Supports[enc]; strings.HasSuffix(name, "_alg") && table.Row(enc) != nil && !ok {
			found = append(found, fmt.Errorf("Config.Metadata.Supports has %q without %q, which defaults to %s", name, enc, defaultContentEncryption))
		}
	}
	return found
}

// statementProblems says what is wrong with the issuers of software statements.
func (c Metadata) statementProblems() []error {
	var found []error
	for _, issuer := range c.StatementIssuers {
		if issuer.Issuer == "" || (issuer.Keys == nil) == (issuer.JWKSURI == "") {
			found = append(found, errors.New("Config.Metadata.StatementIssuers: each issuer has a name and either Keys or a JWKSURI"))
		}
		if issuer.Keys != nil && !keyset.Serves(issuer.Keys, "") {
			found = append(found, errors.New("Config.Metadata.StatementIssuers: an issuer has no key that can verify anything"))
		}
	}
	return found
}

// relationRules is what relations between members need to know of the server.
type relationRules struct {
	redirects         redirecturi.Options
	refuseNativeHTTPS bool
	pairwise          bool // the server has pairwise subjects
	fosite            fosite.Configurator
	// fetch gets what a client pointed at, through the guarded HTTP client (T10).
	fetch func(ctx context.Context, url string) ([]byte, error)
	// known says that the client may be in use already: that a URL can't be fetched is then no fault of the client.
	known bool
}

// relationCheck is the check of one request. Metadata that a policy has changed is checked again, and what
// was fetched for the first check serves the second.
type relationCheck struct {
	*relationRules
	sector *sectorDocument
}

// relations are checked in this order. What a relation finds wrong it names with both members.
var relations = []func(*relationCheck, context.Context, *ClientMetadata) error{
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

// redirectURIsWhereNeeded: a grant that goes through a redirect needs a place to go to (RFC 7591, section
// 2).
func redirectURIsWhereNeeded(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	needed := slices.Contains(m.GrantTypes, capability.GrantAuthorizationCode) || slices.Contains(m.GrantTypes, capability.GrantImplicit)
	if needed && len(m.RedirectURIs) == 0 {
		return ErrInvalidRedirectURI.WithDescription("redirect_uris is required for the grant types of this client.")
	}
	return nil
}

// redirectsThatFositeTakes: what is registered has to work at the authorization endpoint, where fosite and
// the application judge once more.
func redirectsThatFositeTakes(c *relationCheck, ctx context.Context, m *ClientMetadata) error {
	secure := c.fosite.GetRedirectSecureChecker(ctx)
	if secure == nil {
		secure = fosite.IsRedirectURISecure
	}
	for i, raw := range m.RedirectURIs {
		u, err := redirecturi.Parse(raw)
		if err == nil && u.Scheme == "http" && strings.EqualFold(u.Hostname(), "localhost") && u.Hostname() != "localhost" {
			return ErrInvalidRedirectURI.WithDescription("redirect_uris[" + strconv.Itoa(i) + "] has localhost with capital letters: write it in small ones.")
		}
		if err != nil || !redirecturi.IsPlain(raw) && !fosite.IsValidRedirectURI(u) || !secure(ctx, u) {
			return ErrInvalidRedirectURI.WithDescription("redirect_uris[" + strconv.Itoa(i) + "] is of a kind that this server does not redirect to.")
		}
	}
	return nil
}

// keysOneWay: RFC 7591, section 2.
func keysOneWay(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.JWKS != nil && m.JWKSURI != "" {
		return refuseMetadata("jwks and jwks_uri exclude each other")
	}
	return nil
}

// keysForAssertions: whoever authenticates with a key registers one that can do it (RFC 7591, section 2).
func keysForAssertions(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod != capability.MethodPrivateKeyJWT {
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
func authenticationForGrants(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod == capability.MethodNone && slices.Contains(m.GrantTypes, capability.GrantClientCredentials) {
		return refuseMetadata("grant_types has client_credentials, which token_endpoint_auth_method none can not use")
	}
	return nil
}

// redirectsOfApplication: OpenID Connect Registration 1.0, section 2. Only the implicit grant of a web
// client is held to the letter: deployed native clients leave application_type out, and register the https
// redirects of RFC 8252, section 7.2.
func redirectsOfApplication(c *relationCheck, _ context.Context, m *ClientMetadata) error {
	implicit := slices.Contains(m.GrantTypes, capability.GrantImplicit)
	if !implicit && !c.refuseNativeHTTPS {
		return nil
	}
	for i, raw := range m.RedirectURIs {
		kind, err := redirecturi.Check(raw, c.redirects)
		if err != nil {
			continue // judged by the row already
		}
		name := "redirect_uris[" + strconv.Itoa(i) + "] "
		switch {
		case m.ApplicationType == applicationWeb && implicit && (kind != redirecturi.HTTPS || isLocalhostURL(raw)):
			return ErrInvalidRedirectURI.WithDescription(name + "is not https with a host other than localhost, which application_type web with the implicit grant requires.")
		case m.ApplicationType == applicationNative && kind == redirecturi.HTTPS && c.refuseNativeHTTPS:
			return ErrInvalidRedirectURI.WithDescription(name + "is https, which application_type native does not allow on this server.")
		}
	}
	return nil
}

func isLocalhostURL(raw string) bool {
	host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{Schemes: []string{"https", "http"}})
	return err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost"))
}

// subjectOfCertificate: RFC 8705, section 2.1.2.
func subjectOfCertificate(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.TokenEndpointAuthMethod != capability.MethodTLSClientAuth {
		return nil
	}
	subjects := 0
	for _, name := range certificateSubjects {
		if table.Has(m, name) {
			subjects++
		}
	}
	if subjects != 1 {
		return refuseMetadata("token_endpoint_auth_method tls_client_auth wants exactly one of the members " + strings.Join(certificateSubjects, ", "))
	}
	return nil
}

// unsignedIDToken: OpenID Connect Registration 1.0, section 2: only where no ID token comes from the
// authorization endpoint.
func unsignedIDToken(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
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

// encryptionNeedsAlgorithm: OpenID Connect Registration 1.0, section 2. An omitted content encryption is A128CBC-HS256.
func encryptionNeedsAlgorithm(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil && m.Companion == nil {
		return nil
	}
	for _, enc := range encryptions {
		alg := strings.TrimSuffix(enc, "_enc") + "_alg"
		switch {
		case table.Has(m, enc) && !table.Has(m, alg):
			return refuseMetadata(enc + " needs " + alg)
		case !table.Has(m, enc) && table.Has(m, alg):
			table.Row(enc).SetText(m, defaultContentEncryption)
		}
	}
	return nil
}

// encryptions are the members that name a content encryption. Each has a companion that names the algorithm.
var encryptions = []string{
	"id_token_encrypted_response_enc", "userinfo_encrypted_response_enc", "request_object_encryption_enc",
	"introspection_encrypted_response_enc", "authorization_encrypted_response_enc",
}

// logoutOnRegisteredHost: OpenID Connect Front-Channel Logout 1.0, section 2, wants scheme, host and port
// of a redirect URI.
func logoutOnRegisteredHost(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil || m.OpenID.FrontchannelLogoutURI == "" {
		return nil
	}
	for _, redirect := range m.RedirectURIs {
		if redirecturi.Origin(redirect) == redirecturi.Origin(m.OpenID.FrontchannelLogoutURI) {
			return nil
		}
	}
	return refuseMetadata("frontchannel_logout_uri has not the scheme, host and port of one of the redirect_uris")
}

// endpointForNotification: OpenID Connect CIBA Core 1.0, section 4.
func endpointForNotification(_ *relationCheck, _ context.Context, m *ClientMetadata) error {
	if m.OpenID == nil {
		return nil
	}
	switch mode := m.OpenID.BackchannelTokenDeliveryMode; {
	case (mode == "ping" || mode == "push") && m.OpenID.BackchannelClientNotificationEndpoint == "":
		return refuseMetadata("backchannel_token_delivery_mode " + mode + " needs backchannel_client_notification_endpoint")
	}
	return nil
}

// sectorOfSubjects: OpenID Connect Core 1.0, section 8.1. The document is fetched only where the provider
// has pairwise subjects and the client wants them.
func sectorOfSubjects(c *relationCheck, ctx context.Context, m *ClientMetadata) error {
	if m.OpenID == nil {
		return nil
	}
	if m.OpenID.SubjectType != subjectPairwise || !c.pairwise {
		m.OpenID.SectorIdentifierURI = ""
		return nil
	}
	if m.OpenID.SectorIdentifierURI == "" {
		return oneSector(m.RedirectURIs)
	}
	if err := c.fetchSector(ctx, m.OpenID.SectorIdentifierURI); err != nil {
		return err
	}
	for i, redirect := range m.RedirectURIs {
		if !slices.Contains(c.sector.redirects, redirect) {
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
func (c *relationCheck) fetchSector(ctx context.Context, uri string) error {
	if c.sector != nil && c.sector.uri == uri {
		return nil
	}
	body, err := c.fetch(ctx, uri)
	if err != nil && c.known {
		return failure(errors.Join(ErrUnavailable, err))
	}
	if err != nil {
		return refuseMetadata("sector_identifier_uri could not be fetched")
	}
	listed, err := strictjson.Strings(body)
	if err != nil {
		return refuseMetadata("sector_identifier_uri leads to a document that is no array of strings")
	}
	c.sector = &sectorDocument{uri, listed}
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

// chooser chooses among the values that a client lists (OpenID Connect Relying Party Metadata Choices 1.0).
type chooser struct {
	can       *capability.Set
	supported map[string]members.Honoured
	m         *ClientMetadata
	strongest bool
}

// choose sets each member that has a list, but for the authentication method, of which it returns all that the server
// has, the preferred one first. before is the metadata that an update replaces, or nil. The error is a *Refusal.
func (c *chooser) choose(before *ClientMetadata, lists members.Choices) (methods []string, err error) {
	const method = "token_endpoint_auth_method"
	if methods, err = table.Candidates(c.m, before, lists, method); err != nil {
		return nil, err
	}
	if methods == nil {
		methods = []string{c.m.TokenEndpointAuthMethod}
	} else if methods = c.common(methods); len(methods) == 0 {
		return nil, table.RefuseList(method, c.can.AuthMethods)
	}
	delete(lists, method)
	return methods, table.Choose(c.m, before, lists, c.canHave, c.needs)
}

// common are those that client and server have: in the client's order, or the strongest first.
func (c *chooser) common(methods []string) []string {
	first, second := methods, c.can.AuthMethods
	if c.strongest {
		first, second = second, first
	}
	return members.Keep(first, func(s string) bool { return slices.Contains(second, s) })
}

func (c *chooser) canHave(name, value string) bool {
	if name == "token_endpoint_auth_signing_alg" {
		return slices.Contains(keyset.SupportedAlgorithms(), value) && (c.m.JWKS == nil || keyset.Serves(c.m.JWKS, value))
	}
	alg, isEnc := strings.CutSuffix(name, "_enc")
	return c.supported[name].Has(value) && (!isEnc || table.Has(c.m, alg+"_alg"))
}

// needs returns the values of which a list has to have one, and nil for a member that can stay out: a client that can
// encrypt, for example, does not have to.
func (c *chooser) needs(name string) []string {
	alg, isEnc := strings.CutSuffix(name, "_enc")
	switch {
	case name == "token_endpoint_auth_signing_alg":
		return keyset.SupportedAlgorithms()
	case c.can.OpenID && (name == "subject_type" || name == "id_token_signed_response_alg"), isEnc && table.Has(c.m, alg+"_alg"):
		return c.supported[name].Values
	}
	return nil
}
