package dcrtest

import (
	"context"
	"net/http"
	"testing"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// AsUser registers in the name of a user, at a server of StartQuota.
func AsUser(user string) Edit { return Header("Test-User", user) }

// StartQuota starts a server at which users register, whom a header names (AsUser), and whoever has an initial access
// token. Its storage and its events are returned too.
func StartQuota(t testing.TB, quotas dcr.Quotas, edit ...func(*Setup)) (*Server, *Ledger, *Events) {
	t.Helper()
	store, events := NewLedger(), &Events{}
	setup := Setup{Storage: store, Config: dcr.Config{Limits: dcr.Limits{Quotas: quotas}, Events: events}}
	setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		return &dcr.Registrant{Kind: "user", Subject: r.Header.Get("Test-User")}, nil
	}))
	for _, e := range edit {
		e(&setup)
	}
	return Start(t, setup), store, events
}
