package admin

import (
	"container/list"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Entry is one thing that happened. It holds no secret, and no record of a client.
type Entry struct {
	Time time.Time     `json:"time"`
	Kind dcr.EventKind `json:"kind"`
	// Issuer is that of the client, where known.
	Issuer   string `json:"-"`
	ClientID string `json:"client_id,omitempty"`
	// InitialAccessToken is the identifier of one, where it is about that.
	InitialAccessToken string `json:"initial_access_token,omitempty"`
	// Address is the caller's, where known.
	Address string `json:"address,omitempty"`
	// Subject is the user who registers or registered the client, where known.
	Subject string `json:"subject,omitempty"`
	// Operator is who did it, where it was not the client.
	Operator string `json:"operator,omitempty"`
	// Reason is the error code of a refusal, and Description its text, which was answered
	// too and names the member of the metadata that is at fault.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
	// Changed names what an update changed: members of the metadata, "client_secret", and
	// "end" for the time at which the client ends.
	Changed []string `json:"changed,omitempty"`
}

// Events is what the pages read of the past. A host with a database brings its own, which
// it fills by a dcr.EventSink. It must be safe for many goroutines.
//
// The context is that of the request, so that a host with several issuers can tell which
// one it is for: what has no client belongs to all of them otherwise.
type Events interface {
	// ClientEvents returns what happened to one client, the oldest first; nothing and no
	// error for a client of which nothing is known.
	ClientEvents(ctx context.Context, clientID string) ([]Entry, error)
	// OtherEvents returns up to limit entries of what happened without a client that has
	// a history, refusals and initial access tokens above all, the latest first.
	OtherEvents(ctx context.Context, limit int) ([]Entry, error)
}

// HistoryOptions bounds what a History keeps.
type HistoryOptions struct {
	// Clients is how many clients have a history; default 5000. The one to which nothing
	// has happened for longest is forgotten first; that a client has expired keeps none
	// from being forgotten, and gives none a history.
	Clients int
	// EventsPerClient is how many entries one client has; default 40. What strangers can
	// cause at will, such as failures, takes up no more than half of them, so that it pushes
	// out nothing else.
	EventsPerClient int
	// Others is how many entries without a client are kept; default 200. Refusals take up
	// no more than half of them, so that strangers do not push out what operators did.
	Others int
}

// History keeps the latest events in memory, within its bounds. It is a dcr.EventSink and
// Events: a host names it in Config.Events, beside others by dcr.EventSinks, and in
// Options.History. A client to which little happens takes half a kilobyte, and all that
// the default bounds allow 70 MB, where texts are as long as usual.
type History struct {
	options HistoryOptions

	mu      sync.Mutex
	clients map[string]*list.Element // of *past
	order   *list.List               // the client of the latest event is in front
	others  []Entry                  // the oldest first
}

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
	return &History{options: options, clients: map[string]*list.Element{}, order: list.New()}
}

// Record notes an event.
func (h *History) Record(_ context.Context, e dcr.Event) {
	entry := newEntry(e)
	h.mu.Lock()
	defer h.mu.Unlock()
	element, known := h.clients[entry.ClientID]
	switch {
	case entry.ClientID == "" || !known && entry.ofStrangers():
		// A failure makes no client known: identifiers that are URLs cost nothing.
		h.others = added(h.others, entry, h.options.Others, func([]Entry) int { return 0 })
		return
	case !known && e.Kind == dcr.EventExpired:
		// A sweep of many that are dead and forgotten pushes out nothing of the living.
		return
	case !known:
		if h.order.Len() >= h.options.Clients {
			oldest := h.order.Back()
			delete(h.clients, h.order.Remove(oldest).(*past).id)
		}
		element = h.order.PushFront(&past{id: entry.ClientID})
		h.clients[entry.ClientID] = element
	}
	if e.Kind != dcr.EventExpired {
		h.order.MoveToFront(element)
	}
	element.Value.(*past).add(entry, h.options.EventsPerClient)
}

