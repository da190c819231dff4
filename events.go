package dcr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/patience"
	"github.com/ory/fosite"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// EventKind says what happened.
type EventKind string

// What happens to clients.
const (
	EventRegistered EventKind = "registered" // EventRegistered follows the commit of a registration
	EventUpdated    EventKind = "updated"    // EventUpdated follows the commit of an update
	EventDeleted    EventKind = "deleted"    // EventDeleted follows the commit of a deletion
	// EventShared follows a registration that was answered with a client which is registered already
	// (Config.Registration.ShareIdentical).
	EventShared EventKind = "shared"
	// EventTokenRotated follows a new registration access token in place of another.
	EventTokenRotated EventKind = "token_rotated"
	// EventExpired follows the removal of a client that expired, or that was evicted for another at the
	// storage's bound.
	EventExpired EventKind = "expired"
	// EventGrantsRevoked follows the removal of a client's tokens by an operator, or because its redirect
	// URIs changed.
	EventGrantsRevoked EventKind = "grants_revoked"
	// EventRefused follows an answer that is an error and none of the next two; Err is the error.
	EventRefused EventKind = "refused"
	// EventAuthenticationFailed follows a wrong token at the registration or the client configuration
	// endpoint, and a client that did not authenticate at the endpoints of fosite.
	EventAuthenticationFailed EventKind = "authentication_failed"
	// EventLimited follows an answer that says too many: requests, clients of a registrant, or clients in all.
	EventLimited EventKind = "limited"
	// EventCleanupFailed says that something could not be removed after an operation that succeeded, or was
	// undone; Err is the storage's error. What is left works no longer, but for a previous registration
	// access token, whose grace expires by time then. With InitialAccessToken it is a use of that token
	// that could not be given back. It also says that a use of a client could not be noted, no room made,
	// or a sweep not finished.
	EventCleanupFailed EventKind = "cleanup_failed"
	// EventDocumentChanged follows the fetch of a document (Config.Documents) that says something else than before.
	EventDocumentChanged EventKind = "document_changed"
	// EventDocumentFailed follows a fetch that failed, or brought a document that is refused; Err says why.
	EventDocumentFailed EventKind = "document_failed"
	// EventInitialAccessTokenMinted follows a new initial access token.
	EventInitialAccessTokenMinted EventKind = "initial_access_token_minted"
	// EventInitialAccessTokenRevoked follows the revocation of one.
	EventInitialAccessTokenRevoked EventKind = "initial_access_token_revoked"
)

// Event is one thing that happened. It holds no secret: Before and After are records with hashes and
// signatures, and print as their identifiers.
type Event struct {
	Kind EventKind // Kind says what happened
	Time time.Time // Time is that of Config.Now
	// ClientID is the client, where the storage knows one: not what an anonymous caller calls itself.
	ClientID           string
	Registrant         *Registrant // Registrant is who registers or registered the client, where known
	InitialAccessToken string      // InitialAccessToken is the identifier of one, where it is about that
	// Address is the caller's (Config.Limits.TrustedProxies); not valid where there is no caller, or none
	// that is known.
	Address  netip.Addr
	Operator string        // Operator is who did it, where it was not the client (AsOperator)
	Elapsed  time.Duration // Elapsed is how long the request had taken; zero where there is none
	// Before and After are the client before and after an update. A registration has the one that follows,
	// a deletion the one before it; the removal of an expired or evicted client has the removed record.
	Before, After *Client
	Err           error // Err is why it was refused, or what failed; nil where all went well
}

// Reason is the error code of the protocol, or why a document could not be fetched (cimd.Failure.Reason); empty where all
// went well.
func (e Event) Reason() string {
	var failed interface {
		Reason() string
		MediaType() string
	} // as fosite's errors have a Reason of another meaning
	switch {
	case e.Err == nil:
		return ""
	case errors.As(e.Err, &failed):
		return failed.Reason()
	}
	return fosite.ErrorToRFC6749Error(e.Err).ErrorField
}

// String says what happened to whom, and nothing secret.
func (e Event) String() string {
	s := "dcr.Event(" + string(e.Kind) + " " + e.ClientID
	if e.Err != nil {
		s += ": " + e.Reason()
	}
	return s + ")"
}

