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

	"github.com/ory/fosite"
)

// EventKind says what happened.
type EventKind string

// What happens to clients.
const (
	// EventRegistered, EventUpdated and EventDeleted follow the commit.
	EventRegistered EventKind = "registered"
	EventUpdated    EventKind = "updated"
	EventDeleted    EventKind = "deleted"
	// EventShared follows a registration that was answered with a client which is
	// registered already (Config.ShareIdentical).
	EventShared EventKind = "shared"
	// EventTokenRotated follows a new registration access token in place of another.
	EventTokenRotated EventKind = "token_rotated"
	// EventExpired follows the removal of a client that has ended, or that gave way to
	// another at the storage's bound.
	EventExpired EventKind = "expired"
	// EventGrantsRevoked follows the removal of a client's tokens by an operator, or
	// because its redirect URIs changed.
	EventGrantsRevoked EventKind = "grants_revoked"
	// EventRefused follows an answer that is an error and none of the next two; Err is the
	// error.
	EventRefused EventKind = "refused"
	// EventAuthenticationFailed follows a wrong token at the registration or the client
	// configuration endpoint, and a client that did not authenticate at the endpoints of
	// fosite.
	EventAuthenticationFailed EventKind = "authentication_failed"
	// EventLimited follows an answer that says too many: of requests, of a registrant's
	// clients, or of clients in the storage.
	EventLimited EventKind = "limited"
	// EventLeftover says that something could not be tidied away after an operation that
	// succeeded, or was undone; Err is the storage's error. What is left works no longer,
	// but for a previous registration access token, whose grace ends by time then. With
	// InitialAccessToken it is a use of that token that could not be given back. It also says
	// that a use of a client could not be noted, no room made, or a sweep not finished.
	EventLeftover EventKind = "leftover"
	// EventInitialAccessTokenMinted and EventInitialAccessTokenRevoked follow what the
	// operator does.
	EventInitialAccessTokenMinted  EventKind = "initial_access_token_minted"
	EventInitialAccessTokenRevoked EventKind = "initial_access_token_revoked"
)

// Event is one thing that happened. It holds no secret: Before and After are
// records with hashes and signatures, and print as their identifiers.
type Event struct {
	Kind EventKind
	// Time is that of Config.Now.
	Time time.Time
	// ClientID is the client, where the storage knows one: not what a stranger calls itself.
	ClientID string
	// Registrant is who registers or registered the client, where known.
	Registrant *Registrant
	// InitialAccessToken is the identifier of one, where it is about that.
	InitialAccessToken string
	// Address is the caller's (Config.TrustedProxies); not valid where there is no caller,
	// or none that is known.
	Address netip.Addr
	// Operator is who did it, where it was not the client (AsOperator).
	Operator string
	// Elapsed is how long the request had taken; zero where there is none.
	Elapsed time.Duration
	// Before and After are the client before and after an update. A registration has the one
	// that follows, a deletion the one before it; a removal of a client that has ended has
	// what the storage told, which may be the identifier only.
	Before, After *Client
	Err           error
}

// Reason is the error code of the protocol, and empty where all went well.
func (e Event) Reason() string {
	if e.Err == nil {
		return ""
	}
	return fosite.ErrorToRFC6749Error(e.Err).ErrorField
}

// String tells what happened to whom, and nothing secret.
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

// EventSink is told what happened. It is called on the way of the request, so it
// should hand on what takes long. It must be safe for many goroutines.
type EventSink interface {
	Record(ctx context.Context, event Event)
}

// EventSinks is one sink of several, which are told in order. Nil ones are left out.
func EventSinks(sinks ...EventSink) EventSink {
	return eventSinks(slices.DeleteFunc(slices.Clone(sinks), func(s EventSink) bool { return s == nil }))
}

type eventSinks []EventSink

func (s eventSinks) Record(ctx context.Context, event Event) {
	for _, sink := range s {
		sink.Record(ctx, event)
	}
}

// LogEvents returns a sink that writes one line an event. What the server failed
// at is an error, everything else information. Nil means slog.Default().
func LogEvents(log *slog.Logger) EventSink {
	if log == nil {
		log = slog.Default()
	}
	return logEvents{log}
}

type logEvents struct{ log *slog.Logger }

func (l logEvents) Record(ctx context.Context, e Event) {
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
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
		attrs = append(attrs, slog.String("error", answer.ErrorField), slog.String("description", descriptionOf(answer)))
		if answer.CodeField >= 500 {
			level = slog.LevelError
		}
		if answer.CodeField >= 500 || e.Kind == EventLimited {
			add("cause", answer.DebugField)
		}
	}
	l.log.LogAttrs(ctx, level, "client registration", attrs...)
}

type noEvents struct{}

func (noEvents) Record(context.Context, Event) {}

type operatorKey struct{}

// AsOperator returns a context in which what the methods of Provider do counts as done by
// an operator of that name: events say so.
func AsOperator(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operatorKey{}, name)
}

// tell completes an event with what the context knows, and records it.
func (r *registry) tell(ctx context.Context, e Event) {
	e.Time = r.now()
	if v := visitOf(ctx); v != nil {
		e.Address, e.Elapsed = v.address, time.Since(v.began)
	}
	e.Operator, _ = ctx.Value(operatorKey{}).(string)
	for _, client := range []*Client{e.Before, e.After} {
		if e.Registrant == nil && client != nil {
			e.Registrant = &client.Origin
		}
	}
	r.cfg.Events.Record(ctx, e)
}

// leftover tells of what could not be tidied away.
func (r *registry) leftover(ctx context.Context, clientID string, err error) {
	r.tell(ctx, Event{Kind: EventLeftover, ClientID: clientID, Err: failure(err)})
}

// refused tells of an answer that is an error.
func (r *registry) refused(ctx context.Context, err error) {
	known, answer := asRefusal(err), protocolError(err)
	e := Event{Kind: EventRefused, ClientID: known.clientID, Err: answer}
	switch {
	case answer.CodeField == http.StatusTooManyRequests, errors.Is(err, ErrFull), errors.Is(err, errQuota):
		e.Kind = EventLimited
	case answer.ErrorField == ErrInvalidToken.ErrorField && !isMissingToken(answer):
		e.Kind = EventAuthenticationFailed
	}
	if known.visit != nil {
		e.Registrant = known.visit.registrant
	}
	r.tell(withVisit(ctx, known.visit), e)
}

// unauthenticated tells of a client that did not authenticate at an endpoint of fosite's.
// That a token is inactive has the same status there, and is an answer.
func (r *registry) unauthenticated(ctx context.Context, err error) {
	failed := errors.Is(err, fosite.ErrInvalidClient) || errors.Is(err, fosite.ErrRequestUnauthorized) || errors.Is(err, fosite.ErrJTIKnown)
	v := visitOf(ctx)
	if v == nil || asFault(err) != nil || !failed || errors.Is(err, fosite.ErrInactiveToken) {
		return
	}
	r.tell(ctx, Event{Kind: EventAuthenticationFailed, ClientID: v.clientID, Err: fosite.ErrorToRFC6749Error(err)})
}
