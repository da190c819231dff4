package lifecycle_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// kindsFixture is a server behind a proxy of its own whose clock is far ahead, so that
// events can't get time and address from elsewhere.
type kindsFixture struct {
	*dcrtest.Server
	events *dcrtest.Events
	hands  *dcrtest.Clock
}

const (
	kindsCaller  = "203.0.113.9"
	kindsSubject = "alice"
)

// throughProxy is what the proxy writes.
func throughProxy(r *http.Request) { r.Header.Set("X-Forwarded-For", "198.51.100.1, "+kindsCaller) }

func startKinds(t *testing.T, edit ...func(*dcrtest.Setup)) *kindsFixture {
	t.Helper()
	f := &kindsFixture{events: &dcrtest.Events{}, hands: new(dcrtest.Clock)}
	f.hands.Forward(1000 * time.Hour)
	setup := dcrtest.Setup{Config: dcr.Config{
		Events: f.events, Now: f.hands.Now, Limits: dcr.Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Access: dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open()), Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
	}}
	for _, e := range edit {
		e(&setup)
	}
	f.Server = dcrtest.Start(t, setup)
	return f
}

// wanted is what an event has to say. What is not named has to be empty.
type wanted struct {
	kind       dcr.EventKind
	client     string
	origin     string // Registrant.Kind
	subject    string
	token      string // InitialAccessToken
	operator   string
	code       string
	request    bool // there is one: address and time that it took
	hasBefore  bool
	hasAfter   bool
	registrant string // Registrant.InitialAccessToken
}

func (f *kindsFixture) require(t *testing.T, e dcr.Event, w wanted) {
	t.Helper()
	require.Equal(t, w.kind, e.Kind)
	require.Equal(t, w.client, e.ClientID, "ClientID")
	require.WithinDuration(t, f.hands.Now(), e.Time, time.Hour, "Time is that of Config.Now")
	require.Equal(t, w.token, e.InitialAccessToken, "InitialAccessToken")
	require.Equal(t, w.operator, e.Operator, "Operator")
	require.Equal(t, w.code, e.Reason(), "Err")
	require.Equal(t, w.request, e.Elapsed > 0, "Elapsed: %s", e.Elapsed)
	address := netip.Addr{}
	if w.request {
		address = netip.MustParseAddr(kindsCaller)
	}
	require.Equal(t, address, e.Address, "Address")
	require.Equal(t, w.origin != "", e.Registrant != nil, "Registrant: %+v", e.Registrant)
	if e.Registrant != nil {
		require.Equal(t, []string{w.origin, w.subject, w.registrant},
			[]string{e.Registrant.Kind, e.Registrant.Subject, e.Registrant.InitialAccessToken})
	}
	for name, held := range map[string]struct {
		client *dcr.Client
		wanted bool
	}{"Before": {e.Before, w.hasBefore}, "After": {e.After, w.hasAfter}} {
		require.Equal(t, held.wanted, held.client != nil, name)
		if held.client != nil {
			require.Equal(t, w.client, held.client.ID, name)
		}
	}
}

// requireAll judges all events since, in order.
func (f *kindsFixture) requireAll(t *testing.T, all ...wanted) {
	t.Helper()
	events := f.events.Take()
	require.Len(t, events, len(all), "%v", events)
	for i, w := range all {
		f.require(t, events[i], w)
	}
}

// open registers a client, and forgets the events.
func (f *kindsFixture) open(t *testing.T) dcrtest.Answer {
	t.Helper()
	client := f.Register(t, dcrtest.Managed(), throughProxy)
	f.events.Take()
	return client
}

func (f *kindsFixture) operator() context.Context {
	return dcr.AsOperator(context.Background(), "ann")
}

