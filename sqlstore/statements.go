package sqlstore

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// statements is what a store says to its database, one list for each dialect. {prefix} begins the names of tables, {never}
// and {notyet} are the times of that name, {none} is noRequest.
type statements struct {
	LockWriter, Tables, Version string

	GetClient, HasClient, CreateClient, CountClient, UpdateClient, TouchClient, DeleteClient string
	DeleteDueClients, DeleteIdleClients, EvictClient                                         string
	HasHost, HasNamePart                                                                     string // conditions of lists

	CreateInitial, GetInitial, HasInitial, UseInitial, ReturnInitial, DeleteInitial, ListInitial string

	FindDocument, ReplaceDocument, AddDocument, CountDocuments, EvictDocuments, RequeueDocuments string
	TouchDocument, ForgetDocument, DropDocument, BlockDocument, UnblockDocument, ListDocuments   string

	FoundGrant, JoinGrant, LockGrant, LockGrantOf, RevokeGrant string
	CreateToken, CreateFounding, CreateJoining                 string
	GetToken, SpendToken, RepeatToken, TokenLeft               string
	EndToken, EndPartner, EndTokens, DeleteToken               string
	DeleteEntries, HasGrants, RevokeClient                     string
	OverWithClient, OverWithAll, DropTokens, DropGrant         string
	TrimTokens, TrimOfCaller, TrimCaller                       string
	SetAssertion, HasAssertion, ShareUsed                      string

	SweepTokens, SweepGrants, SweepAssertions                                                   string
	ListRevocations, SweepRevokedTokens, SweepRevokedGrants, SettleRevocation, DeleteRevocation string
}

// each returns the list with every statement changed.
func (s statements) each(change func(string) string) statements {
	list := reflect.ValueOf(&s).Elem()
	for i := range list.NumField() {
		list.Field(i).SetString(change(list.Field(i).String()))
	}
	return s
}

const (
	// never is when something expires that does not.
	never = math.MaxInt64
	// notYet is when something happened that has not.
	notYet = -math.MaxInt64
	// noRequest is what stays of the request of a token that is good for nothing: its grant has who it was (T59).
	noRequest = "{}"
)

// The times that fit into a column. Times beyond are stored as these.
var (
	earliest = time.Unix(0, notYet+1)
	latest   = time.Unix(0, never-1)
)

func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(earliest):
		return notYet + 1
	case t.After(latest):
		return never - 1
	}
	return t.UnixNano()
}

// endColumn is for a time at which something expires.
func endColumn(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return nanoseconds(t)
}

// pastColumn is for a time at which something happened.
func pastColumn(t time.Time) int64 {
	if t.IsZero() {
		return notYet
	}
	return nanoseconds(t)
}

