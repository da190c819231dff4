package storage_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// populated is a server with n clients, of which the i-th, counted from the oldest, has i in
// its name.
func populated(t testing.TB, n int) *dcrtest.Server {
	t.Helper()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for i := range n {
		c := &dcr.Client{ID: fmt.Sprintf("%05d", i), Issuer: s.URL, Version: 1, CreatedAt: dcrtest.ClockStart.Add(time.Duration(i/3) * time.Second)}
		c.Metadata.ClientName = fmt.Sprintf("Client %d", i)
		require.NoError(t, s.Store.CreateClient(t.Context(), c))
	}
	return s
}

// TestListClientsLimit: how long a page is, and when another follows (LIFE-03).
func TestListClientsLimit(t *testing.T) {
	t.Parallel()
	const clients = 1100
	s := populated(t, clients)
	for limit, want := range map[int]int{0: 50, -1: 50, 1: 1, 50: 50, 1000: 1000, 1001: 1000, 1 << 40: 1000} {
		page, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, "", limit)
		require.NoError(t, err)
		require.Len(t, page.Clients, want, "a limit of %d", limit)
		require.Equal(t, "01099", page.Clients[0].ID)
		require.NotEmpty(t, page.Next)
	}
	for _, limit := range []int{0, 7, 550, 1000} {
		require.Equal(t, clients, len(allPages(t, s.Provider, dcr.ClientFilter{}, limit)), "pages of %d", limit)
	}
	page, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{Search: "client 109"}, "", 11)
	require.NoError(t, err)
	require.Len(t, page.Clients, 11)
	require.Empty(t, page.Next, "LIFE-03: a page that is full and the last")
	page, err = s.Provider.ListClients(t.Context(), dcr.ClientFilter{Search: "nobody"}, "", 0)
	require.NoError(t, err)
	require.Empty(t, page.Clients)
	require.Empty(t, page.Next)

	n, err := s.Provider.CountClients(t.Context(), dcr.ClientFilter{}, 10_000)
	require.NoError(t, err)
	require.Equal(t, clients, n)
	n, err = s.Provider.CountClients(t.Context(), dcr.ClientFilter{Search: "client 109"}, 10)
	require.NoError(t, err)
	require.Equal(t, 10, n)
}

// allPages returns the identifiers of all pages. It fails where a client is listed twice.
func allPages(t testing.TB, p *dcr.Provider, filter dcr.ClientFilter, limit int) []string {
	t.Helper()
	var ids []string
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, err := p.ListClients(t.Context(), filter, cursor, limit)
		require.NoError(t, err)
		for _, c := range page.Clients {
			require.False(t, seen[c.ID], "LIFE-03: %s is listed twice", c.ID)
			seen[c.ID] = true
			ids = append(ids, c.ID)
		}
		if page.Next == "" {
			return ids
		}
		cursor = page.Next
	}
}

