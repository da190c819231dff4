package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
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
		"grants_revoked   olga", "updated  expires_at otto",
	}, kindsOf(entries))
	require.Equal(t, "127.0.0.1", entries[0].Address)

	page := s.get(t, "/clients/"+client.ID()).Body
	place := 0
	for _, want := range []string{"<b>registered</b>", "<b>updated</b>: <bdi>client_<wbr>name</bdi>", "<b>registration access token replaced</b>", "<b>authentication failed</b>: <bdi>invalid_client</bdi>",
		"<b>all tokens revoked</b> <span class=\"by\">by operator <bdi>olga</bdi>", "<b>updated</b>: <bdi>expires_<wbr>at</bdi> <span class=\"by\">by operator <bdi>otto</bdi>"} {
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
	require.Contains(t, events[1].(object)["description"], "redirect_uris[0]", "the member")
	require.Contains(t, s.get(t, "/events").Body, "<b>refused</b>: <bdi>invalid_redirect_uri</bdi> <span class=\"soft why\">(<bdi>redirect_uris[0] ")
}

// TestWhoWasRefused: an operator sees whose quota is used up, and what came of an update.
func TestWhoWasRefused(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Config.Access, setup.Config.Limits.Quotas.PerSubject = dcr.InitialAccessTokens(), 1
	})
	secret, _, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Subject: "dana"})
	require.NoError(t, err)
	client := s.Register(t, named("App"), dcrtest.Bearer(secret))
	require.Equal(t, http.StatusForbidden, s.Post(t, named("App"), dcrtest.Bearer(secret)).Status)
	event := s.get(t, "/api/events").Members["events"].([]any)[0].(object)
	require.Equal(t, "limited", event["kind"])
	require.Equal(t, "dana", event["subject"])
	require.Contains(t, event["description"], "as many clients as this server allows")
	require.Contains(t, s.get(t, "/events").Body, "user <bdi>dana</bdi>")

	bad := named("App", "client_id", client.ID(), "logo_uri", "javascript:alert(1)")
	require.Equal(t, http.StatusBadRequest, s.Manage(t, http.MethodPut, client, bad).Status)
	history := s.get(t, "/api/clients/"+client.ID()).Members["history"].([]any)
	refused := history[len(history)-1].(object)
	require.Equal(t, "dana", refused["subject"])
	require.Contains(t, refused["description"], "logo_uri")
	page := s.get(t, "/clients/"+client.ID()).Body
	require.Contains(t, page, "(<bdi>logo_uri ")
	require.Contains(t, page[strings.Index(page, "(<bdi>logo_uri "):], "user <bdi>dana</bdi>")
}

// TestEntryIsBounded: neither an application's refusals nor its users fill the memory.
func TestEntryIsBounded(t *testing.T) {
	t.Parallel()
	h := admin.NewHistory(admin.HistoryOptions{})
	h.Record(t.Context(), dcr.Event{
		Kind: dcr.EventRefused, Registrant: &dcr.Registrant{Subject: strings.Repeat("s", 5000)},
		Err: dcr.ErrAccessDenied.WithDescription(strings.Repeat("é", 5000)),
	})
	others, err := h.OtherEvents(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, others[0].Subject, 200)
	require.Equal(t, strings.Repeat("é", 150), others[0].Description)
}

func TestWithoutHistory(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *dcrtest.Setup, o *admin.Options) { o.History = nil })
	client := s.Register(t, named("App"))
	page := s.get(t, "/clients/"+client.ID())
	require.Contains(t, page.Body, "This server keeps no history.")
	require.Contains(t, page.Body, "<dt>Registered</dt><dd><time ")
	require.Contains(t, s.get(t, "/events").Body, "This server keeps no history.")
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
			happen(t, h, dcr.EventGrantsRevoked, "c", nil)
		}
		for range 10 {
			happen(t, h, dcr.EventAuthenticationFailed, "c", dcr.ErrInvalidToken)
			happen(t, h, dcr.EventShared, "c", nil)
		}
		require.Len(t, past(t, h, "c"), 4)
		require.Contains(t, past(t, h, "c"), "grants_revoked", "a flood of failures pushes out no more than half")
		for range 10 {
			happen(t, h, dcr.EventGrantsRevoked, "c", nil)
		}
		require.Equal(t, []string{"grants_revoked", "grants_revoked", "grants_revoked", "grants_revoked"}, past(t, h, "c"))
	})
}

