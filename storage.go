package dcr

import (
	"context"
	"time"
)

// ClientStorage is what a fosite storage adds so that clients can register
// with it. A type that already is a fosite.Storage implements these four
// methods beside its own; [MemoryStore] is the built-in example, and package
// storagetest checks an implementation sentence by sentence.
//
// What holds for all four:
//
//   - They may be called at once from many goroutines, and from several
//     processes where the storage is shared.
//   - A record is copied on its way in and on its way out: what the caller
//     changes afterwards in its *Client changes nothing in the storage.
//   - Every field of a record comes back as it went in; its JSON form is
//     lossless, so that one JSON column is enough. Times are kept to the second
//     at least.
//   - A record that was written is seen by every read that starts afterwards, by
//     fosite's GetClient as well.
//   - Identifiers are compared byte by byte.
//   - A context that has ended makes them return its error, with nothing done
//     or all of it.
//   - Beside an error a read returns no record.
//   - An error that is none of those named below means that the storage failed.
//     It never means that a client does not exist: clients throw their
//     registration away when they read that. A storage that is down for a while
//     wraps [ErrUnavailable], and the answer becomes 503 instead of 500.
//
// fosite's own GetClient of the same storage returns registered clients as
// *Client, a copy too, and fosite.ErrNotFound for what it does not know.
//
// Registration access tokens are entries of oauth2.AccessTokenStorage. Their keys have
// up to 120 characters, with dots, and are compared byte by byte; a client may have
// several at once, and deleting one leaves the others. The expiry of their sessions, ten
// years ahead, comes back to the second. A missing entry is fosite.ErrNotFound; deleting
// one is that, or no error.
//
// SetClientAssertionJWT returns fosite.ErrJTIKnown for an identifier that is known and
// has not expired; of several calls at once exactly one succeeds. ClientAssertionJWTValid
// returns it, too: any other error is a failure of the storage.
type ClientStorage interface {
	// CreateClient stores a new record. It returns ErrClientExists where the
	// storage knows any client under that identifier, registered or provisioned
	// by the operator, and then changes nothing. Of several calls at once with
	// one identifier exactly one succeeds. A storage that is full returns an error that
	// wraps ErrFull, but ErrClientExists where that is the case.
	CreateClient(ctx context.Context, client *Client) error

	// GetDynamicClient returns the record of a registered client. For an
	// identifier that is unknown, deleted, or that of a client which was not
	// registered through this package it returns fosite.ErrNotFound: clients of
	// the operator's own can be neither read nor changed nor deleted through
	// registration.
	GetDynamicClient(ctx context.Context, id string) (*Client, error)

	// UpdateClient replaces the record of a registered client, if and only if
	// the stored one has the given version; the new record carries the next one
	// (client.Version). It returns ErrConflict where the version differs, either way, and
	// fosite.ErrNotFound where GetDynamicClient would: an update never creates a
	// record, so that it cannot resurrect a client that was deleted meanwhile. Of
	// several calls at once with one version exactly one succeeds.
	//
	// LastUsedAt and KeepUntil of the stored record are kept where they are later
	// than those of the new one, since UseRecorder may have moved them.
	UpdateClient(ctx context.Context, client *Client, version int64) error

	// DeleteClient removes the record of a registered client. It returns
	// fosite.ErrNotFound where GetDynamicClient would. Of several calls at once
	// exactly one succeeds. From then on GetClient does not find the client
	// either; its tokens may be removed later or never (see GrantRevoker).
	DeleteClient(ctx context.Context, id string) error
}

// UseRecorder is an optional interface of a ClientStorage: it notes that a
// client was used, so that operators can tell dead registrations from live ones. Without it
// Lifecycle.Unused and Idle can't be set, and open registrations stay for ever.
type UseRecorder interface {
	// TouchClient moves LastUsedAt and KeepUntil of a registered client forward to
	// the given times, each for itself; a time that is not later than the stored one, such
	// as a zero one, changes nothing. The version stays as it is, so that a token request can't make an
	// update fail. An unknown client is no error.
	TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error
}

// RoomMaker is an optional interface of a ClientStorage that has a bound: where
// CreateClient returns ErrFull, the oldest client that was never used gives way.
type RoomMaker interface {
	// MakeRoom removes the registered client that was never used and whose UpdatedAt lies
	// furthest back, if that is before the given time, and returns its identifier; where
	// there is none, fosite.ErrNotFound. A client that is used or updated meanwhile stays.
	// Of several calls at once each removes another client, if there are enough: a database
	// that locks rows skips those which others hold.
	MakeRoom(ctx context.Context, before time.Time) (id string, err error)
}

// GrantRevoker is an optional interface of a storage: it removes what a deleted
// client leaves behind. Without it these entries are dead all the same, since
// their client is gone, and lie in the storage until they expire.
type GrantRevoker interface {
	// RevokeClientGrants removes authorization codes with their PKCE and OpenID
	// sessions, pushed requests, access tokens and refresh tokens of a client. An
	// unknown client is no error. Entries of other clients stay. Those of registration
	// access tokens are among the access tokens. Reading a removed entry afterwards returns
	// fosite.ErrNotFound, fosite.ErrInactiveToken or fosite.ErrInvalidatedAuthorizeCode.
	RevokeClientGrants(ctx context.Context, clientID string) error
}

// InitialAccessTokenStorage is an optional interface of a storage: it keeps the initial
// access tokens that the host mints. What ClientStorage says of concurrency, copies,
// contexts and errors holds here, too.
type InitialAccessTokenStorage interface {
	// CreateInitialAccessToken stores a new record. It returns ErrClientExists for an
	// identifier that is taken.
	CreateInitialAccessToken(ctx context.Context, token *InitialAccessToken) error

	// GetInitialAccessToken returns a record, an expired or exhausted one as well, and
	// fosite.ErrNotFound for an unknown identifier.
	GetInitialAccessToken(ctx context.Context, id string) (*InitialAccessToken, error)

	// UseInitialAccessToken adds one to Uses. It returns ErrExhausted, and changes nothing,
	// where MaxUses is not zero and reached, or ExpiresAt is not zero and not after now;
	// fosite.ErrNotFound for an unknown identifier. Of calls at once no more succeed than
	// uses remain.
	UseInitialAccessToken(ctx context.Context, id string, now time.Time) error

	// ReturnInitialAccessToken takes one from Uses, but not below zero, for a client that
	// could not be created. An unknown identifier is no error.
	ReturnInitialAccessToken(ctx context.Context, id string) error

	// DeleteInitialAccessToken removes a record, and returns fosite.ErrNotFound where there
	// is none.
	DeleteInitialAccessToken(ctx context.Context, id string) error

	// ListInitialAccessTokens returns up to limit records whose identifiers come after the
	// given one, byte by byte, in their order.
	ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*InitialAccessToken, error)
}
