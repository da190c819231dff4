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
// for a client where it does not hold. Rows about an interface that the storage does not
// implement are skipped, and say so. A row can be run by itself, since its check returns
// an error.
package storagetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

// Run runs all rows, each as a subtest with a storage that open returns. That may be a
// new one each time or always the same.
func Run(t *testing.T, open func(t *testing.T) Storage, options ...Options) {
	t.Helper()
	causes := map[string]string{} // of rows that failed, or were skipped for one that did
	for _, row := range Rows(options...) {
		cause := causes[row.After]
		passed := t.Run(row.Name, func(t *testing.T) {
			if cause != "" {
				t.Skipf("skipped: %s failed", cause)
			}
			err := row.Check(t.Context(), open(t))
			switch {
			case errors.Is(err, ErrNotRun):
				t.Skip(err)
			case err != nil:
				t.Errorf("%v\nThe contract says: %s\nWhat breaks: %s", err, row.Says, row.Why)
			}
		})
		switch {
		case cause != "":
			causes[row.Name] = cause
		case !passed:
			causes[row.Name] = row.Name
		}
	}
}

// Rows returns all rows, each after the one that it builds upon.
func Rows(options ...Options) []Row {
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if o.NewSession == nil {
		o.NewSession = func() fosite.Session { return openid.NewDefaultSession() }
	}
	return slices.Concat(
		clientRows, updateRows, contextRows, raceRows, staticRows(o), useRows, entryRows(o), sessionRows(o), grantRows(o), onceRows(o), assertionRows,
		based("dcr.InitialAccessTokenStorage", "",
			slices.Concat(initialRecordRows, initialListRows, initialUseRows, initialContextRows, initialRaceRows)),
		expiryRows, based(needsList, "create/read_back", slices.Concat(listRows(o), listFilterRows, listPageRows)),
		fullRows(o), evictionRows(o), documentRows(o), documentClientRows(o),
	)
}