// TestDeadClientsPushNothingOut: the expiry of a client starts no history, and
// keeps none that it has from being dropped.
func TestDeadClientsPushNothingOut(t *testing.T) {
	t.Parallel()
	h := admin.NewHistory(admin.HistoryOptions{Clients: 3})
	for _, id := range []string{"dies", "lives", "lives too"} {
		happen(t, h, dcr.EventRegistered, id, nil)
	}
	for i := range 5000 {
		happen(t, h, dcr.EventExpired, fmt.Sprint(i), nil)
	}
	require.Empty(t, past(t, h, "4999"))
	others, err := h.OtherEvents(t.Context(), 100)
	require.NoError(t, err)
	require.Empty(t, others)
	happen(t, h, dcr.EventExpired, "dies", nil)
	require.Equal(t, []string{"registered", "expired"}, past(t, h, "dies"))
	happen(t, h, dcr.EventRegistered, "new", nil)
	require.Empty(t, past(t, h, "dies"), "dropped before those that exist")
	require.Len(t, past(t, h, "lives"), 1)
	require.Len(t, past(t, h, "lives too"), 1)
}

// TestStrangersPushOutNoOperator: a flood of what anonymous callers cause leaves half to what
// operators did, in what is kept and in what is answered.
func TestStrangersPushOutNoOperator(t *testing.T) {
	t.Parallel()
	const minted, refused = dcr.EventInitialAccessTokenMinted, dcr.EventRefused
	h := admin.NewHistory(admin.HistoryOptions{Others: 10})
	flood := func() {
		for i := range 1000 {
			happen(t, h, []dcr.EventKind{refused, dcr.EventLimited, dcr.EventAuthenticationFailed}[i%3], "", dcr.ErrInvalidToken)
		}
	}
	numbers := func(limit int) (operators, strangers int) {
		others, err := h.OtherEvents(t.Context(), limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(others), limit)
		for i, entry := range others {
			require.False(t, i > 0 && entry.Time.After(others[i-1].Time), "the latest first")
			if entry.Kind == minted {
				operators++
			} else {
				strangers++
			}
		}
		return operators, strangers
	}
	check := func(limit, operators, strangers int) {
		t.Helper()
		gotOperators, gotStrangers := numbers(limit)
		require.Equal(t, []int{operators, strangers}, []int{gotOperators, gotStrangers}, "up to %d", limit)
	}
	flood()
	check(10, 0, 5)
	for range 4 {
		happen(t, h, minted, "", nil)
	}
	flood()
	check(10, 4, 5)
	check(6, 3, 3)
	check(4, 2, 2)
	check(1, 1, 0)
	check(0, 0, 0)
	for range 20 {
		happen(t, h, minted, "", nil)
	}
	check(10, 10, 0)
	flood()
	check(10, 5, 5)
	happen(t, h, refused, "", dcr.ErrInvalidToken)
	check(10, 5, 5)
}

func TestHistoryOfOthersIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		h := admin.NewHistory(admin.HistoryOptions{Clients: 2, Others: 6})
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

