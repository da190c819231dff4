package admin

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
)

// Entry is one event in a history. It has no secret, and no record of a client.
type Entry struct {
	// Time is when the event happened.
	Time time.Time `json:"time"`
	// Kind says what happened.
	Kind dcr.EventKind `json:"kind"`
	// Issuer is the issuer of the client; empty where it is not known. It is not part of answers.
	Issuer string `json:"-"`
	// ClientID is the identifier of the client; empty where no client is known.
	ClientID string `json:"client_id,omitempty"`
	// InitialAccessToken is the identifier of the initial access token that was minted, revoked
	// or used to register; empty where there is none.
	InitialAccessToken string `json:"initial_access_token,omitempty"`
	// Address is the IP address of the caller; empty where it is not known.
	Address string `json:"address,omitempty"`
	// Anonymous says that an anonymous caller registered the client. It is set for registrations
	// only.
	Anonymous bool `json:"anonymous,omitempty"`
	// Subject is the user who registers or registered the client; empty where none is known.
	Subject string `json:"subject,omitempty"`
	// Operator is the operator who caused the event; empty where it was not an operator.
	Operator string `json:"operator,omitempty"`
	// Reason is the error code of a request that was refused, of a cleanup that failed, or of a
	// document that broke a rule. Of a document that could not be fetched it is the Reason of
	// cimd.Failure. It is empty where there was no error.
	Reason string `json:"reason,omitempty"`
	// Description is the text of that error. It names the member of the metadata that is wrong, or
	// says what the host of a document answered.
	Description string `json:"description,omitempty"`
	// Changed has the names of what an update or another document changed, in order: members of the
	// metadata, "client_secret", and "expires_at". A member in another language has the name without
	// the language: "client_name" for "client_name#fr".
	Changed []string `json:"changed,omitempty"`
}

// Events is where the pages and the API read events. An application with a database implements
// it, and fills the database with a dcr.EventSink. It must be safe for concurrent use.
//
// The context is that of the request, so that an application with several issuers can find out
// which one the request is for: events without a client are not filtered by issuer otherwise.
type Events interface {
	// ClientEvents returns the events of one client, the oldest first. A client without events
	// is no error.
	ClientEvents(ctx context.Context, clientID string) ([]Entry, error)
	// OtherEvents returns up to limit events of no client, or of clients that have no history,
	// the latest first. Most are refusals and changes of initial access tokens.
	OtherEvents(ctx context.Context, limit int) ([]Entry, error)
}

// HistoryOptions are the bounds of a History. The zero value means the defaults.
type HistoryOptions struct {
	// Clients is how many clients have a history; default 5000. The client whose last event is
	// the oldest is dropped first. The event that a client expired does not count: it starts no
	// history, and does not keep one from being dropped. Beside them, half as many clients with
	// documents have one: anybody can publish documents, and pushes out no registered client.
	Clients int
	// EventsPerClient is how many events of one client are kept; default 40. Events that anybody
	// can cause, such as failed authentication, take up at most half, so that they do not push
	// out the others.
	EventsPerClient int
	// Others is how many events without a client are kept; default 200. Refusals take up at most
	// half, so that anonymous callers do not push out what operators did.
	Others int
}

// History keeps the latest events in memory, within the bounds of its options; they are lost at a
// restart. It is a dcr.EventSink and implements Events: an application sets it in
// dcr.Config.Events, with others by dcr.EventSinks, and in Options.History. A client with few
// events takes half a kilobyte. With the default bounds all of it takes up to 220 MB: that needs
// 7,500 clients with 40 events each, which change every member or have the longest texts.
type History struct {
	options HistoryOptions

	mu        sync.Mutex
	clients   map[string]*list.Element // of *past
	order     *list.List               // of registered clients: that of the latest event is in front
	documents *list.List               // of clients with documents, likewise
	others    []Entry                  // the oldest first
}

// past is the history of one client.
type past struct {
	id      string
	issuer  string
	entries []Entry
}

var (
	_ dcr.EventSink = (*History)(nil)
	_ Events        = (*History)(nil)
)

// NewHistory returns an empty history.
func NewHistory(options HistoryOptions) *History {
	defaults := func(value *int, unset int) {
		if *value <= 0 {
			*value = unset
		}
	}
	defaults(&options.Clients, 5_000)
	defaults(&options.EventsPerClient, 40)
	defaults(&options.Others, 200)
	h := &History{options: options, clients: map[string]*list.Element{}, order: list.New(), documents: list.New()}
	return h
}

