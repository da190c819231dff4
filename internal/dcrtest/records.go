package dcrtest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Expire lets a client expire, as an operator would.
func Expire(t testing.TB, s *Server, id string) {
	t.Helper()
	record, err := s.Store.GetDynamicClient(context.Background(), id)
	require.NoError(t, err)
	before := record.Version
	record.ExpiresAt, record.Version = time.Now().Add(-time.Second), before+1
	require.NoError(t, s.Store.UpdateClient(context.Background(), record, before))
}

// Lives reports whether a client exists, by management and at the token endpoint alike.
func Lives(t testing.TB, s *Server, client Answer) bool {
	t.Helper()
	managed := s.Manage(t, http.MethodGet, client, nil).Status
	_, err := s.Provider.Store.GetClient(context.Background(), client.ID())
	require.Equal(t, err == nil, managed == http.StatusOK, "both look-ups agree")
	require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, managed)
	return err == nil
}

// RecordOf returns the record of a dynamic client.
func RecordOf(t testing.TB, store dcr.ClientStorage, id string) *dcr.Client {
	t.Helper()
	client, err := store.GetDynamicClient(context.Background(), id)
	require.NoError(t, err, id)
	return client
}

// CountRecords counts the dynamic clients in a storage.
func CountRecords(t testing.TB, store dcr.ClientLister) int {
	t.Helper()
	found, err := store.CountClients(context.Background(), dcr.ClientFilter{}, 1_000_000)
	require.NoError(t, err)
	return found
}
