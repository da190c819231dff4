package sqlstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

// database is one of the databases that every test runs on.
type database struct {
	name    string
	dialect *sqlstore.Dialect
	create  func(t testing.TB) (source string)
}

var databases = []database{
	{"sqlite", sqlstore.SQLite, func(t testing.TB) string { return filepath.Join(t.TempDir(), "clients.db") }},
	{"postgresql", sqlstore.PostgreSQL, dcrtest.PostgreSQL},
}

// onEach runs a test on each database.
func onEach(t *testing.T, test func(t *testing.T, d database)) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

func (d database) open(t testing.TB, source string, options sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), d.dialect, source, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// suite returns what the suite needs to know of the storage.
func (d database) suite(t *testing.T) storagetest.Options {
	return storagetest.Options{
		AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
			s.(*sqlstore.Store).AddClient(client)
			return nil
		},
		Bounded: func(_ context.Context, _ storagetest.Storage, clients int) (storagetest.Storage, error) {
			return d.open(t, d.create(t), sqlstore.Options{MaxClients: int64(clients)}), nil
		},
		Grace: func(_ context.Context, _ storagetest.Storage, uses int) (storagetest.Storage, error) {
			return d.open(t, d.create(t), sqlstore.Options{RefreshGrace: time.Hour, RefreshGraceUses: uses}), nil
		},
	}
}

// TestContract runs the whole contract on one database, which is in use all the time.
func TestContract(t *testing.T) {
	onEach(t, func(t *testing.T, d database) { runContract(t, d, d.open(t, d.create(t), sqlstore.Options{})) })
}

func runContract(t *testing.T, d database, s *sqlstore.Store) {
	t.Helper()
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return s }, d.suite(t))
}