// TestThievesHideNothing: whoever has stolen a registration access token can't push out of the
// history how the client came to be and where its users are sent since (T39).
func TestThievesHideNothing(t *testing.T) {
	t.Parallel()
	for name, cover := range map[string]func(i int) *dcr.Client{
		"T39/nothing_changed": func(int) *dcr.Client { return &dcr.Client{ID: "c"} },
		"T39/names": func(i int) *dcr.Client {
			return &dcr.Client{ID: "c", Metadata: dcr.ClientMetadata{ClientName: fmt.Sprint(i)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := admin.NewHistory(admin.HistoryOptions{})
			first, moved := &dcr.Client{ID: "c"}, &dcr.Client{ID: "c"}
			moved.Metadata.RedirectURIs = []string{"https://evil.example/cb"}
			history.Record(t.Context(), dcr.Event{Kind: dcr.EventRegistered, ClientID: "c", After: first})
			history.Record(t.Context(), dcr.Event{Kind: dcr.EventUpdated, ClientID: "c", Before: first, After: moved})
			for i := range 500 {
				history.Record(t.Context(), dcr.Event{Kind: dcr.EventUpdated, ClientID: "c", Before: cover(i), After: cover(i + 1)})
				history.Record(t.Context(), dcr.Event{Kind: dcr.EventTokenRotated, ClientID: "c"})
			}
			entries, err := history.ClientEvents(t.Context(), "c")
			require.NoError(t, err)
			require.LessOrEqual(t, len(entries), 40)
			require.Equal(t, []string{"registered", "updated  redirect_uris"}, kindsOf(entries)[:2])
		})
	}
}

// TestOperatorsStay: a thief who changes redirect URIs over and over pushes out neither what an
// operator did nor the beginning (T39).
func TestOperatorsStay(t *testing.T) {
	t.Parallel()
	history := admin.NewHistory(admin.HistoryOptions{})
	at := func(i int) *dcr.Client {
		c := &dcr.Client{ID: "c"}
		c.Metadata.RedirectURIs = []string{fmt.Sprintf("https://evil.example/%d", i)}
		return c
	}
	history.Record(t.Context(), dcr.Event{Kind: dcr.EventRegistered, ClientID: "c", After: at(0)})
	history.Record(t.Context(), dcr.Event{Kind: dcr.EventGrantsRevoked, ClientID: "c", After: at(0), Operator: "alice"})
	for i := range 200 {
		history.Record(t.Context(), dcr.Event{Kind: dcr.EventUpdated, ClientID: "c", Before: at(i), After: at(i + 1)})
	}
	entries, err := history.ClientEvents(t.Context(), "c")
	require.NoError(t, err)
	require.Len(t, entries, 40)
	require.Equal(t, []string{"registered", "grants_revoked   alice", "updated  redirect_uris"}, kindsOf(entries)[:3])
}

// TestLanguagesHideNothing: a member counts once in whatever languages it changes, so many languages neither hide the
// new redirect URI of a thief nor fill the memory (T39).
func TestLanguagesHideNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.Register(t, named("App"))
	body := named("App", "client_id", client.ID(), "redirect_uris", []string{"https://evil.example/cb"})
	for i := range 60 {
		body[fmt.Sprintf("client_name#de-x-%d", i)] = "App"
	}
	require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, body).Status)
	entries, err := s.history.ClientEvents(t.Context(), client.ID())
	require.NoError(t, err)
	require.Equal(t, []string{"registered", "updated  client_name,redirect_uris", "token_rotated"}, kindsOf(entries))
}

// TestChangedMembers: of any two clients the history names the members in which their JSON differs, without languages.
func TestChangedMembers(t *testing.T) {
	t.Parallel()
	var clients []*dcr.Client
	for _, file := range []string{"real.jsonl", "type.jsonl", "text.jsonl"} {
		content, err := os.ReadFile("../integration/requests/testdata/" + file)
		require.NoError(t, err)
		for line := range strings.Lines(string(content)) {
			var row struct{ Body json.RawMessage }
			client := &dcr.Client{ID: "c"}
			if json.Unmarshal([]byte(line), &row) == nil && json.Unmarshal(row.Body, &client.Metadata) == nil {
				clients = append(clients, client)
			}
		}
	}
	require.Greater(t, len(clients), 30)
	members := func(c *dcr.Client) (found map[string]json.RawMessage) {
		encoded, err := json.Marshal(c.Metadata)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(encoded, &found))
		return found
	}
	for i, before := range clients {
		for _, after := range clients[max(0, i-3):min(len(clients), i+4)] {
			was, is := members(before), members(after)
			var differ []string
			for name := range is {
				if string(was[name]) != string(is[name]) {
					differ = append(differ, name)
				}
			}
			for name := range was {
				if _, ok := is[name]; !ok {
					differ = append(differ, name)
				}
			}
			h := admin.NewHistory(admin.HistoryOptions{})
			h.Record(t.Context(), dcr.Event{Kind: dcr.EventRegistered, ClientID: "c", After: before})
			h.Record(t.Context(), dcr.Event{Kind: dcr.EventUpdated, ClientID: "c", Before: before, After: after})
			entries, err := h.ClientEvents(t.Context(), "c")
			require.NoError(t, err)
			changed := entries[len(entries)-1].Changed
			for i, name := range differ {
				if before.Metadata.Localized[name] != "" || after.Metadata.Localized[name] != "" {
					differ[i], _, _ = strings.Cut(name, "#")
				}
			}
			slices.Sort(differ)
			require.Equal(t, append([]string{}, slices.Compact(differ)...), append([]string{}, changed...))
		}
	}
}
