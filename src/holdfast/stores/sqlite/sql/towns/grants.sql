-- name: grants
-- Every token of an attempt.
SELECT hash, town, agent, attempt, issued_ms FROM grants ORDER BY town, agent;

-- name: put_grant!
-- Keep an agent's token in place of the one before.
INSERT INTO grants (town, agent, attempt, hash, issued_ms)
VALUES (:town, :agent, :attempt, :hash, :issued_ms)
ON CONFLICT (town, agent) DO UPDATE
SET attempt = excluded.attempt, hash = excluded.hash, issued_ms = excluded.issued_ms;

-- name: drop_grants!
-- Delete tokens by their hashes.
DELETE FROM grants WHERE hash IN (SELECT value FROM json_each(:hashes));
