package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/telemetry"
)

// observed is a server whose metrics and spans the test reads.
type observed struct {
	*dcrtest.Server
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	sink   *telemetry.Sink
}

// observe starts a server with a sink and with a span around each request.
func observe(t *testing.T, setup dcrtest.Setup, options telemetry.Options) *observed {
	t.Helper()
	o := &observed{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	options.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(o.reader))
	var err error
	o.sink, err = telemetry.New(options)
	require.NoError(t, err)
	setup.Config.Events = o.sink

	listener := httptest.NewUnstartedServer(nil)
	o.Server = &dcrtest.Server{URL: "http://" + listener.Listener.Addr().String()}
	o.Provider, err = o.Compose(setup)
	require.NoError(t, err)
	listener.Config.Handler = traced(o.spans, o.routes())
	listener.Start()
	t.Cleanup(listener.Close)
	return o
}

func (o *observed) routes() http.Handler {
	router := mux.NewRouter().UseEncodedPath()
	o.Provider.Mount(router)
	router.HandleFunc("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		request, err := o.Provider.NewAccessRequest(r.Context(), r, dcrtest.NewSession(""))
		if err != nil {
			o.Provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		response, err := o.Provider.NewAccessResponse(r.Context(), request)
		if err != nil {
			o.Provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		o.Provider.WriteAccessResponse(r.Context(), w, request, response)
	})
	return router
}

// traced puts a recording span into the context of each request.
func traced(recorder *tracetest.SpanRecorder, next http.Handler) http.Handler {
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(recorder)).Tracer("host")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "host")
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// collected returns what was measured, by the name of the instrument.
func (o *observed) collected(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, o.reader.Collect(context.Background(), &all))
	found := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		require.Equal(t, telemetry.ScopeName, scope.Scope.Name)
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// series spells a set of attributes, such as "dcr.event.kind=registered".
func series(set attribute.Set) string {
	return set.Encoded(attribute.DefaultEncoder())
}

// counted returns dcr.events by attributes.
func (o *observed) counted(t *testing.T) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	if m, ok := o.collected(t)["dcr.events"]; ok {
		for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
			counts[series(point.Attributes)] = point.Value
		}
	}
	return counts
}

// measured returns how many durations there are by attributes, each above zero.
func (o *observed) measured(t *testing.T) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	if m, ok := o.collected(t)["dcr.request.duration"]; ok {
		for _, point := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			counts[series(point.Attributes)] = point.Count
			least, defined := point.Min.Value()
			require.True(t, defined)
			require.Greater(t, least, 0.0)
		}
	}
	return counts
}

// told returns the events of all spans in order, by the name of their span.
func (o *observed) told() (events []spanEvent) {
	for _, span := range o.spans.Ended() {
		for _, event := range span.Events() {
			events = append(events, spanEvent{span.Name(), event.Name, series(attribute.NewSet(event.Attributes...))})
		}
	}
	return events
}

type spanEvent struct{ span, name, attributes string }

const metadata = `{"redirect_uris":["https://app.example/cb"],"grant_types":["authorization_code","refresh_token"]}`
