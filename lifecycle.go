package dcr

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// Lifecycle says when clients expire that nobody removes. An expired client does not exist any more,
// wherever it is looked up, and Provider.Sweep removes its record. All providers of one storage need one
// Lifecycle: a sweep removes clients of every issuer.
// Unused and Idle take a storage that implements UseRecorder: without one nobody knows which clients are
// used, the default of Unused is for ever, and Extend refuses others.
type Lifecycle struct {
	// Unused is how long a client lives that never gets a token. 0 means one hour for anonymous registrants,
	// one day for KindSignedIn and KindAccessToken, and for ever for others; below zero means for ever for
	// all. Of the clients of an open endpoint four in five are never used again.
	Unused time.Duration
	// Idle is how long a client lives after it last got a token, or after the last refresh token that it
	// was given expires, whichever is later; 0 means for ever.
	Idle    time.Duration
	Maximum time.Duration // Maximum is how long any client lives, used or not; 0 means for ever
	// EvictionGrace is how long a client that was never used can't be evicted for another one at the
	// storage's bound (ErrFull): somebody may be reading its consent page. 0 means 10 minutes, below zero
	// means no time at all. It takes a storage that implements ClientEvicter; without one, or where no
	// client can be evicted, a registration is answered 503.
	EvictionGrace time.Duration
}

const (
	defaultUnused         = time.Hour
	defaultUnusedSignedIn = 24 * time.Hour
	defaultEvictionGrace  = 10 * time.Minute
)

func (l Lifecycle) withDefaults() Lifecycle {
	setDefault(&l.EvictionGrace, defaultEvictionGrace)
	return l
}

func (l Lifecycle) problems() []error {
	return negative("Config.Lifecycle", l.Idle, l.Maximum)
}

// lifetimes knows when clients expire, and notes their use.
type lifetimes struct {
	lifecycle Lifecycle
	uses      UseRecorder // nil where the storage can't note uses
	records   *records
	journal   *journal
	now       func() time.Time
}

// expiry returns what has expired now.
func (l *lifetimes) expiry() Expiry {
	e := Expiry{Now: l.now()}
	if l.lifecycle.Idle > 0 && l.uses != nil {
		e.IdleSince = e.Now.Add(-l.lifecycle.Idle)
	}
	return e
}

// unusedUntil returns when a client expires that is registered now and never used.
func (l *lifetimes) unusedUntil(who *Registrant) time.Time {
	unused := l.lifecycle.Unused
	switch {
	case unused == 0 && who.isAnonymous():
		unused = defaultUnused
	case unused == 0 && who.signsIn():
		unused = defaultUnusedSignedIn
	}
	if unused <= 0 || l.uses == nil {
		return time.Time{}
	}
	return l.now().Add(unused)
}

// maximum returns when a client expires that is registered now, used or not: what the configuration says,
// or a policy if that is sooner.
func (l *lifetimes) maximum(lifetime time.Duration) time.Time {
	most := l.lifecycle.Maximum
	if lifetime > 0 && (most == 0 || lifetime < most) {
		most = lifetime
	}
	if most == 0 {
		return time.Time{}
	}
	return l.now().Add(most)
}

// evictable is the time before which a client was last changed that can be evicted.
func (l *lifetimes) evictable() time.Time {
	return l.now().Add(-max(l.lifecycle.EvictionGrace, 0))
}

// expiresAt returns when a client expires if it is not used or changed any more, and the zero time if
// never.
func (l *lifetimes) expiresAt(c *Client) time.Time {
	end := c.UnusedUntil
	if !c.LastUsedAt.IsZero() {
		end = l.idleUntil(c)
	}
	if !c.ExpiresAt.IsZero() && (end.IsZero() || c.ExpiresAt.Before(end)) {
		end = c.ExpiresAt
	}
	return end
}

// idleUntil returns when a used client expires for being idle, and the zero time if never.
func (l *lifetimes) idleUntil(c *Client) time.Time {
	if l.lifecycle.Idle <= 0 || l.uses == nil {
		return time.Time{}
	}
	return later(c.LastUsedAt.Add(l.lifecycle.Idle), c.KeepUntil)
}

// touchInterval is how exact LastUsedAt and KeepUntil are: a client that is used all the time costs one
// write in so long.
const touchInterval = time.Minute

// touch notes that a client got an access token and, if keepUntil is not zero, a refresh token that lives
// until then.
func (l *lifetimes) touch(ctx context.Context, client *Client, keepUntil time.Time) {
	now := l.now()
	if l.uses == nil || client.isDocument() || now.Before(client.LastUsedAt.Add(touchInterval)) && keepUntil.Before(client.KeepUntil.Add(touchInterval)) {
		return
	}
	// The token is issued already; a use that can't be noted is an event and does no harm.
	if err := l.uses.TouchClient(ctx, client.ID, now, keepUntil); err != nil {
		l.journal.cleanupFailed(ctx, client.ID, err)
	}
}

// awaitCode lets a client that was never used live until its code has expired, and gives it the eviction
// grace anew: somebody has just allowed it.
func (l *lifetimes) awaitCode(ctx context.Context, client *Client, codeLifespan time.Duration) {
	now := l.now()
	until := now.Add(codeLifespan + touchInterval)
	waits := func(c *Client) bool {
		expires := !c.UnusedUntil.IsZero() && c.UnusedUntil.Before(until)
		old := l.records.evicter != nil && !now.Before(c.UpdatedAt.Add(l.lifecycle.EvictionGrace/2))
		return c.LastUsedAt.IsZero() && (expires || old)
	}
	if client.isDocument() || !waits(client) {
		return
	}
	_, _, err := l.records.edit(ctx, client.Issuer, client.ID, updateRounds, func(c *Client) bool {
		due := waits(c)
		if !c.UnusedUntil.IsZero() {
			c.UnusedUntil = later(c.UnusedUntil, until)
		}
		c.UpdatedAt = now
		return due
	})
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		l.journal.cleanupFailed(ctx, client.ID, err)
	}
}

