-- Brains, their keys, and what they send. Times are milliseconds since the epoch; keys are kept as
-- SHA-256. Numbers of corrections grow with their arrival and are never used twice.

CREATE TABLE brains (
    no            INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    account       TEXT NOT NULL,
    instance      TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE aliases (
    account TEXT NOT NULL,
    alias   TEXT NOT NULL,
    brain   INTEGER NOT NULL REFERENCES brains (no),
    PRIMARY KEY (account, alias)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    hash            TEXT NOT NULL UNIQUE,
    name            TEXT NOT NULL,
    account         TEXT NOT NULL,
    brain           INTEGER NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    last_used_at_ms INTEGER,
    revoked_at_ms   INTEGER
) STRICT, WITHOUT ROWID;

-- `via_*` count how often a correction came by each route; each route sees every repeat, so the
-- largest of them is how often it was made.
CREATE TABLE corrections (
    no              INTEGER PRIMARY KEY,
    brain           INTEGER NOT NULL,
    account         TEXT NOT NULL,
    hash            BLOB NOT NULL,
    scope           TEXT NOT NULL,
    was_cut         INTEGER NOT NULL,
    at_ms           INTEGER NOT NULL,
    received_ms     INTEGER NOT NULL,
    session         TEXT,
    category        TEXT NOT NULL,
    severity        TEXT NOT NULL,
    draft           TEXT NOT NULL,
    final           TEXT NOT NULL,
    context         TEXT NOT NULL,
    summary         TEXT NOT NULL,
    edit_distance   REAL,
    classifications TEXT NOT NULL,
    event_ids       TEXT NOT NULL,
    source          TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    sdk             TEXT NOT NULL,
    via_ingest      INTEGER NOT NULL,
    via_single      INTEGER NOT NULL,
    via_sync        INTEGER NOT NULL,
    via_push        INTEGER NOT NULL,
    via_correct     INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX corrections_same ON corrections (brain, hash, scope);
CREATE INDEX corrections_by_brain ON corrections (brain, no);
CREATE INDEX corrections_by_account ON corrections (account, no);

CREATE TABLE correction_ids (
    brain      INTEGER NOT NULL,
    event_id   TEXT NOT NULL,
    correction INTEGER NOT NULL,
    PRIMARY KEY (brain, event_id)
) STRICT, WITHOUT ROWID;

-- Long texts by the hash of what a route that cuts them leaves.
CREATE TABLE cut_hashes (
    brain      INTEGER NOT NULL,
    cut_hash   BLOB NOT NULL,
    scope      TEXT NOT NULL,
    correction INTEGER NOT NULL,
    PRIMARY KEY (brain, cut_hash, scope, correction)
) STRICT, WITHOUT ROWID;

-- Words of corrections, for searching; the texts themselves are in `corrections`.
CREATE VIRTUAL TABLE words USING fts5(
    draft, final, summary,
    content = '', contentless_delete = 1, detail = none,
    tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE lessons (
    no         INTEGER PRIMARY KEY,
    brain      INTEGER NOT NULL,
    account    TEXT NOT NULL,
    lesson_id  TEXT NOT NULL,
    category   TEXT NOT NULL,
    text       TEXT NOT NULL,
    state      TEXT NOT NULL,
    confidence REAL NOT NULL,
    fires      INTEGER NOT NULL,
    corrections INTEGER NOT NULL,
    scope      TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    source     TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    decision   TEXT NOT NULL DEFAULT '' CHECK (decision IN ('', 'approved', 'rejected')),
    decided_by TEXT NOT NULL DEFAULT '',
    decided_ms INTEGER,
    UNIQUE (brain, lesson_id)
) STRICT;

CREATE INDEX lessons_by_change ON lessons (updated_ms, no);

CREATE TABLE events (
    no          INTEGER PRIMARY KEY,
    brain       INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    type        TEXT NOT NULL,
    source      TEXT NOT NULL,
    session     TEXT,
    at_ms       INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    data        TEXT NOT NULL,
    tags        TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_once ON events (brain, event_id);

-- Which numbers of a sender came, and what it said of its queue last. `gaps` is JSON.
CREATE TABLE sources (
    brain     INTEGER NOT NULL,
    source    TEXT NOT NULL,
    sdk       TEXT NOT NULL,
    newest    INTEGER NOT NULL,
    gaps      TEXT NOT NULL,
    forgotten INTEGER NOT NULL,
    depth     INTEGER NOT NULL,
    oldest_ms INTEGER NOT NULL,
    heard_ms  INTEGER NOT NULL,
    PRIMARY KEY (brain, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    brain        INTEGER NOT NULL,
    sdk          TEXT NOT NULL,
    accepted     INTEGER NOT NULL,
    deduplicated INTEGER NOT NULL,
    refused      INTEGER NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL,
    PRIMARY KEY (brain, sdk)
) STRICT, WITHOUT ROWID;

-- New corrections of each hour since the epoch, by severity; and refused rows as severity ''.
CREATE TABLE hours (
    brain    INTEGER NOT NULL,
    hour     INTEGER NOT NULL,
    severity TEXT NOT NULL,
    rows     INTEGER NOT NULL,
    PRIMARY KEY (brain, hour, severity)
) STRICT, WITHOUT ROWID;

CREATE TABLE numbers (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO numbers (name, value) VALUES ('correction', 0);