// fromColumn is the time of either.
func fromColumn(n int64) time.Time {
	if n == never || n == notYet {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// live is true of a token whose client did not lose everything after the token, or its grant, was made.
const live = `epoch >= coalesce((SELECT r.epoch FROM {prefix}revocations r WHERE r.client = {prefix}tokens.client), 0)`

// nothingLeft is true where no row of the client is older than its epoch. Rows that others hold locked are there, too.
const nothingLeft = ` AND NOT EXISTS (SELECT 1 FROM {prefix}tokens WHERE client = $1 AND epoch < $2)
		AND NOT EXISTS (SELECT 1 FROM {prefix}grants WHERE client = $1 AND epoch < $2)`

// notRevoked is true of a token whose grant was not revoked.
const notRevoked = `
			AND NOT EXISTS (SELECT 1 FROM {prefix}grants g WHERE g.id = {prefix}tokens.grant_id AND g.revoked = 1)`

// oldDocuments are the records that were not used for the longest before a time, but for one.
const oldDocuments = `SELECT key, queued_at FROM {prefix}documents
			WHERE record IS NOT NULL AND blocked = 0 AND key <> $1 AND queued_at < $3 ORDER BY queued_at LIMIT 100 FOR UPDATE SKIP LOCKED`

// orReplace has a token replaced by one with its key, but none that was used or revoked.
const orReplace = `
		ON CONFLICT (key) DO UPDATE SET grant_id = excluded.grant_id, client = excluded.client, epoch = excluded.epoch,
			expires_at = excluded.expires_at, partner = excluded.partner, request = excluded.request, session = excluded.session,
			caller = excluded.caller
			WHERE {prefix}tokens.state = 0`

// overShare and dropOver remove tokens over the share of those between them, which expire first.
const (
	overShare = `WITH over AS MATERIALIZED (SELECT key FROM {prefix}tokens WHERE `
	dropOver  = ` ORDER BY expires_at DESC LIMIT 100 OFFSET $1)
		DELETE FROM {prefix}tokens WHERE key IN (SELECT key FROM {prefix}tokens WHERE key IN (SELECT key FROM over) FOR UPDATE SKIP LOCKED)`
)

// postgresStatements take no lock but on rows that they find by a key, and in one order: the grant, then its tokens.
var postgresStatements = statements{
	Tables: `SELECT count(*) FROM {prefix}clients, {prefix}client_counts, {prefix}initial_access_tokens, {prefix}grants, {prefix}tokens,
		{prefix}revocations, {prefix}assertions, {prefix}documents, {prefix}document_count WHERE 1 = 0`,
	Version: `SELECT coalesce(max(version_id), 0) FROM {prefix}migrations WHERE is_applied`,

	GetClient: `SELECT record, last_used_at, keep_until FROM {prefix}clients WHERE key = $1`,
	HasClient: `SELECT 1 FROM {prefix}clients WHERE key = $1`,
	CreateClient: `INSERT INTO {prefix}clients (key, id, version, record, issuer, subject, initial_access_token, name, kind, software_id,
		name_key, redirect_hosts, created_at, updated_at, last_used_at, keep_until, expires_at, due_at)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
		WHERE (SELECT sum(clients) FROM {prefix}client_counts) < $19
		ON CONFLICT (key) DO NOTHING`,
	CountClient: `UPDATE {prefix}client_counts SET clients = clients + $2 WHERE shard = $1`,
	UpdateClient: `UPDATE {prefix}clients SET id = $2, version = $3, record = $4, issuer = $5, subject = $6, initial_access_token = $7,
		name = $8, kind = $9, software_id = $10, name_key = $11, redirect_hosts = $12, created_at = $13, updated_at = $14,
		last_used_at = greatest(last_used_at, $15), keep_until = greatest(keep_until, $16), expires_at = CAST($17 AS BIGINT),
		due_at = CASE WHEN last_used_at > {notyet} THEN CAST($17 AS BIGINT) ELSE CAST($18 AS BIGINT) END
		WHERE key = $1 AND version = $19`,
	TouchClient: `UPDATE {prefix}clients SET last_used_at = greatest(last_used_at, $2), keep_until = greatest(keep_until, $3),
		due_at = CASE WHEN greatest(last_used_at, $2) > {notyet} THEN expires_at ELSE due_at END
		WHERE key = $1 AND (last_used_at < $2 OR keep_until < $3)`,
	DeleteClient: `DELETE FROM {prefix}clients WHERE key = $1`,
	DeleteDueClients: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}clients WHERE due_at <= $1
			ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}clients WHERE key IN (SELECT key FROM doomed) RETURNING key, record, last_used_at, keep_until`,
	DeleteIdleClients: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}clients
			WHERE last_used_at > {notyet} AND last_used_at <= $1 AND keep_until <= $2
			ORDER BY last_used_at LIMIT $3 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}clients WHERE key IN (SELECT key FROM doomed) RETURNING key, record, last_used_at, keep_until`,
	EvictClient: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}clients WHERE last_used_at = {notyet} AND updated_at < $1
			ORDER BY updated_at LIMIT 1 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}clients WHERE key IN (SELECT key FROM doomed) RETURNING key, record, last_used_at, keep_until`,
	HasHost:     `position(CAST(? AS BYTEA) IN redirect_hosts) > 0`,
	HasNamePart: `position(CAST(? AS BYTEA) IN name_key) > 0`,

	CreateInitial: `INSERT INTO {prefix}initial_access_tokens (id, record, uses, max_uses, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO NOTHING`,
	GetInitial: `SELECT record, uses FROM {prefix}initial_access_tokens WHERE id = $1`,
	HasInitial: `SELECT 1 FROM {prefix}initial_access_tokens WHERE id = $1`,
	UseInitial: `UPDATE {prefix}initial_access_tokens SET uses = uses + 1
		WHERE id = $1 AND (max_uses = 0 OR uses < max_uses) AND expires_at > $2`,
	ReturnInitial: `UPDATE {prefix}initial_access_tokens SET uses = uses - 1 WHERE id = $1 AND uses > 0`,
	DeleteInitial: `DELETE FROM {prefix}initial_access_tokens WHERE id = $1`,
	ListInitial:   `SELECT record, uses FROM {prefix}initial_access_tokens WHERE id > $1 ORDER BY id LIMIT $2`,

	FindDocument: `SELECT record, blocked FROM {prefix}documents WHERE key = $1`,
	ReplaceDocument: `UPDATE {prefix}documents SET record = $2, used_at = greatest(used_at, $3), queued_at = greatest(queued_at, $3)
		WHERE key = $1 AND record IS NOT NULL`,
	AddDocument: `INSERT INTO {prefix}documents (key, id, record, blocked, used_at, queued_at) VALUES ($1, $2, $3, 0, $4, $4)
		ON CONFLICT (key) DO UPDATE SET record = excluded.record, used_at = excluded.used_at, queued_at = excluded.queued_at
			WHERE {prefix}documents.record IS NULL`,
	CountDocuments: `UPDATE {prefix}document_count SET records = records + $1 RETURNING records`,
	// A few are looked at. Those with a token are passed over, and then stand behind all others: nobody looks at the same
	// ones again and again.
	EvictDocuments: `WITH old AS MATERIALIZED (` + oldDocuments + `)
		DELETE FROM {prefix}documents WHERE key IN (SELECT old.key FROM old WHERE NOT EXISTS (SELECT 1 FROM {prefix}tokens
			WHERE client = old.key AND kind IN (1, 4, 5, 8) AND state = 0 AND expires_at > $2 AND ` + live + notRevoked + `)
			ORDER BY old.queued_at LIMIT $4) RETURNING queued_at`,
	RequeueDocuments: `WITH old AS MATERIALIZED (` + oldDocuments + `)
		UPDATE {prefix}documents SET queued_at = $2 WHERE key IN (SELECT key FROM old)`,
	TouchDocument: `UPDATE {prefix}documents SET used_at = $2, queued_at = greatest(queued_at, $2)
		WHERE key = $1 AND record IS NOT NULL AND used_at < $2`,
	ForgetDocument: `UPDATE {prefix}documents SET record = NULL, used_at = {notyet} WHERE key = $1 AND record IS NOT NULL`,
	DropDocument:   `DELETE FROM {prefix}documents WHERE key = $1 AND record IS NULL AND blocked = 0`,
	BlockDocument: `INSERT INTO {prefix}documents (key, id, blocked, used_at, queued_at) VALUES ($1, $2, 1, {notyet}, {notyet})
		ON CONFLICT (key) DO UPDATE SET blocked = 1`,
	UnblockDocument: `UPDATE {prefix}documents SET blocked = 0 WHERE key = $1`,
	ListDocuments: `SELECT id, record, used_at, blocked FROM {prefix}documents
		WHERE substr(id, 1, 256) >= $1 AND id > $2 ORDER BY substr(id, 1, 256), id LIMIT $3`,

	FoundGrant: `INSERT INTO {prefix}grants (id, client, epoch, revoked, expires_at, digest, request, session, subject)
		VALUES ($1, $2, coalesce((SELECT epoch FROM {prefix}revocations WHERE client = $2), 0), 0, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET expires_at = greatest({prefix}grants.expires_at, excluded.expires_at)`,
	JoinGrant:   `UPDATE {prefix}grants SET expires_at = greatest(expires_at, $2) WHERE id = $1`,
	LockGrant:   `SELECT 1 FROM {prefix}grants WHERE id = $1 FOR UPDATE`,
	LockGrantOf: `SELECT 1 FROM {prefix}grants WHERE id = (SELECT grant_id FROM {prefix}tokens WHERE key = $1) FOR UPDATE`,
	RevokeGrant: `UPDATE {prefix}grants SET revoked = 1, expires_at = CASE WHEN expires_at = {never} THEN $2 ELSE expires_at END
		WHERE id = $1`,

	// A token has the epoch of its grant, so that what is made for the grant later is revoked with it.
	CreateToken: `INSERT INTO {prefix}tokens (key, kind, grant_id, client, epoch, state, spent_at, uses, expires_at, partner, request, session, caller)
		SELECT $1, $2, $3, $4, greatest($5, coalesce((SELECT epoch FROM {prefix}grants WHERE id = $3),
			(SELECT epoch FROM {prefix}revocations WHERE client = $4), 0)), 0, {notyet}, 0, $6, CAST($7 AS BYTEA), $8,
			CASE WHEN EXISTS (SELECT 1 FROM {prefix}grants WHERE id = $3 AND digest = $9) THEN NULL ELSE CAST($10 AS BYTEA) END,
			CAST($11 AS BYTEA)
		WHERE true` + orReplace,
	// The same in one statement with FoundGrant or JoinGrant, where the database takes that.
	CreateFounding: `WITH g AS (INSERT INTO {prefix}grants (id, client, epoch, revoked, expires_at, digest, request, session, subject)
			VALUES ($3, $4, coalesce((SELECT epoch FROM {prefix}revocations WHERE client = $4), 0), 0, $6, $9, $12, $10, $13)
			ON CONFLICT (id) DO UPDATE SET expires_at = greatest({prefix}grants.expires_at, excluded.expires_at)
			RETURNING epoch, digest)
		INSERT INTO {prefix}tokens (key, kind, grant_id, client, epoch, state, spent_at, uses, expires_at, partner, request, session, caller)
		SELECT CAST($1 AS BYTEA), CAST($2 AS SMALLINT), CAST($3 AS BYTEA), CAST($4 AS BYTEA), greatest(CAST($5 AS BIGINT), g.epoch), 0,
			{notyet}, 0, CAST($6 AS BIGINT), CAST($7 AS BYTEA), CAST($8 AS BYTEA),
			CASE WHEN g.digest = CAST($9 AS BYTEA) THEN NULL ELSE CAST($10 AS BYTEA) END,
			CAST($11 AS BYTEA) FROM g` + orReplace,
	CreateJoining: `WITH g AS (UPDATE {prefix}grants SET expires_at = greatest(expires_at, $6) WHERE id = $3 RETURNING epoch, digest)
		INSERT INTO {prefix}tokens (key, kind, grant_id, client, epoch, state, spent_at, uses, expires_at, partner, request, session, caller)
		SELECT CAST($1 AS BYTEA), CAST($2 AS SMALLINT), CAST($3 AS BYTEA), CAST($4 AS BYTEA),
			greatest(CAST($5 AS BIGINT), coalesce((SELECT epoch FROM g), (SELECT epoch FROM {prefix}revocations WHERE client = $4), 0)), 0,
			{notyet}, 0, CAST($6 AS BIGINT), CAST($7 AS BYTEA), CAST($8 AS BYTEA),
			CASE WHEN (SELECT digest FROM g) = CAST($9 AS BYTEA) THEN NULL ELSE CAST($10 AS BYTEA) END, CAST($11 AS BYTEA)` + orReplace,
	GetToken: `SELECT t.state, t.spent_at, t.uses, t.request, coalesce(t.session, g.session), g.request, coalesce(g.revoked, 0),
			c.record, coalesce(c.last_used_at, 0), coalesce(c.keep_until, 0)
		FROM {prefix}tokens t
		LEFT JOIN {prefix}grants g ON g.id = t.grant_id
		LEFT JOIN {prefix}revocations r ON r.client = t.client
		LEFT JOIN {prefix}clients c ON c.key = t.client
		WHERE t.key = $1 AND t.expires_at > $2 AND t.epoch >= coalesce(r.epoch, 0)`,
	SpendToken: `UPDATE {prefix}tokens SET state = 1, spent_at = $2, expires_at = CASE WHEN expires_at = {never} THEN $3 ELSE expires_at END,
			session = CASE WHEN $4 = 1 THEN session ELSE NULL END, request = CASE WHEN $4 = 1 THEN request ELSE {none} END
		WHERE key = $1 AND state = 0 AND expires_at > $2 AND ` + live + notRevoked,
	RepeatToken: `UPDATE {prefix}tokens SET uses = uses + 1
		WHERE key = $1 AND state = 1 AND spent_at > $2 AND uses < $3 AND expires_at > $4 AND ` + live + notRevoked,
	TokenLeft: `SELECT 1 FROM {prefix}tokens WHERE key = $1 AND expires_at > $2 AND ` + live,
	EndToken: `UPDATE {prefix}tokens SET state = 2, spent_at = $2, session = NULL, request = {none},
			expires_at = CASE WHEN expires_at = {never} THEN $3 ELSE expires_at END
		WHERE key = $1 AND state = 0 AND expires_at > $2`,
	EndPartner: `UPDATE {prefix}tokens SET state = 2, spent_at = $2, session = NULL, request = {none}
		WHERE key = (SELECT t.partner FROM {prefix}tokens t WHERE t.key = $1) AND state = 0`,
	EndTokens: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}tokens WHERE grant_id = $1 AND kind IN ($2, $3) AND state = 0
			ORDER BY key LIMIT $6)
		UPDATE {prefix}tokens SET state = 2, spent_at = $4, session = NULL, request = {none},
			expires_at = CASE WHEN expires_at = {never} THEN $5 ELSE expires_at END
		WHERE key IN (SELECT key FROM doomed)`,
	DeleteToken:   `DELETE FROM {prefix}tokens WHERE key = $1`,
	DeleteEntries: `DELETE FROM {prefix}tokens WHERE client = $1 AND epoch = {never}`,
	HasGrants:     `SELECT 1 FROM {prefix}tokens WHERE client = $1 AND epoch < {never} LIMIT 1`,
	RevokeClient: `INSERT INTO {prefix}revocations (client, epoch, pending) VALUES ($1, $2, 1)
		ON CONFLICT (client) DO UPDATE SET epoch = greatest({prefix}revocations.epoch + 1, excluded.epoch), pending = 1`,
	// What is over a share is what expires first. FOR UPDATE would lock the rows of the share, too, beside an OFFSET.
	OverWithClient: `WITH over AS MATERIALIZED (SELECT id FROM {prefix}grants WHERE client = $1 AND subject = $2
			AND epoch = coalesce((SELECT epoch FROM {prefix}revocations WHERE client = $1), 0)
			AND expires_at > $3 AND expires_at <= $4 ORDER BY expires_at DESC LIMIT 100 OFFSET $5)
		SELECT id FROM {prefix}grants WHERE id IN (SELECT id FROM over) FOR UPDATE SKIP LOCKED`,
	OverWithAll: `WITH over AS MATERIALIZED (SELECT id FROM {prefix}grants WHERE subject = $1
			AND expires_at > $2 AND expires_at <= $3 ORDER BY expires_at DESC LIMIT 100 OFFSET $4)
		SELECT id FROM {prefix}grants WHERE id IN (SELECT id FROM over) FOR UPDATE SKIP LOCKED`,
	DropTokens:   `DELETE FROM {prefix}tokens WHERE grant_id = $1`,
	DropGrant:    `DELETE FROM {prefix}grants WHERE id = $1`,
	TrimTokens:   overShare + `client = $2 AND kind = $3 AND kind IN (6, 8)` + dropOver,
	TrimOfCaller: overShare + `client = $2 AND caller = $3` + dropOver,
	TrimCaller:   overShare + `caller = $2` + dropOver,
	SetAssertion: `INSERT INTO {prefix}assertions (key, expires_at, owner) VALUES ($1, $2, $4)
		ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, owner = excluded.owner
			WHERE {prefix}assertions.expires_at <= $3`,
	ShareUsed: `SELECT expires_at FROM {prefix}assertions WHERE owner = $1 AND expires_at > $2
		ORDER BY expires_at DESC LIMIT 1 OFFSET $3`,
	HasAssertion: `SELECT 1 FROM {prefix}assertions WHERE key = $1 AND expires_at > $2`,

	SweepTokens: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}tokens WHERE expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}tokens WHERE key IN (SELECT key FROM doomed)`,
	SweepGrants: `WITH doomed AS MATERIALIZED (SELECT id FROM {prefix}grants WHERE expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}grants WHERE id IN (SELECT id FROM doomed)`,
	SweepAssertions: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}assertions WHERE expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}assertions WHERE key IN (SELECT key FROM doomed)`,
	ListRevocations: `SELECT client, epoch FROM {prefix}revocations WHERE pending = $1 AND epoch > $2 AND epoch < $3
		ORDER BY epoch LIMIT $4`,
	SweepRevokedTokens: `WITH doomed AS MATERIALIZED (SELECT key FROM {prefix}tokens WHERE client = $1 AND epoch < $2
			ORDER BY epoch LIMIT $3 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}tokens WHERE key IN (SELECT key FROM doomed)`,
	SweepRevokedGrants: `WITH doomed AS MATERIALIZED (SELECT id FROM {prefix}grants WHERE client = $1 AND epoch < $2
			ORDER BY epoch LIMIT $3 FOR UPDATE SKIP LOCKED)
		DELETE FROM {prefix}grants WHERE id IN (SELECT id FROM doomed)`,
	SettleRevocation: `UPDATE {prefix}revocations SET pending = 0 WHERE client = $1 AND epoch = $2` + nothingLeft,
	DeleteRevocation: `DELETE FROM {prefix}revocations WHERE client = $1 AND epoch = $2` + nothingLeft,
}.each(strings.NewReplacer("{never}", strconv.FormatInt(never, 10), "{notyet}", strconv.FormatInt(notYet, 10),
	"{none}", "CAST('"+noRequest+"' AS BYTEA)").Replace)

// sqliteStatements are those of PostgreSQL in the words of SQLite. Nothing locks a row, since there is one writer.
var sqliteStatements = func() statements {
	list := postgresStatements.each(strings.NewReplacer(" FOR UPDATE SKIP LOCKED", "", "$", "?", "greatest(", "max(", "AS BYTEA", "AS BLOB").Replace)
	list.LockWriter = `UPDATE {prefix}client_counts SET clients = clients WHERE shard = -1`
	list.LockGrant, list.LockGrantOf, list.CreateFounding, list.CreateJoining = "", "", "", ""
	list.HasHost = `instr(redirect_hosts, CAST(? AS BLOB)) > 0`
	list.HasNamePart = `instr(name_key, CAST(? AS BLOB)) > 0`
	return list
}()
