"""Stores events: the local record and its row in the queue, in one transaction.

Every function takes the transaction it belongs to. The texts are redacted before they come here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from holdfast.outbox.receipts import Receipt
from holdfast.outbox.transaction import STORED, Transaction
from holdfast.sdk import identity, lessons, limits, schema
from holdfast.sdk.lessons import Lesson, Seen

CORRECTION: Final = "CORRECTION"
LESSON_CHANGE: Final = "LESSON_CHANGE"
_KINDS: Final = {CORRECTION: "correction", LESSON_CHANGE: "lesson"}
VERDICT: Final = "VERDICT"
RESERVED: Final = frozenset({*_KINDS, VERDICT})
"""Event types with a form of their own, which only we write."""
OURS: Final = "holdfast"


class Event(NamedTuple):
    """One row of the record. `data` and `tags` are JSON text."""

    id: int
    event_id: str
    at_ms: int
    type: str
    source: str
    session: str | None
    data: str
    tags: str


class Made(NamedTuple):
    """A correction ready to be stored: everything but how often it was seen."""

    event_id: str
    occasion: str
    content: str
    session: str | None
    day: str
    category: str
    severity: str
    draft: str
    final: str
    context: str | None
    distance: float
    summary: str
    classifications: tuple[str, ...]
    seen: tuple[Seen, ...]
    at_ms: int


class Kept(NamedTuple):
    """The result: how often it has been seen, its row's receipt, changed lessons."""

    times: int
    queued: bool
    reason: str
    lessons: tuple[Lesson, ...]


def written(value: Any) -> str:
    """Return compact JSON text; raise ValueError for data that JSON cannot represent."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def correction_payload(made: Made, count: int) -> str:
    """Return a correction as it is stored and sent."""
    return written(
        {
            "session": made.session,
            "category": made.category,
            "severity": made.severity,
            "draft": made.draft,
            "final": made.final,
            "content_hash": made.content,
            "context": made.context,
            "count": count,
            "edit_distance": made.distance,
            "summary": made.summary,
            "classifications": made.classifications,
            "day": made.day,
        }
    )


def keep_correction(tx: Transaction, made: Made) -> Kept:
    """Store one correction, or count it if the same was made on this occasion before."""
    known = tx.execute(schema.KNOWN, (made.occasion, made.content)).fetchone()
    if known is not None:
        return _repeated(tx, made, known)
    payload = correction_payload(made, 1)
    event = Event(0, made.event_id, made.at_ms, CORRECTION, OURS, made.session, payload, "[]")
    row, receipt = keep_event(tx, event)
    tx.execute(
        schema.CORRECTION_ADD,
        (row, made.occasion, made.content, made.severity, made.category, made.at_ms),
    )
    moved = learn(tx, made)
    return Kept(1, receipt.state == STORED, receipt.reason, moved)


def _repeated(tx: Transaction, made: Made, known: Sequence[Any]) -> Kept:
    event, event_id, before = known
    # A damaged count begins again.
    count = before + 1 if isinstance(before, int) and before > 0 else 1
    tx.execute(schema.CORRECTION_SEEN, (count, made.at_ms, event))
    if last_sent(count) != count:
        return Kept(count, queued=False, reason="counted", lessons=())
    again = identity.repeat_id(event_id, count)
    # Its own texts, not the stored ones: those may be damaged.
    receipt = tx.enqueue("correction", again, correction_payload(made, count))
    return Kept(count, receipt.state == STORED, receipt.reason, ())


def recounted(payload: str, count: int) -> str:
    """Return a stored correction's payload with another count."""
    return written({**json.loads(payload), "count": count})


def last_sent(count: int) -> int:
    """Return the highest count so far that is sent: 1 to 9, 10, 20, 50, 100, 200, …."""
    if count <= limits.REPEATS_SENT_EACH:
        return count
    power: int = 10 ** (len(str(count)) - 1)
    return max(step * power for step in (1, 2, 5) if step * power <= count)


