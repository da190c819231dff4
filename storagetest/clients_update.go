package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysReplaces = "UpdateClient replaces the record if the stored one has the given version."
	saysNoCreate = "UpdateClient returns fosite.ErrNotFound where GetDynamicClient would: an update never creates a record."
	saysOneWins  = "Of several calls at once exactly one succeeds."
)

var updateRows = based("", "create/read_back", []Row{
	{Name: "update/replaces", Check: onClient(updateReplaces), Says: saysReplaces,
		Why: "A client is answered that its registration was changed, and it was not, or in part."},
	{Name: "update/conflict", Check: onClient(updateConflict),
		Says: "UpdateClient returns dcr.ErrConflict where the stored record has another version, a later or an earlier one.",
		Why:  "Of two updates the earlier one is undone by the later one, unseen; a token that was rotated works again."},
	{Name: "update/unknown", Check: on(updateUnknown), Says: saysNoCreate,
		Why: "An update makes a client out of nothing."},
	{Name: "update/deleted", Check: onClient(updateDeleted), Says: saysNoCreate,
		Why: "A client that was deleted comes back, with its secret and its tokens."},
	{Name: "update/copied_in", Check: onClient(updateCopiedIn), Says: saysCopied,
		Why: "What the server does to its own copy afterwards changes what is registered."},
	{Name: "update/keeps_use", Check: onClient(updateKeepsUse),
		Says: "UpdateClient keeps LastUsedAt and KeepUntil of the stored record where they are later than those of the new one.",
		Why:  "A client that is used looks unused after an update, and is taken for dead."},
	{Name: "update/others_stay", Check: onTwo(updateOthersStay), Says: "UpdateClient replaces the record of one client.",
		Why: "One client's update changes another."},
})

func updateReplaces(b *bench, c *dcr.Client) error {
	if err := b.holds(c); err != nil { // so that a cache has it
		return err
	}
	next := successor(c, "second")
	if err := b.update(next); err != nil {
		return err
	}
	return b.holds(next)
}

func updateConflict(b *bench, c *dcr.Client) error {
	next := successor(c, "second")
	if err := b.update(next); err != nil {
		return err
	}
	for _, version := range []int64{c.Version, next.Version + 1, 0} {
		lost := successor(next, "third, which loses")
		lost.Version = version + 1
		done := fmt.Sprintf("UpdateClient with version %d of a record of version %d", version, next.Version)
		if err := expect(done, b.s.UpdateClient(b.ctx, lost, version), dcr.ErrConflict); err != nil {
			return err
		}
	}
	return b.holds(next)
}