func (p *past) add(entry Entry, most int) {
	if entry.Issuer == "" {
		entry.Issuer = p.issuer
	}
	p.issuer = entry.Issuer
	p.entries = added(p.entries, entry, most, leastNotable)
}

// added adds an entry, and drops the oldest one where there are too many: of the minor
// ones where these are half.
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

// leastNotable is the oldest entry that tells neither how the client came to be, nor who may
// act as it or where its users are sent, nor what an operator did: whoever has stolen a
// registration access token must not be able to push those out. Where there is none, it is
// one from the middle, so that how it began and how it is now both stay.
func leastNotable(entries []Entry) int {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return !e.notable() }); i >= 0 {
		return i
	}
	middle := len(entries) / 2
	return middle + max(0, slices.IndexFunc(entries[middle:], func(e Entry) bool { return e.Operator == "" }))
}

func (e Entry) notable() bool {
	return e.Kind == dcr.EventRegistered || e.Operator != "" || slices.ContainsFunc(e.Changed, func(member string) bool {
		return slices.Contains([]string{"redirect_uris", "token_endpoint_auth_method", "jwks", "jwks_uri"}, member)
	})
}

// ofStrangers reports whether anybody can cause such an entry as often as they like.
func (e Entry) ofStrangers() bool { return e.Reason != "" || e.Kind == dcr.EventShared }

// minor reports whether an entry is one of strangers, or of a client that changes nothing.
func (e Entry) minor() bool {
	idle := e.Operator == "" && (e.Kind == dcr.EventTokenRotated || e.Kind == dcr.EventUpdated && len(e.Changed) == 0)
	return e.ofStrangers() || idle
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

// ClientEvents returns what happened to one client, the oldest first.
func (h *History) ClientEvents(_ context.Context, clientID string) ([]Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	element, known := h.clients[clientID]
	if !known {
		return nil, nil
	}
	return slices.Clone(element.Value.(*past).entries), nil
}

// OtherEvents returns what happened without a known client, the latest first. Where limit
// leaves some out, refusals leave half of it to what operators did.
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

// newEntry takes over what is plain and small.
func newEntry(e dcr.Event) Entry {
	entry := Entry{
		Time: e.Time, Kind: e.Kind, ClientID: strings.Clone(e.ClientID), InitialAccessToken: short(e.InitialAccessToken),
		Operator: short(e.Operator),
	}
	if e.Err != nil {
		answer := fosite.ErrorToRFC6749Error(e.Err)
		entry.Reason, entry.Description = short(answer.ErrorField), cut(strings.TrimSpace(answer.DescriptionField+" "+answer.HintField), 300)
	}
	if e.Registrant != nil {
		entry.Subject = cut(e.Registrant.Subject, 200)
	}
	if e.Address.IsValid() {
		entry.Address = e.Address.String()
	}
	for _, client := range []*dcr.Client{e.Before, e.After} {
		if client != nil {
			entry.Issuer = client.Issuer
		}
	}
	if e.Kind == dcr.EventUpdated && e.Before != nil && e.After != nil {
		entry.Changed = changed(e.Before, e.After)
	}
	return entry
}

// short bounds what one entry holds.
func short(s string) string { return cut(s, 100) }

func cut(s string, most int) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), most)], ""))
}

// changed names what differs between two records, in order.
func changed(before, after *dcr.Client) []string {
	was, is := members(before), members(after)
	both := maps.Clone(was)
	maps.Copy(both, is)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(both)) {
		if string(was[name]) != string(is[name]) {
			names = append(names, short(name))
		}
	}
	if string(before.SecretHash) != string(after.SecretHash) {
		names = append(names, "client_secret")
	}
	if !before.ExpiresAt.Equal(after.ExpiresAt) {
		names = append(names, "end")
	}
	return names[:min(len(names), 40)]
}

// members are those of the metadata, as JSON.
func members(client *dcr.Client) map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	if text, err := json.Marshal(client.Metadata); err == nil {
		_ = json.Unmarshal(text, &found)
	}
	return found
}
