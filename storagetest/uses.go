package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const saysForward = "TouchClient moves LastUsedAt and KeepUntil forward, each for itself; a time that is not later changes nothing."

// useRows are about dcr.UseRecorder.
var useRows = based("dcr.UseRecorder", "create/read_back", []Row{
	{Name: "touch/forward", Check: onClientNeeding(touchForward), Says: saysForward,
		Why: "A client that is used looks unused, and is taken for dead."},
	{Name: "touch/not_backward", Check: onClientNeeding(touchNotBackward), Says: saysForward,
		Why: "A late or a delayed note makes a client look unused for longer than it is."},
	{Name: "touch/version", Check: onClientNeeding(touchVersion), Says: "TouchClient leaves the version as it is.",
		Why: "A client's update fails, or is lost, since it got a token meanwhile."},
	{Name: "touch/unknown", Check: needing(touchUnknown), Says: "TouchClient of an unknown client is no error, and creates nothing.",
		Why: "A client that was deleted comes back, or its last token request fails."},
	{Name: "touch/then_update", Check: onClientNeeding(touchThenUpdate),
		Says: "UpdateClient keeps LastUsedAt and KeepUntil of the stored record where they are later than those of the new one.",
		Why:  "A client that got a token while it was updated looks unused."},
	{Name: "context/touch", Says: saysContext, Why: whyContext, Check: onClientNeeding(contextTouch)},
	{Name: "race/touch", Check: repeated(onClientNeeding(raceTouch)), Says: saysForward,
		Why: "Of several token requests an earlier one has the last word, or one undoes an update."},
})

func (b *bench) touch(uses dcr.UseRecorder, id string, lastUsed, keepUntil time.Time) error {
	if err := uses.TouchClient(b.ctx, id, lastUsed, keepUntil); err != nil {
		return fmt.Errorf("TouchClient of %q: %w", id, err)
	}
	return nil
}

func touchForward(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	c.LastUsedAt, c.KeepUntil = c.LastUsedAt.Add(time.Hour), c.KeepUntil.Add(2*time.Hour)
	if err := b.touch(uses, c.ID, c.LastUsedAt, c.KeepUntil); err != nil {
		return err
	}
	return b.holds(c)
}

// touchNotBackward: each of the two times stands for itself.
func touchNotBackward(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	before := -time.Hour
	for _, to := range [][2]time.Time{
		{c.LastUsedAt.Add(before), c.KeepUntil.Add(before)},
		{c.LastUsedAt.Add(time.Hour), {}},
		{{}, c.KeepUntil.Add(time.Hour)},
	} {
		if err := b.touch(uses, c.ID, to[0], to[1]); err != nil {
			return err
		}
		c.LastUsedAt, c.KeepUntil = later(c.LastUsedAt, to[0]), later(c.KeepUntil, to[1])
		if err := b.holds(c); err != nil {
			return err
		}
	}
	return nil
}

func touchVersion(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	if err := b.touch(uses, c.ID, c.LastUsedAt.Add(time.Hour), c.KeepUntil); err != nil {
		return err
	}
	next := used(successor(c, "second"))
	if err := b.update(next); err != nil {
		return fmt.Errorf("after a TouchClient: %w", err)
	}
	return b.holds(next)
}

func touchUnknown(b *bench, uses dcr.UseRecorder) error {
	id := newID()
	if err := b.touch(uses, id, time.Now(), time.Now()); err != nil {
		return fmt.Errorf("of an unknown client: %w", err)
	}
	return b.gone(id)
}

func touchThenUpdate(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	next := successor(c, "second")
	lastUsed, keepUntil := next.LastUsedAt.Add(time.Hour), next.KeepUntil.Add(time.Hour)
	if err := b.touch(uses, c.ID, lastUsed, keepUntil); err != nil {
		return err
	}
	if err := b.update(next); err != nil {
		return fmt.Errorf("after a TouchClient: %w", err)
	}
	next.LastUsedAt, next.KeepUntil = lastUsed, keepUntil
	return b.holds(next)
}

func contextTouch(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	return ended(b.ctx, func(over context.Context) error {
		return expectEnd("TouchClient", over, uses.TouchClient(over, c.ID, c.LastUsedAt, c.KeepUntil))
	})
}

// raceTouch notes many uses while one updates: the latest use and the update remain.
func raceTouch(b *bench, c *dcr.Client, uses dcr.UseRecorder) error {
	next := used(successor(c, "second"))
	first, end := next.LastUsedAt, next.KeepUntil
	errs := atOnce(callers, func(i int) error {
		if i == 0 {
			return b.update(detached(next))
		}
		by := time.Duration(i) * time.Hour
		return b.touch(uses, c.ID, first.Add(by), end.Add(by))
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("several at once: %w", err)
	}
	by := (callers - 1) * time.Hour
	next.LastUsedAt, next.KeepUntil = first.Add(by), end.Add(by)
	return b.holds(next)
}
