package memory_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

// TestReplace: a session takes the place of one with its key.
func TestReplace(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture()
		first, second := lasting(), lasting()
		require.NoError(t, k.create(t.Context(), f, "key", first))
		require.NoError(t, k.create(t.Context(), f, "key", second))
		got, err := k.get(t.Context(), f, "key")
		require.NoError(t, err)
		require.Equal(t, second.ID, got.GetID())
		// The first is found by its request no longer.
		require.NoError(t, f.RevokeAccessToken(t.Context(), first.ID))
		require.NoError(t, f.RevokeRefreshToken(t.Context(), first.ID))
		_, err = k.get(t.Context(), f, "key")
		require.NoError(t, err)
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture()
		_, err := k.get(t.Context(), f, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
		if k.delete == nil {
			return
		}
		require.ErrorIs(t, k.delete(t.Context(), f, "key"), k.unknown)
		require.NoError(t, k.create(t.Context(), f, "key", lasting()))
		require.NoError(t, k.create(t.Context(), f, "other", lasting()))
		require.NoError(t, k.delete(t.Context(), f, "key"))
		_, err = k.get(t.Context(), f, "key")
		if k.stays {
			require.NoError(t, err, "a code without its PKCE session is redeemed without a verifier")
		} else {
			require.ErrorIs(t, err, fosite.ErrNotFound)
		}
		_, err = k.get(t.Context(), f, "other")
		require.NoError(t, err)
	})
}

func TestBounds(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture(func(o *memory.Options) { o.Tokens, o.Codes = 3, 3 })
		add := func(key string) error {
			return k.create(t.Context(), f, key, requestOf("client", f.now().Add(time.Hour)))
		}
		for _, key := range []string{"a", "b", "c"} {
			require.NoError(t, add(key))
		}
		err := add("d")
		require.ErrorIs(t, err, errFull)
		require.ErrorContains(t, err, k.full)
		_, err = k.get(t.Context(), f, "a")
		require.NoError(t, err, "none is evicted")
		require.NoError(t, add("a"), "one that is there may be replaced")

		// As they expire there is always room, however many come.
		f.advance(time.Hour)
		for i := range 30 {
			f.advance(31 * time.Minute)
			require.NoError(t, add(strconv.Itoa(i)))
		}
	})
}

// TestBoundsApart: each kind has the bound to itself.
func TestBoundsApart(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) { o.Tokens, o.Codes, o.Assertions = 1, 1, 1 })
	for _, k := range kinds {
		require.NoError(t, k.create(t.Context(), f, "key", lasting()), k.name)
	}
	require.NoError(t, f.SetClientAssertionJWT(t.Context(), "key", start.Add(time.Hour)))
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture()
		require.NoError(t, k.create(t.Context(), f, "key", lasting()))
		f.advance(time.Hour + k.margin - time.Nanosecond)
		_, err := k.get(t.Context(), f, "key")
		require.NoError(t, err)
		f.advance(time.Nanosecond)
		_, err = k.get(t.Context(), f, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
	})
}

// TestNoExpiry: without an expiry tokens are kept, and what is short-lived by its nature for
// a quarter of an hour.
func TestNoExpiry(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		for name, session := range map[string]fosite.Session{
			"no_time":     openid.NewDefaultSession(),
			"no_session":  nil,
			"nil_session": (*fosite.DefaultSession)(nil),
		} {
			f := newFixture()
			request := lasting()
			request.Session = session
			require.NoError(t, k.create(t.Context(), f, "key", request), name)
			f.advance(15*time.Minute + k.margin - time.Nanosecond)
			_, err := k.get(t.Context(), f, "key")
			require.NoError(t, err, name)
			f.advance(time.Nanosecond)
			if !k.token {
				_, err = k.get(t.Context(), f, "key")
				require.ErrorIs(t, err, fosite.ErrNotFound, name)
				continue
			}
			f.advance(100 * 365 * 24 * time.Hour)
			_, err = k.get(t.Context(), f, "key")
			require.NoError(t, err, name)
		}
	})
}

// TestExpiredAreRemoved: a table that was full of entries gets smaller again: what never
// expires has room then.
func TestExpiredAreRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) { o.Tokens = 99 })
	for i := range 99 {
		require.NoError(t, f.CreateAccessTokenSession(t.Context(), "old "+strconv.Itoa(i), lasting()))
	}
	require.ErrorIs(t, f.CreateAccessTokenSession(t.Context(), "new", lasting()), errFull)
	f.advance(time.Hour)
	for i := range 99 {
		require.NoError(t, f.CreateAccessTokenSession(t.Context(), "new "+strconv.Itoa(i), requestOf("client", time.Time{})))
	}
	require.ErrorIs(t, f.CreateAccessTokenSession(t.Context(), "new", lasting()), errFull)
}

