package dcr

import (
	"context"
	"errors"
)

// Quotas bounds how many clients one registrant has at a time. Zero means no bound. Clients
// that were deleted do not count; those that have ended do until a sweep removes them. The
// storage has to implement ClientLister. How many clients there are in all is bounded by
// the storage (ErrFull).
//
// Past a quota the answer is 403 access_denied. Quotas bound registrants with a name: where
// Access has Open as well, whoever is over a quota may register as a stranger.
type Quotas struct {
	// PerSubject bounds the clients of one Registrant.Subject: a user, or whom an initial
	// access token was minted for.
	PerSubject int
	// PerInitialAccessToken bounds the clients of one initial access token that exist at a
	// time; how many it may ever register is its own MaxUses.
	PerInitialAccessToken int
}

// errQuota is wrapped by the refusals of quotas, so that events tell them apart.
var errQuota = errors.New("dcr: a quota is used up")

// checkQuotas refuses a registrant who would have more clients than allowed, with more to
// come. It is asked before a client is created, and afterwards again, when the client
// itself counts: registrations at once don't pass a quota together.
func (r *registry) checkQuotas(ctx context.Context, who *Registrant, issuer string, more int) error {
	quotas := r.cfg.Quotas
	if quotas.PerSubject > 0 && who.Subject != "" {
		if err := r.within(ctx, quotas.PerSubject-more, ClientFilter{Issuer: issuer, Subject: who.Subject}); err != nil {
			return err
		}
	}
	if quotas.PerInitialAccessToken > 0 && who.InitialAccessToken != "" {
		return r.within(ctx, quotas.PerInitialAccessToken-more, ClientFilter{Issuer: issuer, InitialAccessToken: who.InitialAccessToken})
	}
	return nil
}

func (r *registry) within(ctx context.Context, most int, filter ClientFilter) error {
	found, err := r.list.CountClients(ctx, filter, most+1)
	if err != nil {
		return failure(err)
	}
	if found > most {
		return ErrAccessDenied.WithDescription("The registrant has as many clients as this server allows.").WithWrap(errQuota)
	}
	return nil
}
