-- +goose Up
-- Times are nanoseconds since 1970 in UTC. "Never" is the greatest number for what expires, and the smallest one for what
-- has not happened. The columns key, client, grant_id and grants.id are SHA-256 digests. An identifier of an initial access
-- token is no secret, and is stored as it is.

-- A client is the JSON of its record. The other columns are for finding, counting and expiring clients. last_used_at and
-- keep_until change without the record, and count in its place.
CREATE TABLE {prefix}clients (
	key                  BYTEA PRIMARY KEY, -- of the identifier
	id                   BYTEA NOT NULL,
	version              BIGINT NOT NULL,
	record               BYTEA NOT NULL,
	issuer               BYTEA NOT NULL, -- a digest, like the three that follow; name is that of dcr.NameKey
	subject              BYTEA,
	initial_access_token BYTEA,
	name                 BYTEA,
	kind                 BYTEA NOT NULL,
	software_id          BYTEA NOT NULL,
	name_key             BYTEA NOT NULL, -- dcr.NameKey
	redirect_hosts       BYTEA NOT NULL, -- a line each
	created_at           BIGINT NOT NULL,
	updated_at           BIGINT NOT NULL,
	last_used_at         BIGINT NOT NULL,
	keep_until           BIGINT NOT NULL,
	expires_at           BIGINT NOT NULL,
	due_at               BIGINT NOT NULL -- when it expires if it is not used: the earlier of expires_at and unused_until
);
CREATE INDEX {prefix}clients_listed ON {prefix}clients (issuer, created_at);
CREATE INDEX {prefix}clients_by_subject ON {prefix}clients (issuer, subject) WHERE subject IS NOT NULL;
CREATE INDEX {prefix}clients_by_initial ON {prefix}clients (issuer, initial_access_token) WHERE initial_access_token IS NOT NULL;
CREATE INDEX {prefix}clients_by_name ON {prefix}clients (issuer, name) WHERE name IS NOT NULL;
CREATE INDEX {prefix}clients_due ON {prefix}clients (due_at);
CREATE INDEX {prefix}clients_used ON {prefix}clients (last_used_at, updated_at);

-- How many clients there are is the sum of these numbers. There are several, so that registrations do not wait for each other.
CREATE TABLE {prefix}client_counts (
	shard   SMALLINT PRIMARY KEY,
	clients BIGINT NOT NULL
);
INSERT INTO {prefix}client_counts (shard, clients) SELECT shard, 0 FROM generate_series(0, 31) AS shard;

-- uses changes without the record, and counts in its place.
CREATE TABLE {prefix}initial_access_tokens (
	id         BYTEA PRIMARY KEY,
	record     BYTEA NOT NULL,
	uses       BIGINT NOT NULL,
	max_uses   BIGINT NOT NULL, -- 0 means any number
	expires_at BIGINT NOT NULL
);

-- What a user agreed to once: the session of its code and of its tokens, which they have in common.
CREATE TABLE {prefix}grants (
	id         BYTEA PRIMARY KEY, -- the key of the request's identifier
	client     BYTEA NOT NULL,
	epoch      BIGINT NOT NULL,
	revoked    SMALLINT NOT NULL,
	expires_at BIGINT NOT NULL,
	digest     BYTEA NOT NULL, -- of the session
	request    BYTEA NOT NULL, -- JSON: the identifiers of request and client
	session    BYTEA,
	subject    BYTEA -- of the session; NULL where it has none
);
CREATE INDEX {prefix}grants_expiring ON {prefix}grants (expires_at);
CREATE INDEX {prefix}grants_by_client ON {prefix}grants (client, epoch, subject, expires_at);
CREATE INDEX {prefix}grants_by_subject ON {prefix}grants (subject, expires_at) WHERE subject IS NOT NULL;

-- Whatever has a key: codes with what belongs to them, tokens, pushed requests. One that was used or revoked stays until
-- it expires, and is known as such; but the rows of a client that lost everything go soon, and the entry of a registration
-- access token goes with its client.
CREATE TABLE {prefix}tokens (
	key        BYTEA PRIMARY KEY,
	kind       SMALLINT NOT NULL, -- 1 code, 2 PKCE, 3 OpenID Connect, 4 access, 5 refresh, 6 pushed request, 7 registration access token, 8 access without a user
	grant_id   BYTEA NOT NULL,
	client     BYTEA NOT NULL,
	epoch      BIGINT NOT NULL,
	state      SMALLINT NOT NULL, -- 0: good, 1: used, 2: revoked
	spent_at   BIGINT NOT NULL,
	uses       BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	partner    BYTEA, -- of a refresh token: the key of the access token that was issued with it
	request    BYTEA, -- JSON
	session    BYTEA, -- JSON, where it is not that of the grant
	caller     BYTEA  -- of a pushed request of a public client: a digest of the network that it came from
);
CREATE INDEX {prefix}tokens_expiring ON {prefix}tokens (expires_at);
CREATE INDEX {prefix}tokens_by_grant ON {prefix}tokens (grant_id, kind, state);
CREATE INDEX {prefix}tokens_by_client ON {prefix}tokens (client, epoch);
CREATE INDEX {prefix}tokens_without_user ON {prefix}tokens (client, kind, expires_at) WHERE kind IN (6, 8);
CREATE INDEX {prefix}tokens_of_caller ON {prefix}tokens (client, caller, expires_at) WHERE caller IS NOT NULL;
CREATE INDEX {prefix}tokens_by_caller ON {prefix}tokens (caller, expires_at) WHERE caller IS NOT NULL;

-- Clients that lost everything: what has an earlier epoch is dead, and is removed by and by.
CREATE TABLE {prefix}revocations (
	client  BYTEA PRIMARY KEY,
	epoch   BIGINT NOT NULL,
	pending SMALLINT NOT NULL -- 1 while something of it may be left
);
CREATE INDEX {prefix}revocations_pending ON {prefix}revocations (pending, epoch);

-- Identifiers of client assertions ("jti") that were seen.
CREATE TABLE {prefix}assertions (
	key        BYTEA PRIMARY KEY,
	expires_at BIGINT NOT NULL,
	owner      BYTEA -- by chance, of one row of 32: whose share it counts for, as 32 rows
);
CREATE INDEX {prefix}assertions_expiring ON {prefix}assertions (expires_at);
CREATE INDEX {prefix}assertions_by_owner ON {prefix}assertions (owner, expires_at) WHERE owner IS NOT NULL;

-- What is known of clients whose identifiers are the URLs of documents, and which identifiers an operator has blocked. None is a
-- registered client.
CREATE TABLE {prefix}documents (
	key       BYTEA PRIMARY KEY, -- of the identifier
	id        BYTEA NOT NULL,
	record    BYTEA, -- NULL where an identifier is blocked and nothing is kept
	blocked   SMALLINT NOT NULL,
	used_at   BIGINT NOT NULL,
	queued_at BIGINT NOT NULL -- used_at, or when it was last passed over since its client holds a token
);
CREATE INDEX {prefix}documents_listed ON {prefix}documents (substr(id, 1, 256)); -- an identifier may be too long for an index
CREATE INDEX {prefix}documents_unused ON {prefix}documents (queued_at) WHERE record IS NOT NULL AND blocked = 0;

-- How many records the documents have.
CREATE TABLE {prefix}document_count (
	records BIGINT NOT NULL
);
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
