package storage_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// BenchmarkMemoryStoreList shows what an operator's first page and a consent page's count
// of a name cost in a store that is full: a walk and a look-up.
func BenchmarkMemoryStoreList(b *testing.B) {
	const clients = 100_000
	s := dcr.NewMemoryStore()
	for i := range clients {
		c := &dcr.Client{ID: fmt.Sprint(i), Issuer: "https://as.example", Version: 1, CreatedAt: dcrtest.ClockStart.Add(time.Duration(i) * time.Second)}
		c.Metadata.ClientName = fmt.Sprint("Client ", i%1000)
		require.NoError(b, s.CreateClient(b.Context(), c))
	}
	b.Run(fmt.Sprintf("first_page/clients=%d", clients), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			page, err := s.ListClients(b.Context(), dcr.ClientFilter{Issuer: "https://as.example"}, dcr.ClientCursor{}, 50)
			if err != nil || len(page) != 50 {
				b.Fatal(len(page), err)
			}
		}
	})
	b.Run(fmt.Sprintf("count_by_name/clients=%d", clients), func(b *testing.B) {
		b.ReportAllocs()
		filter := dcr.ClientFilter{Issuer: "https://as.example", NameKey: "client 7"}
		for b.Loop() {
			if n, err := s.CountClients(b.Context(), filter, 1000); err != nil || n != clients/1000 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkMemoryStoreSweep shows what a sweep costs that removes 230,000 of 500,000 clients, in its batches.
func BenchmarkMemoryStoreSweep(b *testing.B) {
	const clients, expired, batch = 500_000, 230_000, 500
	for b.Loop() {
		b.StopTimer()
		s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: clients}))
		for i := range clients {
			c := &dcr.Client{ID: fmt.Sprint(i), Version: 1}
			if i < expired {
				c.UnusedUntil = dcrtest.ClockStart
			}
			require.NoError(b, s.CreateClient(b.Context(), c))
		}
		b.StartTimer()
		before, removed, now := cpuTime(), 0, dcr.Expiry{Now: dcrtest.ClockStart.Add(time.Hour)}
		for found := batch; found == batch; {
			gone, err := s.DeleteExpiredClients(b.Context(), now, batch)
			require.NoError(b, err)
			found = len(gone)
			removed += found
		}
		b.ReportMetric((cpuTime() - before).Seconds(), "cpu-s/sweep")
		require.Equal(b, expired, removed)
	}
}
