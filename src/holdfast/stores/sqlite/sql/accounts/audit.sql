-- name: audit_head
-- The last row of the chain, also where it was purged.
SELECT seq, hash FROM audit UNION ALL SELECT seq, hash FROM audit_anchors
ORDER BY seq DESC LIMIT 1;

-- name: audit_anchor
-- The last row that was purged.
SELECT seq, hash FROM audit_anchors ORDER BY seq DESC LIMIT 1;

-- name: audit_over
-- The last row up to which most are older than a moment, never the last row of all: dates that a
-- clock gave while it was set wrongly are outvoted.
SELECT seq, hash FROM (
    SELECT seq, hash, at_ms,
           sum(CASE WHEN at_ms < :before_ms THEN 1 ELSE -1 END) OVER (ORDER BY seq) AS older
    FROM audit
)
WHERE at_ms < :before_ms AND older >= 0 AND seq < (SELECT max(seq) FROM audit)
ORDER BY seq DESC LIMIT 1;

-- name: add_anchor!
-- Keep up to where the audit is purged.
INSERT INTO audit_anchors (seq, hash, at_ms) SELECT :seq, :hash, :now_ms
WHERE :seq > (SELECT coalesce(max(seq), 0) FROM audit_anchors);

-- name: purge_audit!
-- Delete some rows up to the anchor.
DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= :seq ORDER BY seq LIMIT :limit);

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
