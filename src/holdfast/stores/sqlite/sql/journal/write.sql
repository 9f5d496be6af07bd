-- What the one writer runs. `:rows` is replaced by the rows of a group; see stores/sqlite/bulk.py.
-- The `find_…` statements answer only what is wrong, so that nothing comes back when all is well.

-- name: data_version
-- A number that changes when another connection has written.
SELECT data_version FROM pragma_data_version;

-- name: newest_arrival
-- The number of the newest arrival.
SELECT coalesce(max(arrival), 0) FROM events;

-- name: all_pending
-- What waits in every mailbox, in the order of arrival.
SELECT actor, id, arrival FROM events WHERE seq IS NULL ORDER BY arrival;

-- name: find_logged
-- Which of these ids are in the log already.
SELECT id FROM events WHERE seq IS NOT NULL AND id IN (VALUES :rows);

-- name: insert_pending!
-- Take events that are known to be new.
INSERT INTO events (id, actor, body, version, source, cause, author, accepted_ms, arrival)
VALUES :rows;

-- name: keep_asked!
-- Keep what was asked for with a key, unless something was.
INSERT INTO key_bodies (id, digest, asked_ms) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: find_asked
-- What was asked for with a key.
SELECT digest FROM key_bodies WHERE id = ?;

-- name: forget_asked!
-- Forget what was asked for with keys before a time.
DELETE FROM key_bodies WHERE asked_ms < ?;

-- name: find_stale
-- Commits whose basis is not what is stored: the end of the log, the number of the last tick, or
-- the lease, which makes the second column 1.
WITH basis (actor, seq, number, epoch) AS (VALUES :rows)
SELECT basis.actor, basis.epoch <> leases.epoch
FROM basis
CROSS JOIN leases
LEFT JOIN actors ON actors.address = basis.actor
WHERE leases.name = 'journal'
  AND (basis.epoch <> leases.epoch OR basis.seq <> coalesce(actors.seq, 0)
       OR basis.number <= coalesce(actors.number, 0));

-- name: find_taken
-- Claims that somebody else holds.
WITH wanted (scope, key, actor) AS (VALUES :rows)
SELECT wanted.actor, claims.scope, claims.key, claims.holder
FROM wanted
JOIN claims ON claims.scope = wanted.scope AND claims.key = wanted.key
WHERE claims.holder <> wanted.actor;

-- name: stamp_events!
-- Give pending events their place in the log and what became of them.
WITH stamp (arrival, seq, tick, at_ms, outcome, code, message) AS (VALUES :rows)
UPDATE events
SET seq = stamp.seq, tick = stamp.tick, at_ms = stamp.at_ms, outcome = stamp.outcome,
    code = stamp.code, message = stamp.message
FROM stamp
WHERE events.arrival = stamp.arrival;

-- name: insert_intents!
-- Log the events that a tick made itself.
INSERT INTO events (id, actor, seq, tick, at_ms, outcome, code, message, body, version, source,
                    cause, author, accepted_ms, arrival)
VALUES :rows;

-- name: put_actors!
-- Move the ends of logs; a state that was not written stays what it was. Alarms are left alone.
INSERT INTO actors (address, account, seq, number, digest, alarm_ms, state, state_version,
                    state_seq, state_tick, state_digest)
VALUES :rows
ON CONFLICT (address) DO UPDATE
SET account = excluded.account, seq = excluded.seq, number = excluded.number,
    digest = excluded.digest, state = excluded.state, state_version = excluded.state_version,
    state_seq = excluded.state_seq, state_tick = excluded.state_tick,
    state_digest = excluded.state_digest;

-- name: move_actors!
-- Move the ends of logs of actors whose states were not written.
INSERT INTO actors (address, account, seq, number, digest, alarm_ms, state, state_version,
                    state_seq, state_tick, state_digest)
VALUES :rows
ON CONFLICT (address) DO UPDATE
SET account = excluded.account, seq = excluded.seq, number = excluded.number,
    digest = excluded.digest;

-- name: put_alarms!
-- Set alarms that changed; null takes one away.
WITH alarm (actor, at_ms) AS (VALUES :rows)
UPDATE actors SET alarm_ms = alarm.at_ms FROM alarm WHERE actors.address = alarm.actor;

-- name: put_snapshots!
-- Keep states to replay from.
INSERT INTO snapshots (actor, seq, tick, at_ms, version, digest, state)
VALUES :rows
ON CONFLICT (actor, seq) DO UPDATE
SET tick = excluded.tick, at_ms = excluded.at_ms, version = excluded.version,
    digest = excluded.digest, state = excluded.state;

-- name: insert_ticks!
-- Keep tick records.
INSERT INTO ticks (actor, number, seq, digest, record) VALUES :rows;

-- name: put_views!
-- Show rows.
INSERT INTO view_rows (view, key, account, body, seq)
VALUES :rows
ON CONFLICT (view, key) DO UPDATE
SET account = excluded.account, body = excluded.body, seq = excluded.seq;

-- name: remove_views!
-- Stop showing rows.
DELETE FROM view_rows WHERE (view, key) IN (VALUES :rows);

-- name: insert_effects!
-- Put effects into their lanes.
INSERT INTO effects (id, actor, lane, ordinal, provider, body, epoch, valid_until_ms, created_ms,
                     cause, supersedes, status, attempts)
VALUES :rows;

-- name: supersede_lanes!
-- Drop what still waits in lanes.
UPDATE effects SET status = 'superseded'
WHERE status = 'waiting' AND (actor, lane) IN (VALUES :rows);

-- name: find_missing_effects
-- Which of these effects are not there.
WITH done (id) AS (VALUES :rows)
SELECT done.id FROM done LEFT JOIN effects ON effects.id = done.id WHERE effects.id IS NULL;

