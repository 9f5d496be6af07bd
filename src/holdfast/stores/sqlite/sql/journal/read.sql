-- What readers run, and the owner's own reads.

-- name: view
-- One row that people read.
SELECT body, account, seq FROM view_rows WHERE view = ? AND key = ?;

-- name: views_all
-- Rows of a view, paged by key.
SELECT key, body, seq FROM view_rows WHERE view = ? AND key > ? ORDER BY key LIMIT ?;

-- name: views_account
-- An account's rows of a view, paged by key.
SELECT key, body, seq FROM view_rows
WHERE view = ? AND account = ? AND key > ? ORDER BY key LIMIT ?;

-- name: actor
-- Where an actor's log ends, and its state where that is small.
SELECT state, state_version, state_seq, state_tick, seq, number, digest, alarm_ms, state_digest
FROM actors WHERE address = ?;

-- name: snapshot
-- A large actor's state.
SELECT state FROM snapshots WHERE actor = ? AND seq = ?;

-- name: snapshot_at
-- The newest snapshot at or before a place in the log.
SELECT seq, tick, version, digest, state FROM snapshots
WHERE actor = ? AND seq <= ? ORDER BY seq DESC LIMIT 1;

-- name: tick_digest
-- Where a tick ended, and the digest of the state that it left.
SELECT seq, digest FROM ticks WHERE actor = ? AND number = ?;

-- name: pending
-- What waits for an actor, in the order of arrival.
SELECT id, body, version, source, accepted_ms, cause, author
FROM events WHERE actor = ? AND seq IS NULL ORDER BY arrival LIMIT ?;

-- name: unfinished_with
-- How many events that wait and effects that are not done have a text in their bodies.
SELECT (SELECT count(*) FROM events WHERE seq IS NULL AND instr(body, CAST(?1 AS BLOB)) > 0)
     + (SELECT count(*) FROM effects WHERE status = 'waiting' AND instr(body, CAST(?1 AS BLOB)) > 0);

-- name: pending_by_arrival
-- What waits, where the numbers of the arrivals are known.
SELECT id, body, version, source, accepted_ms, cause, author
FROM events WHERE seq IS NULL AND arrival IN (VALUES :rows) ORDER BY arrival;

-- name: log
-- The log after a place, up to and with another.
SELECT id, seq, tick, at_ms, outcome, body, version, source, cause, author, code, message,
       accepted_ms
FROM events WHERE actor = ? AND seq IS NOT NULL AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: log_tail
-- The log before a place, newest first.
SELECT id, seq, tick, at_ms, outcome, body, version, source, cause, author, code, message,
       accepted_ms
FROM events WHERE actor = ? AND seq IS NOT NULL AND seq < ? ORDER BY seq DESC LIMIT ?;

-- name: ticks
-- Tick records after a number.
SELECT record FROM ticks
WHERE actor = ? AND number > ? AND record IS NOT NULL ORDER BY number LIMIT ?;

-- name: policy
-- A policy by its hash.
SELECT body FROM policies WHERE hash = ?;

-- name: quarantined
-- Quarantined events, newest first: an account's, an actor's, after one; null is for any.
SELECT events.actor, events.id, events.seq, events.tick, events.at_ms, events.outcome,
       events.body, events.version, events.source, events.cause, events.author, events.code,
       events.message, events.accepted_ms
FROM events LEFT JOIN actors ON actors.address = events.actor
WHERE events.outcome = 'quarantined'
  AND (?1 IS NULL OR actors.account = ?1) AND (?2 IS NULL OR events.actor = ?2)
  AND (?3 IS NULL OR events.arrival < (SELECT arrival FROM events WHERE id = ?3 AND seq IS NOT NULL))
ORDER BY events.arrival DESC LIMIT ?4;

-- name: event_logged
-- One stamped event, with its actor and that one's account.
SELECT events.actor, coalesce(actors.account, ''), events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events LEFT JOIN actors ON actors.address = events.actor
WHERE events.id = ? AND events.seq IS NOT NULL;

-- name: event_pending
-- One event that waits, with its actor and that one's account.
SELECT events.actor, coalesce(actors.account, ''), events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events LEFT JOIN actors ON actors.address = events.actor
WHERE events.id = ? AND events.seq IS NULL;

