"""Numbers of transcripts: turns, tool calls, tokens and cost, by model and day. No text of them.

A line that is none of what is known counts nothing.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from holdfast.machine.observer import counts, limits
from holdfast.machine.observer.counts import ANEW, Count
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers.parts import Lines, Part, encoded, event_id, stream_id
from holdfast.machine.observer.readers.records import to_ms
from holdfast.machine.observer.upload import Endpoint
from holdfast.outbox.redactor import redact
from holdfast.wire.consent import ContentClass
from holdfast.wire.limits import COUNTER_MAX
from holdfast.wire.times import parse_time, time_text

_DAY_CHARS: Final = 10
_MODEL_CHARS: Final = 100
_MESSAGES_KEPT: Final = 10_000
_OTHER: Final = "(other models)"
_TOOLS: Final = ("toolCall", "tool_use", "function_call")
_PLAUSIBLE_MAX: Final = 2**40
"""A larger number in a line is none of tokens."""


class _Cost(Struct):
    total: float = 0.0


class _Usage(Struct, frozen=True):
    """Tokens, in the words of OpenClaw, of Claude Code and of Codex.

    Codex alone counts what was cached (`cached_input_tokens`) within its `input_tokens`.
    """

    input: int = 0
    output: int = 0
    cache_read: int = msgspec.field(default=0, name="cacheRead")
    cache_write: int = msgspec.field(default=0, name="cacheWrite")
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cached_input_tokens: int = 0
    cost: _Cost | float | None = None


class _Item(Struct):
    type: str = ""


class _Message(Struct):
    id: str = ""
    role: str = ""
    model: str = ""
    usage: _Usage | None = None
    content: list[_Item] | str | None = None


class _Info(Struct):
    """The tokens of Codex's last call, and of its session so far."""

    last_token_usage: _Usage | None = None
    total_token_usage: _Usage | None = None


class _Payload(Struct):
    type: str = ""
    info: _Info | None = None


class _Line(Struct):
    timestamp: str | float | int | None = None
    message: _Message | None = None
    payload: _Payload | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode


class Counted(NamedTuple):
    """The numbers of lines of a file, and the last message in it.

    Parts of a message repeat its usage; a Codex session repeats the last one with its sums, so
    there the sums stand for the message.
    """

    counts: list[Count]
    name: str
    last: str


class Counter:
    """Counts lines; remembers the last message of each file."""

    def __init__(self) -> None:
        """Start with no message known."""
        self._last: dict[str, str] = {}

    def count(self, part: Lines) -> Counted:
        """Return the numbers of lines, those of a file that begins with a note that it does.

        What was counted is remembered by `keep` only, once the numbers are kept.
        """
        name = part.cursor.name
        last = self._last.get(name, "")
        found: dict[tuple[str, str], Count] = {}
        for content in part.contents:
            one, last = _line(content, last)
            if one is not None:
                key = (one.day, one.model)
                before = found.get(key)
                found[key] = one if before is None else _sum(before, one)
        counted = [ANEW, *found.values()] if part.anew else list(found.values())
        return Counted(counted, name, last)

    def keep(self, counted: Counted) -> None:
        """Go on after these lines."""
        if not counted.last:
            return
        if len(self._last) >= _MESSAGES_KEPT:
            self._last.clear()
        self._last[counted.name] = counted.last


def _line(content: bytes, last: str) -> tuple[Count | None, str]:
    """Return the numbers of a line, and the last message after it."""
    try:
        line = _decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None, last
    at_ms = to_ms(line.timestamp)
    if at_ms is None:
        return None, last
    day = time_text(at_ms)[:_DAY_CHARS]
    if line.message is not None:
        return _message(day, line.message, last)
    if line.payload is not None:
        return _payload(day, line.payload, last)
    return None, last


def _payload(day: str, payload: _Payload, last: str) -> tuple[Count | None, str]:
    """Return the numbers of a line of Codex; it writes its usage again whenever a limit changes."""
    info, called = payload.info, int(payload.type in _TOOLS)
    usage = None if info is None else info.last_token_usage
    total = None if info is None else info.total_token_usage
    sums = "" if total is None else f"{total.input_tokens} {total.output_tokens}"
    if sums and sums == last:
        usage = None
    counted = _counted(day, "", usage, tools=called, turns=0) if usage or called else None
    return counted, sums or last


