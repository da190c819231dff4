package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// CreateInitialAccessToken stores a new record (dcr.InitialAccessTokenStorage).
func (s *Store) CreateInitialAccessToken(ctx context.Context, token *dcr.InitialAccessToken) error {
	record, err := json.Marshal(token)
	if err != nil {
		return err
	}
	created, err := s.change(ctx, s.sql.CreateInitial, []byte(token.ID), record, token.Uses, token.MaxUses, endColumn(token.ExpiresAt))
	if err == nil && created == 0 {
		return dcr.ErrClientExists
	}
	return err
}

// GetInitialAccessToken returns a record (dcr.InitialAccessTokenStorage).
func (s *Store) GetInitialAccessToken(ctx context.Context, id string) (token *dcr.InitialAccessToken, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		token, err = scanInitial(q.QueryRowContext(ctx, s.sql.GetInitial, []byte(id)))
		return err
	})
	return token, err
}

// scanInitial reads a record. The column of uses counts in place of its JSON.
func scanInitial(row interface{ Scan(...any) error }) (*dcr.InitialAccessToken, error) {
	var record []byte
	var uses int
	if err := row.Scan(&record, &uses); err != nil {
		return nil, err
	}
	token := new(dcr.InitialAccessToken)
	if err := json.Unmarshal(record, token); err != nil {
		return nil, err
	}
	token.Uses = uses
	return token, nil
}

// UseInitialAccessToken counts a use (dcr.InitialAccessTokenStorage).
func (s *Store) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	used, err := s.change(ctx, s.sql.UseInitial, []byte(id), nanoseconds(now))
	if err != nil || used > 0 {
		return err
	}
	switch found, err := s.find(ctx, s.sql.HasInitial, []byte(id)); {
	case err != nil:
		return err
	case found:
		return dcr.ErrExhausted
	}
	return fosite.ErrNotFound
}

// ReturnInitialAccessToken gives a use back (dcr.InitialAccessTokenStorage).
func (s *Store) ReturnInitialAccessToken(ctx context.Context, id string) error {
	_, err := s.change(ctx, s.sql.ReturnInitial, []byte(id))
	return err
}

// DeleteInitialAccessToken removes a record (dcr.InitialAccessTokenStorage).
func (s *Store) DeleteInitialAccessToken(ctx context.Context, id string) error {
	return missing(s.change(ctx, s.sql.DeleteInitial, []byte(id)))
}

// ListInitialAccessTokens returns records in the order of their identifiers (dcr.InitialAccessTokenStorage).
func (s *Store) ListInitialAccessTokens(ctx context.Context, after string, limit int) (tokens []*dcr.InitialAccessToken, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		tokens = nil
		rows, err := q.QueryContext(ctx, s.sql.ListInitial, []byte(after), max(limit, 0))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			token, err := scanInitial(rows)
			if err != nil {
				return err
			}
			tokens = append(tokens, token)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return tokens, nil
}
