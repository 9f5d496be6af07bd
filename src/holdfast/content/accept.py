"""Decodes what observers send into rows, route by route. Pure.

A body is read only after its class was let in. A row that cannot be read is None, so that it is
counted and does not hold up the rows beside it. What is sealed is one row: it says nothing of its
parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct, field

from holdfast.content import limits
from holdfast.content.records import (
    ABOUT,
    CRON,
    DAY,
    FILE,
    LOG,
    OTHER,
    SEALED,
    SESSION,
    Keep,
    Row,
)
from holdfast.content.usage import read_usage
from holdfast.kernel.clock import DAY_MS
from holdfast.wire import parsers
from holdfast.wire.api.clawmetry import Heartbeat, Upload
from holdfast.wire.api.ingest import NULL
from holdfast.wire.consent import ContentClass
from holdfast.wire.limits import (
    COUNTER_MAX,
    NODE_PATH_MAX,
    NODE_ROWS_MAX,
    NODE_SESSION_MAX,
    REASON_MAX,
    TEXT_MAX,
)
from holdfast.wire.times import parse_time


class Route(NamedTuple):
    """What comes by a route: its class, None for no content at all, and whether it is kept."""

    of: ContentClass | None
    kept: bool


ROUTES: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "clawmetry.events": Route("transcripts", kept=True),
        "clawmetry.stream": Route("logs", kept=True),
        "clawmetry.logs": Route("logs", kept=True),
        "clawmetry.sessions": Route("metadata", kept=True),
        "clawmetry.memory": Route("memory", kept=True),
        "clawmetry.files": Route("files", kept=True),
        "clawmetry.ingest": Route("metadata", kept=True),
        "clawmetry.autonomy": Route("counters", kept=True),
        "clawmetry.cache": Route("transcripts", kept=True),
        # The rest is read by nothing here. A snapshot repeats everything, transcripts too.
        "clawmetry.snapshot": Route("transcripts", kept=False),
        "clawmetry.shared-trace": Route("transcripts", kept=False),
        "clawmetry.assistant": Route("transcripts", kept=False),
        "clawmetry.alert": Route("transcripts", kept=False),
        "clawmetry.approval": Route("transcripts", kept=False),
        "clawmetry.trial": Route(None, kept=False),
        "clawmetry.evaluate": Route(None, kept=False),
    }
)
"""Every route that content may come by."""

_PUSHES: Final[Mapping[str, ContentClass]] = MappingProxyType(
    {"memory": "memory", "crons": "metadata", "channels": "metadata"}
)
"""Classes of a heartbeat's pushes by the first word of their keys; any other is transcripts."""

COUNTERS: Final = (
    "tool_calls_today",
    "exec_calls_today",
    "browser_actions_today",
    "unique_tools_today",
    "messages_today",
)
"""Numbers of the day in a heartbeat."""
_META: Final = ("os", "os_release", "arch", "cpu_count", "ram_gb", "content_key_fingerprint")
"""What is kept of a heartbeat's `node_meta`."""

SECONDS_MAX: Final = 100_000_000_000
"""A number below this is a time in seconds, above it in milliseconds."""
_BLOB: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="


class _Event(Struct, gc=False):
    id: Raw = NULL
    uuid: Raw = NULL
    event_id: Raw = field(default=NULL, name="eventId")
    message_id: Raw = field(default=NULL, name="messageId")
    timestamp: Raw = NULL
    ts: Raw = NULL


class _Session(Struct, gc=False):
    session_id: str
    updated_at: Raw = NULL
    started_at: Raw = NULL


class _File(Struct, gc=False):
    path: str
    content: Raw


class _Push(Struct, gc=False):
    key: str = ""


_ANY: Final = msgspec.json.Decoder()
_LIST: Final = msgspec.json.Decoder(list[Raw])
_EVENT: Final = msgspec.json.Decoder(_Event)
_SESSION: Final = msgspec.json.Decoder(_Session)
_FILE: Final = msgspec.json.Decoder(_File)
_PUSH: Final = msgspec.json.Decoder(_Push)


