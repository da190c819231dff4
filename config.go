package dcr

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Config sets what an application wants otherwise than by default. The zero value is safe: registration is
// closed to everybody without an access token for it, everything is bounded, and nothing is fetched from
// inside the network. The factory copies it; what is wrong with it is said by Extend.
//
// A name that begins with Allow or Insecure weakens a defence; the comment says which.
type Config struct {
	// Access decides who may register. Nil means an OAuth access token with the scope Registration.Scope.
	// Others are [Open], [InitialAccessTokens], [SignedIn], [AnyOf] and your own ([AccessFunc]).
	Access Access
	// Scopes are what clients may register, compared literally. Empty means that nothing can be registered.
	Scopes []string
	// Policies see what passed every rule, and may change or refuse it, in this order. Package policy has some.
	Policies []Policy
	// NamedPolicies are those that a Registrant may name. A client whose policy is gone can't be updated.
	NamedPolicies map[string]Policy
	// Documents has clients sign in that are not registered: their identifiers are URLs, at which their metadata stands. The
	// rules for it are those of anonymous registrants; lifetimes, rates and quotas do not apply. Nil means none.
	Documents Documents
	// Events receives what happened; nil means that nobody does. [LogEvents] writes a log.
	Events EventSink

	Metadata      Metadata      // Metadata says what clients may register besides Scopes
	Registration  Registration  // Registration configures the registration endpoint (RFC 7591)
	Management    Management    // Management says what clients may do with their registration (RFC 7592)
	Secrets       Secrets       // Secrets says how long client secrets live, and how they are hashed
	Lifecycle     Lifecycle     // Lifecycle says when clients expire that nobody removes
	Limits        Limits        // Limits bounds requests, their rate, and the number of clients
	Endpoints     Endpoints     // Endpoints says where the provider's endpoints lie, and which browsers may call them
	Authorization Authorization // Authorization says what fosite's endpoints demand of registered clients
	Storage       Storage       // Storage names storages, for applications that wrap the composed one
	Outbound      Outbound      // Outbound bounds requests to URLs that clients name

	Now func() time.Time // Now is the clock; nil means time.Now
}

// Storage names storages where the composed one can't be used, because a decorator hides what it can do.
type Storage struct {
	Clients ClientStorage // Clients keeps registered clients; nil means the storage that the factory received
	// Tokens keeps the entries of registration access tokens; nil means the storage that the factory
	// received.
	Tokens oauth2.AccessTokenStorage
	// NewSession returns an empty session of the type that the storage of tokens reads; nil means
	// *fosite.DefaultSession.
	NewSession func() fosite.Session
}

// Outbound bounds requests to URLs that clients name.
type Outbound struct {
	// Options bounds addresses, time and size.
	outbound.Options
	// JWKSFetcher fetches keys of clients from their jwks_uri; nil means a guarded one with Options.
	JWKSFetcher fosite.JWKSFetcherStrategy
}

// ConfigProvider is implemented by a fosite.Configurator of an application that calls factories itself. It
// is asked once, by DCRFactory.
type ConfigProvider interface {
	// GetDCRConfig returns the configuration; nil means Config{}.
	GetDCRConfig(ctx context.Context) *Config
}

// MCPConfig returns the settings that the clients of a Model Context Protocol server need: Claude, ChatGPT,
// Visual Studio Code, Cursor, MCP Inspector and others, which register themselves as public clients. The
// resource is the URL of the MCP server, which tokens are for (RFC 8707), the scopes are what clients may
// have.
//
// It loosens what these clients fail at: everybody registers, from pages of any origin too; an unused client
// lives for a day; schemes of editors need no period; any port of localhost, no state beside PKCE, and either
// secret method will do (Authorization). A limit for each caller, PKCE, and no grant without a user stay. A
// client that names no grant types gets a refresh token, too. What else an application wants it sets in the
// result; Registration.ShareIdentical where many clients register anew, always alike.
func MCPConfig(resource string, scopes ...string) Config {
	return Config{
		Access: Open(),
		Scopes: scopes,
		// Some people sign in hours after they have added a server. Clients that are never used still
		// expire within a day.
		Lifecycle: Lifecycle{Unused: 24 * time.Hour},
		// MCP Inspector and other clients run in a browser. No credentials go along.
		Endpoints: Endpoints{AllowedOrigins: []string{"*"}},
		Authorization: Authorization{
			Audience:        []string{resource},
			DefaultResource: resource,
			// Claude Code and Visual Studio Code register http://localhost/callback and come back with a
			// port.
			AllowAnyLocalhostPort: true,
			// MCP Inspector and Cursor send PKCE and no state.
			AllowMissingState: true,
			// Deployed clients register one of the two secret methods and use the other.
			AllowOtherSecretMethod: true,
		},
		Metadata: Metadata{
			// The schemes of editors, which have no period as RFC 8252 wants it.
			PrivateUseSchemes: []string{"cursor", "vscode", "vscode-insiders", "windsurf", "oc"},
			// Clients that name no grants want to stay signed in all the same.
			DefaultGrantTypes: []string{capability.GrantAuthorizationCode, capability.GrantRefreshToken},
			BaselineScopes:    offlineAccess(scopes),
		},
	}
}

