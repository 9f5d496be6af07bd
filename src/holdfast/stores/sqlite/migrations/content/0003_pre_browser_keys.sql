-- Public keys of owners' browsers, and nodes' content keys that are sealed to them.

CREATE TABLE browsers (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    public_key TEXT NOT NULL,
    locked TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    revoked_ms BIGINT,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;

CREATE TABLE sealed_keys (
    node TEXT NOT NULL,
    account TEXT NOT NULL,
    browser TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    given_by TEXT NOT NULL,
    PRIMARY KEY (node, account, browser, key_id)
) WITHOUT ROWID;

CREATE INDEX sealed_keys_of_browser ON sealed_keys (account, browser);

-- A revoked browser keeps nothing: also where the revocation came by other means than a statement of ours.
CREATE TRIGGER copies_of_revoked AFTER UPDATE OF revoked_ms ON browsers
WHEN new.revoked_ms IS NOT NULL
BEGIN
    DELETE FROM sealed_keys WHERE account = new.account AND browser = new.id;
END;
