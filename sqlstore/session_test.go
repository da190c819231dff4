package sqlstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// sessions is a store with one client and a clock.
type sessions struct {
	*sqlstore.Store
	database
	source string
	client *dcr.Client
	ahead  atomic.Int64
}

func (d database) sessions(t *testing.T, options sqlstore.Options) *sessions {
	t.Helper()
	s := &sessions{database: d, source: d.create(t), client: &dcr.Client{ID: "client", Version: 1}}
	options.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	options.SweepEvery = -1
	s.Store = d.open(t, s.source, options)
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
	request.Form = url.Values{"nonce": {"n"}, "client_id": {"client"}, "grant_type": {"authorization_code", "again"}}
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

// requireRefresh requires what reading a refresh token returns.
func (s *sessions) requireRefresh(t *testing.T, want error, signatures ...string) {
	t.Helper()
	for _, signature := range signatures {
		got, err := s.GetRefreshTokenSession(t.Context(), signature, nil)
		require.ErrorIs(t, err, want, signature)
		if errors.Is(want, fosite.ErrInactiveToken) {
			require.Equal(t, "client", got.GetClient().GetID())
			require.NotEmpty(t, got.GetID(), "fosite revokes the grant")
		}
	}
}

func (s *sessions) requireAccess(t *testing.T, want error, signatures ...string) {
	t.Helper()
	for _, signature := range signatures {
		_, err := s.GetAccessTokenSession(t.Context(), signature, nil)
		require.ErrorIs(t, err, want, signature)
	}
}

// pair stores a pair of tokens.
func (s *sessions) pair(t *testing.T, signature string, grant *fosite.Request) {
	t.Helper()
	require.NoError(t, s.CreateAccessTokenSession(t.Context(), "a"+signature, grant))
	require.NoError(t, s.CreateRefreshTokenSession(t.Context(), signature, "a"+signature, grant))
}

// TestWhole: a request comes back as it went in, in a session of the type that fosite names or in a new one, and nothing of
// the session that fosite names shows through.
func TestWhole(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
		want := s.grant("request", time.Hour)
		s.pair(t, "refresh", want)
		require.NoError(t, s.CreateAuthorizeCodeSession(ctx, "code", want))
		made := openid.NewDefaultSession()
		made.Username = "somebody else"
		for _, get := range []func(fosite.Session) (fosite.Requester, error){
			func(session fosite.Session) (fosite.Requester, error) {
				return s.GetAccessTokenSession(ctx, "arefresh", session)
			},
			func(session fosite.Session) (fosite.Requester, error) {
				return s.GetRefreshTokenSession(ctx, "refresh", session)
			},
			func(session fosite.Session) (fosite.Requester, error) {
				return s.GetAuthorizeCodeSession(ctx, "code", session)
			},
		} {
			for _, session := range []fosite.Session{made, nil} {
				got, err := get(session)
				require.NoError(t, err)
				read := got.GetSession().(*openid.DefaultSession)
				require.Equal(t, "owner", read.Claims.Extra["role"])
				require.Equal(t, "Alice", read.Username)
				require.Equal(t, want.Session.GetExpiresAt(fosite.AccessToken), read.GetExpiresAt(fosite.AccessToken))
				require.True(t, read.GetExpiresAt(fosite.IDToken).IsZero())
				request := got.(*fosite.Request)
				request.Session = want.Session
				require.Equal(t, want, request)
			}
		}
		require.True(t, made.GetExpiresAt(fosite.AccessToken).IsZero(), "the session of the token that is made")
	})
}

// unstorable is a session that can't be written.
type unstorable struct{ *fosite.DefaultSession }

func (unstorable) MarshalJSON() ([]byte, error)  { return nil, errors.New("can't be written") }
func (u unstorable) Clone() fosite.Session       { return u }
func (*unreadable) UnmarshalJSON(_ []byte) error { return errors.New("can't be read") }
func (u *unreadable) Clone() fosite.Session      { return u }

type unreadable struct{ fosite.DefaultSession }

func (u *unreadable) MarshalJSON() ([]byte, error) { return json.Marshal(u.DefaultSession) }

