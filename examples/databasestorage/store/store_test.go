package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/examples/databasestorage/store"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

func newFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "clients.db")
}

func open(t *testing.T, file string, options store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), file, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// suite returns what the suite needs to know of the storage.
func suite(t *testing.T) storagetest.Options {
	return storagetest.Options{
		AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
			s.(*store.Store).AddClient(client)
			return nil
		},
		Bounded: func(_ context.Context, _ storagetest.Storage, clients int) (storagetest.Storage, error) {
			return open(t, newFile(t), store.Options{MaxClients: int64(clients)}), nil
		},
		PurgeSessions: func(ctx context.Context, s storagetest.Storage, before time.Time) error {
			return s.(*store.Store).DeleteOldSessions(ctx, before)
		},
	}
}

// TestContract runs the whole contract on one database, which is in use all the time.
func TestContract(t *testing.T) {
	t.Parallel()
	s := open(t, newFile(t), store.Options{})
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return s }, suite(t))
}

// TestEveryRowRuns: the storage implements what each row needs.
func TestEveryRowRuns(t *testing.T) {
	t.Parallel()
	s := open(t, newFile(t), store.Options{})
	for _, row := range storagetest.Rows(suite(t)) {
		ended, cancel := context.WithCancel(t.Context())
		cancel() // so that the check itself takes no time
		require.NotErrorIs(t, row.Check(ended, s), storagetest.ErrNotRun, row.Name)
	}
}

// TestOpenAtOnce: servers that start at one time, on a file that is not there yet.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	errs := make([]error, 8)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			s, err := store.Open(t.Context(), file, store.Options{})
			if err == nil {
				err = s.CreateClient(t.Context(), &dcr.Client{ID: fmt.Sprint(i), Version: 1})
				_ = s.Close()
			}
			errs[i] = err
		})
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	number, err := open(t, file, store.Options{}).CountClients(t.Context(), dcr.ClientFilter{}, 100)
	require.NoError(t, err)
	require.Equal(t, len(errs), number)
}

func TestOpenNowhere(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "no such folder", "clients.db"), store.Options{})
	require.Error(t, err)
}

// TestFull: at the bound a client is created only where another is evicted.
func TestFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, newFile(t), store.Options{MaxClients: 2})
	for _, id := range []string{"first", "second"} {
		require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: id, Version: 1, UpdatedAt: time.Now()}))
	}
	third := &dcr.Client{ID: "third", Version: 1}
	require.ErrorIs(t, s.CreateClient(ctx, third), dcr.ErrFull)
	require.ErrorIs(t, s.CreateClient(ctx, &dcr.Client{ID: "first", Version: 1}), dcr.ErrClientExists)
	evicted, err := s.CreateClientEvicting(ctx, third, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "first", evicted.ID)
	require.ErrorIs(t, s.CreateClient(ctx, &dcr.Client{ID: "fourth", Version: 1}), dcr.ErrFull)
}

// TestBusy: a write that waits too long returns dcr.ErrUnavailable, and reads go on.
func TestBusy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	file := newFile(t)
	s := open(t, file, store.Options{Patience: time.Millisecond})
	client := &dcr.Client{ID: "client", Version: 1}
	require.NoError(t, s.CreateClient(ctx, client))
	other, err := sql.Open("sqlite", store.Source(file, time.Second))
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	tx, err := other.BeginTx(ctx, nil)
	require.NoError(t, err)

	_, evict := s.CreateClientEvicting(ctx, &dcr.Client{ID: "another", Version: 1}, time.Now())
	_, sweep := s.DeleteExpiredClients(ctx, dcr.Expiry{Now: time.Now()}, 1)
	for _, err := range []error{
		s.CreateClient(ctx, &dcr.Client{ID: "another", Version: 1}), s.UpdateClient(ctx, client, 1), s.DeleteClient(ctx, client.ID),
		s.TouchClient(ctx, client.ID, time.Now(), time.Now()), s.RevokeClientGrants(ctx, client.ID), evict, sweep,
		s.UseInitialAccessToken(ctx, "token", time.Now()), s.SetClientAssertionJWT(ctx, "jti", time.Now()),
		s.RotateRefreshToken(ctx, "request", "signature"), s.DeleteExpiredSessions(ctx),
	} {
		require.ErrorIs(t, err, dcr.ErrUnavailable)
	}
	_, err = s.GetClient(ctx, client.ID)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.NoError(t, s.DeleteClient(ctx, client.ID))
}

// TestFarTimes: a time that does not fit into a column is in the far future, or in the far past.
func TestFarTimes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, newFile(t), store.Options{})
	far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "far", Version: 1, ExpiresAt: far, UnusedUntil: far}))
	require.NoError(t, s.CreateClient(ctx, &dcr.Client{ID: "long past", Version: 1, ExpiresAt: far.AddDate(-9000, 0, 0)}))
	removed, err := s.DeleteExpiredClients(ctx, dcr.Expiry{Now: time.Now()}, 10)
	require.NoError(t, err)
	require.Len(t, removed, 1)
	require.Equal(t, "long past", removed[0].ID)
	client, err := s.GetDynamicClient(ctx, "far")
	require.NoError(t, err)
	require.True(t, client.ExpiresAt.Equal(far))
}
