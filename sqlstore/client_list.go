package sqlstore

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// ListClients returns the clients that match, those registered last first (dcr.ClientLister). One whose record can't be read
// has its identifier and the time of its registration only, and is logged: the others are not lost with it.
func (s *Store) ListClients(ctx context.Context, filter dcr.ClientFilter, from dcr.ClientCursor, limit int) (clients []*dcr.Client, err error) {
	query, args := s.listQuery(filter, from, limit)
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		clients, err = queryClients(ctx, q, filter.Issuer, query, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return clients, nil
}

func (s *Store) listQuery(filter dcr.ClientFilter, from dcr.ClientCursor, limit int) (string, []any) {
	where := s.conditions(filter)
	if from.ID != "" {
		at := nanoseconds(from.CreatedAt)
		where.add(`created_at <= ? AND (created_at < ? OR id < ?)`, at, at, []byte(from.ID))
	}
	return where.query(`SELECT id, created_at, record, last_used_at, keep_until FROM `+s.options.Prefix+`clients WHERE `,
		` ORDER BY created_at DESC, id DESC LIMIT ?`, limit)
}

func queryClients(ctx context.Context, q querier, issuer, query string, args ...any) (clients []*dcr.Client, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, record []byte
		var created, lastUsed, keepUntil int64
		if err := rows.Scan(&id, &created, &record, &lastUsed, &keepUntil); err != nil {
			return nil, err
		}
		client, err := decodeClient(record, lastUsed, keepUntil)
		if err != nil {
			slog.WarnContext(ctx, "sqlstore: the record of a client in a list can't be read", "client_id", string(id), "error", err)
			client = &dcr.Client{ID: string(id), Issuer: issuer, CreatedAt: fromColumn(created)}
		}
		clients = append(clients, client)
	}
	return clients, rows.Err()
}

// CountClients returns how many clients match, and most where there are more (dcr.ClientLister).
func (s *Store) CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (number int, err error) {
	query, args := s.countQuery(filter, most)
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		return q.QueryRowContext(ctx, query, args...).Scan(&number)
	})
	return number, err
}

func (s *Store) countQuery(filter dcr.ClientFilter, most int) (string, []any) {
	return s.conditions(filter).query(`SELECT count(*) FROM (SELECT 1 FROM `+s.options.Prefix+`clients WHERE `, ` LIMIT ?) AS found`, most)
}

// conditions is a WHERE clause that is built part by part.
type conditions struct {
	parts  []string
	args   []any
	number func(n int) string // the placeholder of an argument
}

// add adds a condition, with the values of its placeholders.
func (c *conditions) add(part string, args ...any) {
	c.parts = append(c.parts, "("+part+")")
	c.args = append(c.args, args...)
}

// query returns a statement with the conditions between its beginning and its end, whose placeholder is for a limit.
func (c *conditions) query(beginning, end string, limit int) (string, []any) {
	clause := "1 = 1"
	if len(c.parts) > 0 {
		clause = strings.Join(c.parts, " AND ")
	}
	var text strings.Builder
	n := 0
	for _, char := range beginning + clause + end {
		if char != '?' {
			text.WriteRune(char)
			continue
		}
		n++
		text.WriteString(c.number(n))
	}
	return text.String(), append(c.args, max(limit, 0))
}

// conditions says in SQL what dcr.ClientFilter.Matches says in Go.
func (s *Store) conditions(f dcr.ClientFilter) *conditions {
	mark := "$"
	if s.dialect.oneWriter {
		mark = "?"
	}
	where := &conditions{number: func(n int) string { return mark + strconv.Itoa(n) }}
	indexed := func(column, value string) {
		if value != "" {
			where.add(column+` = ?`, digest(value))
		}
	}
	equal := func(column, value string) {
		if value != "" {
			where.add(column+` = ?`, []byte(value))
		}
	}
	indexed("issuer", f.Issuer)
	indexed("subject", f.Subject)
	indexed("initial_access_token", f.InitialAccessToken)
	indexed("name", f.NameKey)
	equal("kind", f.Kind)
	equal("software_id", f.SoftwareID)
	if f.NeverUsed {
		where.add(`last_used_at = ?`, int64(notYet))
	}
	if !f.ExpiringBefore.IsZero() {
		where.add(`due_at < ?`, nanoseconds(f.ExpiringBefore))
	}
	if f.RedirectHost != "" {
		where.add(s.sql.HasHost, []byte(line(f.RedirectHost)))
	}
	if f.Search != "" {
		where.search(f.Search, s.sql.HasNamePart)
	}
	if !f.CreatedFrom.IsZero() {
		where.add(`created_at >= ?`, nanoseconds(f.CreatedFrom))
	}
	if !f.CreatedBefore.IsZero() {
		where.add(`created_at < ?`, nanoseconds(f.CreatedBefore))
	}
	return where
}

// search adds the condition that an identifier is a text, or that a name has it as a part. An empty key would be part of
// every name.
func (c *conditions) search(text, hasPart string) {
	key := dcr.NameKey(text)
	if key == "" {
		c.add(`key = ?`, digest(text))
		return
	}
	c.add(`key = ? OR `+hasPart, digest(text), []byte(key))
}
