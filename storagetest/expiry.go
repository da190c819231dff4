package storagetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// expiryRows are about the removal of clients that have ended. They look back from the year
// 2001, when no other row's client had begun.
func expiryRows() []Row {
	needs := func(check func(context.Context, Storage, dcr.ExpiredDeleter) error) func(context.Context, Storage) error {
		return needing(check)
	}
	rows := []Row{
		{Name: "expiry/ended", Check: needs(expiryEnded),
			Why: "Clients that nobody uses fill the storage for good."},
		{Name: "expiry/alive", Check: needs(expiryAlive),
			Why: "A client that is used, or still holds a refresh token, is thrown away, and its users have to consent again."},
		{Name: "expiry/idle_off", Check: needs(expiryIdleOff),
			Why: "Clients that rest for a while are thrown away although the host did not ask for it."},
		{Name: "expiry/limit", Check: needs(expiryLimit),
			Why: "A sweep holds the database in one endless statement, or leaves clients behind."},
		{Name: "race/expiry", Check: needs(expiryRace),
			Why: "Two processes that sweep at once tell of one client twice, or trip over each other."},
		{Name: "context/expiry", Check: needs(expiryContext),
			Why: "A sweep goes on dayAfter the server was told to stop."},
	}
	for i := range rows {
		rows[i].Needs = "dcr.ExpiredDeleter"
	}
	return rows
}

var (
	sweepTime = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	sweepAll  = dcr.Expiry{Now: sweepTime, IdleSince: sweepTime.AddDate(0, -1, 0)}
)

// resting returns a client that has no end, of the year 2000.
func resting(edit func(*dcr.Client)) *dcr.Client {
	c := sample("first")
	c.CreatedAt = sweepTime.AddDate(-1, 0, 0)
	c.UpdatedAt = c.CreatedAt
	c.LastUsedAt, c.KeepUntil, c.UnusedUntil, c.ExpiresAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	edit(c)
	return c
}

var (
	dayBefore       = sweepTime.AddDate(0, 0, -1)
	dayAfter        = sweepTime.AddDate(0, 0, 1)
	twoMonthsBefore = sweepTime.AddDate(0, -2, 0)
)

// endedClients have ended, each for a reason of its own.
func endedClients() []*dcr.Client {
	return []*dcr.Client{
		resting(func(c *dcr.Client) { c.ExpiresAt = dayBefore }),
		resting(func(c *dcr.Client) { c.ExpiresAt = sweepTime }),
		resting(func(c *dcr.Client) { c.ExpiresAt, c.LastUsedAt, c.KeepUntil = dayBefore, dayBefore, dayAfter }),
		resting(func(c *dcr.Client) { c.UnusedUntil = dayBefore }),
		resting(func(c *dcr.Client) { c.UnusedUntil = sweepTime }),
		resting(func(c *dcr.Client) { c.LastUsedAt = twoMonthsBefore }),
		resting(func(c *dcr.Client) { c.LastUsedAt, c.KeepUntil = sweepAll.IdleSince, dayBefore }),
	}
}

// liveClients have not ended.
func liveClients() []*dcr.Client {
	return []*dcr.Client{
		resting(func(*dcr.Client) {}),
		resting(func(c *dcr.Client) { c.ExpiresAt, c.UnusedUntil = dayAfter, dayAfter }),
		resting(func(c *dcr.Client) { c.UnusedUntil, c.LastUsedAt = dayBefore, dayBefore }),
		resting(func(c *dcr.Client) { c.LastUsedAt, c.KeepUntil = twoMonthsBefore, dayAfter }),
	}
}

// swept stores clients, sweeps, and reports which of them were said to be removed.
func swept(ctx context.Context, s Storage, d dcr.ExpiredDeleter, e dcr.Expiry, clients []*dcr.Client) ([]string, error) {
	for _, c := range clients {
		if _, err := created(ctx, s, c); err != nil {
			return nil, err
		}
	}
	ids, err := d.DeleteExpiredClients(ctx, e, 1000)
	if err != nil {
		return nil, fmt.Errorf("DeleteExpiredClients: %w", err)
	}
	return ids, nil
}

func expiryEnded(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	clients := endedClients()
	ids, err := swept(ctx, s, d, sweepAll, clients)
	if err != nil {
		return err
	}
	for i, c := range clients {
		if !slices.Contains(ids, c.ID) {
			return fmt.Errorf("DeleteExpiredClients did not return a client that has ended (case %d)", i+1)
		}
		if err := gone(ctx, s, c.ID); err != nil {
			return err
		}
	}
	return nil
}

func expiryAlive(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	return stays(ctx, s, d, sweepAll, liveClients())
}

func expiryIdleOff(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	return stays(ctx, s, d, dcr.Expiry{Now: sweepTime}, []*dcr.Client{resting(func(c *dcr.Client) { c.LastUsedAt = twoMonthsBefore })})
}

func stays(ctx context.Context, s Storage, d dcr.ExpiredDeleter, e dcr.Expiry, clients []*dcr.Client) error {
	ids, err := swept(ctx, s, d, e, clients)
	if err != nil {
		return err
	}
	for i, c := range clients {
		if slices.Contains(ids, c.ID) {
			return fmt.Errorf("DeleteExpiredClients returned a client that has not ended (case %d)", i+1)
		}
		if _, err := s.GetDynamicClient(ctx, c.ID); err != nil {
			return fmt.Errorf("a client that has not ended (case %d): %w", i+1, err)
		}
	}
	return nil
}

func expiryLimit(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	mine := map[string]bool{}
	for _, c := range endedClients() {
		if _, err := created(ctx, s, c); err != nil {
			return err
		}
		mine[c.ID] = true
	}
	for {
		ids, err := d.DeleteExpiredClients(ctx, sweepAll, 3)
		switch {
		case err != nil:
			return fmt.Errorf("DeleteExpiredClients: %w", err)
		case len(ids) > 3:
			return fmt.Errorf("DeleteExpiredClients removed %d clients, with a limit of 3", len(ids))
		}
		for _, id := range ids {
			delete(mine, id)
		}
		if len(ids) < 3 {
			break
		}
	}
	if len(mine) > 0 {
		return fmt.Errorf("DeleteExpiredClients returned less than its limit with %d ended clients left", len(mine))
	}
	return nil
}

func expiryRace(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	clients := slices.Concat(endedClients(), endedClients(), endedClients())
	for _, c := range clients {
		if _, err := created(ctx, s, c); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	told, failed := map[string]int{}, error(nil)
	for range callers {
		group.Go(func() {
			ids, err := d.DeleteExpiredClients(ctx, sweepAll, 1000)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			for _, id := range ids {
				told[id]++
			}
		})
	}
	group.Wait()
	if failed != nil {
		return fmt.Errorf("DeleteExpiredClients: %w", failed)
	}
	for _, c := range clients {
		if told[c.ID] != 1 {
			return fmt.Errorf("an ended client was returned %d times by sweeps at once, instead of once", told[c.ID])
		}
	}
	return nil
}

func expiryContext(ctx context.Context, s Storage, d dcr.ExpiredDeleter) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := d.DeleteExpiredClients(ended, sweepAll, 1000)
	return expect("DeleteExpiredClients with a context that has ended", err, context.Canceled)
}
