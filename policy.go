package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

// Policy is the host's say about what is registered. It sees metadata that has passed
// every rule, and who registers, and may change or refuse it. What it changes passes the
// rules again. A policy must be safe for many goroutines.
//
// The error is one of the protocol, such as ErrInvalidClientMetadata with a description
// that names the member, or ErrAccessDenied; any other, such as one of errors.New, is a
// failure of the server (500).
type Policy interface {
	Judge(ctx context.Context, a *Application) error
}

// PolicyFunc is a function as a policy.
type PolicyFunc func(ctx context.Context, a *Application) error

// Judge calls the function.
func (f PolicyFunc) Judge(ctx context.Context, a *Application) error { return f(ctx, a) }

// Application is a registration or an update as a policy sees it.
type Application struct {
	// Registrant is who registers, for an update who registered.
	Registrant *Registrant
	// Previous is the client that an update replaces, and nil for a registration.
	Previous *Client
	// Metadata is what would be registered. A policy may change it.
	Metadata *ClientMetadata
	// RotateSecret has an update answer a new client secret, if the client uses one. The old
	// one works for Config.SecretGrace beside it. A policy sets it, by the age of the secret
	// for example.
	RotateSecret bool
	// Lifetime is how long a client lives that is registered now, used or not, if that is
	// shorter than Config.Lifecycle.Maximum; 0 means that the policy does not say. An update
	// does not change when the client ends.
	Lifetime time.Duration
	// AlwaysAskConsent has NeedsConsent say yes for the client, so that the host asks its
	// users every time.
	AlwaysAskConsent bool
	// RequirePKCE has the client send a code_challenge with S256, as public clients have to
	// anyway.
	RequirePKCE bool
}

// decided is what policies say of a client besides its metadata.
type decided struct {
	rotateSecret     bool
	lifetime         time.Duration
	alwaysAskConsent bool
	requirePKCE      bool
}

// policies returns those that an application has to pass: that of the registrant, which
// binds later updates too, and then those of the configuration.
func (r *registry) policies(who *Registrant) ([]Policy, error) {
	if who.Policy == "" {
		return r.cfg.Policies, nil
	}
	own, ok := r.cfg.NamedPolicies[who.Policy]
	if !ok {
		// A client must not outgrow a policy that the configuration has lost.
		return nil, ErrAccessDenied.WithDescription("The policy for this client is not known to this server any more.")
	}
	return append([]Policy{own}, r.cfg.Policies...), nil
}

// applyPolicies asks the policies, and holds what they leave against the rules again.
func (r *registry) applyPolicies(ctx context.Context, m *ClientMetadata, e entrance) error {
	policies, err := r.policies(e.registrant)
	if err != nil || len(policies) == 0 {
		return err
	}
	application := &Application{Registrant: e.registrant, Previous: e.previous, Metadata: m}
	for _, policy := range policies {
		if err := policy.Judge(ctx, application); err != nil {
			return protocolError(err)
		}
	}
	if application.RequirePKCE && !r.can.pkce {
		return failure(errNothingChecksPKCE)
	}
	m.decided = decided{application.RotateSecret, application.Lifetime, application.AlwaysAskConsent, application.RequirePKCE}
	return r.settle(ctx, m, e, nothingOmitted)
}

var errNothingChecksPKCE = errors.New("dcr: a policy requires PKCE, but nothing checks it: add compose.OAuth2PKCEFactory")

// AllPolicies is one policy of several, in order.
func AllPolicies(policies ...Policy) Policy { return allPolicies(policies) }

type allPolicies []Policy

