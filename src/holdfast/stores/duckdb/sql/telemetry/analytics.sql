-- name: checkins_insert!
-- Keep check-ins, given as one JSON array: a single step, for which the interpreter is not needed.
INSERT INTO checkins BY NAME
SELECT point.* FROM (
    SELECT unnest(from_json(CAST($rows AS JSON), '[{
        "seen_ms": "BIGINT", "sandbox": "VARCHAR", "instance": "VARCHAR", "account": "VARCHAR",
        "controller_version": "VARCHAR", "controller_commit": "VARCHAR",
        "agent_version": "VARCHAR", "agent_commit": "VARCHAR", "supervisor_state": "VARCHAR",
        "region": "VARCHAR", "machine_id": "VARCHAR", "last_exit_reason": "VARCHAR",
        "restarts": "BIGINT", "restarts_total": "BIGINT", "uptime_s": "DOUBLE",
        "load_5m": "DOUBLE", "bytes_in": "BIGINT", "bytes_out": "BIGINT",
        "disk_used": "BIGINT", "disk_total": "BIGINT", "protocol": "INTEGER",
        "boot_id": "VARCHAR", "sequence": "BIGINT", "crashes": "BIGINT",
        "agent_ready": "BOOLEAN", "agent_kind": "VARCHAR", "phase": "VARCHAR",
        "degraded": "VARCHAR", "cpus": "INTEGER", "memory_bytes": "BIGINT",
        "failed_checkins": "BIGINT", "restarts_lifetime": "BIGINT", "crashes_lifetime": "BIGINT",
        "bytes_in_lifetime": "BIGINT", "bytes_out_lifetime": "BIGINT"
    }]')) AS point
);

-- name: lifecycle_insert!
-- Keep lifecycle events, given as one JSON array.
INSERT INTO lifecycle BY NAME
SELECT point.* FROM (
    SELECT unnest(from_json(CAST($rows AS JSON), '[{
        "seen_ms": "BIGINT", "event": "VARCHAR", "account": "VARCHAR", "delivery": "VARCHAR",
        "route": "VARCHAR", "error": "VARCHAR", "app": "VARCHAR", "machine": "VARCHAR",
        "sandbox": "VARCHAR", "status": "VARCHAR", "agent_version": "VARCHAR",
        "image_tag": "VARCHAR", "region": "VARCHAR", "label": "VARCHAR",
        "duration_ms": "DOUBLE", "value": "DOUBLE"
    }]')) AS point
);

-- name: dirty_mark!
-- Note from when on the roll-up is out of date, in the transaction that makes it so.
UPDATE rollup_dirty SET from_ms = least($from_ms, coalesce(from_ms, $from_ms))
WHERE from_ms IS NULL OR from_ms > $from_ms;

-- name: dirty_get
-- From when on the roll-up is out of date, or null.
SELECT from_ms FROM rollup_dirty;

-- name: dirty_clear!
-- The roll-up is out of date from a later time on, or not at all.
UPDATE rollup_dirty SET from_ms = $from_ms;

-- name: extent
-- The times of the first and the last check-in from a time on, or nulls.
SELECT min(seen_ms), max(seen_ms) FROM checkins WHERE seen_ms >= $from_ms;

-- name: rollup_hash
-- Read every value of the roll-up, so that a damaged block is found.
SELECT count(*), bit_xor(hash(kept)) FROM rollup AS kept;

-- name: rollup_delete!
-- Remove the steps that are about to be computed again.
DELETE FROM rollup WHERE step_s = $step_s AND bucket_s >= $from_ms // 1000 AND bucket_s < $until_ms // 1000;

-- name: rollup_insert!
-- Compute the steps of one length within a time, for each account and for all together.
INSERT INTO rollup
SELECT
    $step_s,
    seen_ms // ($step_s * 1000) * $step_s AS bucket_s,
    CASE WHEN grouping(account) = 1 THEN '' ELSE account END,
    count(*),
    count(DISTINCT instance),
    quantile_cont(load_5m, 0.5),
    quantile_cont(load_5m, 0.95),
    sum(restarts),
    sum(crashes),
    sum(bytes_in),
    sum(bytes_out),
    quantile_cont(disk_used / disk_total, 0.5) FILTER (WHERE disk_total > 0),
    quantile_cont(disk_used / disk_total, 0.95) FILTER (WHERE disk_total > 0)
FROM checkins
WHERE seen_ms >= $from_ms AND seen_ms < $until_ms
GROUP BY GROUPING SETS ((bucket_s), (bucket_s, account))
HAVING grouping(account) = 1 OR account <> '';

-- name: fleet
-- The steps of the roll-up for one account, or for all with the empty text.
SELECT
    bucket_s, checkins, machines, load_p50, load_p95, restarts, crashes, bytes_in, bytes_out,
    disk_p50, disk_p95
FROM rollup
WHERE step_s = $step_s AND account = $account AND bucket_s >= $since_s AND bucket_s < $until_s
ORDER BY bucket_s;

-- name: machine
-- The steps of one instance, from its check-ins.
SELECT
    seen_ms // ($step_s * 1000) * $step_s AS bucket_s,
    count(*),
    avg(load_5m),
    max(load_5m),
    sum(restarts),
    sum(crashes),
    sum(bytes_in),
    sum(bytes_out),
    max(disk_used),
    max(disk_total)
FROM checkins
WHERE instance = $instance AND seen_ms >= $since_ms AND seen_ms < $until_ms
GROUP BY bucket_s
ORDER BY bucket_s;

-- name: restarts
-- The most restarted instances of a time, for one account or for all.
SELECT instance, sum(restarts) AS times, sum(crashes)
FROM checkins
WHERE
    seen_ms >= $since_ms AND seen_ms < $until_ms
    AND ($account = '' OR account = $account)
GROUP BY instance
HAVING times > 0
ORDER BY times DESC, instance
LIMIT $limit;

-- name: checkins_count
-- How many check-ins are kept.
SELECT count(*) FROM checkins;

-- name: lifecycle_count
-- How many lifecycle events are kept.
SELECT count(*) FROM lifecycle;

-- name: oldest
-- The time of the oldest check-in or event, or null.
SELECT least(
    (SELECT min(seen_ms) FROM checkins), (SELECT min(seen_ms) FROM lifecycle)
);

-- name: checkins_prune!
-- Drop the check-ins from before a time.
DELETE FROM checkins WHERE seen_ms < $before_ms;

-- name: lifecycle_prune!
-- Drop the lifecycle events from before a time.
DELETE FROM lifecycle WHERE seen_ms < $before_ms;

-- name: rollup_prune!
-- Drop the steps from before a time, and the minutes from before a later one.
DELETE FROM rollup
WHERE bucket_s < $before_s OR (step_s = 60 AND bucket_s < $minutes_before_s);
