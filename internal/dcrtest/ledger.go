package dcrtest

import (
	"context"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Ledger is a MemoryStore that knows what was created in it, and that fails on demand.
type Ledger struct {
	*dcr.MemoryStore
	// BeforeCreate runs before a client is created, which fails with its error.
	BeforeCreate func(*dcr.Client) error
	// BeforeEntry runs before the entry of a token is stored, which fails with its error.
	BeforeEntry func() error
	// BeforeDelete runs before a client is deleted, which fails with its error.
	BeforeDelete func() error

	mu           sync.Mutex
	ids, entries []string
}

// CreateClient keeps the identifier.
func (l *Ledger) CreateClient(ctx context.Context, client *dcr.Client) error {
	if l.BeforeCreate != nil {
		if err := l.BeforeCreate(client); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.ids = append(l.ids, client.ID)
	l.mu.Unlock()
	return l.MemoryStore.CreateClient(ctx, client)
}

// CreateAccessTokenSession keeps the signature.
func (l *Ledger) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	if l.BeforeEntry != nil {
		if err := l.BeforeEntry(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.entries = append(l.entries, signature)
	l.mu.Unlock()
	return l.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

// DeleteClient runs BeforeDelete first.
func (l *Ledger) DeleteClient(ctx context.Context, id string) error {
	if l.BeforeDelete != nil {
		if err := l.BeforeDelete(); err != nil {
			return err
		}
	}
	return l.MemoryStore.DeleteClient(ctx, id)
}

// Live returns the identifiers of the clients that were created and are still there.
func (l *Ledger) Live(t testing.TB) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var live []string
	for _, id := range l.ids {
		_, err := l.GetDynamicClient(context.Background(), id)
		if err == nil {
			live = append(live, id)
			continue
		}
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	return live
}

// LiveEntries counts the entries of tokens that were stored and are still there.
func (l *Ledger) LiveEntries(t testing.TB) int {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	count := 0
	for _, signature := range l.entries {
		_, err := l.GetAccessTokenSession(context.Background(), signature, nil)
		if err == nil {
			count++
			continue
		}
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	return count
}

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger { return &Ledger{MemoryStore: dcr.NewMemoryStore()} }
