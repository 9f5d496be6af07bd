-- What agents used of each model in each day, from the days of counters that are stored.

CREATE TABLE usage (
    node BIGINT NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    turns BIGINT NOT NULL,
    tool_calls BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reported BIGINT NOT NULL,
    PRIMARY KEY (node, day, model)
) WITHOUT ROWID;

-- A day that is deleted, by its owner or by its age, takes along what was read from it.
CREATE TRIGGER usage_of_gone_days AFTER DELETE ON streams WHEN OLD.class = 'counters'
BEGIN
    DELETE FROM usage WHERE node = OLD.node AND day = substr(OLD.name, 5);
END;

INSERT INTO usage (node, day, model, turns, tool_calls, input, output, cache_read, cache_write,
                   reported)
SELECT node, day, model, turns, tool_calls, input, output, cache_read, cache_write, reported
FROM (
    SELECT s.node, substr(s.name, 5) AS day,
           substr(coalesce(json_extract(m.value, '$.model'), ''), 1, 128) AS model,
           sum(coalesce(json_extract(m.value, '$.turns'), 0)) AS turns,
           sum(coalesce(json_extract(m.value, '$.tool_calls'), 0)) AS tool_calls,
           sum(coalesce(json_extract(m.value, '$.input'), 0)) AS input,
           sum(coalesce(json_extract(m.value, '$.output'), 0)) AS output,
           sum(coalesce(json_extract(m.value, '$.cache_read'), 0)) AS cache_read,
           sum(coalesce(json_extract(m.value, '$.cache_write'), 0)) AS cache_write,
           sum(CAST(round(coalesce(json_extract(m.value, '$.cost'), 0) * 1000000) AS INTEGER))
               AS reported
    FROM streams AS s
    JOIN items AS i ON i.stream = s.no AND NOT i.sealed
    JOIN json_each(
        CASE WHEN json_valid(CAST(i.body AS TEXT)) THEN CAST(i.body AS TEXT) ELSE '{}' END,
        '$.models'
    ) AS m ON m.type = 'object'
    WHERE s.class = 'counters' AND s.name GLOB 'day:20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]'
    GROUP BY 1, 2, 3
)
WHERE typeof(turns) = 'integer' AND turns BETWEEN 0 AND 68719476736
  AND typeof(tool_calls) = 'integer' AND tool_calls BETWEEN 0 AND 68719476736
  AND typeof(input) = 'integer' AND input BETWEEN 0 AND 68719476736
  AND typeof(output) = 'integer' AND output BETWEEN 0 AND 68719476736
  AND typeof(cache_read) = 'integer' AND cache_read BETWEEN 0 AND 68719476736
  AND typeof(cache_write) = 'integer' AND cache_write BETWEEN 0 AND 68719476736
  AND reported BETWEEN 0 AND 68719476736;
