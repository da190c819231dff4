package admin_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// kindsOf are the kinds of entries with what else they say.
func kindsOf(entries []admin.Entry) []string {
	told := []string{}
	for _, e := range entries {
		told = append(told, strings.TrimSpace(strings.Join([]string{string(e.Kind), e.Reason, strings.Join(e.Changed, ","), e.Operator}, " ")))
	}
	return told
}

// TestHistoryOfOneClient: what happened, in order, and who did it.
func TestHistoryOfOneClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.Register(t, service("App"))
	s.Register(t, service("Another"))
	body := object{}
	for name, value := range client.Members {
		if !strings.HasPrefix(name, "registration_") && !strings.HasPrefix(name, "client_secret_") && name != "client_id_issued_at" {
			body[name] = value
		}
	}
	body["client_name"] = "Renamed"
	updated := s.Manage(t, http.MethodPut, client, body)
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	s.Manage(t, http.MethodGet, dcrtest.Answer{Members: object{"registration_access_token": "wrong", "registration_client_uri": client.URI()}}, nil)
	s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), "wrong"))
	require.Equal(t, http.StatusNoContent, s.Do(t, "POST", "/admin/api/clients/"+client.ID()+"/revoke-tokens", nil, as("olga")).Status)
	require.Equal(t, http.StatusSeeOther, s.Form(t, "/admin/clients/"+client.ID()+"/expire", nil, as("otto")).Status)

	entries, err := s.history.ClientEvents(t.Context(), client.ID())
	require.NoError(t, err)
	require.Equal(t, []string{
		"registered", "updated  client_name", "token_rotated", "authentication_failed invalid_client",
		"grants_revoked   olga", "updated  end otto",
	}, kindsOf(entries))
	require.Equal(t, "127.0.0.1", entries[0].Address)

	page := s.get(t, "/clients/"+client.ID()).Body
	place := 0
	for _, want := range []string{"<b>registered</b>", "<b>updated</b>: <bdi>client_name</bdi>", "<b>token rotated</b>", "<b>authentication failed</b>: <bdi>invalid_client</bdi>",
		"<b>grants revoked</b> <span class=\"by\">by operator <bdi>olga</bdi>", "<b>updated</b>: <bdi>end</bdi> <span class=\"by\">by operator <bdi>otto</bdi>"} {
		at := strings.Index(page[place:], want)
		require.GreaterOrEqual(t, at, 0, "%s, in order", want)
		place += at
	}
	require.Equal(t, http.StatusNoContent, s.delete(t, "/api/clients/"+client.ID()).Status)
	gone := s.get(t, "/clients/"+client.ID())
	require.Equal(t, http.StatusNotFound, gone.Status)
	require.Contains(t, gone.Body, "<b>deleted</b> <span class=\"by\">by operator <bdi>olga</bdi>", "who did it outlives the client")
}

func TestEventsWithoutClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	require.Equal(t, http.StatusBadRequest, s.Post(t, `{"redirect_uris":["javascript:alert(1)"]}`).Status)
	s.post(t, "/api/initial-access-tokens", `{"label":"x"}`)
	answer := s.get(t, "/api/events")
	events := answer.Members["events"].([]any)
	require.Len(t, events, 2)
	require.Equal(t, "initial_access_token_minted", events[0].(object)["kind"], "the latest first")
	require.Equal(t, "olga", events[0].(object)["operator"])
	require.Equal(t, "invalid_redirect_uri", events[1].(object)["reason"])
	require.Contains(t, s.get(t, "/events").Body, "<b>refused</b>: <bdi>invalid_redirect_uri</bdi>")
}

