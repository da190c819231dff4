package memory_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

func TestInvalidateAuthorizeCodeSession(t *testing.T) {
	t.Parallel()
	f := newFixture()
	request := lasting()
	require.ErrorIs(t, f.InvalidateAuthorizeCodeSession(t.Context(), "code"), fosite.ErrNotFound)
	require.NoError(t, f.CreateAuthorizeCodeSession(t.Context(), "code", request))
	count := inParallel(16, func() error { return f.InvalidateAuthorizeCodeSession(t.Context(), "code") })
	require.Equal(t, map[error]int{nil: 1, fosite.ErrInvalidatedAuthorizeCode: 15}, count, "a code is used once")

	got, err := f.GetAuthorizeCodeSession(t.Context(), "code", nil)
	require.ErrorIs(t, err, fosite.ErrInvalidatedAuthorizeCode)
	require.Equal(t, request.ID, got.GetID(), "fosite revokes what was issued for the code")
	f.advance(time.Hour)
	require.ErrorIs(t, f.InvalidateAuthorizeCodeSession(t.Context(), "code"), fosite.ErrNotFound)
}

// grant creates refresh and access tokens of one request, and returns it.
func (f *fixture) grant(t *testing.T, expires time.Time, names ...string) *fosite.Request {
	request := requestOf("client", expires)
	for _, name := range names {
		require.NoError(t, f.CreateRefreshTokenSession(t.Context(), name, name, request))
		require.NoError(t, f.CreateAccessTokenSession(t.Context(), name, request))
	}
	return request
}

// requireTokens compares the tokens of a name with what is wanted of them.
func (f *fixture) requireTokens(t *testing.T, name string, refresh, access error) {
	t.Helper()
	got, err := f.GetRefreshTokenSession(t.Context(), name, nil)
	require.ErrorIs(t, err, refresh, name)
	if refresh == fosite.ErrInactiveToken {
		require.NotNil(t, got, "fosite revokes the grant of a token that is used twice")
	}
	_, err = f.GetAccessTokenSession(t.Context(), name, nil)
	require.ErrorIs(t, err, access, name)
}

func TestRevokeTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name            string
		do              func(f *fixture, id string) error
		refresh, access error
	}{
		{"access", func(f *fixture, id string) error { return f.RevokeAccessToken(context.Background(), id) }, nil, fosite.ErrNotFound},
		{"refresh", func(f *fixture, id string) error { return f.RevokeRefreshToken(context.Background(), id) }, fosite.ErrInactiveToken, nil},
		{"rotate", func(f *fixture, id string) error { return f.RotateRefreshToken(context.Background(), id, "b") }, fosite.ErrInactiveToken, fosite.ErrNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, tokens := range [][]string{{"b"}, {"a", "b"}, {"a", "b", "c"}} {
				f := newFixture()
				id := f.grant(t, start.Add(time.Hour), tokens...).ID
				f.grant(t, start.Add(time.Hour), "other")
				require.NoError(t, row.do(f, id))
				for _, name := range tokens {
					f.requireTokens(t, name, row.refresh, row.access)
				}
				f.requireTokens(t, "other", nil, nil)
			}
		})
	}
	f := newFixture()
	require.NoError(t, f.RevokeAccessToken(t.Context(), "unknown"))
	require.NoError(t, f.RevokeRefreshToken(t.Context(), "unknown"))
	require.ErrorIs(t, f.RotateRefreshToken(t.Context(), "unknown", "unknown"), fosite.ErrNotFound)
}

func TestRotateRefreshTokenAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture()
	request := f.grant(t, start.Add(time.Hour), "a", "b")
	count := inParallel(16, func() error { return f.RotateRefreshToken(t.Context(), request.ID, "a") })
	require.Equal(t, map[error]int{nil: 1, fosite.ErrInactiveToken: 15}, count, "a refresh token is used once")
	f.requireTokens(t, "b", fosite.ErrInactiveToken, fosite.ErrNotFound)
	f.advance(time.Hour)
	require.ErrorIs(t, f.RotateRefreshToken(t.Context(), request.ID, "a"), fosite.ErrNotFound)
}

