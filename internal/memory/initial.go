package memory

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"
)

// InitialTokenOptions say what records of initial access tokens are. All are required.
type InitialTokenOptions[T any] struct {
	Clone     func(*T) *T // makes a deep copy
	ID        func(*T) string
	Uses      func(*T) *int // how often a token was used
	Usable    func(*T, time.Time) bool
	Taken     error // of an identifier that is taken
	Exhausted error // of a token that can't be used any more
}

// InitialTokens keeps records of initial access tokens by their identifiers, in copies. It is safe for
// many goroutines. A context that is done is an error, and nothing is changed then.
type InitialTokens[T any] struct {
	records *Records[T]
	options InitialTokenOptions[T]
}

// NewInitialTokens returns an InitialTokens without records.
func NewInitialTokens[T any](o InitialTokenOptions[T]) *InitialTokens[T] {
	return &InitialTokens[T]{records: NewRecords(o.Clone, o.Taken), options: o}
}

// CreateInitialAccessToken stores a record.
func (s *InitialTokens[T]) CreateInitialAccessToken(ctx context.Context, token *T) error {
	return s.records.Add(ctx, s.options.ID(token), token)
}

// GetInitialAccessToken returns a copy of a record, or fosite.ErrNotFound.
func (s *InitialTokens[T]) GetInitialAccessToken(ctx context.Context, id string) (*T, error) {
	return s.records.Get(ctx, id)
}

// UseInitialAccessToken counts a use, if one remains.
func (s *InitialTokens[T]) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	return s.records.Change(ctx, id, func(token *T) error {
		if !s.options.Usable(token, now) {
			return s.options.Exhausted
		}
		*s.options.Uses(token)++
		return nil
	})
}

// ReturnInitialAccessToken takes a use back. An unknown identifier is no error.
func (s *InitialTokens[T]) ReturnInitialAccessToken(ctx context.Context, id string) error {
	err := s.records.Change(ctx, id, func(token *T) error {
		uses := s.options.Uses(token)
		*uses = max(0, *uses-1)
		return nil
	})
	if errors.Is(err, fosite.ErrNotFound) {
		return nil // revoked meanwhile
	}
	return err
}

// DeleteInitialAccessToken removes a record, or returns fosite.ErrNotFound.
func (s *InitialTokens[T]) DeleteInitialAccessToken(ctx context.Context, id string) error {
	return s.records.Delete(ctx, id)
}

// ListInitialAccessTokens returns up to limit records in the order of their identifiers, from the one after
// the given identifier on.
func (s *InitialTokens[T]) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*T, error) {
	return s.records.After(ctx, after, limit)
}
