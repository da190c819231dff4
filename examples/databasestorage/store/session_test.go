package store_test

import (
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/examples/databasestorage/store"
)

// sessions is a store with one client and a clock.
type sessions struct {
	*store.Store
	file   string
	client *dcr.Client
	ahead  atomic.Int64
}

func openSessions(t *testing.T) *sessions {
	t.Helper()
	s := &sessions{file: newFile(t), client: &dcr.Client{ID: "client", Version: 1}}
	s.Store = open(t, s.file, store.Options{Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }})
	require.NoError(t, s.CreateClient(t.Context(), s.client))
	return s
}

// grant is a request as fosite stores it.
func (s *sessions) grant(id string, lifetime time.Duration) *fosite.Request {
	request := fosite.NewRequest()
	request.ID, request.Client = id, s.client
	request.RequestedAt = time.Now().UTC().Truncate(time.Second)
	request.RequestedScope, request.GrantedScope = fosite.Arguments{"openid", "profile"}, fosite.Arguments{"openid"}
	request.RequestedAudience, request.GrantedAudience = fosite.Arguments{"https://a.example", "b"}, fosite.Arguments{"b"}
	request.Form = url.Values{"nonce": {"n"}, "scope": {"openid", "again"}}
	session := openid.NewDefaultSession()
	session.Subject, session.Username = "alice", "Alice"
	session.Claims = &jwt.IDTokenClaims{Subject: "alice", Nonce: "n", Extra: map[string]any{"role": "owner"}}
	if lifetime > 0 {
		for _, kind := range []fosite.TokenType{fosite.AuthorizeCode, fosite.AccessToken, fosite.RefreshToken, fosite.PushedAuthorizeRequestContext} {
			session.SetExpiresAt(kind, request.RequestedAt.Add(lifetime))
		}
	}
	request.Session = session
	return request
}

// TestWhole: a request comes back as it went in, in the session that fosite names or in a
// new one.
func TestWhole(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	want := s.grant("request", time.Hour)
	require.NoError(t, s.CreateAccessTokenSession(ctx, "access", want))
	require.NoError(t, s.CreateRefreshTokenSession(ctx, "refresh", "access", want))
	require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", want))
	into := openid.NewDefaultSession()
	for _, get := range []func(fosite.Session) (fosite.Requester, error){
		func(session fosite.Session) (fosite.Requester, error) {
			return s.GetAccessTokenSession(ctx, "access", session)
		},
		func(session fosite.Session) (fosite.Requester, error) {
			return s.GetRefreshTokenSession(ctx, "refresh", session)
		},
		func(session fosite.Session) (fosite.Requester, error) {
			return s.GetAuthorizeCodeSession(ctx, "code", session)
		},
	} {
		for _, session := range []fosite.Session{into, nil} {
			got, err := get(session)
			require.NoError(t, err)
			require.Equal(t, "owner", got.GetSession().(*openid.DefaultSession).Claims.Extra["role"])
			require.Equal(t, "alice", got.GetSession().GetSubject())
			require.Equal(t, want.Session.GetExpiresAt(fosite.AccessToken), got.GetSession().GetExpiresAt(fosite.AccessToken))
			request := got.(*fosite.Request)
			request.Session = want.Session
			require.Equal(t, want, request)
		}
	}
	require.Equal(t, "alice", into.Subject, "fosite's own session is filled")
}

// TestApart: what fosite reads while it makes a token does not change that token's session.
func TestApart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	old := s.grant("request", time.Minute)
	require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", old))
	require.NoError(t, s.CreatePKCERequestSession(ctx, "code", old))
	require.NoError(t, s.CreateOpenIDConnectSession(ctx, "code", old))
	end := time.Now().UTC().Add(time.Hour)
	made := openid.NewDefaultSession()
	made.SetExpiresAt(fosite.AccessToken, end)
	_, err := s.GetAuthorizeCodeSession(ctx, "code", made)
	require.NoError(t, err)
	_, err = s.GetPKCERequestSession(ctx, "code", made)
	require.NoError(t, err)
	got, err := s.GetOpenIDConnectSession(ctx, "code", &fosite.Request{Session: made})
	require.NoError(t, err)
	require.Equal(t, "alice", got.GetSession().GetSubject())
	require.Equal(t, end, made.GetExpiresAt(fosite.AccessToken))
}