// TestInactiveToken: a token that never expires is remembered for 30 days once it is
// inactive, however often it is revoked. One that expires is until then.
func TestInactiveToken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		expires time.Time
		stays   time.Duration
	}{
		{"never_expires", time.Time{}, 30 * 24 * time.Hour},
		{"soon", start.Add(time.Hour), time.Hour},
		{"late", start.Add(1000 * time.Hour), 1000 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			request := f.grant(t, row.expires, "a", "b")
			f.grant(t, time.Time{}, "other")
			require.NoError(t, f.RotateRefreshToken(t.Context(), request.ID, "a"))
			f.advance(row.stays - time.Nanosecond)
			require.NoError(t, f.RevokeRefreshToken(t.Context(), request.ID))
			f.requireTokens(t, "a", fosite.ErrInactiveToken, fosite.ErrNotFound)
			f.requireTokens(t, "b", fosite.ErrInactiveToken, fosite.ErrNotFound)
			f.advance(time.Nanosecond)
			f.requireTokens(t, "a", fosite.ErrNotFound, fosite.ErrNotFound)
			f.requireTokens(t, "b", fosite.ErrNotFound, fosite.ErrNotFound)
			f.requireTokens(t, "other", nil, nil)
		})
	}
}

func TestRevokeClientGrants(t *testing.T) {
	t.Parallel()
	slim := func(key string) bool { return strings.HasPrefix(key, "spared") }
	for _, row := range []struct {
		name   string
		slim   func(string) bool
		spared []string // that stay, in the table of access tokens
	}{
		{"no_slim", nil, nil},
		{"slim", slim, []string{"spared 1", "spared 2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(func(o *memory.Options) { o.Slim = row.slim })
			f.set("other", &fosite.DefaultClient{ID: "other"})
			for _, k := range kinds {
				for _, key := range []string{"a", "b", "spared 1", "spared 2"} {
					require.NoError(t, k.create(t.Context(), f, key, lasting()))
				}
				require.NoError(t, k.create(t.Context(), f, "other", requestOf("other", start.Add(time.Hour))))
			}
			done, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, f.RevokeClientGrants(done, "client"), context.Canceled)
			require.NoError(t, f.RevokeClientGrants(t.Context(), "unknown"))
			for _, k := range kinds {
				require.Len(t, f.found(t, k, "a", "b", "spared 1", "spared 2", "other"), 5, k.name)
			}
			for range 2 { // there is nothing left to remove for the second time
				require.NoError(t, f.RevokeClientGrants(t.Context(), "client"))
				for _, k := range kinds {
					want := []string{"other"}
					if k.name == "access" {
						want = append(want, row.spared...)
					}
					require.ElementsMatch(t, want, f.found(t, k, "a", "b", "spared 1", "spared 2", "other"), k.name)
				}
			}
		})
	}
}

// found returns those of the keys that are there.
func (f *fixture) found(t *testing.T, k kind, keys ...string) (there []string) {
	for _, key := range keys {
		if _, err := k.get(t.Context(), f, key); err == nil {
			there = append(there, key)
		}
	}
	return there
}

func TestClientAssertions(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) { o.Assertions = 2 })
	ends := start.Add(time.Hour)
	require.NoError(t, f.ClientAssertionJWTValid(t.Context(), "a"))
	require.NoError(t, f.SetClientAssertionJWT(t.Context(), "a", ends))
	require.ErrorIs(t, f.ClientAssertionJWTValid(t.Context(), "a"), fosite.ErrJTIKnown)
	require.ErrorIs(t, f.SetClientAssertionJWT(t.Context(), "a", ends.Add(time.Hour)), fosite.ErrJTIKnown)
	require.NoError(t, f.SetClientAssertionJWT(t.Context(), "b", ends.Add(time.Hour)))
	err := f.SetClientAssertionJWT(t.Context(), "c", ends)
	require.ErrorIs(t, err, errFull, "one that were forgotten early could be replayed")
	require.ErrorContains(t, err, "client assertion")

	f.advance(time.Hour + time.Minute - time.Nanosecond)
	require.ErrorIs(t, f.ClientAssertionJWTValid(t.Context(), "a"), fosite.ErrJTIKnown)
	f.advance(time.Nanosecond)
	require.NoError(t, f.ClientAssertionJWTValid(t.Context(), "a"))
	require.NoError(t, f.SetClientAssertionJWT(t.Context(), "c", f.now()))
}

func TestClientAssertionsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for i := range 20 {
		jti := strconv.Itoa(i)
		count := inParallel(8, func() error { return f.SetClientAssertionJWT(t.Context(), jti, start.Add(time.Hour)) })
		require.Equal(t, map[error]int{nil: 1, fosite.ErrJTIKnown: 7}, count)
	}
}

// tokenModel is a plain list of refresh tokens by key, which TestRandom compares with.
type tokenModel map[string]modelToken

type modelToken struct {
	client, request string
	expires         time.Time
	inactive        bool
}

