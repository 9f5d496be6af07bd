"""Verdicts on a lesson from two places: the folder's own and the dashboard's. The later wins.

Both are compared by the folder's clock: the plane sends the age of a verdict, measured on its own
clock, so that clocks that differ have no effect. Both are kept. Every function takes the
transaction it belongs to.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from holdfast.outbox.transaction import Transaction
from holdfast.sdk import lessons, record, schema
from holdfast.sdk.lessons import APPROVED, REJECTED, Lesson

VERDICTS: Final = (APPROVED, REJECTED)
HERE: Final = "brain"
THERE: Final = "dashboard"


class Decided(NamedTuple):
    """A verdict given on the dashboard `age_ms` ago, with the lesson as the plane has it.

    `number` counts the verdicts of a brain.
    """

    number: int
    lesson_id: str
    verdict: str
    by: str
    age_ms: int
    category: str
    text: str
    confidence: float
    corrections: int


def judge_here(tx: Transaction, lesson: Lesson) -> None:
    """Store a lesson that was judged in this folder just now, and the verdict."""
    record.keep_lesson(tx, lesson)
    values = (lesson.lesson_id, HERE, lesson.verdict, lesson.changed_ms, "", 0)
    tx.execute(schema.VERDICT_WRITE, values)


def follow(tx: Transaction, decided: Decided, *, brain: str, now_ms: int) -> None:
    """Apply one verdict of the dashboard: it wins unless a later one was given here."""
    given_ms = now_ms - decided.age_ms
    known = {place: rest for place, *rest in _known(tx, decided.lesson_id)}
    if known.get(THERE, ("", 0, "", 0))[2:] == [brain, decided.number]:
        return
    here = known.get(HERE)
    holds = here is None or here[1] <= given_ms
    tx.execute(
        schema.VERDICT_WRITE,
        (decided.lesson_id, THERE, decided.verdict, given_ms, brain, decided.number),
    )
    if holds:
        _apply(tx, decided, now_ms)
    _note(tx, decided, here, given_ms=given_ms, now_ms=now_ms, brain=brain)


def _known(tx: Transaction, lesson_id: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = tx.execute(schema.VERDICTS_READ, (lesson_id,)).fetchall()
    return rows


def _apply(tx: Transaction, decided: Decided, now_ms: int) -> None:
    lesson = record.lesson_of(tx, decided.lesson_id) or _missing(tx, decided, now_ms)
    if lesson.verdict == decided.verdict:
        return
    judge = lessons.approved if decided.verdict == APPROVED else lessons.rejected
    record.keep_lesson(tx, judge(lesson, now_ms=now_ms))


def _missing(tx: Transaction, decided: Decided, now_ms: int) -> Lesson:
    """Return a lesson that this folder lost, or that another folder of the brain learned."""
    key = decided.lesson_id.removeprefix("l")
    if key != decided.lesson_id:
        # So that the change it is about strengthens this lesson, instead of making a second one.
        tx.execute(schema.PATTERN_ADD, (key, decided.lesson_id))
    return lessons.from_plane(
        decided.lesson_id,
        category=decided.category,
        text=decided.text,
        confidence=decided.confidence,
        corrections=decided.corrections,
        now_ms=now_ms,
    )


def _note(
    tx: Transaction, decided: Decided, here: Any, *, given_ms: int, now_ms: int, brain: str
) -> None:
    """Store both verdicts, and which one wins."""
    data = {
        "lesson_id": decided.lesson_id,
        THERE: {"verdict": decided.verdict, "by": decided.by, "at_ms": given_ms},
        HERE: None if here is None else {"verdict": here[0], "at_ms": here[1]},
        "holds": THERE if here is None or here[1] <= given_ms else HERE,
    }
    event_id = f"v{brain[-16:]}.{decided.number}"
    event = record.Event(
        0, event_id, now_ms, record.VERDICT, record.OURS, None, record.written(data), "[]"
    )
    record.keep_event(tx, event)
