package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr"
)

// Who may register, as -registration names it.
const (
	registrationOpen  = "open"
	registrationToken = "token"
	registrationUser  = "user"
)

// What access tokens look like, as -tokens names it.
const (
	tokensOpaque = "opaque"
	tokensJWT    = "jwt"
)

// storageMemory is the default of -storage. storage.go knows the others.
const storageMemory = "memory"

// options is the command line.
type options struct {
	addr               string
	issuer             string
	registration       string
	initialAccessToken string
	resourceServers    []resourceServer
	storage            string
	rotate             bool
	tokens             string
	demo               bool
	insecureOutbound   bool
	rate               dcr.Rate
	admin              bool
	documents          bool
	documentsOf        []string
	documentAge        time.Duration
}

// resourceServer is a static client that checks tokens.
type resourceServer struct{ id, secret string }

func defaultOptions() options {
	return options{
		addr:         "127.0.0.1:8080",
		registration: registrationOpen,
		storage:      storageMemory,
		rotate:       true,
		tokens:       tokensOpaque,
		admin:        true,
		documents:    true,
		documentAge:  5 * time.Minute,
	}
}

// parseOptions reads the command line and refuses what makes no sense.
func parseOptions(args []string, errOut io.Writer) (options, error) {
	o := defaultOptions()
	flags := flag.NewFlagSet("authserver", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.StringVar(&o.addr, "addr", o.addr, "`address` to listen on; port 0 takes a free one")
	flags.StringVar(&o.issuer, "issuer", "", "`URL` under which the server is reached (default http:// and the address); the same for all processes with one -storage")
	flags.StringVar(&o.registration, "registration", o.registration, "who may register: open (loopback only), token or user")
	flags.StringVar(&o.initialAccessToken, "initial-access-token", "", "`token` that may register with -registration token, besides access tokens with the registration scope and those that the operator mints under /admin")
	flags.Func("resource-server", "`ID:SECRET` of a static client that may introspect every token; repeatable", o.addResourceServer)
	flags.StringVar(&o.storage, "storage", o.storage, "where clients and tokens are kept: memory, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE; the password may come from PGPASSWORD or ~/.pgpass instead")
	flags.BoolVar(&o.rotate, "rotate", o.rotate, "replace the registration access token with every update")
	flags.StringVar(&o.tokens, "tokens", o.tokens, "access tokens: opaque or jwt (RFC 9068)")
	flags.Func("rate", "registrations of one caller, as `COUNT/DURATION` such as 60/1m (default no limit on loopback)", o.setRate)
	flags.BoolVar(&o.documents, "cimd", o.documents, "clients may come with the URL of a metadata document as their client_id, instead of registering")
	flags.Func("cimd-allow", "`URL-OR-HOST` of such documents that are taken, others are not; repeatable (default those of every public host)", o.addDocument)
	flags.DurationVar(&o.documentAge, "cimd-min-age", o.documentAge, "the shortest `duration` that a document is kept before it is fetched again")
	flags.BoolVar(&o.insecureOutbound, "insecure-outbound-loopback", false, "for tests: URLs that clients register, and those of documents, may lead to loopback, where certificates are not checked")
	flags.BoolVar(&o.admin, "admin", o.admin, "the operator's pages under /admin, with a password that is printed at the start; beyond loopback they are off unless given, since this server itself speaks plain http")
	flags.BoolVar(&o.demo, "demo", false, "play the life of a client against a server on a free port, and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		shown, _, _ := strings.Cut(flags.Arg(0), "://") // a password may follow
		return o, fmt.Errorf("unexpected argument %q", shown)
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.demo && !given["addr"] {
		o.addr = "127.0.0.1:0"
	}
	// The demo prints no password. Beyond loopback the operator has to give -admin, which says that
	// a proxy with TLS is the only way to the server.
	o.admin = o.admin && !o.demo && (given["admin"] || isLoopback(o.addr))
	return o, o.check()
}

func (o *options) addResourceServer(value string) error {
	id, secret, ok := strings.Cut(value, ":")
	if !ok || id == "" || secret == "" {
		return errors.New("want ID:SECRET")
	}
	o.resourceServers = append(o.resourceServers, resourceServer{id, secret})
	return nil
}

func (o *options) addDocument(value string) error {
	if value == "" {
		return errors.New("want a URL or a host")
	}
	o.documentsOf = append(o.documentsOf, value)
	return nil
}

func (o *options) setRate(value string) error {
	count, per, _ := strings.Cut(value, "/")
	var err error
	if o.rate.Count, err = strconv.Atoi(count); err == nil {
		o.rate.Per, err = time.ParseDuration(per)
	}
	if err != nil || o.rate.Count <= 0 || o.rate.Per <= 0 {
		return errors.New("want COUNT/DURATION, such as 60/1m")
	}
	return nil
}

// check refuses settings that cannot work, and the one that would be dangerous by
// accident: open registration on an address that others can reach.
func (o *options) check() error {
	oneOf := func(name, value string, allowed ...string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("-%s %q: want %s", name, value, strings.Join(allowed, " or "))
	}
	_, storage := parseStorage(o.storage)
	err := errors.Join(
		oneOf("registration", o.registration, registrationOpen, registrationToken, registrationUser),
		storage,
		oneOf("tokens", o.tokens, tokensOpaque, tokensJWT),
	)
	switch {
	case err != nil:
		return err
	case o.initialAccessToken != "" && o.registration != registrationToken:
		return errors.New("-initial-access-token works with -registration token only")
	case o.demo && o.registration != registrationOpen:
		return errors.New("-demo registers anonymous clients: leave -registration at open")
	case o.demo && o.issuer != "":
		return errors.New("-demo sends its requests to the address that it listens on: leave -issuer out")
	case !o.documents && len(o.documentsOf) > 0:
		return errors.New("-cimd-allow works with -cimd only")
	case o.documentAge <= 0:
		return errors.New("-cimd-min-age: want a duration above zero, such as 5m")
	case hasPath(o.issuer):
		return fmt.Errorf("-issuer %s: the pages of this server are at the root of its host, so leave the path out", o.issuer)
	case isLoopback(o.addr):
		return nil
	case o.registration == registrationOpen:
		return fmt.Errorf("-addr %s can be reached from other machines, and -registration open would let everybody "+
			"register: use -registration token or user, or a loopback address", o.addr)
	case o.issuer == "":
		return fmt.Errorf("-addr %s can be reached from other machines: say with -issuer under which https URL", o.addr)
	}
	return nil
}

func hasPath(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && strings.Trim(u.Path, "/") != ""
}

// isLoopback reports whether only this machine can reach the address. A name other
// than localhost could resolve to any address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
