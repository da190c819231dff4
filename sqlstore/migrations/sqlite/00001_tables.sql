-- +goose Up
-- Times are nanoseconds since 1970 in UTC. "Never" is the greatest number for what expires, and the smallest one for what
-- has not happened. The columns key, client, grant_id and grants.id are SHA-256 digests. An identifier of an initial access
-- token is no secret, and is stored as it is.

-- A client is the JSON of its record. The other columns are for finding, counting and expiring clients. last_used_at and
-- keep_until change without the record, and count in its place.
CREATE TABLE {prefix}clients (
	key                  BLOB PRIMARY KEY NOT NULL, -- of the identifier
	id                   BLOB NOT NULL,
	version              INTEGER NOT NULL,
	record               BLOB NOT NULL,
	issuer               BLOB NOT NULL, -- a digest, like the three that follow; name is that of dcr.NameKey
	subject              BLOB,
	initial_access_token BLOB,
	name                 BLOB,
	kind                 BLOB NOT NULL,
	software_id          BLOB NOT NULL,
	name_key             BLOB NOT NULL, -- dcr.NameKey
	redirect_hosts       BLOB NOT NULL, -- a line each
	created_at           INTEGER NOT NULL,
	updated_at           INTEGER NOT NULL,
	last_used_at         INTEGER NOT NULL,
	keep_until           INTEGER NOT NULL,
	expires_at           INTEGER NOT NULL,
	due_at               INTEGER NOT NULL -- when it expires if it is not used: the earlier of expires_at and unused_until
) STRICT;
CREATE INDEX {prefix}clients_listed ON {prefix}clients (issuer, created_at);
CREATE INDEX {prefix}clients_by_subject ON {prefix}clients (issuer, subject) WHERE subject IS NOT NULL;
CREATE INDEX {prefix}clients_by_initial ON {prefix}clients (issuer, initial_access_token) WHERE initial_access_token IS NOT NULL;
CREATE INDEX {prefix}clients_by_name ON {prefix}clients (issuer, name) WHERE name IS NOT NULL;
CREATE INDEX {prefix}clients_due ON {prefix}clients (due_at);
CREATE INDEX {prefix}clients_used ON {prefix}clients (last_used_at, updated_at);

-- How many clients there are is the sum of these numbers. Writers wait for each other here, so one is enough.
CREATE TABLE {prefix}client_counts (
	shard   INTEGER PRIMARY KEY,
	clients INTEGER NOT NULL
) STRICT;
INSERT INTO {prefix}client_counts (shard, clients) VALUES (0, 0);

-- uses changes without the record, and counts in its place.
CREATE TABLE {prefix}initial_access_tokens (
	id         BLOB PRIMARY KEY NOT NULL,
	record     BLOB NOT NULL,
	uses       INTEGER NOT NULL,
	max_uses   INTEGER NOT NULL, -- 0 means any number
	expires_at INTEGER NOT NULL
) STRICT;

-- What a user agreed to once: the session of its code and of its tokens, which they have in common.
CREATE TABLE {prefix}grants (
	id         BLOB PRIMARY KEY NOT NULL, -- the key of the request's identifier
	client     BLOB NOT NULL,
	epoch      INTEGER NOT NULL,
	revoked    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	digest     BLOB NOT NULL, -- of the session
	request    BLOB NOT NULL, -- JSON: the identifiers of request and client
	session    BLOB,
	subject    BLOB -- of the session; NULL where it has none
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix}grants_expiring ON {prefix}grants (expires_at);
CREATE INDEX {prefix}grants_by_client ON {prefix}grants (client, epoch, subject, expires_at);
CREATE INDEX {prefix}grants_by_subject ON {prefix}grants (subject, expires_at) WHERE subject IS NOT NULL;

