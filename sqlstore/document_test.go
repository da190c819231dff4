package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

var _ cimd.Storage = (*sqlstore.Store)(nil)

const documentURL = "https://client.example/"

// kept are the identifiers that have a record.
func kept(t *testing.T, s cimd.Storage) (ids []string) {
	t.Helper()
	require.NoError(t, s.ListDocuments(t.Context(), "", 1000, func(id string, record []byte, _ time.Time, _ bool) {
		if record != nil {
			ids = append(ids, id)
		}
	}))
	return ids
}

// TestDocuments: two processes share documents and their bound, and neither takes one for a registered client.
func TestDocuments(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("CIMD-22/processes", func(t *testing.T) {
			ctx, source := t.Context(), d.create(t)
			stores := []*sqlstore.Store{d.open(t, source, sqlstore.Options{}), d.open(t, source, sqlstore.Options{})}
			saved, err := stores[0].SaveDocument(ctx, documentURL, []byte("record"), time.Now(), 10)
			require.NoError(t, err)
			require.True(t, saved)
			record, _, err := stores[1].FindDocument(ctx, documentURL)
			require.NoError(t, err)
			require.Equal(t, "record", string(record))
			require.NoError(t, stores[1].BlockDocument(ctx, documentURL, true))
			_, blocked, err := stores[0].FindDocument(ctx, documentURL)
			require.NoError(t, err)
			require.True(t, blocked)

			var group sync.WaitGroup
			errs := make([]error, 60)
			for i := range errs {
				group.Go(func() {
					_, errs[i] = stores[i%2].SaveDocument(ctx, fmt.Sprint(documentURL, i%20), []byte("record"), time.Now(), 10)
					if i%3 == 0 && errs[i] == nil {
						errs[i] = stores[(i+1)%2].DeleteDocument(ctx, fmt.Sprint(documentURL, (i+1)%20))
					}
				})
			}
			group.Wait()
			require.NoError(t, errors.Join(errs...))
			for i := range 10 { // the number that they go by is right
				_, err := stores[i%2].SaveDocument(ctx, fmt.Sprint(documentURL, "last/", i), []byte("record"), time.Now(), 10)
				require.NoError(t, err)
			}
			require.Len(t, kept(t, stores[0]), 10)
		})
		t.Run("CIMD-15/no_client", func(t *testing.T) {
			ctx, s := t.Context(), d.open(t, d.create(t), sqlstore.Options{})
			_, err := s.SaveDocument(ctx, documentURL, []byte("record"), time.Now(), 10)
			require.NoError(t, err)
			_, err = s.GetClient(ctx, documentURL)
			require.ErrorIs(t, err, fosite.ErrNotFound)
			_, err = s.GetDynamicClient(ctx, documentURL)
			require.ErrorIs(t, err, fosite.ErrNotFound)
			number, err := s.CountClients(ctx, dcr.ClientFilter{}, 10)
			require.NoError(t, err)
			require.Zero(t, number)
		})
	})
}

// TestDocumentsPassedOver: whoever looks for one that can go looks at a hundred, and the next one goes on behind these.
func TestDocumentsPassedOver(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) documentStore{
		"memory": func(*testing.T) documentStore { return dcr.NewMemoryStore() },
	}
	for _, d := range databases {
		stores[d.name] = func(t *testing.T) documentStore { return d.open(t, d.create(t), sqlstore.Options{}) }
	}
	for name, open := range stores {
		t.Run("CIMD-22/passed_over/"+name, func(t *testing.T) {
			t.Parallel()
			ctx, s := t.Context(), open(t)
			begin := time.Now().Add(-time.Hour)
			for i := range 151 {
				id := fmt.Sprintf("%s%03d", documentURL, i)
				saved, err := s.SaveDocument(ctx, id, []byte("record"), begin.Add(time.Duration(i)*time.Second), 151)
				require.NoError(t, err)
				require.True(t, saved)
				if i < 150 {
					request := fosite.NewRequest()
					request.Client, request.Session = &fosite.DefaultClient{ID: id}, &fosite.DefaultSession{}
					require.NoError(t, s.CreateAccessTokenSession(ctx, id, request))
				}
			}
			for try, want := range []bool{false, true} {
				saved, err := s.SaveDocument(ctx, documentURL+"new", []byte("record"), time.Now(), 151)
				require.NoError(t, err)
				require.Equal(t, want, saved, try)
			}
			ids := kept(t, s)
			require.Len(t, ids, 151)
			require.False(t, slices.Contains(ids, documentURL+"150"), "the only one without a token")
		})
	}
}

type documentStore interface {
	cimd.Storage
	CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error
}
