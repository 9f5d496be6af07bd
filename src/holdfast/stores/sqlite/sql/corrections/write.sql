-- name: known_ids
-- Which corrections have one of these event ids.
SELECT brain, event_id, correction FROM correction_ids
WHERE (brain, event_id) IN (VALUES :rows);

-- name: known_corrections
-- Which corrections say the same as one of these.
SELECT brain, hash, scope, no FROM corrections
WHERE (brain, hash, scope) IN (VALUES :rows);

-- name: cut_candidates
-- Corrections whose texts begin alike, the first first.
SELECT c.no, c.was_cut, c.draft, c.final
FROM cut_hashes AS h JOIN corrections AS c ON c.no = h.correction
WHERE h.brain = :brain AND h.cut_hash = :cut_hash AND h.scope = :scope
ORDER BY c.no LIMIT 16;

-- name: one_correction
-- What a repeat may change of a correction.
SELECT brain, event_ids, at_ms, via_ingest, via_single, via_sync, via_push, via_correct,
    severity, category, summary, edit_distance, classifications, context
FROM corrections WHERE no = :no;

-- name: take_numbers
-- Take the next numbers of corrections; the last of them comes back.
UPDATE numbers SET value = value + :many WHERE name = 'correction' RETURNING value;

-- name: add_corrections!
-- Add new corrections.
INSERT INTO corrections (
    no, brain, account, hash, scope, was_cut, at_ms, received_ms, session, category, severity,
    draft, final, context, summary, edit_distance, classifications, event_ids, source, seq, sdk,
    via_ingest, via_single, via_sync, via_push, via_correct
) VALUES :rows;

-- name: add_ids!
-- Remember event ids of corrections.
INSERT OR IGNORE INTO correction_ids (brain, event_id, correction) VALUES :rows;

-- name: add_cut_hashes!
-- Remember what a cut leaves of long texts.
INSERT OR IGNORE INTO cut_hashes (brain, cut_hash, scope, correction) VALUES :rows;

-- name: repeat_correction!
-- A correction came again, or by another route.
UPDATE corrections SET event_ids = :event_ids, via_ingest = :via_ingest, via_single = :via_single,
    via_sync = :via_sync, via_push = :via_push, via_correct = :via_correct,
    severity = :severity, category = :category, summary = :summary,
    edit_distance = :edit_distance, classifications = :classifications, context = :context
WHERE no = :no;

-- name: texts
-- The texts of a correction.
SELECT draft, final FROM corrections WHERE no = :no;

-- name: complete_correction!
-- More of the texts came of a correction that was cut; what came may be cut itself, further on.
UPDATE corrections SET hash = :hash, was_cut = :was_cut, draft = :draft, final = :final
WHERE no = :no;

-- name: add_events
-- Add events that are not known; what was added comes back.
INSERT INTO events (
    brain, event_id, type, source, session, at_ms, received_ms, data, tags
) VALUES :rows
ON CONFLICT (brain, event_id) DO NOTHING RETURNING brain, event_id;

-- name: put_lesson!
-- Keep a lesson as its brain tells it; an older telling changes nothing. Of one sender the number
-- says which is older, since its clock may be set back; of two senders only the clock can.
INSERT INTO lessons (
    brain, account, lesson_id, category, text, state, confidence, fires, corrections, scope,
    updated_ms, source, seq
) VALUES (
    :brain, :account, :lesson_id, :category, :text, :state, :confidence, :fires, :corrections,
    :scope, :at_ms, :source, :seq
) ON CONFLICT (brain, lesson_id) DO UPDATE SET
    category = excluded.category, text = excluded.text, state = excluded.state,
    confidence = excluded.confidence, fires = excluded.fires, corrections = excluded.corrections,
    scope = excluded.scope, updated_ms = excluded.updated_ms, source = excluded.source,
    seq = excluded.seq
WHERE CASE WHEN excluded.source = lessons.source AND excluded.seq > 0
    THEN excluded.seq > lessons.seq ELSE excluded.updated_ms > lessons.updated_ms END;

-- name: some_sources
-- What is known of these senders.
SELECT brain, source, newest, gaps, forgotten FROM sources
WHERE (brain, source) IN (VALUES :rows);

-- name: put_sources!
-- Keep what is known of senders.
INSERT INTO sources (
    brain, source, sdk, newest, gaps, forgotten, depth, oldest_ms, heard_ms
) VALUES :rows
ON CONFLICT (brain, source) DO UPDATE SET
    sdk = excluded.sdk, newest = excluded.newest, gaps = excluded.gaps,
    forgotten = excluded.forgotten, depth = excluded.depth, oldest_ms = excluded.oldest_ms,
    heard_ms = excluded.heard_ms;

-- name: add_counts!
-- Count rows by what became of them.
INSERT INTO counts (
    brain, sdk, accepted, deduplicated, refused, first_ms, last_ms
) VALUES :rows
ON CONFLICT (brain, sdk) DO UPDATE SET
    accepted = accepted + excluded.accepted, deduplicated = deduplicated + excluded.deduplicated,
    refused = refused + excluded.refused, last_ms = max(last_ms, excluded.last_ms);

-- name: add_hours!
-- Count rows of an hour.
INSERT INTO hours (brain, hour, severity, rows) VALUES :rows
ON CONFLICT (brain, hour, severity) DO UPDATE SET rows = hours.rows + excluded.rows;
