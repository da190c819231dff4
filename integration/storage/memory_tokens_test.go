package storage_test

import (
	"context"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// memoryKind is one kind of session that a MemoryStore keeps.
type memoryKind struct {
	name string
	// margin is how much longer than its expiry it is kept.
	margin time.Duration
	create func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error
	get    func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error)
}

var memoryKinds = []memoryKind{
	{"code", 0,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreateAuthorizeCodeSession(ctx, key, r)
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetAuthorizeCodeSession(ctx, key, nil)
		}},
	{"pkce", time.Minute,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreatePKCERequestSession(ctx, key, r)
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetPKCERequestSession(ctx, key, nil)
		}},
	{"openid", time.Minute,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreateOpenIDConnectSession(ctx, key, r)
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetOpenIDConnectSession(ctx, key, nil)
		}},
	{"access", 0,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreateAccessTokenSession(ctx, key, r)
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetAccessTokenSession(ctx, key, nil)
		}},
	{"refresh", 0,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreateRefreshTokenSession(ctx, key, "", r)
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetRefreshTokenSession(ctx, key, nil)
		}},
	{"pushed", 0,
		func(ctx context.Context, s *dcr.MemoryStore, key string, r *fosite.Request) error {
			return s.CreatePARSession(ctx, key, &fosite.AuthorizeRequest{Request: *r})
		},
		func(ctx context.Context, s *dcr.MemoryStore, key string) (fosite.Requester, error) {
			return s.GetPARSession(ctx, key)
		}},
}

var grants atomic.Int64

// grantOf returns a request of a client, good for every kind until it expires.
func grantOf(c fosite.Client, expires time.Time) *fosite.Request {
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.RequestedAt = "alice", dcrtest.ClockStart
	for _, kind := range []fosite.TokenType{
		fosite.AccessToken, fosite.RefreshToken, fosite.AuthorizeCode, fosite.PushedAuthorizeRequestContext,
	} {
		session.SetExpiresAt(kind, expires)
	}
	return &fosite.Request{
		ID: "request " + strconv.FormatInt(grants.Add(1), 10), RequestedAt: dcrtest.ClockStart, Client: c, Session: session,
		RequestedScope: fosite.Arguments{"a", "b"}, GrantedScope: fosite.Arguments{"a"},
		RequestedAudience: fosite.Arguments{"x"}, GrantedAudience: fosite.Arguments{"x"},
		Form: url.Values{"nonce": {"n"}},
	}
}

// eachKind runs a test for each kind of session, with a store that has one client.
func eachKind(t *testing.T, limits dcr.MemoryLimits, test func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind)) {
	t.Parallel()
	for _, kind := range memoryKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			clock := dcrtest.NewStillClock()
			s := dcr.NewMemoryStore(dcr.WithMemoryClock(clock.Now), dcr.WithMemoryLimits(limits))
			client := &dcr.Client{ID: "client", Version: 1}
			require.NoError(t, s.CreateClient(t.Context(), client))
			test(t, s, clock, client, kind)
		})
	}
}

func TestMemoryStoreSessionLimits(t *testing.T) {
	limits := dcr.MemoryLimits{Codes: 3, Tokens: 3}
	eachKind(t, limits, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		add := func(key string) error {
			return kind.create(ctx, s, key, grantOf(client, clock.Now().Add(time.Hour)))
		}
		for _, key := range []string{"a", "b", "c"} {
			require.NoError(t, add(key))
		}
		require.ErrorIs(t, add("d"), dcr.ErrUnavailable)
		_, err := kind.get(ctx, s, "a")
		require.NoError(t, err, "nothing gives way")
		require.NoError(t, add("a"), "the one that is there may be replaced")

		// As time goes by there is always room, however many come.
		clock.Advance(time.Hour)
		for i := range 30 {
			clock.Advance(31 * time.Minute)
			require.NoError(t, add(strconv.Itoa(i)))
		}
	})
}

func TestMemoryStoreExpiry(t *testing.T) {
	eachKind(t, dcr.MemoryLimits{}, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		require.NoError(t, kind.create(ctx, s, "key", grantOf(client, clock.Now().Add(time.Hour))))
		clock.Advance(time.Hour + kind.margin - time.Nanosecond)
		_, err := kind.get(ctx, s, "key")
		require.NoError(t, err)
		clock.Advance(time.Nanosecond)
		_, err = kind.get(ctx, s, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
	})
}