// Record adds an event.
func (h *History) Record(_ context.Context, e dcr.Event) {
	entry := newEntry(e)
	if (e.Kind == dcr.EventUpdated || e.Kind == dcr.EventDocumentChanged) && e.Before != nil && e.After != nil {
		entry.Changed = changed(e.Before, e.After)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	element, known := h.clients[entry.ClientID]
	order, most := h.order, h.options.Clients
	if isURL(entry.ClientID) {
		order, most = h.documents, max(1, h.options.Clients/2)
	}
	switch {
	case entry.ClientID == "" || !known && entry.byAnybody():
		// A failure starts no history: anybody can invent identifiers that are URLs.
		h.others = added(h.others, entry, h.options.Others, func([]Entry) int { return 0 })
		return
	case !known && e.Kind == dcr.EventExpired:
		// A sweep of many clients without a history pushes out no client that exists.
		return
	case !known:
		if order.Len() >= most { // the oldest history makes room, and its memory serves the new one
			element = order.Back()
			oldest := element.Value.(*past)
			delete(h.clients, oldest.id)
			clear(oldest.entries)
			*oldest = past{id: entry.ClientID, entries: oldest.entries[:0]}
			order.MoveToFront(element)
		} else {
			element = order.PushFront(&past{id: entry.ClientID})
		}
		h.clients[entry.ClientID] = element
	}
	if e.Kind != dcr.EventExpired {
		order.MoveToFront(element)
	}
	element.Value.(*past).add(entry, h.options.EventsPerClient)
}

func (p *past) add(entry Entry, most int) {
	if entry.Issuer == "" {
		entry.Issuer = p.issuer
	}
	p.issuer, entry.ClientID = entry.Issuer, p.id // an identifier may be long: it is kept once
	p.entries = added(p.entries, entry, most, leastNotable)
}

// added adds an entry. Where there are too many, it drops one: the oldest minor one if these are
// half, and otherwise the one that least returns.
func added(entries []Entry, entry Entry, most int, least func([]Entry) int) []Entry {
	drop := -1
	switch minor := countMinor(entries); {
	case entry.minor() && minor > 0 && minor >= most/2:
		drop = slices.IndexFunc(entries, Entry.minor)
	case len(entries) >= most:
		drop = least(entries)
	}
	if drop >= 0 {
		entries = slices.Delete(entries, drop, drop+1)
	}
	return append(entries, entry)
}

// leastNotable returns the oldest entry that is not notable: whoever has stolen a registration
// access token must not be able to push out the notable ones (T39). Where all are notable, it
// returns one from the middle that no operator caused, so that the first and the latest stay.
func leastNotable(entries []Entry) int {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return !e.notable() }); i >= 0 {
		return i
	}
	middle := len(entries) / 2
	return middle + max(0, slices.IndexFunc(entries[middle:], func(e Entry) bool { return e.Operator == "" }))
}

// notable reports whether an entry is the registration, a change by an operator, or a change of who
// can act as the client or of where its users are sent.
func (e Entry) notable() bool {
	return e.Kind == dcr.EventRegistered || e.Operator != "" || slices.ContainsFunc(e.Changed, func(member string) bool {
		return slices.Contains([]string{"redirect_uris", "token_endpoint_auth_method", "jwks", "jwks_uri"}, member)
	})
}

// byAnybody reports whether anybody can cause such an entry, as often as they like.
func (e Entry) byAnybody() bool { return e.Reason != "" || e.Kind == dcr.EventShared }

// minor reports whether anybody can cause such an entry, or it is of an update that changed nothing.
func (e Entry) minor() bool {
	idle := e.Operator == "" && (e.Kind == dcr.EventTokenRotated || e.Kind == dcr.EventUpdated && len(e.Changed) == 0)
	return e.byAnybody() || idle
}

func countMinor(entries []Entry) int {
	n := 0
	for i := range entries {
		if entries[i].minor() {
			n++
		}
	}
	return n
}

// ClientEvents returns the events of one client, the oldest first.
func (h *History) ClientEvents(_ context.Context, clientID string) ([]Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	element, known := h.clients[clientID]
	if !known {
		return nil, nil
	}
	return slices.Clone(element.Value.(*past).entries), nil
}

// OtherEvents returns up to limit events without a client, the latest first. Where there are more,
// refusals get at most half, unless there are too few others.
func (h *History) OtherEvents(_ context.Context, limit int) ([]Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit = max(limit, 0)
	minor := countMinor(h.others)
	minorLeft := min(minor, max(limit/2, limit-(len(h.others)-minor)))
	otherLeft := limit - minorLeft
	found := []Entry{}
	for _, entry := range slices.Backward(h.others) {
		left := &otherLeft
		if entry.minor() {
			left = &minorLeft
		}
		if *left > 0 {
			*left--
			found = append(found, entry)
		}
	}
	return found, nil
}

