-- Observed nodes, their keys, what was refused of them, and the content that was let in.

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    account TEXT NOT NULL,
    node TEXT NOT NULL,
    instance TEXT NOT NULL,
    source TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_with TEXT NOT NULL,
    last_used_ms BIGINT,
    revoked_ms BIGINT
) WITHOUT ROWID;

CREATE TABLE nodes (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    instance TEXT NOT NULL,
    first_ms BIGINT NOT NULL,
    heard_ms BIGINT NOT NULL,
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    facts TEXT NOT NULL,
    gap_from_ms BIGINT NOT NULL,
    intents_refused BIGINT NOT NULL
);

-- Counts alone: nothing of what was refused.
CREATE TABLE refused (
    node BIGINT NOT NULL,
    class TEXT NOT NULL,
    why TEXT NOT NULL,
    requests BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (node, class, why)
) WITHOUT ROWID;

-- One row for each session, job, file or day of a node, and one for the sealed bodies of a class.
CREATE TABLE streams (
    no INTEGER PRIMARY KEY,
    node BIGINT NOT NULL,
    class TEXT NOT NULL,
    name TEXT NOT NULL,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    UNIQUE (node, class, name)
);

CREATE TABLE items (
    no INTEGER PRIMARY KEY,
    stream BIGINT NOT NULL,
    identity BLOB NOT NULL,
    at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    sealed BIGINT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (stream, identity)
);

CREATE INDEX items_by_time ON items (stream, at_ms);
CREATE INDEX items_by_receipt ON items (received_ms);