// TestMemoryStoreNoExpiry: without an expiry tokens are kept, what is short-lived by its
// nature is not.
func TestMemoryStoreNoExpiry(t *testing.T) {
	eachKind(t, dcr.MemoryLimits{}, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		request := grantOf(client, time.Time{})
		require.NoError(t, kind.create(ctx, s, "key", request))
		request.Session = nil
		require.NoError(t, kind.create(ctx, s, "no session", request))
		clock.Advance(20 * time.Minute)
		for _, key := range []string{"key", "no session"} {
			_, err := kind.get(ctx, s, key)
			if kind.name == "access" || kind.name == "refresh" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, fosite.ErrNotFound)
			}
		}
	})
}

// TestMemoryStoreCopies: what goes in comes out, and is nobody else's.
func TestMemoryStoreCopies(t *testing.T) {
	eachKind(t, dcr.MemoryLimits{}, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		request := grantOf(client, clock.Now().Add(time.Hour))
		want := *grantOf(client, clock.Now().Add(time.Hour))
		want.ID = request.ID
		require.NoError(t, kind.create(ctx, s, "key", request))
		spoil := func(r fosite.Requester) {
			r.GetGrantedScopes()[0], r.GetRequestedScopes()[1], r.GetGrantedAudience()[0] = "spoiled", "spoiled", "spoiled"
			r.GetRequestForm()["nonce"][0] = "spoiled"
			r.GetRequestForm().Set("more", "spoiled")
			r.GetSession().SetExpiresAt(fosite.AccessToken, time.Time{})
			r.GetSession().(*openid.DefaultSession).Subject = "spoiled"
		}
		spoil(request)
		for range 2 {
			got, err := kind.get(ctx, s, "key")
			require.NoError(t, err)
			if pushed, ok := got.(*fosite.AuthorizeRequest); ok {
				got = &pushed.Request
			}
			require.Equal(t, &want, got)
			spoil(got)
		}
	})
}

// TestMemoryStoreSessionClient: a session has its client as it is now, and is gone with
// it.
func TestMemoryStoreSessionClient(t *testing.T) {
	eachKind(t, dcr.MemoryLimits{}, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, client *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		require.NoError(t, kind.create(ctx, s, "key", grantOf(client, clock.Now().Add(time.Hour))))
		next := &dcr.Client{ID: client.ID, Version: 2, Audience: []string{"changed"}}
		require.NoError(t, s.UpdateClient(ctx, next, 1))
		got, err := kind.get(ctx, s, "key")
		require.NoError(t, err)
		require.Equal(t, next, got.GetClient())

		require.NoError(t, s.DeleteClient(ctx, client.ID))
		got, err = kind.get(ctx, s, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
		require.Nil(t, got)
	})
}

// TestMemoryStoreDocumentClient: sessions come back of a client that has no identifier, as it came, and of one that has a
// document, which the store does not know; what the store knows wins.
func TestMemoryStoreDocumentClient(t *testing.T) {
	eachKind(t, dcr.MemoryLimits{}, func(t *testing.T, s *dcr.MemoryStore, clock *dcrtest.StillClock, _ *dcr.Client, kind memoryKind) {
		ctx := t.Context()
		for _, id := range []string{"https://client.example/metadata", ""} {
			document := &dcr.Client{ID: id, Audience: []string{"as it came"}}
			require.NoError(t, kind.create(ctx, s, "key", grantOf(document, clock.Now().Add(time.Hour))))
			got, err := kind.get(ctx, s, "key")
			require.NoError(t, err)
			if id == "" {
				require.Same(t, document, got.GetClient())
			} else {
				require.Equal(t, &fosite.DefaultClient{ID: id}, got.GetClient())
			}

			s.AddClient(&fosite.DefaultClient{ID: id})
			got, err = kind.get(ctx, s, "key")
			require.NoError(t, err)
			require.Equal(t, &fosite.DefaultClient{ID: id}, got.GetClient())
		}
	})
}

func TestMemoryStoreCodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := dcr.NewMemoryStore()
	client := &dcr.Client{ID: "client", Version: 1}
	require.NoError(t, s.CreateClient(ctx, client))
	require.ErrorIs(t, s.InvalidateAuthorizeCodeSession(ctx, "code"), fosite.ErrNotFound)
	request := grantOf(client, time.Now().Add(time.Hour))
	require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", request))

	var won atomic.Int64
	dcrtest.InParallel(8, func(int) {
		if s.InvalidateAuthorizeCodeSession(ctx, "code") == nil {
			won.Add(1)
		}
	})
	require.EqualValues(t, 1, won.Load(), "a code is used once")
	require.ErrorIs(t, s.InvalidateAuthorizeCodeSession(ctx, "code"), fosite.ErrInvalidatedAuthorizeCode)
	got, err := s.GetAuthorizeCodeSession(ctx, "code", nil)
	require.ErrorIs(t, err, fosite.ErrInvalidatedAuthorizeCode)
	require.Equal(t, request.ID, got.GetID(), "fosite revokes what was issued for the code")
}

func TestMemoryStoreRefreshTokens(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := dcrtest.NewStillClock()
	s := dcr.NewMemoryStore(dcr.WithMemoryClock(clock.Now))
	client := &dcr.Client{ID: "client", Version: 1}
	require.NoError(t, s.CreateClient(ctx, client))
	grant, other := grantOf(client, time.Time{}), grantOf(client, time.Time{})
	for _, signature := range []string{"r1", "r2"} {
		require.NoError(t, s.CreateRefreshTokenSession(ctx, signature, "a"+signature, grant))
		require.NoError(t, s.CreateAccessTokenSession(ctx, "a"+signature, grant))
	}
	require.NoError(t, s.CreateRefreshTokenSession(ctx, "other", "aother", other))
	require.NoError(t, s.CreateAccessTokenSession(ctx, "aother", other))

	require.ErrorIs(t, s.RotateRefreshToken(ctx, grant.ID, "unknown"), fosite.ErrNotFound)
	var won atomic.Int64
	dcrtest.InParallel(8, func(int) {
		if s.RotateRefreshToken(ctx, grant.ID, "r1") == nil {
			won.Add(1)
		}
	})
	require.EqualValues(t, 1, won.Load(), "a refresh token is used once")
	require.ErrorIs(t, s.RotateRefreshToken(ctx, grant.ID, "r1"), fosite.ErrInactiveToken)
	for _, signature := range []string{"r1", "r2"} {
		got, err := s.GetRefreshTokenSession(ctx, signature, nil)
		require.ErrorIs(t, err, fosite.ErrInactiveToken)
		require.Equal(t, grant.ID, got.GetID(), "fosite revokes the grant")
		_, err = s.GetAccessTokenSession(ctx, "a"+signature, nil)
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	_, err := s.GetRefreshTokenSession(ctx, "other", nil)
	require.NoError(t, err)
	_, err = s.GetAccessTokenSession(ctx, "aother", nil)
	require.NoError(t, err)

	// One that never expires is not remembered for ever once it was used.
	clock.Advance(31 * 24 * time.Hour)
	_, err = s.GetRefreshTokenSession(ctx, "r1", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	_, err = s.GetRefreshTokenSession(ctx, "other", nil)
	require.NoError(t, err)
}

func TestMemoryStorePushedRequest(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := dcr.NewMemoryStore()
	s.AddClient(&fosite.DefaultClient{ID: "own"})
	request := fosite.NewAuthorizeRequest()
	request.Request = *grantOf(&fosite.DefaultClient{ID: "own"}, time.Now().UTC().Add(time.Hour))
	request.ResponseTypes, request.HandledResponseTypes = fosite.Arguments{"code"}, fosite.Arguments{"code"}
	request.RedirectURI, _ = url.Parse("https://client.example/cb?a=b")
	request.State, request.ResponseMode, request.DefaultResponseMode = "state", fosite.ResponseModeFormPost, fosite.ResponseModeQuery
	want := *request
	require.NoError(t, s.CreatePARSession(ctx, "urn:key", request))
	request.ResponseTypes[0], request.RedirectURI.Host = "token", "attacker.example"
	got, err := s.GetPARSession(ctx, "urn:key")
	require.NoError(t, err)
	want.ResponseTypes = fosite.Arguments{"code"}
	want.RedirectURI, _ = url.Parse("https://client.example/cb?a=b")
	require.Equal(t, &want, got)
	require.NoError(t, s.DeletePARSession(ctx, "urn:key"))
	_, err = s.GetPARSession(ctx, "urn:key")
	require.ErrorIs(t, err, fosite.ErrNotFound)
}
