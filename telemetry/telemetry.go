// Package telemetry counts and measures what package dcr tells of, through the API of
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
//	                      dcr.registrant.kind.
//	dcr.request.duration  histogram, unit s
//	                      How long a request took that ended in an event, up to that event:
//	                      one that registered, shared, updated or deleted a client, or was
//	                      refused, limited or not authenticated. What else a request brings
//	                      about, such as a rotated token, is not measured a second time, and
//	                      reads are not told of at all. Attributes: dcr.event.kind, error.type.
//
// # Attributes
//
//	dcr.event.kind        the dcr.EventKind, such as "registered"
//	error.type            the error code of the protocol, such as "invalid_client_metadata";
//	                      missing where nothing failed
//	dcr.registrant.kind   the access rule that let the registrant in (dcr.Registrant.Kind),
//	                      such as "open"; missing where nobody is known
//
// Kinds of events are constants of package dcr. The other values come from lists: those of
// packages dcr and fosite, and those of Options; whatever else would stand there becomes
// "_OTHER". So no caller can make time series, and no identifier, address or name becomes
// an attribute of a metric.
//
// # Spans
//
// Where the span in the context records, it gets an event named "dcr." and the kind, with
// the attributes of dcr.events, their values as they are, and with oauth.client_id where the
// client is known. The spans of the steps of a request come from package dcr itself.
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
	EventKindKey      = attribute.Key("dcr.event.kind")
	ErrorTypeKey      = attribute.Key("error.type")
	RegistrantKindKey = attribute.Key("dcr.registrant.kind")
	// ClientIDKey is for spans only.
	ClientIDKey = attribute.Key("oauth.client_id")
)

// Options says what a host wants otherwise than by default.
type Options struct {
	// MeterProvider makes the instruments; nil means otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// RegistrantKinds are the kinds of the host's own access rules that metrics tell apart
	// besides those of package dcr. A rule must not be named after who calls.
	RegistrantKinds []string
	// ErrorCodes are codes of the host's own access rules and policies that metrics tell
	// apart besides those of packages dcr and fosite.
	ErrorCodes []string
	// Buckets are the upper bounds of the histogram in seconds; nil means those that the
	// semantic conventions of OpenTelemetry have for HTTP servers. They are advice: a view
	// of the host's SDK overrides them.
	Buckets []float64
}

// Sink is a dcr.EventSink. It is safe for many goroutines.
type Sink struct {
	events   metric.Int64Counter
	duration metric.Float64Histogram

	kinds known
	codes known
}

var _ dcr.EventSink = (*Sink)(nil)

var httpBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

// New makes the instruments. The error is the meter provider's.
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
		codes: knownOf(errorCodes(), options.ErrorCodes),
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

// endsRequest reports whether an event is the outcome of its request: of these there is one
// for each request.
func endsRequest(kind dcr.EventKind) bool {
	switch kind {
	case dcr.EventRegistered, dcr.EventShared, dcr.EventUpdated, dcr.EventDeleted,
		dcr.EventRefused, dcr.EventLimited, dcr.EventAuthenticationFailed:
		return true
	}
	return false
}
