package dcr

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Errors of the registration protocol (RFC 7591, section 3.2.2). A description names the member at fault
// and the rule.
var (
	// ErrInvalidRedirectURI says that a redirect URI can't be registered.
	ErrInvalidRedirectURI = protocolError(http.StatusBadRequest, "invalid_redirect_uri", "The value of one or more redirect URIs is invalid.")
	// ErrInvalidClientMetadata says that another member can't be registered.
	ErrInvalidClientMetadata = protocolError(http.StatusBadRequest, "invalid_client_metadata", "The value of one of the client metadata fields is invalid.")
	// ErrInvalidSoftwareStatement says that a software statement is malformed or can't be verified.
	ErrInvalidSoftwareStatement = protocolError(http.StatusBadRequest, "invalid_software_statement", "The software statement presented is invalid.")
	// ErrUnapprovedSoftwareStatement says that a software statement is of an issuer that the server does not trust.
	ErrUnapprovedSoftwareStatement = protocolError(http.StatusBadRequest, "unapproved_software_statement", "The software statement presented is not approved for use by this authorization server.")
)

// Errors of a protected resource (RFC 6750, section 3.1). The registration endpoint is one where it wants a
// token, the client configuration endpoint always is.
var (
	// ErrMissingToken says that the request carries no token at all; its challenge has no error code.
	ErrMissingToken = protocolError(http.StatusUnauthorized, "invalid_token", "The request has no access token in its Authorization header.").WithWrap(errNoToken)
	// ErrInvalidToken says that the token is not good for this request. It does not say why.
	ErrInvalidToken = protocolError(http.StatusUnauthorized, "invalid_token", "The access token is invalid, expired, revoked, or not one for this resource.")
	// ErrInsufficientScope says that the token lacks the scope that registration wants.
	ErrInsufficientScope = protocolError(http.StatusForbidden, "insufficient_scope", "The access token lacks the scope that this request requires.")
	// ErrAccessDenied says that whoever asks may not do this, whatever the token.
	ErrAccessDenied = protocolError(http.StatusForbidden, "access_denied", "The request is not allowed.")
)

// ErrInvalidTarget says that a request names a resource that the client may not have tokens for (RFC 8707,
// section 2).
var ErrInvalidTarget = protocolError(http.StatusBadRequest, "invalid_target", "The requested resource is invalid, missing, unknown, or malformed.")

// Errors of HTTP. They are answered as JSON like all others.
var (
	// ErrTooManyRequests is for access rules that limit a rate.
	ErrTooManyRequests = protocolError(http.StatusTooManyRequests, "temporarily_unavailable", "There were too many requests. Try again later.")
	// ErrMethodNotAllowed is answered with an Allow header.
	ErrMethodNotAllowed = protocolError(http.StatusMethodNotAllowed, "invalid_request", "This resource does not support the method of the request.")
	// ErrBodyTooLarge says that the body is longer than Config.Limits allows.
	ErrBodyTooLarge = protocolError(http.StatusRequestEntityTooLarge, "invalid_request", "The request body is too large.")
	// ErrUnsupportedMediaType says that the body is not application/json.
	ErrUnsupportedMediaType = protocolError(http.StatusUnsupportedMediaType, "invalid_request", "The Content-Type header of the request has to be application/json.")
	// ErrBodyTimeout says that the body had not arrived when the context of the request ended.
	ErrBodyTimeout = protocolError(http.StatusRequestTimeout, "invalid_request", "The request body did not arrive in time.")
	// ErrBadBody says that the body could not be read.
	ErrBadBody = protocolError(http.StatusBadRequest, "invalid_request", "The request body could not be read.")
)

// What a server that failed says.
var (
	errServer                 = protocolError(http.StatusInternalServerError, "server_error", "The authorization server met a condition that kept it from answering the request.")
	errTemporarilyUnavailable = protocolError(http.StatusServiceUnavailable, "temporarily_unavailable", "The authorization server can not handle the request now. Try again later.")
)

