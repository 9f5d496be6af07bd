-- name: browsers
-- Keys of browsers of one account or all, the newest first.
SELECT account, id, name, kind, public_key, locked, created_ms, created_by, revoked_ms
FROM browsers WHERE :account IS NULL OR account = :account
ORDER BY created_ms DESC, id LIMIT :limit;

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
-- Revoke a browser's key; the first time stays.
UPDATE browsers SET revoked_ms = :now_ms
WHERE account = :account AND id = :id AND revoked_ms IS NULL;

-- name: copies
-- What is sealed to browsers of an account of a node's keys, the newest first.
SELECT account, browser, node, key_id, sealed, at_ms, given_by FROM sealed_keys
WHERE node = :node AND account = :account ORDER BY at_ms DESC, key_id;

-- name: add_copy
-- Add a copy for a browser that is not revoked; nothing changes where there is none.
INSERT INTO sealed_keys (node, account, browser, key_id, sealed, at_ms, given_by)
SELECT :node, :account, :browser, :key_id, :sealed, :at_ms, :by
FROM browsers WHERE account = :account AND id = :browser AND revoked_ms IS NULL
ON CONFLICT (node, account, browser, key_id) DO UPDATE SET
    sealed = excluded.sealed, at_ms = excluded.at_ms, given_by = excluded.given_by
RETURNING 1;

-- name: drop_older_copies!
-- Delete the copies of a node for a browser beyond the newest few.
DELETE FROM sealed_keys
WHERE node = :node AND account = :account AND browser = :browser AND key_id IN (
    SELECT key_id FROM sealed_keys
    WHERE node = :node AND account = :account AND browser = :browser
    ORDER BY at_ms DESC, key_id LIMIT -1 OFFSET :most
);