-- Whatever has a key: codes with what belongs to them, tokens, pushed requests. One that was used or revoked stays until
-- it expires, and is known as such; but the rows of a client that lost everything go soon, and the entry of a registration
-- access token goes with its client.
CREATE TABLE {prefix}tokens (
	key        BLOB PRIMARY KEY NOT NULL,
	kind       INTEGER NOT NULL, -- 1 code, 2 PKCE, 3 OpenID Connect, 4 access, 5 refresh, 6 pushed request, 7 registration access token, 8 access without a user
	grant_id   BLOB NOT NULL,
	client     BLOB NOT NULL,
	epoch      INTEGER NOT NULL,
	state      INTEGER NOT NULL, -- 0: good, 1: used, 2: revoked
	spent_at   INTEGER NOT NULL,
	uses       INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	partner    BLOB, -- of a refresh token: the key of the access token that was issued with it
	request    BLOB, -- JSON
	session    BLOB, -- JSON, where it is not that of the grant
	caller     BLOB  -- of a pushed request of a public client: a digest of the network that it came from
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix}tokens_expiring ON {prefix}tokens (expires_at);
CREATE INDEX {prefix}tokens_by_grant ON {prefix}tokens (grant_id, kind, state);
CREATE INDEX {prefix}tokens_by_client ON {prefix}tokens (client, epoch);
CREATE INDEX {prefix}tokens_without_user ON {prefix}tokens (client, kind, expires_at) WHERE kind IN (6, 8);
CREATE INDEX {prefix}tokens_of_caller ON {prefix}tokens (client, caller, expires_at) WHERE caller IS NOT NULL;
CREATE INDEX {prefix}tokens_by_caller ON {prefix}tokens (caller, expires_at) WHERE caller IS NOT NULL;

-- Clients that lost everything: what has an earlier epoch is dead, and is removed by and by.
CREATE TABLE {prefix}revocations (
	client  BLOB PRIMARY KEY NOT NULL,
	epoch   INTEGER NOT NULL,
	pending INTEGER NOT NULL -- 1 while something of it may be left
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix}revocations_pending ON {prefix}revocations (pending, epoch);

-- Identifiers of client assertions ("jti") that were seen.
CREATE TABLE {prefix}assertions (
	key        BLOB PRIMARY KEY NOT NULL,
	expires_at INTEGER NOT NULL,
	owner      BLOB -- by chance, of one row of 32: whose share it counts for, as 32 rows
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix}assertions_expiring ON {prefix}assertions (expires_at);
CREATE INDEX {prefix}assertions_by_owner ON {prefix}assertions (owner, expires_at) WHERE owner IS NOT NULL;

-- What is known of clients whose identifiers are the URLs of documents, and which identifiers an operator has blocked. None is a
-- registered client.
CREATE TABLE {prefix}documents (
	key       BLOB PRIMARY KEY NOT NULL, -- of the identifier
	id        BLOB NOT NULL,
	record    BLOB, -- NULL where an identifier is blocked and nothing is kept
	blocked   INTEGER NOT NULL,
	used_at   INTEGER NOT NULL,
	queued_at INTEGER NOT NULL -- used_at, or when it was last passed over since its client holds a token
) STRICT;
CREATE INDEX {prefix}documents_listed ON {prefix}documents (substr(id, 1, 256)); -- an identifier may be too long for an index
CREATE INDEX {prefix}documents_unused ON {prefix}documents (queued_at) WHERE record IS NOT NULL AND blocked = 0;

-- How many records the documents have.
CREATE TABLE {prefix}document_count (
	records INTEGER NOT NULL
) STRICT;
INSERT INTO {prefix}document_count (records) VALUES (0);

-- +goose Down
DROP TABLE {prefix}document_count;
DROP TABLE {prefix}documents;
DROP TABLE {prefix}assertions;
DROP TABLE {prefix}revocations;
DROP TABLE {prefix}tokens;
DROP TABLE {prefix}grants;
DROP TABLE {prefix}initial_access_tokens;
DROP TABLE {prefix}client_counts;
DROP TABLE {prefix}clients;