// Errors of storages, for errors.Is. Besides these a storage returns fosite.ErrNotFound for what it does
// not know.
var (
	// ErrClientExists is what CreateClient returns for an identifier that is taken.
	ErrClientExists = errors.New("dcr: a client with this identifier exists")
	// ErrConflict is what UpdateClient returns where the version differs.
	ErrConflict = errors.New("dcr: the client was changed meanwhile")
	// ErrExhausted is what UseInitialAccessToken returns where no use remains.
	ErrExhausted = errors.New("dcr: the initial access token can not be used any more")
	// ErrUnavailable is wrapped by a storage that can't work now but will later. The answer is 503, not 500.
	ErrUnavailable = errors.New("dcr: the storage is not available")
	// ErrNotSupported is wrapped by what Provider returns where the storage lacks an optional interface.
	ErrNotSupported = errors.New("dcr: the storage can not do this")
	// ErrBadArgument is wrapped by what Provider returns for an argument that can not be meant.
	ErrBadArgument = errors.New("dcr: bad argument")
	// ErrFull is wrapped by a storage that has no room; it wraps ErrUnavailable. An error beside it with a method
	// RetryAfter() time.Duration says when there may be room again; otherwise Retry-After is 30 seconds.
	ErrFull = fmt.Errorf("%w: it has no room", ErrUnavailable)
	// ErrKeysUnavailable and ErrDocumentUnavailable are in a 503 that is no fault of this server.
	ErrKeysUnavailable     = errors.New("dcr: no keys at the jwks_uri now")
	ErrDocumentUnavailable = errors.New("dcr: no document at the client_id now") // ErrDocumentUnavailable: see ErrKeysUnavailable
)

var (
	errHiddenClients = errors.New("dcr: the storage's GetClient does not return the clients that its CreateClient stores")
	// errWrappedClients is followed by the type.
	errWrappedClients = errors.New("dcr: return *dcr.Client from the storage's GetClient, or a type that embeds it: it returned no registered client")
	errNilClient      = errors.New("dcr: the storage returned no client and no error")
	errNilRegistrant  = errors.New("dcr: a RegistrationRequest without a Registrant: use what NewRegistrationRequest returned")
	errNotExtended    = errors.New("dcr: DCRFactory was composed, but the provider did not go through Extend")
	errNoIssuer       = errors.New("dcr: Config.Endpoints.Issuer returned no issuer for this request")
	// errQuota is wrapped by the refusals of quotas, so that events tell them apart.
	errQuota = errors.New("dcr: a quota is used up")
	// errNoToken tells ErrMissingToken, and what a rule makes of it, from ErrInvalidToken: to errors.Is
	// those are one.
	errNoToken = errors.New("dcr: no token")
)

// errTwoTokens refuses what RFC 6750, section 2, forbids.
var errTwoTokens = fosite.ErrInvalidRequest.WithHint("An access token must not be sent in more than one way.")

// otherIssuer says that a client or an initial access token is unknown since it is of another issuer (T41).
type otherIssuer struct{ was, is string }

func (e *otherIssuer) Error() string {
	return fmt.Sprintf("dcr: it is of the issuer %q, and this is %q", e.was, e.is)
}

func (e *otherIssuer) Unwrap() error { return fosite.ErrNotFound }

func isMissingToken(err error) bool {
	var e *fosite.RFC6749Error
	wrapped := errors.As(err, &e) && e.CodeField == http.StatusUnauthorized && e.DescriptionField == ErrMissingToken.DescriptionField
	return wrapped || errors.Is(err, errNoToken)
}

// descriptionOf is what an answer and an event say of an error: fosite's hint, which rules and policies may
// use, with it.
func descriptionOf(answer *fosite.RFC6749Error) string {
	return strings.TrimSpace(answer.DescriptionField + " " + answer.HintField)
}

func protocolError(status int, code, description string) *fosite.RFC6749Error {
	return &fosite.RFC6749Error{ErrorField: code, DescriptionField: description, CodeField: status}
}

func refuseMetadata(description string) error {
	return ErrInvalidClientMetadata.WithDescription(description + ".")
}