def _message(day: str, message: _Message, last: str) -> tuple[Count | None, str]:
    if message.role not in {"user", "assistant"}:
        return None, last
    items = message.content if isinstance(message.content, list) else []
    tools = sum(item.type in _TOOLS for item in items)
    again = bool(message.id) and message.id == last
    usage = None if again else message.usage
    counted = _counted(day, message.model, usage, tools=tools, turns=0 if again else 1)
    return counted, message.id or last


def _counted(day: str, model: str, usage: _Usage | None, *, tools: int, turns: int) -> Count:
    model = redact(model)[:_MODEL_CHARS]
    if usage is None:
        return Count(day, model, turns, tools)
    cost = usage.cost.total if isinstance(usage.cost, _Cost) else usage.cost or 0.0
    return Count(
        day,
        model,
        turns,
        tools,
        _tokens(usage.input + max(usage.input_tokens - usage.cached_input_tokens, 0)),
        _tokens(usage.output + usage.output_tokens),
        _tokens(usage.cache_read + usage.cache_read_input_tokens + usage.cached_input_tokens),
        _tokens(usage.cache_write + usage.cache_creation_input_tokens),
        cost if 0 <= cost < _PLAUSIBLE_MAX else 0.0,
    )


def _tokens(number: int) -> int:
    return number if 0 <= number < _PLAUSIBLE_MAX else 0


def _sum(one: Count, other: Count) -> Count:
    numbers = [left + right for left, right in zip(one[2:], other[2:], strict=True)]
    return Count._make((one.day, one.model, *numbers))


def _fitting(found: list[Count]) -> list[Count]:
    """Return numbers by model: the ones with the most turns, and the sum of the rest."""
    if len(found) <= limits.MODELS_MAX:
        return found
    ranked = sorted(found, key=lambda one: (-one.turns, one.model))
    kept, rest = ranked[: limits.MODELS_MAX - 1], ranked[limits.MODELS_MAX - 1 :]
    return [*kept, reduce(_sum, rest, Count(rest[0].day, _OTHER))]


class DayCounts(NamedTuple):
    """The numbers of one day: sent whole each time they change; `name` is the day.

    The cursor's offset is a running number, so that numbers that come again after others are sent
    again. Part of a day cannot be told from the rest, so the day of a bound is not sent.
    """

    name: str
    sessions: int
    counts: list[Count]
    content: ContentClass = "counters"
    endpoint: Endpoint = "days"
    changed_ns: int = 0
    inode: int = 0

    @classmethod
    def of(cls, read: Callable[[Callable[[sqlite3.Connection], Any]], Any]) -> Iterator[DayCounts]:
        """Yield each day that is counted; raise UnavailableError."""
        for day, (sessions, found) in read(counts.days).items():
            yield cls(day, sessions, found)

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the numbers, if they are others than the last ones; see `parts.Source`."""
        began_ms = parse_time(self.name)
        if began_ms is None or began_ms < since_ms:
            return None
        models = [
            {"model": one.model, **dict(zip(_NAMES, one[2:], strict=True))}
            for one in _fitting(self.counts)
        ]
        snapshot = {"day": self.name, "sessions": self.sessions, "models": models}
        content = encoded(snapshot)
        digest = event_id(self.name, 0, content)
        known = cursors.of_name(self.content, self.name)
        # The tail of numbers that were withdrawn from the queue is empty.
        if known is not None and known.tail == digest:
            return None
        number = 1 if known is None else known.offset + 1
        stream = stream_id(self.content, self.name, "")
        cursor = Cursor(self.content, stream, self.name, 0, number, "", 0, tail=digest)
        ids = (event_id(self.name, number, content),)
        return Part({"snapshots": [snapshot]}, ids, cursor, _KEPT, more=False)

    def next_lines(self, _cursors: CursorReader, _content: ContentClass) -> Lines | None:
        """Return nothing: it has no lines."""
        return None

    def unread(self, _cursors: CursorReader, _content: ContentClass) -> int | None:
        """Return nothing: it is sent as a whole."""
        return None


_NAMES: Final = Count._fields[2:]
_KEPT: Final = COUNTER_MAX
"""Where a day begins in its stream: beyond every number, so that no withdrawal lowers that."""
