package dcr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ory/fosite"
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

func (r *registry) findOwn(ctx context.Context, id string) (*Client, error) {
	issuer, err := r.issuer(ctx)
	if err != nil {
		return nil, err
	}
	client, err := r.clients.GetDynamicClient(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case client == nil:
		return nil, errNilClient
	case client.Issuer != issuer: // T41
		return nil, fosite.ErrNotFound
	}
	return client, nil
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
	before, after, err := r.edit(ctx, id, func(c *Client) bool {
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

// edit changes a record, and returns it as it was and as it is; no record where change
// reports that there is nothing to do.
func (r *registry) edit(ctx context.Context, id string, change func(*Client) bool) (before, after *Client, err error) {
	for range operatorRounds {
		if before, err = r.findOwn(ctx, id); err != nil {
			return nil, nil, err
		}
		after = before.Clone()
		after.Version++
		if !change(after) {
			return before, nil, nil
		}
		if err = r.clients.UpdateClient(ctx, after, before.Version); !errors.Is(err, ErrConflict) {
			return before, after, err
		}
	}
	return nil, nil, err
}

// RevokeTokens removes all tokens and grants of a client: codes, access and refresh tokens,
// and its registration access token, so that it can't be managed any more. The client
// itself stays, and may ask its users again. The storage has to implement GrantRevoker.
func (p *Provider) RevokeTokens(ctx context.Context, id string) error {
	r := p.registry
	if r.grants == nil {
		_, err := r.findOwn(ctx, id)
		return firstOf(err, errNoRevoker)
	}
	client, after, err := r.edit(ctx, id, func(c *Client) bool {
		had := c.RegistrationToken.Signature != "" || c.PreviousRegistrationToken.Signature != ""
		c.RegistrationToken, c.PreviousRegistrationToken = RegistrationTokenRecord{}, RegistrationTokenRecord{}
		return had
	})
	if err != nil {
		return err
	}
	if err := r.grants.RevokeClientGrants(ctx, id); err != nil {
		return err
	}
	if after != nil {
		client = after
	}
	r.tell(ctx, Event{Kind: EventGrantsRevoked, ClientID: id, After: client})
	return nil
}

// NamedPolicies returns the names of Config.NamedPolicies, in order.
func (p *Provider) NamedPolicies() []string {
	return slices.Sorted(maps.Keys(p.registry.cfg.NamedPolicies))
}
