package dcrtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// Mint mints an initial access token, and returns it with its record.
func Mint(t testing.TB, s *Server, request dcr.InitialAccessTokenRequest) (string, *dcr.InitialAccessToken) {
	t.Helper()
	token, record, err := s.Provider.MintInitialAccessToken(context.Background(), request)
	require.NoError(t, err)
	return token, record
}

// StartInitial starts a server whose clients are registered with initial access tokens only. A token may name the
// policy "partner", which allows the scope profile.
func StartInitial(t testing.TB, edit ...func(*Setup)) *Server {
	setup := Setup{Config: dcr.Config{
		Access:        dcr.InitialAccessTokens(),
		NamedPolicies: map[string]dcr.Policy{"partner": policy.LimitScopes("profile")},
	}}
	for _, e := range edit {
		e(&setup)
	}
	return Start(t, setup)
}

// UsesOf returns how often an initial access token was used.
func UsesOf(t testing.TB, store interface {
	GetInitialAccessToken(context.Context, string) (*dcr.InitialAccessToken, error)
}, id string) int {
	t.Helper()
	record, err := store.GetInitialAccessToken(context.Background(), id)
	require.NoError(t, err)
	return record.Uses
}
