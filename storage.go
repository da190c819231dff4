package dcr

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"

	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
)

// ClientStorage is what a fosite storage adds so that clients can register with it. A type that already is
// a fosite.Storage implements these four methods beside its own; [MemoryStore] is the built-in example, and
// package storagetest checks an implementation sentence by sentence.
//
// What holds for all four, and for the methods of the optional interfaces:
//
//   - They may be called at once from many goroutines, and from several
//     processes where the storage is shared. That calls meet is no error: one waits for
//     the other, or is tried again by the storage.
//   - A record is copied on its way in and on its way out: what the caller
//     changes afterwards in its *Client changes nothing in the storage.
//   - Every field of a record comes back as it went in; its JSON form is
//     lossless, so that one JSON column is enough. Times are kept to the second
//     at least. A time that was never set is the zero time.Time, and it differs from
//     the first of January 1970, which is a time like any other: where a column keeps
//     numbers, never is NULL and not 0.
//   - A record that was written is seen by every read that starts afterwards, by
//     fosite's GetClient as well.
//   - Identifiers are compared byte by byte.
//   - A context that is done makes them return its error, with nothing done
//     or all of it.
//   - Beside an error a read or a list returns no record.
//   - An error that is none of those named below means that the storage failed.
//     It never means that a client does not exist: clients throw their
//     registration away when they read that. A storage that is down for a while
//     wraps [ErrUnavailable], and the answer becomes 503 instead of 500.
//
// fosite's own GetClient of the same storage returns registered clients as *Client or in a type that embeds
// it, a copy too, and fosite.ErrNotFound for what it does not know.
//
// Registration access tokens are entries of oauth2.AccessTokenStorage, known by their keys:
// IsRegistrationTokenEntry. A key has up to 120 characters, with dots, and is compared byte by byte; a
// client may have several at once, and deleting one leaves the others. An entry comes back with the
// identifier of its client, its granted scopes and, to the second, the expiry of its session, ten years
// ahead; it is copied on its way in and out. A missing entry is fosite.ErrNotFound; deleting one is that,
// or no error. These entries are no grants of a client: GrantRevoker leaves them, and so does everything
// else that removes access tokens by their client or their age. A purge of old sessions that an application
// runs has to spare them, or clients can't be managed any more. The package removes the entries of the
// clients that it removes, by deletion, sweep and eviction; an application that removes clients by itself
// calls Provider.Forget, or purges the entries whose client is gone.
//
// Of fosite's own interfaces this package wants what they leave open. A refresh token, a code and a pushed
// request are used once: of several calls at once of RotateRefreshToken, InvalidateAuthorizeCodeSession and
// DeletePARSession exactly one succeeds, and the others get fosite.ErrInactiveToken,
// fosite.ErrInvalidatedAuthorizeCode and fosite.ErrNotFound. A refresh token or a code that was used stays
// known as used until it expires, though DeleteRefreshTokenSession is called for it or it is written again.
//
// Before a client is let in by an assertion, which was verified, ClientAssertionJWTValid is called with a
// key for its identifier ("jti"), and then SetClientAssertionJWT with its expiry, up to eleven minutes
// ahead. A key is dcr.<digest of the client>.<digest of the jti>, by which a storage can count. Both return
// nil for an identifier that is unknown, and fosite.ErrJTIKnown for one that is known and has not expired;
// any other error is a failure of the storage. Of several calls of SetClientAssertionJWT at once exactly one succeeds. An hour after its
// expiry, at the latest, an identifier is unknown again.
type ClientStorage interface {
	// CreateClient stores a new record. It returns ErrClientExists where the storage knows any client under that
	// identifier, a registered or a static one, and then changes nothing. Of several calls at once with one
	// identifier exactly one succeeds. A storage that is full returns an error that wraps ErrFull, and
	// ErrClientExists all the same for an identifier that is taken; a client that is removed makes room for another.
	CreateClient(ctx context.Context, client *Client) error

	// GetDynamicClient returns the record of a registered client. For an identifier that is unknown, deleted, or
	// that of a client which was not registered through this package it returns fosite.ErrNotFound: static clients,
	// which the operator provisioned, can be neither read nor changed nor deleted through registration.
	GetDynamicClient(ctx context.Context, id string) (*Client, error)

	// UpdateClient replaces the record of a registered client, if and only if the stored one has the given version;
	// the new record carries the next one (client.Version). It returns ErrConflict where the version differs, either
	// way, and fosite.ErrNotFound where GetDynamicClient would: an update never creates a record, so that it cannot
	// resurrect a client that was deleted meanwhile. Of several calls at once with one version exactly one succeeds.
	//
	// LastUsedAt and KeepUntil of the stored record are kept where they are later than those of the new
	// one, since UseRecorder may have moved them.
	UpdateClient(ctx context.Context, client *Client, version int64) error

	// DeleteClient removes the record of a registered client. It returns fosite.ErrNotFound where
	// GetDynamicClient would. Of several calls at once exactly one succeeds. From then on GetClient does
	// not find the client either; its tokens may be removed later or never (see GrantRevoker). What the removed record names
	// (RegistrationTokenEntries) should go with it: an update that came in between has stored one that nobody else knows.
	DeleteClient(ctx context.Context, id string) error
}

