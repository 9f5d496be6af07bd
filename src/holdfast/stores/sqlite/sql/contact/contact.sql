-- name: contact_load
-- Every row, in a fixed order.
SELECT body FROM contact ORDER BY instance;

-- name: contact_save!
-- Put rows in place of those before, many in one step.
INSERT INTO contact (instance, heard_ms, body) VALUES :rows
ON CONFLICT (instance) DO UPDATE SET heard_ms = excluded.heard_ms, body = excluded.body;

-- name: contact_forget!
-- Remove the rows of instances that were destroyed, many in one step.
DELETE FROM contact WHERE (instance) IN (VALUES :rows);
