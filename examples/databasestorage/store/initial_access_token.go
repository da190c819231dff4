package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// CreateInitialAccessToken stores a new record. It returns dcr.ErrClientExists where the identifier
// is taken.
func (s *Store) CreateInitialAccessToken(ctx context.Context, token *dcr.InitialAccessToken) error {
	record, err := json.Marshal(token)
	if err != nil {
		return err
	}
	created, err := s.exec(ctx, `INSERT INTO initial_access_tokens (id, record, uses, max_uses, expires_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		token.ID, string(record), token.Uses, token.MaxUses, orNull(token.ExpiresAt))
	if err == nil && created == 0 {
		return dcr.ErrClientExists
	}
	return err
}

// GetInitialAccessToken returns a record, or fosite.ErrNotFound.
func (s *Store) GetInitialAccessToken(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
	row := s.db.QueryRowContext(ctx, `SELECT record, uses FROM initial_access_tokens WHERE id = $1`, id)
	token, err := scanInitialAccessToken(row)
	return token, explained(ctx, err)
}

// scanInitialAccessToken reads a record. The column of uses counts in place of its JSON.
func scanInitialAccessToken(row interface{ Scan(...any) error }) (*dcr.InitialAccessToken, error) {
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

// UseInitialAccessToken counts a use. Where none remains, or the token has expired, it returns
// dcr.ErrExhausted.
func (s *Store) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	used, err := s.exec(ctx, `UPDATE initial_access_tokens SET uses = uses + 1
		WHERE id = $1 AND (max_uses = 0 OR uses < max_uses) AND (expires_at IS NULL OR expires_at > $2)`, id, nanoseconds(now))
	if err != nil || used > 0 {
		return err
	}
	found, err := s.exists(ctx, `SELECT 1 FROM initial_access_tokens WHERE id = $1`, id)
	switch {
	case err != nil:
		return err
	case found:
		return dcr.ErrExhausted
	}
	return fosite.ErrNotFound
}

// ReturnInitialAccessToken gives a use back, after a registration that failed.
func (s *Store) ReturnInitialAccessToken(ctx context.Context, id string) error {
	_, err := s.exec(ctx, `UPDATE initial_access_tokens SET uses = uses - 1 WHERE id = $1 AND uses > 0`, id)
	return err
}

// DeleteInitialAccessToken removes a record. It returns fosite.ErrNotFound where there is none.
func (s *Store) DeleteInitialAccessToken(ctx context.Context, id string) error {
	return missing(s.exec(ctx, `DELETE FROM initial_access_tokens WHERE id = $1`, id))
}

// ListInitialAccessTokens returns records in the order of their identifiers, from the one after the
// given identifier, and no more than limit.
func (s *Store) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT record, uses FROM initial_access_tokens WHERE id > $1 ORDER BY id LIMIT $2`,
		after, max(limit, 0))
	if err != nil {
		return nil, explained(ctx, err)
	}
	defer func() { _ = rows.Close() }()
	var tokens []*dcr.InitialAccessToken
	for rows.Next() {
		token, err := scanInitialAccessToken(rows)
		if err != nil {
			return nil, explained(ctx, err)
		}
		tokens = append(tokens, token)
	}
	if err := rows.Err(); err != nil {
		return nil, explained(ctx, err)
	}
	return tokens, nil
}
