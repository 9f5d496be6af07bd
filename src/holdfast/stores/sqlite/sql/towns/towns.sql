-- name: put_text!
-- Keep a text; one with its id stays as it is.
INSERT INTO texts (town, id, kind, title, body, made_ms)
VALUES (:town, :id, :kind, :title, :body, :made_ms)
ON CONFLICT (town, id) DO NOTHING;

-- name: texts
-- Those of some texts of a town that are there.
SELECT id, kind, title, body, made_ms FROM texts
WHERE town = :town AND id IN (SELECT value FROM json_each(:ids));

-- name: drop_text!
-- Erase a text.
DELETE FROM texts WHERE town = :town AND id = :id;

-- name: put_rig!
-- Keep the settings of a rig in place of those before.
INSERT INTO rigs (town, name, body) VALUES (:town, :name, :body)
ON CONFLICT (town, name) DO UPDATE SET body = excluded.body;

-- name: rig
-- The settings of a rig.
SELECT body FROM rigs WHERE town = :town AND name = :name;

-- name: rigs
-- The settings of all rigs of a town, by name.
SELECT body FROM rigs WHERE town = :town ORDER BY name;

-- name: all_rigs
-- The settings of all rigs of all towns.
SELECT town, body FROM rigs ORDER BY town, name;

-- name: reseal!
-- Put a credential in place of one that has not changed meanwhile.
UPDATE rigs SET body = json_set(body, '$.token', :new)
WHERE town = :town AND name = :name AND json_valid(body)
    AND json_extract(body, '$.token') = :old;

-- name: drop_rig!
-- Erase the settings of a rig.
DELETE FROM rigs WHERE town = :town AND name = :name;

-- name: put_notice!
-- Keep a notice in place of the one before about the same.
INSERT INTO notices (town, code, about, severity, at_ms)
VALUES (:town, :code, :about, :severity, :at_ms)
ON CONFLICT (town, code, about) DO UPDATE SET severity = excluded.severity, at_ms = excluded.at_ms;

-- name: drop_older_notices!
-- Delete the notices of a town before the newest few.
DELETE FROM notices WHERE (town, code, about) IN (
    SELECT town, code, about FROM notices WHERE town = :town
    ORDER BY at_ms DESC, code, about LIMIT -1 OFFSET :most
);

-- name: notices
-- The notices of a town, the newest first.
SELECT code, about, severity, at_ms FROM notices WHERE town = :town
ORDER BY at_ms DESC, code, about;

-- name: erase_texts!
-- Erase all texts of a town.
DELETE FROM texts WHERE town = :town;

-- name: erase_rigs!
-- Erase all settings of a town's rigs.
DELETE FROM rigs WHERE town = :town;

-- name: erase_notices!
-- Erase all notices of a town.
DELETE FROM notices WHERE town = :town;
