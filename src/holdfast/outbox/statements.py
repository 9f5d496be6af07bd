"""The SQL of the outbox: its tables, and each statement with its purpose.

Embedded rather than in files, because it is loaded inside other people's programs, where every
opened file costs time. The first seven columns of `sync_queue` are those an existing folder may
already have; ours follow them, so that existing readers of the table still work.
"""

from __future__ import annotations

from typing import Final

# state: 0 pending, 1 delivered, 2 dead letter. NULL: another program's row, not ours to send.
QUEUE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS sync_queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  payload_json TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('correction', 'lesson', 'event')),
  enqueued_at REAL NOT NULL,
  synced_at REAL,
  attempts INTEGER DEFAULT 0,
  last_error TEXT,
  event_id TEXT,
  source TEXT,
  seq INTEGER,
  state INTEGER,
  status INTEGER,
  dead_at REAL,
  checksum INTEGER
)"""

OUR_COLUMNS: Final = (
    ("event_id", "TEXT"),
    ("source", "TEXT"),
    ("seq", "INTEGER"),
    ("state", "INTEGER"),
    ("status", "INTEGER"),
    ("dead_at", "REAL"),
    ("checksum", "INTEGER"),
)

META_TABLE: Final = """
CREATE TABLE IF NOT EXISTS outbox_meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  source TEXT NOT NULL,
  inode INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  pending INTEGER NOT NULL,
  pending_bytes INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  deduplicated INTEGER NOT NULL,
  discarded INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  checksum INTEGER NOT NULL
)"""

# Notes change rarely and are not counted: last error, start of the failure, learned batch size.
NOTES_TABLE: Final = """
CREATE TABLE IF NOT EXISTS outbox_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)"""

INDEXES: Final = (
    # The index an existing folder has, under its name.
    (
        "CREATE INDEX IF NOT EXISTS idx_sync_queue_pending ON sync_queue (synced_at)"
        " WHERE synced_at IS NULL"
    ),
    # Ours: what is to be sent, in order.
    "CREATE INDEX IF NOT EXISTS outbox_pending ON sync_queue (id) WHERE state = 0",
    "CREATE INDEX IF NOT EXISTS outbox_settled ON sync_queue (state, id) WHERE state > 0",
    # One event is one row.
    (
        "CREATE UNIQUE INDEX IF NOT EXISTS outbox_event ON sync_queue (event_id)"
        " WHERE event_id IS NOT NULL"
    ),
)

META_READ: Final = (
    "SELECT source, inode, seq, pending, pending_bytes, dead, delivered, deduplicated,"
    " discarded, dropped, lost, checksum FROM outbox_meta WHERE one = 1"
)
META_WRITE: Final = (
    "INSERT OR REPLACE INTO outbox_meta (one, source, inode, seq, pending, pending_bytes, dead,"
    " delivered, deduplicated, discarded, dropped, lost, checksum)"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
NOTE_READ: Final = "SELECT name, value FROM outbox_notes"
NOTE_WRITE: Final = "INSERT OR REPLACE INTO outbox_notes (name, value) VALUES (?, ?)"

# An event id that is there already makes no second row.
ENQUEUE: Final = (
    "INSERT INTO sync_queue (payload_json, kind, enqueued_at, event_id, source, seq, state,"
    " checksum) VALUES (?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING"
)
FORGET: Final = "DELETE FROM sync_queue WHERE event_id = ? AND state = 1"
KNOWN_SEQ: Final = "SELECT seq FROM sync_queue WHERE event_id = ?"
PICK: Final = (
    "SELECT id, payload_json, kind, enqueued_at, attempts, event_id, source, seq, state,"
    " checksum FROM sync_queue INDEXED BY outbox_pending"
    " WHERE state = 0 AND id > ? ORDER BY id LIMIT ?"
)
PICK_NEWEST: Final = (
    "SELECT id, payload_json, kind, enqueued_at, attempts, event_id, source, seq, state,"
    " checksum FROM sync_queue INDEXED BY outbox_pending"
    " WHERE state = 0 ORDER BY id DESC LIMIT 1"
)
OLDEST: Final = (
    "SELECT id, enqueued_at FROM sync_queue INDEXED BY outbox_pending"
    " WHERE state = 0 ORDER BY id LIMIT 1"
)
NEWEST_ROW: Final = "SELECT max(id) FROM sync_queue"
PENDING_UP_TO: Final = (
    "SELECT count(*) FROM sync_queue INDEXED BY outbox_pending WHERE state = 0 AND id <= ?"
)
PENDING_COUNT: Final = "SELECT count(*) FROM sync_queue INDEXED BY outbox_pending WHERE state = 0"
# The same by reading the table itself: if they differ, the index is damaged.
PENDING_SCAN: Final = (
    "SELECT count(*), coalesce(sum(length(CAST(payload_json AS BLOB))), 0),"
    " coalesce(sum(CASE WHEN id >= ? THEN 1 ELSE 0 END), 0)"
    " FROM sync_queue NOT INDEXED WHERE state = 0"
)
DEAD_COUNT: Final = "SELECT count(*) FROM sync_queue WHERE state = 2"
FOREIGN_COUNT: Final = "SELECT count(*) FROM sync_queue WHERE synced_at IS NULL AND state IS NULL"
DELIVERED_SINCE: Final = (
    "SELECT count(*) FROM (SELECT synced_at FROM sync_queue WHERE state = 1 ORDER BY id DESC"
    " LIMIT 600) WHERE synced_at > ? AND synced_at <= ?"
)
DELIVERED: Final = (
    "UPDATE sync_queue SET state = 1, synced_at = ?, attempts = coalesce(attempts, 0) + 1,"
    " last_error = NULL WHERE id = ? AND state = 0"
)
DEAD: Final = (
    "UPDATE sync_queue SET state = 2, dead_at = ?, status = ?, last_error = ?,"
    " attempts = coalesce(attempts, 0) + 1, synced_at = ? WHERE id = ? AND state = 0"
)
TRIED: Final = (
    "UPDATE sync_queue SET attempts = coalesce(attempts, 0) + 1, last_error = ?"
    " WHERE id = ? AND state = 0"
)
GONE: Final = "DELETE FROM sync_queue WHERE id = ? AND state = 0"
PURGE: Final = (
    "DELETE FROM sync_queue WHERE state = 1 AND (synced_at < ? OR id <= coalesce(("
    "SELECT id FROM sync_queue WHERE state = 1 ORDER BY id DESC LIMIT 1 OFFSET ?), 0))"
)
DEAD_LIST: Final = (
    "SELECT id, event_id, kind, seq, status, last_error, attempts, enqueued_at, dead_at,"
    " payload_json FROM sync_queue WHERE state = 2 AND id > ? ORDER BY id LIMIT ?"
)
REDRIVE: Final = (
    "UPDATE sync_queue SET state = 0, dead_at = NULL, status = NULL, synced_at = NULL,"
    " attempts = 0 WHERE id = ? AND state = 2"
)
DEAD_IDS: Final = (
    "SELECT id, length(CAST(payload_json AS BLOB)) FROM sync_queue WHERE state = 2 ORDER BY id"
)
WITHDRAW_FIND: Final = (
    "SELECT id, state, event_id, length(CAST(payload_json AS BLOB)) FROM sync_queue"
    " WHERE event_id >= ? AND event_id < ? AND state IS NOT NULL ORDER BY id"
)
WITHDRAW: Final = "DELETE FROM sync_queue WHERE id = ?"
DEAD_DROP: Final = "DELETE FROM sync_queue WHERE id = ? AND state = 2"

# What is left of a damaged table is read in order, then row by row.
SALVAGE_SCAN: Final = (
    "SELECT id, payload_json, kind, enqueued_at, attempts, event_id, source, seq, state, checksum,"
    " status, dead_at, last_error FROM sync_queue NOT INDEXED WHERE id > ? ORDER BY id"
)
SALVAGE_ROW: Final = (
    "SELECT id, payload_json, kind, enqueued_at, attempts, event_id, source, seq, state, checksum,"
    " status, dead_at, last_error FROM sync_queue NOT INDEXED WHERE id = ?"
)
SALVAGED: Final = (
    "INSERT INTO sync_queue (id, payload_json, kind, enqueued_at, attempts, event_id, source,"
    " seq, state, checksum, status, dead_at, last_error, synced_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
ROW_NUMBER_READ: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'sync_queue'"
ROW_NUMBER_ADD: Final = "INSERT INTO sqlite_sequence (name, seq) VALUES ('sync_queue', ?)"
ROW_NUMBER_SET: Final = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'sync_queue'"