// TestEventsOfRequests: what a request brings about says who asked, from where, and how
// long it took (LIFE-05, T16).
func TestEventsOfRequests(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/registered", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t)
		token, record := dcrtest.Mint(t, f.Server, dcr.InitialAccessTokenRequest{Subject: kindsSubject})
		f.events.Take()
		client := f.Register(t, dcrtest.Managed(), throughProxy, dcrtest.Bearer(token))
		f.requireAll(t, wanted{kind: dcr.EventRegistered, client: client.ID(), origin: "initial_access_token",
			subject: kindsSubject, registrant: record.ID, request: true, hasAfter: true})
		require.Equal(t, http.StatusOK, f.Manage(t, "PUT", client, dcrtest.Replacing(client), throughProxy).Status)
		vouched := wanted{client: client.ID(), origin: "initial_access_token", subject: kindsSubject, registrant: record.ID,
			request: true, hasBefore: true, hasAfter: true}
		updated, rotated := vouched, vouched
		updated.kind, rotated.kind = dcr.EventUpdated, dcr.EventTokenRotated
		f.requireAll(t, updated, rotated)
	})
	t.Run("LIFE-05/rotated_on_read", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Management.Token.RotateOnRead = true })
		client := f.open(t)
		require.Equal(t, http.StatusOK, f.Manage(t, "GET", client, nil, throughProxy).Status)
		f.requireAll(t, wanted{kind: dcr.EventTokenRotated, client: client.ID(), origin: "open", request: true, hasBefore: true, hasAfter: true})
	})
	t.Run("LIFE-05/kept_on_update", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Management.Token.KeepOnUpdate = true })
		client := f.open(t)
		require.Equal(t, http.StatusOK, f.Manage(t, "PUT", client, dcrtest.Replacing(client), throughProxy).Status)
		f.requireAll(t, wanted{kind: dcr.EventUpdated, client: client.ID(), origin: "open", request: true, hasBefore: true, hasAfter: true})
	})
	t.Run("LIFE-05/deleted", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t)
		client := f.open(t)
		require.Equal(t, http.StatusNoContent, f.Manage(t, "DELETE", client, nil, throughProxy).Status)
		f.requireAll(t, wanted{kind: dcr.EventDeleted, client: client.ID(), origin: "open", request: true, hasBefore: true})
	})
	t.Run("LIFE-05/refused", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t)
		client := f.open(t)
		f.Post(t, dcrtest.Managed("contacts", 1), throughProxy)
		f.requireAll(t, wanted{kind: dcr.EventRefused, origin: "open", request: true, code: "invalid_client_metadata"})
		f.Manage(t, "PUT", client, dcrtest.Replacing(client, "contacts", 1), throughProxy)
		f.requireAll(t, wanted{kind: dcr.EventRefused, client: client.ID(), origin: "open", request: true, code: "invalid_client_metadata"})
		f.Manage(t, "GET", client, nil, throughProxy, dcrtest.Bearer("wrong"))
		f.requireAll(t, wanted{kind: dcr.EventAuthenticationFailed, request: true, code: "invalid_token"})
	})
}

// TestEventsOfOptions: what a host has to switch on is told of in the same way.
func TestEventsOfOptions(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/shared", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Registration.ShareIdentical = true })
		public := dcrtest.Managed("token_endpoint_auth_method", "none")
		first := f.Register(t, public, throughProxy)
		f.requireAll(t, wanted{kind: dcr.EventRegistered, client: first.ID(), origin: "open", request: true, hasAfter: true})
		require.Equal(t, first.ID(), f.Register(t, public, throughProxy).ID())
		f.requireAll(t, wanted{kind: dcr.EventShared, client: first.ID(), origin: "open", request: true, hasAfter: true})
	})
	t.Run("LIFE-05/T39/grants_revoked", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Management.RevokeOnRedirectChange = true })
		client := f.open(t)
		body := dcrtest.Replacing(client, "redirect_uris", []string{"https://elsewhere.example/cb"})
		require.Equal(t, http.StatusOK, f.Manage(t, "PUT", client, body, throughProxy).Status)
		w := wanted{client: client.ID(), origin: "open", request: true, hasAfter: true}
		revoked, updated, rotated := w, w, w
		revoked.kind = dcr.EventGrantsRevoked
		updated.kind, updated.hasBefore = dcr.EventUpdated, true
		rotated.kind, rotated.hasBefore = dcr.EventTokenRotated, true
		f.requireAll(t, revoked, updated, rotated)
	})
}

