-- name: open_stream
-- The number of a stream, which is made where there is none.
INSERT INTO streams (node, class, name, items, bytes, first_ms, last_ms)
VALUES (:node, :of, :name, 0, 0, :now_ms, :now_ms)
ON CONFLICT (node, class, name) DO UPDATE SET last_ms = streams.last_ms
RETURNING no;

-- name: add_items
-- Add rows whose identity is new in their stream, many in one step.
INSERT INTO items (stream, identity, at_ms, received_ms, sealed, body) VALUES :rows
ON CONFLICT (stream, identity) DO NOTHING
RETURNING length(body);

-- name: item_body
-- The size of the row of an identity, and whether its body is this one.
SELECT length(body), body = :body FROM items WHERE stream = :stream AND identity = :identity;

-- name: replace_item!
-- Put a row in place of the one of its identity.
INSERT INTO items (stream, identity, at_ms, received_ms, sealed, body)
VALUES (:stream, :identity, :at_ms, :received_ms, :sealed, :body)
ON CONFLICT (stream, identity) DO UPDATE SET
    at_ms = excluded.at_ms, received_ms = excluded.received_ms, sealed = excluded.sealed,
    body = excluded.body;

-- name: newest_identity
-- The identity of the row of a stream that was added last.
SELECT identity FROM items WHERE stream = :stream ORDER BY no DESC LIMIT 1;

-- name: grow_stream!
-- Count what was added to a stream; its times are those of its rows.
UPDATE streams SET
    items = items + :items, bytes = bytes + :bytes,
    first_ms = CASE items WHEN 0 THEN :first_ms ELSE min(first_ms, :first_ms) END,
    last_ms = CASE items WHEN 0 THEN :last_ms ELSE max(last_ms, :last_ms) END
WHERE no = :no;

-- name: count_class
-- How many rows of a class are stored of a node.
SELECT coalesce(sum(items), 0) FROM streams WHERE node = :node AND class = :of;

-- name: drop_class_items!
-- Delete the rows of a class of a node.
DELETE FROM items WHERE stream IN (
    SELECT no FROM streams WHERE node = :node AND class = :of
);

-- name: drop_class_streams!
-- Delete the streams of a class of a node.
DELETE FROM streams WHERE node = :node AND class = :of;

-- name: drop_old_items
-- Delete some of the rows that were received first; counters have an age of their own.
DELETE FROM items WHERE no IN (
    SELECT i.no FROM items AS i JOIN streams AS s ON s.no = i.stream
    WHERE i.received_ms < :latest_ms
      AND i.received_ms < CASE s.class WHEN 'counters' THEN :counters_ms ELSE :others_ms END
    ORDER BY i.received_ms, i.no LIMIT :limit
)
RETURNING stream, length(body);

-- name: shrink_stream
-- Count what was deleted of a stream.
UPDATE streams SET items = items - :items, bytes = bytes - :bytes WHERE no = :no RETURNING node;

-- name: drop_empty_stream!
-- Delete a stream without rows.
DELETE FROM streams WHERE no = :no AND items <= 0;

-- name: drop_usage!
-- Delete what was read from a day of counters that is replaced.
DELETE FROM usage WHERE node = :node AND day = :day;

-- name: add_usage!
-- Add what was read from a day of counters, many models in one step.
INSERT INTO usage (node, day, model, turns, tool_calls, input, output, cache_read, cache_write,
                   reported)
VALUES :rows;