// TestListClientsCursor: what is no cursor is refused, and what is one stays one.
func TestListClientsCursor(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	for name, cursor := range map[string]string{
		"no_base64": "!", "one_character": "a", "unicode": "é", "zero": "\x00", "space": " ", "words": "next page, please",
		"padded": encode(make([]byte, 8)) + "YQ==", "other_alphabet": strings.Repeat("+/", 8), "number": "50", "json": `{"id":"a"}`,
		"too_short": encode([]byte("short")), "no_identifier": encode(make([]byte, 8)), "too_long": encode(make([]byte, 8+257)),
		"huge": strings.Repeat("A", 1<<20), "not_utf8": encode([]byte("12345678\xff\xfe")), "identifier_with_zero": encode([]byte("12345678a\x00b")),
	} {
		t.Run("LIFE-03/"+name, func(t *testing.T) {
			t.Parallel()
			page, err := populated(t, 1).Provider.ListClients(t.Context(), dcr.ClientFilter{}, cursor, 10)
			require.ErrorIs(t, err, dcr.ErrBadArgument)
			require.Nil(t, page)
		})
	}
	t.Run("LIFE-03/across_changes", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		var clients []dcrtest.Answer
		for range 5 {
			clients = append(clients, s.Register(t, dcrtest.Managed()))
		}
		page, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, "", 2)
		require.NoError(t, err)
		require.Equal(t, []string{clients[4].ID(), clients[3].ID()}, idsOf(page.Clients))
		updated := s.Manage(t, "PUT", clients[3], dcrtest.Replacing(clients[3]))
		require.Equal(t, http.StatusOK, updated.Status, updated.Body)
		require.Equal(t, http.StatusOK, s.Manage(t, "PUT", clients[0], dcrtest.Replacing(clients[0])).Status)
		s.Register(t, dcrtest.Managed())
		next, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, page.Next, 2)
		require.NoError(t, err)
		require.Equal(t, []string{clients[2].ID(), clients[1].ID()}, idsOf(next.Clients))
		require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", clients[1], nil).Status)
		last, err := s.Provider.ListClients(t.Context(), dcr.ClientFilter{}, next.Next, 2)
		require.NoError(t, err)
		require.Equal(t, []string{clients[0].ID()}, idsOf(last.Clients))
		require.Empty(t, last.Next)
	})
	t.Run("LIFE-03/without_times", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{}) // records that came from elsewhere
		for i := range 5 {
			s.Store.AddClient(&dcr.Client{ID: fmt.Sprint(i), Issuer: s.URL, Version: 1})
		}
		require.Equal(t, []string{"4", "3", "2", "1", "0"}, allPages(t, s.Provider, dcr.ClientFilter{}, 2))
	})
	t.Run("LIFE-03/fractions_of_a_second", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		for i := range 5 {
			s.Store.AddClient(&dcr.Client{ID: fmt.Sprint(9 - i), Issuer: s.URL, Version: 1, CreatedAt: dcrtest.ClockStart.Add(time.Duration(i))})
		}
		require.Equal(t, []string{"5", "6", "7", "8", "9"}, allPages(t, s.Provider, dcr.ClientFilter{}, 1))
	})
}

// tenantKey is the key of the tenant in the context of a request.
type tenantKey struct{}

// TestOperatorOfOtherIssuer: the operator of one issuer neither sees nor touches the
// clients of another (T41).
func TestOperatorOfOtherIssuer(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}, Config: dcr.Config{
		Endpoints: dcr.Endpoints{Issuer: func(ctx context.Context) string {
			if issuer, ok := ctx.Value(tenantKey{}).(string); ok {
				return issuer
			}
			return "https://own.example"
		}},
	}})
	client := s.Register(t, dcrtest.Managed())
	had := dcrtest.SignIn(t, s, client)
	other := context.WithValue(t.Context(), tenantKey{}, "https://other.example")
	p := s.Provider
	for name, act := range map[string]func(ctx context.Context, id string) error{
		"find":   func(ctx context.Context, id string) error { _, err := p.FindClient(ctx, id); return err },
		"delete": p.DeleteClient, "expire": p.ExpireClient, "revoke": p.RevokeTokens,
	} {
		require.ErrorIs(t, act(other, client.ID()), fosite.ErrNotFound, "T41: %s", name)
		require.ErrorIs(t, act(t.Context(), "nobody"), fosite.ErrNotFound, name)
		require.ErrorIs(t, act(t.Context(), dcrtest.IntrospectorID), fosite.ErrNotFound, "%s: one of the operator's own", name)
		err := act(context.WithValue(t.Context(), tenantKey{}, ""), client.ID())
		require.Error(t, err, "T41: %s: no issuer", name)
		require.NotErrorIs(t, err, fosite.ErrNotFound, name)
	}
	for _, filter := range []dcr.ClientFilter{{}, {Issuer: "https://own.example"}, {Search: client.ID()}, {NameKey: "managed"}} {
		page, err := p.ListClients(other, filter, "", 0)
		require.NoError(t, err)
		require.Empty(t, page.Clients, "T41")
		n, err := p.CountClients(other, filter, 10)
		require.NoError(t, err)
		require.Zero(t, n, "T41")
		page, err = p.ListClients(t.Context(), filter, "", 0)
		require.NoError(t, err)
		require.Equal(t, []string{client.ID()}, idsOf(page.Clients))
	}
	require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()), "T41: nothing has happened to it")
	require.Equal(t, true, dcrtest.Introspected(t, s, had.Text("access_token"))["active"])
	found, err := p.FindClient(t.Context(), client.ID())
	require.NoError(t, err)
	require.Equal(t, "Managed", found.Metadata.ClientName)
	require.EqualValues(t, 1, found.Version)
}

