-- The journal. Times are milliseconds since the epoch; an address is written kind/id.
-- PostgreSQL takes this with BIGINT, BYTEA, and identity columns for arrival and place.

-- Who writes. Every commit names the epoch it believes in; an older one is refused.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    holder TEXT NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO leases (name, epoch, holder, since_ms) VALUES ('journal', 0, '', 0);

-- One row an actor: where its log ends, its alarm, and its state where that is small.
-- A state too large to be here has its row in snapshots, at state_seq.
CREATE TABLE actors (
    address TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    alarm_ms INTEGER,
    state BLOB,
    state_version INTEGER NOT NULL,
    state_seq INTEGER NOT NULL,
    state_tick INTEGER NOT NULL,
    state_digest TEXT NOT NULL
) STRICT;

CREATE INDEX actors_account ON actors (account);
CREATE INDEX actors_alarm ON actors (alarm_ms) WHERE alarm_ms IS NOT NULL;

-- Mailboxes and logs at once: an event is pending until a tick gives it a seq.
-- id is derived from (address, dedupe key), so its uniqueness is that of the dedupe key. The
-- writer sees to it; the index waits until the event is stamped, because ids come in no order, and
-- an index of them would make each accepted event dirty a page of its own.
CREATE TABLE events (
    arrival INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    actor TEXT NOT NULL,
    seq INTEGER,
    tick INTEGER,
    at_ms INTEGER,
    outcome TEXT,
    code TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    body BLOB NOT NULL,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    cause TEXT NOT NULL,
    author TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX events_pending ON events (arrival, actor, id) WHERE seq IS NULL;
CREATE UNIQUE INDEX events_id ON events (id) WHERE seq IS NOT NULL;
CREATE UNIQUE INDEX events_log ON events (actor, seq) WHERE seq IS NOT NULL;
CREATE INDEX events_cause ON events (cause) WHERE cause <> '' AND seq IS NOT NULL;
CREATE INDEX events_asked ON events (arrival) WHERE source IN ('api', 'cli');
CREATE INDEX events_quarantined ON events (arrival) WHERE outcome = 'quarantined';

-- Calls to the outside. place is the order of all lanes; a lane is in it in its own order.
CREATE TABLE effects (
    place INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    actor TEXT NOT NULL,
    lane TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    provider TEXT NOT NULL,
    body BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    cause TEXT NOT NULL,
    supersedes INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;

CREATE INDEX effects_actor ON effects (actor, place);
CREATE INDEX effects_waiting ON effects (place) WHERE status = 'waiting';
CREATE INDEX effects_lane ON effects (actor, lane) WHERE status = 'waiting';
CREATE INDEX effects_cause ON effects (cause);

-- Standing questions to the outside.
CREATE TABLE probes (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    provider TEXT NOT NULL,
    body BLOB NOT NULL,
    period_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;

-- Names that one actor at a time may hold.
CREATE TABLE claims (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

-- What people read; seq is that of the commit that wrote the row.
CREATE TABLE view_rows (
    view TEXT NOT NULL,
    key TEXT NOT NULL,
    account TEXT NOT NULL,
    body BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (view, key)
) STRICT;

CREATE INDEX view_rows_account ON view_rows (view, account, key);

-- States to replay from: the newest of a large actor, and one each 64 events of any.
CREATE TABLE snapshots (
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (actor, seq)
) STRICT;

-- What each tick was given and decided.
CREATE TABLE ticks (
    actor TEXT NOT NULL,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    record BLOB,
    PRIMARY KEY (actor, number)
) STRICT;

-- Policies by the hash of their contents, for replays.
CREATE TABLE policies (
    hash TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
