package storage_test

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// waitingRecord was never used, and waits since so many seconds after clockStart.
func waitingRecord(id string, seconds int) *dcr.Client {
	at := dcrtest.ClockStart.Add(time.Duration(seconds) * time.Second)
	return &dcr.Client{ID: id, Version: 1, CreatedAt: at, UpdatedAt: at}
}

// evict makes room in a store, for a client that goes at once.
func evict(t testing.TB, s *dcr.MemoryStore, before time.Time) (id string, err error) {
	c := &dcr.Client{ID: "new " + rand.Text(), Version: 1, LastUsedAt: dcrtest.ClockStart}
	evicted, err := s.CreateClientEvicting(t.Context(), c, before)
	if err != nil {
		return "", err
	}
	if evicted != nil {
		id = evicted.ID
	}
	return id, s.DeleteClient(t.Context(), c.ID)
}

// TestMemoryStoreRoomOrder: of many clients, of which some were used, updated and deleted
// meanwhile, each time the one gives way whose last change lies furthest back (LIFE-02).
func TestMemoryStoreRoomOrder(t *testing.T) {
	t.Parallel()
	const clients = 3000
	s := dcr.NewMemoryStore()
	random := mathrand.New(mathrand.NewPCG(3, 3))
	since, kept := map[string]time.Time{}, map[string]bool{}
	for i, seconds := range random.Perm(clients) {
		c := waitingRecord(strconv.Itoa(i), seconds)
		require.NoError(t, s.CreateClient(t.Context(), c))
		since[c.ID] = c.UpdatedAt
	}
	for i := range clients {
		id := strconv.Itoa(i)
		switch random.IntN(4) {
		case 0:
			require.NoError(t, s.TouchClient(t.Context(), id, dcrtest.ClockStart, time.Time{}))
			kept[id] = true
			delete(since, id)
		case 1:
			c := waitingRecord(id, clients+random.IntN(clients))
			c.Version = 2
			require.NoError(t, s.UpdateClient(t.Context(), c, 1))
			since[id] = c.UpdatedAt
		case 2:
			require.NoError(t, s.DeleteClient(t.Context(), id))
			delete(since, id)
		}
	}
	end := dcrtest.ClockStart.Add(3 * clients * time.Second)
	for last := (time.Time{}); len(since) > 0; {
		id, err := evict(t, s, end)
		require.NoError(t, err)
		require.Contains(t, since, id)
		require.False(t, since[id].Before(last), "LIFE-02: an older one was there")
		last = since[id]
		delete(since, id)
	}
	id, err := evict(t, s, end) // there is room, and nothing to evict
	require.NoError(t, err)
	require.Empty(t, id)
	require.Len(t, allClients(t, s), len(kept), "LIFE-02: those that are used stay")
}

// TestMemoryStoreRoomYoung: what is too young stays, and gives way when its time has come.
func TestMemoryStoreRoomYoung(t *testing.T) {
	t.Parallel()
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 100}))
	for i := range 100 {
		require.NoError(t, s.CreateClient(t.Context(), waitingRecord(strconv.Itoa(i), i)))
	}
	for i := range 100 {
		_, err := evict(t, s, dcrtest.ClockStart.Add(time.Duration(i)*time.Second))
		require.ErrorIs(t, err, dcr.ErrFull)
		id, err := evict(t, s, dcrtest.ClockStart.Add(time.Duration(i)*time.Second+1))
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), id)
		require.NoError(t, s.CreateClient(t.Context(), &dcr.Client{ID: "used " + id, LastUsedAt: dcrtest.ClockStart}))
	}
}

