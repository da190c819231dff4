// Package storagetest checks a storage against the contract of dcr.ClientStorage, of
// the optional interfaces beside it that the storage implements, and of what
// registration needs from fosite's own storage interfaces.
//
// A storage of your own is checked by one test:
//
//	func TestStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storagetest.Storage {
//			return NewStorage()
//		}, storagetest.Options{
//			AddStatic: func(ctx context.Context, s storagetest.Storage, c fosite.Client) error {
//				return s.(*Storage).AddClient(ctx, c)
//			},
//		})
//	}
//
// Run it with -race. Each [Row] checks one sentence of the contract and says what breaks
// for a client where it does not hold. A row can be run by itself, since its check
// returns an error.
package storagetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Storage is what is checked. Where clients and tokens lie in two storages, a struct
// that embeds both is one.
type Storage interface {
	fosite.Storage
	dcr.ClientStorage
}

// Row checks one sentence of the contract.
type Row struct {
	// Name is what the row checks: operation and case.
	Name string
	// Why tells what breaks for a client, or whom it endangers, where the check fails.
	Why string
	// Needs names the interfaces, besides Storage, or the option without which the row
	// can't be run.
	Needs string
	// Check returns what is wrong, nil, or ErrNotRun. It makes clients and tokens of its
	// own, with random identifiers, and may be run on a storage that is in use: what was
	// registered before 2001 and is not used may go.
	Check func(ctx context.Context, storage Storage) error
}

// ErrNotRun is what the check of a row returns where the storage lacks what the row
// needs.
var ErrNotRun = errors.New("storagetest: the storage lacks what the row needs")

// Options tells what the suite can't know of a storage. All of it may be left out.
type Options struct {
	// AddStatic puts a client of the operator's own into the storage, in the way that is
	// usual there. The storage may keep it as a type of its own. Without AddStatic the
	// rows about such clients are not run.
	AddStatic func(ctx context.Context, storage Storage, client fosite.Client) error
	// Bounded returns another storage of this kind, empty, that has room for so many
	// registered clients. Without Bounded the rows about a storage that is full are not run.
	Bounded func(ctx context.Context, storage Storage, clients int) (Storage, error)
	// NewSession returns an empty session of the type that the storage of tokens keeps;
	// nil means *openid.DefaultSession.
	NewSession func() fosite.Session
}

// Run runs all rows, each as a subtest with a storage that open returns. That may be a
// new one each time or always the same.
func Run(t *testing.T, open func(t *testing.T) Storage, options ...Options) {
	t.Helper()
	notRun := map[string][]string{}
	for _, row := range Rows(options...) {
		t.Run(row.Name, func(t *testing.T) {
			err := row.Check(t.Context(), open(t))
			switch {
			case errors.Is(err, ErrNotRun):
				notRun[row.Needs] = append(notRun[row.Needs], row.Name)
			case err != nil:
				t.Errorf("%v\nWhat breaks: %s", err, row.Why)
			}
		})
	}
	for needs, rows := range notRun {
		t.Logf("Not run for want of %s: %s", needs, strings.Join(rows, ", "))
	}
}

// Rows returns all rows.
func Rows(options ...Options) []Row {
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if o.NewSession == nil {
		o.NewSession = func() fosite.Session { return openid.NewDefaultSession() }
	}
	return slices.Concat(
		createRows, readRows, updateRows, deleteRows, contextRows, raceRows,
		staticRows(o), useRows, entryRows(o), grantRows(o), assertionRows,
		initialRows(), expiryRows(), listRows(o), roomRows(o), fullRows(o),
	)
}

// needing makes a check of one that needs an interface besides.
func needing[T any](check func(ctx context.Context, s Storage, extra T) error) func(context.Context, Storage) error {
	return func(ctx context.Context, s Storage) error {
		extra, ok := s.(T)
		if !ok {
			return ErrNotRun
		}
		return check(ctx, s, extra)
	}
}
