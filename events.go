package dcr

import (
	"context"
	"fmt"
	"io"
	"log/slog"

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
	// EventExpired follows the removal of a client that has ended.
	EventExpired EventKind = "expired"
	// EventRefused follows an answer that is an error; Err is the error.
	EventRefused EventKind = "refused"
	// EventLeftover says that something could not be tidied away after an operation that
	// succeeded, or was undone; Err is the storage's error. What is left works no longer,
	// but for a previous registration access token, whose grace ends by time then.
	EventLeftover EventKind = "leftover"
)

// Event is one thing that happened. It holds no secret: Before and After are
// records with hashes and signatures, and print as their identifiers.
type Event struct {
	Kind     EventKind
	ClientID string
	// Before and After are the client before and after an update; of the other
	// kinds just the one that exists.
	Before, After *Client
	Err           error
}

// String tells what happened to whom, and nothing secret.
func (e Event) String() string {
	s := "dcr.Event(" + string(e.Kind) + " " + e.ClientID
	if e.Err != nil {
		s += ": " + fosite.ErrorToRFC6749Error(e.Err).ErrorField
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

// LogEvents returns a sink that writes one line an event. What the server failed
// at is an error, everything else information.
func LogEvents(log *slog.Logger) EventSink { return logEvents{log} }

type logEvents struct{ log *slog.Logger }

func (l logEvents) Record(ctx context.Context, e Event) {
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	if e.ClientID != "" {
		attrs = append(attrs, slog.String("client_id", e.ClientID))
	}
	level := slog.LevelInfo
	if e.Err != nil {
		answer := fosite.ErrorToRFC6749Error(e.Err)
		attrs = append(attrs, slog.String("error", answer.ErrorField), slog.String("description", answer.DescriptionField))
		if answer.CodeField >= 500 {
			level = slog.LevelError
			attrs = append(attrs, slog.String("cause", answer.DebugField))
		}
	}
	l.log.LogAttrs(ctx, level, "client registration", attrs...)
}

type noEvents struct{}

func (noEvents) Record(context.Context, Event) {}
