"""Decodes the gradata SDK's requests to rows. Pure.

Its client drops a row on most refusals, so everything that can be interpreted is accepted: an
unknown severity, a missing category, a text that is too long. The rest is refused row by row:
counted, and told in the answer where its client allows that. A correction arrives under different
ids by different routes, and is deduplicated by content.
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
from holdfast.wire import cut as letters
from holdfast.wire.api.ingest import NULL, CorrectRequest, IngestRequest, RefusedRow
from holdfast.wire.limits import CONTENT_MAX, CONTEXT_MAX, EVENT_ID_MAX, TEXT_MAX
from holdfast.wire.times import parse_time

CORRECTION: Final = "CORRECTION"
LESSON_CHANGE: Final = "LESSON_CHANGE"

_ID: Final = re.compile(rb'"event_id"\s*:\s*"([^"\\]+)"')
_STAMP: Final = re.compile(rb'"(?:created_at|ts)"\s*:\s*"([^"\\]+)"')
"""The id and the time of an event that is not readable as a whole."""
_UNREADABLE: Final = (
    "it is not a JSON object that can be read; numbers beyond 1.8e308 and NaN are not"
)
_SINGLE_ID: Final = re.compile(r"correct:.*:(\d{10,15}):[0-9a-f]+")
_SIDE_MAX: Final = CONTENT_MAX // 2
_SECOND_MS: Final = 1_000


class Rows(msgspec.Struct):
    """Decoded rows; `watermark` is for the answer."""

    corrections: list[Correction]
    lessons: list[Lesson]
    events: list[Event]
    refused: list[RefusedRow] = msgspec.field(default_factory=list)
    watermark: str = ""


def empty() -> Rows:
    """Return no rows."""
    return Rows([], [], [])


def _refuse(rows: Rows, code: str, detail: str, raw: bytes) -> None:
    """Refuse one row, named by its event id where one is found.

    Its time counts for the watermark: a client whose cursor stands still sends the row for ever.
    """
    named, stamp = _ID.search(raw), _STAMP.search(raw)
    event_id = _ascii(named)
    rows.refused.append(RefusedRow(event_id=event_id, code=code, detail=detail, id=event_id))
    rows.watermark = max(rows.watermark, _ascii(stamp))


def _ascii(found: re.Match[bytes] | None) -> str:
    """Return the group of a match as text; empty for no match or one that is no id."""
    return "" if found is None else found[1].decode("ascii", "replace")[:EVENT_ID_MAX]


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
    whole_texts = [text(fields.get(name), CONTENT_MAX) for name in ("draft", "final")]
    draft, final = (letters.cut(one, _SIDE_MAX) for one in whole_texts)
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
        was_cut=known.was_cut or whole_texts != [draft, final],
        session=named,
        category=category_text(fields.get("category")),
        severity=severity_text(fields.get("severity")),
        draft=draft,
        final=final,
        context=_json_text(fields.get("context"), CONTEXT_MAX),
        summary=letters.shortened(text(fields.get("summary"), CONTENT_MAX), limits.SUMMARY_MAX),
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


def refused_single(body: IngestRequest) -> RefusedRow | None:
    """Return the refusal of a single correction that cannot be read; None for any other."""
    raw = bytes(body.correction)
    if raw == bytes(NULL) or isinstance(loads(raw), dict):
        return None
    named = text(body.event_id, TEXT_MAX)
    return RefusedRow(event_id=named, code="bad_row", detail=_UNREADABLE, id=named)


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
    raw = b"" if body.context == NULL else bytes(body.context)
    fields = {
        "draft": body.draft,
        "final": body.final,
        "category": body.category,
        # One that cannot be read is kept as it came: this client keeps nothing itself.
        "context": loads(raw) if loads(raw) is not None else raw.decode("utf-8", "replace"),
    }
    return _correction(
        fields, event_id="", session=body.session, at_ms=now_ms, cut=limits.GRADATA_CUT
    )


def read_events(raws: list[Raw] | None, now_ms: int, rows: Rows) -> None:
    """Add a list of events to the rows; the watermark is the largest time, compared as text."""
    for raw in raws or ():
        found = loads(bytes(raw))
        if not isinstance(found, dict):
            _refuse(rows, "bad_row", _UNREADABLE, bytes(raw))
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
    told = text(data.get("lesson_description"), CONTENT_MAX)
    said = letters.shortened(told, limits.LESSON_TEXT_MAX)
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
            is_read = isinstance(found, dict)
            code = "no_content" if is_read else "bad_row"
            detail = "draft and final are both empty" if is_read else _UNREADABLE
            _refuse(rows, code, detail, bytes(raw))
        else:
            rows.corrections.append(correction)