// newEntry copies what a history keeps of an event.
func newEntry(e dcr.Event) Entry {
	entry := Entry{
		Time: e.Time, Kind: e.Kind, ClientID: strings.Clone(e.ClientID), InitialAccessToken: short(e.InitialAccessToken),
		Operator: short(e.Operator),
	}
	if e.Err != nil {
		entry.Reason, entry.Description = reasonOf(e.Err, e.Kind == dcr.EventDocumentFailed)
	}
	if e.Registrant != nil {
		entry.setRegistrant(e.Registrant)
	}
	if e.Address.IsValid() {
		entry.Address = e.Address.String()
	}
	for _, client := range []*dcr.Client{e.Before, e.After} {
		if client != nil {
			entry.Issuer = client.Issuer
		}
	}
	return entry
}

// reasonOf returns what is kept of an error: of a fetch that failed its reason and what the host answered, and of
// any other the error of the protocol.
func reasonOf(err error, fetch bool) (reason, description string) {
	var failure *cimd.Failure
	if fetch && errors.As(err, &failure) {
		return short(failure.Reason()), answered(failure)
	}
	answer := fosite.ErrorToRFC6749Error(err)
	return short(answer.ErrorField), cut(strings.TrimSpace(answer.DescriptionField+" "+answer.HintField), 300)
}

// answered says what the host of a document answered; empty where it did not.
func answered(f *cimd.Failure) string {
	if f.Status() == 0 {
		return ""
	}
	return cut(strings.TrimSuffix(fmt.Sprintf("status %d, %s", f.Status(), f.MediaType()), ", "), 300)
}

// setRegistrant sets the user of an event and, of a registration, who registered and how.
func (e *Entry) setRegistrant(r *dcr.Registrant) {
	e.Subject = cut(r.Subject, 200)
	if e.Kind != dcr.EventRegistered {
		return
	}
	e.Anonymous = r.Anonymous
	if e.InitialAccessToken == "" {
		e.InitialAccessToken = short(r.InitialAccessToken)
	}
}

// registration returns the event of the registration of a client, from its record.
func registration(c *dcr.Client) Entry {
	e := Entry{Time: c.CreatedAt, Kind: dcr.EventRegistered, Issuer: c.Issuer, ClientID: c.ID}
	e.setRegistrant(&c.Origin)
	return e
}

// withRegistration returns the history of a client beginning with its registration. The event is
// missing from a history that began later, that dropped it, or that another process has; then it
// is made from the record. complete reports whether the history had it. An identifier may have
// been registered before (dcr.Client.Shared): the registration that counts is that of the record,
// whose time a storage may have rounded.
func withRegistration(history []Entry, c *dcr.Client) (whole []Entry, complete bool) {
	began := c.CreatedAt.Add(-time.Second)
	if slices.ContainsFunc(history, func(e Entry) bool { return e.Kind == dcr.EventRegistered && !e.Time.Before(began) }) {
		return history, true
	}
	at := slices.IndexFunc(history, func(e Entry) bool { return e.Time.After(c.CreatedAt) })
	if at < 0 {
		at = len(history)
	}
	return slices.Concat(history[:at], []Entry{registration(c)}, history[at:]), false
}

// short bounds what one entry holds.
func short(s string) string { return cut(s, 100) }

func cut(s string, most int) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), most)], ""))
}

// changed returns the names of what differs between two records: members of the metadata in order, then the rest. A
// member counts once in whatever languages it differs, so that nobody fills the memory or hides a name among others (T39).
func changed(before, after *dcr.Client) []string {
	was, is := &before.Metadata, &after.Metadata
	names := was.Differing(is)
	for i, name := range names {
		switch {
		case has(was.Localized, is.Localized, name):
			member, _, _ := strings.Cut(name, "#")
			names[i] = short(member)
		case has(was.Extensions, is.Extensions, name):
			names[i] = short(name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if string(before.SecretHash) != string(after.SecretHash) {
		names = append(names, "client_secret")
	}
	if !before.ExpiresAt.Equal(after.ExpiresAt) {
		names = append(names, "expires_at")
	}
	return slices.Clone(names) // without the room for the names that were left out
}

// has reports whether one of two maps has a name.
func has[V any](a, b map[string]V, name string) bool {
	_, inA := a[name]
	_, inB := b[name]
	return inA || inB
}

// members returns the members of the metadata, as JSON.
func members(client *dcr.Client) map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	if text, err := json.Marshal(client.Metadata); err == nil {
		_ = json.Unmarshal(text, &found)
	}
	return found
}
