package dcr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Config sets what an application wants otherwise than by default. The zero value
// is safe: registration is closed to everybody without an access token for it,
// everything is bounded, and nothing is fetched from inside the network. The
// factory copies it; what is wrong with it is said by Extend.
//
// A name that begins with Allow or Insecure weakens a defence; the comment says
// which.
type Config struct {
	// Access decides who may register. Nil means an OAuth access token with the
	// scope RegistrationScope. Others are [Open], [InitialAccessTokens], [SignedIn], [AnyOf]
	// and your own ([AccessFunc]).
	Access Access
	// RegistrationScope is the scope of access tokens that may register; default
	// "dcr:register".
	RegistrationScope string
	// AllowRegistrationScope lets clients register RegistrationScope for
	// themselves, if Scopes has it. By default a client can't, or one registration
	// would open the door to more (T54).
	AllowRegistrationScope bool

	// RateLimit bounds how often registration is asked for, and Quotas how many clients one
	// registrant has. Anonymous registrants have a limit for each caller by default.
	RateLimit RateLimit
	Quotas    Quotas
	// TrustedProxies are the addresses of the host's own proxies, such as
	// netip.MustParsePrefix("10.0.0.0/8"). A request from one of them comes from where its
	// X-Forwarded-For says; everybody else could write anything there (T16). With any of
	// them set, a peer without an address (a Unix socket) is a proxy, too. Limits and events
	// know callers by it. Callers without an address, as of an adapter that leaves RemoteAddr
	// empty, are one caller.
	TrustedProxies []netip.Prefix

	// AllowedOrigins are those whose pages may call the two endpoints from a browser
	// (CORS), such as "https://inspector.example"; "*" means all. None by default.
	// Credentials such as cookies are never allowed along. MCP Inspector and other clients
	// that run in a browser need it.
	AllowedOrigins []string

	// ShareIdentical answers registrations of public clients by anonymous registrants that
	// ask for the very same with one client, which then has no registration access token:
	// what many use, none of them may change. Clients that register anew each time they
	// start, always alike, leave one record then. By default each gets its own. It takes a
	// storage that implements GrantRevoker, since an identifier that was gone may come back.
	ShareIdentical bool
	// RevokeOnRedirectChange removes all tokens and grants of a client whose redirect URIs
	// an update changes, so that who stole its registration access token can't turn its
	// users' consent to another place (T39). It takes a storage that implements
	// GrantRevoker. Where the removal fails, the update is taken back and fails. Until the
	// removal is done the client's registration access token may be refused for a moment, and
	// a crash in that moment leaves a client that can't manage itself any more. A list in
	// another order is a change, too.
	RevokeOnRedirectChange bool

	// Issuer returns the issuer of a request, an https URL (http on loopback). Nil
	// means fosite's GetAccessTokenIssuer, then its GetIDTokenIssuer. A client that
	// was registered under one issuer does not exist under another.
	Issuer func(ctx context.Context) string
	// RegistrationPath is where Mount puts the registration endpoint, and what
	// RegistrationEndpoint appends to the issuer; default "/register".
	RegistrationPath string
	// RegistrationEndpoint returns the public URL of the registration endpoint;
	// nil means the issuer with RegistrationPath. A client's own URL is this one
	// with "/" and the client identifier. No part of it comes from a request.
	RegistrationEndpoint func(ctx context.Context) string
	// PushedAuthorizationRequestEndpoint returns the public URL of the PAR endpoint,
	// which client assertions may name as their audience there (RFC 9126, section
	// 2). Nil means the scheme and host of the issuer with the path of the request.
	PushedAuthorizationRequestEndpoint func(ctx context.Context) string

	// Management tells what clients may do with their registration.
	Management Management
	// RegistrationToken tells how long a registration access token lives and when
	// it is replaced.
	RegistrationToken RegistrationToken
	// Lifecycle tells when clients end that nobody ends.
	Lifecycle Lifecycle
	// SecretLifetime is how long a client secret authenticates; 0 means for ever.
	SecretLifetime time.Duration

	// SecretGrace is how long an earlier secret works after a policy had it replaced
	// (Application.RotateSecret); 0 means not at all.
	SecretGrace time.Duration

	// Scopes are what clients may register, compared literally. Empty means that
	// nothing can be registered.
	Scopes []string
	// DefaultScopes are registered for a client that names none, or none of Scopes;
	// nil means all of Scopes, which a client may have by asking for them. Many
	// deployed clients never name one and later ask for what the resource
	// advertises.
	DefaultScopes []string
	// BaselineScopes are registered for every client besides what it asks for, such as
	// "openid" for clients that fetch an ID token without having registered for one
	// (Claude Code registers what the resource lists, and ToolHive adds these for it).
	BaselineScopes []string
	// Audience holds what tokens of every registered client may be for. Without it
	// fosite lets a client sign in for an audience and then refuses every refresh. A
	// resource that a request names (RFC 8707), as clients of MCP do, becomes a requested
	// audience if it is among these.
	Audience []string
	// RefuseUnknownResources answers invalid_target to a request for another resource. By
	// default it is left out: the token is not for that resource, which then refuses it.
	RefuseUnknownResources bool
	// GrantTypes are registrable besides those that the composed handlers are found
	// to handle.
	GrantTypes []string
	// AnonymousGrantTypes are registrable for those whom Access does not know,
	// besides authorization_code, refresh_token and the device grant, in which a user
	// takes part. Naming client_credentials here, with open registration, hands an
	// access token to whoever asks (T56).
	AnonymousGrantTypes []string
	// ResponseTypes are registrable besides those of the handlers of fosite.
	ResponseTypes []string
	// TokenEndpointAuthMethods are the registrable authentication methods. Nil means
	// none, client_secret_basic, client_secret_post, and private_key_jwt where fosite
	// knows the URL of the token endpoint. Methods of the host's own may be added.
	TokenEndpointAuthMethods []string
	// DefaultTokenEndpointAuthMethod is registered for clients that name no method;
	// default client_secret_basic, as RFC 7591 has it. Servers whose clients are
	// native applications set "none": oidc-agent and FastMCP's client name no method.
	DefaultTokenEndpointAuthMethod string
	// Supports names members of the metadata that the host honours besides what fosite
	// and this package do, each with the values that it may have; nil means every value
	// that passes the member's rules. A member that promises security, such as
	// dpop_bound_access_tokens, belongs here only if something enforces it. By default
	// such members are refused, and those of features that the server lacks are left out.
	Supports map[string][]string
	// ExtensionMembers are members of the host's own that are kept and returned, whatever
	// their JSON is (Client.Metadata.Extensions). All other unknown members are ignored.
	ExtensionMembers []string
	// RefuseUnsupported refuses grant types, response types, scopes and members of
	// features that the server does not have. By default they are left out and the answer says what was
	// registered (RFC 7591, section 3.2.1): Visual Studio Code and others ask for more
	// than a server has.
	RefuseUnsupported bool

	// StatementIssuers are those whose software statements are trusted. Without any, a
	// statement is ignored, and not returned (RFC 7591, section 3.1.1), unless
	// RefuseStatements answers unapproved_software_statement to it.
	StatementIssuers []StatementIssuer
	RefuseStatements bool

	// PrivateUseSchemes are redirect URI schemes without a period that are accepted
	// all the same, for clients such as Cursor ("cursor") and Visual Studio Code
	// ("vscode"). RFC 8252, section 7.1, wants a reverse domain name.
	PrivateUseSchemes []string
	// AllowAnyLocalhostPort lets a public client that registered a redirect URI
	// with http and the host localhost come back with another port, as RFC 8252,
	// section 7.3, has it for IP literals. Claude Code and Visual Studio Code need it.
	// Another program of the user's machine could listen there (T50).
	AllowAnyLocalhostPort bool
	// RefuseNativeHTTPS refuses https redirect URIs for application_type native, as
	// the letter of OpenID Connect Registration has it. RFC 8252, section 7.2,
	// recommends them.
	RefuseNativeHTTPS bool
	// AllowMissingState accepts authorization requests without state if they carry a
	// PKCE challenge, which protects against the same attack (RFC 9700, section 2.1).
	// MCP Inspector and Cursor send none.
	AllowMissingState bool
	// AllowPlainPKCE accepts the challenge method plain from public registered clients
	// where fosite's configuration does too. By default they have to use S256.
	AllowPlainPKCE bool
	// RefuseTokenEndpointAudience refuses client assertions whose audience is the URL
	// of the token endpoint instead of the issuer.
	RefuseTokenEndpointAudience bool

	// Policies see what passed every rule, and may change or refuse it, in this order.
	Policies []Policy
	// NamedPolicies are those that a Registrant may name. A client whose policy is gone
	// from here can't be updated.
	NamedPolicies map[string]Policy

	// Limits bounds what is read and stored.
	Limits Limits
	// Outbound bounds requests to URLs that clients name.
	Outbound outbound.Options
	// JWKSFetcher fetches keys of clients from their jwks_uri; nil means a guarded
	// one with Outbound.
	JWKSFetcher fosite.JWKSFetcherStrategy

	// ClientStorage and TokenStorage are for hosts that wrap their storage: nil means
	// the storage that the factory was given.
	ClientStorage ClientStorage
	TokenStorage  oauth2.AccessTokenStorage
	// Hasher hashes client secrets. Nil means a [SecretHasher] in front of the hasher
	// of fosite's configuration; a host with a ClientAuthenticationStrategy of its own
	// gets the configuration's.
	Hasher fosite.Hasher
	// NewSession returns an empty session of the type that the host's token storage
	// reads; nil means *fosite.DefaultSession.
	NewSession func() fosite.Session
	// Events is told what happened; nil means nobody.
	Events EventSink
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Management tells what a client may do with its registration (RFC 7592).
type Management struct {
	// Off answers no registration access token; clients can't be managed.
	Off bool
	// ForbidUpdate and ForbidDelete answer 403 to a client that may read.
	ForbidUpdate bool
	ForbidDelete bool
}

// RegistrationToken configures registration access tokens.
type RegistrationToken struct {
	// Scope is the scope of the token's record; default "dcr:manage". No client can
	// have it granted.
	Scope string
	// Lifetime is how long a token works; 0 means for ever. A client whose token has
	// expired can no longer be managed; each rotation starts the time anew.
	Lifetime time.Duration
	// KeepOnUpdate leaves the token as it is when the client is updated. By default
	// an update answers a new one and the old one is dead.
	KeepOnUpdate bool
	// RotateOnRead answers a new token to a read, too.
	RotateOnRead bool
	// Grace is how long the previous token works after a rotation, or until the new
	// one is first used if that is sooner; 0 means not at all. It is for clients that
	// lose the response.
	Grace time.Duration
}

// Limits bounds what one request may bring. Zero means the default.
type Limits struct {
	Body         int64 // bytes of a request body; default 128 KiB
	RedirectURIs int   // redirect URIs; default 64
	Elements     int   // elements of any other list; default 64
	Keys         int   // keys of a jwks; default 32
	URI          int   // characters of a URI; default 2048
	Text         int   // characters of a text for people; default 1024
	Name         int   // characters of a method or a grant type; default 256
	Scope        int   // characters of scope; default 4096
	Localized    int   // members with a language tag; default 128
	Extension    int   // bytes of an extension member; default 4096
}

// ConfigProvider is implemented by a fosite.Configurator of a host that calls
// factories itself. It is asked once, by DCRFactory.
type ConfigProvider interface {
	GetDCRConfig(ctx context.Context) *Config
}

const (
	defaultRegistrationScope      = "dcr:register"
	defaultRegistrationTokenScope = "dcr:manage"
	defaultRegistrationPath       = "/register"
)

// withDefaults returns a copy with every default filled in that does not depend on
// the provider.
func (c Config) withDefaults() Config {
	c = c.clone()
	setDefault(&c.RegistrationScope, defaultRegistrationScope)
	setDefault(&c.RegistrationToken.Scope, defaultRegistrationTokenScope)
	setDefault(&c.RegistrationPath, defaultRegistrationPath)
	setDefault(&c.DefaultTokenEndpointAuthMethod, methodClientSecretBasic)
	if c.Access == nil {
		c.Access = accessToken{}
	}
	if c.DefaultScopes == nil {
		c.DefaultScopes = c.Scopes
	}
	if c.NewSession == nil {
		c.NewSession = newSession
	}
	if c.Events == nil {
		c.Events = noEvents{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.JWKSFetcher == nil {
		c.JWKSFetcher = outbound.NewJWKSFetcher(c.Outbound)
	}
	c.Limits = c.Limits.withDefaults()
	c.RateLimit = c.RateLimit.withDefaults(c.Now)
	setDefault(&c.Lifecycle.Young, defaultYoung)
	return c
}

// clone copies what the caller might change afterwards.
func (c Config) clone() Config {
	for _, list := range []*[]string{
		&c.AllowedOrigins, &c.Scopes, &c.DefaultScopes, &c.BaselineScopes, &c.Audience, &c.GrantTypes, &c.AnonymousGrantTypes,
		&c.ResponseTypes, &c.TokenEndpointAuthMethods, &c.ExtensionMembers, &c.PrivateUseSchemes,
	} {
		*list = slices.Clone(*list)
	}
	c.TrustedProxies = plainPrefixes(c.TrustedProxies)
	c.Policies, c.StatementIssuers = slices.Clone(c.Policies), slices.Clone(c.StatementIssuers)
	c.NamedPolicies, c.Supports = maps.Clone(c.NamedPolicies), maps.Clone(c.Supports)
	for name, values := range c.Supports {
		c.Supports[name] = slices.Clone(values)
	}
	return c
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Body, 128<<10)
	setDefault(&l.RedirectURIs, 64)
	setDefault(&l.Elements, 64)
	setDefault(&l.Keys, 32)
	setDefault(&l.URI, 2048)
	setDefault(&l.Text, 1024)
	setDefault(&l.Name, 256)
	setDefault(&l.Scope, 4096)
	setDefault(&l.Localized, 128)
	setDefault(&l.Extension, 4096)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// limits returns what the rules need to know.
func (c *Config) limits() *limits {
	return &limits{
		Limits:        c.Limits,
		keys:          keyset.Limits{Keys: c.Limits.Keys},
		redirects:     redirecturi.Options{PrivateUseSchemes: c.PrivateUseSchemes, MaxLength: c.Limits.URI},
		extensions:    c.ExtensionMembers,
		allowLoopback: c.Outbound.InsecureAllowLoopback,
	}
}

// problems returns all that is wrong with the configuration by itself.
func (c *Config) problems(matches fosite.ScopeStrategy) []error {
	var found []error
	wrong := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }

	if !strings.HasPrefix(c.RegistrationPath, "/") || strings.HasSuffix(c.RegistrationPath, "/") {
		wrong("Config.RegistrationPath %q has to begin with a slash and not to end with one", c.RegistrationPath)
	}
	for _, scope := range c.Scopes {
		if scopeTokens(c.limits(), scope) != "" || scope == "" || strings.Contains(scope, " ") {
			wrong("Config.Scopes: %q is no scope (RFC 6749, section 3.3)", scope)
		}
		if wider := widerThanItself(scope, c.Scopes, matches); wider != "" {
			wrong("Config.Scopes: under the scope strategy of fosite's configuration %q also grants %q; "+
				"leave one of them out, or set fosite.ExactScopeStrategy", scope, wider)
		}
	}
	for _, scope := range slices.Concat(c.DefaultScopes, c.BaselineScopes) {
		if !slices.Contains(c.Scopes, scope) {
			wrong("Config.DefaultScopes or BaselineScopes: %q is not among Config.Scopes", scope)
		}
	}
	if slices.Contains(c.Audience, "") {
		wrong("Config.Audience has an empty audience: name the resources that tokens are for")
	}
	for _, origin := range c.AllowedOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			wrong("Config.AllowedOrigins: %q is no origin, such as https://inspector.example, and not *", origin)
		}
	}
	for _, name := range c.ExtensionMembers {
		if memberNamed[name] != nil || isServerMember(name) || name == "" {
			wrong("Config.ExtensionMembers: %q is a member of the protocol", name)
		}
	}
	if slices.Contains(c.Scopes, c.RegistrationToken.Scope) {
		wrong("Config.Scopes has %q, the scope of registration access tokens", c.RegistrationToken.Scope)
	}
	if slices.Contains(c.Scopes, c.RegistrationScope) && !c.AllowRegistrationScope {
		wrong("Config.Scopes has %q, which lets its holder register clients; set Config.AllowRegistrationScope if that is meant", c.RegistrationScope)
	}
	for _, scheme := range c.PrivateUseSchemes {
		if _, err := redirecturi.Check(scheme+"://host/path", c.limits().redirects); err != nil {
			wrong("Config.PrivateUseSchemes: a redirect URI with the scheme %q %w", scheme, err)
		}
	}
	for name := range c.Supports {
		if row := memberNamed[name]; row == nil || row.support == registered {
			wrong("Config.Supports: %q is no member whose support a host decides", name)
		}
	}
	for name := range c.Supports {
		enc := strings.TrimSuffix(name, "_alg") + "_enc"
		if _, ok := c.Supports[enc]; strings.HasSuffix(name, "_alg") && memberNamed[enc] != nil && !ok {
			wrong("Config.Supports has %q without %q, which defaults to %s", name, enc, defaultContentEncryption)
		}
	}
	for _, policy := range slices.Concat(c.Policies, slices.Collect(maps.Values(c.NamedPolicies))) {
		found = append(found, policyProblems(policy)...)
	}
	found = append(found, ruleProblems(c.Access)...)
	if slices.Contains(c.TokenEndpointAuthMethods, methodClientSecretJWT) {
		wrong("Config.TokenEndpointAuthMethods: client_secret_jwt needs the plain secret, and secrets are stored hashed")
	}
	return slices.Concat(found, c.statementProblems(), c.rateProblems(), c.negatives())
}

