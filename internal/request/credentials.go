package request

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// What is wrong with the credentials of a client. The texts go on after "The request".
var (
	// ErrQueryCredentials says that credentials came in the query.
	ErrQueryCredentials = errors.New("has client credentials in the query of its URL")
	// ErrMethods says that the client authenticates in more than one way.
	ErrMethods = errors.New("uses more than one method of client authentication")
	// ErrOtherClient says that a request names two clients.
	ErrOtherClient = errors.New("has a 'client_id' that is not the client of its Authorization header")
)

// OneMethod refuses credentials in the query, where logs and the Referer header carry them away (T40), and more than one
// method (RFC 6749, section 2.3). The form is what the endpoint reads. It reports whether the method is Basic.
func OneMethod(r *http.Request, form url.Values) (basic bool, err error) {
	if err := NoQueryCredentials(r); err != nil {
		return false, err
	}
	methods := len(form["client_secret"])
	if methods == 1 && form.Get("client_secret") == "" {
		methods = 0
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		methods += max(1, len(form["client_assertion"]))
	}
	basicID, _, basic := r.BasicAuth()
	if basic {
		methods++
	}
	if methods > 1 {
		return basic, ErrMethods
	}
	if id, err := url.QueryUnescape(basicID); basic && form.Get("client_id") != "" && (err != nil || id != form.Get("client_id")) {
		return basic, ErrOtherClient
	}
	return basic, nil
}

// NoQueryCredentials refuses credentials in the query.
func NoQueryCredentials(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	query := r.URL.Query()
	if query.Has("client_secret") || query.Has("client_assertion") {
		return ErrQueryCredentials
	}
	return nil
}

// Challenge is the challenge in the scheme that the client used (RFC 6749, section 5.2).
func Challenge(r *http.Request) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return `Bearer error="invalid_token"`
	}
	return "Basic"
}
