// Package storage_test shows MemoryStore, and what the package asks of a storage: how often, in which order, and what
// happens when it fails. The benchmarks lie here too.
package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(*testing.T) storagetest.Storage {
		return dcr.NewMemoryStore()
	}, storagetest.Options{
		AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
			s.(*dcr.MemoryStore).AddClient(client)
			return nil
		},
		Bounded: func(_ context.Context, _ storagetest.Storage, clients int) (storagetest.Storage, error) {
			return dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: clients})), nil
		},
		Grace: func(_ context.Context, _ storagetest.Storage, uses int) (storagetest.Storage, error) {
			return dcr.NewMemoryStore(dcr.WithMemoryRefreshGrace(time.Hour, uses)), nil
		},
	})
}

// freshRecord is too young to give way to another.
func freshRecord(id string) *dcr.Client { return &dcr.Client{ID: id, CreatedAt: time.Now()} }

func TestMemoryStoreClientLimit(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 2}))
	s.AddClient(&fosite.DefaultClient{ID: "own"})
	require.NoError(t, s.CreateClient(ctx, freshRecord("a")))
	require.NoError(t, s.CreateClient(ctx, freshRecord("b")))
	for range 2 {
		require.ErrorIs(t, s.CreateClient(ctx, freshRecord("c")), dcr.ErrUnavailable)
		require.ErrorIs(t, s.CreateClient(ctx, freshRecord("a")), dcr.ErrClientExists)
		require.ErrorIs(t, s.CreateClient(ctx, freshRecord("own")), dcr.ErrClientExists)
	}
	require.NoError(t, s.DeleteClient(ctx, "a"))
	require.NoError(t, s.CreateClient(ctx, freshRecord("c")))
	require.ErrorIs(t, s.CreateClient(ctx, freshRecord("d")), dcr.ErrUnavailable)
}

// TestMemoryStoreClientLimitAtOnce: the bound holds when many register at once.
func TestMemoryStoreClientLimitAtOnce(t *testing.T) {
	t.Parallel()
	const limit = 50
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: limit}))
	var stored atomic.Int64
	dcrtest.InParallel(8, func(g int) {
		for i := range 20 {
			if s.CreateClient(t.Context(), freshRecord(fmt.Sprintf("%d-%d", g, i))) == nil {
				stored.Add(1)
			}
		}
	})
	require.EqualValues(t, limit, stored.Load())
}

// TestMemoryStoreUpdateAtOnce: of updates with one version exactly one wins, however close
// they come, and none undoes a use that was noted meanwhile.
func TestMemoryStoreUpdateAtOnce(t *testing.T) {
	t.Parallel()
	const callers, versions = 8, 50_000
	s := dcr.NewMemoryStore()
	require.NoError(t, s.CreateClient(t.Context(), freshRecord("a")))
	wins := make([]atomic.Int32, versions)
	var failures, lostUses atomic.Int32
	var over atomic.Bool
	dcrtest.InParallel(callers+1, func(i int) {
		if i == callers {
			lostUses.Store(touchUntil(t.Context(), s, "a", &over))
			return
		}
		defer over.Store(true)
		if err := updateTo(t.Context(), s, "a", wins); err != nil {
			failures.Add(1)
		}
	})
	require.Zero(t, failures.Load(), "an update failed other than for a conflict")
	require.Zero(t, lostUses.Load(), "an update undid the note of a use")
	for version := range wins {
		require.EqualValues(t, 1, wins[version].Load(), "updates that won with version %d", version)
	}
}

// updateTo updates a client, against others who do the same, until it has had every
// version, and counts the updates that won with each.
func updateTo(ctx context.Context, s *dcr.MemoryStore, id string, wins []atomic.Int32) error {
	next := &dcr.Client{ID: id}
	for version := int64(0); version < int64(len(wins)); {
		next.Version = version + 1
		err := s.UpdateClient(ctx, next, version)
		if err == nil {
			wins[version].Add(1)
			version++
			continue
		}
		kept, readErr := s.GetDynamicClient(ctx, id)
		if !errors.Is(err, dcr.ErrConflict) || readErr != nil {
			return errors.Join(err, readErr)
		}
		version = kept.Version
	}
	return nil
}

// touchUntil notes one use after the other and counts those that are not there then.
func touchUntil(ctx context.Context, s *dcr.MemoryStore, id string, over *atomic.Bool) (lost int32) {
	for at := dcrtest.ClockStart; !over.Load(); at = at.Add(time.Second) {
		if s.TouchClient(ctx, id, at, time.Time{}) != nil {
			lost++
		}
		if kept, err := s.GetDynamicClient(ctx, id); err != nil || kept.LastUsedAt.Before(at) {
			lost++
		}
		runtime.Gosched()
	}
	return lost
}

func TestMemoryStoreAddClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}))
	own := &fosite.DefaultClient{ID: "own"}
	s.AddClient(own)
	found, err := s.GetClient(ctx, "own")
	require.NoError(t, err)
	require.Same(t, own, found)

	record := &dcr.Client{ID: "record", Version: 1, CreatedAt: time.Now()}
	s.AddClient(record)
	s.AddClient(record)
	record.Version = 7
	kept, err := s.GetDynamicClient(ctx, "record")
	require.NoError(t, err)
	require.EqualValues(t, 1, kept.Version)
	require.ErrorIs(t, s.CreateClient(ctx, freshRecord("other")), dcr.ErrUnavailable)

	s.AddClient(&fosite.DefaultClient{ID: "record"}) // the operator has the last word
	_, err = s.GetDynamicClient(ctx, "record")
	require.ErrorIs(t, err, fosite.ErrNotFound)
	require.NoError(t, s.CreateClient(ctx, freshRecord("other")))
}

