package storagetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysRevoked = "RevokeClientGrants removes codes with their PKCE and OpenID sessions, pushed requests, access tokens and refresh tokens " +
		"of a client, and those of no other. Reading one afterwards returns fosite.ErrNotFound, fosite.ErrInactiveToken or fosite.ErrInvalidatedAuthorizeCode."
	saysSpared = "RevokeClientGrants leaves the entries of registration access tokens (dcr.IsRegistrationTokenEntry): they are no grants."
)

// grantRows are about dcr.GrantRevoker, for each kind of grant that the storage keeps.
func grantRows(o Options) []Row {
	return group("dcr.GrantRevoker", "create/read_back", []Row{
		{Name: "revoke/unknown", Check: needing(revokeUnknown), Says: "RevokeClientGrants of an unknown client is no error.",
			Why: "The deletion of a client that was granted nothing is reported as a failure."},
		{Name: "context/revoke", Says: saysContext, Why: whyContext, Check: needing(contextRevoke)},
		{Name: "revoke/entries", Check: o.entries(revokeEntries), Says: saysSpared, After: "entry/read_back",
			Needs: "dcr.GrantRevoker and oauth2.AccessTokenStorage",
			Why:   "A client whose grants an operator removed, or whose redirect URIs changed, can't be managed any more."},
		revokeRow(o, "access_tokens", "oauth2.AccessTokenStorage", accessTokens),
		revokeRow(o, "refresh_tokens", "oauth2.RefreshTokenStorage", refreshTokens),
		revokeRow(o, "codes", "oauth2.AuthorizeCodeStorage", codes),
		revokeRow(o, "pkce_sessions", "pkce.PKCERequestStorage", pkceSessions),
		revokeRow(o, "openid_sessions", "openid.OpenIDConnectRequestStorage", openIDSessions),
		revokeRow(o, "pushed_requests", "fosite.PARStorage", pushedRequests),
	})
}

func (b *bench) revoke(grants dcr.GrantRevoker, clientID string) error {
	if err := grants.RevokeClientGrants(b.ctx, clientID); err != nil {
		return fmt.Errorf("RevokeClientGrants of %q: %w", clientID, err)
	}
	return nil
}

func revokeUnknown(b *bench, grants dcr.GrantRevoker) error {
	if err := b.revoke(grants, newID()); err != nil {
		return fmt.Errorf("of an unknown client: %w", err)
	}
	return nil
}

func contextRevoke(b *bench, grants dcr.GrantRevoker) error {
	return ended(b.ctx, func(over context.Context) error {
		return expectEnd("RevokeClientGrants", over, grants.RevokeClientGrants(over, newID()))
	})
}

// revokeEntries: the entries stay, of a client that stays as well.
func revokeEntries(e *entries) error {
	grants, ok := e.s.(dcr.GrantRevoker)
	if !ok {
		return notImplemented[dcr.GrantRevoker]()
	}
	key := newKey()
	request, err := e.create(key)
	if err != nil {
		return err
	}
	if err := e.revoke(grants, request.Client.GetID()); err != nil {
		return err
	}
	if err := e.holds(key, request.Client.GetID(), expiryOf(request)); err != nil {
		return fmt.Errorf("after RevokeClientGrants, the entry of a registration access token: %w", err)
	}
	return nil
}

// grantKind stores and looks up one kind of grant.
type grantKind struct {
	create func(ctx context.Context, key string, r *fosite.Request) error
	get    func(ctx context.Context, key string, session fosite.Session) error
}

// requests is a kind that is stored as a request, and read with a session.
func requests(create func(context.Context, string, fosite.Requester) error,
	get func(context.Context, string, fosite.Session) (fosite.Requester, error)) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error { return create(ctx, key, r) },
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := get(ctx, key, session)
			return err
		},
	}
}

func accessTokens(s oauth2.AccessTokenStorage) grantKind {
	return requests(s.CreateAccessTokenSession, s.GetAccessTokenSession)
}

func refreshTokens(s oauth2.RefreshTokenStorage) grantKind {
	return requests(func(ctx context.Context, key string, r fosite.Requester) error {
		return s.CreateRefreshTokenSession(ctx, key, newSignature(), r)
	}, s.GetRefreshTokenSession)
}

func codes(s oauth2.AuthorizeCodeStorage) grantKind {
	return requests(s.CreateAuthorizeCodeSession, s.GetAuthorizeCodeSession)
}

func pkceSessions(s pkce.PKCERequestStorage) grantKind {
	return requests(s.CreatePKCERequestSession, s.GetPKCERequestSession)
}

func openIDSessions(s openid.OpenIDConnectRequestStorage) grantKind {
	return requests(s.CreateOpenIDConnectSession, func(ctx context.Context, key string, session fosite.Session) (fosite.Requester, error) {
		return s.GetOpenIDConnectSession(ctx, key, &fosite.Request{Session: session})
	})
}

func pushedRequests(s fosite.PARStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			request := fosite.NewAuthorizeRequest()
			request.Request, request.ResponseTypes = *r, fosite.Arguments{"code"}
			request.RedirectURI = &url.URL{Scheme: "https", Host: "client.example", Path: "/cb"}
			return s.CreatePARSession(ctx, key, request)
		},
		func(ctx context.Context, key string, _ fosite.Session) error {
			_, err := s.GetPARSession(ctx, key)
			return err
		},
	}
}

// revokeRow checks that the grants of one client go, and those of another stay.
func revokeRow[T any](o Options, name, needs string, kind func(T) grantKind) Row {
	return Row{
		Name: "revoke/" + name, Needs: "dcr.GrantRevoker and " + needs, Says: saysRevoked,
		Why: "What a deleted client was granted stays in the storage, or another client loses what it was granted.",
		Check: needing(func(b *bench, grants dcr.GrantRevoker) error {
			kept, ok := b.s.(T)
			if !ok {
				return notImplemented[T]()
			}
			return b.revokes(grants, kind(kept), o)
		}),
	}
}

func (b *bench) revokes(grants dcr.GrantRevoker, kind grantKind, o Options) error {
	var clients [2]*dcr.Client
	var keys [2][]string
	for i := range clients {
		c, err := b.add(sample(label(i)))
		if err != nil {
			return err
		}
		clients[i], keys[i] = c, []string{newSignature(), newSignature()}
		for _, key := range keys[i] {
			if err := kind.create(b.ctx, key, o.request(c)); err != nil {
				return fmt.Errorf("storing a grant: %w", err)
			}
		}
	}
	if err := b.revoke(grants, clients[0].ID); err != nil {
		return err
	}
	for i, key := range keys[0] {
		if err := kind.get(b.ctx, key, o.NewSession()); !dead(err) {
			return expect(fmt.Sprintf("reading the grant %q of a client whose grants were revoked", key), err, fosite.ErrNotFound)
		}
		if err := kind.get(b.ctx, keys[1][i], o.NewSession()); err != nil {
			return fmt.Errorf("reading the grant %q of another client: %w", keys[1][i], err)
		}
	}
	return nil
}

// dead reports whether the error is one that fosite takes for a grant which is over.
func dead(err error) bool {
	return errors.Is(err, fosite.ErrNotFound) || errors.Is(err, fosite.ErrInactiveToken) ||
		errors.Is(err, fosite.ErrInvalidatedAuthorizeCode)
}
