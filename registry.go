package dcr

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
)

// registry is what every operation of one provider shares. It is made by the
// factory, completed by Extend, and not changed afterwards.
type registry struct {
	cfg    Config
	limits *limits
	fosite fosite.Configurator

	// store is how fosite finds clients; nil until the provider was extended.
	store fosite.Storage

	clients      ClientStorage
	tokens       oauth2.AccessTokenStorage
	grants       GrantRevoker          // nil where the storage has none
	uses         UseRecorder           // nil where the storage has none
	transactions storage.Transactional // nil where the storage has none
	// initialTokens is nil where the storage has none.
	initialTokens InitialAccessTokenStorage
	expired       ExpiredDeleter // nil where the storage has none
	room          RoomMaker      // nil where the storage has none
	list          ClientLister   // nil where the storage has none
	// revocation removes the tokens of one grant; nil where the storage can't.
	revocation oauth2.TokenRevocationStorage

	strategy oauth2.AccessTokenStrategy
	// idTokens signs ID tokens; nil where the host makes none.
	idTokens openid.OpenIDConnectTokenStrategy
	hasher   fosite.Hasher
	look     introspect // the provider's introspection, for access rules
	can      capabilities
	// fetch gets what a client pointed at, through the guarded client.
	fetch func(ctx context.Context, url string) ([]byte, error)
}

func (r *registry) now() time.Time { return r.cfg.Now() }

// issuer returns the issuer of a request; a host whose function finds none has
// failed.
func (r *registry) issuer(ctx context.Context) (string, error) {
	issuer := r.issuerOf(ctx)
	if issuer == "" {
		return "", failure(errNoIssuer)
	}
	return issuer, nil
}

func (r *registry) issuerOf(ctx context.Context) string {
	if r.cfg.Issuer != nil {
		return r.cfg.Issuer(ctx)
	}
	if issuer := r.fosite.GetAccessTokenIssuer(ctx); issuer != "" {
		return issuer
	}
	return r.fosite.GetIDTokenIssuer(ctx)
}

// registrationEndpoint returns the public URL of the registration endpoint.
func (r *registry) registrationEndpoint(ctx context.Context) string {
	if r.cfg.RegistrationEndpoint != nil {
		return strings.TrimSuffix(r.cfg.RegistrationEndpoint(ctx), "/")
	}
	return strings.TrimSuffix(r.issuerOf(ctx), "/") + r.cfg.RegistrationPath
}

// inTransaction runs the writes of one operation in a transaction, where the
// storage has them.
func (r *registry) inTransaction(ctx context.Context, write func(context.Context) error) error {
	if r.transactions == nil {
		return write(ctx)
	}
	ctx, err := r.transactions.BeginTX(ctx)
	if err != nil {
		return err
	}
	written := false
	defer func() {
		if written {
			return
		}
		// An error, or a panic of the storage: no transaction stays open.
		undo, cancel := cleanupContext(ctx)
		defer cancel()
		if err := r.transactions.Rollback(undo); err != nil {
			r.leftover(ctx, "", err)
		}
	}()
	if err := write(ctx); err != nil {
		return err
	}
	written = true
	return r.transactions.Commit(ctx)
}

// cleanupContext is for what has to be done although the client may be gone.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// clear removes entries of tokens that are dead already.
func (r *registry) clear(ctx context.Context, clientID string, records ...RegistrationTokenRecord) {
	if len(records) == 0 {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	for _, record := range records {
		if err := r.removeEntry(cleanup, record); err != nil {
			r.leftover(ctx, clientID, err)
		}
	}
}

// revokeGrants removes the tokens and grants of a client that is gone, where the storage
// can.
func (r *registry) revokeGrants(ctx context.Context, clientID string) {
	if r.grants == nil {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.grants.RevokeClientGrants(cleanup, clientID); err != nil {
		r.leftover(ctx, clientID, err)
	}
}

// findOwn returns a registered client of the issuer, one that has ended as well.
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

// edit changes a record, and returns it as it was and as it is; nothing is done, and no
// record returned, where change reports that there is nothing to do. Where others get ahead
// it starts over, so many times.
func (r *registry) edit(ctx context.Context, id string, rounds int, change func(*Client) bool) (before, after *Client, err error) {
	for range rounds {
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

// beginRemoval marks a record: from its commit on, until removeGrants is done, no request gets
// tokens for the client.
func beginRemoval(c *Client) { c.GrantsRevoked += 1 + c.GrantsRevoked%2 }

// removeGrants removes all grants of a client that stays, whose record was marked, and lets
// requests pass again that begin afterwards. Among the grants are the entries of its
// registration access tokens, which are put back.
func (r *registry) removeGrants(ctx context.Context, marked *Client) error {
	if err := r.grants.RevokeClientGrants(ctx, marked.ID); err != nil {
		return err
	}
	r.restoreEntries(ctx, marked.ID)
	_, _, err := r.edit(ctx, marked.ID, operatorRounds, func(c *Client) bool {
		ours := c.GrantsRevoked == marked.GrantsRevoked
		if ours {
			c.GrantsRevoked++
		}
		return ours
	})
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}
