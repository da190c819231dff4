package main

import (
	"context"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var _ dcr.ClientStorage = (*Storage)(nil)

// CreateClient is the first of the four methods that registration needs. Our own
// applications count as taken.
func (s *Storage) CreateClient(ctx context.Context, client *dcr.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.applications[client.ID] != nil || s.registered[client.ID] != nil {
		return dcr.ErrClientExists
	}
	s.registered[client.ID] = client.Clone()
	return nil
}

// GetDynamicClient knows registered clients only, not our own applications.
func (s *Storage) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	client, ok := s.registered[id]
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return client.Clone(), nil
}

// UpdateClient replaces a record if nobody else did since it was read.
func (s *Storage) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.registered[client.ID]
	switch {
	case !ok:
		return fosite.ErrNotFound
	case stored.Version != version:
		return dcr.ErrConflict
	}
	next := client.Clone()
	next.LastUsedAt = later(next.LastUsedAt, stored.LastUsedAt)
	next.KeepUntil = later(next.KeepUntil, stored.KeepUntil)
	s.registered[client.ID] = next
	return nil
}

// DeleteClient removes a record. The tokens of the client are dead from then on.
func (s *Storage) DeleteClient(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registered[id] == nil {
		return fosite.ErrNotFound
	}
	delete(s.registered, id)
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
