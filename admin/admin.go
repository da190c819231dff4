// Package admin lets the operators of a server look after the clients that registered with it, and
// after those whose identifiers are URLs of metadata documents.
// It has pages for browsers, which need no JavaScript, and a JSON API.
//
// It has no user accounts. The application says who is an operator, and New fails without that:
//
//	history := admin.NewHistory(admin.HistoryOptions{}) // set it in Config.Events too
//	handler, err := admin.New(provider, admin.Options{
//		Prefix:       "/admin",
//		Authenticate: operatorOf, // func(*http.Request) (operator string, err error)
//		History:      history,
//	})
//	...
//	router.PathPrefix("/admin/").Handler(handler) // of gorilla/mux
//	routes.Handle("/admin/", handler)             // of http.ServeMux
//
// The first page is at Prefix + "/". The API has these paths under Prefix:
//
//	GET    /api/summary                       how many clients and tokens there are
//	GET    /api/clients                       a list of clients, the newest first
//	GET    /api/clients/{id}                  one client
//	DELETE /api/clients/{id}                  deletes the client and its tokens
//	POST   /api/clients/{id}/expire           expires the client; its record stays until the next sweep
//	POST   /api/clients/{id}/revoke-tokens    revokes the tokens and grants of the client
//	GET    /api/initial-access-tokens         a list of initial access tokens, ordered by identifier
//	POST   /api/initial-access-tokens         mints one; the answer is the only one with the token
//	DELETE /api/initial-access-tokens/{id}    revokes one
//	POST   /api/sweep                         removes the records of expired clients
//	GET    /api/events                        the latest registrations, and events without a client
//	GET    /api/documents                     a list of client metadata documents, ordered by identifier
//	GET    /api/document?id=                  one document
//	POST   /api/document/refresh?id=          fetches it now; the answer is the document
//	POST   /api/document/block?id=            refuses the client, and revokes its tokens
//	POST   /api/document/unblock?id=          ends that
//	POST   /api/document/revoke-tokens?id=    revokes the tokens and grants of the client
//
// A list of clients takes these parameters, each at most once: kind, subject,
// initial_access_token, never_used (true or false), expiring_before, software_id,
// redirect_host, name, search, created_from, created_before, cursor, and limit (1 to
// 1000, default 50). Most are fields of dcr.ClientFilter. A time has the form of RFC 3339; one
// without a time zone is UTC. An empty parameter is ignored. The answer has "clients" and, if
// there are more, "next", which is the cursor of the next part. A list of initial access tokens
// takes after, an identifier, and limit; its "next" is the next value of after. A list of documents
// does too.
//
// "expiry" of a client says when the client expires ("at"), whether it has expired ("expired"),
// and why ("reason"): "unused" if it gets no token before, "idle" if it is not used again, or
// "lifetime" with or without use. expiring_before finds clients that expire before that time:
// for being unused or by their lifetime, not for being idle, since that date moves with each
// use. Expired clients that were not swept yet are found too. The summary counts them as
// "expired_or_expiring_within_an_hour".
//
// "history" of a client begins with its registration. Where the history does not have it, such
// as after a restart, it is taken from the record of the client. /api/events has the latest
// first: up to 100 registrations of clients that exist, from their records, and up to 200 events
// without a client. These are requests that were refused before a client was known, and changes
// of initial access tokens. Anybody can cause refusals, so a History keeps room for the others.
//
// The paths of documents exist with Options.Documents. The identifier of such a client is the URL of
// its document, which many routers and proxies do not accept in a path, so id is a parameter.
// "failure" says why the last fetch of this process brought nothing: "reason" is that of
// cimd.Failure, with "status" and "media_type" of the answer, or the error code of the rule that the
// document broke. "client" is what the server made of the document. It is missing where no copy is
// kept. A look at a document fetches nothing, and is no use of it. Blocking and revoking work for
// identifiers without a document, too.
//
// Minting takes a JSON object with any of label, subject, policy, grant_types, uses and
// lifetime_seconds. A change without an answer has status 204.
//
// Errors have the form of OAuth: "error" is invalid_request, access_denied, not_found,
// not_supported (501: the storage can't do this), temporarily_unavailable or server_error, and
// "error_description" names the parameter that is wrong. Errors of the storage are written to
// the log only.
//
// No answer has a secret, a hash or a signature, except that minting answers the token. What
// clients say about themselves is shown as text, never as a link or a picture.
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
	"github.com/fosite-contrib/fosite-dcr/cimd"
)

