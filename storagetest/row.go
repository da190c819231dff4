package storagetest

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/ory/fosite"
)

// Storage is what is checked. Where clients and tokens lie in two storages, a struct
// that embeds both is one.
type Storage interface {
	fosite.Storage    // finds clients for fosite, static ones too
	dcr.ClientStorage // keeps the dynamic clients
}

// Row checks one sentence of the contract.
type Row struct {
	// Name is what the row checks: operation and case.
	Name string
	// Says is the sentence of the contract, in plain words.
	Says string
	// Why says what breaks for a client, or whom it endangers, where the check fails.
	Why string
	// Needs names the interfaces, besides Storage, or the options without which the row
	// can't be run; empty where it needs nothing.
	Needs string
	// After is the name of a plainer row that this one builds upon; empty where there is none.
	// Where that one fails, Run skips this one: it would fail for the same cause.
	After string
	// Check returns what is wrong, nil, or an error that wraps ErrNotRun. It makes clients and
	// tokens of its own, with random identifiers, and may be run on a storage that is in use:
	// clients that were registered before 2001 and are not used may go, and so may sessions
	// that were requested before 2001.
	Check func(ctx context.Context, storage Storage) error
}

// ErrNotRun is wrapped by what the check of a row returns where the storage lacks what the
// row needs. The text of the error says what that is.
var ErrNotRun = errors.New("storagetest: the row was not run")

// Options says what the suite can't know of a storage. All of it may be left out; the rows
// that need it are skipped then.
type Options struct {
	// AddStatic puts a static client into the storage, in the way that is usual there. The
	// storage may keep it as a type of its own.
	AddStatic func(ctx context.Context, storage Storage, client fosite.Client) error
	// Bounded returns another storage of this kind, empty, that has room for so many
	// registered clients.
	Bounded func(ctx context.Context, storage Storage, clients int) (Storage, error)
	// Grace returns another storage of this kind, empty, whose refresh tokens may be used so many times more within an
	// hour.
	Grace func(ctx context.Context, storage Storage, uses int) (Storage, error)
	// PurgeSessions removes the sessions that were requested before the time
	// (fosite.Requester.GetRequestedAt), whether they have expired or not, in the way in which
	// the application does it.
	PurgeSessions func(ctx context.Context, storage Storage, before time.Time) error
	// NewSession returns an empty session of the type that the storage of tokens keeps;
	// nil means *openid.DefaultSession.
	NewSession func() fosite.Session
}

// group completes rows that need the same and build upon the same row.
func group(needs, after string, rows []Row) []Row {
	for i := range rows {
		rows[i].Needs = cmp.Or(rows[i].Needs, needs)
		rows[i].After = cmp.Or(rows[i].After, after)
	}
	return rows
}

// based completes rows of which the first builds upon another, and the rest upon the first.
func based(needs, after string, rows []Row) []Row {
	group(needs, after, rows[:1])
	group(needs, rows[0].Name, rows[1:])
	return rows
}

// notRun says what a row lacks.
type notRun string

func (n notRun) Error() string { return string(n) }

// Is reports whether target is ErrNotRun.
func (n notRun) Is(target error) bool { return target == ErrNotRun }

func notImplemented[T any]() error {
	return notRun("the storage does not implement " + reflect.TypeFor[T]().String())
}

func notSet(option string) error {
	return notRun("the test does not set storagetest.Options." + option)
}
