package telemetry

import (
	"errors"
	"slices"

	"github.com/ory/fosite"
	"go.opentelemetry.io/otel/attribute"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// other replaces every value that is in no list, as the semantic conventions of OpenTelemetry say.
const other = "_OTHER"

// registrantKinds are the kinds of the access rules of package dcr, and that of clients with documents.
var registrantKinds = []string{dcr.KindOpen, dcr.KindAccessToken, dcr.KindSignedIn, dcr.KindInitialAccessToken, dcr.KindDocument}

// fetchReasons are why a document could not be fetched: cimd.Failure.Reason.
var fetchReasons = []string{
	"lookup", "address", "tls", "timeout", "connection", "status", "media_type", "size", "json", "busy",
}

// statuses are those that hosts of documents use to answer what is no document. They are counted one by one.
var statuses = []int{301, 302, 303, 307, 308, 400, 401, 403, 404, 406, 410, 429, 500, 502, 503, 504}

// statusOf returns what the host of a document answered (cimd.Failure.Status), and 0 where an event is about nothing of
// that. fosite's errors have a Status too, which is a text.
func statusOf(event dcr.Event) int {
	var failed interface{ Status() int }
	if event.Kind == dcr.EventDocumentFailed && errors.As(event.Err, &failed) {
		return failed.Status()
	}
	return 0
}

// errorCodes returns the error codes of packages dcr and fosite.
func errorCodes() []string {
	var codes []string
	for _, known := range []*fosite.RFC6749Error{
		dcr.ErrInvalidRedirectURI, dcr.ErrInvalidClientMetadata, dcr.ErrInvalidSoftwareStatement,
		dcr.ErrUnapprovedSoftwareStatement, dcr.ErrInvalidToken, dcr.ErrInsufficientScope,
		dcr.ErrAccessDenied, dcr.ErrInvalidTarget, dcr.ErrMethodNotAllowed,
		fosite.ErrServerError, fosite.ErrTemporarilyUnavailable, fosite.ErrMisconfiguration,
		fosite.ErrInvalidRequest, fosite.ErrInvalidClient, fosite.ErrUnauthorizedClient,
		fosite.ErrRequestUnauthorized, fosite.ErrRequestForbidden, fosite.ErrInactiveToken,
		fosite.ErrTokenExpired, fosite.ErrTokenClaim, fosite.ErrTokenSignatureMismatch,
		fosite.ErrInvalidTokenFormat, fosite.ErrScopeNotGranted, fosite.ErrInvalidScope,
		fosite.ErrInvalidGrant, fosite.ErrUnsupportedGrantType, fosite.ErrJTIKnown,
		fosite.ErrUnsupportedResponseType, fosite.ErrUnsupportedResponseMode,
		fosite.ErrRegistrationNotSupported,
	} {
		codes = append(codes, known.ErrorField)
	}
	return codes
}

// known is a set of values.
type known map[string]bool

// knownOf returns the set of the values of all lists.
func knownOf(lists ...[]string) known {
	k := known{}
	for _, list := range lists {
		for _, value := range list {
			k[value] = true
		}
	}
	return k
}

// bounded returns the value if it is known, and other if not.
func (k known) bounded(value string) string {
	if k[value] {
		return value
	}
	return other
}

// outcome returns the attributes that both instruments have: what happened, and the error.
func (s *Sink) outcome(event dcr.Event) []attribute.KeyValue {
	attributes := []attribute.KeyValue{EventKindKey.String(string(event.Kind))}
	if event.Err != nil {
		attributes = append(attributes, ErrorTypeKey.String(s.codes.bounded(event.Reason())))
	}
	if status := statusOf(event); slices.Contains(statuses, status) {
		attributes = append(attributes, StatusKey.Int(status))
	}
	return attributes
}

// registrant returns the attributes that only the counter has.
func (s *Sink) registrant(event dcr.Event) []attribute.KeyValue {
	if event.Registrant == nil {
		return nil
	}
	return []attribute.KeyValue{RegistrantKindKey.String(s.kinds.bounded(event.Registrant.Kind))}
}

// spanAttributes returns the attributes of the span event.
func spanAttributes(event dcr.Event) []attribute.KeyValue {
	attributes := []attribute.KeyValue{EventKindKey.String(string(event.Kind))}
	if event.Err != nil {
		attributes = append(attributes, ErrorTypeKey.String(event.Reason()))
	}
	if status := statusOf(event); status != 0 {
		attributes = append(attributes, StatusKey.Int(status))
	}
	if event.Registrant != nil {
		attributes = append(attributes, RegistrantKindKey.String(event.Registrant.Kind))
	}
	if event.ClientID != "" {
		attributes = append(attributes, ClientIDKey.String(event.ClientID))
	}
	return attributes
}
