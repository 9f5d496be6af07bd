"""Numbers of transcripts: turns, tool calls, tokens and cost, by model and day. No text of them.

A line that is none of what is known counts nothing.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from holdfast.machine.observer import counts
from holdfast.machine.observer.counts import ANEW, Count
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers.parts import Lines, Part, encoded, event_id, stream_id
from holdfast.machine.observer.readers.records import to_ms
from holdfast.machine.observer.upload import Endpoint
from holdfast.outbox.redactor import redact
from holdfast.wire.consent import ContentClass

_DAY_CHARS: Final = 10
_MODEL_CHARS: Final = 100
_MESSAGES_KEPT: Final = 10_000
_TOOLS: Final = ("toolCall", "tool_use", "function_call")
_PLAUSIBLE_MAX: Final = 2**40
"""A larger number in a line is none of tokens."""


class _Cost(Struct):
    total: float = 0.0


class _Usage(Struct):
    """Tokens, in the words of OpenClaw, of Claude Code and of Codex."""

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
    last_token_usage: _Usage | None = None


class _Payload(Struct):
    type: str = ""
    info: _Info | None = None


class _Line(Struct):
    timestamp: str | float | int | None = None
    message: _Message | None = None
    payload: _Payload | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode


class Counter:
    """Counts lines; remembers the last message of each file, whose parts repeat its usage."""

    def __init__(self) -> None:
        """Start with no message known."""
        self._last: dict[str, str] = {}

    def count(self, part: Lines) -> list[Count]:
        """Return the numbers of lines, those of a file that begins with a note that it does."""
        found: dict[tuple[str, str], Count] = {}
        for content in part.contents:
            one = self._line(part.cursor.name, content)
            if one is not None:
                key = (one.day, one.model)
                before = found.get(key)
                found[key] = one if before is None else _sum(before, one)
        return [ANEW, *found.values()] if part.anew else list(found.values())

    def _line(self, name: str, content: bytes) -> Count | None:
        try:
            line = _decode(content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        at_ms = to_ms(line.timestamp)
        if at_ms is None:
            return None
        day = datetime.fromtimestamp(at_ms / 1_000, tz=UTC).isoformat()[:_DAY_CHARS]
        if line.message is not None:
            return self._message(name, day, line.message)
        if line.payload is not None:
            info = line.payload.info
            usage = None if info is None else info.last_token_usage
            called = int(line.payload.type in _TOOLS)
            return _counted(day, "", usage, tools=called, turns=0) if usage or called else None
        return None

    def _message(self, name: str, day: str, message: _Message) -> Count | None:
        if message.role not in {"user", "assistant"}:
            return None
        items = message.content if isinstance(message.content, list) else []
        tools = sum(item.type in _TOOLS for item in items)
        again = bool(message.id) and self._last.get(name) == message.id
        if message.id:
            if len(self._last) >= _MESSAGES_KEPT:
                self._last.clear()
            self._last[name] = message.id
        usage = None if again else message.usage
        return _counted(day, message.model, usage, tools=tools, turns=0 if again else 1)


def _counted(day: str, model: str, usage: _Usage | None, *, tools: int, turns: int) -> Count:
    model = redact(model[:_MODEL_CHARS])
    if usage is None:
        return Count(day, model, turns, tools)
    cost = usage.cost.total if isinstance(usage.cost, _Cost) else usage.cost or 0.0
    return Count(
        day,
        model,
        turns,
        tools,
        _tokens(usage.input + usage.input_tokens),
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


class DayCounts(NamedTuple):
    """The numbers of one day: sent whole each time they change."""

    day: str
    sessions: int
    counts: list[Count]
    content: ContentClass = "counters"
    endpoint: Endpoint = "days"
    changed_ns: int = 0

    @classmethod
    def of(cls, read: Callable[[Callable[[sqlite3.Connection], Any]], Any]) -> Iterator[DayCounts]:
        """Yield each day that is counted; raise UnavailableError."""
        for day, (sessions, found) in read(counts.days).items():
            yield cls(day, sessions, found)

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the numbers, if they are others than the last ones; see `parts.Source`."""
        began = datetime.fromisoformat(self.day).replace(tzinfo=UTC)
        if int(began.timestamp() * 1_000) + 86_400_000 <= since_ms:
            return None
        models = [
            {"model": one.model, **dict(zip(_NAMES, one[2:], strict=True))} for one in self.counts
        ]
        snapshot = {"day": self.day, "sessions": self.sessions, "models": models}
        digest = event_id(self.day, 0, encoded(snapshot))
        known = cursors.of_name(self.content, self.day)
        # An offset of 0 is that of numbers that were withdrawn from the queue.
        if known is not None and known.offset and known.tail == digest:
            return None
        stream = stream_id(self.content, self.day, "")
        cursor = Cursor(self.content, stream, self.day, 0, 1, "", 0, tail=digest)
        return Part({"snapshots": [snapshot]}, (digest,), cursor, 0, more=False)

    def next_lines(self, _cursors: CursorReader, _content: ContentClass) -> Lines | None:
        """Return nothing: it has no lines."""
        return None


_NAMES: Final = Count._fields[2:]