// retryAfter is how long a caller waits when the server can't answer now.
const retryAfter = 30 * time.Second

// longestWait bounds what Retry-After says.
const longestWait = 366 * 24 * time.Hour

// caller is who sent a request, as far as it is known.
type caller struct {
	address netip.Addr // not valid where the peer has none, as with a Unix socket
	began   time.Time  // when the request arrived
	// unheeded says that the peer named another caller in X-Forwarded-For, and is no trusted proxy.
	unheeded bool
	prefixes [2]int // the bits of an IPv4 and of an IPv6 network that count as one caller
}

// problem is the one error type inside this package: what is answered, and what the answer and the event
// say besides. What leaves the package wraps a *fosite.RFC6749Error.
type problem struct {
	answer *fosite.RFC6749Error
	cause  error         // what the answer was made of; nil where the answer says it all
	wait   time.Duration // how long the caller has to wait; zero means retryAfter
	// challenge is for the WWW-Authenticate header at fosite's endpoints.
	challenge string

	// What the event says: the steps of a request do not share a context where an application calls them.
	clientID   string
	registrant *Registrant
	caller     *caller
}

func (p *problem) Error() string { return p.answer.Error() }

func (p *problem) Unwrap() []error {
	if p.cause == nil {
		return []error{p.answer}
	}
	return []error{p.answer, p.cause}
}

// fault marks an error as a failure of the server. fosite turns errors of a storage into "invalid_client"
// or into silence, and keeps the mark inside: asFault finds it again.
type fault struct{ cause error }

func (f *fault) Error() string { return f.cause.Error() }
func (f *fault) Unwrap() error { return f.cause }

// failure is the answer to a failure of the server: 500, or 503 where it will pass. The mark is inside.
func failure(err error) error {
	var known *fault
	if !errors.As(err, &known) {
		known = &fault{err}
	}
	return known.answer()
}

func (f *fault) answer() *fosite.RFC6749Error {
	answer := errServer
	if errors.Is(f.cause, ErrUnavailable) || errors.Is(f.cause, ErrConflict) || errors.Is(f.cause, ErrDocumentUnavailable) || errors.Is(f.cause, fosite.ErrTemporarilyUnavailable) {
		answer = errTemporarilyUnavailable
	}
	switch {
	case errors.Is(f.cause, ErrDocumentUnavailable):
		answer = errTemporarilyUnavailable.WithHint("The document at the client_id can not be fetched.")
	case errors.Is(f.cause, ErrKeysUnavailable):
		answer = errTemporarilyUnavailable.WithHint("The keys at the jwks_uri of the client can not be fetched.")
	}
	return answer.WithWrap(f).WithDebug(f.cause.Error())
}

// refusedDocument is the answer to a client whose document breaks a rule. fosite keeps it inside and says that there is no
// such client.
type refusedDocument struct{ *fosite.RFC6749Error }

func (r *refusedDocument) Unwrap() error { return r.RFC6749Error }

// asFault returns the answer to the failure in the chain of err, or nil.
func asFault(err error) error {
	if err == nil {
		return nil
	}
	var f *fault
	if errors.As(err, &f) {
		return f.answer()
	}
	return nil
}

// problemOf returns an error as a problem, which the caller may complete. A failure of the server comes
// first. Otherwise the outermost error of the protocol, of this package or of fosite, is the answer, and
// what a problem inside says besides stays. An error without either is a failure.
func problemOf(err error) *problem {
	p := &problem{}
	var inside *problem
	if errors.As(err, &inside) {
		*p = *inside
	}
	p.cause = err
	var f *fault
	var answer *fosite.RFC6749Error
	switch {
	case errors.As(err, &f):
		p.answer = f.answer()
	case errors.As(err, &answer) && answer.CodeField >= 400 && answer.ErrorField != fosite.ErrNotFound.ErrorField && answer.ErrorField != "error":
		p.answer = answer
	default:
		p.answer = (&fault{err}).answer()
	}
	var known interface{ RetryAfter() time.Duration }
	if p.wait == 0 && errors.As(err, &known) {
		p.wait = known.RetryAfter()
	}
	return p
}

