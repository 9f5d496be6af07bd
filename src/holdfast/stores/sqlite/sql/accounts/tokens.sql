-- name: live_tokens
-- How many tokens of an account are not revoked.
SELECT count(*) FROM tokens WHERE account IS :account AND revoked_at_ms IS NULL;

-- name: add_token!
-- Add a token.
INSERT INTO tokens (id, hash, name, scope, account, created_at_ms, created_by, expires_at_ms,
                    last_used_at_ms, revoked_at_ms)
VALUES (:id, :hash, :name, :scope, :account, :created_at_ms, :created_by, :expires_at_ms,
        :last_used_at_ms, :revoked_at_ms);

-- name: token
-- The token with this hash.
SELECT id, hash, name, scope, account, created_at_ms, created_by, expires_at_ms,
       last_used_at_ms, revoked_at_ms
FROM tokens WHERE hash = :hash;

-- name: all_tokens
-- Every token, newest first.
SELECT id, hash, name, scope, account, created_at_ms, created_by, expires_at_ms,
       last_used_at_ms, revoked_at_ms
FROM tokens ORDER BY created_at_ms DESC, id LIMIT :limit;

-- name: account_tokens
-- The tokens of one account, newest first.
SELECT id, hash, name, scope, account, created_at_ms, created_by, expires_at_ms,
       last_used_at_ms, revoked_at_ms
FROM tokens WHERE account = :account ORDER BY created_at_ms DESC, id LIMIT :limit;

-- name: revoke_token
-- Revoke a token; one that is revoked already keeps its first time.
UPDATE tokens SET revoked_at_ms = coalesce(revoked_at_ms, :now_ms)
WHERE id = :id AND (:account IS NULL OR account = :account)
RETURNING id, hash, name, scope, account, created_at_ms, created_by, expires_at_ms,
          last_used_at_ms, revoked_at_ms;

-- name: note_use!
-- Note when a token was last used, never earlier than noted already.
UPDATE tokens SET last_used_at_ms = max(coalesce(last_used_at_ms, 0), :at_ms) WHERE id = :id;
