package dcr

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"
)

// Registrations that are alike down to the byte can share one client (Config.ShareIdentical;
// RFC 7591, section 3.2.1, lets a server answer one identifier to several). Its identifier
// is computed from what is registered, so that the storage's own check for a taken
// identifier finds the client, whichever process registered it.

// isShared reports whether a registration may be answered with a client that others have:
// a public client, since there is no secret to hand out twice, and one that nobody answers
// for.
func (r *registry) isShared(request *RegistrationRequest) bool {
	who := request.Registrant
	return r.cfg.ShareIdentical && who.Anonymous && who.InitialAccessToken == "" && who.Subject == "" &&
		request.Metadata.TokenEndpointAuthMethod == methodNone
}

// sharedID returns the identifier for what is registered, and for what policies decided of
// it. Without the secret of the server nobody can compute it.
func (r *registry) sharedID(ctx context.Context, request *RegistrationRequest) (string, error) {
	metadata, err := request.Metadata.MarshalJSON()
	if err != nil {
		return "", failure(err)
	}
	secret, err := r.fosite.GetGlobalSecret(ctx)
	if err != nil {
		return "", failure(err)
	}
	mac := hmac.New(sha256.New, secret)
	who, decided := request.Registrant, request.Metadata.decided
	said := fmt.Sprintf("lifetime=%d consent=%t pkce=%t", decided.lifetime, decided.alwaysAskConsent, decided.requirePKCE)
	for _, part := range []string{"dcr shared client", request.issuer, who.Kind, who.Policy, said, string(metadata)} {
		mac.Write([]byte(part))
		mac.Write([]byte{0}) // none of them has one
	}
	return base32.StdEncoding.EncodeToString(mac.Sum(nil))[:len(newClientID())], nil
}

// share answers with the client that is registered already, or registers it. It has no
// registration access token: nobody may change or delete what others use.
func (r *registry) share(ctx context.Context, request *RegistrationRequest) (*ClientInformation, error) {
	id, err := r.sharedID(ctx, request)
	if err != nil {
		return nil, err
	}
	fresh := newClient(r, request, credentials{id: id})
	fresh.Shared = true
	for range createRounds {
		client, event, err := r.shareOnce(ctx, fresh)
		switch {
		case err == nil:
			r.tell(ctx, Event{Kind: event, ClientID: id, After: client})
			return r.information(client, "", "", ""), nil
		case !errors.Is(err, ErrClientExists) && !errors.Is(err, ErrConflict) && !errors.Is(err, fosite.ErrNotFound):
			return nil, failure(err)
		}
	}
	return nil, failure(errSharedOvertaken)
}

var errSharedOvertaken = fmt.Errorf("%w: other requests got ahead with a shared client", ErrUnavailable)

// shareOnce takes up the client that is there, or one that has ended, or creates it. The
// error is ErrClientExists, ErrConflict or fosite.ErrNotFound where another request got
// ahead.
func (r *registry) shareOnce(ctx context.Context, fresh *Client) (*Client, EventKind, error) {
	found, err := r.clients.GetDynamicClient(ctx, fresh.ID)
	switch {
	case err == nil && found == nil:
		return nil, "", errNilClient
	case err == nil && r.expiry().Ended(found):
		return r.revive(ctx, found, fresh)
	case err == nil:
		client, err := r.renew(ctx, found, fresh)
		return client, EventShared, err
	case !errors.Is(err, fosite.ErrNotFound):
		return nil, "", err
	}
	// An earlier client may have had this identifier: what it left must not come alive.
	if err := r.grants.RevokeClientGrants(ctx, fresh.ID); err != nil {
		return nil, "", err
	}
	return fresh, EventRegistered, r.create(ctx, fresh)
}

// renew gives a client at least the time of a new one, and its youth.
func (r *registry) renew(ctx context.Context, found, fresh *Client) (*Client, error) {
	if !found.LastUsedAt.IsZero() {
		return found, r.renewUsed(ctx, found, fresh)
	}
	step := touchInterval
	if young := r.cfg.Lifecycle.Young; young > 0 {
		step = min(step, young/2)
	}
	if fresh.UpdatedAt.Before(found.UpdatedAt.Add(step)) {
		return found, nil
	}
	next := found.Clone()
	next.Version++
	next.UnusedUntil, next.UpdatedAt = fresh.UnusedUntil, fresh.UpdatedAt
	return next, r.clients.UpdateClient(ctx, next, found.Version)
}

// renewUsed keeps a client that has been idle from ending under whoever registers it now.
func (r *registry) renewUsed(ctx context.Context, found, fresh *Client) error {
	idle := r.cfg.Lifecycle.Idle
	if idle <= 0 || r.uses == nil {
		return nil
	}
	until := fresh.UnusedUntil
	if until.IsZero() {
		until = r.now().Add(idle)
	}
	if !later(found.LastUsedAt.Add(idle), found.KeepUntil).Add(touchInterval).Before(until) {
		return nil
	}
	return r.uses.TouchClient(ctx, found.ID, time.Time{}, until)
}

// revive registers anew what has ended and was not swept yet, in the place of its record:
// a deletion could hit what another process has registered meanwhile. Its grants go first.
// One that was used counts as used now, and ends by Lifecycle.Idle or Maximum.
func (r *registry) revive(ctx context.Context, found, fresh *Client) (*Client, EventKind, error) {
	if err := r.grants.RevokeClientGrants(ctx, fresh.ID); err != nil {
		return nil, "", err
	}
	next := fresh.Clone()
	next.Version = found.Version + 1
	if !found.LastUsedAt.IsZero() {
		next.LastUsedAt = fresh.CreatedAt // a storage keeps the later one, which is long ago
	}
	if err := r.clients.UpdateClient(ctx, next, found.Version); err != nil {
		return nil, "", err
	}
	r.tell(ctx, Event{Kind: EventExpired, ClientID: found.ID, Before: found})
	return next, EventRegistered, nil
}