// unlistedStore hides ListClients by a method of another form.
type unlistedStore struct{ *dcr.MemoryStore }

func (unlistedStore) ListClients() {}

// unrevokedStore hides RevokeClientGrants in the same way.
type unrevokedStore struct{ *dcr.MemoryStore }

func (unrevokedStore) RevokeClientGrants() {}

// failingList is a storage that is down for lists.
type failingList struct{ *dcr.MemoryStore }

func (failingList) ListClients(context.Context, dcr.ClientFilter, dcr.ClientCursor, int) ([]*dcr.Client, error) {
	return nil, dcr.ErrUnavailable
}

// TestOperatorWithoutInterfaces: what the storage can't do is said, and nothing else stops.
func TestOperatorWithoutInterfaces(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	t.Run("LIFE-03/no_list", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: unlistedStore{dcr.NewMemoryStore()}})
		client := s.Register(t, dcrtest.Managed())
		_, err := s.Provider.ListClients(ctx, dcr.ClientFilter{}, "", 0)
		require.ErrorIs(t, err, dcr.ErrNotSupported)
		require.ErrorContains(t, err, "ClientLister")
		_, err = s.Provider.CountClients(ctx, dcr.ClientFilter{}, 10)
		require.ErrorIs(t, err, dcr.ErrNotSupported)
		found, err := s.Provider.FindClient(ctx, client.ID())
		require.NoError(t, err)
		require.Equal(t, client.ID(), found.ID)
		require.NoError(t, s.Provider.ExpireClient(ctx, client.ID()))
		require.NoError(t, s.Provider.DeleteClient(ctx, client.ID()))
	})
	t.Run("T36/no_revocation", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: unrevokedStore{dcr.NewMemoryStore()}})
		client := s.Register(t, dcrtest.Managed())
		err := s.Provider.RevokeTokens(ctx, client.ID())
		require.ErrorIs(t, err, dcr.ErrNotSupported)
		require.ErrorContains(t, err, "GrantRevoker")
		require.ErrorIs(t, s.Provider.RevokeTokens(ctx, "nobody"), fosite.ErrNotFound)
		require.True(t, dcrtest.TokenWorks(t, s, client, client.Token()))
		require.NoError(t, s.Provider.DeleteClient(ctx, client.ID()))
	})
	t.Run("LIFE-03/outage", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: failingList{dcr.NewMemoryStore()}})
		page, err := s.Provider.ListClients(ctx, dcr.ClientFilter{}, "", 0)
		require.ErrorIs(t, err, dcr.ErrUnavailable)
		require.Nil(t, page)
	})
}

// operated is a server with a client on which the operator acts, and what that client holds.
type operated struct {
	*dcrtest.Server
	events        *dcrtest.Events
	client, other dcrtest.Answer
	had, kept     dcrtest.Answer // the tokens of the two
	code, pushed  string
}

func startOperated(t *testing.T) operated {
	t.Helper()
	o := operated{events: &dcrtest.Events{}}
	o.Server = dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}, Config: dcr.Config{Events: o.events}})
	o.client, o.other = o.Register(t, dcrtest.Managed()), o.Register(t, dcrtest.Managed())
	o.had, o.kept = dcrtest.SignIn(t, o.Server, o.client), dcrtest.SignIn(t, o.Server, o.other)
	o.code = o.Code(t, dcrtest.AuthorizeQuery(o.client.ID(), dcrtest.RedirectURI, "scope", "openid"))
	o.pushed = dcrtest.Push(t, o.Server, o.client)
	o.events.Take()
	return o
}

