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

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysOrder = "ListClients returns the client that was registered last first, and of those registered at one time the one with the greater identifier, byte by byte."
	saysLimit = "ListClients returns up to limit clients; fewer than limit means that there are no more."
	saysCount = "CountClients returns how many registered clients fit, and most where there are more."
	saysOnce  = "A client that is there all the while is listed once, whatever is registered, changed or deleted between two calls."
	needsList = "dcr.ClientLister"
)

// listRows are about finding and counting clients. The clients of a row are those of an
// issuer that no other row has, registered in a time that no real client is of.
func listRows(o Options) []Row {
	return []Row{
		{Name: "list/plain", Check: listing(listPlain), Says: "ListClients and CountClients return the registered clients that fit, and their number.",
			Why: "No operator sees any client, and no quota holds."},
		{Name: "list/order", Check: listing(listOrder), Says: saysOrder,
			Why: "An operator looks for what was registered today, and finds what is old, or a list in disorder."},
		{Name: "list/limit", Check: listing(listLimit), Says: saysLimit,
			Why: "A page holds all clients that there are, or an operator who pages stops before the end."},
		{Name: "list/nothing", Check: listing(listNothing), Says: "Where no client fits, there is no error: the list is empty and the number is 0.",
			Why: "A quota or a consent page fails where nobody has registered yet."},
		{Name: "list/whole", Check: listing(listWhole), Says: saysLossless,
			Why: "An operator judges a client by a record that is not what is registered."},
		{Name: "list/copied_out", Check: listing(listCopiedOut), Says: saysCopied,
			Why: "What one request does to its copy of a client changes what is registered."},
		{Name: "list/all", Check: listing(listAll), Says: "A filter without fields fits every registered client, one that has expired as well.",
			Why: "An operator who asks for everything does not see everything: clients that have expired, or of another issuer."},
		{Name: "list/changes", Check: listing(listChanges), Says: "A record that was written is seen by every read that starts afterwards.",
			Why: "An operator sees clients that are gone, or does not see those that have come."},
		{Name: "count/most", Check: listing(countMost), Says: saysCount,
			Why: "A quota refuses too early or too late, or a count of millions holds up a registration."},
		{Name: "count/changes", Check: listing(countChanges), Says: saysCount,
			Why: "A quota stays used up by clients that are gone, or a consent page counts names that nobody has any more."},
		{Name: "context/list", Check: listing(contextList), Says: saysContext, Why: whyContext},
		{Name: "context/count", Check: listing(contextCount), Says: saysContext, Why: whyContext},
		{Name: "list/static", Needs: needsList + " and Options.AddStatic", Check: listing(func(l *lister) error { return o.onStatic(&l.bench, l.static) }),
			Says: "ListClients and CountClients know registered clients only.",
			Why:  "A static client counts as registered, and is offered for deletion."},
	}
}

// lister lists the clients of one row.
type lister struct {
	bench
	clients dcr.ClientLister
	issuer  string
	start   time.Time // when the row's first client was registered
}

