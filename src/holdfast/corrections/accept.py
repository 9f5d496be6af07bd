"""Decodes our versioned batch, row by row. Pure.

The envelope has a version; an unsupported one is refused as a whole, with the supported range. A
row that cannot be read is refused alone, by its event id, so that it is not sent again for ever and
does not hold up the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from holdfast.corrections import limits
from holdfast.corrections.identity import identity, scope_of
from holdfast.corrections.records import Correction, Event, Lesson
from holdfast.wire import parsers
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.ingest import BATCH_VERSION, NULL, IngestRequest, QueueState, RefusedRow
from holdfast.wire.cut import cut, shortened
from holdfast.wire.limits import (
    CONTENT_MAX,
    CONTEXT_MAX,
    COUNTER_MAX,
    EVENT_ID_MAX,
    INGEST_ROWS_MAX,
    SOURCE_MAX,
    TEXT_MAX,
)

OLDEST_VERSION: Final = max(1, BATCH_VERSION - 1)
"""The oldest supported version of a batch; a request without one is the gradata SDK's."""


class _Row(Struct, gc=False):
    payload: Raw
    event_id: str = ""
    kind: str = ""
    seq: int = 0
    at_ms: int = 0


class _Corrected(Struct, gc=False):
    draft: str = ""
    final: str = ""
    session: str | int | None = None
    category: str | None = None
    severity: str | None = None
    context: Raw = NULL
    count: int | None = None
    edit_distance: float | None = None
    summary: str | None = None
    classifications: Raw = NULL
    day: str | None = None


class _Learned(Struct, gc=False):
    lesson_id: str
    category: str | None = None
    text: str | None = None
    state: str | None = None
    confidence: float | None = None
    fires: int | None = None
    corrections: int | None = None
    scope: str | None = None


class _Happened(Struct, gc=False):
    type: str
    source: str | None = None
    session: str | int | None = None
    data: Raw = NULL
    tags: Raw = NULL


class Batch(Struct, kw_only=True):
    """A decoded batch; `numbers` are those of refused rows, which count as received."""

    sdk: str
    source: str
    name: str
    depth: int
    oldest_ms: int
    corrections: list[Correction]
    lessons: list[Lesson]
    events: list[Event]
    refused: list[RefusedRow]
    numbers: list[int]


class BadRowError(Exception):
    """A row is invalid: `code` for programs, the text for people, without the row's content."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


_ROW: Final = msgspec.json.Decoder(_Row)
_CORRECTED: Final = msgspec.json.Decoder(_Corrected)
_LEARNED: Final = msgspec.json.Decoder(_Learned)
_HAPPENED: Final = msgspec.json.Decoder(_Happened)
_QUEUE: Final = msgspec.json.Decoder(QueueState)
_ANY: Final = msgspec.json.Decoder()
_KINDS: Final = ("correction", "lesson", "event")


def text(value: object, most: int) -> str:
    """Return a value as a text of at most `most` characters; empty if it is no text."""
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:most]
    return ""


def whole(value: object, most: int = COUNTER_MAX) -> int:
    """Return a value as an integer from 0 to `most`; 0 if it is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
        return int(value)
    return 0


def session_text(value: object) -> str | None:
    """Return a session as text, or None: 12 and "12" are one session."""
    return text(value, limits.SESSION_MAX) or None


def moment(at_ms: int, now_ms: int) -> int:
    """Return the time of a row; `now_ms` where the sender's clock cannot have been right."""
    return at_ms if 0 < at_ms <= now_ms + limits.AHEAD_MS_MAX else now_ms


def refuse_version(version: object) -> None:
    """Refuse (400) a batch of an unsupported version."""
    if isinstance(version, int) and not isinstance(version, bool):  # noqa: SIM102  true is 1
        if OLDEST_VERSION <= version <= BATCH_VERSION:
            return
    raise Refusal(
        400, "unsupported_version",
        f"this plane takes batches of version {OLDEST_VERSION} to {BATCH_VERSION}",
        field="version", fix="use an SDK of this plane's version or of the one before",
    )  # fmt: skip


