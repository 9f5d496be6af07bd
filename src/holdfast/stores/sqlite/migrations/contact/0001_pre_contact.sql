-- Last contact: one row an instance, overwritten in batches each second. The body is the whole
-- row as JSON; what is beside it is for people who look into the file.
CREATE TABLE contact (
    instance TEXT NOT NULL PRIMARY KEY,
    heard_ms BIGINT NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
