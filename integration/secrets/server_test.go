package secrets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/telemetry"
)

// watchedServer is a server of which everything that gets out is kept: answers, logs, spans,
// metrics, and what a host might print.
type watchedServer struct {
	*dcrtest.Server
	*evidence
	store  *secretsStore
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
}

func startWatched(t *testing.T, tokensAreJWTs bool) *watchedServer {
	t.Helper()
	s := &watchedServer{evidence: newEvidence(), spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	s.store = newSecretsStore(s.evidence)
	metrics, err := telemetry.New(telemetry.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))})
	require.NoError(t, err)
	listener := httptest.NewUnstartedServer(nil)
	s.Server = &dcrtest.Server{URL: "http://" + listener.Listener.Addr().String()}
	s.Provider, err = s.Compose(dcrtest.Setup{JWT: tokensAreJWTs, Storage: s.store, Config: dcr.Config{
		Access:     dcr.AnyOf(dcr.InitialAccessTokens(), dcr.AccessToken()),
		Management: dcr.Management{Token: dcr.RegistrationToken{Grace: graceOfSecrets}},
		Secrets:    dcr.Secrets{Grace: graceOfSecrets},
		Policies:   []dcr.Policy{dcr.PolicyFunc(rotateSecrets)},
		Events:     dcr.EventSinks(dcr.LogEvents(s.logger(true)), dcr.LogEvents(s.logger(false)), metrics, printsEvents{s.evidence}),
	}})
	require.NoError(t, err)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans)).Tracer("host")
	routes := s.routes()
	listener.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "request")
		defer span.End()
		routes.ServeHTTP(w, r.WithContext(ctx))
	})
	listener.Config.ErrorLog = log.New(s.evidence, "", 0)
	listener.Start()
	t.Cleanup(listener.Close)
	return s
}

// rotateSecrets gives a client whose name says so a new secret with each update.
func rotateSecrets(_ context.Context, a *dcr.Proposal) error {
	a.RotateSecret = a.Previous != nil && a.Metadata.ClientName == rotatedName
	return nil
}

func (s *watchedServer) logger(asJSON bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	if asJSON {
		return slog.New(slog.NewJSONHandler(s.evidence, options))
	}
	return slog.New(slog.NewTextHandler(s.evidence, options))
}

// collect puts spans and metrics into the evidence.
func (s *watchedServer) collect(t *testing.T) {
	t.Helper()
	spans := tracetest.SpanStubsFromReadOnlySpans(s.spans.Ended())
	require.NotEmpty(t, spans)
	for _, span := range spans {
		s.print("span "+span.Name, span.Attributes, span.Events, span.Status)
		written, err := json.Marshal(span)
		require.NoError(t, err)
		s.put("span "+span.Name, string(written))
	}
	var metrics metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &metrics))
	require.NotEmpty(t, metrics.ScopeMetrics)
	s.print("metrics", metrics)
}

// format keeps values in each way of package fmt.
func (e *evidence) format(where string, values ...any) {
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			e.put(where+" as "+verb, fmt.Sprintf(verb, value))
		}
	}
}

// print keeps values in each way that a host might print them.
func (e *evidence) print(where string, values ...any) {
	e.format(where, values...)
	for _, value := range values {
		for _, handler := range []slog.Handler{slog.NewTextHandler(e, nil), slog.NewJSONHandler(e, nil)} {
			slog.New(handler).Info(where, "value", value)
		}
	}
}

// printError keeps an error, all that it wraps, and what it tells the operator.
func (e *evidence) printError(where string, err error) {
	for ; err != nil; err = errors.Unwrap(err) {
		e.print("error of "+where, err)
		e.put("error of "+where, err.Error())
		var refusal *fosite.RFC6749Error
		if errors.As(err, &refusal) {
			e.put("error of "+where, refusal.Debug()+"\n"+refusal.Reason()+"\n"+refusal.GetDescription()+"\n"+refusal.HintField+"\n"+refusal.DescriptionField)
			e.print("cause of "+where, refusal.Cause())
		}
	}
}

// printsEvents keeps every event in every way.
type printsEvents struct{ found *evidence }

func (p printsEvents) Record(_ context.Context, event dcr.Event) {
	p.found.print("event "+string(event.Kind), event, &event, event.Before, event.After, event.Registrant)
	p.found.printError("event "+string(event.Kind), event.Err)
}

// routes are those of an ordinary server, which prints every error.
func (s *watchedServer) routes() http.Handler {
	router := mux.NewRouter().UseEncodedPath()
	s.Provider.Mount(router)
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"/oauth2/auth": s.authorize, "/oauth2/token": s.token, "/oauth2/introspect": s.introspect,
		"/oauth2/revoke": s.revoke, "/oauth2/par": s.push,
	} {
		router.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				s.printError(path, err)
			}
		})
	}
	return router
}

func (s *watchedServer) authorize(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	request, err := s.Provider.NewAuthorizeRequest(ctx, r)
	var response fosite.AuthorizeResponder
	if err == nil {
		s.print("client at the authorization endpoint", request.GetClient())
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		response, err = s.Provider.NewAuthorizeResponse(ctx, request, dcrtest.NewSession("alice"))
	}
	if err != nil {
		s.Provider.WriteAuthorizeError(ctx, w, request, err)
		return err
	}
	s.Provider.WriteAuthorizeResponse(ctx, w, request, response)
	return nil
}

func (s *watchedServer) token(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	request, err := s.Provider.NewAccessRequest(ctx, r, dcrtest.NewSession(""))
	if err != nil {
		s.Provider.WriteAccessError(ctx, w, request, err)
		return err
	}
	s.print("client at the token endpoint", request.GetClient())
	response, err := s.Provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.Provider.WriteAccessError(ctx, w, request, err)
		return err
	}
	s.Provider.WriteAccessResponse(ctx, w, request, response)
	return nil
}

func (s *watchedServer) introspect(w http.ResponseWriter, r *http.Request) error {
	response, err := s.Provider.NewIntrospectionRequest(r.Context(), r, dcrtest.NewSession(""))
	if err != nil {
		s.Provider.WriteIntrospectionError(r.Context(), w, err)
		return err
	}
	s.Provider.WriteIntrospectionResponse(r.Context(), w, response)
	return nil
}

func (s *watchedServer) revoke(w http.ResponseWriter, r *http.Request) error {
	err := s.Provider.NewRevocationRequest(r.Context(), r)
	s.Provider.WriteRevocationResponse(r.Context(), w, err)
	return err
}

func (s *watchedServer) push(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	request, err := s.Provider.NewPushedAuthorizeRequest(ctx, r)
	if err != nil {
		s.Provider.WritePushedAuthorizeError(ctx, w, request, err)
		return err
	}
	response, err := s.Provider.NewPushedAuthorizeResponse(ctx, request, dcrtest.NewSession(""))
	if err != nil {
		s.Provider.WritePushedAuthorizeError(ctx, w, request, err)
		return err
	}
	s.Provider.WritePushedAuthorizeResponse(ctx, w, request, response)
	return nil
}
