-- Times are nanoseconds since 1970 in UTC, and NULL where there is none. Text is compared
-- byte by byte, which is SQLite's default; elsewhere ask for it (COLLATE "C").

-- A client is the JSON of its record. The other columns are for finding, counting and
-- expiring clients. last_used_at and keep_until change without the record, and count in its place.
CREATE TABLE IF NOT EXISTS clients (
	id                   TEXT PRIMARY KEY NOT NULL,
	version              INTEGER NOT NULL,
	record               TEXT NOT NULL,
	issuer               TEXT NOT NULL,
	kind                 TEXT NOT NULL,
	subject              TEXT NOT NULL,
	initial_access_token TEXT NOT NULL,
	software_id          TEXT NOT NULL,
	name_key             TEXT NOT NULL,
	redirect_hosts       TEXT NOT NULL, -- a JSON array
	created_at           INTEGER NOT NULL,
	updated_at           INTEGER NOT NULL,
	last_used_at         INTEGER,
	keep_until           INTEGER,
	unused_until         INTEGER,
	expires_at           INTEGER
) STRICT;

-- For lists, and for what quotas and consent pages count.
CREATE INDEX IF NOT EXISTS clients_listed ON clients (issuer, created_at, id);
CREATE INDEX IF NOT EXISTS clients_by_subject ON clients (issuer, subject) WHERE subject <> '';
CREATE INDEX IF NOT EXISTS clients_by_initial ON clients (issuer, initial_access_token) WHERE initial_access_token <> '';
CREATE INDEX IF NOT EXISTS clients_by_name ON clients (issuer, name_key);
-- For the sweep, and for the client that is evicted.
CREATE INDEX IF NOT EXISTS clients_expiring ON clients (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS clients_unused ON clients (unused_until) WHERE last_used_at IS NULL;
CREATE INDEX IF NOT EXISTS clients_waiting ON clients (updated_at) WHERE last_used_at IS NULL;
CREATE INDEX IF NOT EXISTS clients_idle ON clients (last_used_at) WHERE last_used_at IS NOT NULL;

-- The number of clients, so that a registration does not have to count them.
CREATE TABLE IF NOT EXISTS client_count (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), clients INTEGER NOT NULL) STRICT;
INSERT INTO client_count SELECT 1, count(*) FROM clients WHERE true ON CONFLICT DO NOTHING;
CREATE TRIGGER IF NOT EXISTS client_came AFTER INSERT ON clients BEGIN UPDATE client_count SET clients = clients + 1; END;
CREATE TRIGGER IF NOT EXISTS client_went AFTER DELETE ON clients BEGIN UPDATE client_count SET clients = clients - 1; END;

-- uses changes without the record, and counts in its place.
CREATE TABLE IF NOT EXISTS initial_access_tokens (
	id         TEXT PRIMARY KEY NOT NULL,
	record     TEXT NOT NULL,
	uses       INTEGER NOT NULL,
	max_uses   INTEGER NOT NULL, -- 0 means any number
	expires_at INTEGER
) STRICT;

-- Everything that fosite keeps for a code or a token. key is a hash of fosite's key: some of
-- these are secrets. Registration access tokens, which fosite keeps among the access tokens,
-- have a kind of their own.
CREATE TABLE IF NOT EXISTS sessions (
	kind         TEXT NOT NULL,
	key          BLOB NOT NULL,
	request_id   TEXT NOT NULL,
	client_id    TEXT NOT NULL,
	active       INTEGER NOT NULL,
	requested_at INTEGER NOT NULL,
	expires_at   INTEGER,
	request      TEXT NOT NULL, -- JSON, with the session in it
	PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS sessions_by_request ON sessions (kind, request_id);
CREATE INDEX IF NOT EXISTS sessions_by_client ON sessions (client_id);
CREATE INDEX IF NOT EXISTS sessions_expiring ON sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_by_age ON sessions (requested_at);

-- Identifiers of client assertions ("jti") that were seen.
CREATE TABLE IF NOT EXISTS assertions (
	jti        TEXT PRIMARY KEY NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS assertions_expiring ON assertions (expires_at);
