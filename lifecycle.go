package dcr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"
)

// Lifecycle tells when clients end that nobody ends. A client that has ended does not
// exist any more, wherever it is looked up, and Provider.Sweep removes its record. All
// providers of one storage need one Lifecycle: a sweep removes clients of every issuer.
//
// Unused and Idle take a storage that implements UseRecorder: without one nobody knows
// which clients are used, the default of Unused is for ever, and Extend refuses others.
type Lifecycle struct {
	// Unused is how long a client lives that never gets a token. 0 means one hour for
	// anonymous registrants and for ever for others; below zero means for ever for all.
	// Of the clients of an open endpoint four in five are never used again.
	Unused time.Duration
	// Idle is how long a client lives after it last got a token, or after the end of the
	// last refresh token that it was given, whichever is later; 0 means for ever.
	Idle time.Duration
	// Maximum is how long any client lives, used or not; 0 means for ever.
	Maximum time.Duration
	// Young is how long a client that was never used is safe from giving way to another at
	// the storage's bound (ErrFull): somebody may be reading its consent page. 0 means 10
	// minutes, below zero means that it never is. It takes a storage that implements
	// RoomMaker; without one, or where all are young, a registration is answered 503.
	Young time.Duration
}

const (
	defaultUnused = time.Hour
	defaultYoung  = 10 * time.Minute
	// sweepBatch is how many clients one statement of a sweep removes.
	sweepBatch = 500
)

// Expiry tells a storage which clients have ended: those whose ExpiresAt is not zero and
// not after Now; those with a zero LastUsedAt whose UnusedUntil is not zero and not after
// Now; and, where IdleSince is not zero, those whose LastUsedAt is not zero and not after
// IdleSince and whose KeepUntil is not after Now.
type Expiry struct {
	Now       time.Time
	IdleSince time.Time
}

// Ended reports whether a client has ended.
func (e Expiry) Ended(c *Client) bool {
	past := func(t time.Time) bool { return !t.IsZero() && !t.After(e.Now) }
	switch {
	case past(c.ExpiresAt):
		return true
	case c.LastUsedAt.IsZero():
		return past(c.UnusedUntil)
	}
	return !e.IdleSince.IsZero() && !c.LastUsedAt.After(e.IdleSince) && !c.KeepUntil.After(e.Now)
}

// ExpiredDeleter is an optional interface of a ClientStorage: it removes the records of
// clients that have ended.
type ExpiredDeleter interface {
	// DeleteExpiredClients removes up to limit registered clients that have ended, and
	// returns their identifiers; fewer than limit means that no more were found. A client
	// that is used or updated meanwhile stays: the condition holds when the record is
	// removed. Several processes may call it at once, and each identifier is returned to
	// one of them. Beside an error it may return those that were removed all the same.
	DeleteExpiredClients(ctx context.Context, e Expiry, limit int) ([]string, error)
}

// expiry returns what has ended now.
func (r *registry) expiry() Expiry {
	e := Expiry{Now: r.now()}
	if idle := r.cfg.Lifecycle.Idle; idle > 0 && r.uses != nil {
		e.IdleSince = e.Now.Add(-idle)
	}
	return e
}

// unusedUntil returns when a client ends that is registered now and never used.
func (r *registry) unusedUntil(who *Registrant) time.Time {
	unused := r.cfg.Lifecycle.Unused
	if unused == 0 && who.Anonymous {
		unused = defaultUnused
	}
	if unused <= 0 || r.uses == nil {
		return time.Time{}
	}
	return r.now().Add(unused)
}

// maximum returns when a client ends that is registered now, used or not: what the
// configuration says, or a policy if that is sooner.
func (r *registry) maximum(lifetime time.Duration) time.Time {
	most := r.cfg.Lifecycle.Maximum
	if lifetime > 0 && (most == 0 || lifetime < most) {
		most = lifetime
	}
	if most == 0 {
		return time.Time{}
	}
	return r.now().Add(most)
}