// TestPushed: a pushed request comes back whole, but for what the client has authenticated
// with, which is nowhere in the database; nor is its key.
func TestPushed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	want := fosite.NewAuthorizeRequest()
	want.Request = *s.grant("request", time.Hour)
	want.ResponseTypes, want.HandledResponseTypes = fosite.Arguments{"code"}, fosite.Arguments{"code"}
	want.RedirectURI, _ = url.Parse("https://client.example/cb?a=b")
	want.State, want.ResponseMode, want.DefaultResponseMode = "state", fosite.ResponseModeFormPost, fosite.ResponseModeQuery
	for _, name := range []string{"client_secret", "client_assertion"} {
		want.Form.Set(name, "top secret")
	}
	require.NoError(t, s.CreatePARSession(ctx, "urn:handle", want))
	require.NoError(t, s.CreateOpenIDConnectSession(ctx, "whole-code", s.grant("request", time.Hour)))
	require.Equal(t, "top secret", want.Form.Get("client_secret"), "fosite's own form stays")
	delete(want.Form, "client_secret")
	delete(want.Form, "client_assertion")
	got, err := s.GetPARSession(ctx, "urn:handle")
	require.NoError(t, err)
	got.(*fosite.AuthorizeRequest).Session = want.Session
	require.Equal(t, want, got)
	for _, name := range []string{s.file, s.file + "-wal"} {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, secret := range []string{"top secret", "urn:handle", "whole-code"} {
			require.NotContains(t, string(content), secret)
		}
	}
	require.NoError(t, s.DeletePARSession(ctx, "urn:handle"))
	_, err = s.GetPARSession(ctx, "urn:handle")
	require.ErrorIs(t, err, fosite.ErrNotFound)
}

// TestCode: a code is used once, and its PKCE session outlives it.
func TestCode(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	require.ErrorIs(t, s.InvalidateAuthorizeCodeSession(ctx, "code"), fosite.ErrNotFound)
	request := s.grant("request", time.Minute)
	require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", request))
	require.NoError(t, s.CreatePKCERequestSession(ctx, "code", request))
	require.NoError(t, s.InvalidateAuthorizeCodeSession(ctx, "code"))
	require.ErrorIs(t, s.InvalidateAuthorizeCodeSession(ctx, "code"), fosite.ErrInvalidatedAuthorizeCode)
	got, err := s.GetAuthorizeCodeSession(ctx, "code", openid.NewDefaultSession())
	require.ErrorIs(t, err, fosite.ErrInvalidatedAuthorizeCode)
	require.Equal(t, "request", got.GetID(), "fosite revokes what was issued for the code")
	require.NoError(t, s.DeletePKCERequestSession(ctx, "code"))

	s.ahead.Store(int64(time.Minute + time.Second))
	_, err = s.GetAuthorizeCodeSession(ctx, "code", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	_, err = s.GetPKCERequestSession(ctx, "code", nil)
	require.NoError(t, err)
	require.NoError(t, s.DeleteExpiredSessions(ctx))
	_, err = s.GetPKCERequestSession(ctx, "code", nil)
	require.NoError(t, err)
	s.ahead.Store(int64(3 * time.Minute))
	require.NoError(t, s.DeleteExpiredSessions(ctx))
	s.ahead.Store(0)
	_, err = s.GetPKCERequestSession(ctx, "code", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound, "it was removed")
}

// TestRefresh: a refresh token is used once, which ends its grant and no other.
func TestRefresh(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	grant, other := s.grant("grant", 0), s.grant("other", 0) // without an end
	for _, signature := range []string{"r1", "r2"} {
		require.NoError(t, s.CreateRefreshTokenSession(ctx, signature, "a"+signature, grant))
		require.NoError(t, s.CreateAccessTokenSession(ctx, "a"+signature, grant))
	}
	require.NoError(t, s.CreateRefreshTokenSession(ctx, "other", "aother", other))
	require.NoError(t, s.CreateAccessTokenSession(ctx, "aother", other))

	require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "unknown"), fosite.ErrNotFound)
	require.NoError(t, s.RotateRefreshToken(ctx, "grant", "r1"))
	require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "r1"), fosite.ErrInactiveToken)
	for _, signature := range []string{"r1", "r2"} {
		got, err := s.GetRefreshTokenSession(ctx, signature, nil)
		require.ErrorIs(t, err, fosite.ErrInactiveToken)
		require.Equal(t, "grant", got.GetID(), "fosite revokes the grant")
		_, err = s.GetAccessTokenSession(ctx, "a"+signature, nil)
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	_, err := s.GetRefreshTokenSession(ctx, "other", nil)
	require.NoError(t, err)
	_, err = s.GetAccessTokenSession(ctx, "aother", nil)
	require.NoError(t, err)

	// One that never expires is not remembered for ever once it was used.
	s.ahead.Store(int64(31 * 24 * time.Hour))
	_, err = s.GetRefreshTokenSession(ctx, "r1", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	_, err = s.GetRefreshTokenSession(ctx, "other", nil)
	require.NoError(t, err)

	require.NoError(t, s.RevokeRefreshToken(ctx, "other"))
	require.NoError(t, s.RevokeAccessToken(ctx, "other"))
	_, err = s.GetRefreshTokenSession(ctx, "other", nil)
	require.ErrorIs(t, err, fosite.ErrInactiveToken)
	_, err = s.GetAccessTokenSession(ctx, "aother", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
}

// TestClientGone: a client that is deleted has no grants, whether they were removed or not.
func TestClientGone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSessions(t)
	require.NoError(t, s.CreateRefreshTokenSession(ctx, "refresh", "access", s.grant("request", time.Hour)))
	require.NoError(t, s.DeleteClient(ctx, s.client.ID))
	got, err := s.GetRefreshTokenSession(ctx, "refresh", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	require.Nil(t, got)
}
