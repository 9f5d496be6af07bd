"""What a log line says: how bad it is, and its words. Pure.

A line is text, or the JSON of one: OpenClaw's (tslog: numbered words, `_meta.logLevelName`) and
the forms that are common elsewhere. What has no level in a known place has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

from holdfast.content import limits
from holdfast.content.accept import loads
from holdfast.content.records import ItemRow
from holdfast.wire.api.content import LogLevel, LogRow
from holdfast.wire.times import time_text

LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)
"""From the least to the worst."""
_RANKS: Final[Mapping[str, int]] = {name: at for at, name in enumerate(LEVELS)}
_NAMES: Final[Mapping[str, LogLevel]] = {
    **{name: name for name in LEVELS},
    "silly": "trace",
    "verbose": "debug",
    "notice": "info",
    "warning": "warn",
    "err": "error",
    "critical": "fatal",
    "panic": "fatal",
}
_NUMBERED: Final = 10
"""Numbers of levels are tens: 10 is `trace` (pino)."""
_IN_TEXT: Final = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|PANIC)\b|level=\"?(\w+)"
)
_HEAD_CHARS: Final = 200
"""Characters of a line of text in which a level is looked for."""
_ESCAPE_BYTES: Final = 12
"""Bytes of a character at most: an escaped pair of surrogates."""
_TEXT_BYTES: Final = 6 * limits.SHOWN_MAX
"""Bytes of a line that are read: what is shown, with each character escaped."""
_WORDS_MAX: Final = 16
"""Numbered words of a line that are read."""


class Search(NamedTuple):
    """Which lines are wanted: those with a text, in any case, and at least of a level."""

    text: str = ""
    level: str = ""

    @property
    def is_any(self) -> bool:
        """Return whether every line is wanted."""
        return not (self.text or self.level)

    def wants(self, shown: LogRow) -> bool:
        """Return whether a line is wanted, by what is shown of it; a sealed one is not."""
        if self.is_any:
            return True
        if shown.sealed:
            return False
        if self.level and _RANKS.get(shown.level, -1) < _RANKS[self.level]:
            return False
        wanted = self.text.casefold()
        return not wanted or wanted in shown.text.casefold() or wanted in shown.message.casefold()


def log_row(row: ItemRow) -> LogRow:
    """Return one log line as it was written, with its level and its words."""
    found = None if row.sealed else _read(row.body)
    fields = found if isinstance(found, dict) else {}
    line = found if isinstance(found, str) else row.body[:_TEXT_BYTES].decode(errors="replace")
    shown = line[: limits.SHOWN_MAX]
    level = _level(fields) if fields or row.sealed else _level_of_text(line)
    return LogRow(
        at=time_text(row.at_ms),
        text=shown,
        sealed=row.sealed,
        cut=len(line) > len(shown) or len(row.body) > _TEXT_BYTES,
        id=f"i{row.no}",
        level=level,
        message=_message(fields)[: limits.SHOWN_MAX],
    )


def _read(body: bytes) -> Any:
    """Return what the JSON of a line says; of a long one its text, of no more than is shown."""
    if len(body) <= limits.LINE_JSON_MAX:
        return loads(body)
    if not body.startswith(b'"'):
        return None
    if len(body) <= _TEXT_BYTES:
        return loads(body)
    ends = (loads(body[: _TEXT_BYTES - less] + b'"') for less in range(_ESCAPE_BYTES))
    return next((text for text in ends if text is not None), None)


def _level(fields: Mapping[str, Any]) -> LogLevel | Literal[""]:
    meta = fields.get("_meta")
    inner: Mapping[str, Any] = meta if isinstance(meta, dict) else {}
    given = (inner.get("logLevelName"), fields.get("level"), fields.get("severity"))
    for one in given:
        if isinstance(one, str) and one.lower() in _NAMES:
            return _NAMES[one.lower()]
        if isinstance(one, int) and not isinstance(one, bool):
            at = one // _NUMBERED - 1
            return LEVELS[at] if 0 <= at < len(LEVELS) else ""
    return ""


def _level_of_text(line: str) -> LogLevel | Literal[""]:
    found = _IN_TEXT.search(line[:_HEAD_CHARS])
    return "" if found is None else _NAMES.get((found[1] or found[2]).lower(), "")


def _message(fields: Mapping[str, Any]) -> str:
    """Return what a line that is JSON says in words, without a numbered one that is JSON."""
    for name in ("message", "msg"):
        if isinstance(fields.get(name), str):
            return str(fields[name])
    words = [fields.get(str(at)) for at in range(_WORDS_MAX)]
    said = [one for one in words if isinstance(one, str) and not one.startswith("{")]
    return " ".join(said)