// Replace is what UpdateClient has to do where a storage keeps whole records and can swap one for another: it
// returns the record to store in place of stored, a copy of next that keeps the later uses. It returns
// fosite.ErrNotFound where stored is nil, and ErrConflict where it has another version than the given one.
func Replace(stored, next *Client, version int64) (*Client, error) {
	record, err := replacement(stored, next, version)
	if err != nil {
		return nil, err
	}
	return record.Clone(), nil
}

// replacement is Replace for who copies the record while storing it: it is next, or shares what that holds.
func replacement(stored, next *Client, version int64) (*Client, error) {
	switch {
	case stored == nil:
		return nil, fosite.ErrNotFound
	case stored.Version != version:
		return nil, ErrConflict
	case !stored.LastUsedAt.After(next.LastUsedAt) && !stored.KeepUntil.After(next.KeepUntil):
		return next, nil
	}
	record := *next
	record.LastUsedAt = later(next.LastUsedAt, stored.LastUsedAt)
	record.KeepUntil = later(next.KeepUntil, stored.KeepUntil)
	return &record, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// UseRecorder is an optional interface of a ClientStorage: it notes that a client was used, so that
// operators can distinguish dead registrations from live ones. Without it Lifecycle.Unused and Idle can't
// be set, and open registrations stay for ever.
type UseRecorder interface {
	// TouchClient moves LastUsedAt and KeepUntil of a registered client forward to the given times, each for itself;
	// a time that is not later than the stored one, such as a zero one, changes nothing. The version stays as it is,
	// so that a token request can't make an update fail. An unknown client is no error.
	TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error
}

// ClientEvicter is an optional interface of a ClientStorage that has a bound: where CreateClient returns
// ErrFull, the oldest client that was never used is evicted.
type ClientEvicter interface {
	// CreateClientEvicting makes room and creates, in one step, so that no other client takes the room. It
	// removes the registered client that was never used and whose UpdatedAt lies furthest back, if that is
	// before the given time, stores the new record, and returns the one that it removed, as it was. It is
	// called after CreateClient, or the storage of the registration access token, has returned ErrFull.
	//
	// Where no client can be evicted it returns an error that wraps ErrFull, and where the identifier is
	// taken ErrClientExists; neither changes anything. A storage that has room by now may create without
	// evicting, and returns nil then, unless it bounds access tokens, too: it may be they that have no
	// room, and the entry of the evicted client makes some. Of several calls at once each evicts another
	// client, if there are enough: a database that locks rows skips those which others hold. A client that
	// is used or updated meanwhile stays: the condition holds when the record is removed.
	CreateClientEvicting(ctx context.Context, client *Client, before time.Time) (evicted *Client, err error)
}

// Expiry says which clients have expired: those whose ExpiresAt is not zero and not after Now; those with a
// zero LastUsedAt whose UnusedUntil is not zero and not after Now; and, where IdleSince is not zero, those
// whose LastUsedAt is not zero and not after IdleSince and whose KeepUntil is not after Now.
type Expiry struct {
	Now time.Time // Now is the time at which clients have expired or not
	// IdleSince is the time since which an idle client was not used; the zero time means that no client
	// expires because it is idle.
	IdleSince time.Time
}

// Expired reports whether a client has expired.
func (e Expiry) Expired(c *Client) bool {
	past := func(t time.Time) bool { return !t.IsZero() && !t.After(e.Now) }
	switch {
	case past(c.ExpiresAt):
		return true
	case c.LastUsedAt.IsZero():
		return past(c.UnusedUntil)
	}
	return !e.IdleSince.IsZero() && !c.LastUsedAt.After(e.IdleSince) && !c.KeepUntil.After(e.Now)
}

// ExpiredDeleter is an optional interface of a ClientStorage: it removes the records of clients that have
// expired.
type ExpiredDeleter interface {
	// DeleteExpiredClients removes up to limit registered clients that have expired, and returns their records as
	// they were; fewer than limit means that no more were found. A client that is used or updated meanwhile stays:
	// the condition holds when the record is removed. Several processes may call it at once, and each record is
	// returned to one of them. Beside an error it may return those that were removed all the same. The calls of one
	// sweep have the same Expiry, so that a storage without an index walks once.
	DeleteExpiredClients(ctx context.Context, e Expiry, limit int) ([]*Client, error)
}

// GrantRevoker is an optional interface of a storage: it removes what a client was granted. Without it the
// grants of a deleted client are dead all the same, since their client is gone, and lie in the storage until
// they expire.
type GrantRevoker interface {
	// RevokeClientGrants removes authorization codes with their PKCE and OpenID sessions, pushed requests,
	// access tokens and refresh tokens of a client, which may be deleted by then or stay. The entries of
	// its registration access tokens stay (IsRegistrationTokenEntry): they are no grants. An unknown client
	// is no error. Grants of other clients stay. Reading a removed grant afterwards returns
	// fosite.ErrNotFound, fosite.ErrInactiveToken or fosite.ErrInvalidatedAuthorizeCode.
	RevokeClientGrants(ctx context.Context, clientID string) error
}

// InitialAccessTokenStorage is an optional interface of a storage: it keeps the initial access tokens that
// the application mints. What ClientStorage says of its methods and records holds here, too.
type InitialAccessTokenStorage interface {
	// CreateInitialAccessToken stores a new record. It returns ErrClientExists for an identifier that is taken.
	CreateInitialAccessToken(ctx context.Context, token *InitialAccessToken) error

	// GetInitialAccessToken returns a record, an expired or exhausted one as well, and fosite.ErrNotFound
	// for an unknown identifier.
	GetInitialAccessToken(ctx context.Context, id string) (*InitialAccessToken, error)

	// UseInitialAccessToken adds one to Uses. It returns ErrExhausted, and changes nothing, where MaxUses
	// is not zero and reached, or ExpiresAt is not zero and not after now; fosite.ErrNotFound for an
	// unknown identifier. Of calls at once no more succeed than uses remain.
	UseInitialAccessToken(ctx context.Context, id string, now time.Time) error

	// ReturnInitialAccessToken takes one from Uses, but not below zero, for a client that could not be
	// created. An unknown identifier is no error.
	ReturnInitialAccessToken(ctx context.Context, id string) error

	// DeleteInitialAccessToken removes a record, and returns fosite.ErrNotFound where there is none.
	DeleteInitialAccessToken(ctx context.Context, id string) error

	// ListInitialAccessTokens returns up to limit records whose identifiers come after the given one, byte
	// by byte, in their order.
	ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*InitialAccessToken, error)
}