func (all allPolicies) Judge(ctx context.Context, a *Application) error {
	for _, policy := range all {
		if err := policy.Judge(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// mistaken is a policy with an argument that can't have been meant; Extend says so.
type mistaken struct{ problem error }

func (m mistaken) Judge(context.Context, *Application) error { return failure(m.problem) }

// policyProblems says what is wrong with a policy, or with those inside it.
func policyProblems(policy Policy) []error {
	switch p := policy.(type) {
	case nil:
		return []error{errors.New("Config.Policies or NamedPolicies has a nil policy")}
	case PolicyFunc:
		if p == nil {
			return policyProblems(nil)
		}
	case mistaken:
		return []error{p.problem}
	case allPolicies:
		var found []error
		for _, inside := range p {
			found = append(found, policyProblems(inside)...)
		}
		return found
	}
	return nil
}

// change is a policy that refuses nothing.
func change(edit func(m *ClientMetadata)) Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		edit(a.Metadata)
		return nil
	})
}

// LimitScopes leaves out every scope but these.
func LimitScopes(scopes ...string) Policy {
	return change(func(m *ClientMetadata) {
		m.Scope = strings.Join(keep(strings.Fields(m.Scope), func(s string) bool { return slices.Contains(scopes, s) }), " ")
	})
}

// ForceScopes registers these scopes besides what is asked for, if Config.Scopes has them.
func ForceScopes(scopes ...string) Policy {
	return change(func(m *ClientMetadata) {
		m.Scope = strings.Join(withoutRepeats(append(strings.Fields(m.Scope), scopes...)), " ")
	})
}

// LimitGrantTypes leaves out every grant type but these, and the response types that
// only the others use; a client of which nothing remains is refused.
func LimitGrantTypes(grantTypes ...string) Policy {
	return change(func(m *ClientMetadata) {
		m.GrantTypes = keep(m.GrantTypes, func(g string) bool { return slices.Contains(grantTypes, g) })
		m.ResponseTypes = fittingTypes(m)
	})
}

// RequireAuthMethods refuses clients that authenticate otherwise.
func RequireAuthMethods(methods ...string) Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		if !slices.Contains(methods, a.Metadata.TokenEndpointAuthMethod) {
			return refuseMetadata("token_endpoint_auth_method is not one that this server allows here")
		}
		return nil
	})
}

// RequireRedirectHosts refuses redirect URIs with a host that is none of these and, where
// one begins with a dot, ends in none of these. Private-use schemes have no host that
// means anything, and are refused.
func RequireRedirectHosts(hosts ...string) Policy {
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, "/:*@")) {
			return mistaken{fmt.Errorf(`dcr.RequireRedirectHosts: %q is no host: write "a.example", or ".a.example" for all below it`, host)}
		}
	}
	return redirects("is on a host that this server does not allow here", func(u *url.URL) bool {
		return (u.Scheme == "https" || u.Scheme == "http") && slices.ContainsFunc(hosts, func(host string) bool {
			return u.Hostname() == host || strings.HasPrefix(host, ".") && strings.HasSuffix(u.Hostname(), host)
		})
	})
}

// RequireRedirectSchemes refuses redirect URIs with another scheme.
func RequireRedirectSchemes(schemes ...string) Policy {
	return redirects("has a scheme that this server does not allow here", func(u *url.URL) bool {
		return slices.Contains(schemes, u.Scheme)
	})
}

// redirects is a policy that judges each redirect URI.
func redirects(phrase string, allowed func(*url.URL) bool) Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		for _, raw := range a.Metadata.RedirectURIs {
			if u, err := url.Parse(raw); err != nil || !allowed(u) {
				return ErrInvalidRedirectURI.WithDescription("redirect_uris " + phrase + ".")
			}
		}
		return nil
	})
}

// SameHostURIs refuses a client_uri, logo_uri, tos_uri or policy_uri, in its tagged forms
// too, that has not the scheme and host of a redirect URI (RFC 7591, section 5): a page
// of a brand does not belong to whoever registers it.
func SameHostURIs() Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		for name, raw := range webURLs(a.Metadata) {
			if !slices.ContainsFunc(a.Metadata.RedirectURIs, func(redirect string) bool { return origin(redirect) == origin(raw) }) {
				return refuseMetadata(name + " has not the scheme and host of one of the redirect_uris")
			}
		}
		return nil
	})
}