-- name: asked_all
-- The newest events that people or programs asked for, before an arrival.
SELECT events.actor, coalesce(actors.account, ''), events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events LEFT JOIN actors ON actors.address = events.actor
WHERE events.source IN ('api', 'cli')
  AND events.arrival < ?
ORDER BY events.arrival DESC LIMIT ?;

-- name: asked_account
-- The same, of one account.
SELECT events.actor, actors.account, events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events JOIN actors ON actors.address = events.actor
WHERE events.source IN ('api', 'cli') AND actors.account = ?
  AND events.arrival < ?
ORDER BY events.arrival DESC LIMIT ?;

-- name: asked_actor_logged
-- The newest that one actor was asked for and has taken.
SELECT events.actor, actors.account, events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events JOIN actors ON actors.address = events.actor
WHERE events.actor = ? AND events.seq IS NOT NULL AND events.source IN ('api', 'cli')
  AND events.arrival < ?
ORDER BY events.seq DESC LIMIT ?;

-- name: asked_actor_pending
-- The newest that one actor was asked for and has not taken.
SELECT events.actor, coalesce(actors.account, ''), events.arrival, events.id, events.seq,
       events.tick, events.at_ms, events.outcome, events.body, events.version, events.source, events.cause,
       events.author, events.code, events.message, events.accepted_ms
FROM events LEFT JOIN actors ON actors.address = events.actor
WHERE events.actor = ? AND events.seq IS NULL AND events.source IN ('api', 'cli')
  AND events.arrival < ?
ORDER BY events.arrival DESC LIMIT ?;

-- name: account_actors
-- The first actors of an account.
SELECT address FROM actors WHERE account = ? LIMIT ?;

-- name: caused_events
-- Stamped events by what caused them.
SELECT id, seq, tick, at_ms, outcome, body, version, source, cause, author, code, message,
       accepted_ms
FROM events WHERE cause <> '' AND seq IS NOT NULL AND cause IN (VALUES :rows)
ORDER BY arrival LIMIT 1000;

-- name: caused_effects
-- Effects by the event that caused them.
SELECT id, actor, lane, ordinal, provider, body, epoch, valid_until_ms, created_ms, cause,
       supersedes, status, attempts
FROM effects WHERE cause IN (VALUES :rows) ORDER BY place LIMIT 1000;

-- name: effects
-- An actor's newest effects.
SELECT id, actor, lane, ordinal, provider, body, epoch, valid_until_ms, created_ms, cause,
       supersedes, status, attempts
FROM effects WHERE actor = ? ORDER BY place DESC LIMIT ?;

-- name: waiting_effects
-- Effects that are not finished, after a place.
SELECT id, actor, lane, ordinal, provider, body, epoch, valid_until_ms, created_ms, cause,
       supersedes, status, attempts
FROM effects WHERE status = 'waiting' AND place > ? ORDER BY place LIMIT ?;

-- name: effect_place
-- Where an effect stands among all.
SELECT place FROM effects WHERE id = ?;

-- name: waiting_actors
-- Actors with pending events, those that wait longest first.
SELECT actor FROM events WHERE seq IS NULL
GROUP BY actor ORDER BY min(arrival) LIMIT ? OFFSET ?;

-- name: alarms
-- Alarms up to a time, the earliest first, after one of them.
SELECT address, alarm_ms FROM actors
WHERE alarm_ms IS NOT NULL AND alarm_ms <= ? AND (alarm_ms, address) > (?, ?)
ORDER BY alarm_ms, address LIMIT ?;

-- name: actors
-- Actors, paged by address.
SELECT address FROM actors WHERE address > ? ORDER BY address LIMIT ?;

-- name: probes
-- Standing probes, paged by (actor, key).
SELECT actor, key, provider, body, period_ms, epoch, answer FROM probes
WHERE (actor, key) > (?, ?) ORDER BY actor, key LIMIT ?;

-- name: stamp
-- What became of an event.
SELECT id, seq, tick, at_ms, outcome, code, message FROM events
WHERE id = ? AND seq IS NOT NULL;

-- name: is_small
-- Whether an actor is loaded from its row alone.
SELECT state_seq = seq AND state IS NOT NULL FROM actors WHERE address = ?;
