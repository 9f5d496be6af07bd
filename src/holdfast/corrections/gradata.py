"""Decodes the gradata SDK's requests to rows. Pure.

Its client drops a row on most refusals, so everything that can be interpreted is accepted: an
unknown severity, a missing category, a text that is too long. The rest is left out and counted. A
correction arrives under different ids by different routes, and is deduplicated by content.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from holdfast.corrections import limits
from holdfast.corrections.accept import (
    category_text,
    classes_json,
    loads,
    moment,
    session_text,
    severity_text,
    text,
    whole,
)
from holdfast.corrections.identity import identity, scope_of
from holdfast.corrections.records import Correction, Event, Lesson
from holdfast.wire.api.ingest import CorrectRequest, IngestRequest
from holdfast.wire.limits import CONTENT_MAX, CONTEXT_MAX, EVENT_ID_MAX, TEXT_MAX
from holdfast.wire.times import parse_time

CORRECTION: Final = "CORRECTION"
LESSON_CHANGE: Final = "LESSON_CHANGE"

_SINGLE_ID: Final = re.compile(r"correct:.*:(\d{10,15}):[0-9a-f]+")
_SIDE_MAX: Final = CONTENT_MAX // 2
_SECOND_MS: Final = 1_000


class Rows(msgspec.Struct):
    """Decoded rows; `corrections_sent` and `watermark` are for the answer."""

    corrections: list[Correction]
    lessons: list[Lesson]
    events: list[Event]
    unread: int = 0
    watermark: str = ""


def empty() -> Rows:
    """Return no rows."""
    return Rows([], [], [])


def time_ms(value: object, now_ms: int) -> int:
    """Return an ISO time, or seconds or milliseconds since the epoch, as milliseconds.

    An invalid or impossible time becomes `now_ms`.
    """
    if isinstance(value, str):
        at_ms = parse_time(value)
        return now_ms if at_ms is None else moment(at_ms, now_ms)
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_seconds = 0 < value < 10**11
        return moment(int(value * _SECOND_MS if is_seconds else value), now_ms)
    return now_ms


def _correction(
    fields: dict[str, Any], *, event_id: str, session: object, at_ms: int, cut: int
) -> Correction | None:
    """Return a correction of these fields; None where both texts are missing.

    One without an id gets one of its time: a connected 0.6 sends each once.
    """
    draft, final = text(fields.get("draft"), _SIDE_MAX), text(fields.get("final"), _SIDE_MAX)
    if not draft and not final:
        return None
    named = session_text(session)
    known = identity(draft, final, scope_of(named, "", at_ms), cut=cut)
    distance = fields.get("edit_distance")
    return Correction(
        event_id=event_id or f"made:{known.hash.hex()[:32]}:{at_ms}",
        seq=0,
        at_ms=at_ms,
        scope=known.scope,
        hash=known.hash,
        cut_hash=known.cut_hash,
        was_cut=known.was_cut,
        session=named,
        category=category_text(fields.get("category")),
        severity=severity_text(fields.get("severity")),
        draft=draft,
        final=final,
        context=_json_text(fields.get("context"), CONTEXT_MAX),
        summary=text(fields.get("summary"), limits.SUMMARY_MAX),
        edit_distance=float(distance) if isinstance(distance, int | float) else None,
        classifications=classes_json(_class_names(fields.get("classifications"))),
        count=1,
    )


def _class_names(found: object) -> object:
    """Return classes as names; the SDK's events hold them as objects with a category."""
    if not isinstance(found, list):
        return None
    return [one.get("category", "") if isinstance(one, dict) else one for one in found]


def _json_text(value: object, most: int) -> str:
    """Return a value as JSON; empty for null and for one longer than `most`."""
    if value in (None, "", {}, []):
        return ""
    encoded = msgspec.json.encode(value)
    return "" if len(encoded) > most else encoded.decode()


def read_single(body: IngestRequest, now_ms: int) -> Correction | None:
    """Return the single correction of a write-through; None where it is empty."""
    found = loads(bytes(body.correction))
    if not isinstance(found, dict):
        return None
    event_id = text(body.event_id, EVENT_ID_MAX)
    in_id = _SINGLE_ID.fullmatch(event_id)
    at_ms = time_ms(int(in_id[1]), now_ms) if in_id else now_ms
    # This route always sends severity "minor" and category UNKNOWN, and the final text as the
    # description: the data of another route is preferred.
    fields = {**found, "classifications": None, "summary": ""}
    return _correction(
        fields,
        event_id=event_id,
        session=found.get("session"),
        at_ms=at_ms,
        cut=limits.GRADATA_SINGLE_CUT,
    )


