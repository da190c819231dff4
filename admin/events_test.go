package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// kindsIn are the kinds of the events in an answer of the API.
func kindsIn(t *testing.T, answer dcrtest.Answer, member string) []string {
	t.Helper()
	kinds := []string{}
	for _, event := range answer.Members[member].([]any) {
		kinds = append(kinds, event.(object)["kind"].(string))
	}
	return kinds
}

// TestRegistrationsAreEvents: the events have the registration of each client that is listed, with
// who registered it, whether or not the history saw it.
func TestRegistrationsAreEvents(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open())
	})
	s.plant(t, "before-the-start", func(c *dcr.Client) { c.CreatedAt = time.Now().Add(-48 * time.Hour) })
	anonymous := s.Register(t, named("App")).ID()
	secret, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Subject: "dana"})
	require.NoError(t, err)
	held := s.Register(t, named("App"), dcrtest.Bearer(secret)).ID()

	answer := s.get(t, "/api/events")
	require.Equal(t, []string{"registered", "initial_access_token_minted", "registered", "registered"}, kindsIn(t, answer, "events"), "the latest first")
	events := answer.Members["events"].([]any)
	first := events[0].(object)
	require.Equal(t, []any{held, "dana", token.ID, nil}, []any{first["client_id"], first["subject"], first["initial_access_token"], first["anonymous"]})
	require.Equal(t, []any{anonymous, true}, []any{events[2].(object)["client_id"], events[2].(object)["anonymous"]})
	require.Equal(t, "before-the-start", events[3].(object)["client_id"])

	page := s.get(t, "/events").Body
	for _, id := range []string{held, anonymous, "before-the-start"} {
		require.Contains(t, page, `href="/admin/clients/`+id+`"`)
	}
	require.Contains(t, page, `by user <bdi>dana</bdi>`)
	require.Equal(t, 2, strings.Count(page, "by an anonymous caller"))
	require.Equal(t, 3, strings.Count(page, "<b>registered</b>"))
}

// TestRegistrationBeginsHistory: the history of a client begins with its registration, once, and
// the page says where it comes from.
func TestRegistrationBeginsHistory(t *testing.T) {
	t.Parallel()
	const fromRecord = "comes from the record of the client"
	for name, row := range map[string]struct {
		edit   edit
		kinds  []string
		record bool // the registration is from the record
	}{
		"seen":       {func(*dcrtest.Setup, *admin.Options) {}, []string{"registered", "grants_revoked"}, false},
		"not_kept":   {func(_ *dcrtest.Setup, o *admin.Options) { o.History = nil }, []string{"registered"}, true},
		"not_a_sink": {func(setup *dcrtest.Setup, _ *admin.Options) { setup.Config.Events = nil }, []string{"registered"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, row.edit)
			id := s.Register(t, named("App")).ID()
			require.Equal(t, http.StatusNoContent, s.post(t, "/api/clients/"+id+"/revoke-tokens", "").Status)
			require.Equal(t, row.kinds, kindsIn(t, s.get(t, "/api/clients/"+id), "history"))
			page := s.get(t, "/clients/"+id).Body
			require.Equal(t, 1, strings.Count(page, "<b>registered</b>"))
			require.Equal(t, row.record, strings.Contains(page, fromRecord))
		})
	}
	t.Run("restarted", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		s.plant(t, "old", func(c *dcr.Client) { c.CreatedAt = time.Now().Add(-time.Hour) })
		require.Equal(t, http.StatusNoContent, s.post(t, "/api/clients/old/revoke-tokens", "").Status)
		require.Equal(t, []string{"registered", "grants_revoked"}, kindsIn(t, s.get(t, "/api/clients/old"), "history"))
		require.Contains(t, s.get(t, "/clients/old").Body, fromRecord)
	})
	t.Run("registered_again", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		happened := dcr.Event{Kind: dcr.EventRegistered, ClientID: "again", Time: time.Now().Add(-2 * time.Hour)}
		s.history.Record(t.Context(), happened)
		s.plant(t, "again", func(c *dcr.Client) { c.CreatedAt = time.Now().Add(-time.Hour) })
		require.Equal(t, []string{"registered", "registered"}, kindsIn(t, s.get(t, "/api/clients/again"), "history"), "that of the record too")
	})
}

// TestEventsOfPlainStorage: where the storage can't list, the events say nothing of registrations.
func TestEventsOfPlainStorage(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Storage = &plainStore{dcr.NewMemoryStore(), hides{}}
	})
	s.Register(t, named("App"))
	require.Empty(t, kindsIn(t, s.get(t, "/api/events"), "events"))
	page := s.get(t, "/events")
	require.Equal(t, http.StatusOK, page.Status)
	require.Contains(t, page.Body, "There are no events yet.")
	require.NotContains(t, page.Body, "newest registrations")
}

// TestNamesBreakAtUnderscores: the name of a member breaks between its words, in the metadata and
// in the history.
func TestNamesBreakAtUnderscores(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.Register(t, named("App"))
	body := named("App", "client_id", client.ID(), "token_endpoint_auth_method", "none")
	require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, body).Status)
	page := s.get(t, "/clients/"+client.ID()).Body
	const name = "<bdi>token_<wbr>endpoint_<wbr>auth_<wbr>method</bdi>"
	require.Contains(t, page, "<dt>"+name+"</dt>")
	require.Equal(t, 2, strings.Count(page, name))
	require.NotContains(t, page, "token_endpoint_auth_method")
}