// offlineAccess is the scope that fosite wants for a refresh token by default, where clients may have it.
func offlineAccess(scopes []string) []string {
	if slices.Contains(scopes, "offline_access") {
		return []string{"offline_access"}
	}
	return nil
}

// withDefaults returns a copy with every default filled in that does not depend on the provider.
func (c Config) withDefaults() Config {
	c.Scopes, c.Policies, c.NamedPolicies = slices.Clone(c.Scopes), slices.Clone(c.Policies), maps.Clone(c.NamedPolicies)
	if c.Access == nil {
		c.Access = accessToken{}
	}
	if c.Events == nil {
		c.Events = noEvents{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Storage.NewSession == nil {
		c.Storage.NewSession = func() fosite.Session { return new(fosite.DefaultSession) }
	}
	if c.Outbound.JWKSFetcher == nil {
		c.Outbound.JWKSFetcher = outbound.NewJWKSFetcher(c.Outbound.Options)
	}
	c.Metadata = c.Metadata.withDefaults(c.Scopes)
	c.Registration = c.Registration.withDefaults()
	c.Management = c.Management.withDefaults()
	c.Lifecycle = c.Lifecycle.withDefaults()
	c.Limits = c.Limits.withDefaults(c.Now)
	c.Endpoints = c.Endpoints.withDefaults()
	c.Authorization = c.Authorization.withDefaults()
	return c
}

// memberLimits are the limits of the metadata.
func (c *Config) memberLimits() *members.Limits {
	l := c.Limits.members()
	l.PrivateUseSchemes = c.Metadata.PrivateUseSchemes
	l.AllowLoopback = c.Outbound.InsecureAllowLoopback
	l.Extensions = c.Metadata.ExtensionMembers
	return l
}

// problems returns all that is wrong with the configuration by itself.
func (c *Config) problems(matches fosite.ScopeStrategy) []error {
	found := slices.Concat(
		c.Endpoints.problems(),
		c.scopeProblems(matches),
		c.Authorization.problems(),
		c.Metadata.problems(c.Scopes, c.Limits.URI),
	)
	for _, policy := range c.Policies {
		found = append(found, policyProblems(policy)...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.NamedPolicies)) {
		found = append(found, policyProblems(c.NamedPolicies[name])...)
	}
	return slices.Concat(found,
		ruleProblems(c.Access), c.Limits.problems(), c.Secrets.problems(), c.Management.Token.problems(), c.Lifecycle.problems())
}

// scopeProblems says what is wrong with Scopes.
func (c *Config) scopeProblems(matches fosite.ScopeStrategy) []error {
	var found []error
	wrong := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	for _, scope := range c.Scopes {
		if members.ScopeTokens(c.memberLimits(), scope) != "" || scope == "" || strings.Contains(scope, " ") {
			wrong("Config.Scopes: %q is no scope (RFC 6749, section 3.3)", scope)
		}
		if wider := widerThanItself(scope, c.Scopes, matches); wider == scope {
			wrong("Config.Scopes: %q is a pattern, since it has an asterisk: name each scope, since they are compared literally", scope)
		} else if wider != "" {
			wrong("Config.Scopes: under the scope strategy of fosite's configuration %q also grants %q; "+
				"leave one of them out, or set fosite.ExactScopeStrategy", scope, wider)
		}
	}
	if slices.Contains(c.Scopes, c.Management.Token.Scope) {
		wrong("Config.Scopes has %q, the scope of registration access tokens", c.Management.Token.Scope)
	}
	if slices.Contains(c.Scopes, c.Registration.Scope) && !c.Registration.AllowScope {
		wrong("Config.Scopes has %q, which lets its holder register clients; set Config.Registration.AllowScope if that is meant", c.Registration.Scope)
	}
	return found
}

// warnings says what is legal in the configuration and hardly meant.
func (c *Config) warnings() []string {
	var found []string
	if len(c.Scopes) == 0 {
		found = append(found, "Config.Scopes is empty, so clients register without any scope and their tokens have none: name the scopes that clients may have")
	}
	sinks, several := c.Events.(eventSinks)
	if c.Events == EventSink(noEvents{}) || several && len(sinks) == 0 {
		found = append(found, "Config.Events is nil, so nobody learns who registers and what is refused: set dcr.LogEvents or a sink of your own")
	}
	return append(found, c.Limits.warnings()...)
}
