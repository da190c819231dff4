package storagetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// listRows are about finding and counting clients. The clients of a row are those of an
// issuer that no other row has, registered in a time that no real client is of.
func listRows(o Options) []Row {
	rows := []Row{
		{Name: "list/order", Check: listing(listOrder),
			Why: "An operator looks for what was registered today, and finds what is old, or a list in disorder."},
		{Name: "list/limit", Check: listing(listLimit),
			Why: "A page holds all clients that there are, or an operator who pages stops before the end."},
		{Name: "list/nothing", Check: listing(listNothing),
			Why: "A quota or a consent page fails where nobody has registered yet."},
		{Name: "list/whole", Check: listing(listWhole),
			Why: "An operator judges a client by a record that is not what is registered."},
		{Name: "list/copied_out", Check: listing(listCopiedOut),
			Why: "What one request does to its copy of a client changes what is registered."},
		{Name: "list/all", Check: listing(listAll),
			Why: "An operator who asks for everything does not see everything: clients that have ended, or of another issuer."},
		{Name: "list/changes", Check: listing(listChanges),
			Why: "An operator sees clients that are gone, or does not see those that have come."},
		{Name: "count/most", Check: listing(countMost),
			Why: "A quota refuses too early or too late, or a count of millions holds up a registration."},
		{Name: "count/changes", Check: listing(countChanges),
			Why: "A quota stays used up by clients that are gone, or a consent page counts names that nobody has any more."},
		{Name: "context/list", Check: listing(contextList), Why: whyContext},
		{Name: "context/count", Check: listing(contextCount), Why: whyContext},
	}
	rows = append(rows, listFilterRows...)
	rows = append(rows, listPageRows...)
	for i := range rows {
		rows[i].Needs = needsList
	}
	return append(rows, Row{Name: "list/static", Needs: needsList + " and Options.AddStatic", Check: o.listStatic,
		Why: "A client of the operator's own counts as registered, and is offered for deletion."})
}

const needsList = "dcr.ClientLister"

// lister lists the clients of one row.
type lister struct {
	ctx     context.Context
	s       Storage
	clients dcr.ClientLister
	issuer  string
	start   time.Time // when the row's first client was registered
}

// listing makes a check of one that lists clients.
func listing(check func(l *lister) error) func(context.Context, Storage) error {
	return needing(func(ctx context.Context, s Storage, clients dcr.ClientLister) error {
		return check(&lister{ctx, s, clients, "https://" + newID() + ".example", randomTime()})
	})
}

// randomTime returns a whole second of the years from 2100 on.
func randomTime() time.Time {
	seconds, err := rand.Int(rand.Reader, big.NewInt(50*365*24*3600))
	if err != nil {
		panic(err)
	}
	return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds.Int64()) * time.Second)
}

// at returns the n-th second of the row.
func (l *lister) at(n int) time.Time { return l.start.Add(time.Duration(n) * time.Second) }

// create stores a client of the row, registered in its n-th second, that was never used
// and has no end, unless edit says otherwise.
func (l *lister) create(n int, edit func(*dcr.Client)) (*dcr.Client, error) {
	c := sample(label(n))
	c.Issuer, c.CreatedAt, c.UpdatedAt = l.issuer, l.at(n), l.at(n)
	c.LastUsedAt, c.KeepUntil, c.UnusedUntil, c.ExpiresAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if edit != nil {
		edit(c)
	}
	return created(l.ctx, l.s, c)
}

// series stores n clients, one each second, and returns them in the order of lists.
func (l *lister) series(n int) ([]*dcr.Client, error) {
	clients := make([]*dcr.Client, n)
	for i := range n {
		var err error
		if clients[n-1-i], err = l.create(i, nil); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// own is the filter for the clients of the row.
func (l *lister) own() dcr.ClientFilter { return dcr.ClientFilter{Issuer: l.issuer} }

// list returns what ListClients does, unless that is an error or makes no sense.
func (l *lister) list(filter dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
	found, err := l.clients.ListClients(l.ctx, filter, from, limit)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ListClients: %w", err)
	case slices.Contains(found, nil):
		return nil, errors.New("ListClients returned a record that is nil")
	}
	return found, nil
}

// lists checks which clients a page has.
func (l *lister) lists(filter dcr.ClientFilter, from dcr.ClientCursor, limit int, want []*dcr.Client) error {
	found, err := l.list(filter, from, limit)
	if err != nil {
		return err
	}
	if got, want := listed(found), listed(want); !slices.Equal(got, want) {
		return fmt.Errorf("ListClients of %+v from %+v, up to %d: %q, not %q", filter, from, limit, got, want)
	}
	return nil
}

// counts checks what CountClients returns.
func (l *lister) counts(filter dcr.ClientFilter, most, want int) error {
	got, err := l.clients.CountClients(l.ctx, filter, most)
	if err != nil {
		return fmt.Errorf("CountClients: %w", err)
	}
	if got != want {
		return fmt.Errorf("CountClients of %+v, up to %d: %d, not %d", filter, most, got, want)
	}
	return nil
}

func listed(clients []*dcr.Client) []string {
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = c.ID
	}
	return ids
}