// ClientFilter says which registered clients are meant: those that fit every field that is not zero.
type ClientFilter struct {
	Issuer             string // Issuer is that of the client. The methods of Provider set it
	Kind               string // Kind is that of Client.Origin
	Subject            string // Subject is that of Client.Origin
	InitialAccessToken string // InitialAccessToken is that of Client.Origin
	NeverUsed          bool   // NeverUsed means clients that never got a token
	// ExpiringBefore means clients that expire before this time, unless they are used or changed:
	// ExpiresAt, or UnusedUntil of a client that was never used.
	ExpiringBefore time.Time
	SoftwareID     string // SoftwareID is the software_id
	// RedirectHost is the host of a redirect URI, without a port. The methods of Provider put it into lower
	// case, so that a storage compares it as it is.
	RedirectHost string
	// NameKey is that of the client (Client.NameKey). The methods of Provider make it one, so that a
	// storage compares it as it is.
	NameKey string
	// Search is part of the client's NameKey, or all of its identifier. It arrives as it was typed, since
	// identifiers have a case: a storage compares it as it is with the identifier, byte by byte, and its
	// NameKey, unless that is empty, with the NameKey of the client, of which it is a part.
	Search string
	// CreatedFrom and CreatedBefore bound the time of registration.
	CreatedFrom, CreatedBefore time.Time
}

// Matches reports whether a client fits, as a storage has to decide.
func (f *ClientFilter) Matches(c *Client) bool {
	is := func(wanted, value string) bool { return wanted == "" || wanted == value }
	switch {
	case !is(f.Issuer, c.Issuer), !is(f.Kind, c.Origin.Kind), !is(f.Subject, c.Origin.Subject),
		!is(f.InitialAccessToken, c.Origin.InitialAccessToken), !is(f.SoftwareID, c.Metadata.SoftwareID):
		return false
	case f.NeverUsed && !c.LastUsedAt.IsZero():
		return false
	case !f.CreatedFrom.IsZero() && c.CreatedAt.Before(f.CreatedFrom),
		!f.CreatedBefore.IsZero() && !c.CreatedAt.Before(f.CreatedBefore):
		return false
	case !f.ExpiringBefore.IsZero() && !c.expiresBefore(f.ExpiringBefore):
		return false
	case f.RedirectHost != "" && !slices.Contains(c.RedirectHosts(), f.RedirectHost):
		return false
	case f.NameKey != "" && f.NameKey != c.NameKey():
		return false
	}
	part := NameKey(f.Search)
	return f.Search == "" || f.Search == c.ID || part != "" && strings.Contains(c.NameKey(), part)
}