def believed(row: Sequence[Any]) -> Event:
    """Return a stored event; damaged parts are marked as such."""
    number, event_id, at_ms, kind, source, session, data, tags = row
    return Event(
        id=number,
        event_id=str(event_id),
        at_ms=at_ms if isinstance(at_ms, int) else 0,
        type=str(kind),
        source=str(source),
        session=None if session is None else str(session),
        data=data if _is_json(data) else '{"damaged":true}',
        tags=tags if _is_json(tags) else "[]",
    )


def _is_json(text: object) -> bool:
    try:
        json.loads(text if isinstance(text, str) else "")
    except (ValueError, RecursionError):
        return False
    return True


def keep_event(tx: Transaction, event: Event, *, again: bool = False) -> tuple[int, Receipt]:
    """Store and queue an event; return its row number and the queue's receipt."""
    done = tx.execute(
        schema.EVENT_ADD,
        (event.event_id, event.at_ms, event.type, event.source, event.session, event.data,
         event.tags),
    )  # fmt: skip
    return done.lastrowid or 0, queue_event(tx, event, again=again)


def queue_event(tx: Transaction, event: Event, *, again: bool = False) -> Receipt:
    """Queue a stored event."""
    kind = _KINDS.get(event.type, "event")
    payload = event.data if kind != "event" else _event_payload(event)
    return tx.enqueue(kind, event.event_id, payload, again=again)


def _event_payload(event: Event) -> str:
    head = written({"type": event.type, "source": event.source, "session": event.session})
    return f'{head[:-1]},"data":{event.data},"tags":{event.tags}}}'


# ---------------------------------------------------------------------- lessons


def learn(tx: Transaction, made: Made) -> tuple[Lesson, ...]:
    """Update lessons from a correction; return those that changed."""
    own = {seen.key for seen in made.seen}
    keys = [key for seen in made.seen for key in (seen.key, seen.opposite) if key]
    marks = ",".join("?" * len(keys))
    there = dict(tx.execute(schema.PATTERNS_READ.format(marks), keys).fetchall())
    moved: list[Lesson] = []
    for seen in made.seen:
        # A correction that goes both ways at once is evidence for neither.
        against = None if seen.opposite in own else there.get(seen.opposite)
        if against:
            lesson = lesson_of(tx, against)
            if lesson is not None:
                moved.append(lessons.contradicted(lesson, now_ms=made.at_ms))
        if seen.key not in there:
            tx.execute(schema.PATTERN_ADD, (seen.key, None))
            continue
        known = there[seen.key]
        lesson = lesson_of(tx, known) if known else None
        if lesson is None:
            lesson = lessons.born(seen, category=made.category, now_ms=made.at_ms)
            tx.execute(schema.PATTERN_ADD, (seen.key, lesson.lesson_id))
            moved.append(lesson)
        else:
            moved.append(lessons.reinforced(lesson, severity=made.severity, now_ms=made.at_ms))
    for lesson in moved:
        keep_lesson(tx, lesson)
    return tuple(moved)


def lesson_of(tx: Transaction, lesson_id: str) -> Lesson | None:
    """Return a lesson, None if there is none of this id."""
    row = tx.execute(schema.LESSON_READ, (lesson_id,)).fetchone()
    return None if row is None else lessons.believed(row)


def keep_lesson(tx: Transaction, lesson: Lesson) -> Receipt:
    """Store a lesson's state, and send it to the plane."""
    tx.execute(schema.LESSON_WRITE, lesson)
    event_id = f"{lesson.lesson_id}.{lesson.revision}"
    event = Event(
        0, event_id, lesson.changed_ms, LESSON_CHANGE, OURS, None, lesson_payload(lesson), "[]"
    )
    return keep_event(tx, event)[1]


def lesson_payload(lesson: Lesson) -> str:
    """Return a lesson as it is sent."""
    return written(
        {
            "lesson_id": lesson.lesson_id,
            "category": lesson.category,
            "text": lesson.text,
            "state": lesson.state,
            "confidence": lesson.confidence,
            "fires": lesson.fires,
            "corrections": lesson.corrections,
            "scope": lesson.scope,
        }
    )


def fired(tx: Transaction, shown: Iterable[Lesson]) -> None:
    """Count that lessons were shown in a prompt."""
    for lesson in shown:
        tx.execute(schema.LESSON_FIRED, (lesson.lesson_id,))