// TestEventsOfOperators: what an operator does says who it was, and has no caller.
func TestEventsOfOperators(t *testing.T) {
	t.Parallel()
	f := startKinds(t)
	first, second := f.open(t), f.open(t)
	ann := f.operator()
	require.NoError(t, f.Provider.RevokeTokens(ann, first.ID()))
	f.requireAll(t, wanted{kind: dcr.EventGrantsRevoked, client: first.ID(), origin: "open", operator: "ann", hasAfter: true})
	require.NoError(t, f.Provider.ExpireClient(ann, first.ID()))
	f.requireAll(t, wanted{kind: dcr.EventUpdated, client: first.ID(), origin: "open", operator: "ann", hasBefore: true, hasAfter: true})
	require.NoError(t, f.Provider.DeleteClient(ann, second.ID()))
	f.requireAll(t, wanted{kind: dcr.EventDeleted, client: second.ID(), origin: "open", operator: "ann", hasBefore: true})
	_, record, err := f.Provider.MintInitialAccessToken(ann, dcr.InitialAccessTokenRequest{Subject: kindsSubject})
	require.NoError(t, err)
	f.requireAll(t, wanted{kind: dcr.EventInitialAccessTokenMinted, token: record.ID, operator: "ann"})
	require.NoError(t, f.Provider.RevokeInitialAccessToken(ann, record.ID))
	f.requireAll(t, wanted{kind: dcr.EventInitialAccessTokenRevoked, token: record.ID, operator: "ann"})
	require.Error(t, f.Provider.DeleteClient(ann, second.ID()))
	require.Error(t, f.Provider.RevokeInitialAccessToken(ann, record.ID))
	f.requireAll(t)
	removed, err := f.Provider.Sweep(ann)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	f.requireAll(t, wanted{kind: dcr.EventExpired, client: first.ID(), origin: "open", hasBefore: true, operator: "ann"})
}

// TestExpiredEvents: a client that ended, or gave way, is told of by its own name; who took
// its place is not who registered it (LIFE-01, LIFE-02).
func TestExpiredEvents(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/LIFE-01/swept", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.UnusedEnd = true })
		client := f.open(t)
		f.hands.Forward(2 * time.Hour)
		removed, err := f.Provider.Sweep(context.Background())
		require.NoError(t, err)
		require.Equal(t, 1, removed)
		f.requireAll(t, wanted{kind: dcr.EventExpired, client: client.ID(), origin: "open", hasBefore: true})
	})
	t.Run("LIFE-05/LIFE-02/gave_way", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t)
		f.full(t)
		token, record := dcrtest.Mint(t, f.Server, dcr.InitialAccessTokenRequest{Subject: kindsSubject})
		old := f.open(t)
		f.hands.Forward(time.Hour)
		next := f.Register(t, dcrtest.Managed(), throughProxy, dcrtest.Bearer(token))
		f.requireAll(t, wanted{kind: dcr.EventExpired, client: old.ID(), origin: "open", hasBefore: true, request: true},
			wanted{kind: dcr.EventRegistered, client: next.ID(), origin: "initial_access_token", subject: kindsSubject,
				registrant: record.ID, request: true, hasAfter: true})
	})
}

// full replaces the server by one that has room for a single client.
func (f *kindsFixture) full(t *testing.T) {
	t.Helper()
	hands := f.hands
	*f = *startKinds(t, func(s *dcrtest.Setup) {
		s.Storage = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}), dcr.WithMemoryClock(hands.Now))
		s.Config.Now = hands.Now
	})
	f.hands = hands
}

