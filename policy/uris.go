package policy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

// RequireRedirectHosts refuses redirect URIs on any other host. ".a.example" stands for all
// hosts below a.example, without that host itself. Ports do not matter. Redirect URIs with a
// private-use scheme have no host that means anything, and are refused.
func RequireRedirectHosts(hosts ...string) dcr.Policy {
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, "/:*@")) {
			return mistaken{fmt.Errorf(`policy.RequireRedirectHosts: %q is no host: write "a.example", or ".a.example" for all below it`, host)}
		}
	}
	return redirects("is on a host that this server does not allow here", func(u *url.URL) bool {
		return (u.Scheme == "https" || u.Scheme == "http") && slices.ContainsFunc(hosts, func(host string) bool {
			return u.Hostname() == host || strings.HasPrefix(host, ".") && strings.HasSuffix(u.Hostname(), host)
		})
	})
}

// RequireRedirectSchemes refuses redirect URIs with any other scheme.
func RequireRedirectSchemes(schemes ...string) dcr.Policy {
	return redirects("has a scheme that this server does not allow here", func(u *url.URL) bool {
		return slices.Contains(schemes, u.Scheme)
	})
}

// redirects returns a policy that judges each redirect URI.
func redirects(phrase string, allowed func(*url.URL) bool) dcr.Policy {
	return dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		for _, raw := range a.Metadata.RedirectURIs {
			if u, err := url.Parse(raw); err != nil || !allowed(u) {
				return dcr.ErrInvalidRedirectURI.WithDescription("redirect_uris " + phrase + ".")
			}
		}
		return nil
	})
}

// SameHostURIs refuses a client_uri, logo_uri, tos_uri or policy_uri, in its tagged forms
// too, that does not have the scheme, host and port of a redirect URI (RFC 7591, section 5):
// the page of a brand does not belong to whoever registers it.
func SameHostURIs() dcr.Policy {
	return pages("has not the scheme and host of one of the redirect_uris", func(m *dcr.ClientMetadata, raw string) bool {
		return slices.ContainsFunc(m.RedirectURIs, func(redirect string) bool { return origin(redirect) == origin(raw) })
	})
}

// TrustedHosts refuses the URIs that SameHostURIs judges unless they are https on one of
// these hosts.
func TrustedHosts(hosts ...string) dcr.Policy {
	return pages("is not https on a host that this server trusts", func(_ *dcr.ClientMetadata, raw string) bool {
		host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{AllowFragment: true})
		return err == nil && slices.Contains(hosts, host)
	})
}

// pages returns a policy that judges each URL that is shown to people.
func pages(phrase string, allowed func(m *dcr.ClientMetadata, raw string) bool) dcr.Policy {
	return dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		m := a.Metadata
		for _, page := range [...]struct{ name, url string }{
			{"client_uri", m.ClientURI}, {"logo_uri", m.LogoURI}, {"tos_uri", m.TOSURI}, {"policy_uri", m.PolicyURI},
		} {
			if page.url != "" && !allowed(m, page.url) {
				return refuse(page.name + " " + phrase)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
			if base, _, _ := strings.Cut(name, "#"); strings.HasSuffix(base, "_uri") && !allowed(m, m.Localized[name]) {
				return refuse(name + " " + phrase)
			}
		}
		return nil
	})
}

// origin returns the scheme, host and port of a URL that has passed the rules.
func origin(raw string) string {
	scheme, rest, _ := strings.Cut(raw, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}

// ConfidentialRedirects refuses public clients with one of these redirect URIs, or with one
// that leads to the same place in another spelling. Use it for the redirect URIs of an
// application that can keep a secret: nobody else can then claim them without one.
func ConfidentialRedirects(uris ...string) dcr.Policy {
	places := make([]string, len(uris))
	for i, uri := range uris {
		places[i] = placeOf(uri)
	}
	return dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		public := a.Metadata.TokenEndpointAuthMethod == "none"
		if public && slices.ContainsFunc(a.Metadata.RedirectURIs, func(uri string) bool { return slices.Contains(places, placeOf(uri)) }) {
			return refuse("token_endpoint_auth_method none is not allowed with these redirect_uris")
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