func TestMemoryStoreAssertions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := dcrtest.NewStillClock()
	s := dcr.NewMemoryStore(dcr.WithMemoryClock(clock.Now), dcr.WithMemoryLimits(dcr.MemoryLimits{Assertions: 2}))
	require.NoError(t, s.SetClientAssertionJWT(ctx, "a", clock.Now().Add(time.Minute)))
	require.NoError(t, s.SetClientAssertionJWT(ctx, "b", clock.Now().Add(time.Hour)))
	require.ErrorIs(t, s.SetClientAssertionJWT(ctx, "c", clock.Now().Add(time.Hour)), dcr.ErrUnavailable)
	require.ErrorIs(t, s.ClientAssertionJWTValid(ctx, "a"), fosite.ErrJTIKnown, "nothing gives way")

	clock.Advance(time.Minute + time.Second)
	require.ErrorIs(t, s.ClientAssertionJWTValid(ctx, "a"), fosite.ErrJTIKnown, "fosite accepts an assertion in its last second")
	clock.Advance(time.Minute)
	require.NoError(t, s.ClientAssertionJWTValid(ctx, "a"))
	require.NoError(t, s.SetClientAssertionJWT(ctx, "c", clock.Now().Add(time.Hour)))
	require.ErrorIs(t, s.ClientAssertionJWTValid(ctx, "b"), fosite.ErrJTIKnown)
}

// TestMemoryStoreStress calls all methods at once, for the race detector.
func TestMemoryStoreStress(t *testing.T) {
	t.Parallel()
	clock := dcrtest.NewStillClock()
	s := dcr.NewMemoryStore(dcr.WithMemoryClock(clock.Now),
		dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 6, Tokens: 20, Codes: 10, Assertions: 10}))
	dcrtest.InParallel(8, func(g int) {
		random := rand.New(rand.NewPCG(1, uint64(g)))
		for range 500 {
			stress(t.Context(), s, clock, random)
		}
	})
	// What is there still is whole.
	for i := range 8 {
		if c, err := s.GetDynamicClient(t.Context(), strconv.Itoa(i)); err == nil {
			require.Equal(t, strconv.Itoa(i), c.ID)
		}
	}
}

func stress(ctx context.Context, s *dcr.MemoryStore, clock *dcrtest.StillClock, random *rand.Rand) {
	id, key := strconv.Itoa(random.IntN(8)), strconv.Itoa(random.IntN(16))
	c := &dcr.Client{ID: id, Version: 1, Audience: []string{id}}
	switch random.IntN(8) {
	case 0:
		_ = s.CreateClient(ctx, c)
		s.AddClient(&fosite.DefaultClient{ID: "own " + id})
	case 1:
		if stored, err := s.GetDynamicClient(ctx, id); err == nil {
			stored.Audience[0] = "changed"
			version := stored.Version
			stored.Version++
			_ = s.UpdateClient(ctx, stored, version)
		}
	case 2:
		_ = s.TouchClient(ctx, id, clock.Now(), clock.Now())
		if found, err := s.GetClient(ctx, id); err == nil {
			_ = found.GetAudience().Has(id)
		}
	case 3:
		_ = s.SetClientAssertionJWT(ctx, key, clock.Now().Add(time.Minute))
		_ = s.ClientAssertionJWTValid(ctx, key)
	case 4:
		clock.Advance(10 * time.Second)
		if random.IntN(4) == 0 {
			_ = s.DeleteClient(ctx, id)
			_ = s.RevokeClientGrants(ctx, id)
		}
	default:
		stressGrants(ctx, s, grantOf(c, clock.Now().Add(time.Minute)), key, random)
	}
}

func stressGrants(ctx context.Context, s *dcr.MemoryStore, r *fosite.Request, key string, random *rand.Rand) {
	r.ID = key
	for _, kind := range memoryKinds {
		if random.IntN(2) == 0 {
			_ = kind.create(ctx, s, key, r)
			r.Session.SetExpiresAt(fosite.AccessToken, time.Now())
		}
		if got, err := kind.get(ctx, s, key); err == nil {
			got.GrantScope("changed")
			got.GetSession().SetExpiresAt(fosite.AccessToken, time.Now())
		}
	}
	_ = s.InvalidateAuthorizeCodeSession(ctx, key)
	_ = s.RotateRefreshToken(ctx, key, key)
	_ = s.RevokeRefreshToken(ctx, key)
	_ = s.RevokeAccessToken(ctx, key)
	for _, remove := range []func(context.Context, string) error{
		s.DeleteAccessTokenSession, s.DeleteRefreshTokenSession, s.DeletePKCERequestSession,
		s.DeleteOpenIDConnectSession, s.DeletePARSession,
	} {
		if random.IntN(4) == 0 {
			_ = remove(ctx, key)
		}
	}
}

// BenchmarkMemoryStore shows that a registration costs the same however many clients
// there are. Each round creates and deletes one, so that their number stays.
func BenchmarkMemoryStore(b *testing.B) {
	for _, clients := range []int{1_000, 100_000} {
		s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 2 * clients}))
		for i := range clients {
			if err := s.CreateClient(b.Context(), &dcr.Client{ID: "client " + strconv.Itoa(i), Version: 1}); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("create_and_delete/clients="+strconv.Itoa(clients), func(b *testing.B) {
			b.ReportAllocs()
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c := &dcr.Client{ID: "new " + strconv.FormatInt(n.Add(1), 10), Version: 1}
					if err := errors.Join(s.CreateClient(b.Context(), c), s.DeleteClient(b.Context(), c.ID)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