// Format prints String, whatever the verb.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// LogValue is String.
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }

// EventSink receives what happened. It is called while the request waits, so it should hand on what takes
// long. It must be safe for many goroutines.
type EventSink interface {
	// Record receives one event.
	Record(ctx context.Context, event Event)
}

// EventSinks is one sink of several, which receive each event in order. Nil ones are left out.
func EventSinks(sinks ...EventSink) EventSink {
	return eventSinks(slices.DeleteFunc(slices.Clone(sinks), func(s EventSink) bool { return s == nil }))
}

type eventSinks []EventSink

func (s eventSinks) Record(ctx context.Context, event Event) {
	for _, sink := range s {
		sink.Record(ctx, event)
	}
}

// LogEvents returns a sink that writes one line an event. What the server failed at is an error, everything
// else information. Nil means slog.Default().
func LogEvents(log *slog.Logger) EventSink {
	if log == nil {
		log = slog.Default()
	}
	return logEvents{log}
}

type logEvents struct{ log *slog.Logger }

func (l logEvents) Record(ctx context.Context, e Event) {
	attrs := append(make([]slog.Attr, 0, 8), slog.String("event", string(e.Kind)))
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("client_id", e.ClientID)
	if e.Registrant != nil {
		add("origin", e.Registrant.Kind)
		add("subject", e.Registrant.Subject)
		add("registrant_client_id", e.Registrant.ClientID)
		if e.InitialAccessToken == "" {
			e.InitialAccessToken = e.Registrant.InitialAccessToken
		}
	}
	add("initial_access_token", e.InitialAccessToken)
	if e.Address.IsValid() {
		add("address", e.Address.String())
	}
	add("operator", e.Operator)
	level := slog.LevelInfo
	if e.Err != nil {
		answer := fosite.ErrorToRFC6749Error(e.Err)
		attrs = append(attrs, slog.String("error", e.Reason()), slog.String("description", descriptionOf(answer)))
		if answer.CodeField >= 500 && e.Kind != EventAuthenticationFailed && e.Kind != EventDocumentFailed {
			level = slog.LevelError
		}
		var other *otherIssuer
		switch {
		case errors.As(e.Err, &other):
			add("cause", other.Error())
		case answer.CodeField >= 500, e.Kind == EventLimited, answer.ErrorField == ErrInvalidToken.ErrorField, answer.ErrorField == ErrAccessDenied.ErrorField:
			add("cause", answer.DebugField)
		}
	}
	// By the handler: the Logger would look for the line of code that called it, which is always this one.
	if handler := l.log.Handler(); handler.Enabled(ctx, level) {
		line := slog.NewRecord(time.Now(), level, "client registration", 0)
		line.AddAttrs(attrs...)
		_ = handler.Handle(ctx, line)
	}
}

type noEvents struct{}

func (noEvents) Record(context.Context, Event) {}

type operatorKey struct{}

// AsOperator returns a context in which what the methods of Provider do counts as done by an operator of
// that name: events say so.
func AsOperator(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operatorKey{}, name)
}

// crossing is what has to cross fosite, which hands on a context alone: who sent the request, for events,
// and what this package finds out on the way. Besides it a context has the operator (AsOperator), and what
// built-in access rules look tokens up with.
type crossing struct {
	caller
	// authenticates says that fosite authenticates a client in this request; clientID is then the first one
	// that it found.
	authenticates bool
	clientID      string
	// secretMethod is how the request presents a client secret; empty where it presents none.
	secretMethod string
	// parPath is the path of the request at the PAR endpoint, and empty elsewhere.
	parPath  string
	document *Client // the client of a document, once it was found
}

type crossingKey struct{}

func withCrossing(ctx context.Context, c *crossing) context.Context {
	return context.WithValue(ctx, crossingKey{}, c)
}

// crossingOf returns nil where the request did not come through this package.
func crossingOf(ctx context.Context) *crossing {
	c, _ := ctx.Value(crossingKey{}).(*crossing)
	return c
}

