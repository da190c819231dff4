package main

import (
	"context"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var _ dcr.ClientStorage = (*Storage)(nil)

// CreateClient stores a new record. It returns dcr.ErrClientExists where the identifier is taken, by
// one of our own applications too. This is the first of the four methods that registration needs.
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

// GetDynamicClient returns a copy of the record of a registered client. Our own applications are not
// registered clients: for them, as for unknown identifiers, it returns fosite.ErrNotFound.
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

// UpdateClient replaces a record if the stored one still has the version that the caller has read,
// and returns dcr.ErrConflict otherwise. The two times of use never go back: a use may be recorded
// between the read and the update.
func (s *Storage) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := dcr.Replace(s.registered[client.ID], client, version)
	if err == nil {
		s.registered[client.ID] = next
	}
	return err
}

// DeleteClient removes a record. The tokens of the client are refused from then on, since their
// client is not found.
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