def text(value: object, most: int = TEXT_MAX) -> str:
    """Return a text or number as a text without control characters; empty for anything else."""
    return "".join(one for one in _plain(value)[:most] if one.isprintable())


def _plain(value: object) -> str:
    """Return a text, or a number as one; empty for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def name(value: object, most: int = NODE_SESSION_MAX) -> str:
    """Return a text as a name of at most `most` characters.

    What had to be changed for that ends in a digest of all of it, so that two names are never one.
    """
    given = _plain(value)
    shown = text(given, most)
    if shown == given:
        return given
    ending = digest(b"name", given.encode()).hex()
    return f"{shown[: most - len(ending) - 1]}~{ending}"


def count_of(value: object) -> int | None:
    """Return a number as a count, without what is behind its point; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= COUNTER_MAX:
        return int(value)
    return None


def moment(value: object, now_ms: int) -> int:
    """Return a time, ISO 8601 or a number, in ms; `now_ms` for none and for one in the future."""
    at_ms = parse_time(value) or 0
    if isinstance(value, int | float) and not isinstance(value, bool) and value < COUNTER_MAX:
        at_ms = int(value * 1_000) if value < SECONDS_MAX else int(value)
    return at_ms if 0 < at_ms <= now_ms + limits.AHEAD_MS_MAX else now_ms


def loads(raw: bytes) -> Any:
    """Return decoded JSON, or None for invalid JSON."""
    try:
        return parsers.from_json(_ANY, raw)
    except msgspec.DecodeError:
        return None


def sealed_blob(body: Upload) -> bytes | None:
    """Return the blob of a sealed body, None where it is not one."""
    raw = bytes(body.blob)
    return raw[1:-1] if raw.startswith(b'"') else None


