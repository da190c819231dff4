package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const saysExpired = "DeleteExpiredClients removes registered clients that have expired, as dcr.Expiry says, and returns their records."

// expiryRows are about dcr.ExpiredDeleter. They look back from the year 2001, when no other
// row's client had begun.
var expiryRows = based("dcr.ExpiredDeleter", "create/read_back", []Row{
	{Name: "expiry/ended", Check: needing(expiryExpired), Says: saysExpired,
		Why: "Clients that nobody uses fill the storage for good."},
	{Name: "expiry/records", Check: needing(expiryRecords), Says: "DeleteExpiredClients returns the records as they were.",
		Why: "The entries of registration access tokens of clients that are gone fill the storage for good."},
	{Name: "expiry/alive", Check: needing(expiryAlive), Says: saysExpired,
		Why: "A client that is used, or still holds a refresh token, is thrown away, and its users have to consent again."},
	{Name: "expiry/idle_off", Check: needing(expiryIdleOff), Says: "Where IdleSince is the zero time, no client expires because it is idle.",
		Why: "Clients that rest for a while are thrown away although the application did not ask for it."},
	{Name: "expiry/limit", Check: needing(expiryLimit),
		Says: "DeleteExpiredClients removes up to limit clients; fewer than limit means that no more were found.",
		Why:  "A sweep holds the database in one endless statement, or leaves clients behind."},
	{Name: "race/expiry", Check: needing(expiryRace), Says: "Several processes may call DeleteExpiredClients at once, and each record is returned to one of them.",
		Why: "Two processes that sweep at once report one client twice, or trip over each other."},
	{Name: "context/expiry", Check: needing(expiryContext), Says: saysContext,
		Why: "A sweep goes on after the server was stopped."},
})

var (
	sweepTime = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	sweepAll  = dcr.Expiry{Now: sweepTime, IdleSince: sweepTime.AddDate(0, -1, 0)}
)

// resting returns a client that does not expire, of the year 2000.
func resting(edit func(*dcr.Client)) *dcr.Client {
	c := sample("first")
	c.CreatedAt = sweepTime.AddDate(-1, 0, 0)
	c.UpdatedAt = c.CreatedAt
	endless(c)
	if edit != nil {
		edit(c)
	}
	return c
}

