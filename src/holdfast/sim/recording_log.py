"""The plane's log and meter within a simulation: lines go to the trace, some are violations.

A line at `error` level is often the right answer to an injected fault. A few names are violations
under any fault plan, because they reveal a bug; these are reported.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from holdfast.sim.trace import Trace

BUGS: Final = frozenset(
    {
        "actor.given_up",
        "actor.owner_failed",
        "actor.tick_failed",
        "actor.unknown_kind",
        "dispatch.fault",
        "effect.bug",
        "effect.undecodable",
        "effect.unsettled",
        "listener.fault",
        "rules.fault",
        "event.quarantined",
        "task.failed",
    }
)
"""Lines that no fault plan excuses."""


class RecordingLog:
    """The `Log` of one plane."""

    def __init__(self, plane: str, trace: Trace, accuse: Callable[[str], None]) -> None:
        """Write to `trace`; call `accuse` for violations."""
        self._plane = plane
        self._trace = trace
        self._accuse = accuse
        self.muted = False

    def debug(self, event: str, **fields: Any) -> None:
        """Do nothing: run the seed again for details."""

    def info(self, event: str, **fields: Any) -> None:
        """Do nothing: the journal's lines contain the same."""

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line."""
        self._write(event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a line; some are violations."""
        self._write(event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Write a line; some are violations."""
        self._write(event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Write a line; some are violations."""
        self._write(event, fields)

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        if self.muted:
            return
        error = fields.pop("exc_info", None)
        shown = sorted((name, str(value)) for name, value in fields.items())
        self._trace.note(event, self._plane, *(f"{name}={value}" for name, value in shown))
        if event in BUGS:
            raised = ""
            if isinstance(error, BaseException):
                raised = "".join(traceback.format_exception(error))
            self._accuse(f"the plane logged {event}: {dict(shown)}\n{raised}")
