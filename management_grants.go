package dcr

import "context"

// endGrants removes the grants of a client whose redirect URIs have changed
// (Config.RevokeOnRedirectChange, T39). It does so after the commit: before it, an update
// that loses would end the grants of one that wins. Where the removal fails, the update is
// taken back, since the grants would be worth something at the new place.
//
// Among the grants are the entries of registration access tokens, which are put back.
func (r *registry) endGrants(ctx context.Context, before, after *Client) error {
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.grants.RevokeClientGrants(cleanup, after.ID); err != nil {
		r.takeBack(cleanup, before, after)
		return err
	}
	r.storeEntries(cleanup, after)
	r.tell(ctx, Event{Kind: EventGrantsRevoked, ClientID: after.ID, After: after})
	return nil
}

// takeBack puts the record back that an update has replaced. What can't be put back is told.
func (r *registry) takeBack(ctx context.Context, before, after *Client) {
	restored := before.Clone()
	restored.Version = after.Version + 1
	if err := r.clients.UpdateClient(ctx, restored, after.Version); err != nil {
		r.leftover(ctx, after.ID, err)
		return
	}
	if after.RegistrationToken.Signature != before.RegistrationToken.Signature {
		r.clear(ctx, after.ID, after.RegistrationToken)
	}
	// A removal that failed may have reached them.
	for _, record := range before.tokenRecords() {
		if _, err := r.tokens.GetAccessTokenSession(ctx, entryKey(record.Signature), r.cfg.NewSession()); err != nil {
			_ = r.storeEntry(ctx, restored, record)
		}
	}
}

// storeEntries puts the entries of a client's registration access tokens back.
func (r *registry) storeEntries(ctx context.Context, client *Client) {
	for _, record := range client.tokenRecords() {
		if err := r.storeEntry(ctx, client, record); err != nil {
			r.leftover(ctx, client.ID, err)
		}
	}
}

// tokenRecords are the records of the client's registration access tokens.
func (c *Client) tokenRecords() []RegistrationTokenRecord {
	return keep([]RegistrationTokenRecord{c.RegistrationToken, c.PreviousRegistrationToken}, func(record RegistrationTokenRecord) bool {
		return record.Signature != ""
	})
}
