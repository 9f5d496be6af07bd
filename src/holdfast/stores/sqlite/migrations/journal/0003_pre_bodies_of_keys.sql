-- What was asked for with an Idempotency-Key, by the id of its event: a digest of the body, so that
-- the same key with another body is refused. Events from before this have none, and are taken for
-- the same.
CREATE TABLE key_bodies (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,
    asked_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