// answerOf returns what the caller is answered.
func answerOf(err error) *fosite.RFC6749Error { return problemOf(err).answer }

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readingError is the protocol error for a request that could not be read.
func readingError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, request.ErrMethod):
		return ErrMethodNotAllowed
	case errors.Is(err, request.ErrMediaType):
		return ErrUnsupportedMediaType
	case errors.Is(err, request.ErrTooLarge):
		return ErrBodyTooLarge
	case errors.Is(err, request.ErrTimeout):
		return ErrBodyTimeout.WithWrap(err)
	}
	return ErrBadBody.WithWrap(err).WithDebug(err.Error())
}

// BearerToken returns the token of the one Authorization header, for access rules of an application; the
// scheme is case-insensitive (RFC 9110, section 11.1). A token in the query or in a form does not count
// (T40), and beside one in the header is refused. The error is ErrMissingToken, ErrInvalidToken or
// fosite.ErrInvalidRequest.
func BearerToken(r *http.Request) (string, error) {
	token, present, ok := request.Bearer(r)
	switch {
	case present && request.OneToken(r) != nil:
		return "", errTwoTokens
	case !present:
		return "", ErrMissingToken
	case !ok:
		return "", ErrInvalidToken
	}
	return token, nil
}

// writeJSON sends a finished answer. Whatever it is, nobody may keep it (T25).
func writeJSON(w http.ResponseWriter, status int, body []byte) error {
	values := [...]string{"application/json", strconv.Itoa(len(body))} // in one piece
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = values[:1:1], values[1:]
	noStore(h)
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// answers has buffers in which answers are written.
var answers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// writeInformation sends client information.
func writeInformation(w http.ResponseWriter, status int, info *ClientInformation) error {
	buffer := answers.Get().(*[]byte)
	body, err := info.appendJSON((*buffer)[:0])
	if err == nil && writeJSON(w, status, body) == nil && cap(body) <= 64<<10 { // a writer that failed may hold it still
		*buffer = body
		answers.Put(buffer)
	}
	return err
}

func noStore(h http.Header) {
	values := [...]string{"no-store", "no-cache"}
	h["Cache-Control"], h["Pragma"] = values[:1:1], values[1:]
}

// writeError sends an error (RFC 7591, section 3.2.2). allow is for 405.
func writeError(w http.ResponseWriter, err error, allow string) {
	p := problemOf(err)
	h := w.Header()
	switch p.answer.CodeField {
	case http.StatusUnauthorized, http.StatusForbidden:
		if challenge := challengeOf(p.answer); challenge != "" {
			h.Set("WWW-Authenticate", challenge)
		}
	case http.StatusMethodNotAllowed:
		h.Set("Allow", allow)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", p.retryAfter())
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	}
	_ = writeJSON(w, p.answer.CodeField, errorBody(p.answer))
}

// retryAfter is the value of the Retry-After header, in whole seconds.
func (p *problem) retryAfter() string {
	wait := p.wait
	if wait <= 0 {
		wait = retryAfter
	}
	return strconv.Itoa(int((min(wait, longestWait) + time.Second - 1) / time.Second))
}

// challengeOf returns the challenge for an error of the Bearer scheme. One that carried no token gets no
// error code (RFC 6750, section 3.1).
func challengeOf(answer *fosite.RFC6749Error) string {
	switch {
	case isMissingToken(answer):
		return "Bearer"
	case answer.ErrorField == ErrInvalidToken.ErrorField, answer.ErrorField == ErrInsufficientScope.ErrorField:
		return `Bearer error="` + answer.ErrorField + `"`
	case answer.CodeField == http.StatusUnauthorized:
		return "Bearer"
	}
	return ""
}

func errorBody(answer *fosite.RFC6749Error) []byte {
	body := strictjson.AppendString([]byte(`{"error":`), answer.ErrorField)
	body = strictjson.AppendString(append(body, `,"error_description":`...), plaintext.Description(descriptionOf(answer)))
	return append(body, '}')
}
