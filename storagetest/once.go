package storagetest

import (
	"errors"
	"fmt"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysUsedOnce = "A refresh token, a code and a pushed request are used once: of several calls at once of RotateRefreshToken, " +
		"InvalidateAuthorizeCodeSession and DeletePARSession exactly one succeeds."
	saysGrace     = "With a grace a refresh token may be used so many times more, unless its grant was revoked, and each pair of tokens goes its own way."
	saysStaysUsed = "A refresh token or a code that was used stays known as used, though DeleteRefreshTokenSession is called for it or it is written again."
)

// onceRows are about what may be used once. The interfaces are fosite's.
func onceRows(o Options) []Row {
	return group("", "create/read_back", []Row{
		{Name: "once/refresh_token", Needs: "oauth2.RefreshTokenStorage", Check: repeated(o.once(rotations)), Says: saysUsedOnce,
			Why: "Two requests with one refresh token both get tokens: whoever stole it is not noticed."},
		{Name: "once/code", Needs: "oauth2.AuthorizeCodeStorage", Check: repeated(o.once(redemptions)), Says: saysUsedOnce,
			Why: "Two requests with one code both get tokens: whoever stole it is not noticed."},
		{Name: "once/pushed_request", Needs: "fosite.PARStorage", Check: repeated(o.once(pickUps)), Says: saysUsedOnce,
			Why: "One pushed request leads to several authorizations."},
		{Name: "once/refresh_grace", Needs: "Options.Grace and oauth2.TokenRevocationStorage", After: "once/refresh_token", Check: o.grace(graceUses), Says: saysGrace,
			Why: "A client that lost an answer has to ask its user again, or a refresh token works for ever."},
		{Name: "once/refresh_grace_revoked", Needs: "Options.Grace and oauth2.TokenRevocationStorage", After: "once/refresh_token", Check: o.grace(graceRevoked), Says: saysGrace,
			Why: "A grant that was revoked comes back to life."},
		{Name: "used/refresh_token", Needs: "oauth2.RefreshTokenStorage", Check: o.used(rotations), Says: saysStaysUsed,
			Why: "A stolen refresh token is used during a refresh, and when it is used again nobody notices: the thief keeps what he got."},
		{Name: "used/code", Needs: "oauth2.AuthorizeCodeStorage", Check: o.used(redemptions), Says: saysStaysUsed,
			Why: "A code is redeemed twice."},
	})
}

// usable is something that may be used once.
type usable struct {
	grantKind
	name string
	used error // what reading a used one returns
	use  func(b *bench, key string, r *fosite.Request) error
	drop func(b *bench, key string) error // nil where nothing is dropped
}

func rotations(s Storage) (usable, error) {
	tokens, ok := s.(oauth2.RefreshTokenStorage)
	if !ok {
		return usable{}, notImplemented[oauth2.RefreshTokenStorage]()
	}
	return usable{
		refreshTokens(tokens), "RotateRefreshToken", fosite.ErrInactiveToken,
		func(b *bench, key string, r *fosite.Request) error {
			return tokens.RotateRefreshToken(b.ctx, r.ID, key)
		},
		func(b *bench, key string) error { return tokens.DeleteRefreshTokenSession(b.ctx, key) },
	}, nil
}

func redemptions(s Storage) (usable, error) {
	kept, ok := s.(oauth2.AuthorizeCodeStorage)
	if !ok {
		return usable{}, notImplemented[oauth2.AuthorizeCodeStorage]()
	}
	return usable{
		codes(kept), "InvalidateAuthorizeCodeSession", fosite.ErrInvalidatedAuthorizeCode,
		func(b *bench, key string, _ *fosite.Request) error {
			return kept.InvalidateAuthorizeCodeSession(b.ctx, key)
		}, nil,
	}, nil
}

func pickUps(s Storage) (usable, error) {
	kept, ok := s.(fosite.PARStorage)
	if !ok {
		return usable{}, notImplemented[fosite.PARStorage]()
	}
	return usable{
		pushedRequests(kept), "DeletePARSession", fosite.ErrNotFound,
		func(b *bench, key string, _ *fosite.Request) error { return kept.DeletePARSession(b.ctx, key) }, nil,
	}, nil
}

// stored stores one for a new client.
func (o Options) stored(b *bench, kind usable) (key string, request *fosite.Request, err error) {
	c, err := b.add(sample("first"))
	if err != nil {
		return "", nil, err
	}
	key, request = newSignature(), o.request(c)
	if err := kind.create(b.ctx, key, request); err != nil {
		return "", nil, fmt.Errorf("storing what %s uses: %w", kind.name, err)
	}
	return key, request, nil
}