def read_rows(route: str, body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield the rows of a body, None for each that cannot be read."""
    blob = sealed_blob(body)
    if blob is not None:
        # Our observer says which transcript a sealed body is of; the daemon does not.
        is_named = route == "clawmetry.events" and text(body.session_file) != ""
        stream = session_stream(body.session_file) if is_named else SEALED
        named = _plain(body.id).encode()
        identity = digest(b"id", named) if named else digest(b"blob", blob)
        yield sealed_row(stream, blob, now_ms, identity=identity)
        return
    reader = _READERS.get(route)
    if reader is not None:
        yield from reader(body, now_ms)


def sealed_row(
    stream: str, blob: bytes, now_ms: int, *, identity: bytes, keep: Keep = "once"
) -> Row | None:
    """Return a sealed body as a row; None for what is no base64."""
    if not blob or blob.translate(None, _BLOB):
        return None
    return Row(stream, keep, identity, now_ms, sealed=True, body=blob)


def digest(kind: bytes, value: bytes) -> bytes:
    """Return the identity of a value of a kind: 16 bytes."""
    return hashlib.blake2b(kind + b"\0" + value, digest_size=16).digest()


def session_stream(file: object) -> str:
    """Return the stream of a session file; an archived part belongs to the session's own."""
    given = _plain(file)
    return SESSION + name(given.partition(".jsonl")[0] or given or "unnamed")


def _list(raw: Raw) -> Sequence[Raw | None]:
    """Return the rows of a list; one that cannot be read for anything else but null.

    Rows beyond those that a body may have are one more that cannot be read.
    """
    if bytes(raw) == bytes(NULL):
        return ()
    try:
        found = parsers.from_json(_LIST, raw)
    except msgspec.DecodeError:
        return (None,)
    return found if len(found) <= NODE_ROWS_MAX else (*found[:NODE_ROWS_MAX], None)


def _read_events(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield lines of a transcript: one identity for each id within the session."""
    stream = session_stream(body.session_file)
    for raw in _list(body.events):
        yield None if raw is None else _event(raw, stream, now_ms)


def _event(raw: Raw, stream: str, now_ms: int) -> Row | None:
    line = bytes(raw)
    try:
        found = parsers.from_json(_EVENT, raw)
    except msgspec.DecodeError:
        return None
    if len(line) > limits.ROW_BYTES_MAX:
        return None
    given = (found.id, found.uuid, found.event_id, found.message_id)
    named = next((bytes(one) for one in given if bytes(one) not in {b"null", b'""'}), None)
    identity = digest(b"line", line) if named is None else digest(b"id", named)
    stamp = found.timestamp if bytes(found.timestamp) != bytes(NULL) else found.ts
    at_ms = moment(loads(bytes(stamp)), now_ms)
    return Row(stream, "once", identity, at_ms, sealed=False, body=line)


def _read_lines(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield log lines; the same line is the same row whether it came live or from its file."""
    for raw in _list(body.lines):
        yield None if raw is None else _line(raw, now_ms)


def _line(raw: Raw, now_ms: int) -> Row | None:
    if len(bytes(raw)) > limits.ROW_BYTES_MAX:
        return None
    found = loads(bytes(raw))
    if isinstance(found, dict) and found.keys() == {"raw"}:
        found = found["raw"]
    if isinstance(found, str):
        inner = loads(found.encode()) if found.startswith("{") else None
        found = inner if isinstance(inner, dict) else found
    if not isinstance(found, str | dict) or parsers.is_deep(found):
        return None
    line = msgspec.json.encode(found, order="sorted")
    at_ms = now_ms
    if isinstance(found, dict):
        given = (found.get(name) for name in ("time", "timestamp", "ts", "date"))
        at_ms = moment(next((one for one in given if one is not None), None), now_ms)
    return Row(LOG, "once", digest(b"line", line), at_ms, sealed=False, body=line)


def _read_sessions(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield what is known of sessions: the latest of each is kept."""
    for raw in _list(body.sessions):
        yield None if raw is None else _session(raw, now_ms)


def _session(raw: Raw, now_ms: int) -> Row | None:
    try:
        found = parsers.from_json(_SESSION, raw)
    except msgspec.DecodeError:
        return None
    line = bytes(raw)
    if not found.session_id or len(line) > limits.META_BYTES_MAX:
        return None
    stamp = found.updated_at if bytes(found.updated_at) != bytes(NULL) else found.started_at
    at_ms = moment(loads(bytes(stamp)), now_ms)
    stream = session_stream(found.session_id)
    return Row(stream, "latest", ABOUT, at_ms, sealed=False, body=line)


def _read_crons(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield states of cron jobs, the latest of each; what else came is kept once."""
    for raw in _list(body.events):
        found = None if raw is None else loads(bytes(raw))
        if raw is None or not isinstance(found, dict) or len(bytes(raw)) > limits.META_BYTES_MAX:
            yield None
            continue
        data = found.get("data")
        job = name(data.get("job_id")) if isinstance(data, dict) else ""
        if job:
            yield Row(CRON + job, "latest", ABOUT, now_ms, sealed=False, body=bytes(raw))
        else:
            identity = digest(b"line", bytes(raw))
            yield Row(OTHER, "once", identity, now_ms, sealed=False, body=bytes(raw))


def _read_memory(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield memory files; each content that differs from the one before is a version."""
    for raw in _list(body.memory_content):
        yield None if raw is None else _memory(raw, now_ms)


def _memory(raw: Raw, now_ms: int) -> Row | None:
    try:
        found = parsers.from_json(_FILE, raw)
    except msgspec.DecodeError:
        return None
    content = bytes(found.content)
    path = name(found.path, NODE_PATH_MAX)
    if not path or not content.startswith(b'"') or len(content) > limits.ROW_BYTES_MAX:
        return None
    identity = digest(b"file", content)
    return Row(FILE + path, "version", identity, now_ms, sealed=False, body=content)


def _read_days(body: Upload, now_ms: int) -> Iterator[Row | None]:
    """Yield numbers of days, the latest of each; a day counts as of its end."""
    for raw in _list(body.snapshots):
        found = None if raw is None else loads(bytes(raw))
        known: dict[str, Any] = found if isinstance(found, dict) else {}
        day = name(known.get("day"))
        if raw is None or not day or len(bytes(raw)) > limits.META_BYTES_MAX:
            yield None
        else:
            at_ms = min(moment(day, now_ms) + DAY_MS - 1, now_ms)
            usage = read_usage(day, known.get("models"))
            yield Row(DAY + day, "latest", ABOUT, at_ms, sealed=False, body=bytes(raw), usage=usage)


_READERS: Final = {
    "clawmetry.events": _read_events,
    "clawmetry.stream": _read_lines,
    "clawmetry.logs": _read_lines,
    "clawmetry.sessions": _read_sessions,
    "clawmetry.memory": _read_memory,
    "clawmetry.files": _read_memory,
    "clawmetry.ingest": _read_crons,
    "clawmetry.autonomy": _read_days,
}


def sessions_named(rows: Sequence[Row], since_ms: int) -> list[str]:
    """Return the ids of sessions, of rows about them, that changed at or after a time."""
    return [
        row.stream.removeprefix(SESSION)
        for row in rows
        if row.stream.startswith(SESSION) and row.at_ms >= since_ms
    ]


def kept_facts(body: Heartbeat, *, counters: bool) -> dict[str, str]:
    """Return what is kept of a heartbeat: a closed list of short values, as texts."""
    names = ("e2e", "local_store_size_mb", *(COUNTERS if counters else ()))
    found = {name: _fact(getattr(body, name)) for name in names}
    meta = loads(bytes(body.node_meta))
    if isinstance(meta, dict):
        found |= {name: _fact(meta.get(name)) for name in _META}
    return {name: value for name, value in found.items() if value}


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(value, TEXT_MAX)


def refused_parts(
    body: Heartbeat, kept: Mapping[str, str], *, counters: bool, size: int
) -> dict[ContentClass, int]:
    """Return the bytes of a heartbeat that are not kept, by class.

    `size` is that of the whole body. What is neither kept nor known by its name is metadata.
    """
    parts: dict[ContentClass, int] = {}
    for raw in _list(body.cache_pushes):
        of = "transcripts" if raw is None else _class_of_push(raw)
        parts[of] = parts.get(of, 0) + (4 if raw is None else len(bytes(raw)))
    if not counters:
        given = (getattr(body, name) for name in COUNTERS)
        numbers = sum(len(str(one)[:REASON_MAX]) for one in given if one is not None)
        if numbers:
            parts["counters"] = numbers
    known = sum(len(name) + len(value) + 6 for name, value in kept.items())
    rest = size - sum(parts.values()) - known - _signs_bytes(body)
    if rest > 0:
        parts["metadata"] = parts.get("metadata", 0) + rest
    return parts


def _signs_bytes(body: Heartbeat) -> int:
    """Return the bytes of what our observer says of itself in a heartbeat: none is content."""
    try:
        signs = msgspec.convert(
            {name: getattr(body, name) for name in _Signs.__struct_fields__}, _Signs
        )
    except msgspec.ValidationError:
        return 0
    return len(msgspec.json.encode(signs))


class _Signs(Struct, frozen=True):
    ts: Annotated[str, Meta(max_length=64)]
    seen_number: Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
    queue: dict[ContentClass, Annotated[int, Meta(ge=0, le=COUNTER_MAX)]]
    client: Literal["holdfast-observer"]


def _class_of_push(raw: Raw) -> ContentClass:
    try:
        key = parsers.from_json(_PUSH, raw).key
    except msgspec.DecodeError:
        return "transcripts"
    return _PUSHES.get(key.partition(":")[0], "transcripts")