// TestLimitedEvents: each answer that says too many is an event of its own kind (T16,
// LIFE-07).
func TestLimitedEvents(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/T16/rate", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Limits.Rate.PerCaller = dcr.Rate{Count: 1, Per: time.Hour} })
		f.open(t)
		require.Equal(t, http.StatusTooManyRequests, f.Post(t, dcrtest.Managed(), throughProxy).Status)
		f.requireAll(t, wanted{kind: dcr.EventLimited, request: true, code: "temporarily_unavailable"})
	})
	t.Run("LIFE-05/T16/rate_of_anonymous", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.CallersLimited = true })
		for f.Post(t, dcrtest.Managed(), throughProxy).Status == http.StatusCreated {
			f.events.Take()
		}
		f.requireAll(t, wanted{kind: dcr.EventLimited, origin: "open", request: true, code: "temporarily_unavailable"})
	})
	t.Run("LIFE-05/quota", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Config.Limits.Quotas.PerSubject = 1 })
		token, record := dcrtest.Mint(t, f.Server, dcr.InitialAccessTokenRequest{Subject: kindsSubject})
		f.Register(t, dcrtest.Managed(), throughProxy, dcrtest.Bearer(token))
		f.events.Take()
		require.Equal(t, http.StatusForbidden, f.Post(t, dcrtest.Managed(), throughProxy, dcrtest.Bearer(token)).Status)
		f.requireAll(t, wanted{kind: dcr.EventLimited, origin: "initial_access_token", subject: kindsSubject, registrant: record.ID,
			request: true, code: "access_denied"})
	})
	t.Run("LIFE-05/LIFE-07/full", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t)
		f.full(t)
		f.open(t)
		require.Equal(t, http.StatusServiceUnavailable, f.Post(t, dcrtest.Managed(), throughProxy).Status)
		f.requireAll(t, wanted{kind: dcr.EventLimited, origin: "open", request: true, code: "temporarily_unavailable"})
	})
}

// stuckStore can neither create clients nor take uses of initial access tokens back.
type stuckStore struct{ *dcr.MemoryStore }

func (stuckStore) CreateClient(context.Context, *dcr.Client) error { return dcrtest.ErrBroken }

func (stuckStore) ReturnInitialAccessToken(context.Context, string) error { return dcrtest.ErrBroken }

// TestLeftoverEvents: what could not be tidied away is told, and the refusal besides.
func TestLeftoverEvents(t *testing.T) {
	t.Parallel()
	t.Run("LIFE-05/IAT-04/use_not_given_back", func(t *testing.T) {
		t.Parallel()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Storage = stuckStore{dcr.NewMemoryStore()} })
		token, record := dcrtest.Mint(t, f.Server, dcr.InitialAccessTokenRequest{Subject: kindsSubject, Uses: 2})
		f.events.Take()
		require.Equal(t, http.StatusInternalServerError, f.Post(t, dcrtest.Managed(), throughProxy, dcrtest.Bearer(token)).Status)
		w := wanted{origin: "initial_access_token", subject: kindsSubject, registrant: record.ID, request: true, code: "server_error"}
		leftover, refused := w, w
		leftover.kind, leftover.token = dcr.EventCleanupFailed, record.ID
		refused.kind = dcr.EventRefused
		f.requireAll(t, leftover, refused)
	})
	t.Run("LIFE-05/entry", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewWatchedStore()
		f := startKinds(t, func(s *dcrtest.Setup) { s.Storage = store })
		client := f.open(t)
		store.Watch(dcrtest.FailCall("DeleteAccessTokenSession"))
		require.Equal(t, http.StatusOK, f.Manage(t, "PUT", client, dcrtest.Replacing(client), throughProxy).Status)
		first := f.events.Take()[0]
		f.require(t, first, wanted{kind: dcr.EventCleanupFailed, client: client.ID(), request: true, code: "server_error"})
		require.ErrorIs(t, first.Err, dcrtest.ErrBroken)
	})
}

