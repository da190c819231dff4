package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var updateRows = []Row{
	{Name: "update/replaces", Check: updateReplaces,
		Why: "A client is answered that its registration was changed, and it was not, or in part."},
	{Name: "update/conflict", Check: updateConflict,
		Why: "Of two updates the earlier one is undone by the later one, unseen; a token that was rotated works again."},
	{Name: "update/unknown", Check: updateUnknown,
		Why: "An update makes a client out of nothing."},
	{Name: "update/deleted", Check: updateDeleted,
		Why: "A client that was deleted comes back, with its secret and its tokens."},
	{Name: "update/copied_in", Check: updateCopiedIn,
		Why: "What the server does to its own copy afterwards changes what is registered."},
	{Name: "update/keeps_use", Check: updateKeepsUse,
		Why: "A client that is used looks unused after an update, and is taken for dead."},
	{Name: "update/others_stay", Check: updateOthersStay,
		Why: "One client's update changes another."},
}

func updateReplaces(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := holds(ctx, s, c); err != nil { // so that a cache has it
		return err
	}
	next := successor(c, "second")
	if err := s.UpdateClient(ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	return holds(ctx, s, next)
}

func updateConflict(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	next := successor(c, "second")
	if err := s.UpdateClient(ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	for _, version := range []int64{c.Version, next.Version + 1, 0} {
		lost := successor(next, "third, which loses")
		done := fmt.Sprintf("UpdateClient with version %d of a record of version %d", version, next.Version)
		if err := expect(done, s.UpdateClient(ctx, lost, version), dcr.ErrConflict); err != nil {
			return err
		}
	}
	return holds(ctx, s, next)
}

func updateUnknown(ctx context.Context, s Storage) error {
	c := sample("first")
	for _, version := range []int64{0, c.Version} {
		if err := expect("UpdateClient of an unknown client", s.UpdateClient(ctx, c, version), fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return gone(ctx, s, c.ID)
}

func updateDeleted(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := s.DeleteClient(ctx, c.ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	err = s.UpdateClient(ctx, successor(c, "second"), c.Version)
	if err := expect("UpdateClient of a deleted client", err, fosite.ErrNotFound); err != nil {
		return err
	}
	return gone(ctx, s, c.ID)
}

func updateCopiedIn(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	next := successor(c, "second")
	kept := detached(next)
	if err := s.UpdateClient(ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	spoil(next)
	return holds(ctx, s, kept)
}

func updateKeepsUse(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		next := successor(c, "second")
		next.LastUsedAt, next.KeepUntil = c.LastUsedAt.Add(by), c.KeepUntil.Add(-by)
		if err := s.UpdateClient(ctx, next, c.Version); err != nil {
			return fmt.Errorf("UpdateClient: %w", err)
		}
		next.LastUsedAt, next.KeepUntil = later(next.LastUsedAt, c.LastUsedAt), later(next.KeepUntil, c.KeepUntil)
		if err := holds(ctx, s, next); err != nil {
			return err
		}
		c = next
	}
	return nil
}

func updateOthersStay(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	other, err := created(ctx, s, sample("second"))
	if err != nil {
		return err
	}
	if err := s.UpdateClient(ctx, successor(c, "third"), c.Version); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	return holds(ctx, s, other)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const whyContext = "A request whose client has hung up holds the storage, or is half done."

var contextRows = []Row{
	{Name: "context/create", Why: whyContext, Check: contextCreate},
	{Name: "context/read", Why: whyContext, Check: contextRead},
	{Name: "context/update", Why: whyContext, Check: contextUpdate},
	{Name: "context/delete", Why: whyContext, Check: contextDelete},
}

func contextCreate(ctx context.Context, s Storage) error {
	return ended(ctx, func(over context.Context) error {
		c := sample("first")
		if err := expectEnd("CreateClient", over, s.CreateClient(over, c)); err != nil {
			return err
		}
		if gone(ctx, s, c.ID) == nil {
			return nil
		}
		return holds(ctx, s, c)
	})
}

func contextRead(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	return ended(ctx, func(over context.Context) error {
		_, err := s.GetDynamicClient(over, c.ID)
		return expectEnd("GetDynamicClient", over, err)
	})
}

func contextUpdate(ctx context.Context, s Storage) error {
	return ended(ctx, func(over context.Context) error {
		c, err := created(ctx, s, sample("first"))
		if err != nil {
			return err
		}
		next := successor(c, "second")
		if err := expectEnd("UpdateClient", over, s.UpdateClient(over, next, c.Version)); err != nil {
			return err
		}
		if holds(ctx, s, next) == nil {
			return nil
		}
		return holds(ctx, s, c)
	})
}

func contextDelete(ctx context.Context, s Storage) error {
	return ended(ctx, func(over context.Context) error {
		c, err := created(ctx, s, sample("first"))
		if err != nil {
			return err
		}
		if err := expectEnd("DeleteClient", over, s.DeleteClient(over, c.ID)); err != nil {
			return err
		}
		if gone(ctx, s, c.ID) == nil {
			return nil
		}
		return holds(ctx, s, c)
	})
}

// ended runs a check with a context that was cancelled and with one whose time is over.
func ended(ctx context.Context, check func(over context.Context) error) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancelLate := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancelLate()
	return errors.Join(check(cancelled), check(late))
}

func expectEnd(method string, over context.Context, got error) error {
	return expect(method+" with a context that has ended", got, over.Err())
}