def refuse_many(rows: int) -> None:
    """Refuse (413) a request with too many rows; its sender then splits it."""
    if rows > INGEST_ROWS_MAX:
        raise Refusal(
            413, "too_many_rows", f"the request has more than {INGEST_ROWS_MAX} rows", field="rows",
            fix=f"send at most {INGEST_ROWS_MAX} rows in a request",
        )  # fmt: skip


def open_batch(body: IngestRequest) -> Batch:
    """Return our batch with no row read yet.

    Refuse (400) an unsupported version, (413) too many rows.
    """
    refuse_version(body.version)
    rows = body.rows or []
    refuse_many(len(rows))
    depth, oldest_ms = _queue(body.queue)
    return Batch(
        sdk=text(body.sdk, TEXT_MAX) or "unknown",
        source=text(body.source, SOURCE_MAX),
        name=text(body.brain, TEXT_MAX),
        # The sender's reported queue still includes the rows of this batch.
        depth=max(0, depth - len(rows)),
        oldest_ms=oldest_ms if depth > len(rows) else 0,
        corrections=[],
        lessons=[],
        events=[],
        refused=[],
        numbers=[],
    )


def begins_with_correction(rows: Sequence[Raw]) -> bool:
    """Return whether the first row is a correction; False where it cannot be read."""
    try:
        return bool(rows) and parsers.from_json(_ROW, rows[0]).kind == _KINDS[0]
    except msgspec.DecodeError:
        return False


def read_rows(batch: Batch, rows: Sequence[Raw], now_ms: int) -> None:
    """Add rows to the batch's lists, or to those refused."""
    for raw in rows:
        _read_row(batch, raw, now_ms)


def _queue(raw: Raw) -> tuple[int, int]:
    """Return the depth and age of a sender's queue; zeros where they cannot be read."""
    try:
        queue = parsers.from_json(_QUEUE, raw)
    except msgspec.DecodeError:
        return 0, 0
    return whole(queue.depth), whole(queue.oldest_ms)


def _read_row(batch: Batch, raw: Raw, now_ms: int) -> None:
    """Add one row to the list of its kind, or to those refused."""
    row = None
    try:
        row = parsers.from_json(_ROW, raw)
        _check_row(row)
        if row.kind == "correction":
            batch.corrections.append(_correction(row, now_ms))
        elif row.kind == "lesson":
            batch.lessons.append(_lesson(row, now_ms))
        elif row.kind == "event":
            batch.events.append(_event(row, now_ms))
        else:
            kinds = ", ".join(_KINDS)
            _refuse(batch, raw, row, "unknown_kind", f"kind: want one of {kinds}")
    except msgspec.ValidationError as error:
        _refuse(batch, raw, row, "bad_row", str(error))
    except msgspec.DecodeError:
        _refuse(batch, raw, row, "bad_row", "it is not an object of this form")
    except BadRowError as error:
        _refuse(batch, raw, row, error.code, str(error))


def _check_row(row: _Row) -> None:
    """Raise BadRowError for a row whose number or id is out of range."""
    if not 0 <= row.seq <= COUNTER_MAX:
        raise BadRowError("bad_row", f"seq: want a number of 0 to {COUNTER_MAX}")
    if not 0 < len(row.event_id) <= EVENT_ID_MAX:
        raise BadRowError("bad_row", f"event_id: want 1 to {EVENT_ID_MAX} characters")


def _refuse(batch: Batch, raw: Raw, row: _Row | None, code: str, detail: str) -> None:
    """Record a refused row by its event id, which is searched for even in a broken row."""
    event_id, seq = (row.event_id, row.seq) if row is not None else _who(raw)
    event_id = event_id[:TEXT_MAX]
    batch.refused.append(RefusedRow(event_id=event_id, code=code, detail=detail[:500], id=event_id))
    if 0 < seq <= COUNTER_MAX:
        batch.numbers.append(seq)


def _who(raw: Raw) -> tuple[str, int]:
    """Return the event id and number of an undecodable row; empty and 0 where it has none."""
    found = loads(bytes(raw))
    if not isinstance(found, dict):
        return "", 0
    return text(found.get("event_id"), EVENT_ID_MAX), whole(found.get("seq"))


def loads(raw: bytes) -> Any:
    """Return decoded JSON, or None for invalid JSON."""
    try:
        return parsers.from_json(_ANY, raw)
    except msgspec.DecodeError:
        return None