-- name: finish_effects!
-- Finish effects; one that was superseded while under way becomes what it came to.
WITH done (id, status) AS (VALUES :rows)
UPDATE effects SET status = done.status FROM done
WHERE effects.id = done.id AND effects.status IN ('waiting', 'superseded');

-- name: put_probes!
-- Set up standing probes, or change them; the answer is kept where the question is the same.
INSERT INTO probes (actor, key, provider, body, period_ms, epoch, answer)
VALUES :rows
ON CONFLICT (actor, key) DO UPDATE
SET provider = excluded.provider, body = excluded.body, period_ms = excluded.period_ms,
    epoch = excluded.epoch,
    answer = CASE
        WHEN (probes.provider, probes.body, probes.epoch)
             = (excluded.provider, excluded.body, excluded.epoch) THEN probes.answer
        ELSE excluded.answer
    END;

-- name: remove_probes!
-- Take standing probes down.
DELETE FROM probes WHERE (actor, key) IN (VALUES :rows);

-- name: find_missing_probes
-- Which of these probes are not there.
WITH answered (actor, key) AS (VALUES :rows)
SELECT answered.actor, answered.key
FROM answered
LEFT JOIN probes ON probes.actor = answered.actor AND probes.key = answered.key
WHERE probes.key IS NULL;

-- name: answer_probes!
-- Remember answers.
WITH answered (actor, key, answer) AS (VALUES :rows)
UPDATE probes SET answer = answered.answer FROM answered
WHERE probes.actor = answered.actor AND probes.key = answered.key;

-- name: put_claims!
-- Hold names.
INSERT INTO claims (scope, key, holder) VALUES :rows ON CONFLICT (scope, key) DO NOTHING;

-- name: release_claims!
-- Let go of names, where it is this actor that holds them.
DELETE FROM claims WHERE (scope, key, holder) IN (VALUES :rows);

-- name: take_lease
-- Take the lease of everything; every commit of an older epoch is refused from here on.
UPDATE leases SET epoch = epoch + 1, holder = ?, since_ms = ? WHERE name = 'journal'
RETURNING epoch;

-- name: put_policy!
-- Keep a policy under its hash.
INSERT INTO policies (hash, body) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING;

-- name: drop_quarantined!
-- Mark a quarantined event as dropped and by whom.
UPDATE events SET outcome = 'dropped', message = ? || message
WHERE id = ? AND seq IS NOT NULL AND outcome = 'quarantined';

-- name: snapshot_old!
-- Keep the present states of some actors whose logs begin before a time, where no snapshot since
-- then lets their old events be forgotten.
INSERT INTO snapshots (actor, seq, tick, at_ms, version, digest, state)
SELECT actors.address, actors.state_seq, actors.state_tick, newest.at_ms, actors.state_version,
       actors.state_digest, actors.state
FROM actors
JOIN events AS newest
    ON newest.actor = actors.address AND newest.seq IS NOT NULL AND newest.seq = actors.state_seq
WHERE actors.address > ? AND actors.address <= ?
    AND actors.state IS NOT NULL
    AND ? > (
        SELECT oldest.at_ms FROM events AS oldest
        WHERE oldest.actor = actors.address AND oldest.seq IS NOT NULL
        ORDER BY oldest.seq LIMIT 1
    )
    AND NOT EXISTS (
        SELECT 1 FROM snapshots
        WHERE snapshots.actor = actors.address
            AND (snapshots.at_ms >= ? OR snapshots.seq >= actors.state_seq)
    );

-- name: must_stay
-- Whether an actor is spoken of since a time, or something of it waits or is in quarantine.
SELECT EXISTS (
        SELECT 1 FROM events WHERE actor = ? AND seq IS NOT NULL
        AND (at_ms >= ? OR outcome = 'quarantined')
    )
    OR EXISTS (SELECT 1 FROM events WHERE actor = ? AND seq IS NULL)
    OR EXISTS (SELECT 1 FROM effects WHERE actor = ? AND status = 'waiting')
    OR EXISTS (SELECT 1 FROM probes WHERE actor = ?)
    OR NOT EXISTS (
        SELECT 1 FROM actors WHERE address = ? AND alarm_ms IS NULL
    );

-- name: forget_events!
-- Forget the log of an actor.
DELETE FROM events WHERE actor = ? AND seq IS NOT NULL;

-- name: forget_ticks!
-- Forget its tick records.
DELETE FROM ticks WHERE actor = ?;

-- name: forget_snapshots!
-- Forget its states.
DELETE FROM snapshots WHERE actor = ?;

-- name: forget_effects!
-- Forget its effects.
DELETE FROM effects WHERE actor = ?;

-- name: forget_actor!
-- Forget that it was there.
DELETE FROM actors WHERE address = ?;

-- name: prune_steps
-- Snapshots before a time: what leads to the newest of an actor is what no replay needs.
SELECT actor, seq FROM snapshots WHERE at_ms < ? ORDER BY actor, seq;

-- name: prune_events!
-- Forget the log up to a kept snapshot, but not what waits in quarantine.
DELETE FROM events
WHERE actor = ? AND seq IS NOT NULL AND seq <= ? AND outcome <> 'quarantined';

-- name: prune_ticks!
-- Forget tick records up to a kept snapshot.
DELETE FROM ticks WHERE actor = ? AND seq <= ?;

-- name: prune_snapshots!
-- Forget snapshots before a kept one.
DELETE FROM snapshots WHERE actor = ? AND seq < ?;

-- name: prune_effects!
-- Forget finished effects that were made before a time.
DELETE FROM effects WHERE actor = ? AND created_ms < ? AND status <> 'waiting';
