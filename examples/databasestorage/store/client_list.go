package store

import (
	"context"
	"strings"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// ListClients returns the clients that match, those registered last first, and no more than limit. It
// begins after the client that the cursor names.
func (s *Store) ListClients(ctx context.Context, filter dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
	where := conditionsOf(filter)
	if from.ID != "" {
		where.add(`(created_at, id) < (?, ?)`, nanoseconds(from.CreatedAt), from.ID)
	}
	rows, err := s.db.QueryContext(ctx, `SELECT record, last_used_at, keep_until FROM clients WHERE `+where.text()+`
		ORDER BY created_at DESC, id DESC LIMIT ?`, append(where.args, max(limit, 0))...)
	if err != nil {
		return nil, explained(ctx, err)
	}
	clients, err := scanClients(rows)
	if err != nil {
		return nil, explained(ctx, err)
	}
	return clients, nil
}

// CountClients returns how many clients match, and most where there are more.
func (s *Store) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error) {
	where := conditionsOf(filter)
	var number int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM clients WHERE `+where.text()+` LIMIT ?)`,
		append(where.args, max(most, 0))...).Scan(&number)
	return number, explained(ctx, err)
}

// conditions is a WHERE clause that is built part by part.
type conditions struct {
	parts []string
	args  []any
}

// add adds a condition, with the values of its placeholders.
func (c *conditions) add(part string, args ...any) {
	c.parts = append(c.parts, "("+part+")")
	c.args = append(c.args, args...)
}

// equal adds the condition that a column has a value. The empty value means no condition.
func (c *conditions) equal(column, value string) {
	if value != "" {
		// The second condition makes SQLite use the partial index with that condition.
		c.add(column+` = ? AND `+column+` <> ''`, value)
	}
}

// text returns the clause.
func (c *conditions) text() string {
	if len(c.parts) == 0 {
		return "true"
	}
	return strings.Join(c.parts, " AND ")
}

// conditionsOf says in SQL what dcr.ClientFilter.Matches says in Go.
func conditionsOf(f dcr.ClientFilter) *conditions {
	where := new(conditions)
	where.equal("issuer", f.Issuer)
	where.equal("kind", f.Kind)
	where.equal("subject", f.Subject)
	where.equal("initial_access_token", f.InitialAccessToken)
	where.equal("software_id", f.SoftwareID)
	where.equal("name_key", f.NameKey)
	if f.NeverUsed {
		where.add(`last_used_at IS NULL`)
	}
	if !f.ExpiringBefore.IsZero() {
		end := nanoseconds(f.ExpiringBefore)
		where.add(`expires_at < ? OR last_used_at IS NULL AND unused_until < ?`, end, end)
	}
	if f.RedirectHost != "" {
		where.add(`EXISTS (SELECT 1 FROM json_each(redirect_hosts) WHERE value = ?)`, f.RedirectHost)
	}
	if f.Search != "" {
		// instr compares its argument as it is, where LIKE would read "%" and "_" as patterns. An
		// empty key would be part of every name.
		key := dcr.NameKey(f.Search)
		where.add(`id = ? OR ? <> '' AND instr(name_key, ?) > 0`, f.Search, key, key)
	}
	if !f.CreatedFrom.IsZero() {
		where.add(`created_at >= ?`, nanoseconds(f.CreatedFrom))
	}
	if !f.CreatedBefore.IsZero() {
		where.add(`created_at < ?`, nanoseconds(f.CreatedBefore))
	}
	return where
}
