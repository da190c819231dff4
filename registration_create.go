package dcr

import (
	"context"
	"errors"

	"github.com/ory/fosite"
)

// createRounds is how often a creation is tried where an identifier is taken, or where others
// take the room that was made.
const createRounds = 3

// create writes the record and then the token's entry; both or none. A storage that is full
// is given room by the oldest client that was never used.
func (r *registry) create(ctx context.Context, client *Client) error {
	created, err := r.createOnce(ctx, client)
	for tries := 0; errors.Is(err, ErrFull) && tries < createRounds; tries++ {
		// Where it is the entry that has no room, a client makes some if its entry goes too.
		if created && r.grants == nil || !r.makeRoom(ctx) {
			return err
		}
		created, err = r.createOnce(ctx, client)
	}
	return err
}

func (r *registry) createOnce(ctx context.Context, client *Client) (created bool, err error) {
	err = r.inTransaction(ctx, func(ctx context.Context) error {
		if err := r.clients.CreateClient(ctx, client); err != nil {
			return err
		}
		created = true
		if client.RegistrationToken.Signature == "" {
			return nil
		}
		return r.storeEntry(ctx, client, client.RegistrationToken)
	})
	if err == nil {
		// Not in the transaction, in which others may not be seen.
		if err = r.checkQuotas(ctx, &client.Origin, client.Issuer, 0); err == nil {
			return true, nil
		}
		r.undoCreate(ctx, client)
		return true, err
	}
	// A storage that failed may have created the record all the same. Under an identifier
	// that others have, it is left: nobody was told of it, and the next to ask takes it up.
	mayBeThere := created || !client.Shared && !errors.Is(err, ErrFull)
	if mayBeThere && !errors.Is(err, ErrClientExists) && r.transactions == nil {
		r.undoCreate(ctx, client)
	}
	return created, err
}

// undoCreate takes back what may have been written, by a storage that failed in the
// middle too. Should that fail, it stays as a client that nobody can use.
func (r *registry) undoCreate(ctx context.Context, client *Client) {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.clients.DeleteClient(ctx, client.ID); err != nil && !errors.Is(err, fosite.ErrNotFound) {
		r.leftover(ctx, client.ID, err)
		return
	}
	r.clear(ctx, client.ID, client.RegistrationToken)
}

// creationFailed: a quota refuses, anything else is a failure of the server.
func creationFailed(err error) error {
	if errors.Is(err, errQuota) {
		return err
	}
	return failure(err)
}
