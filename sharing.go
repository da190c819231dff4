package dcr

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"

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
	return r.cfg.ShareIdentical && request.Registrant.Anonymous && request.Registrant.InitialAccessToken == "" &&
		request.Metadata.TokenEndpointAuthMethod == methodNone
}

// sharedID returns the identifier for what is registered. Without the secret of the server
// nobody can compute it.
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
	for _, part := range []string{"dcr shared client", request.issuer, request.Registrant.Kind, request.Registrant.Policy, string(metadata)} {
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
	client := newClient(r, request, credentials{id: id})
	client.Shared = true
	for range createRounds {
		err = r.create(ctx, client)
		if err == nil {
			r.tell(ctx, Event{Kind: EventRegistered, ClientID: id, After: client})
			return r.information(client, "", "", ""), nil
		}
		if !errors.Is(err, ErrClientExists) {
			break
		}
		var found *Client
		if found, err = r.reuse(ctx, client); err == nil && found != nil {
			r.tell(ctx, Event{Kind: EventShared, ClientID: id, After: found})
			return r.information(found, "", "", ""), nil
		}
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, fosite.ErrNotFound) {
			break
		}
	}
	return nil, failure(err)
}

// reuse returns the client that has the identifier of a new one, and gives it the time
// that the new one would have to be used. One that has ended is removed first: nothing is
// returned then, and ErrConflict or fosite.ErrNotFound where another request got ahead.
func (r *registry) reuse(ctx context.Context, fresh *Client) (*Client, error) {
	found, err := r.clients.GetDynamicClient(ctx, fresh.ID)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errNilClient
	}
	if r.expiry().Ended(found) {
		if err := r.clients.DeleteClient(ctx, fresh.ID); err != nil {
			return nil, err
		}
		r.revokeGrants(ctx, fresh.ID)
		r.tell(ctx, Event{Kind: EventExpired, ClientID: fresh.ID, Before: found})
		return nil, nil
	}
	if !found.LastUsedAt.IsZero() || !found.UnusedUntil.Add(touchInterval).Before(fresh.UnusedUntil) {
		return found, nil
	}
	next := found.Clone()
	next.Version++
	next.UnusedUntil, next.UpdatedAt = fresh.UnusedUntil, fresh.UpdatedAt
	return next, r.clients.UpdateClient(ctx, next, found.Version)
}
