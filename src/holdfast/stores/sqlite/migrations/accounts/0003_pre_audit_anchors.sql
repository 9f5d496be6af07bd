-- Up to which row the audit was purged, and that row's hash, which the first row that is left names
-- as the one before it. Only rows up to there can be deleted.

CREATE TABLE audit_anchors (
    seq   INTEGER PRIMARY KEY,
    hash  TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER audit_anchors_keep_rows BEFORE DELETE ON audit_anchors
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_anchors_keep_values BEFORE UPDATE ON audit_anchors
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

DROP TRIGGER audit_keeps_rows;

CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT coalesce(max(seq), 0) FROM audit_anchors)
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
