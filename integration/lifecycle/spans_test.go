package lifecycle_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// spanServer is a server whose requests have spans.
type spanServer struct {
	*dcrtest.Server
	recorder *tracetest.SpanRecorder
	parent   func(context.Context) (context.Context, trace.Span)
}

// startSpans starts a server with a recording span around each request.
func startSpans(t *testing.T, setup dcrtest.Setup, options ...sdktrace.TracerProviderOption) *spanServer {
	t.Helper()
	s := &spanServer{recorder: tracetest.NewSpanRecorder()}
	options = append(options, sdktrace.WithSpanProcessor(s.recorder))
	tracer := sdktrace.NewTracerProvider(options...).Tracer("host")
	s.parent = func(ctx context.Context) (context.Context, trace.Span) { return tracer.Start(ctx, "host") }
	s.listen(t, setup)
	return s
}

func (s *spanServer) listen(t *testing.T, setup dcrtest.Setup) {
	t.Helper()
	listener := httptest.NewUnstartedServer(nil)
	s.Server = &dcrtest.Server{URL: "http://" + listener.Listener.Addr().String()}
	var err error
	s.Provider, err = s.Compose(setup)
	require.NoError(t, err)
	router := mux.NewRouter().UseEncodedPath()
	s.Provider.Mount(router)
	listener.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := s.parent(r.Context())
		defer span.End()
		router.ServeHTTP(w, r.WithContext(ctx))
	})
	listener.Start()
	t.Cleanup(listener.Close)
}

// stepSpan is one span in words: name, status and attributes.
type stepSpan struct {
	name, status string
	attributes   string
}

// take returns the spans that ended since, and checks that each stands right below the
// host's.
func (s *spanServer) take(t *testing.T) (spans []stepSpan) {
	t.Helper()
	ended := s.recorder.Ended()
	s.recorder.Reset()
	require.NotEmpty(t, ended)
	host := ended[len(ended)-1]
	require.Equal(t, "host", host.Name(), "the host's ends last")
	for _, span := range ended[:len(ended)-1] {
		require.Equal(t, host.SpanContext().SpanID(), span.Parent().SpanID())
		require.Equal(t, host.SpanContext().TraceID(), span.SpanContext().TraceID())
		require.Equal(t, dcrtest.Module, span.InstrumentationScope().Name)
		require.Empty(t, span.Events(), "no error is recorded with its text")
		set := attribute.NewSet(span.Attributes()...)
		spans = append(spans, stepSpan{span.Name(), span.Status().Code.String(), set.Encoded(attribute.DefaultEncoder())})
		require.True(t, span.Status().Code == codes.Unset || span.Status().Description == "server_error" ||
			span.Status().Description == "temporarily_unavailable", span.Status().Description)
	}
	return spans
}

const (
	ofRegistrationRequest  = "dcr.NewRegistrationRequest"
	ofRegistrationResponse = "dcr.NewRegistrationResponse"
	ofManagementRequest    = "dcr.NewManagementRequest"
	ofManagementResponse   = "dcr.NewManagementResponse"
)

// TestSpans: each step of a request is a span below the host's, which says what it was
// refused for, and has failed only where the server did (LIFE-05).
func TestSpans(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	s := startSpans(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Management: dcr.Management{ForbidDelete: true}}})
	client := s.Register(t, dcrtest.Managed())
	who := "oauth.client_id=" + client.ID()
	require.Equal(t, []stepSpan{{ofRegistrationRequest, "Unset", ""}, {ofRegistrationResponse, "Unset", who}}, s.take(t))

	refused := func(code string, status int) string {
		return fmt.Sprintf("error.type=%s,http.response.status_code=%d", code, status)
	}
	for _, row := range []struct {
		name  string
		send  func() dcrtest.Answer
		spans []stepSpan
	}{
		{"read", func() dcrtest.Answer { return s.Manage(t, "GET", client, nil) },
			[]stepSpan{{ofManagementRequest, "Unset", who}, {ofManagementResponse, "Unset", who}}},
		{"metadata", func() dcrtest.Answer { return s.Post(t, dcrtest.Managed("contacts", 1)) },
			[]stepSpan{{ofRegistrationRequest, "Unset", refused("invalid_client_metadata", 400)}}},
		{"media_type", func() dcrtest.Answer {
			return s.Post(t, dcrtest.Managed(), dcrtest.Header("Content-Type", "text/plain"))
		},
			[]stepSpan{{ofRegistrationRequest, "Unset", refused("invalid_request", 415)}}},
		{"token", func() dcrtest.Answer { return s.Manage(t, "GET", client, nil, dcrtest.Bearer("wrong")) },
			[]stepSpan{{ofManagementRequest, "Unset", refused("invalid_token", 401)}}},
		{"forbidden", func() dcrtest.Answer { return s.Manage(t, "DELETE", client, nil) },
			[]stepSpan{{ofManagementRequest, "Unset", refused("access_denied", 403)}}},
		{"create_fails", failing(t, s, store, "CreateClient", dcrtest.ErrBroken, client, "POST"),
			[]stepSpan{{ofRegistrationRequest, "Unset", ""}, {ofRegistrationResponse, "Error", refused("server_error", 500)}}},
		{"create_is_down", failing(t, s, store, "CreateClient", dcr.ErrUnavailable, client, "POST"),
			[]stepSpan{{ofRegistrationRequest, "Unset", ""}, {ofRegistrationResponse, "Error", refused("temporarily_unavailable", 503)}}},
		{"look_up_fails", failing(t, s, store, "GetDynamicClient", dcrtest.ErrBroken, client, "GET"),
			[]stepSpan{{ofManagementRequest, "Error", refused("server_error", 500)}}},
		{"update_fails", failing(t, s, store, "UpdateClient", dcrtest.ErrBroken, client, "PUT"),
			[]stepSpan{{ofManagementRequest, "Unset", who}, {ofManagementResponse, "Error", refused("server_error", 500) + "," + who}}},
	} {
		t.Run("LIFE-05/"+row.name, func(t *testing.T) { // in turn: they share the recorder
			answer := row.send()
			require.Equal(t, row.spans, s.take(t), answer.Body)
		})
	}
}