func (c *Client) expiresBefore(t time.Time) bool {
	before := func(end time.Time) bool { return !end.IsZero() && end.Before(t) }
	return before(c.ExpiresAt) || c.LastUsedAt.IsZero() && before(c.UnusedUntil)
}

// NameKey is the NameKey of the client's name without a language tag.
func (c *Client) NameKey() string { return NameKey(c.Metadata.ClientName) }

// NameKey returns what names have in common that people take for one another, for storages to search and
// count by: case, width, repeated spaces and what can't be seen do not count.
func NameKey(name string) string { return plaintext.Key(name) }

// ClientCursor is a place in a list of clients: behind the client that was registered then, under that
// identifier. The zero one is the beginning.
type ClientCursor struct {
	CreatedAt time.Time // CreatedAt is when the client was registered
	ID        string    // ID is its identifier
}

func (c ClientCursor) isZero() bool { return c.ID == "" }

// ClientLister is an optional interface of a ClientStorage: it finds clients for operators, and counts them
// for quotas and consent pages.
type ClientLister interface {
	// ListClients returns up to limit of the registered clients that fit, from the cursor on: the one that
	// was registered last comes first, and of those registered at one time the one with the greater
	// identifier, byte by byte. Fewer than limit means that there are no more. A cursor is a place, whether
	// or not there is a client at it. A client that is there all the while is listed once, whatever is
	// registered, changed or deleted between two calls: a storage whose column is coarser than the times of
	// the records that it returns cuts the cursor, and the times of the filter, in the same way.
	ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error)

	// CountClients returns how many registered clients fit, and most where there are more.
	CountClients(ctx context.Context, filter ClientFilter, most int) (int, error)
}

// Follows reports whether a client comes after the cursor (ListClients).
func (c ClientCursor) Follows(client *Client) bool {
	if c.isZero() {
		return true
	}
	if order := client.CreatedAt.Compare(c.CreatedAt); order != 0 {
		return order < 0
	}
	return client.ID < c.ID
}

// records reads and writes clients. Whoever notes uses, lists, counts or sweeps has the optional interface
// for that itself.
type records struct {
	storage ClientStorage
	// evicter makes room; nil where the storage can't.
	evicter      ClientEvicter
	transactions storage.Transactional // nil where the storage has none
	journal      *journal
}

// How often a change of a record starts over when others get ahead.
const (
	updateRounds = 3
	// operatorRounds: a client that updates without pause must not hold off an operator's change.
	operatorRounds = 100
	// createRounds is how often a creation is tried where an identifier is taken, or where others take the
	// room that was made.
	createRounds = 3
)

// get returns the record of a registered client, whatever its issuer.
func (r *records) get(ctx context.Context, id string) (*Client, error) {
	client, err := r.storage.GetDynamicClient(ctx, id)
	if err == nil && client == nil {
		err = errNilClient
	}
	return client, err
}

func (r *records) create(ctx context.Context, client *Client) error {
	return r.storage.CreateClient(ctx, client)
}

func (r *records) update(ctx context.Context, client *Client, version int64) error {
	return r.storage.UpdateClient(ctx, client, version)
}

func (r *records) delete(ctx context.Context, id string) error {
	return r.storage.DeleteClient(ctx, id)
}

// find returns a registered client of the issuer, an expired one as well.
func (r *records) find(ctx context.Context, issuer, id string) (*Client, error) {
	client, err := r.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if client.Issuer != issuer { // T41
		return nil, fosite.ErrNotFound
	}
	return client, nil
}

// edit changes a record, and returns it as it was and as it is; nothing is done, and no record returned,
// where change reports that there is nothing to do. Where others get ahead it starts over, so many times.
func (r *records) edit(ctx context.Context, issuer, id string, rounds int, change func(*Client) bool) (before, after *Client, err error) {
	for range rounds {
		if before, err = r.find(ctx, issuer, id); err != nil {
			return nil, nil, err
		}
		after = before.Clone()
		after.Version++
		if !change(after) {
			return before, nil, nil
		}
		if err = r.update(ctx, after, before.Version); !errors.Is(err, ErrConflict) {
			return before, after, err
		}
	}
	return nil, nil, err
}

// inTransaction runs the writes of one operation in a transaction, where the storage has them.
func (r *records) inTransaction(ctx context.Context, write func(context.Context) error) error {
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
			r.journal.cleanupFailed(ctx, "", err)
		}
	}()
	if err := write(ctx); err != nil {
		return err
	}
	written = true
	return r.transactions.Commit(ctx)
}
