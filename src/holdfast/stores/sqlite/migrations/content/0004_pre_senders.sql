-- Who sends for a node, as JSON; empty where nobody was heard since.

ALTER TABLE nodes ADD COLUMN senders TEXT NOT NULL DEFAULT '';
