-- What belongs to towns and is not an event: texts that people and agents wrote, settings of rigs as
-- JSON with the credential sealed in it, and what owners were told.
CREATE TABLE texts (
    town TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (town, id)
);

CREATE TABLE rigs (
    town TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (town, name)
) WITHOUT ROWID;

CREATE TABLE notices (
    town TEXT NOT NULL,
    code TEXT NOT NULL,
    about TEXT NOT NULL,
    severity TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (town, code, about)
) WITHOUT ROWID;
