package dcr

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// What an operator does with clients. None of it asks who that is: what mounts these
// methods does (package admin refuses to be mounted without). AsOperator names the
// operator in events.

var errNoRevoker = fmt.Errorf("%w: it does not implement GrantRevoker", ErrNotSupported)

// FindClient returns a registered client of the issuer, one that has ended as well. An
// unknown one is fosite.ErrNotFound.
func (p *Provider) FindClient(ctx context.Context, id string) (*Client, error) {
	return p.registry.findOwn(ctx, id)
}

// DeleteClient removes a client at once, as the client itself can by RFC 7592, with all
// its tokens. An unknown one is fosite.ErrNotFound.
func (p *Provider) DeleteClient(ctx context.Context, id string) error {
	client, err := p.registry.findOwn(ctx, id)
	if err != nil {
		return err
	}
	return p.registry.remove(ctx, client)
}

// ExpireClient ends a client now: it does not exist any more, wherever it is looked up,
// and its record stays to be seen until the next sweep.
func (p *Provider) ExpireClient(ctx context.Context, id string) error {
	r := p.registry
	now := r.now()
	before, after, err := r.edit(ctx, id, operatorRounds, func(c *Client) bool {
		ended := !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(now)
		c.ExpiresAt = now
		return !ended
	})
	if err == nil && after != nil {
		r.tell(ctx, Event{Kind: EventUpdated, ClientID: id, Before: before, After: after})
	}
	return err
}

// operatorRounds is how often an operator's change starts over where others get ahead: a
// client that updates without pause must not hold it off.
const operatorRounds = 100

// RevokeTokens removes all tokens and grants of a client: codes, access and refresh tokens,
// and its registration access token, so that it can't be managed any more. The client
// itself stays, and may ask its users again. A token request that is under way gets nothing.
// The storage has to implement GrantRevoker. An error after the record was written is an
// event, too: until the removal is done, by another call or by the next token request, the
// client gets no tokens.
func (p *Provider) RevokeTokens(ctx context.Context, id string) error {
	r := p.registry
	if r.grants == nil {
		_, err := r.findOwn(ctx, id)
		return firstOf(err, errNoRevoker)
	}
	_, after, err := r.edit(ctx, id, operatorRounds, func(c *Client) bool {
		c.RegistrationToken, c.PreviousRegistrationToken = RegistrationTokenRecord{}, RegistrationTokenRecord{}
		beginRemoval(c)
		return true
	})
	if err != nil {
		return err
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.removeGrants(cleanup, after); err != nil {
		r.leftover(ctx, id, err)
		return err
	}
	r.tell(ctx, Event{Kind: EventGrantsRevoked, ClientID: id, After: after})
	return nil
}

// NamedPolicies returns the names of Config.NamedPolicies, in order.
func (p *Provider) NamedPolicies() []string {
	return slices.Sorted(maps.Keys(p.registry.cfg.NamedPolicies))
}
