-- What nodes that are no instance's may spend, and the alerts of it, as JSON.

CREATE TABLE budgets (
    node BIGINT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;
