package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Targets is a list of exact URLs (https://client.example/app) and of hosts (client.example, client.example:8443,
// 192.0.2.1, [2001:db8::1]). A URL is compared byte for byte. A host is compared in any case, with or without a final
// dot; it has no wildcard, and a name under it is another host.
type Targets []string

// Has reports whether the list has a URL or its host. A host without a port stands for the port that the scheme of the
// URL implies, or, with anyPort, for each.
func (t Targets) Has(location string, anyPort bool) bool {
	if len(t) == 0 {
		return false
	}
	parsed, err := url.Parse(location)
	if err != nil {
		return false
	}
	host, port := canonicalHost(parsed.Hostname()), parsed.Port()
	implied := map[string]string{"https": "443", "http": "80"}[parsed.Scheme]
	if port == "" {
		port = implied
	}
	for _, entry := range t {
		if strings.Contains(entry, "://") {
			if entry == location {
				return true
			}
			continue
		}
		listed, listedPort, ok := splitHost(entry)
		every := listedPort == "" && anyPort
		if listedPort == "" {
			listedPort = implied
		}
		if ok && listed == host && (every || listedPort == port) {
			return true
		}
	}
	return false
}

// Problems says which entries can stand for nothing, each in a phrase.
func (t Targets) Problems() []string {
	var problems []string
	for _, entry := range t {
		if strings.Contains(entry, "://") {
			if parsed, err := url.Parse(entry); err != nil || parsed.Host == "" || parsed.String() != entry {
				problems = append(problems, fmt.Sprintf("%.200q is not a URL", entry))
			}
			continue
		}
		if _, _, ok := splitHost(entry); !ok {
			problems = append(problems, fmt.Sprintf("%.200q is neither a URL nor a host, such as client.example or client.example:8443", entry))
		}
	}
	return problems
}

// splitHost reads a host with or without a port.
func splitHost(entry string) (host, port string, ok bool) {
	if _, err := netip.ParseAddr(entry); err == nil {
		return canonicalHost(entry), "", true
	}
	host = entry
	if h, p, err := net.SplitHostPort(entry); err == nil {
		number, err := strconv.ParseUint(p, 10, 16)
		if err != nil || number == 0 || strconv.FormatUint(number, 10) != p {
			return "", "", false
		}
		host, port = h, p
	}
	_, _, ok = parseHost(host)
	return canonicalHost(host), port, ok
}

// canonicalHost returns one spelling for all of one host.
func canonicalHost(host string) string {
	addr, name, ok := parseHost(host)
	if ok && addr.IsValid() {
		return addr.Unmap().String()
	}
	return name
}

// Site returns what limits count a host under: its registrable domain (client.example for a.b.client.example), so that
// nobody is many by many names of one domain; the address of an IPv4 address, the network (/64) of an IPv6 address.
func Site(host string) string {
	addr, name, ok := parseHost(host)
	if ok && addr.IsValid() {
		addr = addr.Unmap()
		if prefix, err := addr.Prefix(64); err == nil && addr.Is6() {
			return prefix.String()
		}
		return addr.String()
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return domain
	}
	return name
}