// failing sends a request while one call of the storage fails.
func failing(t *testing.T, s *spanServer, store *dcrtest.WatchedStore, call string, cause error, client dcrtest.Answer, method string) func() dcrtest.Answer {
	return func() dcrtest.Answer {
		store.Watch(func(_ context.Context, name string, do func() error) error {
			if name == call {
				return cause
			}
			return do()
		})
		defer store.Watch(nil)
		if method == "POST" {
			return s.Post(t, dcrtest.Managed())
		}
		return s.Manage(t, method, client, dcrtest.Replacing(client))
	}
}

// TestSpansHoldNoSecrets takes a client through its life, and searches the spans (T26).
func TestSpansHoldNoSecrets(t *testing.T) {
	t.Parallel()
	s := startSpans(t, dcrtest.Setup{})
	client := s.Register(t, dcrtest.Managed())
	record, err := s.Store.GetDynamicClient(t.Context(), client.ID())
	require.NoError(t, err)
	s.Manage(t, "GET", client, nil, dcrtest.Bearer(client.Secret()))
	s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", client.Secret(), "registration_access_token", client.Token()))
	updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", client.Secret()))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	s.Post(t, dcrtest.Managed("client_uri", "https://u:"+client.Secret()+"@client.example/"))
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", updated, nil).Status)
	text := fmt.Sprintf("%+v", tracetest.SpanStubsFromReadOnlySpans(s.recorder.Ended()))
	require.Contains(t, text, client.ID(), "the search would find something")
	requireSecretFree(t, text, client.Secret(), client.Token(), updated.Token(),
		string(record.SecretHash), record.RegistrationToken.Signature)
}

// TestNoSpansWithout: without a parent, and below one that is not sampled, nothing is
// recorded, whatever tracer providers there are.
func TestNoSpansWithout(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/not_sampled", func(t *testing.T) {
		t.Parallel()
		s := startSpans(t, dcrtest.Setup{}, sdktrace.WithSampler(sdktrace.NeverSample()))
		client := s.Register(t, dcrtest.Managed())
		require.Equal(t, http.StatusUnauthorized, s.Manage(t, "GET", client, nil, dcrtest.Bearer("wrong")).Status)
		require.Empty(t, s.recorder.Started())
	})
	t.Run("LIFE-05/no_cost", func(t *testing.T) {
		t.Parallel()
		idle := &idleProvider{}
		s := &spanServer{parent: func(ctx context.Context) (context.Context, trace.Span) {
			return idle.Tracer("").Start(ctx, "host")
		}}
		s.listen(t, dcrtest.Setup{})
		client := s.Register(t, dcrtest.Managed())
		require.Equal(t, http.StatusUnauthorized, s.Manage(t, "GET", client, nil, dcrtest.Bearer("wrong")).Status)
		require.Equal(t, http.StatusOK, s.Manage(t, "GET", client, nil).Status)
		require.EqualValues(t, 8, idle.started.Load(), "three of the host's, five of the steps")
		require.Zero(t, idle.worked.Load(), "nothing is made for a span that does not record")
	})
	t.Run("LIFE-05/no_parent", func(t *testing.T) {
		t.Parallel()
		s := &spanServer{parent: func(ctx context.Context) (context.Context, trace.Span) {
			return ctx, trace.SpanFromContext(ctx)
		}}
		s.listen(t, dcrtest.Setup{})
		client := s.Register(t, dcrtest.Managed())
		require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, dcrtest.Replacing(client)).Status)
	})
}

// idleProvider makes spans that do not record, and counts what is done with them all the
// same.
type idleProvider struct {
	noop.TracerProvider
	started, worked atomic.Int32
}

type idleTracer struct {
	noop.Tracer
	provider *idleProvider
}

type idleSpan struct {
	noop.Span
	provider *idleProvider
}

func (p *idleProvider) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return idleTracer{provider: p}
}

func (t idleTracer) Start(ctx context.Context, _ string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.provider.started.Add(1)
	t.provider.worked.Add(int32(len(options)))
	span := idleSpan{provider: t.provider}
	return trace.ContextWithSpan(ctx, span), span
}

func (s idleSpan) TracerProvider() trace.TracerProvider    { return s.provider }
func (s idleSpan) SetAttributes(...attribute.KeyValue)     { s.provider.worked.Add(1) }
func (s idleSpan) SetStatus(codes.Code, string)            { s.provider.worked.Add(1) }
func (s idleSpan) RecordError(error, ...trace.EventOption) { s.provider.worked.Add(1) }
func (s idleSpan) AddEvent(string, ...trace.EventOption)   { s.provider.worked.Add(1) }
