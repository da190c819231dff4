package dcr

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ory/fosite"
)

// Errors of the registration protocol (RFC 7591, section 3.2.2). A description
// names the member at fault and the rule.
var (
	// ErrInvalidRedirectURI says that a redirect URI can't be registered.
	ErrInvalidRedirectURI = &fosite.RFC6749Error{
		ErrorField:       "invalid_redirect_uri",
		DescriptionField: "The value of one or more redirect URIs is invalid.",
		CodeField:        http.StatusBadRequest,
	}
	// ErrInvalidClientMetadata says that another member can't be registered.
	ErrInvalidClientMetadata = &fosite.RFC6749Error{
		ErrorField:       "invalid_client_metadata",
		DescriptionField: "The value of one of the client metadata fields is invalid.",
		CodeField:        http.StatusBadRequest,
	}
	// ErrInvalidSoftwareStatement says that a software statement is malformed or
	// can't be verified.
	ErrInvalidSoftwareStatement = &fosite.RFC6749Error{
		ErrorField:       "invalid_software_statement",
		DescriptionField: "The software statement presented is invalid.",
		CodeField:        http.StatusBadRequest,
	}
	// ErrUnapprovedSoftwareStatement says that a software statement comes from
	// somebody whom the server does not trust.
	ErrUnapprovedSoftwareStatement = &fosite.RFC6749Error{
		ErrorField:       "unapproved_software_statement",
		DescriptionField: "The software statement presented is not approved for use by this authorization server.",
		CodeField:        http.StatusBadRequest,
	}
)

// Errors of a protected resource (RFC 6750, section 3.1). The registration
// endpoint is one where it wants a token, the client configuration endpoint
// always is.
var (
	// ErrMissingToken says that the request carries no token at all; the challenge
	// that answers it has no error code.
	ErrMissingToken = (&fosite.RFC6749Error{
		ErrorField:       "invalid_token",
		DescriptionField: "The request has no access token in its Authorization header.",
		CodeField:        http.StatusUnauthorized,
	}).WithWrap(errNoToken)
	// ErrInvalidToken says that the token is not good for this request. It does not
	// say why.
	ErrInvalidToken = &fosite.RFC6749Error{
		ErrorField:       "invalid_token",
		DescriptionField: "The access token is invalid, expired, revoked, or not one for this resource.",
		CodeField:        http.StatusUnauthorized,
	}
	// ErrInsufficientScope says that the token lacks the scope that registration
	// wants.
	ErrInsufficientScope = &fosite.RFC6749Error{
		ErrorField:       "insufficient_scope",
		DescriptionField: "The access token lacks the scope that this request requires.",
		CodeField:        http.StatusForbidden,
	}
	// ErrAccessDenied says that whoever asks may not do this, whatever the token.
	ErrAccessDenied = &fosite.RFC6749Error{
		ErrorField:       "access_denied",
		DescriptionField: "The request is not allowed.",
		CodeField:        http.StatusForbidden,
	}
)

// ErrInvalidTarget says that a request names a resource that the client may not have
// tokens for (RFC 8707, section 2).
var ErrInvalidTarget = &fosite.RFC6749Error{
	ErrorField:       "invalid_target",
	DescriptionField: "The requested resource is invalid, missing, unknown, or malformed.",
	CodeField:        http.StatusBadRequest,
}

// Errors of HTTP. They are answered as JSON like all others.
var (
	// ErrTooManyRequests is for access rules that limit a rate.
	ErrTooManyRequests = &fosite.RFC6749Error{
		ErrorField:       "temporarily_unavailable",
		DescriptionField: "There were too many requests. Try again later.",
		CodeField:        http.StatusTooManyRequests,
	}
	// ErrMethodNotAllowed is answered with an Allow header.
	ErrMethodNotAllowed = invalidRequest(http.StatusMethodNotAllowed, "This resource does not support the method of the request.")
	// ErrBodyTooLarge says that the body is longer than Config.Limits allows.
	ErrBodyTooLarge = invalidRequest(http.StatusRequestEntityTooLarge, "The request body is too large.")
	// ErrUnsupportedMediaType says that the body is not application/json.
	ErrUnsupportedMediaType = invalidRequest(http.StatusUnsupportedMediaType, "The request body has to be application/json.")
	// ErrBodyTimeout says that the body had not arrived when the context of the request
	// ended.
	ErrBodyTimeout = invalidRequest(http.StatusRequestTimeout, "The request body did not arrive in time.")
	// ErrBadBody says that the body could not be read.
	ErrBadBody = invalidRequest(http.StatusBadRequest, "The request body could not be read.")
)

