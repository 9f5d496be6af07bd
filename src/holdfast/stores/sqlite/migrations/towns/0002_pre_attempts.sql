-- Tokens of attempts by their hashes: one for each agent of a town, deleted when its attempt ends.
CREATE TABLE grants (
    town TEXT NOT NULL,
    agent TEXT NOT NULL,
    attempt TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    issued_ms BIGINT NOT NULL,
    PRIMARY KEY (town, agent)
) WITHOUT ROWID;