// TestSessionTypes: a session is read into the type of the caller, with whole numbers as they were; what can't be written
// or read is an error.
func TestSessionTypes(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-26/types", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			grant := s.grant("request", time.Hour)
			const exact = 1<<53 + 1
			grant.Session = &fosite.DefaultSession{Subject: "alice", Extra: map[string]any{"number": int64(exact)}}
			require.NoError(t, s.CreateAccessTokenSession(ctx, "whole", grant))
			got, err := s.GetAccessTokenSession(ctx, "whole", new(fosite.DefaultSession))
			require.NoError(t, err)
			require.Equal(t, json.Number(strconv.Itoa(exact)), got.GetSession().(*fosite.DefaultSession).Extra["number"])

			grant.Session = unstorable{new(fosite.DefaultSession)}
			require.ErrorContains(t, s.CreateAccessTokenSession(ctx, "unstorable", grant), "can't be written")
			s.requireAccess(t, fosite.ErrNotFound, "unstorable")
			_, err = s.GetAccessTokenSession(ctx, "whole", new(unreadable))
			require.ErrorContains(t, err, "can't be read")
			require.NotErrorIs(t, err, fosite.ErrNotFound)

			grant.Session = nil
			require.NoError(t, s.CreateAccessTokenSession(ctx, "none", grant))
			got, err = s.GetAccessTokenSession(ctx, "none", new(fosite.DefaultSession))
			require.NoError(t, err)
			require.Nil(t, got.GetSession())

			grant.Session, grant.Client = new(fosite.DefaultSession), &fosite.DefaultClient{}
			require.NoError(t, s.CreateAccessTokenSession(ctx, "nobody", grant))
			s.requireAccess(t, nil, "nobody")
			grant.Client = &fosite.DefaultClient{ID: "https://client.example/document"}
			require.NoError(t, s.CreateAccessTokenSession(ctx, "document", grant))
			got, err = s.GetAccessTokenSession(ctx, "document", nil)
			require.NoError(t, err)
			require.Equal(t, grant.Client.GetID(), got.GetClient().GetID(), "SQL-28")
			grant.Client = &fosite.DefaultClient{ID: "static"}
			require.NoError(t, s.CreateAccessTokenSession(ctx, "static", grant))
			s.requireAccess(t, fosite.ErrNotFound, "static")
			s.AddClient(grant.Client)
			s.requireAccess(t, nil, "static")

			require.NoError(t, s.CreateRefreshTokenSession(ctx, "gone", "", s.grant("request", time.Hour)))
			require.NoError(t, s.DeleteClient(ctx, s.client.ID))
			got, err = s.GetRefreshTokenSession(ctx, "gone", nil)
			require.ErrorIs(t, err, fosite.ErrNotFound)
			require.Nil(t, got)
		})
	})
}

// shallow is a session whose Clone shares its expiries, embedding one whose Clone is that of what it embeds.
type (
	shallow   struct{ fosite.DefaultSession }
	embedding struct {
		*openid.DefaultSession
		Tenant string
	}
)

func (s *shallow) Clone() fosite.Session {
	c := *s
	return &c
}

// TestSessionsThatDoNotClone: a session whose Clone is none is refused, and stays as it is.
func TestSessionsThatDoNotClone(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-26/clone", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			end := time.Now().UTC().Add(time.Hour)
			for message, session := range map[string]fosite.Session{
				"copies no more than a reference": new(shallow), "returns a *openid.DefaultSession": &embedding{openid.NewDefaultSession(), "acme"},
			} {
				grant := s.grant("request", 0)
				grant.Session = session
				grant.Session.SetExpiresAt(fosite.AccessToken, end)
				require.ErrorContains(t, s.CreateAccessTokenSession(ctx, "token", grant), message)
				require.Equal(t, end, session.GetExpiresAt(fosite.AccessToken))
				s.requireAccess(t, fosite.ErrNotFound, "token")
			}
		})
	})
}

// TestPushed: a pushed request comes back whole, but for what the client has authenticated with.
func TestPushed(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
		want := fosite.NewAuthorizeRequest()
		want.Request = *s.grant("request", time.Hour)
		want.ResponseTypes, want.HandledResponseTypes = fosite.Arguments{"code"}, fosite.Arguments{"code"}
		want.RedirectURI, _ = url.Parse("https://client.example/cb?a=b")
		want.State, want.ResponseMode, want.DefaultResponseMode = strings.Repeat("state", 2000), fosite.ResponseModeFormPost, fosite.ResponseModeQuery
		want.Form.Set("client_secret", "top secret")
		require.NoError(t, s.CreatePARSession(ctx, "urn:handle", want))
		require.Equal(t, "top secret", want.Form.Get("client_secret"), "fosite's own form stays")
		want.Form.Del("client_secret")
		got, err := s.GetPARSession(ctx, "urn:handle")
		require.NoError(t, err)
		require.Equal(t, want.Session.GetExpiresAt(fosite.AccessToken), got.GetSession().GetExpiresAt(fosite.AccessToken))
		got.(*fosite.AuthorizeRequest).Session = want.Session
		require.Equal(t, want, got)
		require.NoError(t, s.DeletePARSession(ctx, "urn:handle"))
		_, err = s.GetPARSession(ctx, "urn:handle")
		require.ErrorIs(t, err, fosite.ErrNotFound)
		require.ErrorIs(t, s.DeletePARSession(ctx, "urn:handle"), fosite.ErrNotFound)
	})
}

