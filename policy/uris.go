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

// destinations are the members that say where the server sends a user or a token. What it reads
// by itself (jwks_uri, request_uris, sector_identifier_uri) is not among them.
var destinations = []string{
	"redirect_uris", "post_logout_redirect_uris", "initiate_login_uri", "frontchannel_logout_uri",
	"backchannel_logout_uri", "backchannel_client_notification_endpoint",
}

// pageMembers are the members with a URL that is shown to people. Each has tagged forms.
var pageMembers = []string{"client_uri", "logo_uri", "tos_uri", "policy_uri"}

// RequireRedirectHosts refuses a client that would have users or tokens sent to any other host:
// by redirect_uris, post_logout_redirect_uris, initiate_login_uri, frontchannel_logout_uri,
// backchannel_logout_uri or backchannel_client_notification_endpoint. ".a.example" stands for
// all hosts below a.example, without that host itself. Ports, upper case and the spelling of an
// IPv6 address do not matter. URIs with a private-use scheme have no host that means anything,
// and are refused.
func RequireRedirectHosts(hosts ...string) dcr.Policy {
	known, err := hostList("RequireRedirectHosts", hosts)
	if err != nil {
		return mistaken{err}
	}
	return judging(destinations, "is on a host that this server does not allow here", known.has)
}

// BindRedirects refuses a client with a document (dcr.KindDocument) that has a redirect_uri or a post_logout_redirect_uri
// which is neither on the scheme, host and port of its identifier nor on one of the exempt hosts, written as for
// RequireRedirectHosts. A document is judged whenever it is fetched. Programs on the user's device, such as Claude Code, need
// BindRedirects("localhost", "127.0.0.1"). Clients that registered pass.
func BindRedirects(exempt ...string) dcr.Policy {
	known, err := hostList("BindRedirects", exempt)
	if err != nil {
		return mistaken{err}
	}
	return judge(func(a *dcr.Proposal) error {
		if a.Registrant.Kind != dcr.KindDocument {
			return nil
		}
		own := originOf(a.Registrant.ClientID)
		return judging([]string{"redirect_uris", "post_logout_redirect_uris"}, "is on another origin than the document", func(u *url.URL) bool {
			return known.has(u) || own != "" && originOf(u.String()) == own
		}).Judge(context.Background(), a)
	})
}

// hosts are names and addresses; ".a.example" stands for all below a.example.
type hosts []string

func hostList(policy string, list []string) (hosts, error) {
	known := make(hosts, len(list))
	for i, host := range list {
		if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, "/:*@")) {
			return nil, fmt.Errorf(`policy.%s: %q is no host: write "a.example", or ".a.example" for all below it`, policy, host)
		}
		known[i] = plainHost(host)
	}
	return known, nil
}

// has reports whether an http or https URL is on one of the hosts.
func (h hosts) has(u *url.URL) bool {
	name := plainHost(u.Hostname())
	return (u.Scheme == "https" || u.Scheme == "http") && slices.ContainsFunc(h, func(host string) bool {
		return name == host || strings.HasPrefix(host, ".") && strings.HasSuffix(name, host)
	})
}

// RequireRedirectSchemes refuses any other scheme in the members that RequireRedirectHosts
// judges.
func RequireRedirectSchemes(schemes ...string) dcr.Policy {
	return judging(destinations, "has a scheme that this server does not allow here", func(u *url.URL) bool {
		return slices.Contains(schemes, u.Scheme)
	})
}

// judging returns a policy that judges each URI of some members.
func judging(names []string, phrase string, allowed func(*url.URL) bool) dcr.Policy {
	return judge(func(a *dcr.Proposal) error {
		for _, name := range names {
			for _, raw := range urisOf(a.Metadata, name) {
				if u, err := url.Parse(raw); err == nil && allowed(u) {
					continue
				}
				if name == "redirect_uris" {
					return dcr.ErrInvalidRedirectURI.WithDescription(name + " " + phrase + ".")
				}
				return refuse(name + " " + phrase)
			}
		}
		return nil
	})
}

