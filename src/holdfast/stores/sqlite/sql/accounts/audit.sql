-- name: audit_head
-- The last row of the chain.
SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1;

-- name: append_audit!
-- Append a row to the chain.
INSERT INTO audit (seq, before, hash, at_ms, phase, begins, who, how, account, endpoint, target,
                   peer, request_id, key, status)
VALUES (:seq, :before, :hash, :at_ms, :phase, :begins, :who, :how, :account, :endpoint, :target,
        :peer, :request_id, :key, :status);

-- name: audit
-- Begin rows with what their end rows added, newest first.
SELECT a.seq, a.before, a.hash, a.at_ms, a.phase, a.begins, a.who, a.how, a.account, a.endpoint,
       a.target, a.peer, a.request_id, a.key, a.status, coalesce(e.status, 0), coalesce(e.who, '')
FROM audit AS a LEFT JOIN audit AS e ON e.phase = 'end' AND e.begins = a.seq
WHERE a.phase = 'begin' AND a.seq < :below AND (:account IS NULL OR a.account = :account)
ORDER BY a.seq DESC LIMIT :limit;

-- name: audit_chain
-- Rows in the order of the chain.
SELECT seq, before, hash, at_ms, phase, begins, who, how, account, endpoint, target, peer,
       request_id, key, status
FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit;
