-- name: stored
-- How much is stored of a node, by class, sealed apart.
SELECT class, name = 'sealed', sum(items), sum(bytes), min(first_ms), max(last_ms)
FROM streams WHERE node = :node
GROUP BY class, name = 'sealed' ORDER BY class, name = 'sealed';

-- name: sessions
-- Sessions of a node, the latest first, with their metadata where it is stored.
SELECT g.no, g.name, g.events, g.bytes, g.first_ms, g.last_ms, coalesce(i.body, x'')
FROM (
    SELECT max(no) AS no, name,
           sum(CASE class WHEN 'transcripts' THEN items ELSE 0 END) AS events,
           sum(bytes) AS bytes, min(first_ms) AS first_ms, max(last_ms) AS last_ms,
           max(CASE class WHEN 'metadata' THEN no END) AS about
    FROM streams
    WHERE node = :node AND class IN ('metadata', 'transcripts') AND name >= 'session:'
          AND name < 'session;'
    GROUP BY name
) AS g
LEFT JOIN items AS i ON i.stream = g.about AND i.identity = :about
WHERE (g.last_ms, g.no) < (:below_ms, :below)
ORDER BY g.last_ms DESC, g.no DESC LIMIT :limit;

-- name: streams
-- Streams of a node after a number, of one class or all.
SELECT no, class, name, items, bytes, first_ms, last_ms FROM streams
WHERE node = :node AND (:of IS NULL OR class = :of) AND no > :after ORDER BY no LIMIT :limit;

-- name: jobs
-- The cron jobs of a node after the number of a stream, with what is known of each.
SELECT s.no, s.name, i.received_ms, i.body
FROM streams AS s JOIN items AS i ON i.stream = s.no AND i.identity = :about
WHERE s.node = :node AND s.class = 'metadata' AND s.name >= 'cron:' AND s.name < 'cron;'
      AND s.no > :after
ORDER BY s.no LIMIT :limit;

-- name: items_up
-- Rows of one stream, the earliest first. What a page holds is decided by the sizes of bodies alone.
SELECT i.no, i.at_ms, i.received_ms, i.sealed, i.body, page.found
FROM (
    SELECT no, row_number() OVER up AS place, sum(size) OVER up AS total, count(*) OVER () AS found
    FROM (
        SELECT no, at_ms, length(body) AS size FROM items
        WHERE stream = (
            SELECT s.no FROM streams AS s WHERE s.node = :node AND s.class = :of AND s.name = :name
        ) AND (at_ms, no) > (:at_ms, :no)
        ORDER BY at_ms, no LIMIT :limit + 1
    )
    WINDOW up AS (ORDER BY at_ms, no ROWS UNBOUNDED PRECEDING)
) AS page
JOIN items AS i ON i.no = page.no
WHERE page.place <= :limit AND (page.place = 1 OR page.total <= :bytes_max)
ORDER BY page.place;

-- name: items_down
-- Rows of one stream, the latest first. What a page holds is decided by the sizes of bodies alone.
SELECT i.no, i.at_ms, i.received_ms, i.sealed, i.body, page.found
FROM (
    SELECT no, row_number() OVER up AS place, sum(size) OVER up AS total, count(*) OVER () AS found
    FROM (
        SELECT no, at_ms, length(body) AS size FROM items
        WHERE stream = (
            SELECT s.no FROM streams AS s WHERE s.node = :node AND s.class = :of AND s.name = :name
        ) AND (at_ms, no) < (:at_ms, :no)
        ORDER BY at_ms DESC, no DESC LIMIT :limit + 1
    )
    WINDOW up AS (ORDER BY at_ms DESC, no DESC ROWS UNBOUNDED PRECEDING)
) AS page
JOIN items AS i ON i.no = page.no
WHERE page.place <= :limit AND (page.place = 1 OR page.total <= :bytes_max)
ORDER BY page.place;

-- name: usage
-- Sums of what nodes used in some days, of each model, with a reported cost and without.
SELECT CASE :by WHEN 'node' THEN node ELSE 0 END, CASE :by WHEN 'day' THEN day ELSE '' END, model,
       sum(turns), sum(tool_calls), sum(input), sum(output), sum(cache_read), sum(cache_write),
       sum(reported)
FROM usage
WHERE node IN (SELECT value FROM json_each(:nodes)) AND day BETWEEN :first AND :last
GROUP BY 1, 2, 3, reported > 0
ORDER BY 1, 2, 3, reported > 0;
