package dcr

import (
	"context"
	"slices"
	"strings"
	"sync"
)

var _ ClientLister = (*MemoryStore)(nil)

// memoryCounts counts the clients of each subject, initial access token and name, so that
// quotas and consent pages cost no walk.
type memoryCounts struct {
	mu     sync.Mutex
	number map[countKey]int
}

// countKey is one of the three values under one issuer.
type countKey struct{ issuer, of, value string }

const (
	countSubject = "subject"
	countInitial = "initial access token"
	countName    = "name"
)

// replace counts one record instead of another; either may be nil. Calls for one client may
// come in another order than its changes, so a number may be below zero for a moment.
func (m *memoryCounts) replace(old, record *Client) {
	before, after := countKeys(old), countKeys(record)
	if before == after {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.number == nil {
		m.number = map[countKey]int{}
	}
	m.add(before, -1)
	m.add(after, 1)
}

// countKeys are those of a record, which may be nil.
func countKeys(c *Client) (keys [3]countKey) {
	if c != nil {
		keys[0] = countKey{c.Issuer, countSubject, c.Origin.Subject}
		keys[1] = countKey{c.Issuer, countInitial, c.Origin.InitialAccessToken}
		keys[2] = countKey{c.Issuer, countName, c.NameKey()}
	}
	return keys
}

func (m *memoryCounts) add(keys [3]countKey, step int) {
	for _, key := range keys {
		if key.value == "" {
			continue
		}
		if m.number[key] += step; m.number[key] == 0 {
			delete(m.number, key)
		}
	}
}

// of returns the number of clients that fit, if the filter is for one of the values only.
func (m *memoryCounts) of(f ClientFilter) (number int, counted bool) {
	key := countKey{issuer: f.Issuer}
	switch f {
	case ClientFilter{Issuer: f.Issuer, Subject: f.Subject}:
		key.of, key.value = countSubject, f.Subject
	case ClientFilter{Issuer: f.Issuer, InitialAccessToken: f.InitialAccessToken}:
		key.of, key.value = countInitial, f.InitialAccessToken
	case ClientFilter{Issuer: f.Issuer, NameKey: f.NameKey}:
		key.of, key.value = countName, f.NameKey
	}
	if key.issuer == "" || key.value == "" {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.number[key], 0), true
}

// CountClients counts clients, as ClientLister has it. For one subject, initial access
// token or name it is a look-up, and otherwise a walk.
func (s *MemoryStore) CountClients(ctx context.Context, filter ClientFilter, most int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if number, counted := s.counts.of(filter); counted {
		return min(number, most), nil
	}
	number := 0
	s.clients.Range(func(_, value any) bool {
		if stored, ok := value.(*Client); ok && number < most && filter.Matches(stored) {
			number++
		}
		return number < most && ctx.Err() == nil
	})
	return number, ctx.Err()
}

// ListClients lists clients, as ClientLister has it. It walks over all of them.
func (s *MemoryStore) ListClients(ctx context.Context, filter ClientFilter, from ClientCursor, limit int) ([]*Client, error) {
	var page []*Client
	s.clients.Range(func(_, value any) bool {
		stored, ok := value.(*Client)
		if ok && from.Follows(stored) && filter.Matches(stored) {
			page = append(page, stored)
		}
		if len(page) >= 2*min(limit, 1<<20)+1024 && limit < len(page) {
			page = newest(page, limit)
		}
		return ctx.Err() == nil
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	page = newest(page, limit)
	for i := range page {
		page[i] = page[i].Clone()
	}
	return page, nil
}

// newest returns the first of a list in its order.
func newest(clients []*Client, limit int) []*Client {
	slices.SortFunc(clients, func(a, b *Client) int {
		if order := b.CreatedAt.Compare(a.CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(b.ID, a.ID)
	})
	return clients[:min(len(clients), max(limit, 0))]
}