// TestDeleteClientByOperator: it is as if the client had deleted itself (T36).
func TestDeleteClientByOperator(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	s, client, events := o.Server, o.client, o.events
	require.NoError(t, s.Provider.DeleteClient(t.Context(), client.ID()))
	require.Equal(t, dcr.EventDeleted, events.TakeOne(t).Kind)
	dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", client, nil))
	dcrtest.RequireGrantsDead(t, s, client, o.had, o.code, o.pushed)
	require.ErrorIs(t, s.Provider.DeleteClient(t.Context(), client.ID()), fosite.ErrNotFound)
	_, err := s.Provider.FindClient(t.Context(), client.ID())
	require.ErrorIs(t, err, fosite.ErrNotFound)
}

// TestExpireClient: a client that has ended is seen by operators, refused everywhere else,
// and swept (LIFE-03, T36).
func TestExpireClient(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	s, client, other, events := o.Server, o.client, o.other, o.events
	require.NoError(t, s.Provider.ExpireClient(t.Context(), client.ID()))
	require.Equal(t, dcr.EventUpdated, events.TakeOne(t).Kind)
	require.NoError(t, s.Provider.ExpireClient(t.Context(), client.ID()), "it has ended already")
	require.Empty(t, events.Take())

	for _, method := range []string{"GET", "PUT", "DELETE"} {
		dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
	}
	dcrtest.RequireGrantsDead(t, s, client, o.had, o.code, o.pushed)
	require.Equal(t, http.StatusUnauthorized, s.Form(t, "/oauth2/par",
		dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI), dcrtest.Basic(client.ID(), client.Secret())).Status)

	found, err := s.Provider.FindClient(t.Context(), client.ID())
	require.NoError(t, err)
	require.False(t, found.ExpiresAt.IsZero())
	require.ElementsMatch(t, []string{client.ID(), other.ID()}, allPages(t, s.Provider, dcr.ClientFilter{}, 1))
	removed, err := s.Provider.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	_, err = s.Provider.FindClient(t.Context(), client.ID())
	require.ErrorIs(t, err, fosite.ErrNotFound)
	require.Equal(t, []string{other.ID()}, allPages(t, s.Provider, dcr.ClientFilter{}, 1))
	require.True(t, dcrtest.TokenWorks(t, s, other, other.Token()))
	require.Equal(t, true, dcrtest.Introspected(t, s, o.kept.Text("access_token"))["active"])

	require.NoError(t, s.Provider.ExpireClient(t.Context(), other.ID()))
	require.NoError(t, s.Provider.DeleteClient(t.Context(), other.ID()), "one that has ended can be deleted")
}

// interruptedStore lets something else happen right before an update.
type interruptedStore struct {
	*dcr.MemoryStore
	before atomic.Pointer[func()]
}

func (s *interruptedStore) UpdateClient(ctx context.Context, c *dcr.Client, version int64) error {
	if before := s.before.Swap(nil); before != nil {
		(*before)()
	}
	return s.MemoryStore.UpdateClient(ctx, c, version)
}

// TestExpireClientBesideUpdate: whichever comes first, the client has ended, and an update
// that was confirmed is in the record (LIFE-03).
func TestExpireClientBesideUpdate(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*interruptedStore, *dcrtest.Server, dcrtest.Answer) {
		store := &interruptedStore{MemoryStore: dcr.NewMemoryStore()}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		return store, s, s.Register(t, dcrtest.Managed())
	}
	named := func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) string {
		found, err := s.Provider.FindClient(t.Context(), client.ID())
		require.NoError(t, err)
		require.False(t, found.ExpiresAt.IsZero(), "LIFE-03: it has ended")
		dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", client, nil))
		return found.Metadata.ClientName
	}
	t.Run("LIFE-03/amid_an_update", func(t *testing.T) {
		t.Parallel()
		store, s, client := start(t)
		expire := func() { require.NoError(t, s.Provider.ExpireClient(t.Context(), client.ID())) }
		store.before.Store(&expire)
		dcrtest.RequireUniformRefusal(t, s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_name", "Updated")))
		require.Equal(t, "Managed", named(t, s, client))
	})
	t.Run("LIFE-03/an_update_amid_it", func(t *testing.T) {
		t.Parallel()
		store, s, client := start(t)
		var answer dcrtest.Answer
		update := func() { answer = s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_name", "Updated")) }
		store.before.Store(&update)
		require.NoError(t, s.Provider.ExpireClient(t.Context(), client.ID()))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "Updated", named(t, s, client))
		dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", answer, nil))
	})
	t.Run("LIFE-03/a_deletion_amid_it", func(t *testing.T) {
		t.Parallel()
		store, s, client := start(t)
		remove := func() { require.NoError(t, s.Provider.DeleteClient(t.Context(), client.ID())) }
		store.before.Store(&remove)
		require.ErrorIs(t, s.Provider.ExpireClient(t.Context(), client.ID()), fosite.ErrNotFound)
	})
	t.Run("LIFE-03/at_once", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}})
		for range 20 {
			expireAtOnce(t, s)
		}
	})
}