// TestMemoryStoreRoomAtOnce: while many register, use, update and make room, none goes
// twice, and none that was used or updated before it went.
func TestMemoryStoreRoomAtOnce(t *testing.T) {
	t.Parallel()
	const clients, workers = 2000, 6
	s := dcr.NewMemoryStore()
	end := dcrtest.ClockStart.Add(clients * time.Second)
	var mu sync.Mutex
	evicted, used := map[string]int{}, map[string]bool{}
	dcrtest.InParallel(workers, func(g int) {
		random := mathrand.New(mathrand.NewPCG(4, uint64(g)))
		for i := g; i < clients; i += workers {
			id := strconv.Itoa(i)
			if s.CreateClient(t.Context(), waitingRecord(id, random.IntN(clients))) != nil {
				t.Error("CreateClient failed")
			}
			keep := keepOne(t, s, strconv.Itoa(random.IntN(i+1)), end)
			gone, err := evict(t, s, end)
			mu.Lock()
			if keep != "" {
				used[keep] = true
			}
			if err == nil && gone != "" {
				evicted[gone]++
			}
			mu.Unlock()
		}
	})
	for id, times := range evicted {
		require.Equal(t, 1, times, "LIFE-02: %s was returned more than once", id)
		require.False(t, used[id], "LIFE-02: %s was used or updated, and is gone", id)
		_, err := s.GetDynamicClient(t.Context(), id)
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	require.Len(t, allClients(t, s), clients-len(evicted))
}

// keepOne uses or updates a client, so that it stays, and returns its identifier if that
// was in time.
func keepOne(t *testing.T, s *dcr.MemoryStore, id string, end time.Time) string {
	stored, err := s.GetDynamicClient(t.Context(), id)
	if err != nil {
		return ""
	}
	if len(id)%2 == 0 {
		if s.TouchClient(t.Context(), id, end, end) != nil {
			t.Error("TouchClient failed")
		}
		if _, err := s.GetDynamicClient(t.Context(), id); err != nil {
			return ""
		}
		return id
	}
	stored.Version++
	stored.UpdatedAt = end
	if s.UpdateClient(t.Context(), stored, stored.Version-1) != nil {
		return ""
	}
	return id
}

// TestMemoryStoreQueue: what the store remembers of clients that wait does not outgrow the
// clients, whoever comes and goes.
func TestMemoryStoreQueue(t *testing.T) {
	t.Parallel()
	const rounds = 6000
	for name, step := range map[string]func(s *dcr.MemoryStore, i int) error{
		"deleted": func(s *dcr.MemoryStore, i int) error {
			if err := s.CreateClient(t.Context(), waitingRecord(strconv.Itoa(i), i)); err != nil {
				return err
			}
			return s.DeleteClient(t.Context(), strconv.Itoa(i))
		},
		"expired": func(s *dcr.MemoryStore, i int) error {
			c := waitingRecord(strconv.Itoa(i), i)
			c.ExpiresAt = c.CreatedAt
			if err := s.CreateClient(t.Context(), c); err != nil {
				return err
			}
			_, err := s.DeleteExpiredClients(t.Context(), dcr.Expiry{Now: c.ExpiresAt}, 10)
			return err
		},
		"updated": func(s *dcr.MemoryStore, i int) error {
			if i == 0 {
				return s.CreateClient(t.Context(), waitingRecord("a", 0))
			}
			c := waitingRecord("a", i)
			c.Version = int64(i) + 1
			return s.UpdateClient(t.Context(), c, int64(i))
		},
		// As one that many share: it ends, and is registered anew.
		"one_identifier": func(s *dcr.MemoryStore, i int) error {
			if err := s.CreateClient(t.Context(), waitingRecord("a", i)); err != nil {
				return err
			}
			return s.DeleteClient(t.Context(), "a")
		},
		"one_identifier_that_stays": func(s *dcr.MemoryStore, i int) error {
			s.AddClient(waitingRecord("a", i))
			return nil
		},
		"made_room_for": func(s *dcr.MemoryStore, i int) error {
			if err := s.CreateClient(t.Context(), waitingRecord(strconv.Itoa(i), i)); err != nil {
				return err
			}
			_, err := evict(t, s, dcrtest.ClockStart.Add(rounds*time.Second))
			return err
		},
	} {
		t.Run("LIFE-02/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcr.NewMemoryStore()
			for i := range rounds {
				require.NoError(t, step(s, i))
				require.LessOrEqual(t, queued(s), rounds/4, "there is one client at a time")
			}
		})
	}
}

// TestMemoryStoreQueueOfUsed: clients that are used are forgotten by the queue, and those
// that wait are not.
func TestMemoryStoreQueueOfUsed(t *testing.T) {
	t.Parallel()
	s := dcr.NewMemoryStore()
	for i := range 3000 {
		id := fmt.Sprintf("used %d", i)
		require.NoError(t, s.CreateClient(t.Context(), waitingRecord(id, i)))
		require.NoError(t, s.TouchClient(t.Context(), id, dcrtest.ClockStart, dcrtest.ClockStart))
		if i%10 == 0 {
			require.NoError(t, s.CreateClient(t.Context(), waitingRecord(fmt.Sprintf("waiting %d", i), i)))
		}
		require.LessOrEqual(t, queued(s), max(1024, 2*(i+1+i/10+1)))
	}
	for i := 0; i < 3000; i += 10 {
		id, err := evict(t, s, dcrtest.ClockStart.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("waiting %d", i), id)
	}
	require.LessOrEqual(t, queued(s), 3000)
}

// queued returns how many clients the queue of a store holds; nothing may go on in it.
func queued(s *dcr.MemoryStore) int {
	return reflect.ValueOf(s).Elem().FieldByName("waiting").FieldByName("places").Len()
}