func TestWithoutHistory(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *dcrtest.Setup, o *admin.Options) { o.History = nil })
	client := s.Register(t, named("App"))
	page := s.get(t, "/clients/"+client.ID())
	require.Contains(t, page.Body, "No history is kept here.")
	require.Contains(t, page.Body, "<dt>Registered</dt><dd><time ")
	require.Contains(t, s.get(t, "/events").Body, "No history is kept here.")
	require.Equal(t, false, s.get(t, "/api/clients/"+client.ID()).Members["history_kept"])
	require.Equal(t, false, s.get(t, "/api/events").Members["history_kept"])
	require.Equal(t, http.StatusNotFound, s.get(t, "/clients/unknown").Status)
}

func happen(t *testing.T, h *admin.History, kind dcr.EventKind, id string, err error) {
	h.Record(t.Context(), dcr.Event{Kind: kind, Time: time.Now(), ClientID: id, Err: err, Address: netip.MustParseAddr("192.0.2.1")})
}

func past(t *testing.T, h *admin.History, id string) []string {
	entries, err := h.ClientEvents(t.Context(), id)
	require.NoError(t, err)
	return kindsOf(entries)
}

// TestHistoryIsBounded: whatever comes, in whatever number.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("clients", func(t *testing.T) {
		t.Parallel()
		h := admin.NewHistory(admin.HistoryOptions{Clients: 3})
		for i := range 5 {
			happen(t, h, dcr.EventRegistered, fmt.Sprint(i), nil)
			happen(t, h, dcr.EventUpdated, "0", nil) // stays, for it is the latest
		}
		require.Empty(t, past(t, h, "1"))
		require.Empty(t, past(t, h, "2"))
		require.Len(t, past(t, h, "0"), 6)
		require.Len(t, past(t, h, "3"), 1)
		require.Len(t, past(t, h, "4"), 1)
	})
	t.Run("events_of_one", func(t *testing.T) {
		t.Parallel()
		h := admin.NewHistory(admin.HistoryOptions{EventsPerClient: 4})
		for range 3 {
			happen(t, h, dcr.EventUpdated, "c", nil)
		}
		for range 10 {
			happen(t, h, dcr.EventAuthenticationFailed, "c", dcr.ErrInvalidToken)
			happen(t, h, dcr.EventShared, "c", nil)
		}
		require.Len(t, past(t, h, "c"), 4)
		require.Contains(t, past(t, h, "c"), "updated", "a flood of failures pushes out no more than half")
		for range 10 {
			happen(t, h, dcr.EventUpdated, "c", nil)
		}
		require.Equal(t, []string{"updated", "updated", "updated", "updated"}, past(t, h, "c"))
	})
}

func TestHistoryOfOthersIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		h := admin.NewHistory(admin.HistoryOptions{Clients: 2, Others: 3})
		happen(t, h, dcr.EventRegistered, "c", nil)
		for i := range 100 {
			happen(t, h, dcr.EventAuthenticationFailed, fmt.Sprint("https://client.example/", i), dcr.ErrInvalidToken)
			happen(t, h, dcr.EventRefused, "", dcr.ErrInvalidClientMetadata)
		}
		others, err := h.OtherEvents(t.Context(), 100)
		require.NoError(t, err)
		require.Equal(t, []string{"refused invalid_client_metadata", "authentication_failed invalid_token", "refused invalid_client_metadata"}, kindsOf(others))
		require.Equal(t, "https://client.example/99", others[1].ClientID)
		require.Len(t, past(t, h, "c"), 1, "failures make no client known, and none forgotten")
	})
	t.Run("zero", func(t *testing.T) {
		t.Parallel()
		h := admin.NewHistory(admin.HistoryOptions{EventsPerClient: 1, Others: 1})
		for range 3 {
			happen(t, h, dcr.EventRegistered, "c", nil)
			happen(t, h, dcr.EventAuthenticationFailed, "c", dcr.ErrInvalidToken)
			happen(t, h, dcr.EventRefused, "", nil)
		}
		require.Len(t, past(t, h, "c"), 1)
		others, err := h.OtherEvents(t.Context(), -1)
		require.NoError(t, err)
		require.Empty(t, others)
	})
}