// expireAtOnce ends a client while it updates itself twice.
func expireAtOnce(t *testing.T, s *dcrtest.Server) {
	t.Helper()
	client := s.Register(t, dcrtest.Managed())
	var expired error
	answers := dcrtest.AllAtOnce(3, func(i int) dcrtest.Answer {
		if i == 2 {
			expired = s.Provider.ExpireClient(context.Background(), client.ID())
			return dcrtest.Answer{}
		}
		return s.Manage(t, "PUT", client, dcrtest.NumberedUpdate(client, i))
	})
	require.NoError(t, expired)
	found, err := s.Provider.FindClient(t.Context(), client.ID())
	require.NoError(t, err)
	require.False(t, found.ExpiresAt.IsZero(), "LIFE-03: an update undid the end")
	won := []string{"Managed"}
	for _, answer := range answers[:2] {
		if answer.Status == http.StatusOK {
			won = append(won, answer.Text("client_name"))
			continue
		}
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusServiceUnavailable}, answer.Status, answer.Body)
	}
	if len(won) > 1 {
		won = won[1:]
	}
	require.Contains(t, won, found.Metadata.ClientName, "LIFE-03: an update that was confirmed is lost")
	dcrtest.RequireUniformRefusal(t, s.Manage(t, "GET", client, nil))
}

// TestRevokeTokens: all that a client holds is dead, its registration access token with it,
// and the client signs users in again (T36).
func TestRevokeTokens(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	s, client, other, events := o.Server, o.client, o.other, o.events
	require.NoError(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
	require.Equal(t, dcr.EventGrantsRevoked, events.TakeOne(t).Kind)

	for _, token := range []string{o.had.Text("access_token"), o.had.Text("refresh_token")} {
		require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, token), "T36")
	}
	basic := dcrtest.Basic(client.ID(), client.Secret())
	dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", o.had.Text("refresh_token")), basic), http.StatusBadRequest, "invalid_grant")
	dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", dcrtest.CodeForm("", o.code, dcrtest.RedirectURI), basic), http.StatusBadRequest, "invalid_grant")
	answer := s.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {o.pushed}})
	require.NotContains(t, answer.Header.Get("Location"), "code=", "T36: the pushed request")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		dcrtest.RequireUniformRefusal(t, s.Manage(t, method, client, dcrtest.Replacing(client)))
	}

	again := dcrtest.SignIn(t, s, client)
	require.Equal(t, true, dcrtest.Introspected(t, s, again.Text("access_token"))["active"], "the client signs in again")
	require.Equal(t, true, dcrtest.Introspected(t, s, o.kept.Text("access_token"))["active"], "another client's stay")
	require.True(t, dcrtest.TokenWorks(t, s, other, other.Token()))
	require.NoError(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
	require.Equal(t, dcrtest.Inactive, dcrtest.Introspected(t, s, again.Text("access_token")))
}

// TestNamedPolicies: the names, in order.
func TestNamedPolicies(t *testing.T) {
	t.Parallel()
	allow := dcr.PolicyFunc(func(context.Context, *dcr.Proposal) error { return errors.New("never asked") })
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{NamedPolicies: map[string]dcr.Policy{"staff": allow, "Guests": allow, "bots": allow}}})
	require.Equal(t, []string{"Guests", "bots", "staff"}, s.Provider.NamedPolicies())
	require.Empty(t, dcrtest.Start(t, dcrtest.Setup{}).Provider.NamedPolicies())
}