// TestEventsOfHostsOwnSteps: a host that calls the steps itself, with a context that knows
// nothing of the request, gets the same events (T16).
func TestEventsOfHostsOwnSteps(t *testing.T) {
	t.Parallel()
	f := startKinds(t)
	request := func(method, path, body string, edits ...dcrtest.Edit) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:4711"
		r.Header.Set("Content-Type", "application/json")
		for _, edit := range append(edits, throughProxy) {
			edit(r)
		}
		return r
	}
	bare := context.Background
	good, err := f.Provider.NewRegistrationRequest(bare(), request("POST", "/register", dcrtest.ScopedRegistration))
	require.NoError(t, err)
	f.requireAll(t)
	information, err := f.Provider.NewRegistrationResponse(bare(), good)
	require.NoError(t, err)
	id := information.ClientID
	f.requireAll(t, wanted{kind: dcr.EventRegistered, client: id, origin: "open", request: true, hasAfter: true})

	_, err = f.Provider.NewRegistrationRequest(bare(), request("POST", "/register", `{}`))
	require.Error(t, err)
	f.requireAll(t)
	f.Provider.WriteRegistrationError(bare(), httptest.NewRecorder(), err)
	f.requireAll(t, wanted{kind: dcr.EventRefused, origin: "open", request: true, code: "invalid_redirect_uri"})

	path := "/register/" + id
	_, err = f.Provider.NewManagementRequest(bare(), request("GET", path, "", dcrtest.Bearer("wrong")))
	f.Provider.WriteManagementError(bare(), httptest.NewRecorder(), err)
	f.requireAll(t, wanted{kind: dcr.EventAuthenticationFailed, request: true, code: "invalid_token"})
	deletion, err := f.Provider.NewManagementRequest(bare(), request("DELETE", path, "", dcrtest.Bearer(information.RegistrationAccessToken)))
	require.NoError(t, err)
	_, err = f.Provider.NewManagementResponse(bare(), deletion)
	require.NoError(t, err)
	f.requireAll(t, wanted{kind: dcr.EventDeleted, client: id, origin: "open", request: true, hasBefore: true})
	_, err = f.Provider.NewManagementResponse(bare(), deletion)
	require.Error(t, err)
	f.Provider.WriteManagementError(bare(), httptest.NewRecorder(), err)
	f.requireAll(t, wanted{kind: dcr.EventAuthenticationFailed, client: id, origin: "open", request: true, code: "invalid_token"})

	f.Provider.WriteRegistrationError(bare(), httptest.NewRecorder(), dcr.ErrAccessDenied)
	f.requireAll(t, wanted{kind: dcr.EventRefused, code: "access_denied"}) // the host's own refusal: nobody knows of what
}

// TestEventOfLostRace: an update that another request got ahead of, and which then has no
// right any more, is a refusal like any other: with its caller and its client (T33).
func TestEventOfLostRace(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewWatchedStore()
	f := startKinds(t, func(s *dcrtest.Setup) { s.Storage = store })
	client := f.open(t)
	store.Watch(func(ctx context.Context, name string, do func() error) error {
		if name == "UpdateClient" {
			if err := store.MemoryStore.DeleteClient(ctx, client.ID()); err != nil {
				return err
			}
			return dcr.ErrConflict
		}
		return do()
	})
	answer := f.Manage(t, "PUT", client, dcrtest.Replacing(client), throughProxy)
	store.Watch(nil)
	dcrtest.RequireUniformRefusal(t, answer)
	event := f.events.TakeOne(t)
	require.Equal(t, dcr.EventAuthenticationFailed, event.Kind)
	require.Equal(t, kindsCaller, event.Address.String())
	require.Positive(t, event.Elapsed)
}

// TestEventSinks: all sinks are told of the same event, in their order.
func TestEventSinks(t *testing.T) {
	t.Parallel()
	var order []string
	var events []dcr.Event
	sink := func(name string) dcr.EventSink {
		return sinkFunc(func(e dcr.Event) { order, events = append(order, name), append(events, e) })
	}
	sinks := dcr.EventSinks(sink("a"), sink("b"), dcr.EventSinks(sink("c"), sink("d")))
	sinks.Record(t.Context(), dcr.Event{Kind: dcr.EventDeleted, ClientID: "ONE"})
	require.Equal(t, []string{"a", "b", "c", "d"}, order)
	for _, event := range events {
		require.Equal(t, dcr.Event{Kind: dcr.EventDeleted, ClientID: "ONE"}, event)
	}
	dcr.EventSinks().Record(t.Context(), dcr.Event{})
}
