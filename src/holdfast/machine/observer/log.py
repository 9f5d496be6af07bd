"""The observer's log: one JSON object a line, which the controller passes on.

A reader that stalls must not block the observer: a line that cannot be written at once is dropped
and counted.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any, Final

import msgspec

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import PIPE_BYTES, NoLog
from holdfast.kernel.secret import clean
from holdfast.machine.controller.observing.protocol import WORK
from holdfast.wire.controller.checkin import ObserverWork

_TEXTS_CUT_TO: Final = (PIPE_BYTES, 1_024, 128, 16)
"""Characters that each text of a line is cut to, in turn, until the line fits a pipe."""

_NAMES_TOLD: Final = 8
"""Fields that are named where they did not fit; their names are our own."""


class LineLog(NoLog):
    """Writes to a file descriptor; texts are redacted."""

    def __init__(self, clock: Clock, descriptor: int = 1) -> None:
        """Write to `descriptor`, which stays open."""
        self._clock = clock
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.dropped = 0

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Write one line, or count it as dropped."""
        row = {"at_ms": self._clock.now_ms(), "level": level, "event": event}
        self._put(_line(row, {name: clean(name, value) for name, value in fields.items()}))

    def tell(self, work: ObserverWork) -> None:
        """Write what was done last, for the controller alone, or count it as dropped."""
        line = _work_line(work)
        if len(line) > PIPE_BYTES:
            line = _work_line(msgspec.structs.replace(work, unread=()))
        self._put(line)

    def _put(self, line: bytes) -> None:
        try:
            if any(flags & select.POLLOUT for _, flags in self._poll.poll(0)):
                os.write(self._descriptor, line)
                return
        except OSError:
            # The reader is gone; observing goes on without a log.
            self.dropped += 1
            return
        self.dropped += 1


def _work_line(work: ObserverWork) -> bytes:
    return WORK.encode() + msgspec.json.encode(work) + b"\n"


def _line(row: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """Return a whole line of JSON, with texts that are cut, or without fields, where it must be."""
    for most in _TEXTS_CUT_TO:
        cut = {
            name: value[:most] if isinstance(value, str) else value
            for name, value in fields.items()
        }
        line = _encoded(row | cut)
        if len(line) <= PIPE_BYTES:
            return line
    return _encoded(row | {"left_out": sorted(fields)[:_NAMES_TOLD]})


def _encoded(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":"), default=str).encode() + b"\n"