// negatives finds durations and bounds below zero.
func (c *Config) negatives() []error {
	l := c.Limits
	bounds := []int{l.RedirectURIs, l.Elements, l.Keys, l.URI, l.Text, l.Name, l.Scope, l.Localized, l.Extension, int(l.Body),
		c.Quotas.PerSubject, c.Quotas.PerInitialAccessToken}
	durations := []time.Duration{c.SecretLifetime, c.SecretGrace, c.RegistrationToken.Lifetime, c.RegistrationToken.Grace, c.Lifecycle.Idle, c.Lifecycle.Maximum}
	if slices.Min(bounds) < 0 || slices.Min(durations) < 0 {
		return []error{errors.New("Config has a bound or a duration below zero")}
	}
	return nil
}

// issuerProblem tells what is wrong with an issuer.
func issuerProblem(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return errors.New("no issuer: set AccessTokenIssuer or IDTokenIssuer of fosite's configuration, or Config.Issuer")
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("the issuer %q is not an https URL without query and fragment", issuer)
	case u.Scheme == "https" || u.Scheme == "http" && outbound.SpecialHost(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the issuer %q is not an https URL; http is for loopback only", issuer)
}

// widerThanItself returns a known scope that the strategy grants to whoever
// registered scope, other than scope (T54).
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
