// Package telemetry counts and measures the events of package dcr, through the API of
// OpenTelemetry:
//
//	sink, err := telemetry.New(telemetry.Options{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	config := dcr.Config{Events: dcr.EventSinks(sink, dcr.LogEvents(slog.Default()))}
//
// # Instruments
//
// The meter is named after this package.
//
//	dcr.events            counter, unit {event}
//	                      Every event. Attributes: dcr.event.kind, error.type,
//	                      http.response.status_code, dcr.registrant.kind.
//	dcr.request.duration  histogram, unit s
//	                      How long a request took until its event: it registered, shared,
//	                      updated or deleted a client, or it was refused, limited or not
//	                      authenticated. Each request is measured once: its other events,
//	                      such as a rotated token, are not measured. A read is no event.
//	                      Attributes: dcr.event.kind, error.type.
//
// # Attributes
//
//	dcr.event.kind        the dcr.EventKind, such as "registered"
//	error.type            the error code of the protocol, such as "invalid_client_metadata";
//	                      missing where there was no error. Of a document that could not be
//	                      fetched it is the Reason of cimd.Failure, such as "timeout"
//	http.response.status_code
//	                      what the host of a document answered in place of one, where
//	                      error.type is "status": 403 is a bot challenge, 404 a missing document.
//	                      Unusual ones are left out
//	dcr.registrant.kind   the access rule that let the registrant in (dcr.Registrant.Kind),
//	                      such as "open"; missing where no registrant is known
//
// Kinds of events are constants of package dcr. The other values come from lists: those of
// packages dcr and fosite, and those of Options. Every other value becomes "_OTHER". So no caller
// can create time series, and no identifier, address or name is an attribute of a metric.
//
// # Spans
//
// If the span in the context is recording, it gets a span event. Its name is "dcr." and the kind,
// such as "dcr.registered". It has the attributes of dcr.events with their original values, and
// oauth.client_id where the client is known. Package dcr itself makes the spans of the steps of a
// request.
package telemetry

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// ScopeName is the name of the meter.
const ScopeName = "github.com/fosite-contrib/fosite-dcr/telemetry"

// Attributes of instruments and span events.
const (
	// EventKindKey is the dcr.EventKind.
	EventKindKey = attribute.Key("dcr.event.kind")
	// ErrorTypeKey is the error code; missing where there was no error.
	ErrorTypeKey = attribute.Key("error.type")
	// StatusKey is the status that the host of a document answered in place of one.
	StatusKey = attribute.Key("http.response.status_code")
	// RegistrantKindKey is the kind of the registrant; missing where no registrant is known.
	RegistrantKindKey = attribute.Key("dcr.registrant.kind")
	// ClientIDKey is the identifier of the client. Span events have it, metrics do not.
	ClientIDKey = attribute.Key("oauth.client_id")
)

// Options are the settings of a Sink. The zero value is ready to use.
type Options struct {
	// MeterProvider creates the instruments; nil means otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// RegistrantKinds are the kinds of the application's own access rules. Metrics show them and
	// those of package dcr; every other kind becomes "_OTHER". A kind must not depend on the
	// caller.
	RegistrantKinds []string
	// ErrorCodes are the error codes of the application's own access rules and policies. Metrics
	// show them and those of packages dcr and fosite; every other code becomes "_OTHER".
	ErrorCodes []string
	// Buckets are the upper bounds of the histogram in seconds; nil means those of the
	// semantic conventions of OpenTelemetry for HTTP servers. A view of the application's SDK
	// overrides them.
	Buckets []float64
}

// Sink is a dcr.EventSink for dcr.Config.Events. It is safe for concurrent use.
type Sink struct {
	events   metric.Int64Counter
	duration metric.Float64Histogram

	kinds known
	codes known
}

var _ dcr.EventSink = (*Sink)(nil)

var httpBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

// New creates the instruments. It fails if the meter provider fails.
func New(options Options) (*Sink, error) {
	provider := options.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	buckets := options.Buckets
	if buckets == nil {
		buckets = httpBuckets
	}
	s := &Sink{
		kinds: knownOf(registrantKinds, options.RegistrantKinds),
		codes: knownOf(errorCodes(), fetchReasons, options.ErrorCodes),
	}
	meter := provider.Meter(ScopeName)
	var err error
	s.events, err = meter.Int64Counter("dcr.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events of client registration."))
	if err != nil {
		return nil, err
	}
	s.duration, err = meter.Float64Histogram("dcr.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of requests that ended in an event of client registration."),
		metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Record counts the event, measures its request, and adds it to the span in the context.
func (s *Sink) Record(ctx context.Context, event dcr.Event) {
	outcome := s.outcome(event)
	if event.Elapsed > 0 && endsRequest(event.Kind) {
		s.duration.Record(ctx, event.Elapsed.Seconds(), metric.WithAttributes(outcome...))
	}
	s.events.Add(ctx, 1, metric.WithAttributes(append(outcome, s.registrant(event)...)...))
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("dcr."+string(event.Kind), trace.WithAttributes(spanAttributes(event)...))
	}
}

// endsRequest reports whether an event is the outcome of its request. Each request has one of
// these.
func endsRequest(kind dcr.EventKind) bool {
	switch kind {
	case dcr.EventRegistered, dcr.EventShared, dcr.EventUpdated, dcr.EventDeleted,
		dcr.EventRefused, dcr.EventLimited, dcr.EventAuthenticationFailed:
		return true
	}
	return false
}