func updateUnknown(b *bench) error {
	c := sample("first")
	for version := range int64(2) {
		c.Version = version + 1
		if err := expect("UpdateClient of an unknown client", b.s.UpdateClient(b.ctx, c, version), fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return b.gone(c.ID)
}

func updateDeleted(b *bench, c *dcr.Client) error {
	if err := b.delete(c.ID); err != nil {
		return err
	}
	err := b.s.UpdateClient(b.ctx, successor(c, "second"), c.Version)
	if err := expect("UpdateClient of a deleted client", err, fosite.ErrNotFound); err != nil {
		return err
	}
	return b.gone(c.ID)
}

func updateCopiedIn(b *bench, c *dcr.Client) error {
	next := successor(c, "second")
	kept := detached(next)
	if err := b.update(next); err != nil {
		return err
	}
	spoil(next)
	return b.holds(kept)
}

func updateKeepsUse(b *bench, c *dcr.Client) error {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		next := successor(c, "second")
		next.LastUsedAt, next.KeepUntil = c.LastUsedAt.Add(by), c.KeepUntil.Add(-by)
		if err := b.update(next); err != nil {
			return err
		}
		next.LastUsedAt, next.KeepUntil = later(next.LastUsedAt, c.LastUsedAt), later(next.KeepUntil, c.KeepUntil)
		if err := b.holds(next); err != nil {
			return err
		}
		c = next
	}
	return nil
}

func updateOthersStay(b *bench, c, other *dcr.Client) error {
	if err := b.update(successor(c, "third")); err != nil {
		return err
	}
	return b.holds(other)
}

var contextRows = group("", "create/read_back", []Row{
	{Name: "context/create", Says: saysContext, Why: whyContext, Check: on(contextCreate)},
	{Name: "context/read", Says: saysContext, Why: whyContext, Check: onClient(contextRead)},
	{Name: "context/update", Says: saysContext, Why: whyContext, Check: on(contextUpdate)},
	{Name: "context/delete", Says: saysContext, Why: whyContext, Check: on(contextDelete)},
})

func contextCreate(b *bench) error {
	return ended(b.ctx, func(over context.Context) error {
		c := sample("first")
		return expectEnd("CreateClient", over, b.s.CreateClient(over, c),
			func() error { return b.holds(c) }, func() error { return b.gone(c.ID) })
	})
}

func contextRead(b *bench, c *dcr.Client) error {
	return ended(b.ctx, func(over context.Context) error {
		_, err := b.s.GetDynamicClient(over, c.ID)
		return expectEnd("GetDynamicClient", over, err)
	})
}

func contextUpdate(b *bench) error {
	return ended(b.ctx, func(over context.Context) error {
		c, err := b.add(sample("first"))
		if err != nil {
			return err
		}
		next := successor(c, "second")
		return expectEnd("UpdateClient", over, b.s.UpdateClient(over, next, c.Version),
			func() error { return b.holds(next) }, func() error { return b.holds(c) })
	})
}

func contextDelete(b *bench) error {
	return ended(b.ctx, func(over context.Context) error {
		c, err := b.add(sample("first"))
		if err != nil {
			return err
		}
		return expectEnd("DeleteClient", over, b.s.DeleteClient(over, c.ID),
			func() error { return b.gone(c.ID) }, func() error { return b.holds(c) })
	})
}

var raceRows = group("", "create/read_back", []Row{
	{Name: "race/create", Check: repeated(on(raceCreate)), Says: "CreateClient: of several calls at once with one identifier exactly one succeeds.",
		Why: "Two clients get one identifier, and one of them the other's users."},
	{Name: "race/update", Check: repeated(onClient(raceUpdate)), Says: "UpdateClient: of several calls at once with one version exactly one succeeds.",
		Why: "Two updates are confirmed and one of them is lost; of two registration access tokens one is dead from the start."},
	{Name: "race/delete", Check: repeated(onClient(raceDelete)), Says: "DeleteClient: " + saysOneWins,
		Why: "One deletion is confirmed and reported several times."},
	{Name: "race/update_and_delete", Check: repeated(onClient(raceUpdateAndDelete)), Says: saysNoCreate,
		Why: "A client that was deleted while it was updated lives on, and nobody is left who can delete it."},
	{Name: "race/read_whole", Check: repeated(onClient(raceReadWhole)), Says: "UpdateClient replaces a whole record.",
		Why: "A request sees half of the old registration and half of the new one."},
})

// raceCreate: exactly one wins, and what it wrote is what is there.
func raceCreate(b *bench) error {
	id := newID()
	tried := make([]*dcr.Client, callers)
	winner, err := oneWins("CreateClient", dcr.ErrClientExists, func(i int) error {
		tried[i] = sample(label(i))
		tried[i].ID = id
		return b.s.CreateClient(b.ctx, tried[i])
	})
	if err != nil {
		return err
	}
	return b.holds(tried[winner])
}

func raceUpdate(b *bench, c *dcr.Client) error {
	tried := make([]*dcr.Client, callers)
	winner, err := oneWins("UpdateClient", dcr.ErrConflict, func(i int) error {
		tried[i] = used(successor(c, label(i)))
		return b.s.UpdateClient(b.ctx, tried[i], c.Version)
	})
	if err != nil {
		return err
	}
	return b.holds(tried[winner])
}

func raceDelete(b *bench, c *dcr.Client) error {
	_, err := oneWins("DeleteClient", fosite.ErrNotFound, func(int) error { return b.s.DeleteClient(b.ctx, c.ID) })
	if err != nil {
		return err
	}
	return b.gone(c.ID)
}

// raceUpdateAndDelete deletes amid updates: the deletion succeeds, and no update outlives
// it.
func raceUpdateAndDelete(b *bench, c *dcr.Client) error {
	const deletes = callers / 2
	errs := atOnce(callers, func(i int) error {
		if i == deletes {
			return b.delete(c.ID)
		}
		return b.s.UpdateClient(b.ctx, successor(c, label(i)), c.Version)
	})
	for i, got := range errs {
		switch {
		case i == deletes && got != nil:
			return fmt.Errorf("beside updates: %w", got)
		case got != nil && !errors.Is(got, dcr.ErrConflict) && !errors.Is(got, fosite.ErrNotFound):
			return expect("UpdateClient beside a deletion", got, fosite.ErrNotFound)
		}
	}
	return b.gone(c.ID)
}

// raceReadWhole reads while one updates: what is read is one of the records that were
// written.
func raceReadWhole(b *bench, before *dcr.Client) error {
	after := used(successor(before, "second"))
	errs := atOnce(callers, func(i int) error {
		if i == 0 {
			return b.update(after)
		}
		got, err := b.s.GetDynamicClient(b.ctx, before.ID)
		if err != nil {
			return fmt.Errorf("GetDynamicClient beside an update: %w", err)
		}
		if same("", got, before) == nil {
			return nil
		}
		return same("GetDynamicClient beside an update", got, after)
	})
	return errors.Join(errs...)
}

// used makes the record one that was used later than any that it replaces.
func used(c *dcr.Client) *dcr.Client {
	c.LastUsedAt = c.LastUsedAt.AddDate(10, 0, 0)
	c.KeepUntil = c.KeepUntil.AddDate(10, 0, 0)
	return c
}
