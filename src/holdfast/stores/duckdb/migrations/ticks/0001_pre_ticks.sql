-- Ticks of towns, a roll-up by the minute and town, and a view in the layout of texts and numbers
-- that existing queries expect. Times are milliseconds since the epoch, UTC.
CREATE TABLE ticks (
    seen_ms BIGINT NOT NULL,
    town VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    wall_ms DOUBLE NOT NULL,
    drained INTEGER NOT NULL,
    actions INTEGER NOT NULL,
    attempted INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    violations INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    by_type VARCHAR NOT NULL,
    broken VARCHAR NOT NULL,
    applied INTEGER NOT NULL,
    ignored INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    conflicts INTEGER NOT NULL,
    withheld INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    resolved INTEGER NOT NULL,
    oldest_ms BIGINT NOT NULL,
    late_ms BIGINT NOT NULL,
    breaker VARCHAR NOT NULL
);

-- `latest` is the time and the queue of the last tick in one number that sorts as both do.
CREATE TABLE minutes (
    minute_ms BIGINT NOT NULL,
    town VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    ticks BIGINT NOT NULL,
    wall_sum DOUBLE NOT NULL,
    wall_max DOUBLE NOT NULL,
    drained BIGINT NOT NULL,
    drained_max INTEGER NOT NULL,
    actions BIGINT NOT NULL,
    attempted BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    violations BIGINT NOT NULL,
    latest BIGINT NOT NULL
);

CREATE TABLE type_minutes (
    minute_ms BIGINT NOT NULL,
    town VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    actions BIGINT NOT NULL
);

-- The ticks in the columns of the roll-up, so that one query reads either.
CREATE VIEW single_ticks AS
SELECT
    seen_ms AS minute_ms,
    town,
    account,
    1 AS ticks,
    wall_ms AS wall_sum,
    wall_ms AS wall_max,
    drained,
    drained AS drained_max,
    actions,
    attempted,
    succeeded,
    failed,
    violations,
    seen_ms * 1048576 + least(pending, 1048575) AS latest
FROM ticks;

-- From when on the roll-up is out of date, so that a crash between the two is made good; one row.
CREATE TABLE dirty (from_ms BIGINT);
INSERT INTO dirty VALUES (NULL);

-- Numbers 1 to 8 and text 10 are those of compat/towns.md, from number 12 on and text 17 ours.
CREATE VIEW gastown_events AS
SELECT
    'reconciler_tick' AS index1,
    make_timestamp_ms(seen_ms) AS timestamp,
    1 AS _sample_interval,
    'reconciler_tick' AS blob1,
    account AS blob2,
    'internal' AS blob3,
    '' AS blob4,
    '' AS blob5,
    town AS blob6,
    '' AS blob7,
    '' AS blob8,
    '' AS blob9,
    by_type AS blob10,
    '' AS blob11,
    '' AS blob12,
    '' AS blob13,
    '' AS blob14,
    '' AS blob15,
    '' AS blob16,
    breaker AS blob17,
    wall_ms AS double1,
    CAST(drained AS DOUBLE) AS double2,
    CAST(actions AS DOUBLE) AS double3,
    CAST(attempted AS DOUBLE) AS double4,
    CAST(succeeded AS DOUBLE) AS double5,
    CAST(failed AS DOUBLE) AS double6,
    CAST(violations AS DOUBLE) AS double7,
    CAST(pending AS DOUBLE) AS double8,
    CAST(0 AS DOUBLE) AS double9,
    CAST(0 AS DOUBLE) AS double10,
    CAST(0 AS DOUBLE) AS double11,
    CAST(quarantined AS DOUBLE) AS double12,
    CAST(refused AS DOUBLE) AS double13,
    CAST(ignored AS DOUBLE) AS double14,
    CAST(conflicts AS DOUBLE) AS double15,
    CAST(withheld AS DOUBLE) AS double16,
    CAST(opened AS DOUBLE) AS double17,
    CAST(resolved AS DOUBLE) AS double18,
    CAST(oldest_ms AS DOUBLE) AS double19,
    CAST(late_ms AS DOUBLE) AS double20
FROM ticks
UNION ALL
SELECT
    'reconciler.invariant_violations',
    make_timestamp_ms(seen_ms),
    1,
    'reconciler.invariant_violations',
    account,
    'internal',
    '',
    '',
    town,
    '',
    '',
    '',
    broken,
    '',
    '',
    '',
    '',
    '',
    '',
    '',
    0,
    CAST(violations AS DOUBLE),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM ticks
WHERE violations > 0;
