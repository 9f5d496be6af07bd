-- name: corrections_all
-- Corrections of every account, those received last first.
SELECT c.no, c.brain, c.account, c.hash, c.at_ms, c.received_ms, c.session, c.category, c.severity,
    substr(CAST(c.draft AS BLOB), 1, :preview), substr(CAST(c.final AS BLOB), 1, :preview),
    c.summary, c.edit_distance, c.via_ingest, c.via_single, c.via_sync, c.via_push, c.via_correct,
    (SELECT count(*) - 1 FROM corrections AS o WHERE o.brain = c.brain AND o.hash = c.hash)
FROM corrections AS c
WHERE c.no < :below
    AND (:category = '' OR c.category = :category) AND (:severity = '' OR c.severity = :severity)
    AND (:session = '' OR c.session = :session)
ORDER BY c.no DESC LIMIT :limit;

-- name: corrections_account
-- Corrections of one account, those received last first.
SELECT c.no, c.brain, c.account, c.hash, c.at_ms, c.received_ms, c.session, c.category, c.severity,
    substr(CAST(c.draft AS BLOB), 1, :preview), substr(CAST(c.final AS BLOB), 1, :preview),
    c.summary, c.edit_distance, c.via_ingest, c.via_single, c.via_sync, c.via_push, c.via_correct,
    (SELECT count(*) - 1 FROM corrections AS o WHERE o.brain = c.brain AND o.hash = c.hash)
FROM corrections AS c
WHERE c.account = :account AND c.no < :below
    AND (:category = '' OR c.category = :category) AND (:severity = '' OR c.severity = :severity)
    AND (:session = '' OR c.session = :session)
ORDER BY c.no DESC LIMIT :limit;

-- name: corrections_brain
-- Corrections of one brain, those received last first.
SELECT c.no, c.brain, c.account, c.hash, c.at_ms, c.received_ms, c.session, c.category, c.severity,
    substr(CAST(c.draft AS BLOB), 1, :preview), substr(CAST(c.final AS BLOB), 1, :preview),
    c.summary, c.edit_distance, c.via_ingest, c.via_single, c.via_sync, c.via_push, c.via_correct,
    (SELECT count(*) - 1 FROM corrections AS o WHERE o.brain = c.brain AND o.hash = c.hash)
FROM corrections AS c
WHERE c.brain = :brain AND c.no < :below
    AND (:category = '' OR c.category = :category) AND (:severity = '' OR c.severity = :severity)
    AND (:session = '' OR c.session = :session)
ORDER BY c.no DESC LIMIT :limit;

-- name: corrections_found
-- Those of some corrections that pass the filters, those received last first.
SELECT c.no, c.brain, c.account, c.hash, c.at_ms, c.received_ms, c.session, c.category, c.severity,
    substr(CAST(c.draft AS BLOB), 1, :preview), substr(CAST(c.final AS BLOB), 1, :preview),
    c.summary, c.edit_distance, c.via_ingest, c.via_single, c.via_sync, c.via_push, c.via_correct,
    (SELECT count(*) - 1 FROM corrections AS o WHERE o.brain = c.brain AND o.hash = c.hash)
FROM corrections AS c
WHERE c.no IN (SELECT value FROM json_each(:nos))
    AND (:account IS NULL OR c.account = :account) AND (:brain = 0 OR c.brain = :brain)
    AND (:category = '' OR c.category = :category) AND (:severity = '' OR c.severity = :severity)
    AND (:session = '' OR c.session = :session)
ORDER BY c.no DESC LIMIT :limit;

-- name: correction
-- One correction with all that is known of it.
SELECT c.no, c.brain, c.account, c.hash, c.at_ms, c.received_ms, c.session, c.category, c.severity,
    substr(CAST(c.draft AS BLOB), 1, :preview), substr(CAST(c.final AS BLOB), 1, :preview),
    c.summary, c.edit_distance, c.via_ingest, c.via_single, c.via_sync, c.via_push, c.via_correct,
    (SELECT count(*) - 1 FROM corrections AS o WHERE o.brain = c.brain AND o.hash = c.hash),
    c.draft, c.final, c.context, c.classifications, c.event_ids, c.source, c.seq, c.sdk,
    c.was_cut
FROM corrections AS c
WHERE c.no = :no AND (:account IS NULL OR c.account = :account);

-- name: lessons
-- Lessons, those changed last first.
SELECT no, brain, account, lesson_id, category, text, state, confidence, fires, corrections, scope,
    updated_ms, decision, decided_by, decided_ms, verdict_no
FROM lessons
WHERE (:account IS NULL OR account = :account) AND (:brain = 0 OR brain = :brain)
    AND (:state = '' OR state = :state) AND (:decision = '*' OR decision = :decision)
    AND (updated_ms, no) < (:below_ms, :below)
ORDER BY updated_ms DESC, no DESC LIMIT :limit;

-- name: lesson
-- One lesson.
SELECT no, brain, account, lesson_id, category, text, state, confidence, fires, corrections, scope,
    updated_ms, decision, decided_by, decided_ms, verdict_no
FROM lessons WHERE no = :no AND (:account IS NULL OR account = :account);

-- name: verdicts
-- What was decided about a brain's lessons since a number, in that order.
SELECT no, brain, account, lesson_id, category, text, state, confidence, fires, corrections, scope,
    updated_ms, decision, decided_by, decided_ms, verdict_no
FROM lessons WHERE brain = :brain AND verdict_no > :since AND verdict_no > 0
ORDER BY verdict_no LIMIT :limit;

-- name: verdict_numbers
-- Each brain's highest number of a decision, and the one up to which it has them.
SELECT l.brain, max(l.verdict_no), coalesce(t.taken_no, 0)
FROM lessons AS l LEFT JOIN verdicts_taken AS t ON t.brain = l.brain
WHERE l.verdict_no > 0 GROUP BY l.brain;

-- name: sources
-- What is known of every sender.
SELECT brain, source, sdk, newest, gaps, forgotten, depth, oldest_ms, heard_ms FROM sources;

-- name: counts
-- Rows of every brain and SDK version.
SELECT brain, sdk, accepted, deduplicated, refused, first_ms, last_ms FROM counts
ORDER BY brain, last_ms DESC;

-- name: hours
-- New corrections of a brain by hour and severity.
SELECT hour, severity, rows FROM hours
WHERE brain = :brain AND hour >= :since AND severity <> '' AND rows > 0 ORDER BY hour;

-- name: refused_hours
-- Refused rows of every brain in the latest hours.
SELECT brain, hour, rows FROM hours WHERE severity = '' AND hour >= :since;

-- name: sessions
-- How many sessions and corrections a brain has.
SELECT count(DISTINCT session), count(*) FROM corrections WHERE brain = :brain;

-- name: words_split
-- The number up to which words are in the first table.
SELECT value FROM numbers WHERE name = 'words_split';
