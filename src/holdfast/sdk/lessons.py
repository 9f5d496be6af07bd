"""Lessons: repeated corrections, as a rule with a confidence that evidence moves.

A change seen twice becomes a lesson at 0.60. Each further time moves its confidence towards 1, by
more the more severe the correction; a correction that does the opposite takes 0.20 away. Pure.

    INSTINCT   repeated once             PATTERN  from 0.60 and three corrections
    RULE       from 0.90 and five          ARCHIVED fell below 0.20        KILLED  rejected
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.sdk import limits
from holdfast.sdk.difference import Difference, Hunk
from holdfast.sdk.identity import short_id
from holdfast.sdk.judgement import AS_IS, DISCARDED, MAJOR, MINOR, MODERATE

INSTINCT: Final = "INSTINCT"
PATTERN: Final = "PATTERN"
RULE: Final = "RULE"
ARCHIVED: Final = "ARCHIVED"
KILLED: Final = "KILLED"
STATES: Final = (INSTINCT, PATTERN, RULE, ARCHIVED, KILLED)

APPROVED: Final = "approved"
REJECTED: Final = "rejected"
EVERYWHERE: Final = "universal"

_WEIGHTS: Final = {AS_IS: 0.10, MINOR: 0.20, MODERATE: 0.25, MAJOR: 0.30, DISCARDED: 0.35}
_WHOLE_CHARS: Final = 120
_WORDS: Final = re.compile(r"\w{3,}")


class Lesson(NamedTuple):
    """One lesson. Times are milliseconds since the epoch.

    `corrections` is how often it was seen, `fires` how often it was shown in a prompt, `verdict` a
    person's: "approved", "rejected" or "". `revision` grows with each change.
    """

    lesson_id: str
    category: str
    text: str
    state: str
    confidence: float
    fires: int
    corrections: int
    scope: str
    verdict: str
    revision: int
    created_ms: int
    changed_ms: int


_TYPES: Final = (str, str, str, str, float, int, int, str, str, int, int, int)


def believed(row: Sequence[object]) -> Lesson | None:
    """Return a stored lesson, None if it is damaged."""
    if len(row) != len(_TYPES) or not all(map(isinstance, row, _TYPES)) or row[3] not in STATES:
        return None
    return Lesson(*row)  # type: ignore[arg-type]  # judged just now


class Seen(NamedTuple):
    """A change that may be repeated: its key, the key of its opposite, and its rule in words."""

    key: str
    opposite: str
    text: str


def seen_in(difference: Difference, *, draft: str, final: str, content: str) -> tuple[Seen, ...]:
    """Return what may be repeated of this change, at most three; `content` is its content hash.

    Small changes are keyed by themselves, in whatever text they occur; without any the texts as a
    whole are.
    """
    small = [hunk for hunk in difference.hunks if _small(hunk)]
    if small:
        return tuple(dict.fromkeys(map(_as_seen, small[: limits.PATTERNS_PER_CORRECTION])))
    text = f"Prefer “{_brief(final)}” to “{_brief(draft)}”."
    return (Seen(short_id("whole", content), "", text),)


def _small(hunk: Hunk) -> bool:
    """Return whether a change could be a habit: few words, and no figures, which are facts."""
    both = hunk.removed + hunk.added
    words = max(len(hunk.removed.split()), len(hunk.added.split()))
    return words <= limits.PATTERN_WORDS_MAX and not any(map(str.isdigit, both))


def _as_seen(hunk: Hunk) -> Seen:
    old, new = hunk.removed.lower(), hunk.added.lower()
    if not old:
        text = f"Add “{hunk.added}”."
    elif not new:
        text = f"Leave out “{hunk.removed}”."
    else:
        text = f"Write “{hunk.added}” instead of “{hunk.removed}”."
    return Seen(short_id("swap", old, new), short_id("swap", new, old), text)


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WHOLE_CHARS else line[: _WHOLE_CHARS - 1] + "…"


def born(seen: Seen, *, category: str, now_ms: int) -> Lesson:
    """Return the lesson of a change that was seen for the second time."""
    return Lesson(
        lesson_id="l" + seen.key,
        category=category,
        text=seen.text[: limits.RULE_CHARS_MAX],
        state=INSTINCT,
        confidence=limits.LESSON_START,
        fires=0,
        corrections=2,
        scope=EVERYWHERE,
        verdict="",
        revision=1,
        created_ms=now_ms,
        changed_ms=now_ms,
    )


def from_plane(
    lesson_id: str, *, category: str, text: str, confidence: float, corrections: int, now_ms: int
) -> Lesson:
    """Return a lesson that is not in this folder, as the plane has it, without its verdict."""
    lesson = Lesson(
        lesson_id=lesson_id,
        category=category,
        text=text,
        state=INSTINCT,
        confidence=confidence,
        fires=0,
        corrections=corrections,
        scope=EVERYWHERE,
        verdict="",
        revision=0,
        created_ms=now_ms,
        changed_ms=now_ms,
    )
    return lesson._replace(state=_state(lesson))


def reinforced(lesson: Lesson, *, severity: str, now_ms: int) -> Lesson:
    """Return the lesson after one more correction that agrees."""
    grown = lesson.confidence + (1 - lesson.confidence) * _WEIGHTS[severity]
    return _changed(lesson, grown, now_ms, corrections=lesson.corrections + 1)


def contradicted(lesson: Lesson, *, now_ms: int) -> Lesson:
    """Return the lesson after a correction that did the opposite."""
    return _changed(lesson, lesson.confidence - limits.CONTRADICTED_BY, now_ms)


def approved(lesson: Lesson, *, now_ms: int) -> Lesson:
    """Return the approved lesson: a rule from now on, even if it was rejected."""
    sure = max(lesson.confidence, limits.RULE_FROM)
    return _changed(lesson._replace(verdict=APPROVED), sure, now_ms)


def rejected(lesson: Lesson, *, now_ms: int) -> Lesson:
    """Return the rejected lesson: never shown again, however often it is repeated."""
    return _changed(lesson._replace(verdict=REJECTED), lesson.confidence, now_ms)


def _changed(
    lesson: Lesson, confidence: float, now_ms: int, *, corrections: int | None = None
) -> Lesson:
    lesson = lesson._replace(
        confidence=round(min(max(confidence, 0.0), 1.0), 4),
        corrections=lesson.corrections if corrections is None else corrections,
        revision=lesson.revision + 1,
        changed_ms=now_ms,
    )
    return lesson._replace(state=_state(lesson))


def _state(lesson: Lesson) -> str:
    if lesson.verdict == REJECTED:
        return KILLED
    if lesson.confidence < limits.ARCHIVED_BELOW:
        return ARCHIVED
    sure = lesson.verdict == APPROVED
    if lesson.confidence >= limits.RULE_FROM and (
        sure or lesson.corrections >= limits.RULE_CORRECTIONS
    ):
        return RULE
    if lesson.confidence >= limits.PATTERN_FROM and (
        sure or lesson.corrections >= limits.PATTERN_CORRECTIONS
    ):
        return PATTERN
    return INSTINCT


# ---------------------------------------------------------------------- for a prompt


def chosen(lessons: list[Lesson], task: str, *, most: int) -> list[Lesson]:
    """Return the patterns and rules that fit the task best, at most `most`.

    Those that share words with the task come first, then by confidence.
    """
    words = set(_WORDS.findall(task.lower()))

    def rank(lesson: Lesson) -> tuple[int, float, str]:
        shared = len(words & set(_WORDS.findall(f"{lesson.category} {lesson.text}".lower())))
        return -shared, -lesson.confidence, lesson.lesson_id

    return sorted((lesson for lesson in lessons if lesson.state in {PATTERN, RULE}), key=rank)[
        :most
    ]


def rendered(lessons: list[Lesson]) -> str:
    """Return lessons as lines for a prompt, empty if there are none."""
    if not lessons:
        return ""
    lines = [
        f"- [{lesson.state} {lesson.confidence:.2f}] {lesson.category}: {lesson.text}"
        for lesson in lessons
    ]
    return "\n".join(("Learned from earlier corrections:", *lines))