// What a failing server says.
var (
	errServer = &fosite.RFC6749Error{
		ErrorField:       "server_error",
		DescriptionField: "The authorization server met a condition that kept it from answering the request.",
		CodeField:        http.StatusInternalServerError,
	}
	errTemporarilyUnavailable = &fosite.RFC6749Error{
		ErrorField:       "temporarily_unavailable",
		DescriptionField: "The authorization server can not handle the request now. Try again later.",
		CodeField:        http.StatusServiceUnavailable,
	}
)

// Errors of storages, for errors.Is. Besides these a storage returns
// fosite.ErrNotFound for what it does not know.
var (
	// ErrClientExists is what CreateClient returns for an identifier that is taken.
	ErrClientExists = errors.New("dcr: a client with this identifier exists")
	// ErrConflict is what UpdateClient returns where the version differs.
	ErrConflict = errors.New("dcr: the client was changed meanwhile")
	// ErrExhausted is what UseInitialAccessToken returns where no use remains.
	ErrExhausted = errors.New("dcr: the initial access token can not be used any more")
	// ErrUnavailable is wrapped by a storage that can't work now but will later.
	// The answer is 503 instead of 500.
	ErrUnavailable = errors.New("dcr: the storage is not available")
	// ErrNotSupported is wrapped by what Provider returns where the storage lacks an
	// optional interface, and ErrBadArgument where an argument makes no sense.
	ErrNotSupported = errors.New("dcr: the storage can not do this")
	ErrBadArgument  = errors.New("dcr: bad argument")
	// ErrFull is wrapped by a storage that has no room; it wraps ErrUnavailable.
	ErrFull = fmt.Errorf("%w: it has no room", ErrUnavailable)
)

var errHiddenClients = errors.New("dcr: the storage's GetClient does not return the clients that its CreateClient stores")

var errNilClient = errors.New("dcr: the storage returned no client and no error")

var errNotExtended = errors.New("dcr: DCRFactory was composed, but the provider did not go through Extend")

var errNoIssuer = errors.New("dcr: Config.Issuer returned no issuer for this request")

// errNoToken tells ErrMissingToken, and what a rule makes of it, from ErrInvalidToken: to
// errors.Is those are one.
var errNoToken = errors.New("dcr: no token")

func isMissingToken(err error) bool {
	var e *fosite.RFC6749Error
	wrapped := errors.As(err, &e) && e.CodeField == http.StatusUnauthorized && e.DescriptionField == ErrMissingToken.DescriptionField
	return wrapped || errors.Is(err, errNoToken)
}

// descriptionOf is what an answer and an event say of an error: fosite's hint, which rules
// and policies may use, with it.
func descriptionOf(answer *fosite.RFC6749Error) string {
	return strings.TrimSpace(answer.DescriptionField + " " + answer.HintField)
}

func invalidRequest(status int, description string) *fosite.RFC6749Error {
	return &fosite.RFC6749Error{
		ErrorField:       "invalid_request",
		DescriptionField: description,
		CodeField:        status,
	}
}

// fault marks an error as one of the server's own: fosite would turn it into
// "invalid_client" or into silence on its way out.
type fault struct{ cause error }

func (f *fault) Error() string { return f.cause.Error() }
func (f *fault) Unwrap() error { return f.cause }

// asFault returns the protocol error for a fault in the chain of err, or nil.
func asFault(err error) *fosite.RFC6749Error {
	var f *fault
	if !errors.As(err, &f) {
		return nil
	}
	return failure(f)
}

// failure turns an error of the server's own into what it tells the world. It stays
// marked as a fault on its way through fosite.
func failure(err error) *fosite.RFC6749Error {
	var known *fault
	if !errors.As(err, &known) {
		err = &fault{err}
	}
	answer := errServer
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConflict) || errors.Is(err, fosite.ErrTemporarilyUnavailable) {
		answer = errTemporarilyUnavailable
	}
	return answer.WithWrap(err).WithDebug(err.Error())
}

// protocolError turns any error into a protocol error: those of this package and
// of fosite stay as they are, anything else is the server's own failure.
func protocolError(err error) *fosite.RFC6749Error {
	if f := asFault(err); f != nil {
		return f
	}
	var e *fosite.RFC6749Error
	if errors.As(err, &e) && e.CodeField >= 400 && e.ErrorField != fosite.ErrNotFound.ErrorField && e.ErrorField != "error" {
		return e
	}
	return failure(err)
}