// ResolveClient is for storages: it returns the client of a stored session where none is stored under the identifier. For a
// URL that is the one with a document, if it sends the request of ctx, or else one without metadata; others are fosite.ErrNotFound.
func ResolveClient(ctx context.Context, id string) (fosite.Client, error) {
	if !isURL(id) {
		return nil, fosite.ErrNotFound
	}
	if c := crossingOf(ctx); c != nil && c.document != nil && c.document.ID == id {
		return c.document, nil
	}
	return &fosite.DefaultClient{ID: id}, nil
}

// noteClient notes the client that fosite found in this request.
func noteClient(ctx context.Context, client fosite.Client) {
	if c := crossingOf(ctx); c != nil && c.authenticates && c.clientID == "" {
		c.clientID = client.GetID()
	}
}

// withCaller returns a context whose events name the caller of a request.
func withCaller(ctx context.Context, who caller) context.Context {
	if c := crossingOf(ctx); c != nil && c.caller == who {
		return ctx
	}
	return withCrossing(ctx, &crossing{caller: who})
}

// journal records events.
type journal struct {
	sink EventSink
	now  func() time.Time
}

// record completes an event with what the context knows, and records it.
func (j *journal) record(ctx context.Context, e Event) {
	e.Time = j.now()
	if c := crossingOf(ctx); c != nil && !c.began.IsZero() {
		e.Address, e.Elapsed = c.address, time.Since(c.began)
	}
	e.Operator, _ = ctx.Value(operatorKey{}).(string)
	for _, client := range []*Client{e.Before, e.After} {
		if e.Registrant == nil && client != nil {
			e.Registrant = &client.Origin
		}
	}
	j.sink.Record(ctx, e)
}

// cleanupFailed records what could not be removed.
func (j *journal) cleanupFailed(ctx context.Context, clientID string, err error) {
	j.record(ctx, Event{Kind: EventCleanupFailed, ClientID: clientID, Err: failure(err)})
}

// refused records an answer that is an error.
func (j *journal) refused(ctx context.Context, err error) {
	p := problemOf(err)
	e := Event{Kind: EventRefused, ClientID: p.clientID, Registrant: p.registrant, Err: p.answer}
	switch {
	case p.answer.CodeField == http.StatusTooManyRequests, errors.Is(err, ErrFull), errors.Is(err, errQuota):
		e.Kind = EventLimited
	case p.answer.ErrorField == ErrInvalidToken.ErrorField && !isMissingToken(p.answer):
		e.Kind = EventAuthenticationFailed
	}
	if p.caller != nil {
		ctx = withCaller(ctx, *p.caller)
	}
	j.record(ctx, e)
}

// unauthenticated records a client that did not authenticate at one of fosite's endpoints. That a token is
// inactive has the same status there, and is an answer.
func (j *journal) unauthenticated(ctx context.Context, err error) {
	failed := errors.Is(err, fosite.ErrInvalidClient) || errors.Is(err, fosite.ErrRequestUnauthorized) || errors.Is(err, fosite.ErrJTIKnown)
	c := crossingOf(ctx)
	if failed = failed && asFault(err) == nil || errors.Is(err, ErrKeysUnavailable); c == nil || !failed || errors.Is(err, fosite.ErrInactiveToken) {
		return
	}
	j.record(ctx, Event{Kind: EventAuthenticationFailed, ClientID: c.clientID, Err: answerOf(err)})
}

// cleanupContext is for what has to be done although the caller may be gone.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return patience.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// startSpan begins a span in fosite's way: with the tracer provider of the span that the context has, and
// at no cost where it has none.
func startSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	if none := trace.SpanFromContext(context.Background()); trace.SpanFromContext(ctx) == none {
		return ctx, none
	}
	return trace.SpanFromContext(ctx).TracerProvider().Tracer("github.com/fosite-contrib/fosite-dcr").Start(ctx, name)
}

// endSpan ends a span. Of an error it says the code of the protocol only, and marks the span as failed only
// where the server failed: a refusal is an answer.
func endSpan(span trace.Span, err *error) {
	defer span.End()
	if *err == nil || !span.IsRecording() {
		return
	}
	answer := answerOf(*err)
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
