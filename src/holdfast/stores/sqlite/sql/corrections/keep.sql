-- name: add_brain!
-- Add a brain; nothing happens where the account has one of this name.
INSERT INTO brains (id, name, account, instance, created_at_ms)
VALUES (:id, :name, :account, :instance, :created_at_ms)
ON CONFLICT (account, name) DO NOTHING;

-- name: brain_named
-- The brain of this name.
SELECT no, id, name, account, instance, created_at_ms FROM brains
WHERE account = :account AND name = :name;

-- name: brains
-- Every brain.
SELECT no, id, name, account, instance, created_at_ms FROM brains ORDER BY no;

-- name: add_alias!
-- Add a name that a sender calls a brain by; the first brain of a name keeps it.
INSERT OR IGNORE INTO aliases (account, alias, brain) VALUES (:account, :alias, :brain);

-- name: aliases
-- Every name that a sender calls a brain by.
SELECT account, alias, brain FROM aliases;

-- name: add_key!
-- Add a key.
INSERT INTO keys (id, hash, name, account, brain, created_at_ms, created_by, last_used_at_ms,
                  revoked_at_ms)
VALUES (:id, :hash, :name, :account, :brain, :created_at_ms, :created_by, :last_used_at_ms,
        :revoked_at_ms);

-- name: keys
-- Every key.
SELECT id, hash, name, account, brain, created_at_ms, created_by, last_used_at_ms, revoked_at_ms
FROM keys;

-- name: revoke_key!
-- Revoke a key.
UPDATE keys SET revoked_at_ms = :now_ms WHERE id = :id AND revoked_at_ms IS NULL;

-- name: note_key_use!
-- Note when a key was used last.
UPDATE keys SET last_used_at_ms = max(coalesce(last_used_at_ms, 0), :at_ms) WHERE id = :id;

-- name: decide_lesson!
-- Keep what a person decided about a lesson.
UPDATE lessons SET decision = :decision, decided_by = :decided_by, decided_ms = :now_ms,
    verdict_no = 1 + coalesce((
        SELECT max(o.verdict_no) FROM lessons AS o
        WHERE o.brain = lessons.brain AND o.verdict_no > 0
    ), 0)
WHERE no = :no AND (:account IS NULL OR account = :account);

-- name: take_verdicts!
-- Note up to which number a brain has what was decided.
INSERT INTO verdicts_taken (brain, taken_no, taken_ms) VALUES (:brain, :taken_no, :now_ms)
ON CONFLICT (brain) DO UPDATE SET taken_no = excluded.taken_no, taken_ms = excluded.taken_ms
WHERE excluded.taken_no > verdicts_taken.taken_no;

-- name: oldest_corrections
-- The oldest corrections received before a moment.
SELECT no, brain, event_ids FROM corrections
WHERE received_ms < :before_ms ORDER BY received_ms, no LIMIT :limit;

-- name: lowest_number
-- The lowest number of a correction that is kept, or the next one where none is.
SELECT coalesce(
    (SELECT min(no) FROM corrections), (SELECT value + 1 FROM numbers WHERE name = 'correction')
);

-- name: drop_correction!
-- Forget a correction.
DELETE FROM corrections WHERE no = :no;

-- name: drop_id!
-- Forget an event id.
DELETE FROM correction_ids WHERE brain = :brain AND event_id = :event_id;

-- name: drop_cut_hashes!
-- Forget what cuts leave of a correction.
DELETE FROM cut_hashes WHERE correction = :no;

-- name: drop_events!
-- Forget the oldest events received before a moment.
DELETE FROM events WHERE no IN (
    SELECT no FROM events WHERE received_ms < :before_ms ORDER BY received_ms, no LIMIT :limit
);

-- name: drop_lessons!
-- Forget lessons of which nothing was told since a moment and nobody decided anything.
DELETE FROM lessons WHERE updated_ms < :before_ms AND decision = '';

-- name: drop_sources!
-- Forget senders that said nothing since a moment.
DELETE FROM sources WHERE heard_ms < :before_ms;

-- name: drop_hours!
-- Forget counts of hours before one.
DELETE FROM hours WHERE hour < :hour;
