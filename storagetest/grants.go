package storagetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// grantRows are about dcr.GrantRevoker, for each kind of grant that the storage keeps.
func grantRows(o Options) []Row {
	return []Row{
		{Name: "revoke/unknown", Needs: "dcr.GrantRevoker", Why: "The deletion of a client that was granted nothing is reported as a failure.",
			Check: needing(revokeUnknown)},
		{Name: "context/revoke", Needs: "dcr.GrantRevoker", Why: whyContext, Check: needing(contextRevoke)},
		revokeRow(o, "access_tokens", "oauth2.AccessTokenStorage", accessTokens),
		revokeRow(o, "refresh_tokens", "oauth2.RefreshTokenStorage", refreshTokens),
		revokeRow(o, "codes", "oauth2.AuthorizeCodeStorage", codes),
		revokeRow(o, "pkce_sessions", "pkce.PKCERequestStorage", pkceSessions),
		revokeRow(o, "openid_sessions", "openid.OpenIDConnectRequestStorage", openIDSessions),
		revokeRow(o, "pushed_requests", "fosite.PARStorage", pushedRequests),
	}
}

func revokeUnknown(ctx context.Context, _ Storage, grants dcr.GrantRevoker) error {
	if err := grants.RevokeClientGrants(ctx, newID()); err != nil {
		return fmt.Errorf("RevokeClientGrants of an unknown client: %w", err)
	}
	return nil
}

func contextRevoke(ctx context.Context, _ Storage, grants dcr.GrantRevoker) error {
	return ended(ctx, func(over context.Context) error {
		return expectEnd("RevokeClientGrants", over, grants.RevokeClientGrants(over, newID()))
	})
}

// grantKind stores and looks up one kind of grant.
type grantKind struct {
	create func(ctx context.Context, key string, r *fosite.Request) error
	get    func(ctx context.Context, key string, session fosite.Session) error
}

func accessTokens(s oauth2.AccessTokenStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			return s.CreateAccessTokenSession(ctx, key, r)
		},
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := s.GetAccessTokenSession(ctx, key, session)
			return err
		},
	}
}

func refreshTokens(s oauth2.RefreshTokenStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			return s.CreateRefreshTokenSession(ctx, key, newSignature(), r)
		},
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := s.GetRefreshTokenSession(ctx, key, session)
			return err
		},
	}
}

func codes(s oauth2.AuthorizeCodeStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			return s.CreateAuthorizeCodeSession(ctx, key, r)
		},
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := s.GetAuthorizeCodeSession(ctx, key, session)
			return err
		},
	}
}

func pkceSessions(s pkce.PKCERequestStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			return s.CreatePKCERequestSession(ctx, key, r)
		},
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := s.GetPKCERequestSession(ctx, key, session)
			return err
		},
	}
}

func openIDSessions(s openid.OpenIDConnectRequestStorage) grantKind {
	return grantKind{
		func(ctx context.Context, key string, r *fosite.Request) error {
			return s.CreateOpenIDConnectSession(ctx, key, r)
		},
		func(ctx context.Context, key string, session fosite.Session) error {
			_, err := s.GetOpenIDConnectSession(ctx, key, &fosite.Request{Session: session})
			return err
		},
	}
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
		Name: "revoke/" + name, Needs: "dcr.GrantRevoker and " + needs,
		Why: "What a deleted client was granted stays in the storage, or another client loses what it was granted.",
		Check: needing(func(ctx context.Context, s Storage, grants dcr.GrantRevoker) error {
			kept, ok := s.(T)
			if !ok {
				return ErrNotRun
			}
			return checkRevoke(ctx, s, grants, kind(kept), o)
		}),
	}
}

func checkRevoke(ctx context.Context, s Storage, grants dcr.GrantRevoker, kind grantKind, o Options) error {
	var clients [2]*dcr.Client
	var keys [2][]string
	for i := range clients {
		c, err := created(ctx, s, sample(label(i)))
		if err != nil {
			return err
		}
		clients[i], keys[i] = c, []string{newSignature(), newSignature(), newKey()}
		for _, key := range keys[i] {
			if err := kind.create(ctx, key, o.request(c)); err != nil {
				return fmt.Errorf("storing a grant: %w", err)
			}
		}
	}
	if err := grants.RevokeClientGrants(ctx, clients[0].ID); err != nil {
		return fmt.Errorf("RevokeClientGrants: %w", err)
	}
	for i, key := range keys[0] {
		if err := kind.get(ctx, key, o.NewSession()); !dead(err) {
			return expect(fmt.Sprintf("reading grant %d of a client whose grants were revoked", i), err, fosite.ErrNotFound)
		}
		if err := kind.get(ctx, keys[1][i], o.NewSession()); err != nil {
			return fmt.Errorf("reading grant %d of another client: %w", i, err)
		}
	}
	return nil
}

// dead reports whether the error is one that fosite takes for a grant which is over.
func dead(err error) bool {
	return errors.Is(err, fosite.ErrNotFound) || errors.Is(err, fosite.ErrInactiveToken) ||
		errors.Is(err, fosite.ErrInvalidatedAuthorizeCode)
}

// assertionRows are about the identifiers of client assertions.
var assertionRows = []Row{
	{Name: "assertion/unknown", Check: assertionUnknown,
		Why: "A client that authenticates with its key is refused."},
	{Name: "assertion/known", Check: assertionKnown,
		Why: "Whoever overhears a client assertion authenticates with it, too."},
	{Name: "assertion/expired", Check: assertionExpired,
		Why: "Identifiers of assertions are kept for ever."},
	{Name: "race/assertion", Check: repeated(raceAssertion),
		Why: "Whoever overhears a client assertion and is fast authenticates with it, too."},
}

func assertionUnknown(ctx context.Context, s Storage) error {
	if err := s.ClientAssertionJWTValid(ctx, newID()); err != nil {
		return fmt.Errorf("ClientAssertionJWTValid of an unknown identifier: %w", err)
	}
	return nil
}

func assertionKnown(ctx context.Context, s Storage) error {
	jti, expires := newID(), time.Now().Add(time.Hour)
	if err := s.SetClientAssertionJWT(ctx, jti, expires); err != nil {
		return fmt.Errorf("SetClientAssertionJWT: %w", err)
	}
	for range 3 {
		if err := s.SetClientAssertionJWT(ctx, newID(), expires.Add(time.Hour)); err != nil {
			return fmt.Errorf("SetClientAssertionJWT: %w", err)
		}
	}
	if err := expect("ClientAssertionJWTValid of a known identifier", s.ClientAssertionJWTValid(ctx, jti), fosite.ErrJTIKnown); err != nil {
		return err
	}
	return expect("SetClientAssertionJWT of a known identifier", s.SetClientAssertionJWT(ctx, jti, expires), fosite.ErrJTIKnown)
}

func assertionExpired(ctx context.Context, s Storage) error {
	jti := newID()
	for range 2 {
		if err := s.SetClientAssertionJWT(ctx, jti, time.Now().Add(-time.Hour)); err != nil {
			return fmt.Errorf("SetClientAssertionJWT of an identifier that has expired: %w", err)
		}
	}
	if err := s.ClientAssertionJWTValid(ctx, jti); err != nil {
		return fmt.Errorf("ClientAssertionJWTValid of an identifier that has expired: %w", err)
	}
	return nil
}

func raceAssertion(ctx context.Context, s Storage) error {
	jti, expires := newID(), time.Now().Add(time.Hour)
	_, err := oneWins("SetClientAssertionJWT", fosite.ErrJTIKnown, func(int) error {
		return s.SetClientAssertionJWT(ctx, jti, expires)
	})
	return err
}
