-- name: browsers
-- Keys of browsers of one account or all, the newest first.
SELECT account, id, name, kind, public_key, locked, created_ms, created_by, revoked_ms
FROM browsers WHERE :account IS NULL OR account = :account
ORDER BY created_ms DESC, id LIMIT :limit;

-- name: browsers_of_id
-- The keys with an id, of one account or all.
SELECT account, id, name, kind, public_key, locked, created_ms, created_by, revoked_ms
FROM browsers WHERE id = :id AND (:account IS NULL OR account = :account) ORDER BY account;

-- name: add_browser
-- Add a browser's key where there is room and it is new; nothing changes where not.
INSERT INTO browsers (account, id, name, kind, public_key, locked, created_ms, created_by)
SELECT :account, :id, :name, :kind, :public_key, :locked, :created_ms, :created_by
WHERE (SELECT count(*) FROM browsers WHERE account = :account AND revoked_ms IS NULL) < :most
ON CONFLICT (account, id) DO NOTHING
RETURNING 1;

-- name: drop_revoked_browsers!
-- Delete the keys of an account that were revoked before the newest few.
DELETE FROM browsers WHERE account = :account AND id IN (
    SELECT id FROM browsers WHERE account = :account AND revoked_ms IS NOT NULL
    ORDER BY revoked_ms DESC, id LIMIT -1 OFFSET :most
);

-- name: revoke_browser!
-- Revoke a browser's key, and forget what it locks; the first time stays.
UPDATE browsers SET revoked_ms = :now_ms, locked = ''
WHERE account = :account AND id = :id AND revoked_ms IS NULL;

-- name: copies
-- What is sealed to browsers of an account of a node's keys, the newest first.
SELECT account, browser, node, key_id, sealed, at_ms, given_by FROM sealed_keys
WHERE node = :node AND account = :account ORDER BY at_ms DESC, key_id;

-- name: copy_obstacle
-- Why a copy may not be added, empty where it may. Only what the same giver gave may make way for it.
SELECT CASE
    WHEN NOT EXISTS (
        SELECT 1 FROM browsers WHERE account = :account AND id = :browser AND revoked_ms IS NULL
    ) THEN 'no_browser'
    WHEN :alone AND EXISTS (
        SELECT 1 FROM sealed_keys WHERE node = :node AND account = :account AND browser <> :browser
    ) THEN 'not_alone'
    WHEN EXISTS (
        SELECT 1 FROM sealed_keys
        WHERE node = :node AND account = :account AND browser = :browser AND key_id = :key_id
          AND NOT (:renews AND given_by = :by)
    ) THEN 'known'
    WHEN (
        SELECT count(*) FROM sealed_keys
        WHERE node = :node AND account = :account AND browser = :browser
          AND NOT (:renews AND given_by = :by)
    ) >= :most THEN 'full'
    ELSE ''
END;

-- name: put_copy!
-- Add a copy, or replace that of its key id.
INSERT INTO sealed_keys (node, account, browser, key_id, sealed, at_ms, given_by)
VALUES (:node, :account, :browser, :key_id, :sealed, :at_ms, :by)
ON CONFLICT (node, account, browser, key_id) DO UPDATE SET
    sealed = excluded.sealed, at_ms = excluded.at_ms;

-- name: drop_older_copies!
-- Delete what a giver gave of a node to a browser beyond the newest that have room beside others'.
DELETE FROM sealed_keys
WHERE node = :node AND account = :account AND browser = :browser AND given_by = :by AND key_id IN (
    SELECT key_id FROM sealed_keys
    WHERE node = :node AND account = :account AND browser = :browser AND given_by = :by
    ORDER BY at_ms DESC, key_id LIMIT -1 OFFSET :most - (
        SELECT count(*) FROM sealed_keys
        WHERE node = :node AND account = :account AND browser = :browser AND given_by <> :by
    )
);
