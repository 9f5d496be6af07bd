"""The observer's log: one JSON object a line, which the controller passes on.

A reader that stalls must not block the observer: a line that cannot be written at once is dropped
and counted.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any, Final

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import NoLog
from holdfast.kernel.secret import HIDDEN, is_secret_name, redact

_LINE_BYTES_MAX: Final = 4_096
"""Bytes that a pipe polled as writable takes without blocking (PIPE_BUF on Linux)."""


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
        row: dict[str, Any] = {"at_ms": self._clock.now_ms(), "level": level, "event": event}
        for name, value in fields.items():
            if isinstance(value, str):
                value = HIDDEN if is_secret_name(name) and value else redact(value)  # noqa: PLW2901
            row[name] = value
        line = json.dumps(row, separators=(",", ":"), default=str).encode()[: _LINE_BYTES_MAX - 1]
        try:
            if any(flags & select.POLLOUT for _, flags in self._poll.poll(0)):
                os.write(self._descriptor, line + b"\n")
                return
        except OSError:
            # The reader is gone; observing goes on without a log.
            self.dropped += 1
            return
        self.dropped += 1