// once uses one in several calls at once.
func (o Options) once(of func(Storage) (usable, error)) check {
	return on(func(b *bench) error {
		kind, err := of(b.s)
		if err != nil {
			return err
		}
		key, request, err := o.stored(b, kind)
		if err != nil {
			return err
		}
		succeeded := 0
		for _, err := range atOnce(callers, func(int) error { return kind.use(b, key, request) }) {
			if err == nil {
				succeeded++
			} else if !errors.Is(err, kind.used) && !errors.Is(err, fosite.ErrNotFound) && !errors.Is(err, fosite.ErrSerializationFailure) {
				return expect(kind.name+", several at once", err, kind.used)
			}
		}
		if succeeded != 1 {
			return fmt.Errorf("%s, %d at once: it succeeded %d times", kind.name, callers, succeeded)
		}
		return nil
	})
}

// used uses one, has it dropped and written again, and reads it after each.
func (o Options) used(of func(Storage) (usable, error)) check {
	return on(func(b *bench) error {
		kind, err := of(b.s)
		if err != nil {
			return err
		}
		key, request, err := o.stored(b, kind)
		if err != nil {
			return err
		}
		if err := kind.use(b, key, request); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		known := func(after string) error {
			return expect("reading what was used, after "+after, kind.get(b.ctx, key, o.NewSession()), kind.used)
		}
		if err := known("its use"); err != nil {
			return err
		}
		if kind.drop != nil {
			if err := kind.drop(b, key); err != nil && !errors.Is(err, fosite.ErrNotFound) {
				return fmt.Errorf("deleting what was used: %w", err)
			}
			if err := known("its deletion"); err != nil {
				return err
			}
		}
		// An error is as good: it is not written then.
		_ = kind.create(b.ctx, key, o.request(&dcr.Client{ID: request.Client.GetID()}))
		return known("it was written again")
	})
}

// graced is what rows about a grace work with: a grant whose first refresh token was used.
type graced struct {
	*bench
	tokens oauth2.TokenRevocationStorage
	grant  *fosite.Request
	o      Options
}

// moreUses is how often a refresh token of these rows may be used again.
const moreUses = 2

func (o Options) grace(do func(g *graced) error) check {
	return on(func(b *bench) error {
		if o.Grace == nil {
			return notSet("Grace")
		}
		s, err := o.Grace(b.ctx, b.s, moreUses)
		if err != nil {
			return fmt.Errorf("the option Grace: %w", err)
		}
		tokens, ok := s.(oauth2.TokenRevocationStorage)
		if !ok {
			return notImplemented[oauth2.TokenRevocationStorage]()
		}
		g := &graced{bench: &bench{b.ctx, s}, tokens: tokens, o: o}
		c, err := g.add(sample("first"))
		if err != nil {
			return err
		}
		g.grant = o.request(c)
		if err := g.pair("first"); err != nil {
			return err
		}
		if err := g.rotate("first", nil); err != nil {
			return err
		}
		return do(g)
	})
}

// pair stores a pair of tokens.
func (g *graced) pair(name string) error {
	if err := g.tokens.CreateAccessTokenSession(g.ctx, g.key("access", name), g.grant); err != nil {
		return fmt.Errorf("CreateAccessTokenSession: %w", err)
	}
	if err := g.tokens.CreateRefreshTokenSession(g.ctx, g.key("refresh", name), g.key("access", name), g.grant); err != nil {
		return fmt.Errorf("CreateRefreshTokenSession: %w", err)
	}
	return nil
}

func (g *graced) key(kind, name string) string { return kind + "-" + name + "-" + g.grant.ID }

func (g *graced) rotate(name string, want error) error {
	return expect("RotateRefreshToken of the token "+name, g.tokens.RotateRefreshToken(g.ctx, g.grant.ID, g.key("refresh", name)), want)
}

// reads checks what reading a refresh token and its access token returns.
func (g *graced) reads(name string, refresh, access error) error {
	_, err := g.tokens.GetRefreshTokenSession(g.ctx, g.key("refresh", name), g.o.NewSession())
	if err := expect("reading the refresh token "+name, err, refresh); err != nil {
		return err
	}
	_, err = g.tokens.GetAccessTokenSession(g.ctx, g.key("access", name), g.o.NewSession())
	return expect("reading the access token "+name, err, access)
}

func graceUses(g *graced) error {
	if err := g.reads("first", nil, fosite.ErrNotFound); err != nil {
		return err
	}
	for i := range moreUses {
		if err := g.pair(label(i)); err != nil {
			return err
		}
		if err := g.rotate("first", nil); err != nil {
			return err
		}
	}
	if err := errors.Join(g.rotate("first", fosite.ErrInactiveToken), g.reads("first", fosite.ErrInactiveToken, fosite.ErrNotFound)); err != nil {
		return fmt.Errorf("after %d uses more: %w", moreUses, err)
	}
	if err := errors.Join(g.rotate(label(0), nil), g.reads(label(1), nil, nil)); err != nil {
		return fmt.Errorf("a pair of tokens beside one that was rotated: %w", err)
	}
	return nil
}

func graceRevoked(g *graced) error {
	if err := g.tokens.RevokeRefreshToken(g.ctx, g.grant.ID); err != nil {
		return fmt.Errorf("RevokeRefreshToken: %w", err)
	}
	return errors.Join(g.reads("first", fosite.ErrInactiveToken, fosite.ErrNotFound), g.rotate("first", fosite.ErrInactiveToken))
}
