package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// action serves one method of one path. What it returns is answered as an error.
type action func(w http.ResponseWriter, r *http.Request) error

// table has all paths. A GET serves HEAD too.
func (a *admin) table() http.Handler {
	mux := http.NewServeMux()
	route := func(path string, methods map[string]action) {
		mux.Handle(a.options.Prefix+path, a.dispatch(methods))
	}
	get := func(path string, page action) { route(path, map[string]action{http.MethodGet: page}) }

	get("/{$}", a.showClients)
	get("/style.css", a.serveStyle)
	get("/clients", a.openClient)
	get("/clients/{id}", a.showClient)
	route("/clients/{id}/{change}", map[string]action{http.MethodGet: a.askChange, http.MethodPost: a.doChange})
	route("/tokens", map[string]action{http.MethodGet: a.showTokens, http.MethodPost: a.mintOnPage})
	route("/tokens/{id}/revoke", map[string]action{http.MethodGet: a.askRevoke, http.MethodPost: a.doRevoke})
	route("/sweep", map[string]action{http.MethodGet: a.askSweep, http.MethodPost: a.doSweep})
	get("/events", a.showEvents)

	get("/api/summary", a.getSummary)
	get("/api/clients", a.listClients)
	route("/api/clients/{id}", map[string]action{http.MethodGet: a.getClient, http.MethodDelete: a.change(changes["delete"])})
	route("/api/clients/{id}/expire", map[string]action{http.MethodPost: a.change(changes["expire"])})
	route("/api/clients/{id}/revoke-tokens", map[string]action{http.MethodPost: a.change(changes["revoke"])})
	route("/api/initial-access-tokens", map[string]action{http.MethodGet: a.listTokens, http.MethodPost: a.mintToken})
	route("/api/initial-access-tokens/{id}", map[string]action{http.MethodDelete: a.revokeToken})
	route("/api/sweep", map[string]action{http.MethodPost: a.sweep})
	get("/api/events", a.listEvents)

	mux.Handle(a.options.Prefix+"/", a.dispatch(nil))
	if a.options.Prefix != "" {
		mux.Handle("/", a.dispatch(nil))
	}
	return mux
}

func (a *admin) dispatch(methods map[string]action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		do, ok := methods[method]
		switch {
		case ok:
			if err := do(w, r); err != nil {
				a.fail(w, r, err)
			}
		case methods == nil:
			a.fail(w, r, fosite.ErrNotFound)
		default:
			w.Header().Set("Allow", strings.Join(allowed(methods), ", "))
			a.fail(w, r, &refusal{http.StatusMethodNotAllowed, "invalid_request", "This resource does not support the method of the request."})
		}
	})
}

func allowed(methods map[string]action) []string {
	var names []string
	for name := range methods {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return names
}

// refusal is an error that says what the caller did wrong.
type refusal struct {
	status            int
	code, description string
}

func (e *refusal) Error() string { return e.code + ": " + e.description }

var errCrossSite = &refusal{http.StatusForbidden, "access_denied", "Changes are accepted from pages of this server only, not from other sites."}

func badRequest(description string) error {
	return &refusal{http.StatusBadRequest, "invalid_request", description}
}

// hidden is an error of which nobody is told what it is: that of authentication must not
// pass for "not found", or for any other answer.
func hidden(err error) error {
	answer := &refusal{http.StatusInternalServerError, "server_error", "The server failed. Its log says why."}
	if errors.Is(err, dcr.ErrUnavailable) || errors.Is(err, dcr.ErrConflict) {
		answer = &refusal{http.StatusServiceUnavailable, "temporarily_unavailable", "The server can not do this now. Try again later."}
	}
	return &failure{answer, err}
}

type failure struct {
	*refusal
	cause error
}

func (f *failure) Unwrap() []error { return []error{f.refusal, f.cause} }

// refusalOf turns any error into what is answered.
func refusalOf(err error) *refusal {
	var known *refusal
	switch {
	case errors.As(err, &known):
	case errors.Is(err, fosite.ErrNotFound):
		known = &refusal{http.StatusNotFound, "not_found", "There is nothing of this name, or not any more."}
	case errors.Is(err, dcr.ErrNotSupported):
		known = &refusal{http.StatusNotImplemented, "not_supported", "The storage of this server can not do this."}
	case errors.Is(err, dcr.ErrBadArgument):
		known = &refusal{http.StatusBadRequest, "invalid_request", "The request makes no sense: " + strings.TrimPrefix(err.Error(), dcr.ErrBadArgument.Error()+": ") + "."}
	default:
		return refusalOf(hidden(err))
	}
	return known
}

// fail answers an error, as JSON under /api/ and as a page elsewhere.
func (a *admin) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := refusalOf(err)
	if answer.status >= 500 && answer.status != http.StatusNotImplemented {
		a.options.Log.ErrorContext(r.Context(), "operator's request failed", "method", r.Method, "path", r.URL.Path, "cause", causeOf(err))
	}
	path, _ := strings.CutPrefix(r.URL.Path, a.options.Prefix)
	if strings.HasPrefix(path, "/api/") {
		writeJSON(w, answer.status, errorAnswer{answer.code, answer.description})
		return
	}
	a.showError(w, answer)
}

func causeOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		err = f.cause
	}
	return err.Error()
}

type errorAnswer struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil { // none of our types can fail
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
