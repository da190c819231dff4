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
	var err error
	for range updateRounds {
		var before *Client
		if before, err = r.findOwn(ctx, id); err != nil {
			return err
		}
		now := r.now()
		if !before.ExpiresAt.IsZero() && !before.ExpiresAt.After(now) {
			return nil
		}
		after := before.Clone()
		after.Version++
		after.ExpiresAt = now
		if err = r.clients.UpdateClient(ctx, after, before.Version); err == nil {
			r.tell(ctx, Event{Kind: EventUpdated, ClientID: id, Before: before, After: after})
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}

// RevokeTokens removes all tokens and grants of a client: codes, access and refresh tokens,
// and its registration access token, so that it can't be managed any more. The client
// itself stays, and may ask its users again. The storage has to implement GrantRevoker.
func (p *Provider) RevokeTokens(ctx context.Context, id string) error {
	r := p.registry
	client, err := r.findOwn(ctx, id)
	if err != nil {
		return err
	}
	if r.grants == nil {
		return errNoRevoker
	}
	if err := r.grants.RevokeClientGrants(ctx, id); err != nil {
		return err
	}
	r.tell(ctx, Event{Kind: EventGrantsRevoked, ClientID: id, After: client})
	return nil
}

// NamedPolicies returns the names of Config.NamedPolicies, in order.
func (p *Provider) NamedPolicies() []string {
	return slices.Sorted(maps.Keys(p.registry.cfg.NamedPolicies))
}