// Options are the settings of the pages and the API. Authenticate is required.
type Options struct {
	// Authenticate returns the name of the operator who sends a request, such as from a
	// session, Basic credentials or a client certificate. It is called for every request, also
	// for those that only read. An empty name means that the request is not allowed, and Deny
	// answers it. An error means that the operator could not be determined: the answer is 500,
	// or 503 if the error wraps dcr.ErrUnavailable. Events contain the name. Required.
	//
	// A cookie or Basic credentials are enough: a change that a browser sends from another
	// site is refused (http.CrossOriginProtection).
	Authenticate func(r *http.Request) (operator string, err error)
	// Deny answers requests that are not allowed: with a challenge, a sign-in page, or a
	// redirect to one. Nil means status 403. Cache-Control, X-Content-Type-Options and
	// Referrer-Policy are set before it is called, and it may change them. The other security
	// headers of this package, such as Content-Security-Policy, are not set.
	Deny http.Handler
	// Prefix is the path under which the handler is mounted, such as "/admin". Do not use
	// http.StripPrefix: the handler expects the whole path. Empty means the root, "/".
	Prefix string
	// History is where events are read from: a History, or a database of the application. Nil
	// means that the server keeps no history, and the pages say so. A History has to be in
	// dcr.Config.Events too, or it stays empty.
	History Events
	// Documents are those of dcr.Config.Documents. Operators then see the clients whose identifiers are
	// URLs too, and can block them. Nil means that there are no such pages.
	Documents *cimd.Documents
	// Now returns the current time; nil means time.Now. Use the function of dcr.Config.Now.
	Now func() time.Time
	// Log receives the errors of requests that are answered 500 or 503; nil means slog.Default.
	Log *slog.Logger
}

//go:embed pages
var files embed.FS

// admin answers the requests of operators.
type admin struct {
	provider  *dcr.Provider
	options   Options
	templates *template.Template
	style     []byte
	routes    http.Handler
}

// New returns the handler of all paths under Prefix. It fails without a provider or
// Authenticate, and with a Prefix that is no plain path.
func New(provider *dcr.Provider, options Options) (http.Handler, error) {
	switch p := options.Prefix; {
	case provider == nil:
		return nil, errors.New("admin: no provider")
	case options.Authenticate == nil:
		return nil, errors.New("admin: set Options.Authenticate: without it, everybody who reaches these pages could delete every client")
	case p == "":
	case p[0] != '/' || strings.HasSuffix(p, "/"):
		return nil, fmt.Errorf("admin: Options.Prefix %q must begin with a slash and must not end with one; leave it empty for the root", p)
	case path.Clean(p) != p || strings.ContainsAny(p, "?#%{} "):
		return nil, fmt.Errorf(`admin: Options.Prefix %q must be a plain path such as "/admin", without "//", "." or ".." as a segment, spaces, or any of ?#%%{}`, p)
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

// contentPolicy allows a page to load its style sheet and to send its own forms, and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// door passes on the requests of operators, and refuses all others.
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

// guard sets the security headers of this package. A sign-in page of the application may need
// scripts, pictures and forms of other servers, so it does not get them.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
}

// denied is the default of Options.Deny.
func denied(w http.ResponseWriter, _ *http.Request) {
	guard(w.Header())
	writeJSON(w, http.StatusForbidden, errorAnswer{"access_denied", "Only operators are allowed to do this."})
}
