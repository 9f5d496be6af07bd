-- What people decided about lessons, in the order in which they did: each decision about a lesson of
-- a brain takes the brain's next number, so that the brain can ask for what is newer than it knows.

ALTER TABLE lessons ADD COLUMN verdict_no INTEGER NOT NULL DEFAULT 0;

UPDATE lessons SET verdict_no = (
    SELECT count(*) FROM lessons AS o
    WHERE o.brain = lessons.brain AND o.decision <> ''
        AND (coalesce(o.decided_ms, 0), o.no) <= (coalesce(lessons.decided_ms, 0), lessons.no)
) WHERE decision <> '';

CREATE UNIQUE INDEX lessons_by_verdict ON lessons (brain, verdict_no) WHERE verdict_no > 0;

-- Up to which number a brain said that it has them.
CREATE TABLE verdicts_taken (
    brain    INTEGER PRIMARY KEY,
    taken_no INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL
) STRICT;
