package tokens_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/tokens"
)

func refresh(scope string) *fosite.AccessRequest {
	request := fosite.NewAccessRequest(&fosite.DefaultSession{})
	request.GrantTypes = fosite.Arguments{"refresh_token"}
	request.Form = url.Values{"scope": {scope}, "refresh_token": {"a.b"}}
	request.GrantedScope = fosite.Arguments{"a", "b"}
	return request
}

func TestCheckScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]error{"": nil, "a": nil, "b a": nil, "c": fosite.ErrInvalidScope, "a c": fosite.ErrInvalidScope} {
		t.Run("ERR-01/scope="+scope, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, tokens.CheckScope(refresh(scope)), want)
			code := refresh(scope)
			code.GrantTypes = fosite.Arguments{"authorization_code"}
			require.NoError(t, tokens.CheckScope(code))
		})
	}
}

func TestHandlesGrant(t *testing.T) {
	t.Parallel()
	handlers := fosite.TokenEndpointHandlers{&oauth2.RefreshTokenGrantHandler{}}
	for grant, want := range map[string]bool{"": true, "refresh_token": true, "password": false, "refresh_token password": false} {
		t.Run("ERR-01/grant="+grant, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, tokens.HandlesGrant(t.Context(), handlers, grant))
		})
	}
}

// tokenStore answers each look-up with one error.
type tokenStore struct {
	oauth2.RefreshTokenStorage
	err error
}

func (s tokenStore) GetRefreshTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, s.err
}

// plain is a strategy whose tokens are their own signatures.
type plain struct{ oauth2.RefreshTokenStrategy }

func (plain) RefreshTokenSignature(_ context.Context, token string) string { return token }

func TestLost(t *testing.T) {
	t.Parallel()
	asks := func(cause error) error { return fosite.ErrInvalidRequest.WithWrap(cause).WithHint("Please retry.") }
	down := errors.New("down")
	for name, row := range map[string]struct {
		err, again error
		want       error
	}{
		"inactive":         {asks(fosite.ErrInactiveToken), down, fosite.ErrInvalidGrant},
		"gone":             {asks(fosite.ErrNotFound), down, fosite.ErrInvalidGrant},
		"contended_spent":  {asks(fosite.ErrSerializationFailure), fosite.ErrInactiveToken, fosite.ErrInvalidGrant},
		"contended_gone":   {asks(fosite.ErrSerializationFailure), fosite.ErrNotFound, fosite.ErrInvalidGrant},
		"contended_good":   {asks(fosite.ErrSerializationFailure), nil, tokens.ErrContended},
		"contended_down":   {asks(fosite.ErrSerializationFailure), down, tokens.ErrContended},
		"another":          {down, nil, down},
		"invalid_request":  {fosite.ErrInvalidRequest, nil, fosite.ErrInvalidRequest},
		"no_error_at_all":  {nil, nil, nil},
		"invalid_already":  {fosite.ErrInvalidGrant.WithWrap(fosite.ErrNotFound), nil, fosite.ErrInvalidGrant},
		"unknown_client":   {fosite.ErrInvalidClient.WithWrap(fosite.ErrNotFound), nil, fosite.ErrInvalidClient},
		"fault_of_storage": {fosite.ErrServerError.WithWrap(down), nil, fosite.ErrServerError},
	} {
		t.Run("ERR-02/"+name, func(t *testing.T) {
			t.Parallel()
			r := tokens.Refreshes{Storage: tokenStore{err: row.again}, Strategy: plain{}}
			require.ErrorIs(t, r.Lost(t.Context(), refresh(""), row.err), row.want)
		})
	}
}

func TestShowRefreshEnd(t *testing.T) {
	t.Parallel()
	ends := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	stored := &fosite.DefaultSession{}
	stored.SetExpiresAt(fosite.AccessToken, ends.Add(-time.Hour))
	stored.SetExpiresAt(fosite.RefreshToken, ends)
	found := fosite.NewAccessRequest(stored)
	tokens.ShowRefreshEnd(found)
	require.Equal(t, ends, found.GetSession().GetExpiresAt(fosite.AccessToken), "USE-01")
	require.Equal(t, ends.Add(-time.Hour), stored.GetExpiresAt(fosite.AccessToken), "the stored session is not touched")
}
