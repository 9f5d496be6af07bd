-- An instance that is destroyed writes a letter to its pairing since this version. Before it, the
-- plane told the pairing after the commit, and one that died in between left a pairing without an
-- instance. Each of those is told once here. The id need not be derived: nothing tells it again.
INSERT INTO events (id, actor, body, version, source, cause, author, accepted_ms)
SELECT
    lower(hex(randomblob(12))),
    'pairing/' || pairing.key,
    CAST(json_object('type', 'PairingInstanceGone', 'account', pairing.account) AS BLOB),
    1,
    'engine',
    '',
    '',
    CAST(strftime('%s', 'now') AS INTEGER) * 1000
FROM view_rows AS pairing
WHERE pairing.view = 'pairing'
    AND NOT EXISTS (
        SELECT 1 FROM view_rows AS instance
        WHERE instance.view = 'instance' AND instance.key = pairing.key
    );