// listing makes a check of one that lists clients.
func listing(do func(l *lister) error) check {
	return needing(func(b *bench, clients dcr.ClientLister) error {
		return do(&lister{*b, clients, "https://" + newID() + ".example", randomTime()})
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
	endless(c)
	if edit != nil {
		edit(c)
	}
	return l.add(c)
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
		return fmt.Errorf("ListClients with the filter %+v from the cursor %+v, up to %d: it returned %q, and has to return %q", filter, from, limit, got, want)
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
		return fmt.Errorf("CountClients with the filter %+v, up to %d: it returned %d, and has to return %d", filter, most, got, want)
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

func listPlain(l *lister) error {
	clients, err := l.series(1)
	if err != nil {
		return err
	}
	if err := l.lists(l.own(), dcr.ClientCursor{}, 10, clients); err != nil {
		return err
	}
	return l.counts(l.own(), 10, 1)
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
	c, err := l.add(sample("first"))
	if err != nil {
		return err
	}
	if err := l.shows(c); err != nil { // so that a cache has it
		return err
	}
	next := successor(c, "second")
	if err := l.update(next); err != nil {
		return err
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
		return fmt.Errorf("ListClients with the identifier %q as Search: %d records, and there has to be one", want.ID, len(found))
	}
	return same("ListClients", found[0], want)
}

func listCopiedOut(l *lister) error {
	c, err := l.add(sample("first"))
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
	if err := l.holds(c); err != nil {
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

func (l *lister) static(_ *bench, id string) error {
	if err := l.counts(dcr.ClientFilter{Search: id}, 10, 0); err != nil {
		return fmt.Errorf("of a static client: %w", err)
	}
	return l.walk(dcr.ClientFilter{}, 1000, func(c *dcr.Client) error {
		if c.ID == id {
			return fmt.Errorf("ListClients returned a static client: %s", shown(c))
		}
		return nil
	})
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

func countMost(l *lister) error {
	if _, err := l.series(3); err != nil {
		return err
	}
	for most := range 6 {
		if err := l.counts(l.own(), most, min(most, 3)); err != nil {
			return err
		}
	}
	return nil
}

// listChanges: the list is that of the clients which are there, at each time.
func listChanges(l *lister) error {
	steps, err := l.life(nil)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		found, err := l.list(l.own(), dcr.ClientCursor{}, 10)
		if err != nil {
			return err
		}
		if len(found) != step.left {
			return fmt.Errorf("ListClients after %s: %d clients, and there have to be %d: %q", step.name, len(found), step.left, listed(found))
		}
	}
	return nil
}

// countChanges counts by each value that a storage may keep a number of.
func countChanges(l *lister) error {
	filters := []dcr.ClientFilter{
		l.own(),
		{Issuer: l.issuer, Subject: "alice"},
		{Issuer: l.issuer, InitialAccessToken: "poster"},
		{Issuer: l.issuer, NameKey: "some editor"},
		{Issuer: l.issuer, Subject: "alice", NameKey: "some editor"},
	}
	steps, err := l.life(func(c *dcr.Client) {
		c.Origin.Subject, c.Origin.InitialAccessToken, c.Metadata.ClientName = "alice", "poster", "Some Editor"
	})
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		for _, filter := range filters {
			if err := l.counts(filter, 10, step.left); err != nil {
				return fmt.Errorf("after %s: %w", step.name, err)
			}
		}
	}
	return l.renamed()
}

// renamed: a client that gets another name counts under that one.
func (l *lister) renamed() error {
	c, err := l.create(20, func(c *dcr.Client) { c.Metadata.ClientName = "Before" })
	if err != nil {
		return err
	}
	c.Version++
	c.Metadata.ClientName = "After"
	if err := l.update(c); err != nil {
		return err
	}
	if err := l.counts(dcr.ClientFilter{Issuer: l.issuer, NameKey: "before"}, 10, 0); err != nil {
		return err
	}
	return l.counts(dcr.ClientFilter{Issuer: l.issuer, NameKey: "after"}, 10, 1)
}

// change is one step in the life of the row's clients.
type change struct {
	name string
	do   func() error
	left int // clients of the row that there are afterwards
}

// life takes clients through all that changes a list or a number. Where the storage lacks
// an optional interface, its step is left out.
func (l *lister) life(edit func(*dcr.Client)) ([]change, error) {
	c, err := l.create(0, edit)
	if err != nil {
		return nil, err
	}
	var second *dcr.Client
	steps := []change{
		{"CreateClient", func() (err error) { second, err = l.create(1, edit); return err }, 2},
		{"CreateClient that fails", func() error {
			return expect("CreateClient with an identifier that is taken", l.s.CreateClient(l.ctx, detached(c)), dcr.ErrClientExists)
		}, 2},
		{"UpdateClient", func() error {
			c.Version++
			return l.update(detached(c))
		}, 2},
		{"UpdateClient that fails", func() error {
			return expect("UpdateClient of an old version", l.s.UpdateClient(l.ctx, detached(c), c.Version-1), dcr.ErrConflict)
		}, 2},
	}
	if uses, ok := l.s.(dcr.UseRecorder); ok {
		steps = append(steps, change{"TouchClient", func() error { return l.touch(uses, c.ID, l.at(5), l.at(5)) }, 2})
	}
	steps = append(steps, change{"DeleteClient", func() error { return l.delete(second.ID) }, 1},
		change{"DeleteClient that fails", func() error {
			return expect("DeleteClient of a deleted client", l.s.DeleteClient(l.ctx, second.ID), fosite.ErrNotFound)
		}, 1})
	expired, ok := l.s.(dcr.ExpiredDeleter)
	if !ok {
		return steps, nil
	}
	return append(steps, change{"UpdateClient that lets a client expire", func() error {
		c.Version++
		c.ExpiresAt = dayBefore
		return l.update(detached(c))
	}, 1}, change{"DeleteExpiredClients", func() error { return l.sweepOne(expired, c.ID) }, 0}), nil
}

// sweepOne removes what has expired in the year 2000, until the client is gone.
func (l *lister) sweepOne(d dcr.ExpiredDeleter, id string) error {
	for {
		removed, err := l.sweep(d, sweepAll, 1000)
		if err != nil || len(removed) < 1000 || slices.Contains(listed(removed), id) {
			return err
		}
	}
}