def read_connected(body: CorrectRequest, now_ms: int) -> Correction | None:
    """Return the correction of a connected 0.6, which has neither an id nor a time."""
    fields = {
        "draft": body.draft,
        "final": body.final,
        "category": body.category,
        "context": loads(bytes(body.context)),
    }
    return _correction(
        fields, event_id="", session=body.session, at_ms=now_ms, cut=limits.GRADATA_CUT
    )


def read_events(raws: list[Raw] | None, now_ms: int, rows: Rows) -> None:
    """Add a list of events to the rows; the watermark is the largest time, compared as text."""
    for raw in raws or ():
        found = loads(bytes(raw))
        if not isinstance(found, dict):
            rows.unread += 1
            continue
        stamp = text(found.get("created_at") or found.get("ts"), EVENT_ID_MAX)
        rows.watermark = max(rows.watermark, stamp)
        _read_event(found, time_ms(stamp, now_ms), rows)


def _read_event(found: dict[str, Any], at_ms: int, rows: Rows) -> None:
    """Add one event: a correction, a lesson with its event, or an event alone."""
    raw_data = found.get("data")
    data: dict[str, Any] = raw_data if isinstance(raw_data, dict) else {}
    kind = text(found.get("type"), TEXT_MAX)
    event_id = text(found.get("event_id"), EVENT_ID_MAX) or _made_id(found)
    if kind == CORRECTION:
        fields = {**data, "draft": data.get("draft_text"), "final": data.get("final_text")}
        correction = _correction(
            fields,
            event_id=event_id,
            session=found.get("session"),
            at_ms=at_ms,
            cut=limits.GRADATA_CUT,
        )
        if correction is not None:
            rows.corrections.append(correction)
            return
    lesson = _read_lesson(data, event_id=event_id, at_ms=at_ms) if kind == LESSON_CHANGE else None
    if lesson is not None:
        rows.lessons.append(lesson)
    rows.events.append(
        Event(
            event_id=event_id,
            seq=0,
            at_ms=at_ms,
            type=kind or "UNKNOWN",
            source=text(found.get("source"), TEXT_MAX),
            session=session_text(found.get("session")),
            data=_json_text(raw_data, limits.EVENT_TEXT_MAX),
            tags=_json_text(found.get("tags"), limits.EVENT_TEXT_MAX),
        )
    )


def _made_id(found: dict[str, Any]) -> str:
    """Return an id for an event without one, derived from its content."""
    return "made:" + hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()[:48]


def _read_lesson(data: dict[str, Any], *, event_id: str, at_ms: int) -> Lesson | None:
    """Return the lesson of a change event; None where it has no data of one."""
    said = text(data.get("lesson_description"), limits.LESSON_TEXT_MAX)
    category = category_text(data.get("lesson_category"))
    if not said:
        return None
    named = hashlib.sha256(f"{category}\0{said}".encode()).hexdigest()[:24]
    confidence = data.get("initial_confidence")
    return Lesson(
        event_id=event_id,
        seq=0,
        at_ms=at_ms,
        lesson_id=f"gradata-{named}",
        category=category,
        text=said,
        state=text(data.get("state"), limits.SEVERITY_MAX).upper() or "INSTINCT",
        confidence=float(confidence) if isinstance(confidence, int | float) else 0.6,
        fires=whole(data.get("fire_count")),
        corrections=1,
        scope="",
    )


def read_old_corrections(raws: list[Raw] | None, now_ms: int, rows: Rows) -> None:
    """Add the `corrections` of the April 2026 client, whose texts are previews."""
    for raw in raws or ():
        found = loads(bytes(raw))
        fields = found if isinstance(found, dict) else {}
        at_ms = time_ms(fields.get("created_at"), now_ms)
        correction = _correction(
            {
                **fields,
                "draft": fields.get("draft_preview") or fields.get("draft"),
                "final": fields.get("final_preview") or fields.get("final"),
                "summary": fields.get("description"),
            },
            event_id=text(fields.get("event_id"), EVENT_ID_MAX),
            session=fields.get("session"),
            at_ms=at_ms,
            cut=limits.GRADATA_CUT,
        )
        if correction is None:
            rows.unread += 1
        else:
            rows.corrections.append(correction)