// urisOf returns the URIs of a member, which has one or a list.
func urisOf(m *dcr.ClientMetadata, name string) []string {
	switch value := m.Value(name).(type) {
	case string:
		return []string{value}
	case []string:
		return value
	}
	return nil
}

// SameHostURIs refuses a client_uri, logo_uri, tos_uri or policy_uri, in its tagged forms
// too, that does not have the scheme, host and port of a redirect URI (RFC 7591, section 5):
// the page of a brand does not belong to whoever registers it. Hosts are compared as by
// RequireRedirectHosts; on loopback any port will do.
func SameHostURIs() dcr.Policy {
	return pages("has not the scheme and host of one of the redirect_uris", func(m *dcr.ClientMetadata, raw string) bool {
		return slices.ContainsFunc(m.RedirectURIs, func(redirect string) bool { return originOf(redirect) == originOf(raw) })
	})
}

// TrustedHosts refuses the URIs that SameHostURIs judges unless they are https on one of
// these hosts. Where users and tokens are sent is for RequireRedirectHosts.
func TrustedHosts(hosts ...string) dcr.Policy {
	trusted := make([]string, len(hosts))
	for i, host := range hosts {
		trusted[i] = plainHost(host)
	}
	return pages("is not https on a host that this server trusts", func(_ *dcr.ClientMetadata, raw string) bool {
		host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{AllowFragment: true, MaxLength: len(raw)})
		return err == nil && slices.Contains(trusted, plainHost(host))
	})
}

// pages returns a policy that judges each URL that is shown to people.
func pages(phrase string, allowed func(m *dcr.ClientMetadata, raw string) bool) dcr.Policy {
	return judge(func(a *dcr.Proposal) error {
		m := a.Metadata
		for _, name := range pageMembers {
			for _, raw := range urisOf(m, name) {
				if !allowed(m, raw) {
					return refuse(name + " " + phrase)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
			if base, _, _ := strings.Cut(name, "#"); slices.Contains(pageMembers, base) && !allowed(m, m.Localized[name]) {
				return refuse(name + " " + phrase)
			}
		}
		return nil
	})
}

// ConfidentialRedirects refuses public clients that would have users or tokens sent to one of
// these redirect URIs, by any of the members that RequireRedirectHosts judges, or to the same
// place in another spelling: another port of loopback, another form of an IPv6 address, a query.
// Use it for the redirect URIs of an application that can keep a secret: nobody else can then
// claim them without one.
func ConfidentialRedirects(uris ...string) dcr.Policy {
	places := make([]string, len(uris))
	for i, uri := range uris {
		places[i] = placeOf(uri)
	}
	return judge(func(a *dcr.Proposal) error {
		if a.Metadata.TokenEndpointAuthMethod != "none" {
			return nil
		}
		for _, name := range destinations {
			if slices.ContainsFunc(urisOf(a.Metadata, name), func(uri string) bool { return slices.Contains(places, placeOf(uri)) }) {
				return refuse("token_endpoint_auth_method none is not allowed with these " + name)
			}
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
	return originOf(raw) + strings.TrimSuffix(u.Path, "/") + u.Opaque
}

// originOf returns the scheme, host and port of a URI, whatever its spelling. On loopback the port
// is left out: a native client comes back with another one each time (RFC 8252, section 7.3).
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host, port := plainHost(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	if addr, err := netip.ParseAddr(host); u.Scheme == "http" && (host == "localhost" || err == nil && addr.IsLoopback()) {
		port = ""
	}
	return u.Scheme + "://" + host + ":" + port
}

// plainHost returns one spelling of a host: an address as netip writes it, a name in lower case and
// without a final dot. An IPv4 address may come as one of IPv6.
func plainHost(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
