package dcr

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ClientFilter says which registered clients are meant: those that fit every field that is
// not zero.
type ClientFilter struct {
	// Issuer is the issuer under which the client was registered. The methods of Provider
	// set it.
	Issuer string
	// Kind, Subject and InitialAccessToken are those of Client.Origin.
	Kind               string
	Subject            string
	InitialAccessToken string
	// NeverUsed means clients that never got a token.
	NeverUsed bool
	// ExpiringBefore means clients that end before this time, unless they are used or
	// changed: ExpiresAt, or UnusedUntil of a client that was never used.
	ExpiringBefore time.Time
	// SoftwareID is the software_id.
	SoftwareID string
	// RedirectHost is the host of a redirect URI, without a port, in lower case.
	RedirectHost string
	// NameKey is that of the client (Client.NameKey).
	NameKey string
	// Search is part of the NameKey, or all of the identifier.
	Search string
	// CreatedFrom and CreatedBefore bound the time of registration.
	CreatedFrom, CreatedBefore time.Time
}

// Matches reports whether a client fits. It says what a storage has to do by other means.
func (f *ClientFilter) Matches(c *Client) bool {
	is := func(wanted, value string) bool { return wanted == "" || wanted == value }
	switch {
	case !is(f.Issuer, c.Issuer), !is(f.Kind, c.Origin.Kind), !is(f.Subject, c.Origin.Subject),
		!is(f.InitialAccessToken, c.Origin.InitialAccessToken), !is(f.SoftwareID, c.Metadata.SoftwareID):
		return false
	case f.NeverUsed && !c.LastUsedAt.IsZero():
		return false
	case !f.CreatedFrom.IsZero() && c.CreatedAt.Before(f.CreatedFrom),
		!f.CreatedBefore.IsZero() && !c.CreatedAt.Before(f.CreatedBefore):
		return false
	case !f.ExpiringBefore.IsZero() && !c.endsBefore(f.ExpiringBefore):
		return false
	case f.RedirectHost != "" && !slices.Contains(c.RedirectHosts(), f.RedirectHost):
		return false
	case f.NameKey != "" && f.NameKey != c.NameKey():
		return false
	}
	part := NameKey(f.Search)
	return f.Search == "" || f.Search == c.ID || part != "" && strings.Contains(c.NameKey(), part)
}

func (c *Client) endsBefore(t time.Time) bool {
	before := func(end time.Time) bool { return !end.IsZero() && end.Before(t) }
	return before(c.ExpiresAt) || c.LastUsedAt.IsZero() && before(c.UnusedUntil)
}

// NameKey is the NameKey of the client's name without a language tag.
func (c *Client) NameKey() string { return NameKey(c.Metadata.ClientName) }

// NameKey returns what names have in common that people take for one another, for
// storages to search and count by: case, width, repeated spaces and what can't be seen do
// not count.
func NameKey(name string) string {
	key := nameKey(name)
	for range 4 { // it has to be the key of itself, and NFKC makes spaces and marks, which oneLine drops
		next := nameKey(key)
		if next == key {
			break
		}
		key = next
	}
	return key
}

func nameKey(name string) string {
	if !isASCII(name) || len(name) > longestName || strings.ContainsFunc(name, unicode.IsControl) {
		unseen := func(c rune) bool { return isJoiner(c) || unicode.Is(unicode.Variation_Selector, c) }
		name = norm.NFKC.String(strings.Map(func(c rune) rune {
			if unseen(c) {
				return -1
			}
			return c
		}, oneLine(name)))
		name = cases.Fold().String(name)
	}
	return strings.Join(strings.Fields(strings.ToLower(name)), " ")
}

// ClientCursor is a place in a list of clients: behind the client that was registered
// then, under that identifier. The zero one is the beginning.
type ClientCursor struct {
	CreatedAt time.Time
	ID        string
}

func (c ClientCursor) isZero() bool { return c.ID == "" }

// ClientLister is an optional interface of a ClientStorage: it finds clients for
// operators, and counts them for quotas and consent pages.
type ClientLister interface {
	// ListClients returns up to limit of the registered clients that fit, from the cursor
	// on: the one that was registered last comes first, and of those registered at one
	// time the one with the greater identifier, byte by byte. Fewer than limit means that
	// there are no more. A client that is there all the while is listed once, whatever is
	// registered, changed or deleted between two calls: a storage whose column is coarser than
	// the times of the records that it returns cuts the cursor, and the times of the filter,
	// in the same way.
	ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error)

	// CountClients returns how many registered clients fit, and most where there are more.
	CountClients(ctx context.Context, filter ClientFilter, most int) (int, error)
}