// each calls do with each token; do may change it, and returns whether it stays.
func (m tokenModel) each(do func(*modelToken) bool) {
	for key, token := range m {
		if do(&token) {
			m[key] = token
		} else {
			delete(m, key)
		}
	}
}

// step changes f and the model in the same way.
func (m tokenModel) step(t *testing.T, f *fixture, random *rand.Rand) {
	key, number := strconv.Itoa(random.IntN(30)), random.IntN(12)
	client, request := "client"+strconv.Itoa(number%4), "request"+strconv.Itoa(number)
	switch random.IntN(10) {
	default:
		created := modelToken{client: client, request: request}
		if random.IntN(2) == 0 {
			created.expires = f.now().Add(time.Duration(1 + random.IntN(100)))
		}
		if !m[key].inactive { // one that was used stays used
			m[key] = created
		}
		require.NoError(t, f.CreateRefreshTokenSession(t.Context(), key, "", &fosite.Request{
			ID: request, Client: &fosite.DefaultClient{ID: client},
			Session: &fosite.DefaultSession{ExpiresAt: map[fosite.TokenType]time.Time{fosite.RefreshToken: created.expires}},
		}))
	case 0:
		require.NoError(t, f.DeleteRefreshTokenSession(t.Context(), key))
		if !m[key].inactive {
			delete(m, key)
		}
	case 1:
		require.NoError(t, f.RevokeRefreshToken(t.Context(), request))
		m.each(func(token *modelToken) bool {
			token.inactive = token.inactive || token.request == request
			return true
		})
	case 2:
		require.NoError(t, f.RevokeClientGrants(t.Context(), client))
		m.each(func(token *modelToken) bool { return token.client != client })
	case 3:
		f.advance(time.Duration(random.IntN(20)))
		m.each(func(token *modelToken) bool { return token.expires.IsZero() || f.now().Before(token.expires) })
	}
}

// TestRandom: whatever is created, removed, revoked and expires, refresh tokens are found as
// in a plain list.
func TestRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 2))
		f := newFixture()
		for i := range 4 {
			f.set("client"+strconv.Itoa(i), &fosite.DefaultClient{ID: "client" + strconv.Itoa(i)})
		}
		model := tokenModel{}
		for range 500 {
			model.step(t, f, random)
			for i := range 30 {
				want, there := model[strconv.Itoa(i)]
				got, err := f.GetRefreshTokenSession(t.Context(), strconv.Itoa(i), nil)
				switch {
				case !there:
					require.ErrorIs(t, err, fosite.ErrNotFound)
					continue
				case want.inactive:
					require.ErrorIs(t, err, fosite.ErrInactiveToken)
				default:
					require.NoError(t, err)
				}
				require.Equal(t, want.request, got.GetID())
				require.Equal(t, want.client, got.GetClient().GetID())
			}
		}
	}
}

// TestAtOnce: every method may be called while any other runs.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) {
		o.Tokens, o.Codes = 20, 20
		o.Slim = func(key string) bool { return key == "key0" }
	})
	count := inParallel(8, func() error {
		for i := range 50 {
			key := "key" + strconv.Itoa(i%30)
			for _, k := range kinds {
				request := requestOf("client", f.now().Add(time.Minute))
				request.ID = "request" + strconv.Itoa(i%7)
				_ = k.create(t.Context(), f, key, request)
				if got, err := k.get(t.Context(), f, key); err == nil && key != "key0" {
					spoil(got)
				}
				if k.delete != nil && i%3 == 0 {
					_ = k.delete(t.Context(), f, key)
				}
			}
			_ = f.InvalidateAuthorizeCodeSession(t.Context(), key)
			_ = f.RotateRefreshToken(t.Context(), "request"+strconv.Itoa(i%7), key)
			_ = f.RevokeRefreshToken(t.Context(), "request"+strconv.Itoa(i%5))
			_ = f.SetClientAssertionJWT(t.Context(), key, f.now())
			_ = f.ClientAssertionJWTValid(t.Context(), key)
			if i%11 == 0 {
				_ = f.RevokeClientGrants(t.Context(), "client")
				f.advance(20 * time.Second)
			}
		}
		return nil
	})
	require.Equal(t, map[error]int{nil: 8}, count)
	f.advance(time.Hour)
	for _, k := range kinds {
		require.Empty(t, f.found(t, k, "key1", "key2", "key3"), k.name)
		require.NoError(t, k.create(t.Context(), f, "new", requestOf("client", f.now().Add(time.Hour))), "the table is sound")
	}
}
