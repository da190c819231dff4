package storagetest

import (
	"fmt"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// bound is how many clients the storages of these rows have room for, and as many as half of
// those who call at once.
const bound = callers / 2

// bounded makes a check of one that gets an empty storage with a bound.
func (o Options) bounded(do func(b *bench) error) check {
	return on(func(b *bench) error {
		if o.Bounded == nil {
			return notSet("Bounded")
		}
		s, err := o.Bounded(b.ctx, b.s, bound)
		if err != nil {
			return fmt.Errorf("the option Bounded: %w", err)
		}
		return do(&bench{b.ctx, s})
	})
}

const saysFull = "CreateClient of a storage that is full returns an error that wraps dcr.ErrFull, and stores nothing."

// fullRows are about a storage that has a bound and has reached it.
func fullRows(o Options) []Row {
	full := func(do func(b *bench, clients []*dcr.Client) error) check {
		return o.bounded(func(b *bench) error {
			clients, err := b.fill(bound, nil)
			if err != nil {
				return err
			}
			return do(b, clients)
		})
	}
	return based("Options.Bounded", "create/read_back", []Row{
		{Name: "full/create", Check: full(fullCreate), Says: saysFull,
			Why: "A registration at the bound is answered as a failure of the server, and no old client is evicted for it."},
		{Name: "full/exists", Check: full(fullExists), Says: saysExists,
			Why: "A registration that could share a client, or has to choose another identifier, evicts an unknown user's client."},
		{Name: "full/again", Check: full(fullAgain), Says: saysFull + " A client that is removed makes room for another.",
			Why: "A storage that was full once refuses clients although others have gone."},
	})
}

// fill stores n clients.
func (b *bench) fill(n int, edit func(*dcr.Client)) ([]*dcr.Client, error) {
	clients := make([]*dcr.Client, n)
	for i := range clients {
		clients[i] = resting(edit)
	}
	return clients, b.addAll(clients)
}

// refuses checks that there is no room for a client, and that nothing is left of it.
func (b *bench) refuses() error {
	c := sample("first")
	if err := expect("CreateClient where there is no room", b.s.CreateClient(b.ctx, c), dcr.ErrFull); err != nil {
		return err
	}
	return b.gone(c.ID)
}

func fullCreate(b *bench, clients []*dcr.Client) error {
	for range 2 {
		if err := b.refuses(); err != nil {
			return err
		}
	}
	return b.allHold(clients...)
}

func fullExists(b *bench, clients []*dcr.Client) error {
	again := sample("second")
	again.ID = clients[1].ID
	return expect("CreateClient with an identifier that is taken, where there is no room", b.s.CreateClient(b.ctx, again), dcr.ErrClientExists)
}

func fullAgain(b *bench, clients []*dcr.Client) error {
	if err := b.refuses(); err != nil {
		return err
	}
	if err := b.delete(clients[0].ID); err != nil {
		return err
	}
	if err := expect("DeleteClient of a deleted client", b.s.DeleteClient(b.ctx, clients[0].ID), fosite.ErrNotFound); err != nil {
		return err
	}
	c, err := b.add(sample("first"))
	if err != nil {
		return fmt.Errorf("where a client was deleted: %w", err)
	}
	if err := b.refuses(); err != nil {
		return err
	}
	return b.holds(c)
}