var (
	errNoList    = fmt.Errorf("%w: it does not implement ClientLister", ErrNotSupported)
	errBadCursor = fmt.Errorf("%w: the cursor is none that this server has made", ErrBadArgument)
)

// ClientPage is a part of a list of clients.
type ClientPage struct {
	Clients []*Client
	// Next is the cursor of the part that follows; empty where this is the last.
	Next string
}

// LogValue shows how many clients there are: as JSON they would show their hashes.
func (p ClientPage) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("dcr.ClientPage(%d clients)", len(p.Clients)))
}

const (
	defaultPage = 50
	largestPage = 1000
)

func pageLimit(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, largestPage)
}

// ListClients returns the clients of the issuer that fit, those registered last first, up
// to limit of them, from a cursor that an earlier page returned on; an empty one means from
// the beginning, and a limit of 0 means 50, at most 1000. Clients that have ended are
// listed until they are swept. The list is for operators: it names users and addresses of
// clients.
func (p *Provider) ListClients(ctx context.Context, filter ClientFilter, cursor string, limit int) (*ClientPage, error) {
	r := p.registry
	from, err := readCursor(cursor)
	if err != nil {
		return nil, err
	}
	if filter, err = r.ownFilter(ctx, filter); err != nil {
		return nil, err
	}
	limit = pageLimit(limit)
	clients, err := r.list.ListClients(ctx, filter, from, limit+1)
	if err != nil {
		return nil, err
	}
	page := &ClientPage{Clients: clients}
	if len(clients) > limit {
		page.Clients = clients[:limit]
		last := clients[limit-1]
		page.Next = ClientCursor{last.CreatedAt, last.ID}.text()
	}
	return page, nil
}

// CountClients returns how many clients of the issuer fit, and most where there are more.
func (p *Provider) CountClients(ctx context.Context, filter ClientFilter, most int) (int, error) {
	filter, err := p.registry.ownFilter(ctx, filter)
	if err != nil {
		return 0, err
	}
	return p.registry.list.CountClients(ctx, filter, max(most, 0))
}

// ownFilter is a filter for clients of the issuer, with values in the form that they are
// compared in.
func (r *registry) ownFilter(ctx context.Context, filter ClientFilter) (ClientFilter, error) {
	issuer, err := r.issuer(ctx)
	if err == nil && r.list == nil {
		err = errNoList
	}
	filter.Issuer = issuer
	filter.NameKey, filter.RedirectHost = NameKey(filter.NameKey), strings.ToLower(filter.RedirectHost)
	return filter, err
}

// cursorTime is how many bytes of a cursor are its time.
const cursorTime = 8 + 4

func (c ClientCursor) text() string {
	// Seconds and nanoseconds apart: together they do not reach the zero time.
	place := binary.BigEndian.AppendUint64(nil, uint64(c.CreatedAt.Unix()))
	place = binary.BigEndian.AppendUint32(place, uint32(c.CreatedAt.Nanosecond()))
	return base64.RawURLEncoding.EncodeToString(append(place, c.ID...))
}

func readCursor(text string) (ClientCursor, error) {
	if text == "" {
		return ClientCursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) <= cursorTime || len(raw) > cursorTime+256 {
		return ClientCursor{}, errBadCursor
	}
	seconds, nanoseconds, id := int64(binary.BigEndian.Uint64(raw)), binary.BigEndian.Uint32(raw[8:]), string(raw[cursorTime:])
	if nanoseconds >= 1e9 || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return ClientCursor{}, errBadCursor
	}
	return ClientCursor{time.Unix(seconds, int64(nanoseconds)), id}, nil
}

// Follows reports whether a client comes after the cursor in the order of ListClients.
func (c ClientCursor) Follows(client *Client) bool {
	if c.isZero() {
		return true
	}
	if order := client.CreatedAt.Compare(c.CreatedAt); order != 0 {
		return order < 0
	}
	return client.ID < c.ID
}
