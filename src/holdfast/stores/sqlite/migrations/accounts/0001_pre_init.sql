-- Accounts, people and what they prove themselves with. Times are milliseconds since the epoch;
-- secrets are kept as SHA-256, passwords as argon2 text.

CREATE TABLE accounts (
    name          TEXT PRIMARY KEY,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
    name          TEXT PRIMARY KEY,
    scope         TEXT NOT NULL CHECK (scope IN ('owner', 'operator')),
    account       TEXT REFERENCES accounts (name),
    password_hash TEXT NOT NULL DEFAULT '',
    created_at_ms INTEGER NOT NULL,
    CHECK ((scope = 'operator') = (account IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash          TEXT PRIMARY KEY,
    person        TEXT NOT NULL REFERENCES people (name),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_person ON sessions (person);

CREATE TABLE links (
    hash          TEXT PRIMARY KEY,
    person        TEXT NOT NULL REFERENCES people (name),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    key        TEXT PRIMARY KEY,
    failures   INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id              TEXT PRIMARY KEY,
    hash            TEXT NOT NULL UNIQUE,
    name            TEXT NOT NULL,
    scope           TEXT NOT NULL CHECK (scope IN ('owner', 'operator')),
    account         TEXT REFERENCES accounts (name),
    created_at_ms   INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    expires_at_ms   INTEGER,
    last_used_at_ms INTEGER,
    revoked_at_ms   INTEGER,
    CHECK ((scope = 'operator') = (account IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_account ON tokens (account, created_at_ms);

-- Append-only: the triggers stop a careless statement, the chain of hashes shows a careful one.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    before     TEXT NOT NULL,
    hash       TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    phase      TEXT NOT NULL CHECK (phase IN ('begin', 'end')),
    begins     INTEGER NOT NULL,
    who        TEXT NOT NULL,
    how        TEXT NOT NULL,
    account    TEXT,
    endpoint   TEXT NOT NULL,
    target     TEXT NOT NULL,
    peer       TEXT NOT NULL,
    request_id TEXT NOT NULL,
    key        TEXT NOT NULL,
    status     INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_by_account ON audit (account, seq) WHERE phase = 'begin';
CREATE UNIQUE INDEX audit_ends ON audit (begins) WHERE phase = 'end';

CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
