package cimd

import (
	"crypto/x509"
	"net/url"
	"time"
)

// Options say whose documents are taken, and how they are fetched and kept. The zero value is safe: documents of every
// public host are taken, over https, within bounds.
type Options struct {
	// Allow lists the identifiers whose documents are taken: exact ones (https://client.example/app), or hosts
	// (client.example for the port 443, client.example:8443). A host alone is weak where anybody can publish on it.
	// Default: nil, which allows every identifier. An empty list that is not nil allows those of Own only.
	Allow []string
	// Deny lists identifiers, exact ones or hosts, that are refused though Allow has them. A host without a port stands
	// for all its ports. It is in force for copies, too.
	Deny []string
	// Own maps identifiers to documents of the application's own, which are taken without any network. They may begin
	// with http://, too.
	Own map[string][]byte
	// AllowPrivate lists exact identifiers, or hosts as Allow has them, that may lie in the server's own network: at a
	// private or a loopback address. Their certificates are verified as those of others. Default: none.
	AllowPrivate []string
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
	// HostFetchesPerMinute bounds how many fetches one host sees in a minute. Default: 60.
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
