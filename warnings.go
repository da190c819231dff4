package dcr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Warnings tells what is legal in the composition and hardly meant, a sentence each with
// what to change. A host logs them when it starts; Extend returns an error for what can't
// work at all.
func (p *Provider) Warnings() []string {
	r := p.registry
	found := r.grantWarnings(context.Background())
	warn := func(when bool, text string) {
		if when {
			found = append(found, text)
		}
	}
	warn(len(r.cfg.Scopes) == 0, "Config.Scopes is empty, so clients register without any scope and their tokens have none: name the scopes that clients may have")
	sinks, several := r.cfg.Events.(eventSinks)
	warn(r.cfg.Events == EventSink(noEvents{}) || several && len(sinks) == 0, "Config.Events is nil, so nobody learns who registers and what is refused: set dcr.LogEvents or a sink of your own")
	if hasRule[open](r.cfg.Access) {
		warn(r.uses == nil, "registration is open and the storage does not note which clients are used, so that those which never are stay for ever: add dcr.UseRecorder to it")
	}
	everybody := func(p netip.Prefix) bool { return p.Bits() == 0 }
	warn(slices.ContainsFunc(r.cfg.TrustedProxies, everybody), "Config.TrustedProxies trusts every address, so that callers choose the one that limits and events know them by: name your proxies only")
	warn(r.uses != nil && r.expired == nil, "the storage can not remove clients that have ended: add dcr.ExpiredDeleter to it, and run Provider.RunSweeper")
	return found
}

// grantWarnings is about grant types that nobody gets to use.
func (r *registry) grantWarnings(ctx context.Context) []string {
	var found []string
	for _, grant := range r.cfg.AnonymousGrantTypes {
		if !slices.Contains(r.can.grantTypes, grant) {
			found = append(found, fmt.Sprintf("Config.AnonymousGrantTypes has %q, which no composed factory handles: add the factory, or leave it out", grant))
		}
	}
	if scopes := r.fosite.GetRefreshTokenScopes(ctx); len(scopes) > 0 && r.handles(ctx, grantRefreshToken) {
		found = append(found, fmt.Sprintf("clients get a refresh token only if one of fosite's RefreshTokenScopes %q is granted, which few ask for: "+
			"set it to an empty list, not nil, if the grant type is to be enough", scopes))
	}
	return found
}
