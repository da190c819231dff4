package cimd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Options say whose documents are taken, and how they are fetched and kept. The zero value is safe: documents of every
// public host are taken, over https, within bounds.
type Options struct {
	// Allow lists the identifiers whose documents are taken: exact ones (https://client.example/app), or hosts
	// (client.example for the port 443, client.example:8443). A host alone is weak where anybody can publish on it.
	// Default: nil, which allows every identifier. An empty list that is not nil allows those of Own only.
	Allow outbound.Targets
	// Deny lists identifiers, exact ones or hosts, that are refused though Allow has them. A host without a port stands
	// for all its ports. It is in force for copies, too.
	Deny outbound.Targets
	// Own maps identifiers to documents of the application's own, which are taken without any network. They may begin
	// with http://, too.
	Own map[string][]byte
	// AllowPrivate lists exact identifiers, or hosts as Allow has them, that may lie in the server's own network: at a
	// private or a loopback address. Their certificates are verified as those of others. What is wrong with their documents
	// is for the operator alone. Default: none.
	AllowPrivate outbound.Targets
	// InsecureAllowLoopback takes documents from this machine, with https and an unverified certificate, or with http. For
	// tests and development.
	InsecureAllowLoopback bool

	// MinAge is how long a document is used at least before it is fetched again, whatever its host says, so that one
	// sign-in fetches once. Default: 5 minutes.
	MinAge time.Duration
	// MaxAge is how long a document is used at most before it is fetched again. Default: 24 hours.
	MaxAge time.Duration
	// StaleFor is how long a document serves past that time while its host is unavailable. Default: 24 hours. A negative
	// one turns it off.
	StaleFor time.Duration

	// MaxBytes bounds a document, after decompression. Default: 5 KiB.
	MaxBytes int64
	// Timeout bounds a fetch, from the name to the last byte. Default: 5 seconds.
	Timeout time.Duration
	// Fetches bounds how many fetches are under way at once. Default: 64.
	Fetches int
	// HostFetches bounds how many of them go to one host. Hosts with one registrable domain count as one. Default: 4.
	HostFetches int
	// HostFetchesPerMinute bounds how many fetches one host sees in a minute. Default: 60. Documents that are known, or that
	// Allow names exactly, are counted each for itself, and are no part of the bounds above: they have the same once more.
	HostFetchesPerMinute int

	// UserAgent is sent with each request. Default: "fosite-dcr".
	UserAgent string
	// RootCAs are the authorities that sign acceptable certificates. Default: those of the system.
	RootCAs *x509.CertPool
	// Proxy is the proxy through which all documents are fetched. It resolves the names, so the proxy has to refuse
	// addresses inside, which this package can't. Default: none; the environment is not asked.
	Proxy *url.URL

	// Storage keeps documents beyond the process. Default: none, they are kept in memory.
	Storage Storage
	// MaxDocuments bounds how many documents are kept in memory, and how many in Storage. Those go that were not used for
	// the longest. Default: 10,000.
	MaxDocuments int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// checked returns the options with defaults, or an error that says everything that is wrong with them.
func (o Options) checked() (Options, error) {
	problems := o.listProblems()
	problems = append(problems, o.ownProblems()...)
	if o.MinAge < 0 || o.MaxAge < 0 || o.MaxBytes < 0 || o.Timeout < 0 || o.Fetches < 0 || o.HostFetches < 0 ||
		o.HostFetchesPerMinute < 0 || o.MaxDocuments < 0 {
		problems = append(problems, "only StaleFor may be negative: no other bound can be turned off")
	}
	o = o.withDefaults()
	if o.MinAge > o.MaxAge {
		problems = append(problems, fmt.Sprintf("MinAge (%v) is more than MaxAge (%v)", o.MinAge, o.MaxAge))
	}
	if o.Proxy != nil && (o.Proxy.Scheme != "http" && o.Proxy.Scheme != "https" || o.Proxy.Host == "") {
		problems = append(problems, fmt.Sprintf("Proxy %q is not an http or https URL with a host", o.Proxy.Redacted()))
	}
	if len(problems) > 0 {
		return o, errors.New("cimd: Options: " + strings.Join(problems, "; "))
	}
	return o, nil
}

func (o Options) listProblems() []string {
	var problems []string
	for _, list := range []struct {
		name    string
		targets outbound.Targets
	}{{"Allow", o.Allow}, {"Deny", o.Deny}, {"AllowPrivate", o.AllowPrivate}} {
		for _, problem := range list.targets.Problems() {
			problems = append(problems, list.name+": "+problem)
		}
		for _, entry := range list.targets {
			if _, _, ok := documentURL(entry); !ok && strings.Contains(entry, "://") {
				problems = append(problems, fmt.Sprintf("%s: %.200q is not an identifier that names a document", list.name, entry))
			}
		}
	}
	for _, entry := range o.AllowPrivate {
		if strings.HasPrefix(entry, "http://") {
			problems = append(problems, fmt.Sprintf("AllowPrivate: %.200q has to be https", entry))
		}
	}
	return problems
}

func (o Options) ownProblems() []string {
	var problems []string
	for _, id := range slices.Sorted(maps.Keys(o.Own)) {
		switch _, _, ok := documentURL(id); {
		case !ok:
			problems = append(problems, fmt.Sprintf("Own: %.200q is not an identifier that names a document", id))
		case !isObject(o.Own[id]):
			problems = append(problems, fmt.Sprintf("Own: the document of %.200q is not a JSON object", id))
		case o.Deny.Has(id, true):
			problems = append(problems, fmt.Sprintf("Own: Deny has %.200q", id))
		}
	}
	return problems
}

// withDefaults returns the options with every field set.
func (o Options) withDefaults() Options {
	setDefault(&o.MinAge, 5*time.Minute)
	setDefault(&o.MaxAge, 24*time.Hour)
	setDefault(&o.StaleFor, 24*time.Hour)
	setDefault(&o.MaxBytes, 5<<10)
	setDefault(&o.Timeout, 5*time.Second)
	setDefault(&o.Fetches, 64)
	setDefault(&o.HostFetches, 4)
	setDefault(&o.HostFetchesPerMinute, 60)
	setDefault(&o.MaxDocuments, 10_000)
	o.StaleFor = max(0, o.StaleFor)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Own = maps.Clone(o.Own)
	o.Allow, o.Deny, o.AllowPrivate = slices.Clone(o.Allow), slices.Clone(o.Deny), slices.Clone(o.AllowPrivate)
	return o
}

func setDefault[T ~int | ~int64](value *T, fallback T) {
	if *value == 0 {
		*value = fallback
	}
}