// TestCopies: what goes in comes out, and is shared with no caller.
func TestCopies(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		for name, session := range map[string]func() fosite.Session{
			"openid": func() fosite.Session { return lasting().Session },
			"plain": func() fosite.Session {
				return &fosite.DefaultSession{Subject: "alice", ExpiresAt: map[fosite.TokenType]time.Time{k.tokenType(): start.Add(time.Hour)}}
			},
			"plain_extra": func() fosite.Session {
				return &fosite.DefaultSession{Subject: "alice", ExpiresAt: map[fosite.TokenType]time.Time{k.tokenType(): start.Add(time.Hour)},
					Extra: map[string]any{"list": []string{"a"}}}
			},
		} {
			f := newFixture()
			request := lasting()
			request.Lang = language.Polish
			request.Session = session()
			want := *request
			want.Session = session()
			want.RequestedScope, want.GrantedScope = fosite.Arguments{"a", "b"}, fosite.Arguments{"a"}
			want.RequestedAudience, want.GrantedAudience = fosite.Arguments{"x"}, fosite.Arguments{"x"}
			want.Form = url.Values{"nonce": {"n"}}
			require.NoError(t, k.create(t.Context(), f, "key", request))
			spoil(request)
			for range 2 {
				got, err := k.get(t.Context(), f, "key")
				require.NoError(t, err)
				require.Equal(t, &want, got, name)
				spoil(got)
			}
		}
	})
}

// spoil changes whatever a request holds.
func spoil(r fosite.Requester) {
	r.GetGrantedScopes()[0], r.GetRequestedScopes()[1] = "spoiled", "spoiled"
	r.GetGrantedAudience()[0], r.GetRequestedAudience()[0] = "spoiled", "spoiled"
	r.GetRequestForm()["nonce"][0] = "spoiled"
	r.GetRequestForm().Set("more", "spoiled")
	r.GetSession().SetExpiresAt(fosite.AccessToken, time.Time{})
	switch session := r.GetSession().(type) {
	case *openid.DefaultSession:
		session.Subject = "spoiled"
	case *fosite.DefaultSession:
		session.Subject = "spoiled"
		if list, ok := session.Extra["list"].([]string); ok {
			list[0] = "spoiled"
		}
	}
}

// tokenType is the type of token that a session of this kind expires with.
func (k kind) tokenType() fosite.TokenType {
	switch k.name {
	case "access":
		return fosite.AccessToken
	case "refresh":
		return fosite.RefreshToken
	case "pushed":
		return fosite.PushedAuthorizeRequestContext
	}
	return fosite.AuthorizeCode
}

func TestPushedRequest(t *testing.T) {
	t.Parallel()
	make := func() *fosite.AuthorizeRequest {
		return &fosite.AuthorizeRequest{
			Request:       *requestOf("client", start.Add(time.Hour)),
			ResponseTypes: fosite.Arguments{"code"}, HandledResponseTypes: fosite.Arguments{"code"},
			RedirectURI: &url.URL{Scheme: "https", Host: "client.example", Path: "/cb", RawQuery: "a=b"},
			State:       "state", ResponseMode: fosite.ResponseModeFormPost, DefaultResponseMode: fosite.ResponseModeQuery,
		}
	}
	f := newFixture()
	request, want := make(), make()
	want.ID = request.ID
	require.NoError(t, f.CreatePARSession(t.Context(), "urn:key", request))
	spoil := func(r *fosite.AuthorizeRequest) {
		r.ResponseTypes[0], r.HandledResponseTypes[0], r.RedirectURI.Host = "token", "token", "attacker.example"
	}
	spoil(request)
	for range 2 {
		got, err := f.GetPARSession(t.Context(), "urn:key")
		require.NoError(t, err)
		require.Equal(t, want, got)
		spoil(got.(*fosite.AuthorizeRequest))
	}
}

// TestClient: a session has its client as it is when it is read, and is gone with it.
func TestClient(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture()
		require.NoError(t, k.create(t.Context(), f, "key", lasting()))
		next := &fosite.DefaultClient{ID: "client", Scopes: []string{"changed"}}
		f.set("client", next)
		type mark struct{}
		got, err := k.get(context.WithValue(t.Context(), mark{}, "caller"), f, "key")
		require.NoError(t, err)
		require.Same(t, next, got.GetClient())
		require.Equal(t, "caller", f.ctx.Value(mark{}), "it gets the context of the caller")

		f.set("client", nil)
		got, err = k.get(t.Context(), f, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
		require.Nil(t, got)
	})
}

// TestClientAsItCame: a client without an identifier is kept as it came. One that is known
// wins, and an error is none of a client that is unknown.
func TestClientAsItCame(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		for _, row := range []struct {
			id   string
			kept bool
		}{
			{"", true},
			{"https://client.example/metadata", false},
			{"gone", false},
		} {
			f := newFixture()
			request := requestOf(row.id, start.Add(time.Hour))
			require.NoError(t, k.create(t.Context(), f, "key", request))
			got, err := k.get(t.Context(), f, "key")
			if row.kept {
				require.NoError(t, err, row.id)
				require.Same(t, request.Client, got.GetClient(), row.id)
			} else {
				require.ErrorIs(t, err, fosite.ErrNotFound, row.id)
			}

			known := &fosite.DefaultClient{ID: row.id}
			f.set(row.id, known)
			got, err = k.get(t.Context(), f, "key")
			require.NoError(t, err, row.id)
			require.Same(t, known, got.GetClient(), row.id)

			f.fault = errors.New("no connection")
			got, err = k.get(t.Context(), f, "key")
			require.Equal(t, f.fault, err, row.id)
			require.Nil(t, got)
		}
	})
}

// TestNoClient: a request may have no client.
func TestNoClient(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k kind) {
		f := newFixture()
		request := lasting()
		request.Client = nil
		require.NoError(t, k.create(t.Context(), f, "key", request))
		_, err := k.get(t.Context(), f, "key")
		require.ErrorIs(t, err, fosite.ErrNotFound)
	})
}
