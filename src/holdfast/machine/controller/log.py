"""The controller's log: one JSON object a line on standard output.

The platform collects the output; no files are written here. A stalled reader must not block the
controller, so a line is written only if the descriptor is writable, is buffered up to a limit
otherwise, and counted as dropped beyond it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
from collections import deque
from contextlib import suppress
from typing import Any, Final, TypeAlias

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief, outline
from holdfast.kernel.log import PIPE_BYTES
from holdfast.kernel.secret import clean
from holdfast.machine.controller.limits import LOG_BUFFER_BYTES_MAX

Field: TypeAlias = str | int | float | bool | None

_AGAIN_S: Final = 0.1
"""Time before writing to a stalled reader is tried again."""


class Log:
    """Writes events to a file descriptor, in order, without blocking; needs a running loop."""

    def __init__(self, clock: Clock, descriptor: int = 1) -> None:
        """Write to `descriptor`, which stays open."""
        self._clock = clock
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._later: asyncio.TimerHandle | None = None

    def emit(self, event: str, **fields: Field) -> None:
        """Write one event; texts are redacted, values of fields with a secret's name are hidden."""
        row: dict[str, Field] = {"at_ms": self._clock.now_ms(), "event": event}
        for name, value in fields.items():
            row[name] = clean(name, value)
        self._push(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        self.flush()
        if self._waiting and self._later is None:
            self._later = asyncio.get_running_loop().call_later(_AGAIN_S, self._again)

    def _again(self) -> None:
        self._later = None
        self.flush()
        if self._waiting:
            self._later = asyncio.get_running_loop().call_later(_AGAIN_S, self._again)

    def flush(self) -> None:
        """Write the buffered lines, as far as the reader takes them."""
        try:
            while self._waiting and self._writable():
                piece = self._waiting[0]
                written = os.write(self._descriptor, piece[:PIPE_BYTES])
                self._waiting_bytes -= written
                if written == len(piece):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = piece[written:]
        except OSError:
            # The reader is gone; the agent must go on without a log.
            self._waiting.clear()
            self._waiting_bytes = 0

    def _push(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > LOG_BUFFER_BYTES_MAX:
            self._dropped += 1
            return
        if self._dropped:
            note = {"at_ms": self._clock.now_ms(), "event": "log.dropped", "lines": self._dropped}
            self._dropped = 0
            self._keep(json.dumps(note).encode() + b"\n")
        self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _writable(self) -> bool:
        return any(flags & select.POLLOUT for _, flags in self._poll.poll(0))


def log_faults(log: Log, loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task of `loop` handled and what libraries log, without texts of exceptions.

    The default handlers of asyncio and of the standard library's logging write them to standard
    error, unredacted.
    """

    def fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        told = "" if error is None else outline(error)
        log.emit("loop.failed", what=str(context.get("message", "")), error=told)

    loop.set_exception_handler(fault)
    logging.basicConfig(handlers=[_Libraries(log, loop)], level=logging.WARNING, force=True)


class _Libraries(logging.Handler):
    """Logs records of the standard library's logging, from any thread."""

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._log = log
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record's text without its arguments, which may be parts of a request."""
        error = record.exc_info[1] if record.exc_info else None
        said = brief(record.msg) if isinstance(record.msg, BaseException) else str(record.msg)
        fields = {"logger": record.name, "what": said}
        if error is not None:
            fields["error"] = outline(error)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._log.emit("library.log", **fields))