// grants removes what clients were granted: codes, pushed requests, access and refresh tokens.
//
// While a client stays, its Client.GrantsRevoked says how far a removal is:
//
//	even --mark--> odd --RevokeClientGrants--> odd --count--> even
//	               |  a request that began before   |  a request that begins
//	               |  the mark gets nothing         |  afterwards passes
//
// A removal that was cut short leaves the number odd: the client gets no tokens, and the next token
// request, or the next removal, does it again.
type grants struct {
	revoker GrantRevoker // nil where the storage can't remove grants
	// revocation removes the tokens of one grant; nil where the storage can't.
	revocation oauth2.TokenRevocationStorage
	records    *records
	tokens     *registrationTokens
	journal    *journal
}

// markGrants marks a record: from its commit on, until removeAll is done, no request gets tokens for the client.
func markGrants(c *Client) { c.GrantsRevoked += 1 + c.GrantsRevoked%2 }

// removeAll removes all grants of a client that stays, whose record was marked, and lets requests pass again that
// begin afterwards.
func (g *grants) removeAll(ctx context.Context, marked *Client) error {
	if err := g.revoker.RevokeClientGrants(ctx, marked.ID); err != nil {
		return err
	}
	_, _, err := g.records.edit(ctx, marked.Issuer, marked.ID, operatorRounds, func(c *Client) bool {
		ours := c.GrantsRevoked == marked.GrantsRevoked
		if ours {
			c.GrantsRevoked++
		}
		return ours
	})
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}

// refuseStale refuses a request that was under way while all grants of its client were revoked: what it has
// stored since the removal would live on. Client is the record that the request began with. An odd count
// says that a removal is under way, or was cut short: then it is done again.
func (g *grants) refuseStale(ctx context.Context, client *Client, requestID string) error {
	if g.revoker == nil || client.isDocument() { // it is in no storage
		return nil
	}
	now, err := g.records.get(ctx, client.ID)
	if err == nil && now.GrantsRevoked == client.GrantsRevoked && now.GrantsRevoked%2 == 0 && now.CreatedAt.Equal(client.CreatedAt) {
		return nil
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	for tries := 0; err != nil && !errors.Is(err, fosite.ErrNotFound) && tries < 2; tries++ {
		now, err = g.records.get(cleanup, client.ID)
	}
	switch {
	case errors.Is(err, fosite.ErrNotFound): // its tokens are dead with it
	case err != nil:
		// The code or refresh token is spent already: a failure now would cost the user the grant.
		g.journal.cleanupFailed(ctx, client.ID, err)
		return nil
	case now.GrantsRevoked == client.GrantsRevoked && now.GrantsRevoked%2 == 0 && now.CreatedAt.Equal(client.CreatedAt):
		return nil
	case now.GrantsRevoked%2 == 1: // an identifier that came back has another CreatedAt
		if err := g.removeAll(cleanup, now); err != nil {
			g.journal.cleanupFailed(ctx, client.ID, err)
		}
	}
	g.revokeRequest(ctx, cleanup, client.ID, requestID)
	return fosite.ErrInvalidGrant.WithHint("All grants of the client were revoked.")
}

// revokeRequest removes the tokens of one request, which nobody will receive.
func (g *grants) revokeRequest(ctx, cleanup context.Context, clientID, requestID string) {
	if g.revocation == nil {
		return
	}
	for _, revoke := range []func(context.Context, string) error{g.revocation.RevokeAccessToken, g.revocation.RevokeRefreshToken} {
		if err := revoke(cleanup, requestID); err != nil && !errors.Is(err, fosite.ErrNotFound) {
			g.journal.cleanupFailed(ctx, clientID, err)
		}
	}
}

// revoke removes the grants of a client that is gone, where the storage can.
func (g *grants) revoke(ctx context.Context, clientID string) {
	if g.revoker == nil {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := g.revoker.RevokeClientGrants(cleanup, clientID); err != nil {
		g.journal.cleanupFailed(ctx, clientID, err)
	}
}

// expired removes the grants of an expired or evicted client whose record and entries are gone, and records
// its removal. A client that others share may be registered anew under its identifier by now, after its
// grants were removed: what is there then is left.
func (g *grants) expired(ctx context.Context, removed *Client) {
	if !removed.Shared || !g.exists(ctx, removed.ID) {
		g.revoke(ctx, removed.ID)
	}
	g.journal.record(ctx, Event{Kind: EventExpired, ClientID: removed.ID, Before: removed})
}

func (g *grants) exists(ctx context.Context, id string) bool {
	_, err := g.records.get(ctx, id)
	return err == nil
}

// removeClient removes a client, whoever wants it, and then what it leaves behind: the entries of its registration access
// tokens (ENTRY-01) and its grants. What can't be removed is dead all the same, and an event. Of several calls one removes
// the client, the others get fosite.ErrNotFound.
func (g *grants) removeClient(ctx context.Context, client *Client) error {
	if err := g.records.delete(ctx, client.ID); err != nil {
		return err
	}
	g.tokens.clear(ctx, client.ID, client.tokenRecords()...)
	g.revoke(ctx, client.ID)
	g.journal.record(ctx, Event{Kind: EventDeleted, ClientID: client.ID, Before: client})
	return nil
}
