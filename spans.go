package dcr

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins a span in fosite's way: with the tracer provider of the span that the
// context has, and at no cost where it has none.
func startSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer("github.com/fosite-contrib/fosite-dcr").Start(ctx, name)
}

// endSpan ends a span. Of an error it tells the code of the protocol only, and marks the
// span as failed only where the server failed: a refusal is an answer.
func endSpan(span trace.Span, err *error) {
	defer span.End()
	if *err == nil || !span.IsRecording() {
		return
	}
	answer := protocolError(*err)
	span.SetAttributes(attribute.String("error.type", answer.ErrorField), attribute.Int("http.response.status_code", answer.CodeField))
	if answer.CodeField >= 500 && !errors.Is(*err, ErrConflict) { // which is tried again
		span.SetStatus(codes.Error, answer.ErrorField)
	}
}

func spanClient(span trace.Span, clientID string) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("oauth.client_id", clientID))
	}
}
