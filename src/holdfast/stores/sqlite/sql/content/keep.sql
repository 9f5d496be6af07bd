-- name: add_key!
-- Add a key.
INSERT INTO keys (id, hash, name, account, node, instance, source, created_ms, created_by,
                  created_with, last_used_ms, revoked_ms)
VALUES (:id, :hash, :name, :account, :node, :instance, :source, :created_ms, :created_by,
        :created_with, :last_used_ms, :revoked_ms);

-- name: drop_key!
-- Delete a key.
DELETE FROM keys WHERE id = :id;

-- name: keys
-- Every key.
SELECT id, hash, name, account, node, instance, source, created_ms, created_by, created_with,
       last_used_ms, revoked_ms
FROM keys;

-- name: revoke_key!
-- Revoke a key.
UPDATE keys SET revoked_ms = :now_ms WHERE id = :id AND revoked_ms IS NULL;

-- name: note_key_use!
-- Note when a key was used last.
UPDATE keys SET last_used_ms = max(coalesce(last_used_ms, 0), :at_ms) WHERE id = :id;

-- name: nodes
-- Every node with the bytes that are kept of it.
SELECT n.no, n.id, n.account, n.name, n.key, n.instance, n.first_ms, n.heard_ms, n.version,
       n.platform, n.facts, n.gap_from_ms, n.intents_refused, n.senders,
       coalesce((SELECT sum(s.bytes) FROM streams AS s WHERE s.node = n.no), 0)
FROM nodes AS n ORDER BY n.no;

-- name: last_no
-- The highest number of a node that anything was stored of.
SELECT max(coalesce((SELECT max(no) FROM nodes), 0), coalesce((SELECT max(node) FROM streams), 0));

-- name: put_nodes!
-- Put nodes in place of those before, many in one step.
INSERT INTO nodes (no, id, account, name, key, instance, first_ms, heard_ms, version, platform,
                   facts, gap_from_ms, intents_refused, senders)
VALUES :rows
ON CONFLICT (no) DO UPDATE SET
    key = excluded.key, heard_ms = excluded.heard_ms, version = excluded.version,
    platform = excluded.platform, facts = excluded.facts, gap_from_ms = excluded.gap_from_ms,
    intents_refused = excluded.intents_refused, senders = excluded.senders;

-- name: refused
-- What was refused of every node.
SELECT node, class, why, requests, bytes, first_ms, last_ms FROM refused;

-- name: put_refused!
-- Put counts in place of those before, many in one step.
INSERT INTO refused (node, class, why, requests, bytes, first_ms, last_ms) VALUES :rows
ON CONFLICT (node, class, why) DO UPDATE SET
    requests = excluded.requests, bytes = excluded.bytes, last_ms = excluded.last_ms;

-- name: budgets
-- The budget of every node that has one.
SELECT node, body FROM budgets ORDER BY node;

-- name: put_budget!
-- Replace the budget of a node.
INSERT INTO budgets (node, body) VALUES (:node, :body)
ON CONFLICT (node) DO UPDATE SET body = excluded.body;

-- name: drop_budget!
-- Delete the budget of a node.
DELETE FROM budgets WHERE node = :node;