// TrustedHosts refuses the URIs that SameHostURIs judges unless they are https on one of
// these hosts.
func TrustedHosts(hosts ...string) Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		for name, raw := range webURLs(a.Metadata) {
			host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{AllowFragment: true})
			if err != nil || !slices.Contains(hosts, host) {
				return refuseMetadata(name + " is not https on a host that this server trusts")
			}
		}
		return nil
	})
}

// webURLs returns the URLs that are shown to people, by member.
func webURLs(m *ClientMetadata) map[string]string {
	urls := map[string]string{"client_uri": m.ClientURI, "logo_uri": m.LogoURI, "tos_uri": m.TOSURI, "policy_uri": m.PolicyURI}
	for name := range urls {
		if urls[name] == "" {
			delete(urls, name)
		}
	}
	for name, value := range m.Localized {
		if base, _, _ := strings.Cut(name, "#"); strings.HasSuffix(base, "_uri") {
			urls[name] = value
		}
	}
	return urls
}

// Require refuses metadata without these members, such as "contacts" or
// "software_statement". A member that the server does not know is never there.
func Require(names ...string) Policy {
	for _, name := range names {
		if memberNamed[name] == nil {
			return mistaken{fmt.Errorf("dcr.Require: %q is no member of the metadata that this package knows", name)}
		}
	}
	return PolicyFunc(func(_ context.Context, a *Application) error {
		for _, name := range names {
			row := memberNamed[name]
			if row.place(a.Metadata) == nil || isEmpty(row.place(a.Metadata)) {
				return refuseMetadata(name + " is required by this server")
			}
		}
		return nil
	})
}

// ConfidentialRedirects refuses public clients with one of these redirect URIs, or one
// that leads to the same place: those of an application that can keep a secret, and which
// nobody else should claim without one.
func ConfidentialRedirects(uris ...string) Policy {
	places := make([]string, len(uris))
	for i, uri := range uris {
		places[i] = placeOf(uri)
	}
	return PolicyFunc(func(_ context.Context, a *Application) error {
		public := a.Metadata.TokenEndpointAuthMethod == methodNone
		if public && slices.ContainsFunc(a.Metadata.RedirectURIs, func(uri string) bool { return slices.Contains(places, placeOf(uri)) }) {
			return refuseMetadata("token_endpoint_auth_method none is not allowed with these redirect_uris")
		}
		return nil
	})
}

// placeOf returns where a URI leads, whatever its spelling: scheme, host, port and decoded
// path.
func placeOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port + strings.TrimSuffix(u.Path, "/") + u.Opaque
}

// Defaults registers the members of m that a client does not name. Those that have a
// default by the protocol are there already when policies are asked: see
// Config.DefaultScopes and DefaultTokenEndpointAuthMethod.
func Defaults(m ClientMetadata) Policy {
	m = m.Clone()
	return change(func(registered *ClientMetadata) { registered.Fill(m) })
}

func withEntry[V any](m map[string]V, name string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[name] = value
	return m
}

// Lifetime ends clients so long after their registration, used or not. Zero and below say
// nothing.
func Lifetime(d time.Duration) Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		if d > 0 && (a.Lifetime == 0 || d < a.Lifetime) {
			a.Lifetime = d
		}
		return nil
	})
}

// AlwaysAskConsent has the users of a client asked every time, whatever they allowed before
// (NeedsConsent).
func AlwaysAskConsent() Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		a.AlwaysAskConsent = true
		return nil
	})
}

// RequirePKCE lets confidential clients have no code without PKCE either (RFC 9700, section
// 2.1.1, recommends it): the challenge method is S256.
func RequirePKCE() Policy {
	return PolicyFunc(func(_ context.Context, a *Application) error {
		a.RequirePKCE = true
		return nil
	})
}