def _json(raw: Raw, most: int) -> str:
    """Return JSON as its text; empty for null and for what exceeds `most`.

    Raise BadRowError for what cannot be read, such as a number beyond the range of a double.
    """
    found = bytes(raw)
    if loads(found) is None and found != bytes(NULL):
        raise BadRowError("bad_row", "it holds JSON that cannot be read, such as 1e400")
    return "" if found == bytes(NULL) or len(found) > most else found.decode("utf-8", "replace")


def _correction(row: _Row, now_ms: int) -> Correction:
    """Return a correction of our batch."""
    found = parsers.from_json(_CORRECTED, row.payload)
    if len(found.draft) + len(found.final) > CONTENT_MAX:
        raise BadRowError("too_long", f"draft and final: want {CONTENT_MAX} characters at most")
    if not found.draft and not found.final:
        raise BadRowError("no_content", "draft and final are both empty")
    session = session_text(found.session)
    at_ms = moment(row.at_ms, now_ms)
    known = identity(found.draft, found.final, scope_of(session, found.day or "", at_ms), cut=0)
    return Correction(
        event_id=row.event_id,
        seq=row.seq,
        at_ms=at_ms,
        scope=known.scope,
        hash=known.hash,
        cut_hash=known.cut_hash,
        was_cut=False,
        session=session,
        category=category_text(found.category),
        severity=severity_text(found.severity),
        draft=found.draft,
        final=found.final,
        context=_context(found.context),
        summary=shortened(found.summary or "", limits.SUMMARY_MAX),
        edit_distance=found.edit_distance,
        classifications=classifications_text(found.classifications),
        count=max(1, whole(found.count, limits.COUNT_MAX)),
    )


def category_text(value: object) -> str:
    """Return a category in capitals; UNKNOWN for none."""
    return text(value, limits.CATEGORY_MAX).upper() or "UNKNOWN"


def severity_text(value: object) -> str:
    """Return a severity in small letters; unknown for none."""
    return text(value, limits.SEVERITY_MAX).lower() or "unknown"


def _context(raw: Raw) -> str:
    """Return a context: a text as it is, anything else as JSON; empty if too long."""
    found = _json(raw, CONTEXT_MAX)
    if not found.startswith('"'):
        return found
    decoded = loads(found.encode())
    return shortened(decoded, CONTEXT_MAX) if isinstance(decoded, str) else ""


def classifications_text(raw: Raw) -> str:
    """Return a list of classes as JSON, empty for none: `["TONE"]`."""
    return classes_json(loads(bytes(raw)))


def classes_json(found: object) -> str:
    """Return a list of classes as JSON; empty for anything else."""
    if not isinstance(found, list) or not found:
        return ""
    names = [text(one, limits.CATEGORY_MAX) for one in found[: limits.CLASSIFICATIONS_MAX]]
    return msgspec.json.encode([name for name in names if name]).decode()


def _lesson(row: _Row, now_ms: int) -> Lesson:
    """Return a lesson of our batch."""
    found = parsers.from_json(_LEARNED, row.payload)
    if not found.lesson_id:
        raise BadRowError("bad_row", "lesson_id is empty")
    return Lesson(
        event_id=row.event_id,
        seq=row.seq,
        at_ms=moment(row.at_ms, now_ms),
        lesson_id=found.lesson_id[:EVENT_ID_MAX],
        category=category_text(found.category),
        text=shortened(found.text or "", limits.LESSON_TEXT_MAX),
        state=text(found.state, limits.SEVERITY_MAX).upper() or "INSTINCT",
        confidence=min(1.0, max(0.0, found.confidence or 0.0)),
        fires=whole(found.fires),
        corrections=whole(found.corrections),
        scope=text(found.scope, TEXT_MAX),
    )


def _event(row: _Row, now_ms: int) -> Event:
    """Return an event of our batch."""
    found = parsers.from_json(_HAPPENED, row.payload)
    return Event(
        event_id=row.event_id,
        seq=row.seq,
        at_ms=moment(row.at_ms, now_ms),
        type=found.type[:TEXT_MAX],
        source=text(found.source, TEXT_MAX),
        session=session_text(found.session),
        data=_json(found.data, limits.EVENT_TEXT_MAX),
        tags=_json(found.tags, limits.EVENT_TEXT_MAX),
    )
