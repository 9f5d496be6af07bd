-- name: ticks_insert!
-- Keep ticks, given as one JSON array: a single step, for which the interpreter is not needed.
INSERT INTO ticks BY NAME
SELECT point.* FROM (
    SELECT unnest(from_json(CAST($rows AS JSON), '[{
        "seen_ms": "BIGINT", "town": "VARCHAR", "account": "VARCHAR", "wall_ms": "DOUBLE",
        "drained": "INTEGER", "actions": "INTEGER", "attempted": "INTEGER",
        "succeeded": "INTEGER", "failed": "INTEGER", "violations": "INTEGER",
        "pending": "INTEGER", "by_type": "VARCHAR", "broken": "VARCHAR",
        "applied": "INTEGER", "ignored": "INTEGER", "refused": "INTEGER",
        "quarantined": "INTEGER", "conflicts": "INTEGER", "withheld": "INTEGER",
        "opened": "INTEGER", "resolved": "INTEGER", "oldest_ms": "BIGINT",
        "late_ms": "BIGINT", "breaker": "VARCHAR"
    }]')) AS point
);

-- name: dirty_mark!
-- Note from when on the roll-up is out of date, in the transaction that makes it so.
UPDATE dirty SET from_ms = least($from_ms, coalesce(from_ms, $from_ms))
WHERE from_ms IS NULL OR from_ms > $from_ms;

-- name: dirty_get
-- From when on the roll-up is out of date, or null.
SELECT from_ms FROM dirty;

-- name: dirty_clear!
-- The roll-up is out of date from a later time on, or not at all.
UPDATE dirty SET from_ms = $from_ms;

-- name: extent
-- The times of the first and the last tick from a time on, or nulls.
SELECT min(seen_ms), max(seen_ms) FROM ticks WHERE seen_ms >= $from_ms;

-- name: minutes_delete!
-- Remove the minutes that are about to be computed again.
DELETE FROM minutes WHERE minute_ms >= $from_ms AND minute_ms < $until_ms;

-- name: types_delete!
-- Remove the minutes of types that are about to be computed again.
DELETE FROM type_minutes WHERE minute_ms >= $from_ms AND minute_ms < $until_ms;

-- name: minutes_insert!
-- Compute the minutes within a time.
INSERT INTO minutes
SELECT
    minute_ms // 60000 * 60000 AS minute,
    town,
    account,
    sum(ticks),
    sum(wall_sum),
    max(wall_max),
    sum(drained),
    max(drained_max),
    sum(actions),
    sum(attempted),
    sum(succeeded),
    sum(failed),
    sum(violations),
    max(latest)
FROM single_ticks
WHERE minute_ms >= $from_ms AND minute_ms < $until_ms
GROUP BY minute, town, account;

-- name: types_insert!
-- Compute the actions by type within a time; equal objects are read once.
INSERT INTO type_minutes
SELECT minute_ms, town, account, entry.key, sum(times * entry.value)
FROM (
    SELECT
        minute_ms, town, account, times,
        unnest(map_entries(CAST(CAST(by_type AS JSON) AS MAP(VARCHAR, BIGINT)))) AS entry
    FROM (
        SELECT seen_ms // 60000 * 60000 AS minute_ms, town, account, by_type, count(*) AS times
        FROM ticks
        WHERE seen_ms >= $from_ms AND seen_ms < $until_ms AND actions > 0
        GROUP BY ALL
    )
)
GROUP BY ALL;

-- name: buckets
-- The steps of a time from the roll-up, or from `single_ticks`; the queue only where they are of one town.
SELECT
    minute_ms // ($step_s * 1000) * $step_s AS bucket_s,
    CAST(sum(ticks) AS BIGINT),
    sum(wall_sum),
    max(wall_max),
    CAST(sum(drained) AS BIGINT),
    max(drained_max),
    CAST(sum(actions) AS BIGINT),
    CAST(sum(attempted) AS BIGINT),
    CAST(sum(succeeded) AS BIGINT),
    CAST(sum(failed) AS BIGINT),
    CAST(sum(violations) AS BIGINT),
    CASE WHEN $town <> '' THEN max(latest) % 1048576 END
FROM minutes
WHERE
    minute_ms >= $since_ms AND minute_ms < $until_ms
    AND ($town = '' OR town = $town) AND ($account = '' OR account = $account)
GROUP BY bucket_s
ORDER BY bucket_s;

-- name: raw_types
-- The actions by step and type from the ticks; equal objects are read once.
SELECT bucket_s, entry.key AS type, CAST(sum(times * entry.value) AS BIGINT)
FROM (
    SELECT
        bucket_s, times,
        unnest(map_entries(CAST(CAST(by_type AS JSON) AS MAP(VARCHAR, BIGINT)))) AS entry
    FROM (
        SELECT seen_ms // ($step_s * 1000) * $step_s AS bucket_s, by_type, count(*) AS times
        FROM ticks
        WHERE
            seen_ms >= $since_ms AND seen_ms < $until_ms AND actions > 0
            AND ($town = '' OR town = $town) AND ($account = '' OR account = $account)
        GROUP BY ALL
    )
)
GROUP BY bucket_s, type
ORDER BY bucket_s, type;

-- name: minute_types
-- The actions by step and type from the roll-up.
SELECT minute_ms // ($step_s * 1000) * $step_s AS bucket_s, type, CAST(sum(actions) AS BIGINT)
FROM type_minutes
WHERE
    minute_ms >= $since_ms AND minute_ms < $until_ms
    AND ($town = '' OR town = $town) AND ($account = '' OR account = $account)
GROUP BY bucket_s, type
ORDER BY bucket_s, type;

-- name: depths
-- The latest tick of each town, from the roll-up, or from `single_ticks`.
SELECT town, latest // 1048576, latest % 1048576
FROM (
    SELECT town, max(latest) AS latest
    FROM minutes
    WHERE
        minute_ms >= $since_ms AND minute_ms < $until_ms
        AND ($town = '' OR town = $town) AND ($account = '' OR account = $account)
    GROUP BY town
)
ORDER BY town;

-- name: ticks_count
-- How many ticks are kept.
SELECT count(*) FROM ticks;

-- name: rollup_hash
-- Read every value of the roll-up, so that a damaged block is found.
SELECT count(*), bit_xor(hash(kept)) FROM minutes AS kept;

-- name: oldest
-- The time of the oldest tick, or null.
SELECT min(seen_ms) FROM ticks;

-- name: ticks_prune!
-- Drop the ticks from before a time.
DELETE FROM ticks WHERE seen_ms < $before_ms;

-- name: minutes_prune!
-- Drop the minutes from before a time.
DELETE FROM minutes WHERE minute_ms < $before_ms;

-- name: types_prune!
-- Drop the minutes of types from before a time.
DELETE FROM type_minutes WHERE minute_ms < $before_ms;