// TestCode: a code is used once, and its PKCE session outlives it.
func TestCode(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
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
		require.NoError(t, s.Sweep(ctx))
		_, err = s.GetAuthorizeCodeSession(ctx, "code", nil)
		require.ErrorIs(t, err, fosite.ErrNotFound)
		_, err = s.GetPKCERequestSession(ctx, "code", nil)
		require.NoError(t, err)
		s.ahead.Store(int64(3 * time.Minute))
		require.NoError(t, s.Sweep(ctx))
		s.ahead.Store(0)
		_, err = s.GetPKCERequestSession(ctx, "code", nil)
		require.ErrorIs(t, err, fosite.ErrNotFound, "it was removed")
	})
}

// TestRefresh: a refresh token is used once, which ends its grant and no other, and it is known as used for as long as it
// would have lived.
func TestRefresh(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-13/refresh", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			grant, other := s.grant("grant", 0), s.grant("other", 0) // without an end
			s.pair(t, "r1", grant)
			s.pair(t, "r2", grant)
			s.pair(t, "other", other)
			require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "unknown"), fosite.ErrNotFound)
			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "r1"))
			require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "r1"), fosite.ErrInactiveToken)
			s.requireRefresh(t, fosite.ErrInactiveToken, "r1", "r2")
			s.requireAccess(t, fosite.ErrNotFound, "ar1", "ar2")
			s.requireRefresh(t, nil, "other")
			s.requireAccess(t, nil, "aother")

			// What never expires is not remembered for ever once it was used, and what lives stays.
			s.ahead.Store(int64(29 * 24 * time.Hour))
			require.NoError(t, s.Sweep(ctx))
			s.requireRefresh(t, fosite.ErrInactiveToken, "r1")
			s.ahead.Store(int64(31 * 24 * time.Hour))
			require.NoError(t, s.Sweep(ctx))
			s.requireRefresh(t, fosite.ErrNotFound, "r1")
			s.requireRefresh(t, nil, "other")

			require.NoError(t, s.RevokeRefreshToken(ctx, "other"))
			require.NoError(t, s.RevokeAccessToken(ctx, "other"))
			s.requireRefresh(t, fosite.ErrInactiveToken, "other")
			s.requireAccess(t, fosite.ErrNotFound, "aother")
		})
	})
}

// TestChain: a used token of a long chain revokes what the chain has, and stays used after a restart.
func TestChain(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-03/chain", func(t *testing.T) {
			const length = 1000
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			grant := s.grant("grant", 30*24*time.Hour)
			for i := range length {
				s.pair(t, "r"+strconv.Itoa(i), grant)
				if i < length-1 {
					require.NoError(t, s.RotateRefreshToken(ctx, "grant", "r"+strconv.Itoa(i)))
				}
			}
			s.requireRefresh(t, fosite.ErrInactiveToken, "r0", "r500")
			s.requireRefresh(t, nil, "r999")
			again := d.open(t, s.source, sqlstore.Options{})
			for range 2 {
				_, err := again.GetRefreshTokenSession(ctx, "r0", nil)
				require.ErrorIs(t, err, fosite.ErrInactiveToken)
			}
			require.NoError(t, s.DeleteRefreshTokenSession(ctx, "r0"))
			require.NoError(t, s.RevokeRefreshToken(ctx, "grant"))
			require.NoError(t, s.RevokeAccessToken(ctx, "grant"))
			s.requireRefresh(t, fosite.ErrInactiveToken, "r0", "r999")
			s.requireAccess(t, fosite.ErrNotFound, "ar999")
		})
	})
}