// endless makes a client one that was never used and does not expire.
func endless(c *dcr.Client) {
	c.LastUsedAt, c.KeepUntil, c.UnusedUntil, c.ExpiresAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

var (
	dayBefore       = sweepTime.AddDate(0, 0, -1)
	dayAfter        = sweepTime.AddDate(0, 0, 1)
	twoMonthsBefore = sweepTime.AddDate(0, -2, 0)
	epoch           = time.Unix(0, 0).UTC()
)

// expiredClients have expired, each for a reason of its own.
func expiredClients() []*dcr.Client {
	return []*dcr.Client{
		resting(func(c *dcr.Client) { c.ExpiresAt = dayBefore }),
		resting(func(c *dcr.Client) { c.ExpiresAt = sweepTime }),
		resting(func(c *dcr.Client) { c.ExpiresAt = epoch }),
		resting(func(c *dcr.Client) { c.ExpiresAt, c.LastUsedAt, c.KeepUntil = dayBefore, dayBefore, dayAfter }),
		resting(func(c *dcr.Client) { c.UnusedUntil = dayBefore }),
		resting(func(c *dcr.Client) { c.UnusedUntil = sweepTime }),
		resting(func(c *dcr.Client) { c.LastUsedAt = twoMonthsBefore }),
		resting(func(c *dcr.Client) { c.LastUsedAt, c.KeepUntil = sweepAll.IdleSince, dayBefore }),
		resting(func(c *dcr.Client) { c.LastUsedAt = epoch }),
	}
}

// liveClients have not expired.
func liveClients() []*dcr.Client {
	return []*dcr.Client{
		resting(nil),
		resting(func(c *dcr.Client) { c.ExpiresAt, c.UnusedUntil = dayAfter, dayAfter }),
		resting(func(c *dcr.Client) { c.UnusedUntil, c.LastUsedAt = dayBefore, dayBefore }),
		resting(func(c *dcr.Client) { c.LastUsedAt, c.KeepUntil = twoMonthsBefore, dayAfter }),
	}
}

func (b *bench) addAll(clients []*dcr.Client) error {
	for _, c := range clients {
		if _, err := b.add(c); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes clients, and returns their records.
func (b *bench) sweep(d dcr.ExpiredDeleter, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
	removed, err := d.DeleteExpiredClients(b.ctx, e, limit)
	switch {
	case err != nil:
		return nil, fmt.Errorf("DeleteExpiredClients: %w", err)
	case slices.Contains(removed, nil):
		return nil, errors.New("DeleteExpiredClients returned a record that is nil")
	case len(removed) > limit:
		return nil, fmt.Errorf("DeleteExpiredClients returned %d records, with a limit of %d", len(removed), limit)
	}
	return removed, nil
}

// swept stores clients, sweeps, and returns those that were said to be removed.
func (b *bench) swept(d dcr.ExpiredDeleter, e dcr.Expiry, clients []*dcr.Client) (map[string]*dcr.Client, error) {
	if err := b.addAll(clients); err != nil {
		return nil, err
	}
	removed, err := b.sweep(d, e, 1000)
	if err != nil {
		return nil, err
	}
	byID := map[string]*dcr.Client{}
	for _, c := range removed {
		byID[c.ID] = c
	}
	return byID, nil
}

func expiryExpired(b *bench, d dcr.ExpiredDeleter) error {
	clients := expiredClients()
	removed, err := b.swept(d, sweepAll, clients)
	if err != nil {
		return err
	}
	for _, c := range clients {
		if removed[c.ID] == nil {
			return fmt.Errorf("DeleteExpiredClients at %v did not return a client that has expired: %s", sweepAll, shown(c))
		}
		if err := b.gone(c.ID); err != nil {
			return err
		}
	}
	return nil
}

func expiryRecords(b *bench, d dcr.ExpiredDeleter) error {
	c := resting(func(c *dcr.Client) { c.ExpiresAt = dayBefore })
	if _, err := b.add(c); err != nil {
		return err
	}
	if uses, ok := b.s.(dcr.UseRecorder); ok { // what may move without the record comes with it
		c.LastUsedAt, c.KeepUntil = twoMonthsBefore, dayAfter
		if err := b.touch(uses, c.ID, c.LastUsedAt, c.KeepUntil); err != nil {
			return err
		}
	}
	removed, err := b.swept(d, sweepAll, nil)
	if err != nil {
		return err
	}
	return same("DeleteExpiredClients", removed[c.ID], c)
}

func expiryAlive(b *bench, d dcr.ExpiredDeleter) error { return b.stays(d, sweepAll, liveClients()) }

func expiryIdleOff(b *bench, d dcr.ExpiredDeleter) error {
	return b.stays(d, dcr.Expiry{Now: sweepTime}, []*dcr.Client{resting(func(c *dcr.Client) { c.LastUsedAt = twoMonthsBefore })})
}

func (b *bench) stays(d dcr.ExpiredDeleter, e dcr.Expiry, clients []*dcr.Client) error {
	removed, err := b.swept(d, e, clients)
	if err != nil {
		return err
	}
	for _, c := range clients {
		if removed[c.ID] != nil {
			return fmt.Errorf("DeleteExpiredClients at %v returned a client that has not expired: %s", e, shown(c))
		}
		if err := b.holds(c); err != nil {
			return fmt.Errorf("after a sweep, a client that has not expired: %w", err)
		}
	}
	return nil
}

func expiryLimit(b *bench, d dcr.ExpiredDeleter) error {
	left := map[string]bool{}
	clients := expiredClients()
	if err := b.addAll(clients); err != nil {
		return err
	}
	for _, c := range clients {
		left[c.ID] = true
	}
	for more := true; more; {
		removed, err := b.sweep(d, sweepAll, 3)
		if err != nil {
			return err
		}
		for _, c := range removed {
			delete(left, c.ID)
		}
		more = len(removed) == 3
	}
	if len(left) > 0 {
		return fmt.Errorf("DeleteExpiredClients returned fewer records than its limit of 3, and %d expired clients are left", len(left))
	}
	return nil
}

func expiryRace(b *bench, d dcr.ExpiredDeleter) error {
	clients := slices.Concat(expiredClients(), expiredClients(), expiredClients())
	if err := b.addAll(clients); err != nil {
		return err
	}
	var mu sync.Mutex
	times := map[string]int{}
	errs := atOnce(callers, func(int) error {
		removed, err := b.sweep(d, sweepAll, 1000)
		mu.Lock()
		defer mu.Unlock()
		for _, c := range removed {
			times[c.ID]++
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("several at once: %w", err)
	}
	for _, c := range clients {
		if times[c.ID] != 1 {
			return fmt.Errorf("DeleteExpiredClients, %d at once: an expired client was returned %d times, and has to be once: %s", callers, times[c.ID], shown(c))
		}
	}
	return nil
}

func expiryContext(b *bench, d dcr.ExpiredDeleter) error {
	return ended(b.ctx, func(over context.Context) error {
		_, err := d.DeleteExpiredClients(over, sweepAll, 1000)
		return expectEnd("DeleteExpiredClients", over, err)
	})
}
