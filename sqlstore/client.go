package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// digest is what is stored in place of a text by which rows are found. All digests have one length, whatever the text, and
// are equal only for the same bytes.
func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// digestOrNull is NULL for no text, which is not in an index.
func digestOrNull(text string) []byte {
	if text == "" {
		return nil
	}
	return digest(text)
}

// AddClient adds a static client. Static clients come from the configuration, the same in every process, and are in no
// table. Registration can't change them, and one hides a registered client with its identifier.
func (s *Store) AddClient(client fosite.Client) { s.static.Store(client.GetID(), client) }

func (s *Store) isStatic(id string) bool {
	_, static := s.static.Load(id)
	return static
}

// GetClient returns a static client, or a registered one as a *dcr.Client, and fosite.ErrNotFound for an unknown identifier.
func (s *Store) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if client, static := s.static.Load(id); static {
		return client.(fosite.Client), nil
	}
	client, err := s.GetDynamicClient(ctx, id)
	if err != nil {
		return nil, err // not a nil *dcr.Client, which would be a client
	}
	return client, nil
}

// GetDynamicClient returns the record of a registered client (dcr.ClientStorage).
func (s *Store) GetDynamicClient(ctx context.Context, id string) (client *dcr.Client, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		client, err = scanClient(q.QueryRowContext(ctx, s.sql.GetClient, digest(id)))
		return err
	})
	return client, err
}

// scanClient reads a record.
func scanClient(row interface{ Scan(...any) error }) (*dcr.Client, error) {
	var record []byte
	var lastUsed, keepUntil int64
	if err := row.Scan(&record, &lastUsed, &keepUntil); err != nil {
		return nil, err
	}
	return decodeClient(record, lastUsed, keepUntil)
}

// decodeClient reads a record. The columns that change without the record count in place of its JSON.
func decodeClient(record []byte, lastUsed, keepUntil int64) (*dcr.Client, error) {
	client := new(dcr.Client)
	if err := json.Unmarshal(record, client); err != nil {
		return nil, fmt.Errorf("sqlstore: a stored record: %w", err)
	}
	client.LastUsedAt, client.KeepUntil = fromColumn(lastUsed), fromColumn(keepUntil)
	return client, nil
}

// columns returns the values of a row, in the order of the table.
func columns(c *dcr.Client) ([]any, error) {
	record, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	due := endColumn(c.ExpiresAt)
	if c.LastUsedAt.IsZero() {
		due = min(due, endColumn(c.UnusedUntil))
	}
	return []any{
		digest(c.ID), []byte(c.ID), c.Version, record, digest(c.Issuer), digestOrNull(c.Origin.Subject),
		digestOrNull(c.Origin.InitialAccessToken), digestOrNull(c.NameKey()), []byte(c.Origin.Kind), []byte(c.Metadata.SoftwareID),
		[]byte(c.NameKey()), []byte(line(c.RedirectHosts()...)), nanoseconds(c.CreatedAt), nanoseconds(c.UpdatedAt),
		pastColumn(c.LastUsedAt), pastColumn(c.KeepUntil), endColumn(c.ExpiresAt), due,
	}, nil
}

// line returns texts as lines, in such a way that one line is found by itself.
func line(texts ...string) string { return "\n" + strings.Join(texts, "\n") + "\n" }

// CreateClient stores a new record (dcr.ClientStorage).
func (s *Store) CreateClient(ctx context.Context, client *dcr.Client) error {
	values, err := columns(client)
	if err != nil {
		return err
	}
	if s.isStatic(client.ID) {
		return dcr.ErrClientExists
	}
	return s.atomically(ctx, func(ctx context.Context, q querier) error { return s.insertClient(ctx, q, client.ID, values) })
}

// insertClient creates a client where there is room.
func (s *Store) insertClient(ctx context.Context, q querier, id string, values []any) error {
	created, err := exec(ctx, q, s.sql.CreateClient, append(slices.Clone(values), s.options.MaxClients)...)
	switch {
	case err != nil:
		return err
	case created > 0:
		return s.count(ctx, q, shardOf(digest(id)), 1)
	}
	switch taken, err := has(ctx, q, s.sql.HasClient, digest(id)); {
	case err != nil:
		return err
	case taken:
		return dcr.ErrClientExists
	}
	return dcr.ErrFull
}

// shards is how many numbers the number of clients is the sum of.
const shards = 32

func shardOf(client []byte) int { return int(client[0]) % shards }

// count adds to the number of clients.
func (s *Store) count(ctx context.Context, q querier, shard, number int) error {
	if s.dialect.oneWriter {
		shard = 0
	}
	_, err := q.ExecContext(ctx, s.sql.CountClient, shard, number)
	return err
}

// UpdateClient replaces a record that has the version (dcr.ClientStorage).
func (s *Store) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	values, err := columns(client)
	if err != nil {
		return err
	}
	changed, err := s.change(ctx, s.sql.UpdateClient, append(values, version)...)
	if err != nil || changed > 0 {
		return err
	}
	// A client that is created or deleted at this moment makes either answer right.
	switch found, err := s.find(ctx, s.sql.HasClient, digest(client.ID)); {
	case err != nil:
		return err
	case found:
		return dcr.ErrConflict
	}
	return fosite.ErrNotFound
}

// find reports whether a query has a row.
func (s *Store) find(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) (err error) {
		found, err = has(ctx, q, query, args...)
		return err
	})
	return found, err
}

// TouchClient records a use of a client (dcr.UseRecorder).
func (s *Store) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	_, err := s.change(ctx, s.sql.TouchClient, digest(id), pastColumn(lastUsed), pastColumn(keepUntil))
	return err
}

// DeleteClient removes a record, and in the same transaction ends what the client has (dcr.ClientStorage).
func (s *Store) DeleteClient(ctx context.Context, id string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if err := missing(exec(ctx, q, s.sql.DeleteClient, digest(id))); err != nil {
			return err
		}
		if err := s.removed(ctx, q, digest(id)); err != nil {
			return err
		}
		return s.count(ctx, q, shardOf(digest(id)), -1)
	})
}

// removed ends what a client has that is gone: the package does so, too, but not if the process is killed before.
func (s *Store) removed(ctx context.Context, q querier, client []byte) error {
	if _, err := q.ExecContext(ctx, s.sql.DeleteEntries, client); err != nil {
		return err
	}
	return s.revokeGrants(ctx, q, client, false)
}
