package dcr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/cursor"
	"github.com/ory/fosite"
)

// operator is what an operator does with clients. None of it asks who that is: what mounts these methods
// does (package admin refuses to be mounted without). AsOperator names the operator in events.
type operator struct {
	location  *location
	records   *records
	lister    ClientLister   // nil where the storage can't list
	expired   ExpiredDeleter // nil where the storage can't remove expired clients
	lifetimes *lifetimes
	grants    *grants
	journal   *journal
	named     map[string]Policy
}

var (
	errNoList    = fmt.Errorf("%w: it does not implement ClientLister", ErrNotSupported)
	errNoSweep   = fmt.Errorf("%w: it does not implement ExpiredDeleter", ErrNotSupported)
	errNoRevoker = fmt.Errorf("%w: it does not implement GrantRevoker", ErrNotSupported)
	errBadCursor = fmt.Errorf("%w: the cursor is none that this server has made", ErrBadArgument)
)

// edit changes a client of the issuer, however often others get ahead.
func (o *operator) edit(ctx context.Context, id string, change func(*Client) bool) (before, after *Client, err error) {
	issuer, err := o.location.realm(ctx)
	if err != nil {
		return nil, nil, err
	}
	return o.records.edit(ctx, issuer, id, operatorRounds, change)
}

// FindClient returns a registered client of the issuer, an expired one as well. An unknown one is
// fosite.ErrNotFound.
func (o *operator) FindClient(ctx context.Context, id string) (*Client, error) {
	issuer, err := o.location.realm(ctx)
	if err != nil {
		return nil, err
	}
	return o.records.find(ctx, issuer, id)
}

// ExpiresAt returns when a client expires if it is not used or changed any more, and the zero time if
// never.
func (o *operator) ExpiresAt(c *Client) time.Time { return o.lifetimes.expiresAt(c) }

// DeleteClient removes a client at once, as the client itself can by RFC 7592, with all its tokens. An
// unknown one is fosite.ErrNotFound.
func (o *operator) DeleteClient(ctx context.Context, id string) error {
	client, err := o.FindClient(ctx, id)
	if err != nil {
		return err
	}
	return o.grants.removeClient(ctx, client)
}

// Forget removes what a client leaves behind that the application has removed from its storage by its own
// means: the entries of its registration access tokens, and its grants where the storage implements
// GrantRevoker. record is the record that was removed. What can't be removed is dead all the same, since
// the client is gone, and Forget may be called again.
func (o *operator) Forget(ctx context.Context, record *Client) error {
	if record == nil {
		return errNilClient
	}
	var errs []error
	for _, token := range record.tokenRecords() {
		errs = append(errs, o.grants.tokens.remove(ctx, token))
	}
	if o.grants.revoker != nil {
		errs = append(errs, o.grants.revoker.RevokeClientGrants(ctx, record.ID))
	}
	return errors.Join(errs...)
}

// ExpireClient expires a client now: it does not exist any more, wherever it is looked up, and its record
// stays to be seen until the next sweep.
func (o *operator) ExpireClient(ctx context.Context, id string) error {
	now := o.lifetimes.now()
	before, after, err := o.edit(ctx, id, func(c *Client) bool {
		expired := !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(now)
		c.ExpiresAt = now
		return !expired
	})
	if err == nil && after != nil {
		o.journal.record(ctx, Event{Kind: EventUpdated, ClientID: id, Before: before, After: after})
	}
	return err
}

// RevokeTokens removes all tokens and grants of a client: codes, access and refresh tokens, and its
// registration access token, so that it can't be managed any more. The client itself stays, and may ask its
// users again. A token request that is under way gets nothing. The storage has to implement GrantRevoker.
// An error after the record was written is an event, too: until the removal is done, by another call or by
// the next token request, the client gets no tokens. A client with a document has no record: a request under way may get some.
func (o *operator) RevokeTokens(ctx context.Context, id string) error {
	if o.grants.revoker == nil {
		if _, err := o.FindClient(ctx, id); err != nil && !isURL(id) {
			return err
		}
		return errNoRevoker
	}
	before, after, err := o.edit(ctx, id, func(c *Client) bool {
		c.RegistrationToken, c.PreviousRegistrationToken = RegistrationTokenRecord{}, RegistrationTokenRecord{}
		markGrants(c)
		return true
	})
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if errors.Is(err, fosite.ErrNotFound) && isURL(id) { // the client of a document, of which there is no record to mark
		if err = o.grants.revoker.RevokeClientGrants(cleanup, id); err == nil {
			o.journal.record(ctx, Event{Kind: EventGrantsRevoked, ClientID: id})
		}
		return err
	}
	if err != nil {
		return err
	}
	o.grants.tokens.clear(cleanup, id, before.tokenRecords()...)
	if err := o.grants.removeAll(cleanup, after); err != nil {
		o.journal.cleanupFailed(ctx, id, err)
		return err
	}
	o.journal.record(ctx, Event{Kind: EventGrantsRevoked, ClientID: id, After: after})
	return nil
}