// TestWrittenAgain: what was used, rotated or revoked stays so when it is written again.
func TestWrittenAgain(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-27/again", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{})
			grant := s.grant("grant", time.Hour)
			s.pair(t, "rotated", grant)
			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "rotated"))
			s.pair(t, "rotated", grant)
			s.requireRefresh(t, fosite.ErrInactiveToken, "rotated")
			s.requireAccess(t, fosite.ErrNotFound, "arotated")

			s.pair(t, "revoked", grant)
			require.NoError(t, s.RevokeRefreshToken(ctx, "grant"))
			require.NoError(t, s.DeleteAccessTokenSession(ctx, "arevoked"))
			s.pair(t, "revoked", grant)
			s.requireRefresh(t, fosite.ErrInactiveToken, "revoked")
			s.requireAccess(t, fosite.ErrNotFound, "arevoked")

			pushed := fosite.NewAuthorizeRequest()
			pushed.Request = *s.grant("pushed", time.Hour)
			require.NoError(t, s.CreatePARSession(ctx, "urn:handle", pushed))
			require.NoError(t, s.DeletePARSession(ctx, "urn:handle"))
			require.NoError(t, s.CreatePARSession(ctx, "urn:handle", pushed))
			_, err := s.GetPARSession(ctx, "urn:handle")
			require.ErrorIs(t, err, fosite.ErrNotFound)
		})
	})
}

// TestRevokedGrant: what a refresh stores while its grant is revoked is revoked with it, however much the grant has.
func TestRevokedGrant(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-03/revoked", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{RefreshGrace: time.Hour})
			grant := s.grant("grant", time.Hour)
			for i := range 600 { // more than one revocation changes
				s.pair(t, fmt.Sprint("first ", i), grant)
			}
			require.NoError(t, s.RevokeAccessToken(ctx, "grant")) // fosite does both, one after the other
			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "first 0"))
			s.pair(t, "between", grant)
			require.NoError(t, s.RevokeRefreshToken(ctx, "grant"))
			s.pair(t, "late", grant)
			for _, signature := range []string{"first 1", "first 599", "between", "late"} {
				s.requireRefresh(t, fosite.ErrInactiveToken, signature)
				s.requireAccess(t, fosite.ErrNotFound, "a"+signature)
				require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", signature), fosite.ErrInactiveToken)
			}
		})
	})
}

// TestGrace: within the grace a rotated token is good so many times more, counted from its first use, and ends nothing.
func TestGrace(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-02/grace", func(t *testing.T) {
			ctx, s := t.Context(), d.sessions(t, sqlstore.Options{RefreshGrace: time.Minute, RefreshGraceUses: 2})
			grant := s.grant("grant", time.Hour)
			s.pair(t, "first", grant)
			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "first"))
			s.pair(t, "second", grant)
			s.requireAccess(t, fosite.ErrNotFound, "afirst")
			for i := range 2 {
				s.requireRefresh(t, nil, "first")
				require.NoError(t, s.RotateRefreshToken(ctx, "grant", "first"))
				s.pair(t, fmt.Sprint("again", i), grant)
				s.requireRefresh(t, nil, "second")
				s.requireAccess(t, nil, "asecond")
			}
			s.requireRefresh(t, fosite.ErrInactiveToken, "first")
			require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "first"), fosite.ErrInactiveToken, "used as often as it may be")

			require.NoError(t, s.RotateRefreshToken(ctx, "grant", "second"))
			s.requireAccess(t, fosite.ErrNotFound, "asecond")
			s.requireRefresh(t, nil, "again0", "again1")
			s.requireAccess(t, nil, "aagain0", "aagain1")
			s.ahead.Store(int64(59 * time.Second))
			s.requireRefresh(t, nil, "second")
			s.ahead.Store(int64(61 * time.Second))
			s.requireRefresh(t, fosite.ErrInactiveToken, "second")
			require.ErrorIs(t, s.RotateRefreshToken(ctx, "grant", "second"), fosite.ErrInactiveToken)

			revoked := s.grant("revoked", time.Hour)
			s.pair(t, "old", revoked)
			require.NoError(t, s.RotateRefreshToken(ctx, "revoked", "old"))
			require.NoError(t, s.RevokeRefreshToken(ctx, "revoked"))
			s.requireRefresh(t, fosite.ErrInactiveToken, "old")
			require.ErrorIs(t, s.RotateRefreshToken(ctx, "revoked", "old"), fosite.ErrInactiveToken, "a revocation ends the grace")
		})
	})
}
