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

// action serves one method of one path. An error that it returns becomes the answer.
type action func(w http.ResponseWriter, r *http.Request) error

// table returns the handler of all paths. An action for GET serves HEAD too.
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

	if a.options.Documents != nil {
		get("/documents", a.showDocuments)
		get("/document", a.showDocument)
		route("/document/{change}", map[string]action{http.MethodGet: a.askDocument, http.MethodPost: a.doDocument})
		get("/api/documents", a.listDocuments)
		get("/api/document", a.getDocument)
		route("/api/document/refresh", map[string]action{http.MethodPost: a.refreshNow})
		for name, change := range map[string]string{"block": "block", "unblock": "unblock", "revoke-tokens": "revoke"} {
			route("/api/document/"+name, map[string]action{http.MethodPost: a.changeNow(change)})
		}
	}

	mux.Handle(a.options.Prefix+"/", a.dispatch(nil))
	if a.options.Prefix != "" {
		mux.Handle("/", a.dispatch(nil))
	}
	return mux
}

// dispatch returns the handler of one path; nil methods mean that the path does not exist.
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
			a.fail(w, r, &refusal{http.StatusMethodNotAllowed, "invalid_request", "This path does not support the method of the request."})
		}
	})
}

// allowed returns the methods of a path for the header Allow.
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

// refusal is an error that is answered as it is: it tells the operator what is wrong.
type refusal struct {
	status            int
	code, description string
}

func (e *refusal) Error() string { return e.code + ": " + e.description }

var errCrossSite = &refusal{http.StatusForbidden, "access_denied", "This request comes from another site. Only pages of this server can make changes."}

func badRequest(description string) error {
	return &refusal{http.StatusBadRequest, "invalid_request", description}
}

// hidden returns an error whose cause is written to the log only. An error of Authenticate, for
// example, must not look like "not found".
func hidden(err error) error {
	answer := &refusal{http.StatusInternalServerError, "server_error", "The server failed. The reason is in the log of the server."}
	if errors.Is(err, dcr.ErrUnavailable) || errors.Is(err, dcr.ErrConflict) {
		answer = &refusal{http.StatusServiceUnavailable, "temporarily_unavailable", "The server cannot do this now. Try again later."}
	}
	return &failure{answer, err}
}

// failure is an answer with the cause that only the log receives.
type failure struct {
	*refusal
	cause error
}

func (f *failure) Unwrap() []error { return []error{f.refusal, f.cause} }

// refusalOf returns the answer for an error.
func refusalOf(err error) *refusal {
	var known *refusal
	switch {
	case errors.As(err, &known):
	case errors.Is(err, fosite.ErrNotFound):
		known = &refusal{http.StatusNotFound, "not_found", "This does not exist, or it was removed."}
	case errors.Is(err, dcr.ErrNotSupported):
		known = &refusal{http.StatusNotImplemented, "not_supported", "The storage of this server cannot do this."}
	case errors.Is(err, dcr.ErrBadArgument):
		known = &refusal{http.StatusBadRequest, "invalid_request", "The request is not valid: " + strings.TrimPrefix(err.Error(), dcr.ErrBadArgument.Error()+": ") + "."}
	default:
		return refusalOf(hidden(err))
	}
	return known
}

// fail answers an error, as JSON under /api/ and as a page elsewhere.
func (a *admin) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := refusalOf(err)
	if answer.status >= 500 && answer.status != http.StatusNotImplemented {
		a.options.Log.ErrorContext(r.Context(), "request of an operator failed", "method", r.Method, "path", r.URL.Path, "cause", causeOf(err))
	}
	path, _ := strings.CutPrefix(r.URL.Path, a.options.Prefix)
	if strings.HasPrefix(path, "/api/") {
		writeJSON(w, answer.status, errorAnswer{answer.code, answer.description})
		return
	}
	a.showError(w, answer)
}

// causeOf returns the text of an error for the log.
func causeOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		err = f.cause
	}
	return err.Error()
}

// errorAnswer is an error of the API.
type errorAnswer struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil { // no type of this package can fail
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
