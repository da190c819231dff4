package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// AddClient adds a static client. Static clients come from the configuration, the same
// on every server, and are in no table. They cannot be changed through registration.
func (s *Store) AddClient(client fosite.Client) { s.static.Store(client.GetID(), client) }

// GetClient returns a static client, or a registered one as a *dcr.Client. For an unknown
// identifier it returns fosite.ErrNotFound.
func (s *Store) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if client, ok := s.static.Load(id); ok {
		return client.(fosite.Client), nil
	}
	client, err := s.GetDynamicClient(ctx, id)
	if err != nil {
		return nil, err // not a nil *dcr.Client, which would be a client
	}
	return client, nil
}

// GetDynamicClient returns the record of a registered client. For any other identifier, also that of
// a static client, it returns fosite.ErrNotFound.
func (s *Store) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	row := s.db.QueryRowContext(ctx, `SELECT record, last_used_at, keep_until FROM clients WHERE id = $1`, id)
	client, err := scanClient(row)
	return client, explained(ctx, err)
}

// scanClient reads a record. The columns that change without the record count in place of its JSON.
func scanClient(row interface{ Scan(...any) error }) (*dcr.Client, error) {
	var record []byte
	var lastUsed, keepUntil sql.NullInt64
	if err := row.Scan(&record, &lastUsed, &keepUntil); err != nil {
		return nil, err
	}
	client := new(dcr.Client)
	if err := json.Unmarshal(record, client); err != nil {
		return nil, err
	}
	client.LastUsedAt, client.KeepUntil = fromColumn(lastUsed), fromColumn(keepUntil)
	return client, nil
}

// CreateClient stores a new record. It returns dcr.ErrClientExists where the identifier is taken, and
// dcr.ErrFull where the table is full.
func (s *Store) CreateClient(ctx context.Context, client *dcr.Client) error {
	values, err := columns(client)
	if err != nil {
		return err
	}
	if _, static := s.static.Load(client.ID); static {
		return dcr.ErrClientExists
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		full, err := s.isFull(ctx, tx, client.ID)
		switch {
		case err != nil:
			return err
		case full:
			return dcr.ErrFull
		}
		return insert(ctx, tx, values)
	})
}

// isFull reports whether there is no room for another client; a taken identifier is an error.
func (s *Store) isFull(ctx context.Context, tx *sql.Tx, id string) (full bool, err error) {
	var taken bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM clients WHERE id = $1), clients >= $2 FROM client_count`,
		id, s.options.MaxClients).Scan(&taken, &full)
	if err == nil && taken {
		err = dcr.ErrClientExists
	}
	return full, err
}

// insert stores a row.
func insert(ctx context.Context, tx *sql.Tx, values []any) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO clients (id, version, record, issuer, kind, subject, initial_access_token,
		software_id, name_key, redirect_hosts, created_at, updated_at, last_used_at, keep_until, unused_until, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`, values...)
	return err
}

// columns returns the values of a row, in the order of the table.
func columns(c *dcr.Client) ([]any, error) {
	record, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	hosts, err := json.Marshal(append([]string{}, c.RedirectHosts()...)) // an empty list is [], not null
	if err != nil {
		return nil, err
	}
	return []any{
		c.ID, c.Version, string(record), c.Issuer, c.Origin.Kind, c.Origin.Subject, c.Origin.InitialAccessToken,
		c.Metadata.SoftwareID, c.NameKey(), string(hosts), nanoseconds(c.CreatedAt), nanoseconds(c.UpdatedAt),
		orNull(c.LastUsedAt), orNull(c.KeepUntil), orNull(c.UnusedUntil), orNull(c.ExpiresAt),
	}, nil
}

// UpdateClient replaces a record if the stored one still has the version, and returns
// dcr.ErrConflict otherwise, or fosite.ErrNotFound where there is none.
//
// max of SQLite is NULL where one of its arguments is NULL, so coalesce returns the later of two
// times, or the only one.
func (s *Store) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	values, err := columns(client)
	if err != nil {
		return err
	}
	changed, err := s.exec(ctx, `UPDATE clients SET version = $2, record = $3, issuer = $4, kind = $5, subject = $6,
		initial_access_token = $7, software_id = $8, name_key = $9, redirect_hosts = $10, created_at = $11, updated_at = $12,
		last_used_at = coalesce(max(last_used_at, $13), last_used_at, $13),
		keep_until = coalesce(max(keep_until, $14), keep_until, $14),
		unused_until = $15, expires_at = $16
		WHERE id = $1 AND version = $17`, append(values, version)...)
	if err != nil || changed > 0 {
		return err
	}
	// A client that is created or deleted at this moment makes either answer right.
	found, err := s.exists(ctx, `SELECT 1 FROM clients WHERE id = $1`, client.ID)
	switch {
	case err != nil:
		return err
	case found:
		return dcr.ErrConflict
	}
	return fosite.ErrNotFound
}

// DeleteClient removes a record. It returns fosite.ErrNotFound where there is none.
func (s *Store) DeleteClient(ctx context.Context, id string) error {
	return missing(s.exec(ctx, `DELETE FROM clients WHERE id = $1`, id))
}

// missing turns "no row was changed" into fosite.ErrNotFound.
func missing(changed int64, err error) error {
	if err == nil && changed == 0 {
		return fosite.ErrNotFound
	}
	return err
}

// TouchClient records a use of a client. It changes neither the version nor the record.
func (s *Store) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	_, err := s.exec(ctx, `UPDATE clients SET
		last_used_at = coalesce(max(last_used_at, $2), last_used_at, $2),
		keep_until = coalesce(max(keep_until, $3), keep_until, $3)
		WHERE id = $1`, id, orNull(lastUsed), orNull(keepUntil))
	return err
}