// Sweep removes the clients that have ended, with what they leave behind, in batches, and
// returns how many. Several processes may sweep one storage at once. With a storage that
// is no ExpiredDeleter it fails; the clients have ended all the same.
func (p *Provider) Sweep(ctx context.Context) (int, error) {
	r := p.registry
	if r.expired == nil {
		return 0, errNoSweep
	}
	removed := 0
	for {
		ids, err := r.expired.DeleteExpiredClients(ctx, r.expiry(), sweepBatch)
		removed += len(ids)
		for _, id := range ids {
			r.tidy(ctx, id)
		}
		if err != nil || len(ids) < sweepBatch {
			return removed, err
		}
	}
}

// makeRoom lets the oldest client that was never used give way, where the storage can.
func (r *registry) makeRoom(ctx context.Context) bool {
	if r.room == nil {
		return false
	}
	id, err := r.room.MakeRoom(ctx, r.now().Add(-max(r.cfg.Lifecycle.Young, 0)))
	if err != nil {
		if !errors.Is(err, fosite.ErrNotFound) {
			r.leftover(ctx, "", err)
		}
		return false
	}
	r.tidy(ctx, id)
	return true
}

// tidy removes what a client has left that the storage has removed. One that is there again
// by now was registered anew under an identifier that others share, after its grants were
// removed.
func (r *registry) tidy(ctx context.Context, id string) {
	again := false
	if r.cfg.ShareIdentical {
		_, err := r.clients.GetDynamicClient(ctx, id)
		again = err == nil
	}
	if !again {
		r.revokeGrants(ctx, id)
	}
	r.tell(ctx, Event{Kind: EventExpired, ClientID: id})
}

// EndsAt returns when a client ends if it is not used or changed any more, and the zero time
// if never.
func (p *Provider) EndsAt(c *Client) time.Time { return p.registry.endsAt(c) }

func (r *registry) endsAt(c *Client) time.Time {
	end := c.UnusedUntil
	if !c.LastUsedAt.IsZero() {
		end = time.Time{}
		if idle := r.cfg.Lifecycle.Idle; idle > 0 && r.uses != nil {
			end = later(c.LastUsedAt.Add(idle), c.KeepUntil)
		}
	}
	if !c.ExpiresAt.IsZero() && (end.IsZero() || c.ExpiresAt.Before(end)) {
		end = c.ExpiresAt
	}
	return end
}

// awaitCode lets a client that was never used live until its code has ended, and be young
// again where another could take its room: somebody has just allowed it.
func (r *registry) awaitCode(ctx context.Context, client *Client) {
	now := r.now()
	until := now.Add(r.fosite.GetAuthorizeCodeLifespan(ctx) + touchInterval)
	waits := func(c *Client) bool {
		ends := !c.UnusedUntil.IsZero() && c.UnusedUntil.Before(until)
		old := r.room != nil && !now.Before(c.UpdatedAt.Add(r.cfg.Lifecycle.Young/2))
		return c.LastUsedAt.IsZero() && (ends || old)
	}
	if !waits(client) {
		return
	}
	_, _, err := r.edit(ctx, client.ID, updateRounds, func(c *Client) bool {
		due := waits(c)
		if !c.UnusedUntil.IsZero() {
			c.UnusedUntil = later(c.UnusedUntil, until)
		}
		c.UpdatedAt = now
		return due
	})
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		r.leftover(ctx, client.ID, err)
	}
}

var errNoSweep = fmt.Errorf("%w: it does not implement ExpiredDeleter", ErrNotSupported)

// RunSweeper sweeps at once and then once in each interval, at least a second, until ctx
// ends; a host runs it in a goroutine of its own. A sweep that fails is told to the event
// sink and tried again.
func (p *Provider) RunSweeper(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(max(interval, time.Second))
	defer ticker.Stop()
	for {
		if _, err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.registry.leftover(ctx, "", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
