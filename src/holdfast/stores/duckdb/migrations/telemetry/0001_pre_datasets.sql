-- Two datasets with named columns, a roll-up of the first, and a view of each in the layout of
-- texts and numbers that existing queries expect. Times are milliseconds since the epoch.
CREATE TABLE checkins (
    seen_ms BIGINT NOT NULL,
    sandbox VARCHAR NOT NULL,
    instance VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    controller_version VARCHAR NOT NULL,
    controller_commit VARCHAR NOT NULL,
    agent_version VARCHAR NOT NULL,
    agent_commit VARCHAR NOT NULL,
    supervisor_state VARCHAR NOT NULL,
    region VARCHAR NOT NULL,
    machine_id VARCHAR NOT NULL,
    last_exit_reason VARCHAR NOT NULL,
    restarts BIGINT NOT NULL,
    restarts_total BIGINT NOT NULL,
    uptime_s DOUBLE NOT NULL,
    load_5m DOUBLE NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    disk_used BIGINT NOT NULL,
    disk_total BIGINT NOT NULL,
    protocol INTEGER NOT NULL,
    boot_id VARCHAR NOT NULL,
    sequence BIGINT NOT NULL,
    crashes BIGINT NOT NULL,
    agent_ready BOOLEAN,
    agent_kind VARCHAR NOT NULL,
    phase VARCHAR NOT NULL,
    degraded VARCHAR NOT NULL,
    cpus INTEGER NOT NULL,
    memory_bytes BIGINT NOT NULL,
    failed_checkins BIGINT NOT NULL,
    restarts_lifetime BIGINT NOT NULL,
    crashes_lifetime BIGINT NOT NULL,
    bytes_in_lifetime BIGINT NOT NULL,
    bytes_out_lifetime BIGINT NOT NULL
);

CREATE TABLE lifecycle (
    seen_ms BIGINT NOT NULL,
    event VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    delivery VARCHAR NOT NULL,
    route VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    app VARCHAR NOT NULL,
    machine VARCHAR NOT NULL,
    sandbox VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    agent_version VARCHAR NOT NULL,
    image_tag VARCHAR NOT NULL,
    region VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    duration_ms DOUBLE NOT NULL,
    value DOUBLE NOT NULL
);

-- One row for each step length, step of time and account, and one for all accounts together,
-- whose account is the empty text.
CREATE TABLE rollup (
    step_s INTEGER NOT NULL,
    bucket_s BIGINT NOT NULL,
    account VARCHAR NOT NULL,
    checkins BIGINT NOT NULL,
    machines BIGINT NOT NULL,
    load_p50 DOUBLE NOT NULL,
    load_p95 DOUBLE NOT NULL,
    restarts BIGINT NOT NULL,
    crashes BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    disk_p50 DOUBLE,
    disk_p95 DOUBLE
);

-- From when on the roll-up is out of date, so that a crash between the two is made good; one row.
CREATE TABLE rollup_dirty (from_ms BIGINT);
INSERT INTO rollup_dirty VALUES (NULL);

CREATE VIEW kiloclaw_controller_telemetry AS
SELECT
    sandbox AS index1,
    make_timestamp_ms(seen_ms) AS timestamp,
    sandbox AS blob1,
    controller_version AS blob2,
    controller_commit AS blob3,
    agent_version AS blob4,
    agent_commit AS blob5,
    supervisor_state AS blob6,
    region AS blob7,
    machine_id AS blob8,
    last_exit_reason AS blob9,
    instance AS blob10,
    account AS blob11,
    boot_id AS blob12,
    agent_kind AS blob13,
    phase AS blob14,
    degraded AS blob15,
    CAST(restarts AS DOUBLE) AS double1,
    CAST(restarts_total AS DOUBLE) AS double2,
    uptime_s AS double3,
    load_5m AS double4,
    CAST(bytes_in AS DOUBLE) AS double5,
    CAST(bytes_out AS DOUBLE) AS double6,
    CAST(disk_used AS DOUBLE) AS double7,
    CAST(disk_total AS DOUBLE) AS double8,
    CAST(sequence AS DOUBLE) AS double9,
    CAST(crashes AS DOUBLE) AS double10,
    CAST(restarts_lifetime AS DOUBLE) AS double11,
    CAST(crashes_lifetime AS DOUBLE) AS double12,
    CAST(bytes_in_lifetime AS DOUBLE) AS double13,
    CAST(bytes_out_lifetime AS DOUBLE) AS double14
FROM checkins;

CREATE VIEW kiloclaw_events AS
SELECT
    event AS index1,
    make_timestamp_ms(seen_ms) AS timestamp,
    event AS blob1,
    account AS blob2,
    delivery AS blob3,
    route AS blob4,
    error AS blob5,
    app AS blob6,
    machine AS blob7,
    sandbox AS blob8,
    status AS blob9,
    agent_version AS blob10,
    image_tag AS blob11,
    region AS blob12,
    label AS blob13,
    duration_ms AS double1,
    value AS double2
FROM lifecycle;