// behind returns the place behind a client.
func behind(c *dcr.Client) dcr.ClientCursor {
	return dcr.ClientCursor{CreatedAt: c.CreatedAt, ID: c.ID}
}

// inOrder sorts clients as a list has them.
func inOrder(clients []*dcr.Client) {
	slices.SortFunc(clients, func(a, b *dcr.Client) int {
		if order := b.CreatedAt.Compare(a.CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(b.ID, a.ID)
	})
}

// muddle stores clients of which several were registered at one time, in another order
// than that of their identifiers, changes and uses; it returns them in the order of lists.
func (l *lister) muddle() ([]*dcr.Client, error) {
	var clients []*dcr.Client
	beginning := newID()
	for i, end := range []string{"a", "B", "-", "10", "9", "_", "b", "é", "ab", "A", "Z"} {
		c, err := l.create(i, func(c *dcr.Client) {
			c.ID = beginning + end
			c.CreatedAt = l.at(i * 5 % 11 / 4)
			c.UpdatedAt = l.at(100 + i*7%11)
		})
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	inOrder(clients)
	return clients, nil
}

func listOrder(l *lister) error {
	clients, err := l.muddle()
	if err != nil {
		return err
	}
	return l.lists(l.own(), dcr.ClientCursor{}, 100, clients)
}

func listLimit(l *lister) error {
	clients, err := l.series(4)
	if err != nil {
		return err
	}
	for limit := range 6 {
		if err := l.lists(l.own(), dcr.ClientCursor{}, limit, clients[:min(limit, 4)]); err != nil {
			return err
		}
	}
	return nil
}

func listNothing(l *lister) error {
	if err := l.lists(l.own(), dcr.ClientCursor{}, 10, nil); err != nil {
		return err
	}
	return l.counts(l.own(), 10, 0)
}

func listWhole(l *lister) error {
	c, err := created(l.ctx, l.s, sample("first"))
	if err != nil {
		return err
	}
	if err := l.shows(c); err != nil { // so that a cache has it
		return err
	}
	next := successor(c, "second")
	if err := l.s.UpdateClient(l.ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	return l.shows(next)
}

// shows checks that the list has the record, as it is.
func (l *lister) shows(want *dcr.Client) error {
	found, err := l.list(dcr.ClientFilter{Search: want.ID}, dcr.ClientCursor{}, 10)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("ListClients of one identifier: %d records", len(found))
	}
	return same("ListClients", found[0], want)
}

func listCopiedOut(l *lister) error {
	c, err := created(l.ctx, l.s, sample("first"))
	if err != nil {
		return err
	}
	found, err := l.list(dcr.ClientFilter{Search: c.ID}, dcr.ClientCursor{}, 1)
	if err != nil {
		return err
	}
	for _, record := range found {
		spoil(record)
	}
	if err := holds(l.ctx, l.s, c); err != nil {
		return err
	}
	return l.shows(c)
}

// listAll: without a filter the row's clients come one after the other, since no client
// was registered at that time but these.
func listAll(l *lister) error {
	var clients []*dcr.Client
	for i, edit := range []func(*dcr.Client){
		nil,
		func(c *dcr.Client) { c.Issuer = "https://another.example" },
		func(c *dcr.Client) { c.Issuer, c.Metadata.ClientName = "", "" },
		func(c *dcr.Client) { c.ExpiresAt = l.at(-1000) },
		func(c *dcr.Client) { c.ExpiresAt = time.Now().Add(-time.Hour) },
		func(c *dcr.Client) { c.LastUsedAt, c.UnusedUntil = l.at(1), l.at(0) },
	} {
		c, err := l.create(i, edit)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	inOrder(clients)
	from := dcr.ClientCursor{CreatedAt: l.at(len(clients)), ID: "~"}
	if err := l.lists(dcr.ClientFilter{}, from, len(clients), clients); err != nil {
		return err
	}
	return l.counts(dcr.ClientFilter{}, len(clients), len(clients))
}

func (o Options) listStatic(ctx context.Context, s Storage) error {
	return listing(func(l *lister) error {
		return o.checkStatic(l.ctx, l.s, func(_ context.Context, _ Storage, id string) error {
			if err := l.counts(dcr.ClientFilter{Search: id}, 10, 0); err != nil {
				return fmt.Errorf("a client of the operator's own: %w", err)
			}
			return l.walk(dcr.ClientFilter{}, 1000, func(c *dcr.Client) error {
				if c.ID == id {
					return errors.New("ListClients returned a client of the operator's own")
				}
				return nil
			})
		})
	})(ctx, s)
}

func contextList(l *lister) error {
	return ended(l.ctx, func(over context.Context) error {
		_, err := l.clients.ListClients(over, l.own(), dcr.ClientCursor{}, 10)
		return expectEnd("ListClients", over, err)
	})
}

func contextCount(l *lister) error {
	return ended(l.ctx, func(over context.Context) error {
		for _, filter := range []dcr.ClientFilter{l.own(), {Issuer: l.issuer, Subject: "somebody"}} {
			_, err := l.clients.CountClients(over, filter, 10)
			if err := expectEnd("CountClients", over, err); err != nil {
				return err
			}
		}
		return nil
	})
}
