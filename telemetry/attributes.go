package telemetry

import (
	"github.com/ory/fosite"
	"go.opentelemetry.io/otel/attribute"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// other stands for every value that is in no list, as the semantic conventions have it.
const other = "_OTHER"

// registrantKinds are those of the access rules of package dcr.
var registrantKinds = []string{dcr.KindOpen, dcr.KindAccessToken, dcr.KindSignedIn, dcr.KindInitialAccessToken}

// errorCodes are those of packages dcr and fosite.
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

// known is a list of values.
type known map[string]bool

func knownOf(lists ...[]string) known {
	k := known{}
	for _, list := range lists {
		for _, value := range list {
			k[value] = true
		}
	}
	return k
}

// bounded returns the value if it is in the list.
func (k known) bounded(value string) string {
	if k[value] {
		return value
	}
	return other
}

// outcome is what metrics tell of an event: what happened, and why not.
func (s *Sink) outcome(event dcr.Event) []attribute.KeyValue {
	attributes := []attribute.KeyValue{EventKindKey.String(string(event.Kind))}
	if event.Err != nil {
		attributes = append(attributes, ErrorTypeKey.String(s.codes.bounded(event.Reason())))
	}
	return attributes
}

// registrant is what the counter tells besides.
func (s *Sink) registrant(event dcr.Event) []attribute.KeyValue {
	if event.Registrant == nil {
		return nil
	}
	return []attribute.KeyValue{RegistrantKindKey.String(s.kinds.bounded(event.Registrant.Kind))}
}

// spanAttributes are what spans tell of it.
func spanAttributes(event dcr.Event) []attribute.KeyValue {
	attributes := []attribute.KeyValue{EventKindKey.String(string(event.Kind))}
	if event.Err != nil {
		attributes = append(attributes, ErrorTypeKey.String(event.Reason()))
	}
	if event.Registrant != nil {
		attributes = append(attributes, RegistrantKindKey.String(event.Registrant.Kind))
	}
	if event.ClientID != "" {
		attributes = append(attributes, ClientIDKey.String(event.ClientID))
	}
	return attributes
}