// NamedPolicies returns the names of Config.NamedPolicies, in order.
func (o *operator) NamedPolicies() []string { return slices.Sorted(maps.Keys(o.named)) }

// ClientPage is a part of a list of clients.
type ClientPage struct {
	Clients []*Client // Clients are the clients of this part, in the order of the list
	Next    string    // Next is the cursor of the part that follows; empty where this is the last
}

// LogValue shows how many clients there are: as JSON they would show their hashes.
func (p ClientPage) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("dcr.ClientPage(%d clients)", len(p.Clients)))
}

// ListClients returns the clients of the issuer that fit, those registered last first, up to limit of them,
// from a cursor that an earlier page returned on; an empty one means from the beginning, and a limit of 0
// means 50, at most 1000. Expired clients are listed until they are swept. The list is for operators: it
// names users and addresses of clients.
func (o *operator) ListClients(ctx context.Context, filter ClientFilter, after string, limit int) (*ClientPage, error) {
	at, id, ok := cursor.Read(after)
	if !ok {
		return nil, errBadCursor
	}
	filter, err := o.ownFilter(ctx, filter)
	if err != nil {
		return nil, err
	}
	limit = cursor.Limit(limit)
	clients, err := o.lister.ListClients(ctx, filter, ClientCursor{at, id}, limit+1)
	if err != nil {
		return nil, err
	}
	page := &ClientPage{Clients: clients}
	if len(clients) > limit {
		page.Clients = clients[:limit]
		last := clients[limit-1]
		page.Next = cursor.Text(last.CreatedAt, last.ID)
	}
	return page, nil
}

// CountClients returns how many clients of the issuer fit, and most where there are more.
func (o *operator) CountClients(ctx context.Context, filter ClientFilter, most int) (int, error) {
	filter, err := o.ownFilter(ctx, filter)
	if err != nil {
		return 0, err
	}
	return o.lister.CountClients(ctx, filter, max(most, 0))
}

// ownFilter is a filter for clients of the issuer, with values in the form that they are compared in.
func (o *operator) ownFilter(ctx context.Context, filter ClientFilter) (ClientFilter, error) {
	issuer, err := o.location.realm(ctx)
	if err == nil && o.lister == nil {
		err = errNoList
	}
	filter.Issuer = issuer
	filter.NameKey, filter.RedirectHost = NameKey(filter.NameKey), strings.ToLower(filter.RedirectHost)
	return filter, err
}

// sweepBatch is how many clients one statement of a sweep removes.
const sweepBatch = 500

// Sweep removes the expired clients, with what they leave behind, in batches, and returns how many. Several
// processes may sweep one storage at once. With a storage that is no ExpiredDeleter it fails; the clients
// have expired all the same.
func (o *operator) Sweep(ctx context.Context) (int, error) {
	if o.expired == nil {
		return 0, errNoSweep
	}
	removed, expiry := 0, o.lifetimes.expiry()
	for {
		began := time.Now()
		clients, err := o.expired.DeleteExpiredClients(ctx, expiry, sweepBatch)
		removed += len(clients)
		for _, client := range clients {
			o.grants.tokens.clear(ctx, client.ID, client.tokenRecords()...)
			o.grants.expired(ctx, client)
			runtime.Gosched() // requests come first
		}
		if err != nil || len(clients) < sweepBatch {
			return removed, err
		}
		time.Sleep(min(time.Since(began), 10*time.Millisecond)) // and have the processor for as long
	}
}

// RunSweeper sweeps at once and then once in each interval, at least a second, until ctx ends; an
// application runs it in a goroutine of its own. A sweep that fails is an event, and is tried again.
func (o *operator) RunSweeper(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(max(interval, time.Second))
	defer ticker.Stop()
	for {
		if _, err := o.Sweep(ctx); err != nil && ctx.Err() == nil {
			o.journal.cleanupFailed(ctx, "", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
