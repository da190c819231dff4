package dcr

import (
	"context"
	"errors"

	"github.com/ory/fosite"
)

// endGrants removes the grants of a client whose redirect URIs have changed
// (Config.RevokeOnRedirectChange, T39). It does so after the commit: before it, an update
// that loses would end the grants of one that wins. Where the removal fails, the update is
// taken back, since the grants would be worth something at the new place.
func (r *registry) endGrants(ctx context.Context, before, after *Client) error {
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.removeGrants(cleanup, after); err != nil {
		r.takeBack(cleanup, before, after)
		return err
	}
	r.tell(ctx, Event{Kind: EventGrantsRevoked, ClientID: after.ID, After: after})
	return nil
}

// takeBack puts the record back that an update has replaced. Where another update has come
// in between, the removal is tried again instead. What can't be done is told.
func (r *registry) takeBack(ctx context.Context, before, after *Client) {
	restored := before.Clone()
	restored.Version, restored.GrantsRevoked = after.Version+1, after.GrantsRevoked+1
	err := r.clients.UpdateClient(ctx, restored, after.Version)
	if errors.Is(err, ErrConflict) {
		err = r.removeGrants(ctx, after)
	}
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		r.leftover(ctx, after.ID, err)
	}
	if after.RegistrationToken.Signature != before.RegistrationToken.Signature {
		r.clear(ctx, after.ID, after.RegistrationToken)
	}
	r.restoreEntries(ctx, after.ID) // a removal that failed may have reached them
}

// restoreEntries puts the entries of a client's registration access tokens back, those of the
// record as it is now: another update may have come in between, and another may come while
// this is done.
func (r *registry) restoreEntries(ctx context.Context, id string) {
	var stored []RegistrationTokenRecord
	for version := int64(-1); ; {
		client, err := r.clients.GetDynamicClient(ctx, id)
		if errors.Is(err, fosite.ErrNotFound) {
			r.clear(ctx, id, stored...) // deleted meanwhile
			return
		}
		if err == nil && client != nil && client.Version == version {
			return
		}
		if err != nil || client == nil {
			r.leftover(ctx, id, firstOf(err, errNilClient))
			return
		}
		version = client.Version
		for _, record := range client.tokenRecords() {
			if err := r.restoreEntry(ctx, client, record); err != nil {
				r.leftover(ctx, id, err)
			}
			stored = append(stored, record)
		}
	}
}

// restoreEntry puts an entry back that is not there.
func (r *registry) restoreEntry(ctx context.Context, client *Client, record RegistrationTokenRecord) error {
	_, err := r.tokens.GetAccessTokenSession(ctx, entryKey(record.Signature), r.cfg.NewSession())
	if err == nil {
		return nil
	}
	return r.storeEntry(ctx, client, record)
}

// tokenRecords are the records of the client's registration access tokens.
func (c *Client) tokenRecords() []RegistrationTokenRecord {
	return keep([]RegistrationTokenRecord{c.RegistrationToken, c.PreviousRegistrationToken}, func(record RegistrationTokenRecord) bool {
		return record.Signature != ""
	})
}
