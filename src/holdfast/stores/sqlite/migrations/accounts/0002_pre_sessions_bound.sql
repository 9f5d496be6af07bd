-- Sessions end when they are not used, and stay with the browser that began them. Those of before
-- have no secret for changes, so their browsers sign in again.

DROP TABLE sessions;

CREATE TABLE sessions (
    hash          TEXT PRIMARY KEY,
    person        TEXT NOT NULL REFERENCES people (name),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms    INTEGER NOT NULL,
    bound         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_person ON sessions (person);
