package dcr

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"
)

// memoryInitialTokens are the initial access tokens of a MemoryStore: few, and minted by
// the host, so one lock and a walk do for them.
type memoryInitialTokens struct {
	mu    sync.Mutex
	byKey map[string]*InitialAccessToken
}

var _ InitialAccessTokenStorage = (*MemoryStore)(nil)

// CreateInitialAccessToken stores a record, as InitialAccessTokenStorage has it.
func (s *MemoryStore) CreateInitialAccessToken(ctx context.Context, token *InitialAccessToken) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.initial.mu.Lock()
	defer s.initial.mu.Unlock()
	if s.initial.byKey[token.ID] != nil {
		return ErrClientExists
	}
	if s.initial.byKey == nil {
		s.initial.byKey = map[string]*InitialAccessToken{}
	}
	s.initial.byKey[token.ID] = token.clone()
	return nil
}

// GetInitialAccessToken returns a copy of a record.
func (s *MemoryStore) GetInitialAccessToken(ctx context.Context, id string) (*InitialAccessToken, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.initial.mu.Lock()
	defer s.initial.mu.Unlock()
	token, ok := s.initial.byKey[id]
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return token.clone(), nil
}

// UseInitialAccessToken counts a use, if one remains.
func (s *MemoryStore) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	return s.changeInitialToken(ctx, id, func(token *InitialAccessToken) error {
		if !token.Usable(now) {
			return ErrExhausted
		}
		token.Uses++
		return nil
	})
}

// ReturnInitialAccessToken takes a use back.
func (s *MemoryStore) ReturnInitialAccessToken(ctx context.Context, id string) error {
	err := s.changeInitialToken(ctx, id, func(token *InitialAccessToken) error {
		token.Uses = max(0, token.Uses-1)
		return nil
	})
	if errors.Is(err, fosite.ErrNotFound) {
		return nil // revoked meanwhile
	}
	return err
}

func (s *MemoryStore) changeInitialToken(ctx context.Context, id string, edit func(*InitialAccessToken) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.initial.mu.Lock()
	defer s.initial.mu.Unlock()
	token, ok := s.initial.byKey[id]
	if !ok {
		return fosite.ErrNotFound
	}
	return edit(token)
}

// DeleteInitialAccessToken removes a record.
func (s *MemoryStore) DeleteInitialAccessToken(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.initial.mu.Lock()
	defer s.initial.mu.Unlock()
	if _, ok := s.initial.byKey[id]; !ok {
		return fosite.ErrNotFound
	}
	delete(s.initial.byKey, id)
	return nil
}

// ListInitialAccessTokens returns records in the order of their identifiers.
func (s *MemoryStore) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*InitialAccessToken, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.initial.mu.Lock()
	defer s.initial.mu.Unlock()
	var found []*InitialAccessToken
	for id, token := range s.initial.byKey {
		if id > after {
			found = append(found, token.clone())
		}
	}
	slices.SortFunc(found, func(a, b *InitialAccessToken) int { return strings.Compare(a.ID, b.ID) })
	return found[:min(len(found), max(limit, 0))], nil
}

func (t *InitialAccessToken) clone() *InitialAccessToken {
	c := *t
	c.Hash, c.GrantTypes = slices.Clone(t.Hash), slices.Clone(t.GrantTypes)
	return &c
}
