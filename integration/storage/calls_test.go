package storage_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestStorageCalls holds each operation to the calls that it may cost.
func TestStorageCalls(t *testing.T) {
	t.Parallel()
	reads := []string{"GetDynamicClient", "GetAccessTokenSession"}
	rows := []struct {
		name   string
		config dcr.Config
		do     func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer)
		want   []string
	}{
		{"POST", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, _ dcrtest.Answer) {
			s.Register(t, dcrtest.Managed())
		}, []string{"CreateClient", "CreateAccessTokenSession"}},
		{"POST/management_off", dcr.Config{Management: dcr.Management{Off: true}}, func(t *testing.T, s *dcrtest.Server, _ dcrtest.Answer) {
			s.Register(t, dcrtest.Managed())
		}, []string{"CreateClient"}},
		{"GET", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "GET", client, nil).Status)
		}, reads},
		{"PUT", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, dcrtest.Replacing(client)).Status)
		}, append(reads, "CreateAccessTokenSession", "UpdateClient", "DeleteAccessTokenSession")},
		{"PUT/keep", dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, dcrtest.Replacing(client)).Status)
		}, append(reads, "UpdateClient")},
		{"DELETE", dcr.Config{}, func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) {
			require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		}, append(reads, "DeleteClient", "DeleteAccessTokenSession", "RevokeClientGrants")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewWatchedStore()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: row.config})
			client := s.Register(t, dcrtest.Managed())
			require.Equal(t, row.want, store.During(func() { row.do(t, s, client) }))
		})
	}
}

// TestStorageCallsOfRefusals: a refusal writes nothing, whatever it is for, and a token
// that nobody signed is not even looked up.
func TestStorageCallsOfRefusals(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	rows := []struct {
		name, method string
		token        string
		body         any
		status       int
		want         []string
	}{
		{"POST/bad_metadata", "POST", "", `{}`, http.StatusBadRequest, nil},
		{"GET/no_token", "GET", "", nil, http.StatusUnauthorized, nil},
		{"GET/garbage", "GET", "garbage", nil, http.StatusUnauthorized, nil},
		{"PUT/other_token", "PUT", other.Token(), dcrtest.Replacing(client), http.StatusUnauthorized, []string{"GetDynamicClient"}},
		{"PUT/bad_metadata", "PUT", client.Token(), dcrtest.Replacing(client, "scope", 7), http.StatusBadRequest,
			[]string{"GetDynamicClient", "GetAccessTokenSession"}},
		{"DELETE/other_token", "DELETE", other.Token(), nil, http.StatusUnauthorized, []string{"GetDynamicClient"}},
	}
	for _, row := range rows { // in turn: they share the list of calls
		var answer dcrtest.Answer
		calls := store.During(func() {
			switch {
			case row.method == "POST":
				answer = s.Post(t, row.body)
			case row.token == "":
				answer = s.Do(t, row.method, client.URI(), nil)
			default:
				answer = s.Manage(t, row.method, client, row.body, dcrtest.Bearer(row.token))
			}
		})
		require.Equal(t, row.status, answer.Status, "%s: %s", row.name, answer.Body)
		require.Equal(t, row.want, calls, row.name)
	}
}
