// Package admin is what an operator of a server has to look after the clients that
// registered with it: a JSON API, and pages for people that need no JavaScript.
//
// It knows no users of its own. The host says who an operator is, and New refuses to be
// mounted without:
//
//	history := admin.NewHistory(admin.HistoryOptions{}) // also one of the sinks of Config.Events
//	handler, err := admin.New(provider, admin.Options{
//		Prefix:       "/admin",
//		Authenticate: operatorOf, // func(*http.Request) (operator string, err error)
//		History:      history,
//	})
//	...
//	mux.Handle("/admin/", handler)
//
// The pages begin at Prefix with a slash behind it. The paths of the API are these, under
// Prefix:
//
//	GET    /api/summary                       how many clients and tokens there are
//	GET    /api/clients                       a list of clients, those registered last first
//	GET    /api/clients/{id}                  one client
//	DELETE /api/clients/{id}                  removes it with its tokens
//	POST   /api/clients/{id}/expire           ends it; the record stays until the next sweep
//	POST   /api/clients/{id}/revoke-tokens    removes its tokens and grants
//	GET    /api/initial-access-tokens         a list of their records, by identifier
//	POST   /api/initial-access-tokens         mints one, and answers the token this once
//	DELETE /api/initial-access-tokens/{id}    revokes one
//	POST   /api/sweep                         removes the records of clients that have ended
//	GET    /api/events                        the latest 200 events without a client
//
// A list of clients takes these parameters, each of them once: kind, subject,
// initial_access_token, never_used (true or false), expiring_before, software_id,
// redirect_host, name, search, created_from, created_before, cursor, and limit (1 to
// 1000). They are the fields of dcr.ClientFilter; times are those of RFC 3339, and one
// without a zone is UTC. An empty one counts as not there. The answer has "clients", and
// "next" for cursor where there are more. A list of initial access tokens takes after, an
// identifier, and limit; its "next" is for after.
//
// expiring_before means clients whose end lies before that time, unless they are used or
// changed: those that have ended already, and have not been swept, count too. An end by
// being idle does not, for it moves with each use: "ends" of a client tells it. That is
// what "ended_or_ending_within_an_hour_unless_used" of the summary counts.
//
// The events without a client are what was refused before one was known, and what was done
// with initial access tokens, the latest first. Refusals, which strangers cause at will, are
// no more than half of what a History keeps of them.
//
// Minting takes JSON with any of label, subject, policy, grant_types, uses and
// lifetime_seconds. Changes without an answer of their own are 204.
//
// Errors have the form of the protocol's: "error" is invalid_request, access_denied,
// not_found, not_supported (501: the storage can't do this), temporarily_unavailable or
// server_error, and "error_description" names the parameter at fault. What a storage fails
// with goes to the log and to nobody else.
//
// No answer holds a secret, a hash or a signature, other than the one of minting, which
// holds the token. What clients say of themselves is text on the pages, never a link or a
// picture.
package admin

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Options says how the operator's pages are mounted, and for whom.
type Options struct {
	// Authenticate returns the name of the operator who sends a request: of a session, of
	// Basic credentials, of a client certificate. It is asked for every request, those that
	// only read too. An empty name means that the request is not allowed (Deny); an error
	// means that this could not be found out, and is answered 500, or 503 where it wraps
	// dcr.ErrUnavailable. The name stands in events. Required.
	//
	// A cookie or Basic credentials are enough: browsers' requests that change something
	// are refused when they come from other sites (http.CrossOriginProtection).
	Authenticate func(r *http.Request) (operator string, err error)
	// Deny answers requests that are not allowed: with a challenge, a page to sign in, or a
	// redirect to one. Nil means 403. What it writes is the host's: of the headers that guard
	// the pages of this package it finds Cache-Control, X-Content-Type-Options and
	// Referrer-Policy set, which it may change, and no Content-Security-Policy.
	Deny http.Handler
	// Prefix is the path under which the handler is mounted, such as "/admin". Do not use
	// http.StripPrefix: requests arrive with it. Empty means the root of the host.
	Prefix string
	// History is what happened to clients: a History, or what the host keeps in a database.
	// Nil means that none is kept, and the pages say so.
	History Events
	// Now is the time; nil means time.Now. Use that of dcr.Config.
	Now func() time.Time
	// Log is told what a request fails at; nil means slog.Default.
	Log *slog.Logger
}

//go:embed pages
var files embed.FS

// admin is the handler behind the door.
type admin struct {
	provider  *dcr.Provider
	options   Options
	templates *template.Template
	style     []byte
	routes    http.Handler
}

// New returns the handler of all paths under Prefix.
func New(provider *dcr.Provider, options Options) (http.Handler, error) {
	switch p := options.Prefix; {
	case provider == nil:
		return nil, errors.New("admin: no provider")
	case options.Authenticate == nil:
		return nil, errors.New("admin: set Options.Authenticate: without it whoever reaches these pages could delete every client")
	case p == "":
	case p[0] != '/' || strings.HasSuffix(p, "/"):
		return nil, fmt.Errorf("admin: Options.Prefix %q has to begin with a slash and not to end with one; leave it empty for the root", p)
	case path.Clean(p) != p || strings.ContainsAny(p, "?#%{} "):
		return nil, fmt.Errorf(`admin: Options.Prefix %q has to be a plain path such as "/admin", without "//", dots as segments, spaces and any of ?#%%{}`, p)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Deny == nil {
		options.Deny = http.HandlerFunc(denied)
	}
	a := &admin{provider: provider, options: options}
	var err error
	if a.style, err = files.ReadFile("pages/style.css"); err != nil {
		return nil, err
	}
	if a.templates, err = a.parse(); err != nil {
		return nil, err
	}
	a.routes = a.table()
	return a.door(), nil
}

// contentPolicy lets a page load its style sheet and post its own forms, and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// door lets operators in, and nobody else.
func (a *admin) door() http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if protection.Check(r) != nil {
			guard(h)
			a.fail(w, r, errCrossSite)
			return
		}
		operator, err := a.options.Authenticate(r)
		switch {
		case err != nil:
			guard(h)
			a.fail(w, r, hidden(err))
		case operator == "":
			a.options.Deny.ServeHTTP(w, r)
		default:
			guard(h)
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
			a.routes.ServeHTTP(w, r.WithContext(dcr.AsOperator(r.Context(), operator)))
		}
	})
}

// guard sets the headers of the pages of this package. Those of a host, to sign in, may
// need scripts, pictures and forms of other servers.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
}

func denied(w http.ResponseWriter, _ *http.Request) {
	guard(w.Header())
	writeJSON(w, http.StatusForbidden, errorAnswer{"access_denied", "Only operators may do this."})
}
