package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	// callers is how many call at once, rounds how often that is tried.
	callers = 12
	rounds  = 4
)

var raceRows = []Row{
	{Name: "race/create", Check: repeated(raceCreate),
		Why: "Two clients get one identifier, and one of them the other's users."},
	{Name: "race/update", Check: repeated(raceUpdate),
		Why: "Two updates are confirmed and one of them is lost; of two registration access tokens one is dead from the start."},
	{Name: "race/delete", Check: repeated(raceDelete),
		Why: "One deletion is confirmed and reported several times."},
	{Name: "race/update_and_delete", Check: repeated(raceUpdateAndDelete),
		Why: "A client that was deleted while it was updated lives on, and nobody is left who can delete it."},
	{Name: "race/read_whole", Check: repeated(raceReadWhole),
		Why: "A request sees half of the old registration and half of the new one."},
}

// raceCreate: exactly one wins, and what it wrote is what is there.
func raceCreate(ctx context.Context, s Storage) error {
	id := newID()
	tried := make([]*dcr.Client, callers)
	winner, err := oneWins("CreateClient", dcr.ErrClientExists, func(i int) error {
		tried[i] = sample(label(i))
		tried[i].ID = id
		return s.CreateClient(ctx, tried[i])
	})
	if err != nil {
		return err
	}
	return holds(ctx, s, tried[winner])
}

func raceUpdate(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, unused(sample("first")))
	if err != nil {
		return err
	}
	tried := make([]*dcr.Client, callers)
	winner, err := oneWins("UpdateClient", dcr.ErrConflict, func(i int) error {
		tried[i] = successor(c, label(i))
		return s.UpdateClient(ctx, tried[i], c.Version)
	})
	if err != nil {
		return err
	}
	return holds(ctx, s, tried[winner])
}

func raceDelete(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	_, err = oneWins("DeleteClient", fosite.ErrNotFound, func(int) error { return s.DeleteClient(ctx, c.ID) })
	if err != nil {
		return err
	}
	return gone(ctx, s, c.ID)
}

// raceUpdateAndDelete deletes amid updates: the deletion succeeds, and no update outlives
// it.
func raceUpdateAndDelete(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	const deletes = callers / 2
	errs := atOnce(callers, func(i int) error {
		if i == deletes {
			return s.DeleteClient(ctx, c.ID)
		}
		return s.UpdateClient(ctx, successor(c, label(i)), c.Version)
	})
	for i, got := range errs {
		switch {
		case i == deletes && got != nil:
			return fmt.Errorf("DeleteClient beside updates: %w", got)
		case got != nil && !errors.Is(got, dcr.ErrConflict) && !errors.Is(got, fosite.ErrNotFound):
			return expect("UpdateClient beside a deletion", got, fosite.ErrNotFound)
		}
	}
	return gone(ctx, s, c.ID)
}

// raceReadWhole reads while one updates: what is read is one of the records that were
// written.
func raceReadWhole(ctx context.Context, s Storage) error {
	before, err := created(ctx, s, unused(sample("first")))
	if err != nil {
		return err
	}
	after := successor(before, "second")
	errs := atOnce(callers, func(i int) error {
		if i == 0 {
			return s.UpdateClient(ctx, after, before.Version)
		}
		got, err := s.GetDynamicClient(ctx, before.ID)
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

// unused makes the record one that every successor is used later than.
func unused(c *dcr.Client) *dcr.Client {
	c.LastUsedAt = c.LastUsedAt.AddDate(-10, 0, 0)
	c.KeepUntil = c.KeepUntil.AddDate(-10, 0, 0)
	return c
}

func label(i int) string { return fmt.Sprintf("caller %d", i) }

// repeated makes a check of one that depends on chance.
func repeated(check func(context.Context, Storage) error) func(context.Context, Storage) error {
	return func(ctx context.Context, s Storage) error {
		for range rounds {
			if err := check(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// atOnce calls from n goroutines that start together, and returns each one's error.
func atOnce(n int, call func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			errs[i] = call(i)
		})
	}
	close(start)
	running.Wait()
	return errs
}

// oneWins calls from many goroutines at once and checks that one call succeeds and all
// others end with the error of those who lose. It returns who won.
func oneWins(method string, lose error, call func(i int) error) (winner int, err error) {
	winner = -1
	for i, got := range atOnce(callers, call) {
		switch {
		case got == nil && winner >= 0:
			return winner, fmt.Errorf("%s succeeded more than once of %d at once", method, callers)
		case got == nil:
			winner = i
		case !errors.Is(got, lose):
			return winner, expect(method+", of several at once", got, lose)
		}
	}
	if winner < 0 {
		return winner, fmt.Errorf("%s succeeded not once of %d at once", method, callers)
	}
	return winner, nil
}
