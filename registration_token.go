package dcr

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/ory/fosite"
)

// A registration access token is an access token of the composed strategy, and
// its entry a session in the host's storage of access tokens. The entry lies under
// a key that no token has as its signature: the dot keeps it out of the alphabet
// of signatures, so that introspection never finds a registration access token and
// an access token is never found here (T01, T02).
const entryPrefix = "dcr.registration."

// entryLifetime is what the session of an entry says; the storages of hosts were
// not made for tokens that never expire. The lifetime that counts is the record's.
const entryLifetime = 10 * 365 * 24 * time.Hour

func entryKey(signature string) string { return entryPrefix + signature }

func newSession() fosite.Session { return new(fosite.DefaultSession) }

// issueToken makes a token. Nothing of it is stored yet.
func (r *registry) issueToken(ctx context.Context) (token string, record RegistrationTokenRecord, err error) {
	token, signature, err := r.strategy.GenerateAccessToken(ctx, r.tokenRequest(nil))
	if err == nil && (token == "" || signature == "") {
		err = errors.New("the access token strategy returned an empty token or signature")
	}
	if err != nil {
		return "", record, failure(err)
	}
	return token, RegistrationTokenRecord{Signature: signature, ExpiresAt: r.tokenExpiry()}, nil
}

func (r *registry) tokenExpiry() time.Time {
	if r.cfg.RegistrationToken.Lifetime == 0 {
		return time.Time{}
	}
	return r.now().Add(r.cfg.RegistrationToken.Lifetime)
}

// storeEntry stores the entry of a token, for a client that exists.
func (r *registry) storeEntry(ctx context.Context, client *Client, record RegistrationTokenRecord) error {
	return r.tokens.CreateAccessTokenSession(ctx, entryKey(record.Signature), r.tokenRequest(client))
}

// removeEntry removes an entry that is dead already; one that is missing is none.
func (r *registry) removeEntry(ctx context.Context, record RegistrationTokenRecord) error {
	if record.Signature == "" {
		return nil
	}
	err := r.tokens.DeleteAccessTokenSession(ctx, entryKey(record.Signature))
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}

// tokenRequest is the request that the entry of a token holds. What matters lies in
// its ordinary parts: the client and the scope.
func (r *registry) tokenRequest(client *Client) *fosite.Request {
	request := fosite.NewRequest()
	request.RequestedAt = r.now().UTC().Truncate(time.Second)
	request.Session = r.cfg.NewSession()
	request.Session.SetExpiresAt(fosite.AccessToken, request.RequestedAt.Add(entryLifetime))
	request.RequestedScope = fosite.Arguments{r.cfg.RegistrationToken.Scope}
	request.GrantedScope = fosite.Arguments{r.cfg.RegistrationToken.Scope}
	if client != nil {
		request.Client = client
	}
	return request
}

// authenticate returns the client that token manages, if it is the client id. Every
// refusal is the same ErrInvalidToken. A storage that fails is a fault.
func (r *registry) authenticate(ctx context.Context, issuer, id, token string) (*Client, error) {
	// The signature comes first, so that guessing costs no look-up, and is judged
	// without a session: fosite takes one without expiry for one of an hour.
	if err := r.strategy.ValidateAccessToken(ctx, r.tokenRequest(nil), token); err != nil {
		return nil, ErrInvalidToken
	}
	client, err := r.clients.GetDynamicClient(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return nil, ErrInvalidToken
	} else if err == nil && client == nil {
		err = errNilClient
	}
	if err != nil {
		return nil, failure(err)
	}
	shown := *client
	client = &shown
	client.view = view{now: r.cfg.Now}
	record := client.tokenRecord(r.strategy.AccessTokenSignature(ctx, token))
	if record.Signature == "" || client.past(record.ExpiresAt) || r.expiry().Ended(client) || client.Issuer != issuer {
		return nil, ErrInvalidToken
	}
	return client, r.checkEntry(ctx, client, record)
}

// checkEntry: a token whose entry is gone is dead, whoever removed it.
func (r *registry) checkEntry(ctx context.Context, client *Client, record RegistrationTokenRecord) error {
	entry, err := r.tokens.GetAccessTokenSession(ctx, entryKey(record.Signature), r.cfg.NewSession())
	switch {
	case errors.Is(err, fosite.ErrNotFound), errors.Is(err, fosite.ErrInactiveToken):
		return ErrInvalidToken
	case err != nil:
		return failure(err)
	case entry == nil || entry.GetClient() == nil || entry.GetClient().GetID() != client.ID:
		return ErrInvalidToken
	}
	return nil
}

// tokenRecord returns the record with this signature, the current one or the one
// before; an empty one where the client has neither.
func (c *Client) tokenRecord(signature string) RegistrationTokenRecord {
	var found RegistrationTokenRecord
	for _, record := range []RegistrationTokenRecord{c.RegistrationToken, c.PreviousRegistrationToken} {
		if record.Signature != "" && subtle.ConstantTimeCompare([]byte(record.Signature), []byte(signature)) == 1 {
			found = record
		}
	}
	return found
}

// rotate puts a new token record into a client. The token that was presented stays
// valid for the grace, where there is one.
func (r *registry) rotate(client *Client, presented, next RegistrationTokenRecord) {
	client.PreviousRegistrationToken = RegistrationTokenRecord{}
	if grace := r.cfg.RegistrationToken.Grace; grace > 0 {
		until := r.now().Add(grace)
		if presented.ExpiresAt.IsZero() || until.Before(presented.ExpiresAt) {
			presented.ExpiresAt = until
		}
		client.PreviousRegistrationToken = presented
	}
	client.RegistrationToken = next
}

// isRegistrationToken reports whether token, which has a valid signature, is the
// client's own.
func (r *registry) isRegistrationToken(ctx context.Context, client *Client, token string) bool {
	return r.strategy.ValidateAccessToken(ctx, r.tokenRequest(nil), token) == nil &&
		client.tokenRecord(r.strategy.AccessTokenSignature(ctx, token)).Signature != ""
}
